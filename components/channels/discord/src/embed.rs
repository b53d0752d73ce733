//! Embeds: <https://docs.discord.com/developers/resources/message#embed-object>.

use carapace_chat_text::is_web;
use carapace_sdk::ToolError;
use serde_json::{Map, Value, json};

/// Characters of all texts of an embed.
const MOST: usize = 6_000;
/// Fields of one.
const FIELDS: usize = 25;

/// An embed of what a tool was given.
pub(crate) fn of(arguments: &Value) -> Result<Value, ToolError> {
    let mut said = 0;
    // A text within its limit; none is none.
    let mut text = |of: &Value, name: &str, most: usize| -> Result<Option<Value>, ToolError> {
        let Some(text) = of.get(name).and_then(Value::as_str).map(str::trim).filter(|t| !t.is_empty()) else {
            return Ok(None);
        };
        let length = text.chars().count();
        if length > most {
            return Err(ToolError::invalid(format!(
                "`{name}` has {length} characters, and at most {most} are allowed"
            )));
        }
        said += length;
        Ok(Some(text.into()))
    };
    let mut embed = Map::new();
    for (name, most) in [("title", 256), ("description", 4_096)] {
        embed.extend(text(arguments, name, most)?.map(|t| (name.to_owned(), t)));
    }
    embed.extend(text(arguments, "footer", 2_048)?.map(|t| ("footer".to_owned(), json!({ "text": t }))));
    let fields = arguments.get("fields").and_then(Value::as_array).map_or(&[] as &[Value], Vec::as_slice);
    if fields.len() > FIELDS {
        return Err(ToolError::invalid(format!(
            "there are {} `fields`, and at most {FIELDS} are allowed",
            fields.len()
        )));
    }
    let mut field = |f: &Value| -> Result<Value, ToolError> {
        let (Some(name), Some(value)) = (text(f, "name", 256)?, text(f, "value", 1_024)?) else {
            return Err(ToolError::invalid("a field has both a `name` and a `value`, and neither is empty"));
        };
        Ok(json!({ "name": name, "value": value, "inline": f.get("inline").and_then(Value::as_bool).unwrap_or(false) }))
    };
    let fields = fields.iter().map(&mut field).collect::<Result<Vec<_>, _>>()?;
    if !fields.is_empty() {
        embed.insert("fields".to_owned(), fields.into());
    }
    if embed.is_empty() {
        return Err(ToolError::invalid("the embed says nothing; give it a `title`, a `description` or `fields`"));
    }
    if said > MOST {
        return Err(ToolError::invalid(format!(
            "all its texts have {said} characters, and at most {MOST} are allowed"
        )));
    }
    if let Some(url) = arguments.get("url").and_then(Value::as_str) {
        if !is_web(url) {
            return Err(ToolError::invalid(format!("`{url}` is no web address")));
        }
        embed.insert("url".to_owned(), url.into());
    }
    if let Some(color) = arguments.get("color").and_then(Value::as_str) {
        let digits = color.strip_prefix('#').filter(|d| d.len() == 6);
        let number = digits.and_then(|d| u32::from_str_radix(d, 16).ok());
        let number = number.ok_or_else(|| ToolError::invalid(format!("`{color}` is no color; write it as #RRGGBB")))?;
        embed.insert("color".to_owned(), number.into());
    }
    Ok(embed.into())
}
