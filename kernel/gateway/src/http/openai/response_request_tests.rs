use super::*;
use carapace_contract::completion::ToolChoice;
use carapace_contract::message::{Part, ToolCall, ToolResult};

fn asked(body: Value, previous: Option<Previous>, session: Option<&str>) -> Result<(TurnRequest, Echo), String> {
    let request: ResponseRequest = serde_json::from_value(body).unwrap();
    request
        .turn(previous, session.map(str::to_owned), None)
        .map_err(|e| e.body()["error"]["param"].as_str().unwrap_or("").to_owned())
}

fn turn(body: Value) -> Result<TurnRequest, String> {
    asked(body, None, None).map(|(turn, _)| turn)
}

fn previous() -> Option<Previous> {
    Some(Previous { run: Ulid::from_parts(1, 2), session: "api-1".into() })
}

fn conversation() -> Value {
    json!([
        {"role": "developer", "content": "be brief"},
        {"role": "user", "content": "one"},
        {"type": "message", "role": "assistant", "id": "msg_1", "status": "completed",
            "content": [{"type": "output_text", "text": "1", "annotations": []}]},
        {"role": "user", "content": [{"type": "input_text", "text": "two"}]},
    ])
}

#[test]
fn a_text_is_a_users_message_in_a_session_of_its_own() {
    let t = turn(json!({"input": "hello", "instructions": "be kind"})).unwrap();
    assert!(t.session.starts_with("api-"));
    assert_eq!((t.parts, t.history, t.system.as_deref()), (vec![Part::text("hello")], vec![], Some("be kind")));
    assert_eq!(t.options.after, None);
}

#[test]
fn items_are_a_history_and_a_question() {
    let t = turn(json!({"input": conversation(), "instructions": "be kind"})).unwrap();
    let history = [(Role::System, "be brief"), (Role::User, "one"), (Role::Assistant, "1")];
    assert_eq!(t.history, history.map(|(role, text)| Message::text(role, text)));
    assert_eq!((t.parts, t.system.as_deref()), (vec![Part::text("two")], Some("be kind")));
}

#[test]
fn in_a_session_that_the_client_named_the_servers_log_is_the_history() {
    let named = json!({"input": conversation(), "user": "garden", "instructions": "be kind"});
    for (turn, _) in [asked(named.clone(), None, None), asked(named, None, Some("garden"))].map(Result::unwrap) {
        assert_eq!((turn.session.as_str(), turn.history.len()), ("garden", 0));
        assert_eq!(turn.system.as_deref(), Some("be kind\n\nbe brief"));
    }
}

#[test]
fn what_follows_a_response_is_of_its_session_and_after_its_run() {
    let body = json!({"input": "and then?", "previous_response_id": "resp_x", "user": "somebody"});
    let (t, echo) = asked(body.clone(), previous(), None).unwrap();
    assert_eq!((t.session.as_str(), t.options.after), ("api-1", Some(Ulid::from_parts(1, 2))));
    assert_eq!((echo.previous_response_id.as_deref(), echo.user.as_deref()), (Some("resp_x"), Some("somebody")));
    assert!(asked(body.clone(), previous(), Some("api-1")).is_ok());
    assert_eq!(asked(body, previous(), Some("other")).unwrap_err(), "previous_response_id");
    let (t, _) = asked(json!({"input": conversation()}), previous(), None).unwrap();
    assert_eq!(t.history.len(), 3, "what came in between is part of the conversation");
}

#[test]
fn calls_of_one_answer_are_one_message_and_their_results_have_names() {
    let call = |id: &str| json!({"type": "function_call", "call_id": id, "name": "look", "arguments": "{}"});
    let output = |id: &str| json!({"type": "function_call_output", "call_id": id, "output": "found"});
    let t = turn(json!({"input": [
        {"role": "user", "content": "look"}, {"type": "reasoning", "id": "rs_1", "summary": []},
        call("a"), call("b"), output("a"), output("b"), {"role": "assistant", "content": "both"},
        {"role": "user", "content": "thanks"},
    ]}))
    .unwrap();
    let called = |id: &str| Part::ToolCall(ToolCall { id: id.into(), name: "look".into(), arguments: "{}".into() });
    let found = |id: &str| {
        let (call_id, name, content) = (id.into(), "look".into(), "found".into());
        Message {
            role: Role::Tool,
            parts: vec![Part::ToolResult(ToolResult { call_id, name, content, is_error: false })],
        }
    };
    assert_eq!(t.history[1], Message { role: Role::Assistant, parts: vec![called("a"), called("b")] });
    assert_eq!(t.history[2..4], [found("a"), found("b")]);
    assert_eq!(t.parts, vec![Part::text("thanks")]);
}

