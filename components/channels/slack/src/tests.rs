use carapace_chat_text::Style;
use carapace_sdk::channel::{Attachment, Conversation, ConversationKind, Event, File, Message, WebhookRequest};
use carapace_sdk::testing::{Answer, Led, TestHost};
use proptest::prelude::*;
use serde_json::{Value, json};

mod media;
mod tools;

const ME: &str = "U0ME";

fn state() -> Value {
    json!({ "me": { "user": ME, "bot": "B0ME", "name": "carapace" }, "sockets": [1] })
}

fn who_am_i() -> Answer {
    Answer::new(200).json(json!({ "ok": true, "user_id": ME, "user": "carapace", "bot_id": "B0ME", "team_id": "T1" }))
}

fn ann() -> Answer {
    let user = json!({ "name": "ann", "real_name": "Ann Lee", "profile": { "display_name": "" } });
    Answer::new(200).json(json!({ "ok": true, "user": user }))
}

fn webhook(body: &Value) -> Event {
    Event::Webhook(WebhookRequest {
        webhook: "events".to_owned(),
        method: "POST".to_owned(),
        query: String::new(),
        headers: Vec::new(),
        body: body.to_string().into_bytes(),
    })
}

fn callback(event: &Value) -> Value {
    json!({ "type": "event_callback", "event_id": "Ev1", "team_id": "T1", "event": event })
}

fn event(host: &mut TestHost, event: &Value) -> Led {
    host.fresh().on("POST", "api", "/users.info", ann());
    host.channel_event(&state(), webhook(&callback(event))).unwrap()
}

fn message(host: &mut TestHost, of: &Value) -> Message {
    event(host, of).messages().remove(0)
}

fn said(channel: &str, kind: &str, text: &str) -> Value {
    json!({ "type": "message", "user": "U7", "text": text, "ts": "1700000000.000123", "channel": channel, "channel_type": kind, "event_ts": "1700000000.000123" })
}

#[carapace_sdk::test]
fn what_is_set_decides_how_events_come(host: &mut TestHost) {
    host.secret("app-token", "xapp-1-secret").on("POST", "api", "/auth.test", who_am_i());
    let led = host.start_channel(None).unwrap();
    assert_eq!((led.keeps_a_socket(), led.state::<Value>()["me"]["user"].as_str()), (Some(0), Some(ME)));
    host.fresh().secret("signing-secret", "0123456789").on("POST", "api", "/auth.test", who_am_i());
    let led = host.start_channel(None).unwrap();
    assert!(led.fatal().is_none() && led.keeps_a_socket().is_none());
    host.fresh().on("POST", "api", "/auth.test", who_am_i());
    let led = host.start_channel(None).unwrap();
    assert!(led.fatal().unwrap().contains("carapace secrets set app-token"), "{:?}", led.fatal());
    let refused = Answer::new(200).json(json!({ "ok": false, "error": "invalid_auth" }));
    host.fresh().on("POST", "api", "/auth.test", refused);
    let f = host.start_channel(None).unwrap_err();
    assert!(!f.retryable && f.message.contains("carapace secrets set bot-token"), "{}", f.message);
}

#[carapace_sdk::test]
fn the_address_of_a_webhook_is_proved(host: &mut TestHost) {
    let led =
        host.channel_event(&state(), webhook(&json!({ "type": "url_verification", "challenge": "c-1" }))).unwrap();
    let response = led.outcome.response.unwrap();
    assert_eq!((response.status, response.body.as_slice()), (200, b"c-1".as_slice()));
}

#[carapace_sdk::test]
fn a_direct_message_is_read_with_the_name_of_who_wrote_it(host: &mut TestHost) {
    let m = message(host, &said("D1", "im", "Hello &amp; <@U0ME>"));
    assert_eq!(
        (m.text.as_str(), m.key.as_str(), m.id.as_str()),
        ("Hello & @carapace", "D1:1700000000.000123", "1700000000.000123")
    );
    assert_eq!((m.sender.id.as_str(), m.sender.name.as_str()), ("U7", "Ann Lee"));
    assert_eq!(
        (m.conversation.kind, m.conversation.thread, m.at_ms),
        (ConversationKind::Direct, None, Some(1_700_000_000_000))
    );
    // The name is asked for once.
    assert_eq!(host.sent().len(), 1);
    host.channel_event(&state(), webhook(&callback(&said("D1", "im", "again")))).unwrap();
    assert_eq!(host.sent().len(), 1);
    // Without it, the message is read all the same.
    host.fresh().on("POST", "api", "/users.info", Answer::unreachable());
    let led = host.channel_event(&state(), webhook(&callback(&said("D1", "im", "Hi")))).unwrap();
    assert_eq!(led.messages()[0].sender.name, "U7");
}

