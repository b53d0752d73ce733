use carapace_sdk::channel::{Attachment, Conversation, ConversationKind, Event, File};
use carapace_sdk::testing::{Answer, TestHost};
use serde_json::{Value, json};

const ME: &str = "+4915100000000";
const ANN: &str = "6f3c4b1e-0000-4000-8000-000000000007";

fn config() -> Value {
    json!({ "number": ME })
}

fn envelope(data: Value) -> Value {
    json!({ "account": ME, "envelope": { "source": "+4915100000007", "sourceNumber": "+4915100000007", "sourceUuid": ANN, "sourceName": "Ann",
        "sourceDevice": 1, "timestamp": 1_700_000_000_000_u64, "dataMessage": data } })
}

fn said(text: &str) -> Value {
    envelope(json!({ "timestamp": 1_700_000_000_000_u64, "message": text, "expiresInSeconds": 0, "viewOnce": false }))
}

#[carapace_sdk::test]
fn how_it_listens_depends_on_how_the_server_runs(host: &mut TestHost) {
    let led = host.start_channel(None).unwrap();
    assert!(led.keeps_a_socket().is_none() && led.polls().is_none());
    assert!(led.fatal().unwrap().contains("instances: { signal: { config: { number:"), "{:?}", led.fatal());
    let about = |mode: &str| Answer::new(200).json(json!({ "versions": ["v1", "v2"], "mode": mode }));
    host.fresh().config(config()).on("GET", "api", "/v1/about", about("json-rpc"));
    assert_eq!(host.start_channel(None).unwrap().keeps_a_socket(), Some(0));
    let led = host.channel_event(&json!({}), Event::dial("start")).unwrap();
    assert_eq!(led.connects().unwrap(), "receive:/v1/receive/%2B4915100000000");
    host.fresh().config(config()).on("GET", "api", "/v1/about", about("normal"));
    assert_eq!(host.start_channel(None).unwrap().polls().unwrap(), "api:/v1/receive/%2B4915100000000?timeout=10");
    host.fresh().config(config()).on("GET", "api", "/v1/about", Answer::unreachable());
    assert!(host.start_channel(None).unwrap_err().retryable);
    host.fresh().config(json!({ "number": "0151 123" }));
    let f = host.start_channel(None).unwrap_err();
    assert!(!f.retryable && f.message.contains("+49"), "{}", f.message);
}

#[carapace_sdk::test]
fn direct_messages_groups_mentions_and_files_are_read(host: &mut TestHost) {
    host.config(config());
    let led = host.channel_event(&json!({}), Event::json(1, &said("Hello"))).unwrap();
    let m = &led.messages()[0];
    assert_eq!((m.text.as_str(), m.sender.id.as_str(), m.sender.name.as_str()), ("Hello", ANN, "Ann"));
    assert_eq!(
        (m.conversation.kind, m.conversation.id.as_str(), m.at_ms),
        (ConversationKind::Direct, ANN, Some(1_700_000_000_000))
    );
    assert_eq!(m.key, format!("1700000000000:{ANN}"));

    let group = json!({ "groupId": "aGVsbG8=", "groupName": "Team", "type": "DELIVER" });
    let mut data = json!({ "timestamp": 1, "message": "\u{1f980} \u{fffc} and \u{fffc}?", "groupInfo": group,
        "mentions": [{ "start": 3, "length": 1, "number": ME, "name": "Carapace", "uuid": "u" }, { "start": 9, "length": 1, "number": "+1", "name": "Bo" }] });
    let m = host.channel_event(&json!({}), Event::json(1, &envelope(data.clone()))).unwrap().messages().remove(0);
    assert_eq!((m.text.as_str(), m.mentions_me), ("\u{1f980} @Carapace and @Bo?", true));
    assert_eq!(
        (m.conversation.kind, m.conversation.id.as_str(), m.conversation.title.as_deref()),
        (ConversationKind::Group, "group.YUdWc2JHOD0=", Some("Team"))
    );
    data["mentions"] = json!([{ "start": 90, "length": 1, "number": "+1", "name": "Bo" }]);
    data["quote"] = json!({ "id": 77, "author": ME, "authorNumber": ME, "text": "?" });
    let m = host.channel_event(&json!({}), Event::json(1, &envelope(data))).unwrap().messages().remove(0);
    assert_eq!((m.mentions_me, m.reply_to.as_deref()), (true, Some("77:+4915100000000")));

    let files = json!({ "timestamp": 2, "message": null, "attachments": [{ "id": "a1.png", "filename": "a.png", "contentType": "image/png", "size": 9 }] });
    let a = host
        .channel_event(&json!({}), Event::json(1, &envelope(files)))
        .unwrap()
        .messages()
        .remove(0)
        .attachments
        .remove(0);
    assert_eq!((a.reference.as_str(), a.mime.as_deref(), a.size), ("a1.png", Some("image/png"), Some(9)));
}

