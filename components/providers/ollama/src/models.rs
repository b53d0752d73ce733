//! What is installed. <https://docs.ollama.com/api/tags>, <https://docs.ollama.com/api-reference/show-model-details>

use crate::complete::send;
use crate::options::Options;
use carapace_provider_wire::failure::{malformed, of_status};
use carapace_sdk::provider::{Failure, Model};
use carapace_sdk::{clock, config, http};
use serde_json::{Value, json};

const MAX_LIST: usize = 8 << 20;
/// Models that are asked about one by one; what comes after them is listed by name alone.
const MAX_SHOWN: usize = 64;

pub(crate) fn models() -> Result<Vec<Model>, Failure> {
    let options = Options::parse(&config::text())?;
    let listed = ask(http::get("api", "/api/tags"), &options)?;
    let names = names(&listed).ok_or_else(|| malformed("it holds no list of models", &listed.to_string()))?;
    let mut out: Vec<Model> = Vec::new();
    for (i, name) in names.iter().enumerate() {
        // A model that cannot be described may still answer.
        let shown = (i < MAX_SHOWN).then(|| show(name, &options)).flatten().unwrap_or_default();
        if converses(&shown) {
            out.push(model(name, &shown, &options));
        }
    }
    if let Some(own) = &options.model
        && !names.iter().any(|name| same(name, own))
    {
        out.push(model(own, &Value::Null, &options));
    }
    Ok(out)
}

fn ask(request: http::Request, options: &Options) -> Result<Value, Failure> {
    let response = send(request, options)?;
    let body = response.beginning(MAX_LIST)?;
    if !response.is_success() {
        return Err(of_status(response.status(), |name| response.header(name), &body, clock::now_ms()));
    }
    serde_json::from_slice(&body).map_err(|e| malformed(&e.to_string(), &String::from_utf8_lossy(&body)))
}

fn show(name: &str, options: &Options) -> Option<Value> {
    let body = json!({ "model": name }).to_string();
    ask(http::post("api", "/api/show").body(body), options).ok()
}

/// Newest first, as the server gives them.
fn names(value: &Value) -> Option<Vec<String>> {
    let items = value.get("models")?.as_array()?;
    let name =
        |item: &Value| ["model", "name"].iter().find_map(|k| item.get(k).and_then(Value::as_str)).map(str::to_owned);
    Some(items.iter().filter_map(name).filter(|name| !name.is_empty()).collect())
}

/// `qwen3` is `qwen3:latest`.
fn same(listed: &str, written: &str) -> bool {
    listed == written || listed.strip_suffix(":latest") == Some(written)
}

/// Models that only embed are left out.
fn converses(shown: &Value) -> bool {
    can(shown, "completion").unwrap_or(true)
}

/// None if the server does not say what its models can do.
fn can(shown: &Value, what: &str) -> Option<bool> {
    let capabilities = shown.get("capabilities")?.as_array()?;
    Some(capabilities.iter().any(|c| c.as_str() == Some(what)))
}

fn model(name: &str, shown: &Value, options: &Options) -> Model {
    Model {
        id: name.to_owned(),
        name: name.to_owned(),
        context: context(shown, options),
        output: None,
        tools: can(shown, "tools").unwrap_or(true),
        images: can(shown, "vision").unwrap_or(false),
        extra: Vec::new(),
    }
}

/// What it will be loaded with: what was asked for, within what it was trained for.
fn context(shown: &Value, options: &Options) -> Option<u32> {
    let fields = shown.get("model_info").and_then(Value::as_object);
    let trained = fields.and_then(|f| f.iter().find(|(key, _)| key.ends_with(".context_length")));
    let trained = trained.and_then(|(_, n)| n.as_u64()).and_then(|n| u32::try_from(n).ok()).filter(|n| *n > 0);
    match (options.context, trained) {
        (Some(asked), Some(trained)) => Some(asked.min(trained)),
        (Some(asked), None) => Some(asked),
        // Left to the server, it is what the model's own file says, or unknown.
        (None, _) => parameter(shown),
    }
}

fn parameter(shown: &Value) -> Option<u32> {
    let lines = shown.get("parameters").and_then(Value::as_str)?.lines();
    let mut words = lines.map(str::split_whitespace).find(|words| words.clone().next() == Some("num_ctx"))?;
    words.nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use carapace_provider_wire::testing::answer;
    use carapace_sdk::provider::FailureKind;
    use carapace_sdk::testing::{Answer, TestHost};

    fn ok(body: &Value) -> Answer {
        answer(200, "", &[&body.to_string()])
    }
    fn shown(length: u32, capabilities: &[&str]) -> Value {
        json!({ "model_info": { "general.architecture": "llama", "llama.context_length": length },
            "capabilities": capabilities, "parameters": "stop \"<|x|>\"\nnum_ctx    8192" })
    }

    #[carapace_sdk::test]
    fn each_model_is_asked_what_it_can_do(host: &mut TestHost) {
        let tags = json!({ "models": [{ "name": "big:8b", "model": "big:8b" }, { "name": "small" }, { "name": "embed" }, { "name": "odd" }] });
        let mut listing = |section: Value| {
            host.fresh().config(section).answers([
                ok(&tags),
                ok(&shown(131_072, &["completion", "tools", "vision", "thinking"])),
                ok(&shown(2048, &["completion"])),
                ok(&shown(512, &["embedding"])),
                answer(500, "", &["{}"]),
            ]);
            let listed = host.models().unwrap();
            let shown = &host.sent()[1];
            assert_eq!((shown.json(), shown.path()), (json!({ "model": "big:8b" }), "/api/show"));
            listed.into_iter().map(|m| (m.id, m.context, m.tools, m.images)).collect::<Vec<_>>()
        };
        let row = |id: &str, context, tools, images| (id.to_owned(), context, tools, images);
        assert_eq!(
            listing(json!({})),
            [
                row("big:8b", Some(16_384), true, true),
                row("small", Some(2048), false, false),
                row("odd", Some(16_384), true, false),
            ]
        );
        let own = listing(json!({ "contextTokens": "server", "model": "mine" }));
        assert_eq!(own[0], row("big:8b", Some(8192), true, true));
        assert_eq!(own[3], row("mine", None, true, false));
    }

    #[carapace_sdk::test]
    fn the_configured_model_is_listed_once(host: &mut TestHost) {
        let tags = json!({ "models": [{ "name": "qwen3:latest" }] });
        let mut list = |model: &str| {
            host.fresh().answers([ok(&tags), ok(&json!({}))]).config(json!({ "model": model }));
            host.models().unwrap().into_iter().map(|m| m.id).collect::<Vec<_>>()
        };
        assert_eq!(list("qwen3"), ["qwen3:latest"]);
        assert_eq!(list("other"), ["qwen3:latest", "other"]);
    }

    #[carapace_sdk::test]
    fn a_server_that_is_not_there_is_told_with_what_starts_it(host: &mut TestHost) {
        let f = host.answer(Answer::unreachable()).models().unwrap_err();
        assert_eq!((f.kind, f.retryable), (FailureKind::Unavailable, true));
        assert!(f.message.contains("`ollama serve`") && f.message.contains("OLLAMA_BASE_URL"), "{}", f.message);
        for body in ["<html>", "{}", "\"x\""] {
            let f = host.answer(answer(200, "", &[body])).models().unwrap_err();
            assert_eq!(f.kind, FailureKind::Other("malformed".into()), "{body}");
        }
    }
}
