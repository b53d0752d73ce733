//! JSON5 as a tree whose values remember the file they stand in.

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// How deeply values may be nested: enough for any component's section, and far from the end of the stack.
pub(crate) const MAX_DEPTH: usize = 64;

/// A value and where it comes from.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) file: Arc<Path>,
    /// The text held a `${NAME}`: never repeated in a message.
    pub(crate) from_env: bool,
    pub(crate) content: Content,
}

#[derive(Debug, Clone)]
pub(crate) enum Content {
    Scalar(Value),
    Array(Vec<Node>),
    Object(Vec<(String, Node)>),
}

impl Node {
    pub(crate) fn new(file: &Arc<Path>, content: Content) -> Self {
        Self { file: Arc::clone(file), from_env: false, content }
    }

    /// The plain value.
    pub(crate) fn value(&self) -> Value {
        match &self.content {
            Content::Scalar(v) => v.clone(),
            Content::Array(items) => Value::Array(items.iter().map(Self::value).collect()),
            Content::Object(fields) => {
                Value::Object(fields.iter().map(|(k, n)| (k.clone(), n.value())).collect::<Map<_, _>>())
            }
        }
    }

    /// The node at a path, or the nearest one above it.
    pub(crate) fn nearest(&self, path: &[Step]) -> &Self {
        let Some((step, rest)) = path.split_first() else { return self };
        self.child(step).map_or(self, |n| n.nearest(rest))
    }

    fn child(&self, step: &Step) -> Option<&Self> {
        match (&self.content, step) {
            (Content::Array(items), Step::Index(i)) => items.get(*i),
            (Content::Object(fields), Step::Key(k)) => fields.iter().find(|(name, _)| name == k).map(|(_, n)| n),
            _ => None,
        }
    }

    pub(crate) fn at_mut(&mut self, path: &[Step]) -> Option<&mut Self> {
        let Some((step, rest)) = path.split_first() else { return Some(self) };
        match (&mut self.content, step) {
            (Content::Array(items), Step::Index(i)) => items.get_mut(*i)?.at_mut(rest),
            (Content::Object(fields), Step::Key(k)) => fields.iter_mut().find(|(name, _)| name == k)?.1.at_mut(rest),
            _ => None,
        }
    }

    /// `over` laid on `self`: objects merge key by key, arrays are joined, anything else is replaced.
    pub(crate) fn merge(self, over: Self) -> Self {
        match (self.content, over.content) {
            (Content::Object(mut base), Content::Object(fields)) => {
                for (key, node) in fields {
                    match base.iter().position(|(k, _)| *k == key) {
                        Some(i) => {
                            let (key, below) = base.remove(i);
                            base.insert(i, (key, below.merge(node)));
                        }
                        None => base.push((key, node)),
                    }
                }
                Self { file: over.file, from_env: false, content: Content::Object(base) }
            }
            (Content::Array(mut base), Content::Array(items)) => {
                base.extend(items);
                Self { file: over.file, from_env: false, content: Content::Array(base) }
            }
            (_, content) => Self { file: over.file, from_env: over.from_env, content },
        }
    }
}

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    Key(String),
    Index(usize),
}

/// A path as people write it: `agent.route[0]`, `instances["openai:vllm"].limits`.
pub(crate) fn dotted(path: &[Step]) -> String {
    let mut out = String::new();
    for step in path {
        match step {
            Step::Index(i) => out.push_str(&format!("[{i}]")),
            Step::Key(k) if is_identifier(k) => {
                if !out.is_empty() {
                    out.push('.');
                }
                out.push_str(k);
            }
            Step::Key(k) => out.push_str(&format!("[{k:?}]")),
        }
    }
    out
}

fn is_identifier(k: &str) -> bool {
    !k.is_empty()
        && k.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '$' | '-'))
        && !k.starts_with(|c: char| c.is_ascii_digit())
}

