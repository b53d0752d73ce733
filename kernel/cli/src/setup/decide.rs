//! The first question: which model answers.

use super::ask;
use super::choices::{Choice, Found};
use super::known::{Key, Provider};
use crate::failure::{Exit, Failure, Outcome};
use carapace_config::ModelName;

/// What was decided.
#[derive(Debug, Clone)]
pub(crate) enum Decision {
    /// What is configured already; a model's name, or none for whatever the running assistant takes.
    Keep(Option<String>),
    /// One of what was found.
    Take(Box<Choice>),
}

/// What is configured now, if there is something.
#[derive(Debug, Clone)]
pub(crate) struct Present {
    /// The first of the route; none = the running assistant decides.
    pub model: Option<String>,
    pub why: &'static str,
}

impl Present {
    fn line(&self) -> String {
        format!("{}: {}", self.model.as_deref().unwrap_or("as it is"), self.why)
    }
}

/// The lines of the list: what is there now, then what was found.
pub(crate) fn list(present: Option<&Present>, found: &Found) -> Vec<String> {
    present.map(Present::line).into_iter().chain(found.choices.iter().map(Choice::line)).collect()
}

/// What a person without an opinion gets, as an index of [`list`]. What needs a key that nobody has is nobody's default.
pub(crate) fn default(present: Option<&Present>, found: &Found) -> Option<usize> {
    if present.is_some() {
        return Some(0);
    }
    found.choices.iter().position(|c| !c.wants_key)
}

/// Asks at the terminal.
pub(crate) fn asked(present: Option<&Present>, found: &Found, providers: &[Provider]) -> Outcome<Decision> {
    let preset = default(present, found).unwrap_or(0);
    let question = format!("Which model shall answer? A number, or a name as provider/model [{}]: ", preset + 1);
    ask::choose(&question, |answer| match answer.parse::<usize>() {
        _ if answer.is_empty() => nth(preset, present, found),
        Ok(n) if n >= 1 => nth(n - 1, present, found),
        Ok(_) => Err("The list begins with 1.".to_owned()),
        Err(_) => named(answer, found, providers),
    })
}

/// The `n`th of [`list`], from zero.
pub(crate) fn nth(n: usize, present: Option<&Present>, found: &Found) -> Result<Decision, String> {
    let shift = usize::from(present.is_some());
    match (present, n.checked_sub(shift).and_then(|n| found.choices.get(n))) {
        (_, Some(choice)) => Ok(Decision::Take(Box::new(choice.clone()))),
        (Some(present), None) if n < shift => Ok(Decision::Keep(present.model.clone())),
        _ => Err(format!("There is no number {}.", n + 1)),
    }
}

/// A model by its name: of something that was found, or of any instance of an installed provider.
pub(crate) fn named(name: &str, found: &Found, providers: &[Provider]) -> Result<Decision, String> {
    let wanted: ModelName = name.parse()?;
    if let Some(choice) = found.choices.iter().find(|c| c.instance == wanted.instance) {
        return Ok(Decision::Take(Box::new(Choice { model: Some(wanted.model), ..choice.clone() })));
    }
    let known: Vec<String> = found.choices.iter().map(|c| c.instance.to_string()).collect();
    let installed = providers.iter().any(|p| p.name() == wanted.instance.component.as_str());
    Err(match (installed, known.is_empty()) {
        (true, _) => format!(
            "`{0}` has no address here yet: `{{ instances: {{ \"{0}\": {{ endpoints: {{ api: \"http://…\" }} }} }} }}`",
            wanted.instance
        ),
        (false, true) => format!("No provider `{}` is installed.", wanted.instance.component),
        (false, false) => format!("There is no `{}`; there is: {}.", wanted.instance, known.join(", ")),
    })
}

/// What `--yes` does with a choice that wants a key nobody has.
pub(crate) fn no_key(choice: &Choice, key: &Key) -> Failure {
    let instance = choice.provider.instance(&choice.instance.id);
    Failure::new(Exit::Failed, format!("`{}` wants a key, and none was found", choice.instance))
        .help(format!("carapace secrets set {} --instance {instance}, then carapace setup --yes", key.name))
}

/// Nothing here can answer.
pub(crate) fn nothing(found: &Found, providers: &[Provider]) -> Failure {
    let mut variables: Vec<&str> =
        providers.iter().flat_map(|p| p.manifest().secrets.values()).filter_map(|s| s.env.as_deref()).collect();
    variables.dedup();
    let notes = if found.notes.is_empty() { String::new() } else { format!(" ({})", found.notes.join("; ")) };
    Failure::new(Exit::Failed, format!("nothing that was found here can answer{notes}")).help(format!(
        "start a model server (`ollama serve`, `llama-server`), name one with --server http://127.0.0.1:PORT, or set a key ({}); then carapace setup",
        variables.join(", ")
    ))
}

impl Choice {
    /// The key that has to be typed, if there is one.
    pub(crate) fn missing_key(&self) -> Option<&Key> {
        self.key.as_ref().filter(|_| self.wants_key)
    }
}
