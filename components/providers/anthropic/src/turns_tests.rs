//! Conversations, whole and torn.

use super::*;
use carapace_provider_wire::testing::request;
use carapace_sdk::provider::Event;
use proptest::prelude::*;

fn said(t: &str) -> Part {
    Part::Text(t.into())
}
fn calls(id: &str, name: &str, arguments: &str) -> Part {
    Part::ToolCall(ToolCall { id: id.into(), name: name.into(), arguments: arguments.into(), extra: vec![] })
}
fn gave(id: &str, content: &str, is_error: bool) -> Part {
    Part::ToolResult(ToolResult { call_id: id.into(), name: "f".into(), content: content.into(), is_error })
}
fn shows(mime: &str, data: &[u8]) -> Part {
    Part::Image(Image { mime: mime.into(), data: data.into() })
}
fn state(event: Event) -> Part {
    let Event::Other(pair) = event else { panic!("no state: {event:?}") };
    Part::Other(pair)
}

fn written(messages: Vec<(Role, Vec<Part>)>) -> Value {
    of(turns(&request(messages).messages, Some("m")))
}
fn of(turns: Vec<Turn>) -> Value {
    let role = |t: &Turn| if t.assistant { "assistant" } else { "user" };
    turns.into_iter().map(|t| json!([role(&t), t.blocks])).collect()
}

#[test]
fn turns_of_one_side_are_one_and_nothing_in_them_is_empty() {
    let got = written(vec![
        (Role::System, vec![said("instructions")]),
        (Role::User, vec![said("a"), said(" \n")]),
        (Role::User, vec![said("b")]),
        (Role::Assistant, vec![said("")]),
        (Role::Assistant, vec![said("c")]),
        (Role::User, vec![said("d")]),
    ]);
    assert_eq!(got, json!([["user", [text("a"), text("b")]], ["assistant", [text("c")]], ["user", [text("d")]]]));
}

#[test]
fn calls_and_their_results_are_typed_and_what_a_tool_shows_stands_in_its_result() {
    let got = written(vec![
        (Role::User, vec![said("q")]),
        (Role::Assistant, vec![said("let me see"), calls("a:1", "f", "{\"x\":1}"), calls("b", "g", "garbled")]),
        (Role::Tool, vec![gave("a:1", "one", false), shows("image/png", b"x"), gave("b", "broke", true)]),
        (Role::User, vec![said("note")]),
    ]);
    let image = json!({ "type": "image", "source": { "type": "base64", "media_type": "image/png", "data": "eA==" } });
    assert_eq!(
        got,
        json!([
            ["user", [text("q")]],
            ["assistant", [text("let me see"),
                { "type": "tool_use", "id": "a_1", "name": "f", "input": { "x": 1 } },
                { "type": "tool_use", "id": "b", "name": "g", "input": {} }]],
            ["user", [{ "type": "tool_result", "tool_use_id": "a_1", "content": [text("one"), image] },
                { "type": "tool_result", "tool_use_id": "b", "content": [text("broke")], "is_error": true },
                text("note")]],
        ])
    );
}

#[test]
fn what_is_torn_is_mended() {
    let got = written(vec![
        (Role::Assistant, vec![said("earlier")]),
        (Role::Tool, vec![gave("gone", "of another time", false)]),
        (Role::Assistant, vec![calls("a", "f", "{}"), calls("b", "f", "{}")]),
        (Role::User, vec![said("first"), gave("b", "2", false), gave("b", "again", false)]),
        (Role::Assistant, vec![calls("c", "f", "{}")]),
    ]);
    let result = |id: &str, t: &str| json!({ "type": "tool_result", "tool_use_id": id, "content": [text(t)] });
    let call = |id: &str| json!({ "type": "tool_use", "id": id, "name": "f", "input": {} });
    assert_eq!(
        got,
        json!([
            ["user", [text("[the beginning is not shown]")]],
            ["assistant", [text("earlier")]],
            ["user", [text("[result of the call gone: of another time]")]],
            ["assistant", [call("a"), call("b")]],
            ["user", [result("b", "2"), missing("a"), text("first"), text("[result of the call b: again]")]],
            ["assistant", [call("c")]],
            ["user", [missing("c")]],
        ])
    );
}

