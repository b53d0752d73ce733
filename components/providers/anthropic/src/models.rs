//! What there is. <https://platform.claude.com/docs/en/api/models-list>

use crate::complete::with_headers;
use crate::options::Options;
use carapace_provider_wire::failure::{malformed, of_status};
use carapace_sdk::provider::{Failure, Model};
use carapace_sdk::{clock, config, http};
use serde_json::Value;

const MAX_LIST: usize = 8 << 20;

pub(crate) fn models() -> Result<Vec<Model>, Failure> {
    let options = Options::parse(&config::text())?;
    // One page holds them all.
    let get = http::get("api", "/v1/models?limit=1000");
    let response = with_headers(get, &options, "application/json").send()?;
    let (status, body) = (response.status(), response.beginning(MAX_LIST)?);
    // A server that has no list still serves the model its owner names.
    if let (404 | 405 | 501, Some(own)) = (status, &options.model) {
        return Ok(vec![model(own, &Value::Null)]);
    }
    if !response.is_success() {
        return Err(of_status(status, |name| response.header(name), &body, clock::now_ms()));
    }
    let text = || String::from_utf8_lossy(&body);
    let value: Value = serde_json::from_slice(&body).map_err(|e| malformed(&e.to_string(), &text()))?;
    let mut out = list(&value).ok_or_else(|| malformed("it holds no list of models", &text()))?;
    if let Some(own) = &options.model
        && !out.iter().any(|m| m.id == *own)
    {
        out.push(model(own, &Value::Null));
    }
    Ok(out)
}

/// Newest first, as the server gives them, without those that are retired.
fn list(value: &Value) -> Option<Vec<Model>> {
    let items = value.get("data")?.as_array()?;
    let text = |item: &Value, key: &str| item.get(key).and_then(Value::as_str).map(str::to_owned);
    let there = items.iter().filter(|i| text(i, "lifecycle").as_deref() != Some("retired"));
    Some(there.filter_map(|i| Some(model(&text(i, "id").filter(|id| !id.is_empty())?, i))).collect())
}

fn model(id: &str, item: &Value) -> Model {
    let number = |path: &str| {
        let n = item.pointer(path).and_then(Value::as_u64).filter(|n| *n > 0)?;
        u32::try_from(n).ok()
    };
    let claude = id.contains("claude");
    Model {
        id: id.to_owned(),
        name: item.get("display_name").and_then(Value::as_str).unwrap_or(id).to_owned(),
        // Servers of one's own say it elsewhere; every Claude has at least this much.
        context: number("/max_input_tokens").or_else(|| number("/meta/n_ctx_train")).or(claude.then_some(200_000)),
        output: number("/max_tokens"),
        tools: true,
        images: item.pointer("/capabilities/image_input/supported").and_then(Value::as_bool).unwrap_or(claude),
        extra: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use carapace_provider_wire::testing::answer;
    use carapace_sdk::provider::FailureKind;
    use carapace_sdk::testing::TestHost;
    use serde_json::json;

    const LIST: &str = r#"{"data":[
        {"type":"model","id":"claude-opus-5-5","display_name":"Claude Opus 5.5","lifecycle":"active","max_input_tokens":1000000,"max_tokens":128000,"capabilities":{"image_input":{"supported":true}}},
        {"type":"model","id":"claude-2.1","display_name":"Claude 2.1","lifecycle":"retired"},
        {"type":"model","id":"claude-3-5-haiku-20241022","display_name":"Claude Haiku 3.5","capabilities":{"image_input":{"supported":false}}},
        {"id":"local.gguf","object":"model","meta":{"n_ctx_train":8192}}, {"id":""}, 7],"has_more":false}"#;

    #[carapace_sdk::test]
    fn the_list_says_what_each_model_takes(host: &mut TestHost) {
        host.answer(answer(200, "", &[LIST]));
        let got: Vec<_> = host.models().unwrap().into_iter().map(|m| (m.id, m.context, m.output, m.images)).collect();
        assert_eq!(
            got,
            [
                ("claude-opus-5-5".to_owned(), Some(1_000_000), Some(128_000), true),
                ("claude-3-5-haiku-20241022".to_owned(), Some(200_000), None, false),
                ("local.gguf".to_owned(), Some(8192), None, false),
            ]
        );
        let sent = &host.sent()[0];
        assert_eq!((sent.method.as_str(), sent.path()), ("GET", "/v1/models?limit=1000"));
        assert_eq!(sent.header("anthropic-version"), Some("2023-06-01"));
    }

    #[carapace_sdk::test]
    fn a_server_without_a_list_serves_the_configured_model(host: &mut TestHost) {
        let none = || answer(404, "", &["{}"]);
        let own = json!({ "model": "own" });
        let listed = host.answer(none()).config(own.clone()).models().unwrap();
        assert_eq!(listed.iter().map(|m| m.id.as_str()).collect::<Vec<_>>(), ["own"]);
        assert!(host.fresh().answer(none()).models().unwrap_err().message.contains("base URL"));
        let listed = host.fresh().answer(answer(200, "", &[LIST])).config(own).models().unwrap();
        assert_eq!(listed.last().unwrap().id, "own");
    }

    #[carapace_sdk::test]
    fn an_answer_that_is_no_list_is_a_failure_that_says_so(host: &mut TestHost) {
        for body in ["<html>", "{}", "\"x\""] {
            let f = host.answer(answer(200, "", &[body])).models().unwrap_err();
            assert_eq!(f.kind, FailureKind::Other("malformed".into()), "{body}");
        }
        let refused = answer(
            401,
            "request-id: req_1",
            &[r#"{"type":"error","error":{"type":"authentication_error","message":"invalid x-api-key"}}"#],
        );
        let f = host.answer(refused).models().unwrap_err();
        assert_eq!(f.kind, FailureKind::Authentication);
        assert!(f.message.ends_with("invalid x-api-key (request req_1)"), "{}", f.message);
    }
}
