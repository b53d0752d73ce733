//! The pipeline: parse → `$include` → `${ENV}` → schema → typed.

use crate::env::Env;
use crate::model::Config;
use crate::problem::{ConfigError, Problem, Rule};
use crate::tree::{self, Content, Node, Step, dotted};
use crate::{check, schema};
use serde_json::Value;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How deeply files may include each other.
const MAX_INCLUDE_DEPTH: usize = 10;
/// Files read for one configuration; doubling at each level must not take the kernel down.
const MAX_FILES: usize = 200;
/// Largest file.
const MAX_FILE_BYTES: usize = 4 << 20;
const INCLUDE: &str = "$include";

pub(crate) fn load(file: &Path, env: &dyn Env) -> Result<Config, ConfigError> {
    match std::fs::read_to_string(file) {
        Ok(text) => parse(&text, file, env),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(Config::default()),
        Err(e) => Err(Problem::new(Rule::Unreadable, file, "", format!("cannot be read: {e}")).into()),
    }
}

pub(crate) fn parse(text: &str, file: &Path, env: &dyn Env) -> Result<Config, ConfigError> {
    let mut problems = Vec::new();
    let mut includes = Includes { files: 0, problems: &mut problems };
    let mut root = includes.parsed(text, file, &mut vec![identity(file)]);
    substitute(&mut root, &mut Vec::new(), env, &mut problems);
    // `$schema` is for editors.
    if let Content::Object(fields) = &mut root.content {
        fields.retain(|(k, _)| k != "$schema");
    }
    schema::coerce(&mut root);
    let value = root.value();
    problems.extend(schema::problems(&root, &value));
    problems.extend(check::problems(&root, &value));
    if problems.is_empty() {
        match serde_json::from_value(value) {
            Ok(config) => return Ok(Config { from_environment: crate::shown::from_environment(&root), ..config }),
            // Schema and types say the same; should they ever not, the types win.
            Err(e) => problems.push(Problem::new(Rule::Value, file, "", e.to_string())),
        }
    }
    // One value can break the schema and a finer rule for the same reason: the first word counts.
    let mut seen = std::collections::HashSet::new();
    problems.retain(|p| seen.insert((p.file.clone(), p.path.clone())) || p.rule != Rule::Value);
    Err(ConfigError { problems })
}

/// A file's identity, for finding cycles whatever way it was named.
fn identity(file: &Path) -> PathBuf {
    std::fs::canonicalize(file).or_else(|_| std::path::absolute(file)).unwrap_or_else(|_| file.to_owned())
}

struct Includes<'a> {
    files: usize,
    problems: &'a mut Vec<Problem>,
}

