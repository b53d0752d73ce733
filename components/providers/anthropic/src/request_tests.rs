//! Bodies, field by field.

use super::*;
use carapace_provider_wire::testing::{question, request};
use carapace_sdk::provider::{Event, ToolCall, ToolResult, ToolSpec};

fn try_written(section: &str, r: &Request) -> Result<Value, Failure> {
    let options = Options::parse(section)?;
    let shape = Shape::first(r, &options, model(r, &options)?);
    Ok(serde_json::from_slice(&body(r, &options, shape)?).unwrap())
}
fn written(section: &str, r: &Request) -> Value {
    try_written(section, r).unwrap()
}
fn asking(model: &str, change: impl FnOnce(&mut Request)) -> Request {
    let mut r = question();
    r.model = model.into();
    change(&mut r);
    r
}
fn a_tool() -> ToolSpec {
    ToolSpec { name: "f".into(), description: "d".into(), parameters: "{\"type\":\"object\"}".into() }
}
fn tool_turn(r: &mut Request) {
    let call = ToolCall { id: "a".into(), name: "f".into(), arguments: "{}".into(), extra: vec![] };
    let result = ToolResult { call_id: "a".into(), name: "f".into(), content: "1".into(), is_error: false };
    r.messages.extend(
        request(vec![(Role::Assistant, vec![Part::ToolCall(call)]), (Role::Tool, vec![Part::ToolResult(result)])])
            .messages,
    );
}

