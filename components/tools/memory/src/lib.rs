//! Notes that outlast a conversation: tools `memory_read`, `memory_list`, `memory_search`, `memory_write` and `memory_forget`.
//!
//! Whose notes these are, and which of them hold text from outside, is the kernel's to know.

#[allow(missing_docs, clippy::all, clippy::pedantic, clippy::restriction, reason = "generated")]
mod bindings {
    wit_bindgen::generate!({ path: "../../../wit", world: "tool", generate_all });
}
mod calls;
mod shown;

use bindings::carapace::plugin::memory::{self, Note};
use bindings::carapace::plugin::types::Error;
use bindings::exports::carapace::plugin::tools::{Content, Context, Guest, Tool, ToolError};

/// The component.
#[derive(Debug)]
pub struct Memory;

const READ: &str = "Reads the note kept under a key, whole.";
const LIST: &str =
    "Lists the notes that are kept, newest first: key, date and how each begins. Notes outlast conversations.";
const SEARCH: &str = "Finds notes that hold any of the words of `query`, best match first. Look here when something may have been told in an earlier conversation.";
const WRITE: &str = "Keeps a note under a key for later conversations, in place of the one that stood there. Keep what is worth remembering: \
names, preferences, decisions; one subject per key, in short plain sentences.";
const FORGET: &str = "Forgets the note under a key, for good.";

const KEY: &str = r#"{"type":"string","minLength":1,"maxLength":512,"description":"What the note is about, e.g. people/anna or preferences"}"#;

impl Guest for Memory {
    fn list() -> Vec<Tool> {
        let tool = |name: &str, description: &str, required: &str, properties: String| Tool {
            name: name.into(),
            description: description.into(),
            parameters: format!(
                r#"{{"type":"object","properties":{{{properties}}},"required":[{required}],"additionalProperties":false}}"#
            ),
            extra: Vec::new(),
        };
        let key = format!(r#""key":{KEY}"#);
        let limit = |most: u32, usual: u32| {
            format!(
                r#""limit":{{"type":"integer","minimum":1,"maximum":{most},"description":"at most so many; {usual} unless said"}}"#
            )
        };
        let query = r#""query":{"type":"string","minLength":1,"maxLength":1024}"#;
        let text = r#""text":{"type":"string","minLength":1,"maxLength":65536,"description":"at most 64 KiB"}"#;
        vec![
            tool("memory_read", READ, r#""key""#, key.clone()),
            tool("memory_list", LIST, "", limit(calls::MOST_LISTED, calls::LISTED)),
            tool("memory_search", SEARCH, r#""query""#, format!("{query},{}", limit(calls::MOST_FOUND, calls::FOUND))),
            tool("memory_write", WRITE, r#""key","text""#, format!("{key},{text}")),
            tool("memory_forget", FORGET, r#""key""#, key),
        ]
    }

    fn call(name: String, arguments: String, _context: Context) -> Result<Vec<Content>, ToolError> {
        calls::answer(&name, &arguments, &mut Kernel).map(|text| vec![Content::Text(text)])
    }
}

/// Where the notes are.
trait Notes {
    fn read(&mut self, key: &str) -> Result<Option<Note>, Error>;
    fn write(&mut self, key: &str, text: &str) -> Result<(), Error>;
    fn delete(&mut self, key: &str) -> Result<bool, Error>;
    fn list(&mut self, limit: u32) -> Result<Vec<Note>, Error>;
    fn search(&mut self, query: &str, limit: u32) -> Result<Vec<Note>, Error>;
}

struct Kernel;

impl Notes for Kernel {
    fn read(&mut self, key: &str) -> Result<Option<Note>, Error> {
        memory::read(key)
    }
    fn write(&mut self, key: &str, text: &str) -> Result<(), Error> {
        memory::write(key, text)
    }
    fn delete(&mut self, key: &str) -> Result<bool, Error> {
        memory::delete(key)
    }
    fn list(&mut self, limit: u32) -> Result<Vec<Note>, Error> {
        memory::list(limit)
    }
    fn search(&mut self, query: &str, limit: u32) -> Result<Vec<Note>, Error> {
        memory::search(query, limit)
    }
}

// The exports' names are no names to a host's linker.
#[cfg(target_family = "wasm")]
bindings::export!(Memory with_types_in bindings);

#[cfg(test)]
mod tests;