impl Includes<'_> {
    fn problem(&mut self, rule: Rule, file: &Path, path: &[Step], message: impl Into<String>, fix: &str) {
        self.problems.push(Problem::new(rule, file, dotted(path), message).fix(fix));
    }

    fn parsed(&mut self, text: &str, file: &Path, chain: &mut Vec<PathBuf>) -> Node {
        let shared: Arc<Path> = Arc::from(file);
        let empty = Node::new(&shared, Content::Object(Vec::new()));
        if text.len() > MAX_FILE_BYTES {
            self.problem(Rule::Unreadable, file, &[], "is larger than 4 MiB", "split it with `$include`");
            return empty;
        }
        // An empty file is an empty object: what an editor leaves behind when everything is deleted.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        if text.trim().is_empty() {
            return empty;
        }
        match tree::parse(text, &shared) {
            Ok(node) => self.expanded(node, &mut Vec::new(), chain),
            Err(e) => {
                self.problem(Rule::Syntax, file, &[], format!("is not JSON5: {e}"), "");
                empty
            }
        }
    }

    fn expanded(&mut self, node: Node, path: &mut Vec<Step>, chain: &mut Vec<PathBuf>) -> Node {
        let Node { file, from_env, content } = node;
        let content = match content {
            Content::Scalar(v) => Content::Scalar(v),
            Content::Array(items) => Content::Array(
                items
                    .into_iter()
                    .enumerate()
                    .map(|(i, item)| {
                        path.push(Step::Index(i));
                        let item = self.expanded(item, path, chain);
                        path.pop();
                        item
                    })
                    .collect(),
            ),
            Content::Object(fields) => {
                let (mut includes, mut siblings) = (None, Vec::new());
                for (key, child) in fields {
                    path.push(Step::Key(key.clone()));
                    if key == INCLUDE {
                        includes = Some(self.included(&child, path, chain));
                    } else {
                        let child = self.expanded(child, path, chain);
                        siblings.push((key, child));
                    }
                    path.pop();
                }
                let own = Node::new(&file, Content::Object(siblings));
                let Some(included) = includes else { return own };
                return match (included, &own.content) {
                    (None, _) => own,
                    (Some(base), Content::Object(siblings)) if siblings.is_empty() => base,
                    (Some(base), _) if matches!(base.content, Content::Object(_)) => base.merge(own),
                    (Some(base), _) => {
                        path.push(Step::Key(INCLUDE.into()));
                        let message =
                            format!("`{}` holds no object, so nothing can stand beside it", base.file.display());
                        self.problem(Rule::Include, &file, path, message, "move the other keys away");
                        path.pop();
                        own
                    }
                };
            }
        };
        Node { file, from_env, content }
    }

    /// What an `$include` names, merged in its order.
    fn included(&mut self, node: &Node, path: &[Step], chain: &mut Vec<PathBuf>) -> Option<Node> {
        let names: Vec<Option<&str>> = match &node.content {
            Content::Scalar(v) => vec![v.as_str()],
            Content::Array(items) => {
                items.iter().map(|i| if let Content::Scalar(v) = &i.content { v.as_str() } else { None }).collect()
            }
            Content::Object(_) => vec![None],
        };
        let mut merged: Option<Node> = None;
        for name in names {
            let Some(name) = name.filter(|n| !n.is_empty()) else {
                self.problem(Rule::Include, &node.file, path, "must be a file name or an array of file names", "");
                continue;
            };
            let Some(one) = self.file(name, node, path, chain) else { continue };
            merged = Some(match merged {
                Some(m) => m.merge(one),
                None => one,
            });
        }
        merged
    }

    fn file(&mut self, name: &str, at: &Node, path: &[Step], chain: &mut Vec<PathBuf>) -> Option<Node> {
        let file = at.file.parent().unwrap_or_else(|| Path::new("")).join(name);
        let id = identity(&file);
        if chain.contains(&id) {
            let names: Vec<String> = chain.iter().chain([&id]).map(|p| short(p)).collect();
            let message = format!("files include each other in a circle: {}", names.join(" → "));
            self.problem(Rule::Include, &at.file, path, message, "");
            return None;
        }
        if chain.len() > MAX_INCLUDE_DEPTH {
            let message = format!("`{name}` would be included more than {MAX_INCLUDE_DEPTH} levels deep");
            self.problem(Rule::Include, &at.file, path, message, "include it from nearer to the top");
            return None;
        }
        self.files += 1;
        if self.files > MAX_FILES {
            if self.files == MAX_FILES + 1 {
                self.problem(Rule::Include, &at.file, path, format!("more than {MAX_FILES} files are included"), "");
            }
            return None;
        }
        match std::fs::read_to_string(&file) {
            Ok(text) => {
                chain.push(id);
                let node = self.parsed(&text, &file, chain);
                chain.pop();
                Some(node)
            }
            Err(e) => {
                let message = format!("`{}` cannot be read: {e}", file.display());
                self.problem(
                    Rule::Unreadable,
                    &at.file,
                    path,
                    message,
                    "file names are relative to the including file",
                );
                None
            }
        }
    }
}

fn short(path: &Path) -> String {
    path.file_name().map_or_else(|| path.display().to_string(), |n| n.to_string_lossy().into_owned())
}

/// Puts `${NAME}` in place, in every string value.
fn substitute(node: &mut Node, path: &mut Vec<Step>, env: &dyn Env, problems: &mut Vec<Problem>) {
    match &mut node.content {
        Content::Scalar(Value::String(text)) => {
            if !text.contains("${") {
                return;
            }
            let (replaced, missing) = expand(text, env);
            for name in missing {
                problems.push(
                    Problem::new(
                        Rule::Environment,
                        &node.file,
                        dotted(path),
                        format!("the environment variable {name} is not set"),
                    )
                    .fix(format!("set it, or write `$${{{name}}}` for the text itself")),
                );
            }
            if let Some(text_now) = replaced {
                node.from_env = true;
                *text = text_now;
            } else {
                *text = text.replace("$${", "${");
            }
        }
        Content::Scalar(_) => {}
        Content::Array(items) => {
            for (i, item) in items.iter_mut().enumerate() {
                path.push(Step::Index(i));
                substitute(item, path, env, problems);
                path.pop();
            }
        }
        Content::Object(fields) => {
            for (key, child) in fields {
                path.push(Step::Key(key.clone()));
                substitute(child, path, env, problems);
                path.pop();
            }
        }
    }
}

/// The text with its variables (none if it names none), and the names that are not set.
fn expand(text: &str, env: &dyn Env) -> (Option<String>, Vec<String>) {
    let (mut out, mut missing, mut found) = (String::with_capacity(text.len()), Vec::new(), false);
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, from) = rest.split_at(at);
        let after = from.get(2..).unwrap_or("");
        if let Some(before) = before.strip_suffix('$') {
            out.push_str(before);
            out.push_str("${");
            rest = after;
            continue;
        }
        out.push_str(before);
        match after.split_once('}').filter(|(name, _)| is_variable(name)) {
            Some((name, tail)) => {
                found = true;
                match env.var(name) {
                    Some(value) => out.push_str(&value),
                    None => missing.push(name.to_owned()),
                }
                rest = tail;
            }
            None => {
                out.push_str("${");
                rest = after;
            }
        }
    }
    out.push_str(rest);
    (found.then_some(out), missing)
}

fn is_variable(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
}