#[test]
fn thought_goes_back_to_its_place_and_only_with_its_signature() {
    let conversation = || {
        vec![
            (Role::User, vec![said("q")]),
            (
                Role::Assistant,
                vec![
                    Part::Reasoning("hm".into()),
                    state(thoughts::signed("m", "S1")),
                    state(thoughts::redacted("m", "R")),
                    calls("a", "f", "{}"),
                    state(thoughts::signed("m", "S2")),
                    calls("b", "f", "{}"),
                    Part::Reasoning("unsigned".into()),
                ],
            ),
        ]
    };
    let kinds = |got: &Value| -> Vec<String> {
        got[1][1].as_array().unwrap().iter().map(|b| b["type"].as_str().unwrap().to_owned()).collect()
    };
    let got = written(conversation());
    assert_eq!(kinds(&got), ["thinking", "redacted_thinking", "tool_use", "thinking", "tool_use"]);
    assert_eq!(got[1][1][0], json!({ "type": "thinking", "thinking": "hm", "signature": "S1" }));
    assert_eq!(got[1][1][3], json!({ "type": "thinking", "thinking": "", "signature": "S2" }));
    let conversation = request(conversation()).messages;
    for thinker in [None, Some("another")] {
        assert_eq!(kinds(&of(turns(&conversation, thinker))), ["tool_use", "tool_use"]);
    }
}

#[test]
fn an_image_that_would_be_refused_is_said_instead() {
    let got = written(vec![(
        Role::User,
        vec![shows("image/bmp", b"x"), shows("image/jpg", b"x"), shows("image/png", &vec![0; MAX_IMAGE + 1])],
    )]);
    assert!(got[0][1][0]["text"].as_str().unwrap().contains("image/bmp"));
    assert_eq!(got[0][1][1]["source"]["media_type"], "image/jpeg");
    assert!(got[0][1][2]["text"].as_str().unwrap().contains("7500001 bytes"));
}

fn part() -> impl Strategy<Value = Part> {
    prop_oneof![
        "[ab ]{0,3}".prop_map(Part::Text),
        "[xyz]".prop_map(|id| calls(&id, "f", "{}")),
        "[xyz]".prop_map(|id| gave(&id, "r", false)),
        Just(Part::Reasoning("t".into())),
        Just(state(thoughts::signed("m", "s"))),
        Just(shows("image/png", b"x")),
    ]
}

proptest! {
    #[test]
    fn whatever_is_brought_alternates_and_every_call_is_answered_at_once(
        messages in prop::collection::vec((0usize..4, prop::collection::vec(part(), 0..5)), 0..8)
    ) {
        let roles = [Role::System, Role::User, Role::Assistant, Role::Tool];
        let messages = request(messages.into_iter().map(|(r, parts)| (roles[r], parts)).collect()).messages;
        let turns = turns(&messages, Some("m"));
        prop_assert!(turns.first().is_none_or(|t| !t.assistant));
        let ids = |t: &Turn, key: &str| -> Vec<String> {
            t.blocks.iter().filter_map(|b| b[key].as_str().map(str::to_owned)).collect()
        };
        for (i, turn) in turns.iter().enumerate() {
            prop_assert!(!turn.blocks.is_empty());
            if let Some(next) = turns.get(i + 1) {
                prop_assert_ne!(turn.assistant, next.assistant);
            }
            let mut calls = ids(turn, "id");
            let mut results = turns.get(i + 1).map(|t| ids(t, "tool_use_id")).unwrap_or_default();
            if turn.assistant {
                calls.sort();
                calls.dedup();
                results.sort();
                prop_assert_eq!(calls, results);
            }
            let first_other = turn.blocks.iter().position(|b| b["type"] != "tool_result").unwrap_or(turn.blocks.len());
            prop_assert!(turn.blocks[first_other..].iter().all(|b| b["type"] != "tool_result"));
        }
    }
}
