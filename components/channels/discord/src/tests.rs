use carapace_sdk::channel::{Attachment, Conversation, ConversationKind, Event, File, Message, Scope, WebhookRequest};
use carapace_sdk::testing::{Answer, TestHost};
use serde_json::{Value, json};

mod media;
mod tools;

const ME: &str = "900";

fn state() -> Value {
    json!({ "me": ME, "session": { "id": "s-1", "url": "wss://gateway-eu.discord.gg", "heard": 5 }, "socket": 1, "every_ms": 41_250, "acknowledged": true })
}

fn anew() -> Value {
    json!({ "me": ME, "session": null, "socket": 1, "every_ms": 41_250, "acknowledged": true })
}

fn dispatch(name: &str, seq: u64, data: &Value) -> Event {
    Event::json(1, &json!({ "op": 0, "s": seq, "t": name, "d": data }))
}

fn said(text: &str) -> Value {
    json!({ "id": "175928847299117063", "channel_id": "500", "content": text, "type": 0, "edited_timestamp": null, "mentions": [], "attachments": [],
        "author": { "id": "7", "username": "ann1", "global_name": "Ann" } })
}

fn in_guild(text: &str) -> Value {
    let mut m = said(text);
    m["guild_id"] = json!("800");
    m["member"] = json!({ "nick": "Annie", "roles": [] });
    m
}

fn room() -> Answer {
    Answer::new(200).json(json!({ "id": "500", "type": 0, "name": "general", "guild_id": "800", "parent_id": "1" }))
}

fn message(host: &mut TestHost, of: &Value) -> Message {
    host.fresh().on("GET", "api", "/channels/500", room());
    host.channel_event(&state(), dispatch("MESSAGE_CREATE", 6, of)).unwrap().messages().remove(0)
}

fn begin(remaining: u64) -> Answer {
    let limit = json!({ "total": 1000, "remaining": remaining, "reset_after": 60_000, "max_concurrency": 1 });
    Answer::new(200).json(json!({ "url": "wss://gateway.discord.gg", "shards": 1, "session_start_limit": limit }))
}

#[carapace_sdk::test]
fn it_learns_who_it_is_and_another_bots_session_is_dropped(host: &mut TestHost) {
    let me = || Answer::new(200).json(json!({ "id": ME, "username": "carapace" }));
    host.on("GET", "api", "/users/@me", me());
    let led = host.start_channel(Some(&state())).unwrap();
    assert_eq!((led.keeps_a_socket(), led.state::<Value>()), (Some(0), state()));
    assert!(led.requests().is_empty());
    host.fresh().on("GET", "api", "/users/@me", Answer::new(200).json(json!({ "id": "901" })));
    assert_eq!(host.start_channel(Some(&state())).unwrap().state::<Value>()["session"], Value::Null);
    host.fresh().config(json!({ "publicKey": "00" })).on("GET", "api", "/users/@me", me());
    let requests = host.start_channel(None).unwrap().requests();
    assert_eq!((requests[0].1.as_str(), &requests[0].2["name"]), ("api:/applications/900/commands", &json!("ask")));
    host.fresh().on(
        "GET",
        "api",
        "/users/@me",
        Answer::new(401).json(json!({ "message": "401: Unauthorized", "code": 0 })),
    );
    let f = host.start_channel(None).unwrap_err();
    assert!(!f.retryable && f.message.contains("carapace secrets set bot-token"), "{}", f.message);
}