#[carapace_sdk::test]
fn edits_are_told_and_what_is_no_message_is_passed_over(host: &mut TestHost) {
    host.config(config());
    let mut edit = envelope(json!(null));
    edit["envelope"]["editMessage"] = json!({ "targetSentTimestamp": 1_700_000_000_000_u64, "dataMessage": { "timestamp": 1_700_000_000_500_u64, "message": "Hello again" } });
    let led = host.channel_event(&json!({}), Event::json(1, &edit)).unwrap();
    assert!(led.is_edit(0));
    let m = &led.messages()[0];
    assert_eq!((m.id.clone(), m.key.clone()), (format!("1700000000000:{ANN}"), format!("edit:1700000000500:{ANN}")));
    for other in [
        envelope(json!({ "timestamp": 1, "message": null, "reaction": { "emoji": "x", "targetSentTimestamp": 1 } })),
        json!({ "account": ME, "envelope": { "sourceUuid": ANN, "timestamp": 1, "receiptMessage": { "isRead": true } } }),
        json!({ "account": ME, "envelope": { "sourceUuid": ANN, "timestamp": 1, "syncMessage": { "sentMessage": { "message": "mine" } } } }),
        json!({ "account": ME, "envelope": { "sourceUuid": ANN, "timestamp": 1, "typingMessage": { "action": "STARTED" } } }),
        json!({ "error": "could not decrypt" }),
        json!([]),
    ] {
        assert!(host.channel_event(&json!({}), Event::json(1, &other)).unwrap().messages().is_empty(), "{other}");
    }
    assert!(host.channel_event(&json!({}), Event::text(1, "no JSON")).unwrap().messages().is_empty());
    // Some versions write a field twice.
    let twice = said("Hello").to_string().replace("\"sourceName\"", "\"sourceName\":\"Old\",\"sourceName\"");
    assert_eq!(host.channel_event(&json!({}), Event::text(1, twice)).unwrap().messages()[0].sender.name, "Ann");
}