/// The same, as it is told of a mention: without the kind of its channel, and perhaps without files.
fn mention(of: &Value) -> Value {
    let mut mention = of.clone();
    mention["type"] = json!("app_mention");
    for gone in ["channel_type", "subtype", "files"] {
        mention.as_object_mut().unwrap().remove(gone);
    }
    mention
}

#[carapace_sdk::test]
fn a_mention_that_is_told_twice_is_one_message_in_a_thread_of_its_own(host: &mut TestHost) {
    let first = message(host, &said("C1", "channel", "<@U0ME> hi"));
    let held: Value = event(host, &mention(&said("C1", "channel", "<@U0ME> hi"))).state();
    let timer = Event::Timer("mention:C1:1700000000.000123".into());
    let second = host.channel_event(&held, timer).unwrap().messages().remove(0);
    assert_eq!(first, second);
    assert!(first.mentions_me);
    assert_eq!(
        (first.conversation.kind, first.conversation.thread.as_deref()),
        (ConversationKind::Group, Some("1700000000.000123"))
    );
    let mut in_thread = said("C1", "channel", "and now?");
    in_thread["thread_ts"] = json!("1690000000.000001");
    in_thread["parent_user_id"] = json!(ME);
    let m = message(host, &in_thread);
    assert!(m.mentions_me, "what the assistant began is answered to it");
    assert_eq!(m.conversation.thread.as_deref(), Some("1690000000.000001"));
    assert!(!message(host, &said("C1", "channel", "<@U0MEX> hi")).mentions_me);
    host.config(json!({ "replyInThread": false }));
    let led = host.channel_event(&state(), webhook(&callback(&said("C1", "channel", "hi")))).unwrap();
    assert_eq!(led.messages()[0].conversation.thread, None);
}

#[carapace_sdk::test]
fn files_of_a_mention_are_not_lost_whichever_event_comes_first(host: &mut TestHost) {
    const TIMER: &str = "mention:C1:1700000000.000123";
    let give =
        |host: &mut TestHost, state: &Value, e: &Value| host.channel_event(state, webhook(&callback(e))).unwrap();
    let mut whole = said("C1", "channel", "<@U0ME> look");
    whole["subtype"] = json!("file_share");
    whole["files"] = json!([{ "id": "F1", "name": "a.png", "mimetype": "image/png" }]);
    host.on("POST", "api", "/users.info", ann());
    // It waits, once, however often it is repeated, and the other takes its place.
    let led = give(host, &state(), &mention(&whole));
    assert!(led.messages().is_empty());
    assert_eq!(led.timers(), [(TIMER, Some(1_500))]);
    let held: Value = led.state();
    let again = give(host, &held, &mention(&whole));
    assert!(again.messages().is_empty() && again.timers().is_empty());
    let led = give(host, &again.state(), &whole);
    assert_eq!((led.messages().len(), led.messages()[0].attachments.len()), (1, 1));
    assert_eq!((led.timers(), led.state::<Value>()["held"].clone()), (vec![(TIMER, None)], json!(null)));
    // The other way round, the kernel knows it by its key when its time is over.
    let led = give(host, &state(), &whole);
    assert_eq!((led.messages()[0].attachments.len(), led.timers().len()), (1, 0));
    let late: Value = give(host, &led.state(), &mention(&whole)).state();
    let over = host.channel_event(&late, Event::Timer(TIMER.into())).unwrap();
    assert_eq!(over.messages()[0].key, led.messages()[0].key);
    assert!(host.channel_event(&over.state(), Event::Timer(TIMER.into())).unwrap().messages().is_empty());
    // One that names its files waits for nothing; nor does one that there is no room for.
    let mut named = mention(&whole);
    named["files"] = whole["files"].clone();
    assert_eq!(give(host, &state(), &named).messages()[0].attachments.len(), 1);
    let long = mention(&said("C1", "channel", &format!("<@U0ME> {}", "x".repeat(20_000))));
    let led = give(host, &state(), &long);
    assert_eq!((led.messages().len(), led.timers().len()), (1, 0));
}

