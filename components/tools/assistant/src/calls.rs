//! What each tool does with its arguments.

use crate::Known;
use crate::bindings::carapace::plugin::types::Error;
use crate::bindings::exports::carapace::plugin::tools::ToolError;
use crate::shown;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Conversations listed unless said.
const LISTED: u32 = 20;
const MOST_LISTED: u32 = 100;
/// Messages read unless said.
const READ: u32 = 30;
const MOST_READ: u32 = 200;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    limit: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Read {
    session: String,
    limit: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    path: Option<String>,
}

/// What the tool `name` answers.
pub(crate) fn answer(name: &str, arguments: &str, known: &mut dyn Known) -> Result<String, ToolError> {
    match name {
        "session_list" => {
            let List { limit } = parse(arguments)?;
            let limit = within(limit.unwrap_or(LISTED), MOST_LISTED)?;
            Ok(shown::list(&known.sessions(limit).map_err(refused)?, limit))
        }
        "session_read" => {
            let Read { session, limit } = parse(arguments)?;
            let limit = within(limit.unwrap_or(READ), MOST_READ)?;
            Ok(shown::conversation(&known.entries(&session, limit).map_err(refused)?))
        }
        "config_read" => {
            let Config { path } = parse(arguments)?;
            let path = path.unwrap_or_default();
            let text = known.settings(path.trim()).map_err(refused)?.ok_or_else(|| {
                ToolError::NotFound(format!("nothing stands at `{path}`; config_read without a path gives everything"))
            })?;
            let value: Value = serde_json::from_str(&text)
                .map_err(|e| ToolError::Failed(format!("the kernel's answer is not JSON: {e}")))?;
            Ok(format!("{value:#}"))
        }
        _ => Err(ToolError::NotFound(format!(
            "there is no tool `{name}` here; there are session_list, session_read and config_read"
        ))),
    }
}

fn parse<T: DeserializeOwned>(arguments: &str) -> Result<T, ToolError> {
    serde_json::from_str(arguments).map_err(|e| ToolError::InvalidArguments(format!("the arguments do not fit: {e}")))
}

fn within(limit: u32, most: u32) -> Result<u32, ToolError> {
    if (1..=most).contains(&limit) {
        return Ok(limit);
    }
    Err(ToolError::InvalidArguments(format!("`limit` must be 1 to {most}, not {limit}")))
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
