//! What the assistant does besides answering.

use super::*;

fn asked(host: &TestHost) -> Value {
    serde_json::from_slice(&host.sent().pop().unwrap().body).unwrap()
}

fn done(more: Value) -> Answer {
    let mut body = json!({ "ok": true });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    Answer::new(200).json(body)
}

#[carapace_sdk::test]
fn in_its_own_conversation_a_tool_needs_to_be_told_neither_channel_nor_message(host: &mut TestHost) {
    let thread = Conversation { thread: Some("1700000000.000001".into()), ..Conversation::group("C1", None) };
    host.place(&thread, &[("message", "1700000000.000002"), ("last-sent", "1700000000.000003")]);
    host.on("POST", "actions", "/chat.update", done(json!({ "ts": "1700000000.000003" })));
    let told = host.call_tool("slack_update_message", json!({ "text": "now **bold** <!channel>" })).unwrap();
    assert_eq!(told.text(), "1700000000.000003");
    let body = asked(host);
    assert_eq!(
        (&body["channel"], &body["ts"], &body["text"]),
        (&json!("C1"), &json!("1700000000.000003"), &json!("now bold &lt;!channel&gt;"))
    );
    assert_eq!(
        body["blocks"][0]["elements"][0]["elements"][1],
        json!({ "type": "text", "text": "bold", "style": { "bold": true } })
    );
    host.on("POST", "actions", "/chat.delete", done(json!({ "ts": "1700000000.000003" })));
    host.call_tool("slack_delete_message", json!({ "channel": null })).unwrap();
    assert_eq!(asked(host), json!({ "channel": "C1", "ts": "1700000000.000003" }));
    // A reaction is about what was just said.
    host.on("POST", "actions", "/reactions.add", done(json!({})));
    assert_eq!(
        host.call_tool("slack_add_reaction", json!({ "emoji": ":thumbsup:" })).unwrap().text(),
        "1700000000.000002"
    );
    assert_eq!(asked(host), json!({ "channel": "C1", "timestamp": "1700000000.000002", "name": "thumbsup" }));
    // It stands there already: as it was wanted.
    host.on(
        "POST",
        "actions",
        "/reactions.add",
        Answer::new(200).json(json!({ "ok": false, "error": "already_reacted" })),
    );
    host.call_tool("slack_add_reaction", json!({ "emoji": "wave::skin-tone-3", "timestamp": "1.2", "channel": "C2" }))
        .unwrap();
    assert_eq!(asked(host), json!({ "channel": "C2", "timestamp": "1.2", "name": "wave::skin-tone-3" }));
}

#[carapace_sdk::test]
fn what_is_shown_to_one_person_is_shown_to_whoever_asked(host: &mut TestHost) {
    let mention = said("C1", "channel", "<@U0ME> what is my balance?");
    host.on("POST", "api", "/users.info", ann());
    let m = host.channel_event(&state(), webhook(&callback(&mention))).unwrap().messages().remove(0);
    host.place(&m.conversation, &[("message", &m.id)]);
    host.on("POST", "actions", "/chat.postEphemeral", done(json!({ "message_ts": "1.5" })));
    assert_eq!(host.call_tool("slack_send_ephemeral", json!({ "text": "_Seven._" })).unwrap().text(), "1.5");
    let body = asked(host);
    assert_eq!(
        (&body["user"], &body["channel"], &body["thread_ts"], &body["text"]),
        (&json!("U7"), &json!("C1"), &json!(m.id), &json!("Seven."))
    );
    host.place(&m.conversation, &[("message", "1.9")]);
    let why = host.call_tool("slack_send_ephemeral", json!({ "text": "x" })).unwrap_err();
    assert!(why.text().contains("`user`"), "{why}");
    let refused = Answer::new(200).json(json!({ "ok": false, "error": "user_not_in_channel" }));
    host.on("POST", "actions", "/chat.postEphemeral", refused);
    let why = host.call_tool("slack_send_ephemeral", json!({ "text": "x", "user": "U9" })).unwrap_err();
    assert!(why.text().contains("not in this conversation"), "{why}");
}