#[carapace_sdk::test]
fn it_knows_itself_and_other_bots(host: &mut TestHost) {
    let mut own = said("C1", "channel", "hi");
    own["user"] = json!(ME);
    own["bot_id"] = json!("B0ME");
    let m = message(host, &own);
    assert!(m.sender.is_me && m.sender.is_bot);
    let mut bot = said("C1", "channel", "<@U0ME> beep");
    bot["subtype"] = json!("bot_message");
    bot["bot_id"] = json!("B9");
    bot.as_object_mut().unwrap().remove("user");
    let m = message(host, &bot);
    assert_eq!((m.sender.is_bot, m.sender.is_me, m.sender.id.as_str()), (true, false, "B9"));
    assert!(host.sent().is_empty());
}

#[carapace_sdk::test]
fn files_and_edits_are_understood_and_previews_are_no_edits(host: &mut TestHost) {
    let mut file = said("D1", "im", "");
    file["subtype"] = json!("file_share");
    file["files"] = json!([{ "id": "F1", "name": "a.png", "mimetype": "image/png", "size": 9,
        "url_private_download": "https://files.slack.com/files-pri/T1-F1/download/a.png" }]);
    let a = message(host, &file).attachments.remove(0);
    assert_eq!(
        (a.reference.as_str(), a.mime.as_deref(), a.size),
        ("/files-pri/T1-F1/download/a.png", Some("image/png"), Some(9))
    );

    let mut now = said("D1", "im", "Hello again");
    now["edited"] = json!({ "user": "U7", "ts": "1700000009.000000" });
    let changed = |now: &Value, before: &str| {
        json!({ "type": "message", "subtype": "message_changed", "hidden": true, "channel": "D1", "channel_type": "im", "ts": "1700000010.0",
            "message": now, "previous_message": { "text": before } })
    };
    let led = event(host, &changed(&now, "Hello"));
    assert!(led.is_edit(0));
    let m = &led.messages()[0];
    assert_eq!((m.id.as_str(), m.key.as_str()), ("1700000000.000123", "edit:D1:1700000000.000123:1700000009.000000"));
    assert!(event(host, &changed(&now, "Hello again")).messages().is_empty());
    assert!(event(host, &changed(&said("D1", "im", "x"), "y")).messages().is_empty());
    for other in ["channel_join", "message_deleted", "channel_topic"] {
        let mut m = said("C1", "channel", "x");
        m["subtype"] = json!(other);
        assert!(event(host, &m).messages().is_empty(), "{other}");
    }
    assert!(event(host, &json!({ "type": "reaction_added" })).messages().is_empty());
}

#[carapace_sdk::test]
fn a_ticket_is_used_by_the_kernel_and_a_wrong_app_token_is_told(host: &mut TestHost) {
    let ticket = Answer::new(200).json(json!({ "ok": true, "url": "handle:1" }));
    host.on("POST", "open", "/apps.connections.open", ticket);
    let led = host.channel_event(&state(), Event::dial("start")).unwrap();
    assert_eq!(led.connects().unwrap(), "events:a captured link");
    assert_eq!(led.state::<Value>()["sockets"], json!([]));
    let refused = Answer::new(200).json(json!({ "ok": false, "error": "not_allowed_token_type" }));
    host.fresh().on("POST", "open", "/apps.connections.open", refused);
    let led = host.channel_event(&state(), Event::dial("closed")).unwrap();
    assert!(led.fatal().unwrap().contains("carapace secrets set app-token"));
    host.fresh().on("POST", "open", "/apps.connections.open", Answer::new(429).header("retry-after", "7"));
    let f = host.channel_event(&state(), Event::dial("closed")).unwrap_err();
    assert_eq!((f.retryable, f.retry_after_ms), (true, Some(7_000)));
}

