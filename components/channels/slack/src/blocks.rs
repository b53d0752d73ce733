//! Blocks that a model wrote: <https://docs.slack.dev/reference/block-kit/blocks/>. What they show is Slack's to judge; that they call nobody,
//! and offer nothing that would lead nowhere, is ours.

use carapace_sdk::ToolError;
use serde_json::{Map, Value};

/// Blocks of one message.
pub(crate) const MOST: usize = 50;
/// Those that only show something.
const SHOWN: [&str; 6] = ["header", "section", "divider", "context", "image", "rich_text"];
/// Characters of what a notification says.
const NOTICE: usize = 300;

/// Blocks as they may be sent, and what they say for notifications.
pub(crate) fn checked(blocks: &Value) -> Result<(Value, String), ToolError> {
    let Some(list) = blocks.as_array().filter(|l| (1..=MOST).contains(&l.len())) else {
        return Err(ToolError::invalid(format!("`blocks` is a list of 1 to {MOST} blocks")));
    };
    for block in list {
        let kind = block.get("type").and_then(Value::as_str).unwrap_or_default();
        if !SHOWN.contains(&kind) {
            return Err(ToolError::invalid(format!(
                "a block of type `{kind}` cannot be sent; use {}",
                SHOWN.join(", ")
            )));
        }
        if block.get("accessory").is_some_and(|a| a.get("type").and_then(Value::as_str) != Some("image")) {
            return Err(ToolError::invalid(
                "a section's `accessory` can only be an image: what is pressed does not reach you",
            ));
        }
    }
    let (mut blocks, mut said) = (blocks.clone(), String::new());
    walk(&mut blocks, &mut said)?;
    Ok((blocks, said.trim().chars().take(NOTICE).collect()))
}

fn walk(value: &mut Value, said: &mut String) -> Result<(), ToolError> {
    match value {
        Value::Array(list) => list.iter_mut().try_for_each(|v| walk(v, said)),
        Value::Object(map) => {
            one(map, said)?;
            map.values_mut().try_for_each(|v| walk(v, said))
        }
        _ => Ok(()),
    }
}

fn one(map: &mut Map<String, Value>, said: &mut String) -> Result<(), ToolError> {
    let kind = map.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
    match kind.as_str() {
        "user" | "usergroup" | "broadcast" => {
            return Err(ToolError::invalid(format!("nobody is called by blocks; leave the `{kind}` element out")));
        }
        "mrkdwn" | "plain_text" | "text" | "link" => {}
        _ => return Ok(()),
    }
    if let Some(text) = map.get("text").and_then(Value::as_str) {
        if kind == "mrkdwn"
            && let Some(sign) = ["<@", "<!"].into_iter().find(|s| text.contains(s))
        {
            return Err(ToolError::invalid(format!("nobody is called by blocks; leave what begins with `{sign}` out")));
        }
        said.push_str(text);
        said.push(if matches!(kind.as_str(), "text" | "link") { ' ' } else { '\n' });
    }
    if kind == "mrkdwn" {
        // Else Slack makes mentions of names that stand there plainly.
        map.insert("verbatim".to_owned(), true.into());
    }
    Ok(())
}
