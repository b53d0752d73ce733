//! What the assistant does besides answering.

use super::*;

fn asked(host: &TestHost) -> Value {
    serde_json::from_slice(&host.sent().pop().unwrap().body).unwrap_or_default()
}

#[carapace_sdk::test]
fn in_its_own_channel_a_tool_needs_to_be_told_neither_channel_nor_message(host: &mut TestHost) {
    let thread = Conversation { thread: Some("501".into()), ..Conversation::group("500", None) };
    host.place(&thread, &[("message", "10"), ("last-sent", "11")]);
    host.on("PATCH", "actions", "/channels/501/messages/11", Answer::new(200).json(json!({ "id": "11" })));
    let told =
        host.call_tool("discord_edit_message", json!({ "content": "now **bold** @everyone snake_case" })).unwrap();
    assert_eq!(told.text(), "11");
    assert_eq!(
        asked(host),
        json!({ "content": r"now **bold** @everyone snake\_case", "allowed_mentions": { "parse": [] } })
    );
    host.on("DELETE", "actions", "/channels/501/messages/11", Answer::new(204));
    assert_eq!(host.call_tool("discord_delete_message", json!({})).unwrap().text(), "11");
    // A reaction is about what was just said.
    host.on("PUT", "actions", "/channels/501/messages/10/reactions/%F0%9F%91%8D/@me", Answer::new(204));
    assert_eq!(host.call_tool("discord_add_reaction", json!({ "emoji": "👍" })).unwrap().text(), "10");
    for own in ["crab:1234", "<:crab:1234>", "<a:crab:1234>"] {
        host.on("PUT", "actions", "/channels/600/messages/5/reactions/crab%3A1234/@me", Answer::new(204));
        let there = json!({ "emoji": own, "channel_id": "600", "message_id": "5" });
        assert_eq!(host.call_tool("discord_add_reaction", there).unwrap().text(), "5");
    }
    host.place(&Conversation::group("500", None), &[("message", "10")]);
    let made = Answer::new(201).json(json!({ "id": "10", "type": 11, "parent_id": "500" }));
    host.on("POST", "actions", "/channels/500/messages/10/threads", made);
    assert_eq!(host.call_tool("discord_create_thread", json!({ "name": "About it" })).unwrap().text(), "10");
    assert_eq!(asked(host), json!({ "name": "About it", "auto_archive_duration": 1_440 }));
}

#[carapace_sdk::test]
fn an_embed_is_what_was_said_and_no_longer_than_discord_takes(host: &mut TestHost) {
    host.place(&Conversation::direct("60"), &[]);
    host.on("POST", "actions", "/channels/60/messages", Answer::new(200).json(json!({ "id": "12" })));
    let embed = json!({ "title": "Report", "description": "**Up**", "url": "https://example.com", "color": "#5865f2", "footer": "today",
        "fields": [{ "name": "a", "value": "1", "inline": true }, { "name": "b", "value": "2" }] });
    assert_eq!(host.call_tool("discord_send_embed", embed).unwrap().text(), "12");
    assert_eq!(
        asked(host),
        json!({ "allowed_mentions": { "parse": [] }, "embeds": [{ "title": "Report", "description": "**Up**", "url": "https://example.com",
            "color": 0x58_65f2, "footer": { "text": "today" },
            "fields": [{ "name": "a", "value": "1", "inline": true }, { "name": "b", "value": "2", "inline": false }] }] })
    );
    let field = |length: usize| json!({ "name": "n", "value": "v".repeat(length) });
    for (embed, says) in [
        (json!({}), "says nothing"),
        (json!({ "title": "t".repeat(257) }), "`title` has 257 characters, and at most 256"),
        (json!({ "fields": vec![field(1); 26] }), "at most 25"),
        (json!({ "fields": [field(1_025)] }), "at most 1024"),
        (json!({ "fields": [{ "name": "n", "value": " " }] }), "neither is empty"),
        (json!({ "fields": vec![field(1_000); 6] }), "at most 6000"),
        (json!({ "title": "t", "url": "javascript:x" }), "web address"),
        (json!({ "title": "t", "color": "red" }), "#RRGGBB"),
    ] {
        match host.call_tool("discord_send_embed", embed) {
            Err(carapace_sdk::ToolError::InvalidArguments(why)) => assert!(why.contains(says), "{says}: {why}"),
            other => panic!("{says}: {other:?}"),
        }
    }
    assert_eq!(host.sent().len(), 1);
}

#[carapace_sdk::test]
fn elsewhere_nothing_is_guessed_and_what_discord_refuses_is_said_with_what_to_do(host: &mut TestHost) {
    host.place(&Conversation::direct("60"), &[("last-sent", "11"), ("message", "10")]);
    for (name, arguments, says) in [
        ("discord_delete_message", json!({ "channel_id": "600" }), "`message_id`"),
        ("discord_delete_message", json!({ "message_id": "../5" }), "`message_id` is a number"),
        ("discord_delete_message", json!({ "channel_id": "general", "message_id": "5" }), "`channel_id` is a number"),
        ("discord_add_reaction", json!({ "emoji": ":thumbsup:" }), "👍"),
        ("discord_edit_message", json!({ "content": "x".repeat(2_001) }), "2000"),
        ("discord_create_thread", json!({ "name": "x" }), "direct messages"),
    ] {
        let why = host.call_tool(name, arguments).unwrap_err();
        assert!(why.text().contains(says), "{name}: {why}");
    }
    host.place(&Conversation { thread: Some("501".into()), ..Conversation::group("500", None) }, &[("message", "10")]);
    let why = host.call_tool("discord_create_thread", json!({ "name": "x" })).unwrap_err();
    assert!(why.text().contains("a thread already"), "{why}");
    assert!(host.sent().is_empty());
    for (status, code, says) in [
        (404, 10_008, "deleted"),
        (403, 50_005, "bot's own"),
        (403, 50_013, "Manage Messages"),
        (400, 1, "code 1"),
        (500, 0, "Discord failed"),
    ] {
        let refused = Answer::new(status).json(json!({ "message": "m", "code": code }));
        host.on("PATCH", "actions", "/channels/501/messages/5", refused);
        let why = host.call_tool("discord_edit_message", json!({ "content": "x", "message_id": "5" })).unwrap_err();
        assert!(why.text().contains(says), "{code}: {why}");
    }
    host.fresh();
    assert!(host.call_tool("discord_delete_message", json!({})).unwrap_err().text().contains("`channel_id`"));
}