#[carapace_sdk::test]
fn a_first_login_identifies_and_a_later_one_resumes_where_its_session_is(host: &mut TestHost) {
    host.on("GET", "api", "/gateway/bot", begin(10));
    let led = host.channel_event(&anew(), Event::dial("start")).unwrap();
    assert_eq!(led.connects().unwrap(), "gateway:wss://gateway.discord.gg/?v=10&encoding=json");
    let hello = Event::json(1, &json!({ "op": 10, "d": { "heartbeat_interval": 1_000 } }));
    let led = host.channel_event(&anew(), hello.clone()).unwrap();
    let (socket, login) = led.frames().remove(0);
    assert_eq!(
        (socket, &login["op"], &login["d"]["token"], &login["d"]["intents"]),
        (1, &json!(2), &Value::Null, &json!(4_608))
    );
    assert_eq!(led.timers(), [("beat", Some(0))]);
    assert_eq!(led.outcome.timers[0].jitter_ms, 1_000, "the first heartbeat is jittered over the interval");
    let ready =
        json!({ "session_id": "s-2", "resume_gateway_url": "wss://gateway-us.discord.gg", "user": { "id": ME } });
    let led = host.channel_event(&led.state::<Value>(), dispatch("READY", 1, &ready)).unwrap();
    assert_eq!(
        led.state::<Value>()["session"],
        json!({ "id": "s-2", "url": "wss://gateway-us.discord.gg", "heard": 1 })
    );

    // No request is needed to resume.
    let led = host.fresh().channel_event(&state(), Event::dial("closed")).unwrap();
    assert_eq!(led.connects().unwrap(), "gateway:wss://gateway-eu.discord.gg/?v=10&encoding=json");
    let led = host.channel_event(&state(), hello.clone()).unwrap();
    assert_eq!(led.frames(), [(1, json!({ "op": 6, "d": { "token": null, "session_id": "s-1", "seq": 5 } }))]);
    host.fresh().config(json!({ "messageContent": true }));
    assert_eq!(host.channel_event(&anew(), hello).unwrap().frames()[0].1["d"]["intents"], 4_608 + 32_768);
    // There is no login left for today.
    host.fresh().on("GET", "api", "/gateway/bot", begin(0));
    let f = host.channel_event(&anew(), Event::dial("start")).unwrap_err();
    assert_eq!((f.retryable, f.retry_after_ms), (true, Some(60_000)));
}

#[carapace_sdk::test]
fn a_heartbeat_that_is_not_answered_ends_the_connection_and_not_the_session(host: &mut TestHost) {
    let beat = || Event::Timer("beat".to_owned());
    let led = host.channel_event(&state(), beat()).unwrap();
    assert_eq!((led.frames(), led.timers()), (vec![(1, json!({ "op": 1, "d": 5 }))], vec![("beat", Some(41_250))]));
    let unanswered: Value = led.state();
    let led = host.channel_event(&unanswered, beat()).unwrap();
    assert_eq!((led.closes(), led.frames()), (vec![(1, 4_000)], vec![]));
    assert_eq!(led.state::<Value>()["session"]["id"], "s-1");
    let led = host.channel_event(&unanswered, Event::json(1, &json!({ "op": 11 }))).unwrap();
    assert_eq!(led.state::<Value>(), state());
    // Asked for one, it gives one.
    let led = host.channel_event(&state(), Event::json(1, &json!({ "op": 1, "d": null }))).unwrap();
    assert_eq!(led.frames(), [(1, json!({ "op": 1, "d": 5 }))]);
    // One that never says hello is unanswered, too.
    let led = host.channel_event(&state(), Event::Opened(2)).unwrap();
    let led = host.channel_event(&led.state::<Value>(), beat()).unwrap();
    assert_eq!(led.closes(), [(2, 4_000)]);
    // Without a connection, a timer of before means nothing.
    let mut gone = state();
    gone["socket"] = Value::Null;
    assert!(host.channel_event(&gone, beat()).unwrap().frames().is_empty());
}

#[carapace_sdk::test]
fn sessions_end_as_discord_says_and_what_only_the_owner_can_mend_is_told(host: &mut TestHost) {
    let op = |op: u8, d: Value| Event::json(1, &json!({ "op": op, "d": d }));
    let led = host.channel_event(&state(), op(7, Value::Null)).unwrap();
    assert_eq!((led.closes(), &led.state::<Value>()["session"]["id"]), (vec![(1, 4_000)], &json!("s-1")));
    let led = host.channel_event(&state(), op(9, json!(true))).unwrap();
    assert_eq!((led.closes(), &led.state::<Value>()["session"]["id"]), (vec![(1, 4_000)], &json!("s-1")));
    let led = host.channel_event(&state(), op(9, json!(false))).unwrap();
    assert_eq!((led.closes(), &led.state::<Value>()["session"]), (vec![(1, 4_000)], &Value::Null));
    assert!((1_000..5_000).contains(&led.keeps_a_socket().unwrap()));
    for (code, keeps, says) in [
        (None, true, None),
        (Some(1_001), true, None),
        (Some(4_000), true, None),
        (Some(4_007), false, None),
        (Some(4_009), false, None),
        (Some(4_004), false, Some("carapace secrets set bot-token")),
        (Some(4_013), false, Some("update the component")),
        (Some(4_014), false, Some("Message Content Intent")),
    ] {
        let led = host.channel_event(&state(), Event::closed(1, code)).unwrap();
        assert_eq!(led.state::<Value>()["session"].is_object(), keeps, "{code:?}");
        assert_eq!(led.fatal().is_some(), says.is_some(), "{code:?}");
        assert!(led.fatal().unwrap_or_default().contains(says.unwrap_or_default()), "{code:?}: {:?}", led.fatal());
    }
    // Of a connection that was left before, nothing counts.
    let led = host.channel_event(&state(), Event::closed(9, Some(4_004))).unwrap();
    assert_eq!((led.fatal(), led.state::<Value>()), (None, state()));
}

