//! What a program on this computer and the kernel say to each other at `GET /api/lines/<component>/<instance>?as=<name>`: a WebSocket whose
//! messages are these, as JSON.

use serde::{Deserialize, Serialize};

/// A program says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum FromProgram {
    /// A line. It is answered, with `taken` or `refused`, before the next one is read.
    Line {
        /// 1 to 128 bytes. What was not answered is sent again under the same id after the next start: it is taken once.
        id: String,
        /// At most 64 KiB.
        text: String,
    },
    /// It has what was written to it; what is not said to be had is written again later.
    Got {
        /// Of what.
        key: String,
    },
    /// No more lines follow. The kernel closes the socket (1000) once everything that was written has been dealt with and what is for this
    /// program was sent.
    End,
}

/// The kernel says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum ToProgram {
    /// A line is durable: nothing keeps it from being answered any more.
    Taken {
        /// Which.
        id: String,
    },
    /// A line was not taken.
    Refused {
        /// Which.
        id: String,
        /// The same line may be taken later.
        retry: bool,
        /// The denial's code.
        code: String,
        /// Why.
        message: String,
        /// What helps.
        fix: String,
    },
    /// Something for the program.
    Line {
        /// What has the same key is the same; show it once.
        key: String,
        /// What.
        text: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_those_that_are_documented() {
        let line = FromProgram::Line { id: "1".into(), text: "hello".into() };
        assert_eq!(serde_json::to_string(&line).unwrap(), r#"{"type":"line","id":"1","text":"hello"}"#);
        let got: FromProgram = serde_json::from_str(r#"{"type":"got","key":"k"}"#).unwrap();
        assert_eq!(got, FromProgram::Got { key: "k".into() });
        assert_eq!(serde_json::to_string(&FromProgram::End).unwrap(), r#"{"type":"end"}"#);
        let taken = ToProgram::Taken { id: "1".into() };
        assert_eq!(serde_json::to_string(&taken).unwrap(), r#"{"type":"taken","id":"1"}"#);
        assert!(serde_json::from_str::<FromProgram>(r#"{"type":"shout"}"#).is_err());
    }
}
