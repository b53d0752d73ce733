//! The tools of a component: listed, or one of them called.

use super::{Content, Context, IntoContent, ToolError, schema};
use crate::bindings::tools::exports::carapace::plugin::tools::Tool;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;

/// Where a component registers its tools. See [`Tools`](super::Tools).
#[derive(Debug)]
pub struct ToolSet<'a> {
    task: Task<'a>,
}

/// The same registrations serve the list and a call, so neither makes what only the other needs.
#[derive(Debug)]
enum Task<'a> {
    List(Vec<Tool>),
    Call { name: &'a str, arguments: &'a str, context: &'a Context, result: Option<Result<Vec<Content>, ToolError>> },
    Names(Vec<String>),
}

impl ToolSet<'_> {
    /// A tool whose arguments are a type: [`Deserialize`](serde::Deserialize) reads them, [`JsonSchema`] describes them to the model.
    /// Doc comments become descriptions.
    ///
    /// The name is `[a-z0-9_]{1,64}` and stands in the manifest as a `[[tool]]`; a generated test holds the two against each other.
    pub fn add<A, R>(
        &mut self,
        name: &str,
        description: &str,
        function: impl FnOnce(A, &Context) -> Result<R, ToolError>,
    ) -> &mut Self
    where
        A: DeserializeOwned + JsonSchema,
        R: IntoContent,
    {
        self.register(name, description, schema::of::<A>, function)
    }

    /// A tool whose schema is not that of a Rust type. `parameters` is JSON Schema (2020-12) text of an object; the arguments are
    /// read as `A`, which may be [`serde_json::Value`].
    pub fn add_with_schema<A, R>(
        &mut self,
        name: &str,
        description: &str,
        parameters: &str,
        function: impl FnOnce(A, &Context) -> Result<R, ToolError>,
    ) -> &mut Self
    where
        A: DeserializeOwned,
        R: IntoContent,
    {
        self.register(name, description, || parameters.to_owned(), function)
    }

    fn register<A, R>(
        &mut self,
        name: &str,
        description: &str,
        parameters: impl FnOnce() -> String,
        function: impl FnOnce(A, &Context) -> Result<R, ToolError>,
    ) -> &mut Self
    where
        A: DeserializeOwned,
        R: IntoContent,
    {
        match &mut self.task {
            Task::List(tools) => tools.push(Tool {
                name: name.to_owned(),
                description: description.to_owned(),
                parameters: parameters(),
                extra: Vec::new(),
            }),
            Task::Names(names) => names.push(name.to_owned()),
            Task::Call { name: wanted, arguments, context, result } if *wanted == name && result.is_none() => {
                *result = Some(
                    read(arguments)
                        .map_err(|e| ToolError::InvalidArguments(format!("the arguments of `{name}`: {e}")))
                        .and_then(|arguments| function(arguments, context))
                        .and_then(IntoContent::into_content),
                );
            }
            Task::Call { .. } => {}
        }
        self
    }
}

/// Arguments as a type. Serde would take a list for a struct's fields; arguments have names.
fn read<A: DeserializeOwned>(arguments: &str) -> Result<A, String> {
    if !arguments.trim_start().starts_with('{') {
        return Err("they must be an object".to_owned());
    }
    serde_json::from_str(arguments).map_err(|e| e.to_string())
}

/// What the component offers.
pub(crate) fn list(tools: fn(&mut ToolSet)) -> Vec<Tool> {
    let mut set = ToolSet { task: Task::List(Vec::new()) };
    tools(&mut set);
    if let Task::List(tools) = set.task { tools } else { Vec::new() }
}

/// The names of what it offers.
pub(crate) fn names(tools: fn(&mut ToolSet)) -> Vec<String> {
    let mut set = ToolSet { task: Task::Names(Vec::new()) };
    tools(&mut set);
    if let Task::Names(names) = set.task { names } else { Vec::new() }
}

/// Calls one.
pub(crate) fn call(
    tools: fn(&mut ToolSet),
    name: &str,
    arguments: &str,
    context: &Context,
) -> Result<Vec<Content>, ToolError> {
    let mut set = ToolSet { task: Task::Call { name, arguments, context, result: None } };
    tools(&mut set);
    if let Task::Call { result: Some(result), .. } = set.task {
        return result;
    }
    let there = names(tools).iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ");
    Err(ToolError::NotFound(format!("there is no tool `{name}` here; there is {there}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Deserialize, JsonSchema)]
    struct Word {
        word: String,
    }

    fn tools(set: &mut ToolSet) {
        set.add("shout", "Shouts.", |a: Word, _| Ok(a.word.to_uppercase())).add(
            "who",
            "Says whose conversation this is.",
            |_: crate::NoArguments, cx| Ok(cx.session.clone()),
        );
    }

    fn context() -> Context {
        Context { call_id: "c".into(), session: "s".into(), timezone: None, extra: Vec::new() }
    }

    #[test]
    fn a_call_reaches_the_function_of_its_name() {
        let call = |name, arguments| call(tools, name, arguments, &context());
        assert_eq!(call("shout", r#"{"word":"hi"}"#), Ok(vec![Content::Text("HI".into())]));
        assert_eq!(call("who", "{}"), Ok(vec![Content::Text("s".into())]));
    }

    #[test]
    fn arguments_that_do_not_fit_are_told_with_the_tools_name() {
        let Err(ToolError::InvalidArguments(text)) = call(tools, "shout", r#"{"wort":"hi"}"#, &context()) else {
            panic!("it was taken")
        };
        assert!(text.contains("`shout`") && text.contains("`word`"), "{text}");
        for other in [r#"["hi"]"#, r#""hi""#, ""] {
            let refused = call(tools, "shout", other, &context());
            assert!(matches!(refused, Err(ToolError::InvalidArguments(t)) if t.contains("object")), "{other}");
        }
    }

    #[test]
    fn a_tool_that_is_not_there_is_told_with_those_that_are() {
        let Err(ToolError::NotFound(text)) = call(tools, "whisper", "{}", &context()) else { panic!("it was found") };
        assert!(text.contains("`whisper`") && text.contains("`shout`, `who`"), "{text}");
    }

    #[test]
    fn the_list_has_names_descriptions_and_schemas() {
        let list = list(tools);
        assert_eq!(list.iter().map(|t| t.name.as_str()).collect::<Vec<_>>(), ["shout", "who"]);
        assert!(list.iter().all(|t| t.parameters.starts_with('{') && !t.description.is_empty()));
        assert_eq!(names(tools), ["shout", "who"]);
    }
}
