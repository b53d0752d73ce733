//! What each tool does with its arguments.

use crate::shown;
use carapace_sdk::Error;
use carapace_sdk::prelude::*;

/// Notes listed unless said.
const LISTED: u32 = 50;
const MOST_LISTED: u32 = 500;
/// Notes found unless said.
const FOUND: u32 = 10;
const MOST_FOUND: u32 = 50;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Key {
    /// What the note is about, e.g. people/anna or preferences
    #[schemars(length(min = 1, max = 512))]
    key: String,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Write {
    /// What the note is about, e.g. people/anna or preferences
    #[schemars(length(min = 1, max = 512))]
    key: String,
    /// at most 64 KiB
    #[schemars(length(min = 1, max = 65_536))]
    text: String,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct List {
    /// at most so many; 50 unless said
    #[schemars(range(min = 1, max = MOST_LISTED))]
    limit: Option<u32>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Search {
    #[schemars(length(min = 1, max = 1024))]
    query: String,
    /// at most so many; 10 unless said
    #[schemars(range(min = 1, max = MOST_FOUND))]
    limit: Option<u32>,
}

pub(crate) fn read(Key { key }: Key, _: &Context) -> Result<String, ToolError> {
    let note = memory::read(&key).map_err(refused)?.ok_or_else(|| nothing(&key))?;
    Ok(shown::whole(&note))
}

pub(crate) fn list(List { limit }: List, _: &Context) -> Result<String, ToolError> {
    let limit = within("limit", limit.unwrap_or(LISTED), MOST_LISTED)?;
    // One more than is shown tells whether there are more.
    let found = memory::list(limit.saturating_add(1))?;
    Ok(shown::list(&found, limit))
}

pub(crate) fn search(Search { query, limit }: Search, _: &Context) -> Result<String, ToolError> {
    if query.trim().is_empty() {
        return Err(ToolError::invalid("`query` must hold a word to look for"));
    }
    let limit = within("limit", limit.unwrap_or(FOUND), MOST_FOUND)?;
    Ok(shown::found(&memory::search(&query, limit).map_err(refused)?))
}

pub(crate) fn write(Write { key, text }: Write, _: &Context) -> Result<String, ToolError> {
    if text.trim().is_empty() {
        return Err(ToolError::invalid("`text` is empty; to forget a note, call memory_forget"));
    }
    memory::write(&key, &text).map_err(refused)?;
    Ok(format!("Kept under `{key}`. memory_forget undoes it."))
}

pub(crate) fn forget(Key { key }: Key, _: &Context) -> Result<String, ToolError> {
    if memory::delete(&key).map_err(refused)? { Ok(format!("Forgotten: `{key}`.")) } else { Err(nothing(&key)) }
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

/// Keys, texts and queries go to the kernel as the model gave them: what is wrong with them is for the model to change.
fn refused(error: Error) -> ToolError {
    match error {
        Error::Invalid(why) => ToolError::InvalidArguments(why),
        other => other.into(),
    }
}