#[carapace_sdk::test]
fn a_direct_message_is_read_and_counts_as_heard(host: &mut TestHost) {
    let led = host.channel_event(&state(), dispatch("MESSAGE_CREATE", 6, &said("Hello <@7>"))).unwrap();
    let m = &led.messages()[0];
    assert_eq!((m.text.as_str(), m.key.as_str(), m.sender.name.as_str()), ("Hello <@7>", "175928847299117063", "Ann"));
    assert_eq!(
        (m.conversation.kind, m.conversation.id.as_str(), m.at_ms),
        (ConversationKind::Direct, "500", Some(1_462_015_105_796))
    );
    assert_eq!(led.state::<Value>()["session"]["heard"], 6);
    assert!(host.sent().is_empty());
    // So does what it does not know.
    let led = host.channel_event(&state(), dispatch("GUILD_CREATE", 9, &json!({ "id": "800" }))).unwrap();
    assert_eq!((led.state::<Value>()["session"]["heard"].as_u64(), led.messages().len()), (Some(9), 0));
    let led = host.channel_event(&state(), dispatch("MESSAGE_CREATE", 10, &json!({ "id": 7 }))).unwrap();
    assert_eq!((led.state::<Value>()["session"]["heard"].as_u64(), led.messages().len()), (Some(10), 0));
}

#[carapace_sdk::test]
fn mentions_replies_and_threads_are_seen(host: &mut TestHost) {
    let mut mention = in_guild("<@900> hi");
    mention["mentions"] = json!([{ "id": ME, "username": "carapace" }]);
    let m = message(host, &mention);
    assert_eq!((m.text.as_str(), m.mentions_me, m.sender.name.as_str()), ("@carapace hi", true, "Annie"));
    assert_eq!(
        (m.conversation.kind, m.conversation.id.as_str(), m.conversation.title.as_deref()),
        (ConversationKind::Group, "500", Some("general"))
    );
    // It is asked about once.
    host.channel_event(&state(), dispatch("MESSAGE_CREATE", 6, &mention)).unwrap();
    assert_eq!(host.sent().len(), 1);

    let thread = Answer::new(200).json(json!({ "id": "500", "type": 11, "name": "About it", "parent_id": "400" }));
    host.fresh().on("GET", "api", "/channels/500", thread);
    let m = host.channel_event(&state(), dispatch("MESSAGE_CREATE", 6, &mention)).unwrap().messages().remove(0);
    assert_eq!((m.conversation.id.as_str(), m.conversation.thread.as_deref()), ("400", Some("500")));

    let mut reply = in_guild("yes");
    reply["type"] = json!(19);
    reply["referenced_message"] =
        json!({ "id": "4", "channel_id": "500", "author": { "id": ME, "bot": true }, "content": "?" });
    let m = message(host, &reply);
    assert_eq!((m.mentions_me, m.reply_to.as_deref()), (true, Some("4")));
    assert!(!message(host, &in_guild("hi")).mentions_me);
    // Without the intent, what does not name the bot has no text, and nothing is asked about it.
    message(host, &in_guild(""));
    assert!(host.sent().is_empty());
    // Where it was said must be known first: later.
    host.fresh().on("GET", "api", "/channels/500", Answer::new(500));
    assert!(host.channel_event(&state(), dispatch("MESSAGE_CREATE", 6, &mention)).unwrap_err().retryable);
    host.fresh().on(
        "GET",
        "api",
        "/channels/500",
        Answer::new(403).json(json!({ "message": "Missing Access", "code": 50_001 })),
    );
    let m = host.channel_event(&state(), dispatch("MESSAGE_CREATE", 6, &mention)).unwrap().messages().remove(0);
    assert_eq!((m.conversation.id.as_str(), m.conversation.thread), ("500", None));
}

