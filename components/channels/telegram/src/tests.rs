use carapace_sdk::channel::{Attachment, Conversation, ConversationKind, Event, File, Item, WebhookRequest};
use carapace_sdk::testing::{Answer, TestHost};
use serde_json::{Value, json};

fn ok(result: Value) -> Answer {
    Answer::new(200).json(json!({ "ok": true, "result": result }))
}

fn state() -> Value {
    json!({ "offset": 10, "me": { "id": 42, "is_bot": true, "first_name": "Carapace", "last_name": null, "username": "carapace_bot" } })
}

fn update(n: i64, message: Value) -> Event {
    let data = json!({ "update_id": n, "message": message }).to_string().into_bytes();
    Event::Item(Item { cursor: n.to_string(), data })
}

fn text(chat: Value, text: &str) -> Value {
    json!({ "message_id": 5, "date": 1_700_000_000, "chat": chat, "from": { "id": 7, "is_bot": false, "first_name": "Ann", "last_name": "Lee" }, "text": text })
}

#[carapace_sdk::test]
fn it_learns_who_it_is_takes_a_webhook_away_and_polls(host: &mut TestHost) {
    host.on(
        "GET",
        "api",
        "/getMe",
        ok(json!({ "id": 42, "is_bot": true, "first_name": "C", "username": "carapace_bot" })),
    )
    .on("POST", "api", "/deleteWebhook", ok(json!(true)));
    let led = host.start_channel(None).unwrap();
    let polls = led.polls().unwrap();
    assert!(polls.starts_with("api:/getUpdates?timeout=25") && !polls.contains("offset"), "{polls}");
    assert_eq!(led.state::<Value>()["me"]["username"], "carapace_bot");
    // The same bot goes on where it was; another one begins anew.
    host.on("GET", "api", "/getMe", ok(json!({ "id": 42, "first_name": "C" }))).on(
        "POST",
        "api",
        "/deleteWebhook",
        ok(json!(true)),
    );
    assert!(host.start_channel(Some(&state())).unwrap().polls().unwrap().contains("offset=10"));
    host.on("GET", "api", "/getMe", ok(json!({ "id": 43, "first_name": "D" }))).on(
        "POST",
        "api",
        "/deleteWebhook",
        ok(json!(true)),
    );
    assert!(!host.start_channel(Some(&state())).unwrap().polls().unwrap().contains("offset"));
}

#[carapace_sdk::test]
fn a_private_message_is_read_and_the_offset_moves_past_it(host: &mut TestHost) {
    let led = host.channel_event(&state(), update(11, text(json!({ "id": 7, "type": "private" }), "Hello"))).unwrap();
    let m = &led.messages()[0];
    assert_eq!((m.text.as_str(), m.key.as_str(), m.id.as_str()), ("Hello", "7:5", "5"));
    assert_eq!((m.sender.id.as_str(), m.sender.name.as_str(), m.sender.is_bot), ("7", "Ann Lee", false));
    assert_eq!((m.conversation.kind, m.at_ms), (ConversationKind::Direct, Some(1_700_000_000_000)));
    assert!(led.polls().unwrap().contains("offset=12"));
    // An update that comes late does not move it back.
    let led = host.channel_event(&state(), update(3, text(json!({ "id": 7, "type": "private" }), "Old"))).unwrap();
    assert!(led.polls().unwrap().contains("offset=10"));
}

#[carapace_sdk::test]
fn in_a_group_a_mention_is_seen_by_its_utf16_place(host: &mut TestHost) {
    let group = json!({ "id": -100, "type": "supergroup", "title": "Team" });
    let mention = |text_: &str, kind: &str, offset: usize, length: usize| {
        let mut m = text(group.clone(), text_);
        m["entities"] = json!([{ "type": kind, "offset": offset, "length": length }]);
        m
    };
    for (message, mentioned) in [
        (mention("🦀 @Carapace_Bot hi", "mention", 3, 13), true),
        (mention("@carapace_bots hi", "mention", 0, 14), false),
        (mention("/ask@carapace_bot hi", "bot_command", 0, 17), true),
        (mention("/ask hi", "bot_command", 0, 4), false),
        (text(group.clone(), "carapace_bot"), false),
    ] {
        let led = host.channel_event(&state(), update(11, message.clone())).unwrap();
        assert_eq!(led.messages()[0].mentions_me, mentioned, "{message}");
    }
    let mut reply = text(group.clone(), "yes");
    reply["reply_to_message"] =
        json!({ "message_id": 4, "date": 1, "chat": group, "from": { "id": 42, "is_bot": true, "first_name": "C" } });
    let led = host.channel_event(&state(), update(11, reply)).unwrap();
    assert!(led.messages()[0].mentions_me);
    assert_eq!(led.messages()[0].reply_to.as_deref(), Some("4"));
}

