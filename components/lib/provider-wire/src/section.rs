//! An instance's own section of the configuration, key by key: each is read once, and what nobody read is a mistake.

use carapace_sdk::provider::Failure;
use serde_json::{Map, Value};

/// `instances.<this>.config`
#[derive(Debug)]
pub struct Section {
    component: &'static str,
    fields: Map<String, Value>,
    known: Vec<&'static str>,
}

impl Section {
    /// Of the component with this name.
    ///
    /// # Errors
    /// No JSON object.
    pub fn parse(component: &'static str, text: &str) -> Result<Self, Failure> {
        let section = Self { component, fields: Map::new(), known: Vec::new() };
        match serde_json::from_str(text) {
            Ok(Value::Object(fields)) => Ok(Self { fields, ..section }),
            Ok(_) => Err(section.wrong("must be an object")),
            Err(e) => Err(section.wrong(&e.to_string())),
        }
    }

    /// A mistake in it.
    pub fn wrong(&self, what: &str) -> Failure {
        Failure::invalid_request(format!("the {} component's configuration: {what}", self.component))
    }

    /// A value as it stands there; null counts as missing.
    pub fn take(&mut self, key: &'static str) -> Option<Value> {
        self.known.push(key);
        self.fields.remove(key).filter(|v| !v.is_null())
    }

    /// A text, not empty.
    ///
    /// # Errors
    /// Something else.
    pub fn text(&mut self, key: &'static str) -> Result<Option<String>, Failure> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::String(text)) if !text.is_empty() => Ok(Some(text)),
            Some(_) => Err(self.wrong(&format!("`{key}` must be a text"))),
        }
    }

    /// A whole number, at least 1.
    ///
    /// # Errors
    /// Something else.
    pub fn count(&mut self, key: &'static str) -> Result<Option<u32>, Failure> {
        let Some(value) = self.take(key) else { return Ok(None) };
        let number = value.as_u64().and_then(|n| u32::try_from(n).ok()).filter(|n| *n > 0);
        number.map(Some).ok_or_else(|| self.wrong(&format!("`{key}` must be a whole number from 1")))
    }

    /// One of these words.
    ///
    /// # Errors
    /// Something else; the words are named.
    pub fn word<T: Copy>(&mut self, key: &'static str, words: &[(&str, T)]) -> Result<Option<T>, Failure> {
        let Some(value) = self.take(key) else { return Ok(None) };
        let found = words.iter().find(|(word, _)| value.as_str() == Some(word)).map(|(_, meaning)| *meaning);
        let names: Vec<String> = words.iter().map(|(word, _)| format!("`{word}`")).collect();
        found.map(Some).ok_or_else(|| self.wrong(&format!("`{key}` must be one of {}", names.join(", "))))
    }

    /// An object; empty if missing.
    ///
    /// # Errors
    /// Something else.
    pub fn object(&mut self, key: &'static str) -> Result<Map<String, Value>, Failure> {
        match self.take(key) {
            None => Ok(Map::new()),
            Some(Value::Object(fields)) => Ok(fields),
            Some(_) => Err(self.wrong(&format!("`{key}` must be an object"))),
        }
    }

    /// `headers`: an object of texts.
    ///
    /// # Errors
    /// Something else.
    pub fn headers(&mut self) -> Result<Vec<(String, String)>, Failure> {
        let fields = self.object("headers")?;
        let text = |(name, value)| match value {
            Value::String(value) => Ok((name, value)),
            _ => Err(self.wrong("`headers` holds texts only")),
        };
        fields.into_iter().map(text).collect()
    }

    /// Everything was read.
    ///
    /// # Errors
    /// A key that nobody asked for, with those there are.
    pub fn end(self) -> Result<(), Failure> {
        match self.fields.keys().next() {
            None => Ok(()),
            Some(key) => Err(self.wrong(&format!("unknown key `{key}`; known: {}", self.known.join(", ")))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(text: &str) -> Section {
        Section::parse("demo", text).unwrap()
    }

    #[test]
    fn each_key_is_read_as_what_it_is_and_null_is_as_good_as_nothing() {
        let mut s = section(r#"{"t":"x","n":7,"w":"b","h":null,"headers":{"A":"1"},"o":{"k":[1]}}"#);
        assert_eq!((s.text("t").unwrap().as_deref(), s.count("n").unwrap()), (Some("x"), Some(7)));
        assert_eq!(s.word("w", &[("a", 1), ("b", 2)]).unwrap(), Some(2));
        assert_eq!((s.text("h").unwrap(), s.count("m").unwrap()), (None, None));
        assert_eq!(s.headers().unwrap(), [("A".to_owned(), "1".to_owned())]);
        assert_eq!(s.object("o").unwrap().len(), 1);
        s.end().unwrap();
    }

    #[test]
    fn what_is_wrong_is_named_with_its_component() {
        let message = |f: Failure| f.message;
        let wrong = r#"{"t":7,"n":0,"w":"c","headers":{"A":1},"typo":1}"#;
        let mut s = section(wrong);
        assert_eq!(message(s.text("t").unwrap_err()), "the demo component's configuration: `t` must be a text");
        assert!(message(s.count("n").unwrap_err()).contains("`n` must be a whole number"));
        assert!(message(s.word("w", &[("a", 1), ("b", 2)]).unwrap_err()).ends_with("`w` must be one of `a`, `b`"));
        assert!(message(s.headers().unwrap_err()).contains("texts only"));
        assert!(message(s.end().unwrap_err()).ends_with("unknown key `typo`; known: t, n, w, headers"));
        for text in ["[]", "7", "{"] {
            assert!(Section::parse("demo", text).is_err(), "{text}");
        }
    }
}