#[carapace_sdk::test]
fn files_edits_forwards_and_stickers_are_understood_and_bots_are_known(host: &mut TestHost) {
    let mut m = said("");
    m["attachments"] = json!([{ "id": "31", "filename": "a.png", "content_type": "image/png", "size": 9, "url": "https://cdn.discordapp.com/x?hm=secret" }]);
    let a = message(host, &m).attachments.remove(0);
    assert_eq!(
        (a.reference.as_str(), a.name.as_deref(), a.mime.as_deref(), a.size),
        ("500/175928847299117063/31", Some("a.png"), Some("image/png"), Some(9))
    );
    let mut m = said("look");
    m["message_snapshots"] = json!([{ "message": { "content": "what they said" } }]);
    assert_eq!(message(host, &m).text, "look\n[Forwarded:]\nwhat they said");
    let mut m = said("");
    m["sticker_items"] = json!([{ "id": "1", "name": "Wave", "format_type": 1 }]);
    assert_eq!(message(host, &m).text, "[sticker Wave]");

    let mut m = said("Now");
    let led = host.channel_event(&state(), dispatch("MESSAGE_UPDATE", 7, &m)).unwrap();
    assert!(led.messages().is_empty(), "a preview is no edit");
    m["edited_timestamp"] = json!("2026-11-28T10:00:00+00:00");
    let led = host.channel_event(&state(), dispatch("MESSAGE_UPDATE", 7, &m)).unwrap();
    assert!(led.is_edit(0));
    assert_eq!(led.messages()[0].key, "edit:175928847299117063:2026-11-28T10:00:00+00:00");

    let mut own = said("x");
    own["author"] = json!({ "id": ME, "bot": true });
    let m = message(host, &own);
    assert!(m.sender.is_me && m.sender.is_bot);
    let mut hook = said("x");
    hook["webhook_id"] = json!("77");
    assert!(message(host, &hook).sender.is_bot);
    let mut joined = said("x");
    joined["type"] = json!(7);
    assert!(host.channel_event(&state(), dispatch("MESSAGE_CREATE", 6, &joined)).unwrap().messages().is_empty());
}

#[carapace_sdk::test]
fn an_answer_calls_nobody_and_has_a_nonce(host: &mut TestHost) {
    let to = Conversation { thread: Some("600".into()), ..Conversation::group("500", None) };
    let part = host.render(&to, "**Hi** @everyone <@7> snake_case").unwrap().remove(0);
    host.on("POST", "api", "/channels/600/messages", Answer::new(200).json(json!({ "id": "77" })));
    assert_eq!(host.send_part(&to, part.clone(), "01KDM0000000000000000000AB:0").unwrap().id, "77");
    let body: Value = serde_json::from_slice(&host.sent().remove(0).body).unwrap();
    assert_eq!(body["content"], r"**Hi** @everyone \<@7> snake\_case");
    assert_eq!(
        (&body["allowed_mentions"], &body["enforce_nonce"], &body["flags"]),
        (&json!({ "parse": [] }), &json!(true), &json!(4))
    );
    let nonce = body["nonce"].as_str().unwrap().to_owned();
    assert_eq!(nonce.len(), 25);
    assert_eq!(crate::nonce("01KDM0000000000000000000AB:0"), nonce);
    assert_ne!(crate::nonce("01KDM0000000000000000000AB:1"), nonce);
    host.on("POST", "api", "/channels/600/typing", Answer::new(204));
    host.typing(&to, true).unwrap();
}

#[carapace_sdk::test]
fn what_has_to_wait_is_told_and_what_was_refused_says_why(host: &mut TestHost) {
    let to = Conversation::direct("500");
    let part = host.render(&to, "hi").unwrap().remove(0);
    let limited =
        |global: bool| Answer::new(429).json(json!({ "message": "limited", "retry_after": 1.25, "global": global }));
    let refused = |code: u32| Answer::new(403).json(json!({ "message": "no", "code": code }));
    for (answer, retryable, uncertain, scope, wait) in [
        (Answer::unreachable(), true, false, Scope::Conversation, None),
        (Answer::failing(carapace_sdk::Error::Timeout("t".into()), true), true, true, Scope::Conversation, None),
        (Answer::new(502).chunk("<html>"), true, true, Scope::Conversation, None),
        (limited(false), true, false, Scope::Conversation, Some(1_250)),
        (limited(false).header("x-ratelimit-scope", "shared"), true, false, Scope::Conversation, Some(1_250)),
        (limited(true), true, false, Scope::Account, Some(1_250)),
        // Cloudflare's own: no JSON, and for everything.
        (
            Answer::new(429).header("retry-after", "9").header("x-ratelimit-scope", "global"),
            true,
            false,
            Scope::Account,
            Some(9_000),
        ),
        (refused(50_007), false, false, Scope::Conversation, None),
        (refused(50_013), false, false, Scope::Conversation, None),
    ] {
        host.fresh().on("POST", "api", "/channels/500/messages", answer.clone());
        let f = host.send_part(&to, part.clone(), "k").unwrap_err();
        assert_eq!(
            (f.retryable, f.uncertain, f.scope, f.retry_after_ms),
            (retryable, uncertain, scope, wait),
            "{answer:?}: {}",
            f.message
        );
    }
}