#[carapace_sdk::test]
fn topics_files_edits_and_buttons_are_understood(host: &mut TestHost) {
    let mut m = text(json!({ "id": -100, "type": "supergroup", "title": "Team" }), "x");
    m["message_thread_id"] = json!(9);
    m["is_topic_message"] = json!(true);
    m["photo"] = json!([{ "file_id": "small" }, { "file_id": "large", "file_size": 99 }]);
    let led = host.channel_event(&state(), update(11, m.clone())).unwrap();
    let said = &led.messages()[0];
    assert_eq!(said.conversation.thread.as_deref(), Some("9"));
    assert_eq!(
        (said.attachments[0].reference.as_str(), said.attachments[0].mime.as_deref()),
        ("large", Some("image/jpeg"))
    );

    let data = json!({ "update_id": 12, "edited_message": m }).to_string().into_bytes();
    let led = host.channel_event(&state(), Event::Item(Item { cursor: "12".into(), data })).unwrap();
    assert!(led.is_edit(0));
    assert_eq!(led.messages()[0].key, "edit:12");

    let callback = json!({ "update_id": 13, "callback_query": { "id": "cb", "from": { "id": 8, "first_name": "Bo" }, "message": m, "data": "yes" } });
    let data = callback.to_string().into_bytes();
    let led = host.channel_event(&state(), Event::Item(Item { cursor: "13".into(), data })).unwrap();
    assert_eq!((led.messages()[0].text.as_str(), led.messages()[0].sender.id.as_str()), ("yes", "8"));
    assert_eq!(
        led.requests(),
        [("POST".to_owned(), "api:/answerCallbackQuery".to_owned(), json!({ "callback_query_id": "cb" }))]
    );
}

#[carapace_sdk::test]
fn nobody_is_answered_who_has_no_id_and_what_it_said_itself_is_known(host: &mut TestHost) {
    let mut anonymous = text(json!({ "id": -100, "type": "supergroup" }), "x");
    anonymous["from"] = Value::Null;
    anonymous["sender_chat"] = json!({ "id": -100, "type": "supergroup", "title": "Team" });
    assert_eq!(host.channel_event(&state(), update(11, anonymous)).unwrap().messages()[0].sender.id, "");
    let mut own = text(json!({ "id": -100, "type": "supergroup" }), "x");
    own["from"] = json!({ "id": 42, "is_bot": true, "first_name": "C" });
    let led = host.channel_event(&state(), update(11, own)).unwrap();
    assert!(led.messages()[0].sender.is_me && led.messages()[0].sender.is_bot);
}

#[carapace_sdk::test]
fn a_poll_is_split_into_updates_and_its_errors_are_told_apart(host: &mut TestHost) {
    let body = json!({ "ok": true, "result": [{ "update_id": 1, "message": {} }, { "update_id": 2 }] }).to_string();
    let cursors: Vec<String> = host.split(200, body).unwrap().into_iter().map(|i| i.cursor).collect();
    assert_eq!(cursors, ["1", "2"]);
    let failed = |host: &mut TestHost, code: u16, more: Value| {
        let mut body = json!({ "ok": false, "error_code": code, "description": "d" });
        body["parameters"] = more;
        host.split(code, body.to_string()).unwrap_err()
    };
    let f = failed(host, 401, json!({}));
    assert!(!f.retryable && f.message.contains("carapace secrets set bot-token"), "{}", f.message);
    assert!(failed(host, 409, json!({})).message.contains("another program"));
    assert_eq!(failed(host, 429, json!({ "retry_after": 3 })).retry_after_ms, Some(3_000));
    assert!(host.split(502, "<html>").unwrap_err().retryable);
}

#[carapace_sdk::test]
fn markdown_goes_out_as_text_with_entities_in_utf16(host: &mut TestHost) {
    let to = Conversation::direct("7");
    let part = host.render(&to, "🦀 **bold** `x` [site](https://example.com) [odd](javascript:x)").unwrap().remove(0);
    host.on("POST", "api", "/sendMessage", ok(json!({ "message_id": 77 })));
    assert_eq!(host.send_part(&to, part, "k").unwrap().id, "77");
    let body: Value = serde_json::from_slice(&host.sent().remove(0).body).unwrap();
    assert_eq!(body["text"], "🦀 bold x site odd");
    assert_eq!(body["chat_id"], 7);
    assert_eq!(
        body["entities"],
        json!([
            { "offset": 3, "length": 4, "type": "bold" },
            { "offset": 8, "length": 1, "type": "code" },
            { "offset": 10, "length": 4, "type": "text_link", "url": "https://example.com" },
        ])
    );
}

