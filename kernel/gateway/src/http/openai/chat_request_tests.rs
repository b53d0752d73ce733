use super::*;
use crate::http::openai::content::session_key;
use carapace_contract::completion::ToolChoice;
use serde_json::json;

fn turn(body: Value, session: Option<&str>) -> Result<TurnRequest, String> {
    let request: ChatRequest = serde_json::from_value(body).unwrap();
    request
        .turn(session.map(str::to_owned), None)
        .map_err(|e| e.body()["error"]["param"].as_str().unwrap_or("").to_owned())
}

fn chat() -> Value {
    json!([
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "1"},
        {"role": "developer", "content": "and kind"},
        {"role": "user", "content": [{"type": "text", "text": "two"}]},
        {"role": "user", "content": "three"},
    ])
}

#[test]
fn a_stateless_client_brings_its_history() {
    let t = turn(json!({"messages": chat()}), None).unwrap();
    assert!(t.session.starts_with("api-"));
    assert_eq!(t.history, vec![Message::text(Role::User, "one"), Message::text(Role::Assistant, "1")]);
    assert_eq!(t.parts, vec![Part::text("two"), Part::text("three")]);
    assert_eq!(t.system.as_deref(), Some("be brief\n\nand kind"));
}

#[test]
fn in_a_session_only_what_follows_the_last_answer_is_new() {
    for t in [
        turn(json!({"messages": chat()}), Some("garden")).unwrap(),
        turn(json!({"messages": chat(), "user": "garden"}), None).unwrap(),
    ] {
        assert_eq!(t.session, "garden");
        assert!(t.history.is_empty());
        assert_eq!(t.parts, vec![Part::text("two"), Part::text("three")]);
    }
}

#[test]
fn the_assistants_own_names_mean_the_configured_route() {
    for model in [json!("carapace"), json!("Assistant"), json!(""), Value::Null] {
        assert_eq!(turn(json!({"model": model, "messages": chat()}), None).unwrap().model, None);
    }
    assert_eq!(
        turn(json!({"model": "openai/x", "messages": chat()}), None).unwrap().model.as_deref(),
        Some("openai/x")
    );
}

#[test]
fn what_is_not_done_is_refused_by_name() {
    let user = json!([{"role": "user", "content": "x"}]);
    for (extra, param) in [
        (json!({"tools": [{"type": "function"}]}), "tools"),
        (json!({"functions": [{}]}), "functions"),
        (json!({"n": 2}), "n"),
        (json!({"logprobs": true}), "logprobs"),
        (json!({"modalities": ["text", "audio"]}), "modalities"),
        (json!({"temperature": 3}), "temperature"),
        (json!({"stop": 7}), "stop"),
        (json!({"max_tokens": 0}), "max_completion_tokens"),
        (json!({"response_format": {"type": "grammar"}}), "response_format.type"),
        (json!({"messages": [{"role": "robot", "content": "x"}]}), "messages[0].role"),
        (json!({"messages": [{"role": "assistant", "content": "x"}]}), "messages"),
        (json!({"messages": []}), "messages"),
        (json!({"messages": [{"role": "tool", "tool_call_id": "a", "content": "x"}]}), "messages[0].role"),
        (json!({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}), "messages[0].content[0].type"),
    ] {
        let mut body = json!({"messages": user});
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        assert_eq!(turn(body, None).unwrap_err(), param);
    }
    for harmless in [json!({"tools": []}), json!({"n": 1}), json!({"logprobs": false}), json!({"something_new": [1]})] {
        let mut body = json!({"messages": user});
        body.as_object_mut().unwrap().extend(harmless.as_object().unwrap().clone());
        assert!(turn(body, None).is_ok(), "{harmless}");
    }
}

#[test]
fn options_arrive() {
    let t = turn(
        json!({
            "messages": chat(), "max_tokens": 5, "max_completion_tokens": 7, "temperature": 0.5, "top_p": 0.9, "seed": 3,
            "stop": ["a", "b"], "tool_choice": "none",
            "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}},
        }),
        None,
    )
    .unwrap();
    assert_eq!(t.options.max_output, Some(7));
    assert_eq!(t.options.seed, Some(3));
    assert_eq!(t.options.stop, vec!["a", "b"]);
    assert_eq!(t.options.json_schema.as_deref(), Some(r#"{"type":"object"}"#));
    assert_eq!(t.options.tool_choice, ToolChoice::None);
}

#[test]
fn an_image_comes_by_value_only() {
    let with = |url: &str| {
        turn(
            json!({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]}),
            None,
        )
    };
    let ok = with("data:image/png;base64,AAAA").unwrap();
    assert_eq!(ok.parts, vec![Part::Image { mime: "image/png".into(), data: "AAAA".into() }]);
    for bad in
        ["https://example.com/x.png", "data:text/html;base64,AAAA", "data:image/png,AAAA", "data:image/png;base64,A*"]
    {
        assert_eq!(with(bad).unwrap_err(), "messages[0].content[0].image_url.url", "{bad}");
    }
}

#[test]
fn a_session_key_is_short_and_printable() {
    for bad in ["", "a\nb", &"x".repeat(257)] {
        assert!(session_key("user", bad.to_owned()).is_err(), "{bad:?}");
    }
    assert!(session_key("user", "Frühstück 🍳".to_owned()).is_ok());
}
