//! Notes that outlast a conversation: tools `memory_read`, `memory_list`, `memory_search`, `memory_write` and `memory_forget`.
//!
//! Whose notes these are, and which of them hold text from outside, is the kernel's to know.

mod calls;
mod shown;

use carapace_sdk::prelude::*;

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

impl Tools for Memory {
    fn tools(set: &mut ToolSet) {
        set.add("memory_read", READ, calls::read)
            .add("memory_list", LIST, calls::list)
            .add("memory_search", SEARCH, calls::search)
            .add("memory_write", WRITE, calls::write)
            .add("memory_forget", FORGET, calls::forget);
    }
}

carapace_sdk::component!(Memory: Tools);

#[cfg(test)]
mod tests;