#[carapace_sdk::test]
fn an_envelope_is_acknowledged_with_what_it_brought(host: &mut TestHost) {
    let envelope =
        |payload: Value| json!({ "type": "events_api", "envelope_id": "e-1", "payload": payload, "retry_attempt": 1 });
    host.on("POST", "api", "/users.info", ann());
    let led = host.channel_event(&state(), Event::json(1, &envelope(callback(&said("D1", "im", "Hello"))))).unwrap();
    assert_eq!(led.messages()[0].text, "Hello");
    assert_eq!(led.frames(), [(1, json!({ "envelope_id": "e-1" }))]);
    // What it does not understand is acknowledged too, or it would come again.
    for odd in [
        envelope(json!({ "type": 7 })),
        json!({ "type": "slash_commands", "envelope_id": "e-1", "payload": {} }),
        envelope(json!({})),
    ] {
        let led = host.channel_event(&state(), Event::json(1, &odd)).unwrap();
        assert_eq!((led.frames(), led.messages()), (vec![(1, json!({ "envelope_id": "e-1" }))], vec![]), "{odd}");
    }
    assert!(host.channel_event(&state(), Event::text(1, "no JSON")).unwrap().frames().is_empty());
}

#[carapace_sdk::test]
fn a_new_connection_takes_over_before_the_old_one_is_left(host: &mut TestHost) {
    for reason in ["warning", "refresh_requested"] {
        let led =
            host.channel_event(&state(), Event::json(1, &json!({ "type": "disconnect", "reason": reason }))).unwrap();
        assert!(led.dials() && led.closes().is_empty());
    }
    let led = host.channel_event(&state(), Event::Opened(2)).unwrap();
    let both: Value = led.state();
    assert_eq!(both["sockets"], json!([1, 2]));
    let led = host.channel_event(&both, Event::json(2, &json!({ "type": "hello", "num_connections": 2 }))).unwrap();
    assert_eq!(led.timers(), [("leave1", Some(15_000))]);
    let led = host.channel_event(&both, Event::Timer("leave1".to_owned())).unwrap();
    assert_eq!(led.closes(), [(1, 1_000)]);
    let led = host.channel_event(&both, Event::closed(1, Some(1_000))).unwrap();
    let one: Value = led.state();
    assert_eq!(one["sockets"], json!([2]));
    // It went by itself; the last one is never left.
    assert!(host.channel_event(&one, Event::Timer("leave2".to_owned())).unwrap().closes().is_empty());
    let led =
        host.channel_event(&one, Event::json(2, &json!({ "type": "disconnect", "reason": "link_disabled" }))).unwrap();
    assert!(led.fatal().unwrap().contains("Socket Mode"));
    let led = host
        .channel_event(&one, Event::json(2, &json!({ "type": "disconnect", "reason": "too_many_websockets" })))
        .unwrap();
    assert_eq!((led.keeps_a_socket(), led.closes()), (Some(60_000), vec![(2, 1_000)]));
}

#[carapace_sdk::test]
fn markdown_goes_out_as_rich_text_in_its_thread(host: &mut TestHost) {
    let to = Conversation { thread: Some("1690000000.000001".into()), ..Conversation::group("C1", None) };
    let markdown = "**Hi** <!channel> <@U1> & [site](https://example.com) [odd](javascript:x)\n\n> so *what*\n\n```rust\na < b\n```\nend";
    let part = host.render(&to, markdown).unwrap().remove(0);
    host.on("POST", "api", "/chat.postMessage", Answer::new(200).json(json!({ "ok": true, "ts": "1.2" })));
    assert_eq!(host.send_part(&to, part, "k").unwrap().id, "1.2");
    let body: Value = serde_json::from_slice(&host.sent().remove(0).body).unwrap();
    assert_eq!((body["channel"].as_str(), body["thread_ts"].as_str()), (Some("C1"), Some("1690000000.000001")));
    assert_eq!((&body["unfurl_links"], &body["unfurl_media"]), (&json!(false), &json!(false)));
    assert!(
        body["text"].as_str().unwrap().starts_with("Hi &lt;!channel&gt; &lt;@U1&gt; &amp; site odd"),
        "{}",
        body["text"]
    );
    assert_eq!(
        body["blocks"][0]["elements"],
        json!([
            { "type": "rich_text_section", "elements": [
                { "type": "text", "text": "Hi", "style": { "bold": true } },
                { "type": "text", "text": " <!channel> <@U1> & " },
                { "type": "link", "text": "site", "url": "https://example.com" },
                { "type": "text", "text": " " },
                { "type": "text", "text": "odd" },
            ] },
            { "type": "rich_text_quote", "elements": [
                { "type": "text", "text": "so " },
                { "type": "text", "text": "what", "style": { "italic": true } },
            ] },
            { "type": "rich_text_preformatted", "elements": [{ "type": "text", "text": "a < b" }] },
            { "type": "rich_text_section", "elements": [{ "type": "text", "text": "end" }] },
        ])
    );
}