#[carapace_sdk::test]
fn blocks_show_something_and_neither_call_anybody_nor_wait_for_a_press(host: &mut TestHost) {
    host.place(&Conversation { thread: Some("1.1".into()), ..Conversation::group("C1", None) }, &[]);
    host.on("POST", "actions", "/chat.postMessage", done(json!({ "ts": "1.2" })));
    let blocks = json!([
        { "type": "header", "text": { "type": "plain_text", "text": "Report <1>" } },
        { "type": "section", "text": { "type": "mrkdwn", "text": "*Up* by 3 %" }, "accessory": { "type": "image", "image_url": "https://example.com/a.png", "alt_text": "a" } },
        { "type": "divider" },
    ]);
    assert_eq!(host.call_tool("slack_send_blocks", json!({ "blocks": blocks })).unwrap().text(), "1.2");
    let body = asked(host);
    assert_eq!(
        (&body["text"], &body["thread_ts"], &body["unfurl_links"]),
        (&json!("Report &lt;1&gt;\n*Up* by 3 %"), &json!("1.1"), &json!(false))
    );
    assert_eq!(body["blocks"][1]["text"], json!({ "type": "mrkdwn", "text": "*Up* by 3 %", "verbatim": true }));
    let sent = host.sent().len();
    let mut invalid = |blocks: Value| match host.call_tool("slack_send_blocks", json!({ "blocks": blocks })) {
        Err(carapace_sdk::ToolError::InvalidArguments(why)) => why,
        other => panic!("{other:?}"),
    };
    let section = |text: &str| json!([{ "type": "section", "fields": [{ "type": "mrkdwn", "text": text }] }]);
    assert!(invalid(section("hey <!here>")).contains("`<!`") && invalid(section("hey <@U1>")).contains("`<@`"));
    let rich = |element: Value| json!([{ "type": "rich_text", "elements": [{ "type": "rich_text_section", "elements": [element] }] }]);
    assert!(invalid(rich(json!({ "type": "broadcast", "range": "here" }))).contains("`broadcast`"));
    assert!(invalid(rich(json!({ "type": "user", "user_id": "U1" }))).contains("`user`"));
    assert!(invalid(json!([{ "type": "actions", "elements": [] }])).contains("`actions`"));
    let button = json!({ "type": "button", "text": { "type": "plain_text", "text": "Go" }, "action_id": "go" });
    assert!(invalid(json!([{ "type": "section", "accessory": button }])).contains("accessory"));
    assert!(invalid(json!([])).contains("1 to 50") && invalid(json!("x")).contains("1 to 50"));
    assert_eq!(host.sent().len(), sent);
    let refused = json!({ "ok": false, "error": "invalid_blocks", "response_metadata": { "messages": ["[ERROR] must be more than 0 characters"] } });
    host.on("POST", "actions", "/chat.postMessage", Answer::new(200).json(refused));
    let why = host.call_tool("slack_send_blocks", json!({ "blocks": [{ "type": "divider" }] })).unwrap_err();
    assert!(why.text().contains("must be more than 0 characters"), "{why}");
}

#[carapace_sdk::test]
fn elsewhere_nothing_is_guessed_and_what_slack_refuses_is_said_with_what_to_do(host: &mut TestHost) {
    host.place(&Conversation::direct("D1"), &[("last-sent", "1.2"), ("message", "1.1")]);
    for (name, arguments) in [
        ("slack_delete_message", json!({ "channel": "C2" })),
        ("slack_update_message", json!({ "channel": "C2", "text": "x" })),
        ("slack_add_reaction", json!({ "channel": "C2", "emoji": "eyes" })),
    ] {
        let why = host.call_tool(name, arguments).unwrap_err();
        assert!(why.text().contains("`timestamp`"), "{name}: {why}");
    }
    for (name, arguments, says) in [
        ("slack_add_reaction", json!({ "emoji": "👍" }), "thumbsup"),
        ("slack_update_message", json!({ "text": "x".repeat(4_001) }), "4000"),
        ("slack_update_message", json!({ "text": " " }), "says nothing"),
        ("slack_delete_message", json!({ "timestamp": "yesterday" }), "1700000000.000123"),
    ] {
        let why = host.call_tool(name, arguments).unwrap_err();
        assert!(why.text().contains(says), "{name}: {why}");
    }
    assert!(host.sent().is_empty());
    for (error, says) in [
        ("cant_delete_message", "assistant's own"),
        ("message_not_found", "no such message"),
        ("channel_not_found", "invite it"),
        ("fatal_error", "Slack failed"),
    ] {
        host.on("POST", "actions", "/chat.delete", Answer::new(200).json(json!({ "ok": false, "error": error })));
        let why = host.call_tool("slack_delete_message", json!({})).unwrap_err();
        assert!(why.text().contains(says), "{error}: {why}");
    }
    let scope = json!({ "ok": false, "error": "missing_scope", "needed": "reactions:write" });
    host.on("POST", "actions", "/reactions.add", Answer::new(200).json(scope));
    let why = host.call_tool("slack_add_reaction", json!({ "emoji": "eyes" })).unwrap_err();
    assert!(why.text().contains("`reactions:write`"), "{why}");
    host.fresh();
    assert!(host.call_tool("slack_delete_message", json!({})).unwrap_err().text().contains("`channel`"));
}
