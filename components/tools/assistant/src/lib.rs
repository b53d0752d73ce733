//! What the assistant may know of itself: tools `session_list`, `session_read` and `config_read`.
//!
//! Who may read which conversation, and the configuration, is decided by the kernel.

#[allow(missing_docs, clippy::all, clippy::pedantic, clippy::restriction, reason = "generated")]
mod bindings {
    wit_bindgen::generate!({ path: "../../../wit", world: "tool", generate_all });
}
mod calls;
mod shown;

use bindings::carapace::plugin::sessions::{self, Entry, Session};
use bindings::carapace::plugin::settings;
use bindings::carapace::plugin::types::Error;
use bindings::exports::carapace::plugin::tools::{Content, Context, Guest, Tool, ToolError};

/// The component.
#[derive(Debug)]
pub struct Assistant;

const LIST: &str = "Lists conversations, newest first: id, date, number of messages, and how each begins.";
const READ: &str = "Reads the last messages of a conversation, oldest first.";
const CONFIG: &str =
    "Reads the configuration in force, without secrets, as JSON: all of it, or the part at a dotted path.";

impl Guest for Assistant {
    fn list() -> Vec<Tool> {
        let tool = |name: &str, description: &str, parameters: &str| Tool {
            name: name.into(),
            description: description.into(),
            parameters: parameters.into(),
            extra: Vec::new(),
        };
        vec![
            tool(
                "session_list",
                LIST,
                r#"{"type":"object","properties":{"limit":{"type":"integer","minimum":1,"maximum":100,"description":"at most so many; 20 unless said"}},"additionalProperties":false}"#,
            ),
            tool(
                "session_read",
                READ,
                r#"{"type":"object","properties":{"session":{"type":"string","description":"an id that session_list gave"},"limit":{"type":"integer","minimum":1,"maximum":200,"description":"at most so many messages; 30 unless said"}},"required":["session"],"additionalProperties":false}"#,
            ),
            tool(
                "config_read",
                CONFIG,
                r#"{"type":"object","properties":{"path":{"type":"string","maxLength":512,"description":"e.g. agent.route; without it, everything"}},"additionalProperties":false}"#,
            ),
        ]
    }

    fn call(name: String, arguments: String, _context: Context) -> Result<Vec<Content>, ToolError> {
        calls::answer(&name, &arguments, &mut Kernel).map(|text| vec![Content::Text(text)])
    }
}

/// Where conversations and the configuration are.
trait Known {
    fn sessions(&mut self, limit: u32) -> Result<Vec<Session>, Error>;
    fn entries(&mut self, session: &str, limit: u32) -> Result<Vec<Entry>, Error>;
    fn settings(&mut self, path: &str) -> Result<Option<String>, Error>;
}

struct Kernel;

impl Known for Kernel {
    fn sessions(&mut self, limit: u32) -> Result<Vec<Session>, Error> {
        sessions::list(limit)
    }
    fn entries(&mut self, session: &str, limit: u32) -> Result<Vec<Entry>, Error> {
        sessions::read(session, limit)
    }
    fn settings(&mut self, path: &str) -> Result<Option<String>, Error> {
        settings::read(path)
    }
}

// The exports' names are no names to a host's linker.
#[cfg(target_family = "wasm")]
bindings::export!(Assistant with_types_in bindings);

#[cfg(test)]
mod tests;