#[carapace_sdk::test]
fn a_long_answer_is_several_messages_of_which_the_first_replies(host: &mut TestHost) {
    let parts = host.render(&Conversation::direct("7"), &"A sentence of words. ".repeat(250)).unwrap();
    assert!(parts.len() == 3 && parts.iter().all(|p| p.text.chars().count() <= 2_000));
}

#[carapace_sdk::test]
fn commands_are_messages_and_a_ping_is_answered(host: &mut TestHost) {
    let mut event = |body: Value| {
        let request = WebhookRequest {
            webhook: "interactions".to_owned(),
            method: "POST".to_owned(),
            query: String::new(),
            headers: Vec::new(),
            body: body.to_string().into_bytes(),
        };
        let led = host.channel_event(&state(), Event::Webhook(request)).unwrap();
        let response = led.outcome.response.clone().unwrap();
        (led, response.status, serde_json::from_slice::<Value>(&response.body).unwrap_or_default())
    };
    let (led, status, body) = event(json!({ "type": 1, "id": "1" }));
    assert_eq!((led.messages().len(), status, body), (0, 200, json!({ "type": 1 })));
    let asked = json!({ "type": 2, "id": "2", "token": "interaction-token", "guild_id": "800", "channel_id": "600", "channel": { "id": "600", "type": 11, "parent_id": "500" },
        "member": { "nick": "Annie", "user": { "id": "7", "username": "ann" } },
        "data": { "name": "ask", "options": [{ "name": "text", "type": 3, "value": "What now?" }] } });
    let (led, status, body) = event(asked.clone());
    let m = &led.messages()[0];
    assert_eq!(
        (m.text.as_str(), m.key.as_str(), m.mentions_me, m.sender.id.as_str()),
        ("What now?", "interaction:2", true, "7")
    );
    assert_eq!((m.conversation.id.as_str(), m.conversation.thread.as_deref()), ("500", Some("600")));
    assert_eq!((status, &body["type"], &body["data"]["flags"]), (200, &json!(4), &json!(64)));
    let mut direct = asked;
    for gone in ["guild_id", "member", "channel"] {
        direct.as_object_mut().unwrap().remove(gone);
    }
    direct["user"] = json!({ "id": "7", "username": "ann" });
    assert_eq!(event(direct.clone()).0.messages()[0].conversation.kind, ConversationKind::Direct);
    direct["type"] = json!(3);
    direct["data"] = json!({ "custom_id": "yes", "component_type": 2 });
    let (led, _, body) = event(direct);
    assert_eq!((led.messages()[0].text.as_str(), body), ("yes", json!({ "type": 6 })));
    assert_eq!(event(json!({ "type": 5, "id": "3" })).1, 400);
}

#[carapace_sdk::test]
fn a_file_goes_with_a_message_and_an_answer_takes_the_place_of_its_draft(host: &mut TestHost) {
    let to = Conversation::direct("601");
    let blob = host.blob(b"%PDF-1.7");
    let file = File { blob, name: "a b.pdf".into(), mime: "application/pdf".into(), size: 8 };
    let parts = host.render_with(&to, "look", vec![file]).unwrap();
    assert_eq!(parts.iter().map(|p| p.text.as_str()).collect::<Vec<_>>(), ["look", "[a b.pdf]"]);
    host.on("POST", "api", "/channels/601/messages", Answer::new(200).json(json!({ "id": "5" })));
    assert_eq!(host.send_part(&to, parts[1].clone(), "k").unwrap().id, "5");
    let body = host.sent().pop().unwrap().body;
    let body = String::from_utf8_lossy(&body);
    assert!(body.contains("name=\"payload_json\"\r\n\r\n{") && body.contains("\"enforce_nonce\":true"), "{body}");
    let head = "name=\"files[0]\"; filename=\"a b.pdf\"\r\ncontent-type: application/pdf\r\n\r\n%PDF-1.7\r\n";
    assert!(body.contains(head), "{body}");

    host.on("PATCH", "api", "/channels/601/messages/5", Answer::new(200).json(json!({ "id": "5" })));
    host.edit_part(&to, parts[0].clone(), "k", "5").unwrap();
    let body: Value = serde_json::from_slice(&host.sent().pop().unwrap().body).unwrap();
    assert_eq!(body, json!({ "content": "look", "allowed_mentions": { "parse": [] } }));
    assert!(!host.edit_part(&to, parts[1].clone(), "k", "5").unwrap_err().retryable);
}
