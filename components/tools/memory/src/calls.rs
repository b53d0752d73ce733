//! What each tool does with its arguments.

use crate::Notes;
use crate::bindings::carapace::plugin::types::Error;
use crate::bindings::exports::carapace::plugin::tools::ToolError;
use crate::shown;
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// Notes listed unless said.
pub(crate) const LISTED: u32 = 50;
pub(crate) const MOST_LISTED: u32 = 500;
/// Notes found unless said.
pub(crate) const FOUND: u32 = 10;
pub(crate) const MOST_FOUND: u32 = 50;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Key {
    key: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Write {
    key: String,
    text: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    limit: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Search {
    query: String,
    limit: Option<u32>,
}

/// What the tool `name` answers.
pub(crate) fn answer(name: &str, arguments: &str, notes: &mut dyn Notes) -> Result<String, ToolError> {
    match name {
        "memory_read" => {
            let Key { key } = parse(arguments)?;
            let note = notes.read(&key).map_err(refused)?.ok_or_else(|| nothing(&key))?;
            Ok(shown::whole(&note))
        }
        "memory_list" => {
            let List { limit } = parse(arguments)?;
            let limit = within("limit", limit.unwrap_or(LISTED), MOST_LISTED)?;
            // One more than is shown tells whether there are more.
            let found = notes.list(limit.saturating_add(1)).map_err(refused)?;
            Ok(shown::list(&found, limit))
        }
        "memory_search" => {
            let Search { query, limit } = parse(arguments)?;
            if query.trim().is_empty() {
                return Err(ToolError::InvalidArguments("`query` must hold a word to look for".into()));
            }
            let limit = within("limit", limit.unwrap_or(FOUND), MOST_FOUND)?;
            let found = notes.search(&query, limit).map_err(refused)?;
            Ok(shown::found(&found))
        }
        "memory_write" => {
            let Write { key, text } = parse(arguments)?;
            if text.trim().is_empty() {
                return Err(ToolError::InvalidArguments(
                    "`text` is empty; to forget a note, call memory_forget".into(),
                ));
            }
            notes.write(&key, &text).map_err(refused)?;
            Ok(format!("Kept under `{key}`. memory_forget undoes it."))
        }
        "memory_forget" => {
            let Key { key } = parse(arguments)?;
            if notes.delete(&key).map_err(refused)? { Ok(format!("Forgotten: `{key}`.")) } else { Err(nothing(&key)) }
        }
        _ => Err(ToolError::NotFound(format!(
            "there is no tool `{name}` here; there are memory_read, memory_list, memory_search, memory_write and memory_forget"
        ))),
    }
}

fn parse<T: DeserializeOwned>(arguments: &str) -> Result<T, ToolError> {
    serde_json::from_str(arguments).map_err(|e| ToolError::InvalidArguments(format!("the arguments do not fit: {e}")))
}

fn within(name: &str, value: u32, most: u32) -> Result<u32, ToolError> {
    if (1..=most).contains(&value) {
        return Ok(value);
    }
    Err(ToolError::InvalidArguments(format!("`{name}` must be 1 to {most}, not {value}")))
}

fn nothing(key: &str) -> ToolError {
    ToolError::NotFound(format!(
        "no note is kept under `{key}`; memory_list names those that are, memory_search finds them by words"
    ))
}

/// An import's refusal, for the model.
fn refused(error: Error) -> ToolError {
    match error {
        Error::Denied(why) => ToolError::Denied(why),
        Error::Invalid(why) => ToolError::InvalidArguments(why),
        Error::NotFound(why) => ToolError::NotFound(why),
        Error::Unavailable(why) | Error::Timeout(why) => ToolError::Unavailable(why),
        Error::Limit(why) | Error::Other(why) => ToolError::Failed(why),
        Error::Cancelled => ToolError::Failed("stopped".into()),
    }
}