#[test]
fn a_plain_question_is_a_small_body() {
    let r = request(vec![(Role::System, vec![Part::Text("s".into())]), (Role::User, vec![Part::Text("a".into())])]);
    let marked = |t: &str| json!({ "type": "text", "text": t, "cache_control": { "type": "ephemeral" } });
    assert_eq!(
        written("{}", &r),
        json!({ "model": "m", "max_tokens": 4096, "stream": true, "system": [marked("s")],
            "messages": [{ "role": "user", "content": [marked("a")] }] })
    );
    assert_eq!(
        written(r#"{"cache":"off"}"#, &question()),
        json!({ "model": "m", "max_tokens": 4096, "stream": true,
            "messages": [{ "role": "user", "content": [{ "type": "text", "text": "hi" }] }] })
    );
}

#[test]
fn every_option_finds_its_field() {
    let r = asking("m", |r| {
        r.tools = vec![a_tool()];
        r.tool_choice = ToolChoice::Named("f".into());
        (r.max_output, r.temperature, r.top_p, r.seed) = (Some(9), Some(0.2), Some(0.9), Some(7));
        r.stop = vec!["x".into()];
        r.extra = vec![("top_k".into(), "3".into()), ("stream".into(), "false".into()), ("system".into(), "no".into())];
    });
    let w = written(r#"{"extraBody":{"metadata":{"user_id":"u"},"tools":[]},"effort":"low"}"#, &r);
    assert_eq!((&w["max_tokens"], &w["temperature"], &w["top_p"]), (&json!(9), &json!(0.2), &json!(0.9)));
    assert_eq!((&w["stop_sequences"], &w["tool_choice"]), (&json!(["x"]), &json!({ "type": "tool", "name": "f" })));
    let tool = &w["tools"][0];
    assert_eq!((&tool["name"], &tool["input_schema"]), (&json!("f"), &json!({ "type": "object" })));
    assert_eq!((&w["top_k"], &w["stream"], &w["metadata"]), (&json!(3), &json!(true), &json!({ "user_id": "u" })));
    assert_eq!((w.get("system"), w.get("seed"), &w["output_config"]), (None, None, &json!({ "effort": "low" })));
    for (choice, expected) in [
        (ToolChoice::Auto, Value::Null),
        (ToolChoice::None, json!({ "type": "none" })),
        (ToolChoice::Required, json!({ "type": "any" })),
    ] {
        let r = asking("m", |r| (r.tools, r.tool_choice) = (vec![a_tool()], choice));
        assert_eq!(written("{}", &r)["tool_choice"], expected);
    }
}

#[test]
fn an_answer_that_nobody_limited_is_as_long_as_the_model_allows() {
    let max = |section: &str, model: &str| written(section, &asking(model, |_| {}))["max_tokens"].clone();
    assert_eq!(max("{}", "claude-3-haiku-20240307"), 4096);
    assert_eq!(max("{}", "claude-opus-5-5"), 16_384);
    assert_eq!(max(r#"{"maxTokens":7}"#, "claude-opus-5-5"), 7);
}

#[test]
fn thinking_has_its_room_and_forbids_sampling() {
    let r = |model| asking(model, |r| (r.max_output, r.temperature, r.top_p) = (Some(500), Some(0.5), Some(0.9)));
    let w = written(r#"{"thinking":2000}"#, &r("claude-sonnet-4-0"));
    assert_eq!(
        (&w["max_tokens"], &w["thinking"]),
        (&json!(2500), &json!({ "type": "enabled", "budget_tokens": 2000 }))
    );
    assert_eq!((w.get("temperature"), w.get("top_p")), (None, None));
    let w = written(r#"{"thinking":"adaptive","thinkingDisplay":"summarized"}"#, &r("claude-opus-4-6"));
    assert_eq!(
        (&w["max_tokens"], &w["thinking"]),
        (&json!(500), &json!({ "type": "adaptive", "display": "summarized" }))
    );
    assert_eq!(w.get("temperature"), None);
    let w = written(r#"{"thinking":"off"}"#, &r("claude-sonnet-4-0"));
    assert_eq!(
        (&w["thinking"], &w["temperature"], &w["top_p"]),
        (&json!({ "type": "disabled" }), &json!(0.5), &json!(0.9))
    );
}

#[test]
fn a_model_gets_as_much_sampling_as_it_takes() {
    let of = |model: &str, temperature, top_p| {
        let w = written("{}", &asking(model, |r| (r.temperature, r.top_p) = (temperature, top_p)));
        (w.get("temperature").cloned(), w.get("top_p").cloned())
    };
    assert_eq!(of("claude-haiku-4-5", Some(0.5), Some(0.9)), (Some(json!(0.5)), None));
    assert_eq!(of("claude-haiku-4-5", None, Some(0.9)), (None, Some(json!(0.9))));
    assert_eq!(of("claude-opus-5-5", Some(0.5), Some(0.9)), (None, None));
    assert_eq!(of("m", Some(1.7), None), (Some(json!(1.0)), None));
}

#[test]
fn a_turn_of_calls_that_began_without_thought_goes_on_without() {
    let w = written(r#"{"thinking":2000}"#, &asking("claude-sonnet-4-0", tool_turn));
    assert_eq!(w.get("thinking"), None);
    let w = written(r#"{"thinking":2000}"#, &asking("claude-sonnet-4-0", |_| {}));
    assert_eq!(w["thinking"]["type"], "enabled");
    let thoughtful = asking("claude-sonnet-4-0", |r| {
        tool_turn(r);
        let Event::Other(state) = thoughts::signed("claude-sonnet-4-0", "S") else { panic!() };
        r.messages[1].parts.insert(0, Part::Other(state));
    });
    assert_eq!(written(r#"{"thinking":2000}"#, &thoughtful)["thinking"]["type"], "enabled");
}

#[test]
fn a_schema_is_followed_by_itself_or_by_way_of_a_tool_or_not_at_all() {
    let schema = r#"{"type":"object","properties":{"a":{"type":"array","items":{"type":"object","properties":{}}}}}"#;
    let r = |model| asking(model, |r| r.json_schema = Some(schema.into()));
    let w = written("{}", &r("claude-sonnet-4-5"));
    let format = &w["output_config"]["format"];
    assert_eq!((&format["type"], &format["schema"]["additionalProperties"]), (&json!("json_schema"), &json!(false)));
    assert_eq!(format["schema"]["properties"]["a"]["items"]["additionalProperties"], false);
    assert_eq!(format["schema"]["properties"].get("additionalProperties"), None, "a map of fields is no object");

    let w = written("{}", &r("m"));
    assert_eq!(
        (&w["tools"][0]["name"], &w["tool_choice"]),
        (&json!("answer"), &json!({ "type": "tool", "name": "answer" }))
    );
    assert_eq!(w["tools"][0]["input_schema"], serde_json::from_str::<Value>(schema).unwrap());

    let mut both = r("m");
    both.tools = vec![a_tool()];
    let f = try_written("{}", &both).unwrap_err();
    assert!(f.kind == FailureKind::InvalidRequest && f.message.contains("without tools"), "{}", f.message);
    both.model = "claude-sonnet-4-5".into();
    assert!(try_written("{}", &both).is_ok());
}

#[test]
fn at_most_four_places_are_marked_for_the_cache() {
    let r = asking("m", |r| {
        r.tools = vec![a_tool(), a_tool()];
        let more = request(vec![
            (Role::System, vec![Part::Text("s".into())]),
            (Role::Assistant, vec![Part::Text("a".into())]),
            (Role::User, vec![Part::Text("b".into())]),
        ]);
        r.messages.extend(more.messages);
        tool_turn(r);
    });
    let w = written(r#"{"cache":"1h"}"#, &r);
    let marked = |pointer: &str| w.pointer(pointer).unwrap().get("cache_control").cloned();
    let control = Some(json!({ "type": "ephemeral", "ttl": "1h" }));
    for place in ["/tools/1", "/system/0", "/messages/4/content/0", "/messages/2/content/0"] {
        assert_eq!(marked(place), control, "{place}");
    }
    assert_eq!(w.to_string().matches("cache_control").count(), 4);
    assert_eq!(written(r#"{"cache":"off"}"#, &r).to_string().matches("cache_control").count(), 0);
}

#[test]
fn a_request_without_a_model_takes_the_configured_one_or_says_so() {
    let r = asking("", |_| {});
    assert!(try_written("{}", &r).unwrap_err().message.contains("no model"));
    assert_eq!(written(r#"{"model":"own"}"#, &r)["model"], "own");
}