#[carapace_sdk::test]
fn what_may_have_arrived_is_uncertain_and_what_did_not_is_not(host: &mut TestHost) {
    let to = Conversation::direct("7");
    let part = host.render(&to, "hi").unwrap().remove(0);
    for (answer, retryable, uncertain) in [
        (Answer::unreachable(), true, false),
        (Answer::failing(carapace_sdk::Error::Timeout("t".into()), true), true, true),
        (Answer::new(502).chunk("<html>"), true, true),
        (Answer::new(429).json(json!({ "ok": false, "error_code": 429, "description": "d" })), true, false),
        (
            Answer::new(403).json(json!({ "ok": false, "error_code": 403, "description": "blocked by the user" })),
            false,
            false,
        ),
    ] {
        host.fresh().on("POST", "api", "/sendMessage", answer.clone());
        let f = host.send_part(&to, part.clone(), "k").unwrap_err();
        assert_eq!((f.retryable, f.uncertain), (retryable, uncertain), "{answer:?}: {}", f.message);
    }
}

#[carapace_sdk::test]
fn a_long_answer_is_several_messages_of_which_the_first_replies(host: &mut TestHost) {
    let parts = host.render(&Conversation::direct("7"), &"A sentence of words. ".repeat(500)).unwrap();
    assert!(parts.len() == 3 && parts.iter().all(|p| p.text.encode_utf16().count() <= 4_096));
}

fn asked(host: &mut TestHost) -> Value {
    serde_json::from_slice(&host.sent().pop().unwrap().body).unwrap()
}

#[carapace_sdk::test]
fn in_its_own_chat_a_tool_needs_to_be_told_neither_chat_nor_message(host: &mut TestHost) {
    let topic = Conversation { thread: Some("9".into()), ..Conversation::group("-100", None) };
    host.place(&topic, &[("message", "5"), ("reply-to", "4"), ("last-sent", "77")]);
    host.on("POST", "actions", "/editMessageText", ok(json!({ "message_id": 77 })));
    let done = host.call_tool("telegram_edit_message", json!({ "text": "now **bold**" })).unwrap();
    assert_eq!(done.text(), "77");
    assert_eq!(
        asked(host),
        json!({
            "chat_id": -100, "message_id": 77, "text": "now bold", "entities": [{ "type": "bold", "offset": 4, "length": 4 }],
            "link_preview_options": { "is_disabled": true },
        })
    );
    host.on("POST", "actions", "/pinChatMessage", ok(json!(true)));
    host.call_tool("telegram_pin_message", json!({})).unwrap();
    assert_eq!(asked(host), json!({ "chat_id": -100, "message_id": 4, "disable_notification": true }));
    host.on("POST", "actions", "/deleteMessage", ok(json!(true)));
    host.call_tool("telegram_delete_message", json!({ "message_id": 5 })).unwrap();
    assert_eq!(asked(host), json!({ "chat_id": -100, "message_id": 5 }));
    host.on("POST", "actions", "/sendPhoto", ok(json!({ "message_id": 78 })));
    let photo = json!({ "url": "https://example.com/a.jpg", "caption": "_here_" });
    assert_eq!(host.call_tool("telegram_send_photo", photo).unwrap().text(), "78");
    let body = asked(host);
    assert_eq!((&body["message_thread_id"], &body["caption"]), (&json!(9), &json!("here")));
    assert_eq!(body["caption_entities"], json!([{ "type": "italic", "offset": 0, "length": 4 }]));
}

