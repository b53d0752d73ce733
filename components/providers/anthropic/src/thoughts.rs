//! How the model's thinking travels: to the kernel as reasoning followed by opaque state, and back into the turn it came from.
//!
//! A thinking block is a text and a signature. The text is emitted as reasoning, the signature as state right behind it; blocks that the
//! server encrypts are state alone. The kernel keeps the order of parts, and gives state back to the instance it came from, within the turn.
//! Source: <https://platform.claude.com/docs/en/build-with-claude/thinking>, "Preserving thinking blocks".

use carapace_sdk::provider::Event;
use serde_json::{Value, json};

/// The name of the state.
const NAME: &str = "anthropic";

/// The state behind a text of thought. It is worth something to the model that made it only.
pub(crate) fn signed(model: &str, signature: &str) -> Event {
    state(&json!({ "type": "thinking", "model": model, "signature": signature }))
}

/// Thought that only the server can read.
pub(crate) fn redacted(model: &str, data: &str) -> Event {
    state(&json!({ "type": "redacted_thinking", "model": model, "data": data }))
}

fn state(value: &Value) -> Event {
    Event::Other((NAME.to_owned(), value.to_string()))
}

/// The block that state stands for, with the text of the reasoning before it; none if it is another's, or another model's.
pub(crate) fn block(name: &str, value: &str, text: &str, model: &str) -> Option<Value> {
    let state: Value = serde_json::from_str(value).ok().filter(|_| name == NAME)?;
    let field = |key: &str| state.get(key).and_then(Value::as_str);
    if field("model") != Some(model) {
        return None;
    }
    match field("type")? {
        "thinking" => Some(json!({ "type": "thinking", "thinking": text, "signature": field("signature")? })),
        "redacted_thinking" => Some(json!({ "type": "redacted_thinking", "data": field("data")? })),
        _ => None,
    }
}

/// Whether a block is thought.
pub(crate) fn is_thought(block: &Value) -> bool {
    matches!(block.get("type").and_then(Value::as_str), Some("thinking" | "redacted_thinking"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_went_out_comes_back_verbatim_and_to_its_own_model_only() {
        let Event::Other((name, value)) = signed("m", "s+/=") else { panic!() };
        let expected = json!({ "type": "thinking", "thinking": "hm\n", "signature": "s+/=" });
        assert_eq!(block(&name, &value, "hm\n", "m"), Some(expected));
        assert_eq!(block(&name, &value, "hm\n", "another"), None);
        assert_eq!(block("another's", &value, "hm\n", "m"), None);
        let Event::Other((name, value)) = redacted("m", "ENCRYPTED") else { panic!() };
        assert_eq!(block(&name, &value, "", "m"), Some(json!({ "type": "redacted_thinking", "data": "ENCRYPTED" })));
        for broken in ["", "7", "{}", r#"{"model":"m","type":"thinking"}"#, r#"{"model":"m","type":"new","data":"x"}"#]
        {
            assert_eq!(block(NAME, broken, "", "m"), None, "{broken}");
        }
    }
}