#[carapace_sdk::test]
fn what_may_have_arrived_is_uncertain_and_what_did_not_is_not(host: &mut TestHost) {
    let to = Conversation::direct("D1");
    let part = host.render(&to, "hi").unwrap().remove(0);
    let no = |error: &str| Answer::new(200).json(json!({ "ok": false, "error": error, "needed": "chat:write" }));
    for (answer, retryable, uncertain, says) in [
        (Answer::unreachable(), true, false, ""),
        (Answer::failing(carapace_sdk::Error::Timeout("t".into()), true), true, true, ""),
        (Answer::new(503).chunk("<html>"), true, true, "503"),
        (Answer::new(429).header("retry-after", "3"), true, false, "fewer"),
        (no("internal_error"), true, true, "internal_error"),
        (no("not_in_channel"), false, false, "invite it"),
        (no("missing_scope"), false, false, "`chat:write`"),
        (no("msg_too_long"), false, false, "msg_too_long"),
    ] {
        host.fresh().on("POST", "api", "/chat.postMessage", answer.clone());
        let f = host.send_part(&to, part.clone(), "k").unwrap_err();
        assert_eq!((f.retryable, f.uncertain), (retryable, uncertain), "{answer:?}: {}", f.message);
        assert!(f.message.contains(says), "{}", f.message);
    }
}

/// All words of a part's blocks, and every type of element.
fn of_blocks(data: &[u8]) -> (String, Vec<String>) {
    let blocks: Value = serde_json::from_slice(data).unwrap();
    let (mut words, mut kinds) = (String::new(), Vec::new());
    for outer in blocks[0]["elements"].as_array().unwrap() {
        for inner in outer["elements"].as_array().unwrap() {
            let text = inner["text"].as_str().unwrap();
            assert!(!text.is_empty());
            words.push_str(text);
            words.push(' ');
            kinds.push(inner["type"].as_str().unwrap().to_owned());
        }
    }
    (words, kinds)
}

/// What stands in the blocks of code of a message, each; and behind each address of a link, all together.
fn blocks_and_links(blocks: &Value) -> (Vec<String>, std::collections::BTreeMap<String, String>) {
    let (mut code, mut links) = (Vec::new(), std::collections::BTreeMap::<String, String>::new());
    for outer in blocks[0]["elements"].as_array().unwrap() {
        let inner = outer["elements"].as_array().unwrap();
        if outer["type"] == "rich_text_preformatted" {
            code.push(inner.iter().map(|i| i["text"].as_str().unwrap()).collect());
        }
        for link in inner.iter().filter(|i| i["type"] == "link") {
            links.entry(link["url"].as_str().unwrap().to_owned()).or_default().push_str(link["text"].as_str().unwrap());
        }
    }
    (code, links)
}

