//! What each tool does with its arguments.

use crate::shown;
use carapace_sdk::prelude::*;
use carapace_sdk::serde_json::Value;
use carapace_sdk::{Error, message, requests, sessions, settings};

/// Conversations listed unless said.
const LISTED: u32 = 20;
const MOST_LISTED: u32 = 100;
/// Messages read unless said.
const READ: u32 = 30;
const MOST_READ: u32 = 200;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct List {
    /// at most so many; 20 unless said
    #[schemars(range(min = 1, max = MOST_LISTED))]
    limit: Option<u32>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Read {
    /// an id that session_list gave
    session: String,
    /// at most so many messages; 30 unless said
    #[schemars(range(min = 1, max = MOST_READ))]
    limit: Option<u32>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// e.g. agent.route; without it, everything
    #[schemars(length(max = 512))]
    path: Option<String>,
}

pub(crate) fn list(List { limit }: List, _: &Context) -> Result<String, ToolError> {
    let limit = within(limit.unwrap_or(LISTED), MOST_LISTED)?;
    Ok(shown::list(&sessions::list(limit)?, limit))
}

pub(crate) fn read(Read { session, limit }: Read, _: &Context) -> Result<String, ToolError> {
    let limit = within(limit.unwrap_or(READ), MOST_READ)?;
    Ok(shown::conversation(&sessions::read(&session, limit).map_err(refused)?))
}

pub(crate) fn config(Config { path }: Config, _: &Context) -> Result<String, ToolError> {
    let path = path.unwrap_or_default();
    let value: Value = settings::read(path.trim()).map_err(refused)?.ok_or_else(|| {
        ToolError::NotFound(format!("nothing stands at `{path}`; config_read without a path gives everything"))
    })?;
    Ok(format!("{value:#}"))
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Request {
    /// as in a registry: name or publisher/name, perhaps with @version
    #[schemars(length(max = 200))]
    name: String,
    /// what the owner would have of it, in one sentence
    #[schemars(length(max = 500))]
    reason: String,
}

pub(crate) fn request(Request { name, reason }: Request, _: &Context) -> Result<String, ToolError> {
    let id = requests::install(name.trim(), &reason).map_err(refused)?;
    Ok(format!(
        "Recorded; nothing is installed. It is for the owner to decide, at the command line: carapace plugin requests approve {id}"
    ))
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Send {
    /// owner, or the name of a target; a name that there is not is answered with those there are
    #[schemars(length(min = 1, max = 64))]
    target: String,
    /// what to say, in Markdown
    #[schemars(length(min = 1))]
    text: String,
}

pub(crate) fn send(Send { target, text }: Send, _: &Context) -> Result<String, ToolError> {
    let target = message::send(target.trim(), &text).map_err(refused)?;
    Ok(format!("On its way to {target}."))
}

fn within(limit: u32, most: u32) -> Result<u32, ToolError> {
    if (1..=most).contains(&limit) {
        return Ok(limit);
    }
    Err(ToolError::InvalidArguments(format!("`limit` must be 1 to {most}, not {limit}")))
}

/// Ids and paths go to the kernel as the model gave them: what is wrong with them is for the model to change.
fn refused(error: Error) -> ToolError {
    match error {
        Error::Invalid(why) => ToolError::InvalidArguments(why),
        other => other.into(),
    }
}
