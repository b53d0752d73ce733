//! Values of the contract as JSON.

use carapace_sdk::provider::Failure;
use serde_json::{Map, Value};

/// 0.2 as `0.2`, not as the double nearest to the float.
pub fn short(f: f32) -> Value {
    f.to_string().parse::<f64>().map_or(Value::Null, Value::from)
}

/// A JSON Schema that the contract carries as text.
///
/// # Errors
/// It is no JSON; `what` says whose it is.
pub fn schema(text: &str, what: &str) -> Result<Value, Failure> {
    serde_json::from_str(text).map_err(|e| Failure::invalid_request(format!("{what} is not JSON: {e}")))
}

/// A call's arguments as an object. What a model once garbled would make a strict server refuse the whole conversation, so it
/// becomes an empty one.
pub fn arguments(text: &str) -> Map<String, Value> {
    match serde_json::from_str(text) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    }
}

/// Adds the owner's `extraBody`, then the request's `extra` (JSON, or text as it is). Fields that only the contract may fill are left alone.
pub fn extend(
    body: &mut Map<String, Value>,
    owners: &Map<String, Value>,
    requests: &[(String, String)],
    ours: &[&str],
) {
    let free = |key: &str| !ours.contains(&key);
    for (key, value) in owners.iter().filter(|(key, _)| free(key)) {
        body.insert(key.clone(), value.clone());
    }
    for (key, text) in requests.iter().filter(|(key, _)| free(key) && key != "model") {
        body.insert(key.clone(), serde_json::from_str(text).unwrap_or_else(|_| text.as_str().into()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_float_is_written_as_its_owner_wrote_it() {
        assert_eq!(short(0.2).to_string(), "0.2");
        assert_eq!(short(1.0), json!(1.0));
        assert_eq!(short(f32::NAN), Value::Null);
    }

    #[test]
    fn garbled_arguments_are_an_empty_object() {
        assert_eq!(Value::Object(arguments("{\"x\":1}")), json!({"x": 1}));
        assert!(["", "[1]", "{\"x\":", "7"].into_iter().all(|t| arguments(t).is_empty()));
    }

    #[test]
    fn extras_fill_what_is_theirs() {
        let mut body = json!({"stream": true, "a": 1}).as_object().unwrap().clone();
        let owners = json!({"stream": false, "a": 2, "user": "u"}).as_object().unwrap().clone();
        let requests = [("top_k", "3"), ("mood", "calm"), ("stream", "false"), ("model", "other")]
            .map(|(k, v)| (k.to_owned(), v.to_owned()));
        extend(&mut body, &owners, &requests, &["stream"]);
        assert_eq!(Value::Object(body), json!({"stream": true, "a": 2, "user": "u", "top_k": 3, "mood": "calm"}));
    }
}