proptest! {
    #[test]
    fn no_part_is_too_long_nobody_is_called_and_nothing_is_lost_or_broken(
        markdown in "\\PC{0,400}|([a-z*_`~\\[\\]()#>|<@!& \n-]{0,600})|((```\n|`|\\*\\*|<!channel>|x y|\n|> |[a-z ]{200}|\n\n```\n[a-z\n]{300}\n```\n|\\[[a-z `]{60}\\]\\(https://b.c/[a-z]\\)){0,80})",
    ) {
        let bare = |text: &str| -> String { text.chars().filter(|c| !c.is_whitespace()).collect() };
        let text = carapace_chat_text::parse(&markdown);
        let parts = crate::rich::render(&text);
        let (mut words, mut whole) = (String::new(), Vec::new());
        for (plain, blocks) in &parts {
            prop_assert!(plain.encode_utf16().count() <= crate::rich::LIMIT);
            let fallback = crate::rich::escaped(plain);
            prop_assert!(!fallback.contains(['<', '>']) && fallback.len() < 40_000);
            let (found, kinds) = of_blocks(blocks.to_string().as_bytes());
            prop_assert!(kinds.iter().all(|k| k == "text" || k == "link"));
            words.push_str(&found);
            whole.push(blocks_and_links(blocks));
        }
        prop_assert_eq!(bare(&words), bare(&text.plain));
        for span in text.spans.iter().filter(|s| s.range.len() <= crate::rich::LIMIT) {
            let inside = text.plain[span.range.clone()].trim();
            let stands = match &span.style {
                Style::Block(_) => whole.iter().any(|(code, _)| code.iter().any(|c| c.contains(inside))),
                Style::Link(url) if carapace_chat_text::is_web(url) => {
                    whole.iter().any(|(_, links)| links.get(url).is_some_and(|words| bare(words).contains(&bare(inside))))
                }
                _ => true,
            };
            prop_assert!(stands, "{span:?} is broken");
        }
    }
}

fn file(host: &mut TestHost) -> File {
    let data = b"%PDF-1.7";
    File { blob: host.blob(data), name: "a b.pdf".into(), mime: "application/pdf".into(), size: data.len() as u64 }
}

#[carapace_sdk::test]
fn a_file_takes_a_ticket_its_bytes_and_a_message(host: &mut TestHost) {
    let thread = Conversation { thread: Some("1.2".into()), ..Conversation::group("C1", None) };
    let report = file(host);
    let parts = host.render_with(&thread, "look", vec![report]).unwrap();
    assert_eq!(parts.iter().map(|p| p.text.as_str()).collect::<Vec<_>>(), ["look", "[a b.pdf]"]);
    let ticket = json!({ "ok": true, "upload_url": "handle:1", "file_id": "F1" });
    host.on("POST", "uploads", "/files.getUploadURLExternal", Answer::new(200).json(ticket.clone()))
        .answer(Answer::new(200).chunk("OK - 8"))
        .on("POST", "api", "/files.completeUploadExternal", Answer::new(200).json(json!({ "ok": true })));
    assert_eq!(host.send_part(&thread, parts[1].clone(), "k").unwrap().id, "");
    let sent = host.sent();
    assert_eq!(sent[0].target.to_string(), "uploads:/files.getUploadURLExternal?filename=a%20b.pdf&length=8");
    assert_eq!(sent[1].body, b"%PDF-1.7");
    let shown: Value = serde_json::from_slice(&sent[2].body).unwrap();
    assert_eq!(shown, json!({ "files": [{ "id": "F1", "title": "a b.pdf" }], "channel_id": "C1", "thread_ts": "1.2" }));
    // Before the last step nobody has seen anything, whatever happened; after it, nobody knows.
    host.on("POST", "uploads", "/files.getUploadURLExternal", Answer::new(200).json(ticket)).answer(Answer::new(503));
    let failure = host.send_part(&thread, parts[1].clone(), "k").unwrap_err();
    assert!(failure.retryable && !failure.uncertain, "{failure:?}");
}

#[carapace_sdk::test]
fn an_answer_takes_the_place_of_its_draft(host: &mut TestHost) {
    let thread = Conversation { thread: Some("1.2".into()), ..Conversation::group("C1", None) };
    let part = host.render(&thread, "all of it").unwrap().remove(0);
    host.on("POST", "api", "/chat.update", Answer::new(200).json(json!({ "ok": true, "ts": "9.1" })));
    host.edit_part(&thread, part, "k", "9.1").unwrap();
    let body: Value = serde_json::from_slice(&host.sent().pop().unwrap().body).unwrap();
    assert_eq!((&body["channel"], &body["ts"], &body["text"]), (&json!("C1"), &json!("9.1"), &json!("all of it")));
    assert!(body["blocks"].is_array() && body.get("thread_ts").is_none(), "{body}");
}
