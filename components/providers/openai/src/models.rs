//! What a server offers.

use crate::complete::with_headers;
use crate::options::Options;
use carapace_provider_wire::failure::of_status;
use carapace_sdk::provider::{Failure, FailureKind, Model};
use carapace_sdk::{clock, config, http};
use serde_json::Value;

const MAX_LIST: usize = 8 << 20;

pub(crate) fn models() -> Result<Vec<Model>, Failure> {
    let options = Options::parse(&config::text())?;
    let response = with_headers(http::get("api", "/models"), &options, "application/json").send()?;
    let (status, body) = (response.status(), response.beginning(MAX_LIST)?);
    // A server that has no list still serves the model its owner names.
    if let (404 | 405 | 501, Some(own)) = (status, &options.model) {
        return Ok(vec![model(own, &Value::Null)]);
    }
    if !response.is_success() {
        return Err(of_status(status, |name| response.header(name), &body, clock::now_ms()));
    }
    let value: Value = serde_json::from_slice(&body).map_err(|e| unreadable(&e.to_string()))?;
    let mut out = list(&value).ok_or_else(|| unreadable("it holds no list of models"))?;
    if let Some(own) = &options.model
        && !out.iter().any(|m| m.id == *own)
    {
        out.push(model(own, &Value::Null));
    }
    Ok(out)
}

fn unreadable(why: &str) -> Failure {
    Failure::new(FailureKind::Other("malformed".into()), format!("the server's list of models cannot be read: {why}"))
}

/// `{"data": […]}` (OpenAI, vLLM, llama.cpp, LM Studio, OpenRouter), `{"models": […]}` (others), or the bare list (Together).
fn list(value: &Value) -> Option<Vec<Model>> {
    let items = value.get("data").or_else(|| value.get("models")).unwrap_or(value).as_array()?;
    let mut out: Vec<Model> = Vec::new();
    for item in items {
        let id = ["id", "name", "model", "key"]
            .iter()
            .find_map(|k| item.get(k).and_then(Value::as_str))
            .or_else(|| item.as_str());
        let Some(id) = id.filter(|id| !id.is_empty()) else { continue };
        if converses(id, item) && !out.iter().any(|m| m.id == id) {
            out.push(model(id, item));
        }
    }
    Some(out)
}

/// Leaves out what cannot chat. A server's own word counts; else OpenAI's names, the one list where such models stand unmarked.
fn converses(id: &str, item: &Value) -> bool {
    if let Some(kind) = item.get("type").and_then(Value::as_str) {
        return !matches!(
            kind,
            "embeddings" | "embedding" | "image" | "audio" | "moderation" | "rerank" | "transcribe"
        );
    }
    const OTHERS: [&str; 12] = [
        "text-embedding",
        "whisper",
        "tts-",
        "dall-e",
        "omni-moderation",
        "text-moderation",
        "gpt-image",
        "chatgpt-image",
        "sora",
        "davinci-002",
        "babbage-002",
        "gpt-realtime",
    ];
    !OTHERS.iter().any(|p| id.starts_with(p))
}

fn model(id: &str, item: &Value) -> Model {
    let number = |paths: &[&str]| {
        paths
            .iter()
            .find_map(|p| item.pointer(p).and_then(Value::as_u64))
            .filter(|n| *n > 0)
            .and_then(|n| u32::try_from(n).ok())
    };
    let lists = |path: &str, word: &str| {
        item.pointer(path).and_then(Value::as_array).map(|a| a.iter().any(|v| v.as_str() == Some(word)))
    };
    let named = |path: &str| item.pointer(path).and_then(Value::as_bool);
    let name = ["display_name", "name"].iter().find_map(|k| item.get(k).and_then(Value::as_str)).unwrap_or(id);
    Model {
        id: id.to_owned(),
        name: name.to_owned(),
        // What is loaded before what was trained: the server cuts at the former.
        context: number(&[
            "/max_model_len",
            "/meta/n_ctx",
            "/loaded_context_length",
            "/context_length",
            "/context_window",
            "/max_context_length",
            "/top_provider/context_length",
            "/meta/n_ctx_train",
        ]),
        output: number(&["/max_output_tokens", "/max_completion_tokens", "/top_provider/max_completion_tokens"]),
        tools: lists("/supported_parameters", "tools")
            .or_else(|| named("/capabilities/function_calling"))
            .or_else(|| lists("/capabilities", "tool_use"))
            .unwrap_or(true),
        images: lists("/architecture/input_modalities", "image")
            .or_else(|| named("/capabilities/vision"))
            .or_else(|| item.get("type").and_then(Value::as_str).filter(|t| *t == "vlm").map(|_| true))
            .unwrap_or_else(|| sees(id)),
        extra: Vec::new(),
    }
}

