//! What is said: from what is to be rendered to what is sent.

use super::{Content, Failure, File, Outgoing, Part};
use serde::Serialize;
use serde::de::DeserializeOwned;

impl Part {
    /// A message: what a person will read, for lists, and what it takes to send it, as JSON. [`Outgoing::json`] reads it back.
    pub fn json(text: impl Into<String>, data: &impl Serialize) -> Self {
        // What cannot be written, which takes a map with keys of another kind, cannot be read back either: it fails there.
        Self { text: text.into(), data: serde_json::to_vec(data).unwrap_or_default() }
    }
}

impl Outgoing {
    /// What [`Part::json`] was made of.
    ///
    /// # Errors
    /// For good: it is of another shape. An earlier version may have made it, for what is rendered waits to be sent.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_slice(&self.part.data)
            .map_err(|e| Failure::last(format!("what is to be sent cannot be read: {e}")))
    }
}

impl File {
    /// Its name, as it stands for the file in lists.
    pub fn in_words(&self) -> String {
        format!("[{}]", self.name)
    }
}

impl Content {
    /// The platform's id of the message that led to this, whether or not it is to be named ([`reply_to`](Self::reply_to)); none if no message
    /// did: what strangers are told, what a tool says elsewhere.
    pub fn about(&self) -> Option<&str> {
        self.extra.iter().find(|(name, _)| name == "message").map(|(_, id)| id.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::Conversation;
    use serde_json::{Value, json};

    fn outgoing(part: Part) -> Outgoing {
        Outgoing { conversation: Conversation::direct("7"), part, key: "k".into(), attempt: 1 }
    }

    #[test]
    fn a_part_is_read_back_as_it_was_made_and_what_is_none_fails_for_good() {
        let file = File { blob: "0".into(), name: "a.pdf".into(), mime: "application/pdf".into(), size: 8 };
        let data = json!({ "text": "Hi", "file": file });
        let part = Part::json(file.in_words(), &data);
        assert_eq!((part.text.as_str(), outgoing(part.clone()).json::<Value>().unwrap()), ("[a.pdf]", data));
        let f = outgoing(part).json::<Vec<u8>>().unwrap_err();
        assert!(!f.retryable && !f.uncertain, "{f:?}");
    }

    #[test]
    fn what_is_said_knows_what_it_is_about() {
        let content = |extra: &[(&str, &str)]| Content {
            text: "Hi".into(),
            reply_to: Some("1".into()),
            files: Vec::new(),
            extra: extra.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect(),
        };
        assert_eq!(content(&[("other", "8"), ("message", "9")]).about(), Some("9"));
        assert_eq!(content(&[]).about(), None);
    }
}
