//! What the assistant may know of itself: tools `session_list`, `session_read` and `config_read`; what it may ask the owner for:
//! `plugin_request`; and messages elsewhere than in the conversation: `message_send`.
//!
//! Who may read which conversation, and the configuration, is decided by the kernel. A request is a record there: only the owner, at the
//! command line, installs anything.

mod calls;
mod shown;

use carapace_sdk::prelude::*;

/// The component.
#[derive(Debug)]
pub struct Assistant;

const LIST: &str = "Lists conversations, newest first: id, date, number of messages, and how each begins.";
const READ: &str = "Reads the last messages of a conversation, oldest first.";
const CONFIG: &str =
    "Reads the configuration in force, without secrets, as JSON: all of it, or the part at a dotted path.";

const REQUEST: &str = "Asks the owner to install a component from a registry. This installs nothing: the request waits until the owner has \
read at the command line what the component would be granted, and has decided.";

const SEND: &str = "Sends a message to somebody else, or elsewhere, through a chat platform: to the owner, or to a target that the owner has named. \
What you answer in this conversation needs no tool.";

impl Tools for Assistant {
    fn tools(set: &mut ToolSet) {
        set.add("session_list", LIST, calls::list).add("session_read", READ, calls::read).add(
            "config_read",
            CONFIG,
            calls::config,
        );
        set.add("plugin_request", REQUEST, calls::request).add("message_send", SEND, calls::send);
    }
}

carapace_sdk::component!(Assistant: Tools);

#[cfg(test)]
mod tests;