#[carapace_sdk::test]
fn buttons_bring_their_data_and_what_telegram_would_refuse_is_not_sent(host: &mut TestHost) {
    host.place(&Conversation::direct("7"), &[("last-sent", "77")]);
    host.on("POST", "actions", "/editMessageReplyMarkup", ok(json!({ "message_id": 77 })));
    let rows =
        json!([[{ "text": "Yes", "data": "y" }, { "text": "No" }], [{ "text": "Site", "url": "https://example.com" }]]);
    host.call_tool("telegram_reply_markup", json!({ "rows": rows })).unwrap();
    assert_eq!(
        asked(host)["reply_markup"],
        json!({ "inline_keyboard": [
            [{ "text": "Yes", "callback_data": "y" }, { "text": "No", "callback_data": "No" }],
            [{ "text": "Site", "url": "https://example.com" }],
        ] })
    );
    let sent = host.sent().len();
    let mut invalid = |name: &str, arguments: Value| match host.call_tool(name, arguments) {
        Err(carapace_sdk::ToolError::InvalidArguments(why)) => why,
        other => panic!("{other:?}"),
    };
    let long = "x".repeat(65);
    assert!(
        invalid("telegram_reply_markup", json!({ "rows": [[{ "text": "a", "data": long }]] })).contains("64 bytes")
    );
    assert!(
        invalid("telegram_reply_markup", json!({ "rows": [[{ "text": "a", "url": "javascript:x" }]] })).contains("web")
    );
    assert!(invalid("telegram_edit_message", json!({ "text": "x".repeat(4_097) })).contains("4096"));
    assert!(invalid("telegram_send_photo", json!({ "url": "AgACAgIAAx" })).contains("`url`"));
    assert_eq!(host.sent().len(), sent);
}

#[carapace_sdk::test]
fn in_another_chat_nothing_is_guessed(host: &mut TestHost) {
    host.place(&Conversation::direct("7"), &[("last-sent", "77")]);
    let why = host.call_tool("telegram_delete_message", json!({ "chat_id": 8 })).unwrap_err();
    assert!(why.text().contains("`message_id`"), "{why}");
    host.fresh();
    let why = host.call_tool("telegram_delete_message", json!({ "message_id": 5 })).unwrap_err();
    assert!(why.text().contains("`chat_id`"), "{why}");
    host.on(
        "POST",
        "actions",
        "/deleteMessage",
        Answer::new(400)
            .json(json!({ "ok": false, "error_code": 400, "description": "Bad Request: message can't be deleted" })),
    );
    let why = host.call_tool("telegram_delete_message", json!({ "message_id": 5, "chat_id": 8 })).unwrap_err();
    assert!(why.text().contains("can't be deleted"), "{why}");
}

#[carapace_sdk::test]
fn a_file_is_asked_for_by_its_id_and_kept_from_its_own_address(host: &mut TestHost) {
    let file = || Attachment { reference: "AgAC a".into(), name: None, mime: None, size: None, extra: Vec::new() };
    let at = |path: &str| ok(json!({ "file_id": "AgAC", "file_unique_id": "u", "file_path": path }));
    host.on("GET", "api", "/getFile", at("photos/file_1.jpg"));
    host.on("GET", "files", "/photos/file_1.jpg", Answer::new(200).chunk("\u{fffd}").chunk("rest"));
    let id = host.fetch_media(file()).unwrap();
    assert_eq!(host.kept(&id).unwrap(), "\u{fffd}rest".as_bytes());
    assert_eq!(host.sent()[0].target.to_string(), "api:/getFile?file_id=AgAC%20a");
    for (status, retryable) in [(404, true), (500, true), (403, false)] {
        host.on("GET", "api", "/getFile", at("x")).on("GET", "files", "/x", Answer::new(status).chunk("no"));
        assert_eq!(host.fetch_media(file()).unwrap_err().retryable, retryable, "{status}");
    }
    host.on("GET", "api", "/getFile", ok(json!({ "file_id": "AgAC" })));
    assert!(!host.fetch_media(file()).unwrap_err().retryable);
}

fn file(host: &mut TestHost, name: &str, mime: &str, data: &[u8]) -> File {
    File { blob: host.blob(data), name: name.into(), mime: mime.into(), size: data.len() as u64 }
}