#[carapace_sdk::test]
fn a_poll_is_split_and_an_answer_quotes_what_it_answers(host: &mut TestHost) {
    host.config(config());
    let items = host.split(200, json!([said("a"), said("b")]).to_string()).unwrap();
    assert_eq!((items.len(), items[0].cursor.clone()), (2, format!("{ANN}:1700000000000")));
    let led = host.channel_event(&json!({}), Event::Item(items.into_iter().nth(1).unwrap())).unwrap();
    assert_eq!(led.messages()[0].text, "b");
    assert!(host.split(400, r#"{"error":"not registered"}"#).unwrap_err().retryable);
    assert!(host.split(502, "<html>").unwrap_err().retryable);

    let to = Conversation::group("group.YUdWc2JHOD0=", None);
    let mut part = host.render(&to, "**Hi** [site](https://example.com) https://x.example").unwrap().remove(0);
    let mut data: Value = serde_json::from_slice(&part.data).unwrap();
    assert_eq!(data["text"], "Hi site (https://example.com) https://x.example");
    data["reply_to"] = json!(format!("1700000000000:{ANN}"));
    part.data = data.to_string().into_bytes();
    host.on("POST", "api", "/v2/send", Answer::new(201).json(json!([{ "timestamp": "1700000000999" }])));
    assert_eq!(host.send_part(&to, part, "k").unwrap().id, "1700000000999");
    let body: Value = serde_json::from_slice(&host.sent().remove(0).body).unwrap();
    assert_eq!((&body["recipients"], &body["text_mode"]), (&json!(["group.YUdWc2JHOD0="]), &json!("normal")));
    assert_eq!((&body["quote_timestamp"], &body["quote_author"]), (&json!(1_700_000_000_000_u64), &json!(ANN)));
    let parts = host.render(&to, &"Ein Satz mit Wörtern. ".repeat(300)).unwrap();
    assert!(parts.len() == 4 && parts.iter().all(|p| p.text.len() <= 2_000), "{}", parts.len());
    host.on("DELETE", "api", "/v1/typing-indicator/%2B4915100000000", Answer::new(204));
    host.typing(&to, false).unwrap();
}

#[carapace_sdk::test]
fn what_may_have_arrived_is_uncertain_and_what_did_not_is_not(host: &mut TestHost) {
    let to = Conversation::direct(ANN);
    host.config(config());
    let part = host.render(&to, "hi").unwrap().remove(0);
    let no = |status: u16, error: &str| Answer::new(status).json(json!({ "error": error }));
    for (answer, retryable, uncertain) in [
        (Answer::unreachable(), true, false),
        (no(400, "Unregistered user"), false, false),
        (no(400, "Failed to send: Network failure"), true, true),
        (no(429, "rate limit"), true, false),
        (Answer::new(502).chunk("<html>"), true, true),
    ] {
        host.fresh().config(config()).on("POST", "api", "/v2/send", answer.clone());
        let f = host.send_part(&to, part.clone(), "k").unwrap_err();
        assert_eq!((f.retryable, f.uncertain), (retryable, uncertain), "{answer:?}: {}", f.message);
    }
}

#[carapace_sdk::test]
fn whoever_is_answered_sees_that_it_was_read_and_nobody_else(host: &mut TestHost) {
    const SEND: (&str, &str) = ("api", "/v2/send");
    const RECEIPTS: (&str, &str) = ("api", "/v1/receipts/%2B4915100000000");
    let to = Conversation::direct(ANN);
    let taken = || Answer::new(201).json(json!([{ "timestamp": "9" }]));
    let paths = |host: &TestHost| host.sent().iter().map(|s| s.target.to_string()).collect::<Vec<_>>();
    host.config(config());
    // What comes in is no reason: whether it is read, the kernel decides.
    assert!(host.channel_event(&json!({}), Event::json(1, &said("Hello"))).unwrap().requests().is_empty());
    // What answers nothing, such as a pairing code, is about no message.
    let code = host.render(&to, "your code").unwrap().remove(0);
    host.on("POST", SEND.0, SEND.1, taken());
    host.send_part(&to, code, "k").unwrap();
    assert_eq!(paths(host), ["api:/v2/send"]);

    let parts = host.render_answer(&to, &"A sentence of some length. ".repeat(100), &format!("17:{ANN}")).unwrap();
    assert!(parts.len() > 1);
    host.on("POST", RECEIPTS.0, RECEIPTS.1, Answer::new(204));
    for part in &parts {
        host.on("POST", SEND.0, SEND.1, taken());
        host.send_part(&to, part.clone(), "k").unwrap();
    }
    // Once, and first.
    assert_eq!(paths(host)[1..3], ["api:/v1/receipts/%2B4915100000000", "api:/v2/send"]);
    assert_eq!(paths(host).iter().filter(|p| p.contains("receipts")).count(), 1);
    let receipt: Value = serde_json::from_slice(&host.sent()[1].body).unwrap();
    assert_eq!(receipt, json!({ "receipt_type": "read", "recipient": ANN, "timestamp": 17 }));

    // An answer does not fail with it.
    host.on("POST", RECEIPTS.0, RECEIPTS.1, Answer::unreachable()).on("POST", SEND.0, SEND.1, taken());
    assert_eq!(host.send_part(&to, parts[0].clone(), "k").unwrap().id, "9");
    host.fresh().config(json!({ "number": ME, "readReceipts": false })).on("POST", SEND.0, SEND.1, taken());
    host.send_part(&to, parts[0].clone(), "k").unwrap();
    assert_eq!(paths(host), ["api:/v2/send"]);
}

#[carapace_sdk::test]
fn a_file_is_had_from_signal_cli(host: &mut TestHost) {
    let file = |id: &str| Attachment { reference: id.into(), name: None, mime: None, size: None, extra: Vec::new() };
    host.config(config());
    host.on("GET", "files", "/v1/attachments/a1.png", Answer::new(200).chunk("\u{fffd}").chunk("rest"));
    let id = host.fetch_media(file("a1.png")).unwrap();
    assert_eq!(host.kept(&id).unwrap(), "\u{fffd}rest".as_bytes());
    for (status, retryable) in [(404, false), (400, false), (500, true)] {
        host.on("GET", "files", "/v1/attachments/..%2Fconfig", Answer::new(status).json(json!({ "error": "no" })));
        assert_eq!(host.fetch_media(file("../config")).unwrap_err().retryable, retryable, "{status}");
    }
}

#[carapace_sdk::test]
fn a_reaction_is_about_what_was_just_said(host: &mut TestHost) {
    const PATH: &str = "/v1/reactions/%2B4915100000000";
    let asked = |host: &TestHost| serde_json::from_slice::<Value>(&host.sent().pop().unwrap().body).unwrap();
    let present = format!("1700000000000:{ANN}");
    let group = Conversation::group("group.YUdWc2JHOD0=", None);
    host.config(config()).place(&group, &[("message", &present), ("last-sent", "1700000000999")]);
    host.on("POST", "actions", PATH, Answer::new(204));
    assert_eq!(host.call_tool("signal_react", json!({ "emoji": "👍" })).unwrap().text(), present);
    let body = json!({ "reaction": "👍", "recipient": "group.YUdWc2JHOD0=", "target_author": ANN, "timestamp": 1_700_000_000_000_u64 });
    assert_eq!(asked(host), body);
    // What was sent is the account's own.
    host.on("POST", "actions", PATH, Answer::new(204));
    let own = json!({ "emoji": "❤️", "message": "1700000000999", "conversation": ANN });
    host.call_tool("signal_react", own).unwrap();
    let body = json!({ "reaction": "❤️", "recipient": ANN, "target_author": ME, "timestamp": 1_700_000_000_999_u64 });
    assert_eq!(asked(host), body);
    let sent = host.sent().len();
    for (arguments, says) in [
        (json!({ "emoji": "thumbsup" }), "👍"),
        (json!({ "emoji": "👍", "conversation": ANN }), "`message`"),
        (json!({ "emoji": "👍", "message": "yesterday" }), "1700000000000:"),
    ] {
        let why = host.call_tool("signal_react", arguments).unwrap_err();
        assert!(why.text().contains(says), "{why}");
    }
    assert_eq!(host.sent().len(), sent);
    host.on("POST", "actions", PATH, Answer::new(400).json(json!({ "error": "Invalid group id" })));
    let why = host.call_tool("signal_react", json!({ "emoji": "👍" })).unwrap_err();
    assert!(why.text().contains("Invalid group id"), "{why}");
    host.fresh().config(config());
    assert!(host.call_tool("signal_react", json!({ "emoji": "👍" })).unwrap_err().text().contains("`conversation`"));
}

#[carapace_sdk::test]
fn a_file_goes_along_in_base64(host: &mut TestHost) {
    host.config(json!({ "number": "+4915100000000" }));
    let to = Conversation::direct("+4915100000001");
    let blob = host.blob(b"%PDF-1.7");
    let file = File { blob, name: "a;b,\"c.pdf".into(), mime: "application/pdf".into(), size: 8 };
    let parts = host.render_with(&to, "", vec![file]).unwrap();
    assert_eq!(parts.len(), 1);
    host.on("POST", "api", "/v2/send", Answer::new(201).json(json!([{ "timestamp": "7" }])));
    assert_eq!(host.send_part(&to, parts[0].clone(), "k").unwrap().id, "7");
    let body: Value = serde_json::from_slice(&host.sent().pop().unwrap().body).unwrap();
    let expected = "data:application/pdf;filename=a_b__c.pdf;base64,JVBERi0xLjc=";
    assert_eq!(body["base64_attachments"], json!([expected]));
    assert_eq!((&body["message"], &body["recipients"]), (&json!(""), &json!(["+4915100000001"])));
}