/// Parses JSON5. A key that stands twice is an error: one of the two would be silently lost.
pub(crate) fn parse(text: &str, file: &Arc<Path>) -> Result<Node, String> {
    // `json5` recurses before it asks us, so depth is bounded by looking at the brackets first.
    too_deep(text)?;
    let mut de = json5::Deserializer::from_str(text);
    Seed { file, depth: 0 }.deserialize(&mut de).map_err(|e| match e.position() {
        // Positions count from zero; and the error's own text would repeat them.
        Some(p) => format!("line {}, column {}: {}", p.line + 1, p.column + 1, reason(&e)),
        None => reason(&e),
    })
}

fn reason(e: &json5::Error) -> String {
    match e.code() {
        Some(code) => code.to_string(),
        None => {
            let text = e.to_string();
            match text.split_once(" at line ") {
                Some((before, _)) => before.to_owned(),
                None => text,
            }
        }
    }
}

/// Counts brackets outside strings and comments.
fn too_deep(text: &str) -> Result<(), String> {
    let (mut depth, mut quote) = (0usize, None);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(_), '\\') => {
                chars.next();
            }
            (Some(q), c) if c == q => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '/') if chars.peek() == Some(&'/') => {
                while chars.next_if(|c| !matches!(c, '\n' | '\r')).is_some() {}
            }
            (None, '/') if chars.peek() == Some(&'*') => {
                chars.next();
                let mut star = false;
                for c in chars.by_ref() {
                    if star && c == '/' {
                        break;
                    }
                    star = c == '*';
                }
            }
            (None, '[' | '{') => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return Err(format!("values are nested more than {MAX_DEPTH} deep"));
                }
            }
            (None, ']' | '}') => depth = depth.saturating_sub(1),
            (None, _) => {}
        }
    }
    Ok(())
}

struct Seed<'a> {
    file: &'a Arc<Path>,
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Node;
    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<Node, D::Error> {
        if self.depth > MAX_DEPTH {
            return Err(D::Error::custom(format!("values are nested more than {MAX_DEPTH} deep")));
        }
        d.deserialize_any(self)
    }
}

impl Seed<'_> {
    fn scalar(&self, v: impl Into<Value>) -> Node {
        Node::new(self.file, Content::Scalar(v.into()))
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Node;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON5 value")
    }
    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(self.scalar(Value::Null))
    }
    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(self.scalar(Value::Null))
    }
    fn visit_bool<E>(self, v: bool) -> Result<Node, E> {
        Ok(self.scalar(v))
    }
    fn visit_i64<E>(self, v: i64) -> Result<Node, E> {
        Ok(self.scalar(v))
    }
    fn visit_u64<E>(self, v: u64) -> Result<Node, E> {
        Ok(self.scalar(v))
    }
    fn visit_f64<E: serde::de::Error>(self, v: f64) -> Result<Node, E> {
        // `1e3` is a whole number, whoever wrote it.
        #[expect(clippy::cast_possible_truncation, reason = "whole and below 2^53")]
        if v.fract() == 0.0 && v.abs() < 9_007_199_254_740_992.0 {
            return Ok(self.scalar(v as i64));
        }
        Number::from_f64(v).map(|n| self.scalar(n)).ok_or_else(|| E::custom("NaN and Infinity are not values here"))
    }
    fn visit_str<E>(self, v: &str) -> Result<Node, E> {
        Ok(self.scalar(v))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(Seed { file: self.file, depth: self.depth + 1 })? {
            items.push(item);
        }
        Ok(Node::new(self.file, Content::Array(items)))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut fields: Vec<(String, Node)> = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            if fields.iter().any(|(k, _)| *k == key) {
                return Err(A::Error::custom(format!("the key `{key}` stands twice in one object")));
            }
            fields.push((key, map.next_value_seed(Seed { file: self.file, depth: self.depth + 1 })?));
        }
        Ok(Node::new(self.file, Content::Object(fields)))
    }
}
