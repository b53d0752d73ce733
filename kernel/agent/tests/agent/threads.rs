//! Turns that follow a certain answer, and not whatever their session said last.

use crate::world::*;
use carapace_contract::Ulid;
use carapace_contract::message::{Message, Part, Role, ToolCall, ToolResult};
use carapace_contract::ports::Assistant;
use carapace_contract::turn::TurnRequest;
use serde_json::json;
use std::time::Duration;

fn echo() -> Plan {
    Plan::new(|_, request, _| vec![Say::Text(&*request.messages.last().unwrap().plain_text().to_uppercase().leak())])
}

fn following(after: Ulid, text: &str) -> TurnRequest {
    let mut request = ask("s", text);
    request.options.after = Some(after);
    request
}

impl House {
    async fn run(&self, request: TurnRequest) -> Ulid {
        let submitted = self.agent.submit(request).await.unwrap();
        let run = submitted.run;
        all(submitted).await;
        run
    }

    /// What the last completion was asked, instructions aside.
    fn seen(&self) -> Vec<String> {
        let request = self.request(self.asked().len() - 1);
        request.messages.iter().filter(|m| m.role != Role::System).map(Message::plain_text).collect()
    }
}

#[tokio::test]
async fn a_turn_that_follows_an_answer_does_not_see_what_was_said_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    let h = echo().build(dir.path());
    h.run(ask("s", "before")).await;
    let one = h.run(ask("s", "one")).await;
    let left = h.run(following(one, "left")).await;
    assert_eq!(h.seen(), ["before", "BEFORE", "one", "ONE", "left"]);
    let right = h.run(following(one, "right")).await;
    assert_eq!(h.seen(), ["before", "BEFORE", "one", "ONE", "right"]);
    h.run(following(left, "more")).await;
    assert_eq!(h.seen(), ["before", "BEFORE", "one", "ONE", "left", "LEFT", "more"]);
    h.run(following(right, "more")).await;
    assert_eq!(h.seen(), ["before", "BEFORE", "one", "ONE", "right", "RIGHT", "more"]);
    h.run(ask("s", "all")).await;
    assert_eq!(h.seen().len(), 13, "who follows nothing sees everything: {:?}", h.seen());
}

#[tokio::test]
async fn what_is_followed_is_found_however_much_was_said_since() {
    let dir = tempfile::tempdir().unwrap();
    let h = echo().config("{ agent: { contextTokens: 16384, maxOutputTokens: 256 } }").build(dir.path());
    let one = h.run(ask("s", "one")).await;
    let two = h.run(following(one, "two")).await;
    // 256 rows are read at once.
    for _ in 0..130 {
        h.run(following(one, "beside")).await;
    }
    h.run(following(two, "three")).await;
    assert_eq!(h.seen(), ["one", "ONE", "two", "TWO", "three"]);
}

#[tokio::test]
async fn what_a_client_brought_is_seen_by_those_who_follow() {
    let dir = tempfile::tempdir().unwrap();
    let h = echo().build(dir.path());
    let mut first = ask("s", "one");
    first.history = vec![
        Message::text(Role::System, "rhyme"),
        Message::text(Role::User, "hi"),
        Message::text(Role::Assistant, "ho"),
    ];
    let one = h.run(first).await;
    assert_eq!(h.seen(), ["hi", "ho", "one"]);
    h.run(following(one, "two")).await;
    assert_eq!(h.seen(), ["hi", "ho", "one", "ONE", "two"]);
    let request = h.request(1);
    let system: Vec<_> = request.messages.iter().filter(|m| m.role == Role::System).map(Message::plain_text).collect();
    assert_eq!((system.len(), system[1].as_str()), (2, "rhyme"), "instructions stay instructions");
}

#[tokio::test]
async fn results_that_a_client_brought_taint_those_who_follow_too() {
    let dir = tempfile::tempdir().unwrap();
    let h = echo().build(dir.path());
    let mut first = ask("s", "one");
    let call = ToolCall { id: "a".into(), name: "theirs".into(), arguments: "{}".into() };
    let result = ToolResult { call_id: "a".into(), name: "theirs".into(), content: "obey".into(), is_error: false };
    first.history = vec![
        Message { role: Role::Assistant, parts: vec![Part::ToolCall(call)] },
        Message { role: Role::Tool, parts: vec![Part::ToolResult(result)] },
        Message::text(Role::Assistant, "ok"),
    ];
    let one = h.run(first).await;
    h.run(following(one, "two")).await;
    let answers: Vec<_> =
        h.agent.history("s", 10).await.unwrap().into_iter().filter(|i| i.role == Role::Assistant).collect();
    assert_eq!(answers.iter().map(|i| i.tainted).collect::<Vec<_>>(), [true, true]);
}

#[tokio::test]
async fn an_answer_of_another_session_cannot_be_followed() {
    let dir = tempfile::tempdir().unwrap();
    let h = echo().build(dir.path());
    let other = h.run(ask("other", "secret")).await;
    for after in [other, Ulid::generate()] {
        let refused = h.refused(following(after, "go on")).await;
        assert_eq!(refused.code, "E-TURN-001");
        assert!(refused.message.contains(&after.to_string()), "{}", refused.message);
    }
}

#[tokio::test]
async fn a_note_comes_back_with_the_runs_state_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let h = echo().build(dir.path());
    let mut noted = ask("s", "one");
    noted.options.note = Some(json!({"mine": [1]}));
    let one = h.run(noted).await;
    let two = h.run(ask("s", "two")).await;
    drop(h);
    let h = echo().build(dir.path());
    assert_eq!(h.agent.wait(one, Duration::ZERO).await.unwrap().note, Some(json!({"mine": [1]})));
    assert_eq!(h.agent.wait(two, Duration::ZERO).await.unwrap().note, None);
    h.run(following(one, "three")).await;
    assert_eq!(h.seen(), ["one", "ONE", "three"]);
    let mut long = ask("s", "x");
    long.options.note = Some(json!("x".repeat(1 << 20)));
    assert_eq!(h.refused(long).await.code, "E-TURN-001");
}
