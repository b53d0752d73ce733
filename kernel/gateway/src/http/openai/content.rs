//! Pieces of a request that all dialects have: text and images, session keys, ranges, formats, the choice of a tool.

use crate::http::error::ApiError;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use carapace_contract::completion::ToolChoice;
use carapace_contract::message::{Message, Part, Role};
use serde_json::Value;

/// Why `tools` are refused.
pub(crate) const OWN_TOOLS: &str = "the assistant uses its own tools, granted by its owner; a request cannot bring any";
/// Why a tool's result is refused where it would have to be answered.
const OWN_RESULTS: &str = "the assistant runs its own tools and takes no results from the client; send a user message";

/// 400 for what the assistant does not do.
pub(crate) fn unsupported(param: &str, message: impl Into<String>) -> ApiError {
    ApiError::bad(param, message).code("unsupported_parameter")
}

/// 1 to 256 printable characters, at most 512 bytes.
pub(crate) fn session_key(param: &str, key: String) -> Result<String, ApiError> {
    let count = key.chars().count();
    if count == 0 || count > 256 || key.len() > 512 || key.chars().any(char::is_control) {
        return Err(ApiError::bad(param, format!("{param} must be 1 to 256 printable characters, at most 512 bytes")));
    }
    Ok(key)
}

/// The session that a client names: by header, else by the body's `user`.
pub(crate) fn named(header: Option<String>, user: Option<String>) -> Result<Option<String>, ApiError> {
    match header {
        Some(key) => session_key("X-Carapace-Session-Key", key).map(Some),
        None => user.filter(|u| !u.is_empty()).map(|u| session_key("user", u)).transpose(),
    }
}

/// Parts what was said before from what is asked now: all that follows the last answer. Every message comes with the
/// name of the field that says whose it is; `list` is where they all stand.
pub(crate) fn question(mut said: Vec<(String, Message)>, list: &str) -> Result<(Vec<Message>, Vec<Part>), ApiError> {
    let last_answer = said.iter().rposition(|(_, m)| m.role == Role::Assistant).map_or(0, |at| at + 1);
    let new = said.split_off(last_answer);
    if let Some((whose, _)) = new.iter().find(|(_, m)| m.role != Role::User) {
        return Err(ApiError::bad(whose, OWN_RESULTS));
    }
    let parts: Vec<Part> = new.into_iter().flat_map(|(_, m)| m.parts).collect();
    if parts.is_empty() {
        return Err(ApiError::bad(list, "nothing new is asked: the last message must come from the user"));
    }
    Ok((said.into_iter().map(|(_, m)| m).collect(), parts))
}

/// The text of all parts, joined.
pub(crate) fn text_of(parts: &[Part]) -> String {
    parts.iter().filter_map(|p| if let Part::Text { text } = p { Some(text.as_str()) } else { None }).collect()
}

/// A message's content, a string or an array of parts; `at` is where it stands in the body.
pub(crate) fn parts(content: Option<Value>, at: &str) -> Result<Vec<Part>, ApiError> {
    match content {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::String(s)) if s.is_empty() => Ok(Vec::new()),
        Some(Value::String(s)) => Ok(vec![Part::text(s)]),
        Some(Value::Array(parts)) => parts.iter().enumerate().map(|(k, p)| part(p, &format!("{at}[{k}]"))).collect(),
        Some(_) => Err(ApiError::bad(at, format!("{at} must be a string or an array of parts"))),
    }
}

fn part(p: &Value, at: &str) -> Result<Part, ApiError> {
    let text = |key: &str| p.get(key).and_then(Value::as_str);
    let missing = |key: &str| ApiError::bad(format!("{at}.{key}"), format!("{at}.{key} must be a string"));
    match text("type") {
        Some("text" | "input_text" | "output_text") => Ok(Part::text(text("text").ok_or_else(|| missing("text"))?)),
        Some("refusal") => Ok(Part::text(text("refusal").ok_or_else(|| missing("refusal"))?)),
        Some("image_url" | "input_image") => {
            // The address itself, or an object that holds it.
            let field = if p.get("image_url").is_some_and(Value::is_object) { "image_url.url" } else { "image_url" };
            let url = p.pointer(&format!("/{}", field.replace('.', "/"))).and_then(Value::as_str);
            image(url.ok_or_else(|| missing(field))?, &format!("{at}.{field}"))
        }
        other => Err(ApiError::bad(
            format!("{at}.type"),
            format!("{at}.type is {other:?}; the assistant takes text and image_url"),
        )),
    }
}

/// `data:image/png;base64,…`
pub(crate) fn image(url: &str, at: &str) -> Result<Part, ApiError> {
    let Some((head, data)) = url.strip_prefix("data:").and_then(|rest| rest.split_once(',')) else {
        return Err(ApiError::bad(
            at,
            "the gateway fetches no addresses on a client's behalf: send the image itself, as data:image/png;base64,…",
        ));
    };
    let Some(mime) = head.strip_suffix(";base64").filter(|m| m.starts_with("image/")) else {
        return Err(ApiError::bad(at, format!("{head:?} is not image/…;base64")));
    };
    let compact: String = data.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    if let Err(e) = STANDARD.decode(&compact) {
        return Err(ApiError::bad(at, format!("the image is not padded standard base64: {e}")));
    }
    Ok(Part::Image { mime: mime.to_owned(), data: compact })
}

/// A number from 0 to `max`.
pub(crate) fn within(param: &str, value: Option<f32>, max: f32) -> Result<Option<f32>, ApiError> {
    match value {
        Some(v) if !(0.0..=max).contains(&v) => {
            Err(ApiError::bad(param, format!("{param} is {v}; it must be from 0 to {max}")))
        }
        v => Ok(v),
    }
}

/// The JSON Schema that a format demands. `at` is where the format stands, `schema` where in it a schema does.
pub(crate) fn json_schema(format: Option<&Value>, at: &str, schema: &str) -> Result<Option<String>, ApiError> {
    let Some(format) = format.filter(|f| !f.is_null()) else { return Ok(None) };
    match format.get("type").and_then(Value::as_str) {
        Some("text") => Ok(None),
        Some("json_object") => Ok(Some(r#"{"type":"object"}"#.to_owned())),
        Some("json_schema") => match format.pointer(&format!("/{}", schema.replace('.', "/"))) {
            Some(schema @ Value::Object(_)) => Ok(Some(schema.to_string())),
            _ => Err(ApiError::bad(format!("{at}.{schema}"), "a JSON Schema object must stand here")),
        },
        other => Err(ApiError::bad(
            format!("{at}.type"),
            format!("{at}.type is {other:?}; it must be text, json_object or json_schema"),
        )),
    }
}

/// A word, or a tool's name at `name` (a JSON pointer).
pub(crate) fn tool_choice(choice: Option<&Value>, name: &str) -> Result<ToolChoice, ApiError> {
    match choice {
        None | Some(Value::Null) => Ok(ToolChoice::Auto),
        Some(Value::String(s)) if s == "auto" => Ok(ToolChoice::Auto),
        Some(Value::String(s)) if s == "none" => Ok(ToolChoice::None),
        Some(Value::String(s)) if s == "required" => Ok(ToolChoice::Required),
        Some(v) => match v.pointer(name).and_then(Value::as_str) {
            Some(name) => Ok(ToolChoice::Named(name.to_owned())),
            None => Err(ApiError::bad(
                "tool_choice",
                "tool_choice must be auto, none, required or name a tool of the assistant",
            )),
        },
    }
}