#[test]
fn what_is_not_done_is_refused_by_name() {
    for (extra, param) in [
        (json!({"tools": [{"type": "web_search"}]}), "tools"),
        (json!({"max_tool_calls": 1}), "max_tool_calls"),
        (json!({"conversation": "conv_1"}), "conversation"),
        (json!({"prompt": {"id": "pmpt_1"}}), "prompt"),
        (json!({"top_logprobs": 2}), "top_logprobs"),
        (json!({"include": ["message.output_text.logprobs"]}), "include"),
        (json!({"background": true, "store": false}), "background"),
        (json!({"temperature": 3}), "temperature"),
        (json!({"top_p": 1.5}), "top_p"),
        (json!({"max_output_tokens": 0}), "max_output_tokens"),
        (json!({"metadata": {"n": 1}}), "metadata"),
        (json!({"metadata": {"k": "v".repeat(513)}}), "metadata"),
        (json!({"text": {"format": {"type": "grammar"}}}), "text.format.type"),
        (json!({"text": {"format": {"type": "json_schema", "name": "x"}}}), "text.format.schema"),
        (json!({"tool_choice": {"type": "web_search"}}), "tool_choice"),
        (json!({"input": null}), "input"),
        (json!({"input": 7}), "input"),
        (json!({"input": ""}), "input"),
        (json!({"input": []}), "input"),
        (json!({"input": [{"role": "assistant", "content": "x"}]}), "input"),
        (json!({"input": [{"role": "robot", "content": "x"}]}), "input[0].role"),
        (json!({"input": [{"type": "item_reference", "id": "msg_1"}]}), "input[0].type"),
        (json!({"input": [{"type": "function_call_output", "call_id": "a", "output": "x"}]}), "input[0].type"),
        (json!({"input": [{"type": "function_call", "call_id": "a", "name": "x"}]}), "input[0].arguments"),
        (json!({"input": [{"role": "user", "content": [{"type": "input_file"}]}]}), "input[0].content[0].type"),
        (
            json!({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "https://example.com"}]}]}),
            "input[0].content[0].image_url",
        ),
    ] {
        let mut body = json!({"input": "x"});
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        assert_eq!(turn(body).unwrap_err(), param, "{extra}");
    }
    for harmless in [
        json!({"tools": []}),
        json!({"store": false, "include": ["reasoning.encrypted_content"]}),
        json!({"reasoning": {"effort": "low"}, "truncation": "auto", "something_new": [1]}),
        json!({"background": false, "conversation": null, "stream_options": {"include_obfuscation": false}}),
    ] {
        let mut body = json!({"input": "x"});
        body.as_object_mut().unwrap().extend(harmless.as_object().unwrap().clone());
        assert!(turn(body).is_ok(), "{harmless}");
    }
}

#[test]
fn options_arrive_and_are_repeated() {
    let format = json!({"type": "json_schema", "name": "x", "schema": {"type": "object"}, "strict": true});
    let body = json!({
        "input": "x", "model": "openai/x", "max_output_tokens": 7, "temperature": 0.1, "top_p": 0.9,
        "tool_choice": {"type": "function", "name": "time"}, "text": {"format": format, "verbosity": "low"},
        "metadata": {"for": "test"},
    });
    let (t, echo) = asked(body, None, None).unwrap();
    assert_eq!(t.model.as_deref(), Some("openai/x"));
    assert_eq!((t.options.max_output, t.options.temperature, t.options.top_p), (Some(7), Some(0.1), Some(0.9)));
    assert_eq!(t.options.json_schema.as_deref(), Some(r#"{"type":"object"}"#));
    assert_eq!(t.options.tool_choice, ToolChoice::Named("time".into()));
    assert_eq!(echo.temperature, Some(0.1));
    assert_eq!(echo.text, json!({"format": format}));
    assert_eq!(Echo::read(t.options.note.as_ref().unwrap()), Some(echo), "as it is kept, so it is read");
}

#[test]
fn a_response_that_is_not_stored_leaves_nothing_to_find_it_by() {
    assert_eq!(turn(json!({"input": "x", "store": false})).unwrap().options.note, None);
}

#[test]
fn an_image_comes_by_value() {
    let image = json!({"type": "input_image", "detail": "auto", "image_url": "data:image/png;base64,AAAA"});
    let t = turn(json!({"input": [{"role": "user", "content": [image]}]})).unwrap();
    assert_eq!(t.parts, vec![Part::Image { mime: "image/png".into(), data: "AAAA".into() }]);
}
