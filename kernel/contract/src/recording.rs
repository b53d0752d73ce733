//! A recording: what a component was called with, what it asked of the kernel, what it was told, and what it answered.
//!
//! JSON, one line each: a [`Header`], then [`Line`]s. Values of the contract are written by its own names: a record is an object, a case
//! of a variant is its name, or an object of its name and its payload (`ok` and `err` too), bytes are `{"text"}` or `{"base64"}`, and a
//! response is the number that it has. `docs/src/authors/recordings.md` is its description for people.

use crate::digest::Digest;
use crate::name::InstanceId;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Goes up when a reader of the version before would misunderstand a line.
pub const VERSION: u32 = 1;
/// A recording's size, bytes; what comes after is not kept, and a line says so.
pub const MAX_BYTES: usize = 16 << 20;

/// The first line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Header {
    /// [`VERSION`]
    pub carapace_recording: u32,
    /// Whose.
    pub instance: InstanceId,
    /// The package's version.
    pub version: String,
    /// The package.
    pub digest: Digest,
    /// The contract's version, as the manifest has it.
    pub contract: String,
    /// When it began; milliseconds since the Unix epoch.
    pub recorded_ms: u64,
}

/// Every further line. Those of calls that ran at once stand between each other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// Which call, from 1.
    pub call: u64,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// The kernel called the component.
    Called {
        /// `tools.call`, `provider.models` or `provider.complete`.
        export: String,
        /// By their names in the contract.
        arguments: Value,
    },
    /// The component called the kernel, and this is what it was told.
    Asked {
        /// Such as `kv.get` or `http.send`.
        import: String,
        /// By their names in the contract.
        arguments: Value,
        /// The answer.
        result: Value,
        /// By then the component had been handed text from outside.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        tainted: bool,
    },
    /// The component answered.
    Returned {
        /// Its answer.
        result: Value,
    },
    /// The call ended without an answer: a panic, a limit, or nobody waited any more.
    Ended {
        /// The kernel's code; empty if nobody waited.
        code: String,
        /// The kernel's text.
        why: String,
    },
    /// The recording became too large here; the rest of this call, and all calls after it, are not in it.
    Cut,
}

/// A whole recording.
#[derive(Debug, Clone, PartialEq)]
pub struct Recording {
    /// The first line.
    pub header: Header,
    /// The others, each with its number in the file.
    pub lines: Vec<(usize, Line)>,
}

/// Why a text is no recording.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordingError {
    /// Its first line is something else.
    #[error("this is no recording: its first line has no `carapace-recording`")]
    NotOne,
    /// It was made by a newer version.
    #[error("the recording has version {0}, this program reads {VERSION}; use the newer one")]
    Version(u64),
    /// A line cannot be read.
    #[error("line {line} of the recording cannot be read: {why}")]
    Line {
        /// Its number, from 1.
        line: usize,
        /// What is wrong with it.
        why: String,
    },
}

impl Recording {
    /// Reads a recording's text.
    ///
    /// # Errors
    /// It is none, or not of this version, or one of its lines is not as it should be.
    pub fn parse(text: &str) -> Result<Self, RecordingError> {
        let mut lines = text.lines().enumerate().map(|(n, line)| (n + 1, line)).filter(|(_, l)| !l.trim().is_empty());
        let (_, first) = lines.next().ok_or(RecordingError::NotOne)?;
        let said: Value = serde_json::from_str(first).map_err(|_| RecordingError::NotOne)?;
        match said.get("carapace-recording").and_then(Value::as_u64) {
            None => return Err(RecordingError::NotOne),
            Some(version) if version != u64::from(VERSION) => return Err(RecordingError::Version(version)),
            Some(_) => {}
        }
        let bad = |line: usize| move |e: serde_json::Error| RecordingError::Line { line, why: e.to_string() };
        let header = serde_json::from_value(said).map_err(bad(1))?;
        let lines = lines.map(|(n, line)| Ok((n, serde_json::from_str(line).map_err(bad(n))?)));
        Ok(Self { header, lines: lines.collect::<Result<_, RecordingError>>()? })
    }

    /// The numbers of its calls, in the order in which they began.
    pub fn calls(&self) -> Vec<u64> {
        let begin = |(_, line): &(usize, Line)| matches!(line.event, Event::Called { .. }).then_some(line.call);
        self.lines.iter().filter_map(begin).collect()
    }

    /// One call's lines.
    pub fn of(&self, call: u64) -> impl Iterator<Item = &(usize, Line)> {
        self.lines.iter().filter(move |(_, line)| line.call == call)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn header() -> Header {
        Header {
            carapace_recording: VERSION,
            instance: "me/dice/main".parse().unwrap(),
            version: "0.1.0".into(),
            digest: Digest::of(b"dice"),
            contract: "0.1".into(),
            recorded_ms: 7,
        }
    }

    #[test]
    fn lines_are_read_as_they_were_written_each_with_its_number() {
        let called = Event::Called { export: "tools.call".into(), arguments: json!({ "name": "dice_roll" }) };
        let asked = Event::Asked {
            import: "random.bytes".into(),
            arguments: json!({ "length": 1 }),
            result: json!({ "ok": { "text": "a" } }),
            tainted: false,
        };
        let lines: Vec<Line> = [called, asked, Event::Cut].into_iter().map(|event| Line { call: 1, event }).collect();
        let mut text = serde_json::to_string(&header()).unwrap();
        for line in &lines {
            text = format!("{text}\n\n{}", serde_json::to_string(line).unwrap());
        }
        let read = Recording::parse(&text).unwrap();
        assert_eq!((&read.header, read.calls()), (&header(), vec![1]));
        assert_eq!(read.of(1).cloned().collect::<Vec<_>>(), [3, 5, 7].into_iter().zip(lines).collect::<Vec<_>>());
        assert!(!text.contains("tainted"), "{text}");
    }

    #[test]
    fn what_is_none_or_newer_or_broken_says_so() {
        assert_eq!(Recording::parse("").unwrap_err(), RecordingError::NotOne);
        assert_eq!(Recording::parse("{\"a\":1}").unwrap_err(), RecordingError::NotOne);
        assert_eq!(Recording::parse("{\"carapace-recording\":9}").unwrap_err(), RecordingError::Version(9));
        let text = format!("{}\n{{\"call\":1}}\n", serde_json::to_string(&header()).unwrap());
        assert!(matches!(Recording::parse(&text).unwrap_err(), RecordingError::Line { line: 2, .. }));
    }
}