/// Servers rarely say; the names of those that see are well known.
fn sees(id: &str) -> bool {
    let id = id.to_ascii_lowercase();
    [
        "gpt-4o",
        "gpt-4.1",
        "gpt-5",
        "chatgpt-4o",
        "o3",
        "o4-",
        "vision",
        "-vl",
        "llava",
        "pixtral",
        "gemini",
        "claude",
        "gemma-3",
    ]
    .iter()
    .any(|w| id.contains(w))
        && !["audio", "transcribe", "tts", "search"].iter().any(|w| id.contains(w))
}

#[cfg(test)]
mod tests {
    use super::*;
    use carapace_provider_wire::testing::answer;
    use carapace_sdk::testing::TestHost;
    use serde_json::json;

    fn listed(v: Value) -> Vec<(String, Option<u32>)> {
        list(&v).unwrap().into_iter().map(|m| (m.id, m.context)).collect()
    }

    #[test]
    fn the_lists_of_several_servers_are_read() {
        let one = |id: &str, c| vec![(id.to_owned(), c)];
        assert_eq!(
            listed(json!({"object": "list", "data": [{"id": "m", "max_model_len": 4096}]})),
            one("m", Some(4096)),
            "vLLM"
        );
        assert_eq!(
            listed(json!({"models": [{"name": "x"}], "data": [{"id": "m.gguf", "meta": {"n_ctx_train": 2048}}]})),
            one("m.gguf", Some(2048)),
            "llama.cpp"
        );
        assert_eq!(
            listed(
                json!({"data": [{"id": "q", "type": "llm", "max_context_length": 8192, "loaded_context_length": 4096}, {"id": "e", "type": "embeddings"}]})
            ),
            one("q", Some(4096)),
            "LM Studio"
        );
        assert_eq!(
            listed(json!([{"id": "t", "context_length": 1}, {"id": "t"}, {}, 5])),
            one("t", Some(1)),
            "Together"
        );
        assert_eq!(
            listed(json!({"data": [{"id": "gpt-5"}, {"id": "text-embedding-3-small"}, {"id": "whisper-1"}]})),
            one("gpt-5", None)
        );
        assert!(list(&json!({"data": "no"})).is_none());
    }

    #[test]
    fn what_a_server_says_about_its_models_counts() {
        let m = &list(&json!({"data": [{"id": "a/b", "name": "B", "architecture": {"input_modalities": ["text"]}, "supported_parameters": ["seed"],
            "top_provider": {"max_completion_tokens": 99, "context_length": 1000}}]}))
        .unwrap()[0];
        assert_eq!(
            (m.name.as_str(), m.tools, m.images, m.output, m.context),
            ("B", false, false, Some(99), Some(1000))
        );
        let m = &list(&json!({"data": [{"id": "gpt-4o-mini"}]})).unwrap()[0];
        assert!(m.tools && m.images);
    }

    #[carapace_sdk::test]
    fn a_server_without_a_list_serves_the_configured_model(host: &mut TestHost) {
        let none = || answer(404, "", &["{\"detail\":\"Not Found\"}"]);
        let listed = host.answer(none()).config(json!({ "model": "own" })).models().unwrap();
        assert_eq!(listed.iter().map(|m| m.id.as_str()).collect::<Vec<_>>(), ["own"]);
        assert!(host.fresh().answer(none()).models().unwrap_err().message.contains("base URL"));
        assert_eq!(host.sent()[0].path(), "/models");
    }

    #[carapace_sdk::test]
    fn an_answer_that_is_no_list_is_a_failure_that_says_so(host: &mut TestHost) {
        for body in ["<html>", "{}", "\"x\""] {
            let f = host.answer(answer(200, "", &[body])).models().unwrap_err();
            assert_eq!(f.kind, FailureKind::Other("malformed".into()), "{body}");
        }
    }
}