#[carapace_sdk::test]
fn files_follow_the_text_as_photos_where_they_can_be(host: &mut TestHost) {
    let topic = Conversation { thread: Some("9".into()), ..Conversation::group("-100", None) };
    let image = file(host, "a.png", "image/png", b"\x89PNG");
    let report = file(host, "b.pdf", "application/pdf", b"%PDF\r\n--form-");
    let parts = host.render_with(&topic, "look", vec![image, report]).unwrap();
    assert_eq!(parts.iter().map(|p| p.text.as_str()).collect::<Vec<_>>(), ["look", "[a.png]", "[b.pdf]"]);
    host.on("POST", "api", "/sendPhoto", ok(json!({ "message_id": 78 })));
    assert_eq!(host.send_part(&topic, parts[1].clone(), "k").unwrap().id, "78");
    let sent = host.sent().pop().unwrap();
    let body = String::from_utf8_lossy(&sent.body);
    assert!(
        sent.headers.iter().any(|(n, v)| n == "content-type" && v.starts_with("multipart/form-data; boundary=form-"))
    );
    assert!(body.contains("name=\"chat_id\"\r\n\r\n-100\r\n"), "{body}");
    assert!(body.contains("name=\"message_thread_id\"\r\n\r\n9\r\n"), "{body}");
    assert!(body.contains("name=\"photo\"; filename=\"a.png\"\r\ncontent-type: image/png\r\n\r\n"), "{body}");
    assert!(sent.body.windows(8).any(|w| w == b"\r\n\x89PNG\r\n"), "{body}");

    host.on("POST", "api", "/sendDocument", ok(json!({ "message_id": 79 })));
    assert_eq!(host.send_part(&topic, parts[2].clone(), "k").unwrap().id, "79");
    // What Telegram takes for no photo is a document all the same; what may have arrived is not sent twice.
    let refused = Answer::new(400)
        .json(json!({ "ok": false, "error_code": 400, "description": "Bad Request: PHOTO_INVALID_DIMENSIONS" }));
    host.on("POST", "api", "/sendPhoto", refused).on("POST", "api", "/sendDocument", ok(json!({ "message_id": 80 })));
    assert_eq!(host.send_part(&topic, parts[1].clone(), "k").unwrap().id, "80");
    host.on("POST", "api", "/sendPhoto", Answer::new(502).chunk("<html>"));
    assert!(host.send_part(&topic, parts[1].clone(), "k").unwrap_err().uncertain);
}

#[carapace_sdk::test]
fn an_answer_takes_the_place_of_its_draft(host: &mut TestHost) {
    let to = Conversation { thread: Some("9".into()), ..Conversation::group("-100", None) };
    let part = host.render(&to, "**all** of it").unwrap().remove(0);
    host.on("POST", "api", "/editMessageText", ok(json!({ "message_id": 77 })));
    host.edit_part(&to, part.clone(), "k", "77").unwrap();
    let body = asked(host);
    assert_eq!((&body["chat_id"], &body["message_id"], &body["text"]), (&json!(-100), &json!(77), &json!("all of it")));
    assert!(body.get("message_thread_id").is_none() && body["entities"][0]["type"] == "bold", "{body}");
    let refused = |why: &str| Answer::new(400).json(json!({ "ok": false, "error_code": 400, "description": why }));
    host.on("POST", "api", "/editMessageText", refused("Bad Request: message is not modified: it says that"));
    host.edit_part(&to, part.clone(), "k", "77").unwrap();
    host.on("POST", "api", "/editMessageText", refused("Bad Request: message to edit not found"));
    assert!(!host.edit_part(&to, part.clone(), "k", "77").unwrap_err().retryable);
    let image = file(host, "a.png", "image/png", b"\x89PNG");
    let part = host.render_with(&to, "", vec![image]).unwrap().remove(0);
    assert!(!host.edit_part(&to, part, "k", "77").unwrap_err().retryable);
}

fn pushed(update: &Value) -> Event {
    Event::Webhook(WebhookRequest {
        webhook: "updates".into(),
        method: "POST".into(),
        query: String::new(),
        headers: Vec::new(),
        body: update.to_string().into_bytes(),
    })
}

#[carapace_sdk::test]
fn by_webhook_nothing_is_polled_and_the_token_is_the_kernels(host: &mut TestHost) {
    host.config(json!({ "webhook": "https://bot.example.com/channels/telegram/updates" }));
    let without = ok(json!({ "id": 42, "is_bot": true, "first_name": "C" }));
    let why = host.on("GET", "api", "/getMe", without).start_channel(None).unwrap_err();
    assert!(!why.retryable && why.message.contains("webhook-token --generate"), "{}", why.message);
    host.secret("webhook-token", "made by chance");
    let me = ok(json!({ "id": 42, "is_bot": true, "first_name": "C", "username": "carapace_bot" }));
    host.on("GET", "api", "/getMe", me.clone()).on("POST", "api", "/setWebhook", ok(json!(true)));
    let led = host.start_channel(None).unwrap();
    assert!(led.polls().is_none(), "{led:?}");
    let body = asked(host);
    assert_eq!(body["url"], "https://bot.example.com/channels/telegram/updates");
    assert!(body["secret_token"].is_null() && body["allowed_updates"][0] == "message", "{body}");
    let said = text(json!({ "id": 7, "type": "private" }), "Hello");
    let led = host.channel_event(&led.state(), pushed(&json!({ "update_id": 11, "message": said }))).unwrap();
    assert_eq!(led.messages()[0].key, "7:5");
    assert!(led.polls().is_none(), "{led:?}");
    host.config(json!({ "webhook": "bot.example.com" })).on("GET", "api", "/getMe", me);
    assert!(!host.start_channel(None).unwrap_err().retryable);
}
