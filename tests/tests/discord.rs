//! People reach the assistant through Discord: by its gateway, and by interactions.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test stops at the first thing that is not as it should be"
)]

use carapace_tests::chat::{answers, channels, stands, until};
use carapace_tests::discord::{Discord, ME, TOKEN};
use carapace_tests::{Kernel, owner, peer, peers};
use serde_json::{Value, json};

const INSTANCE: &str = "local/discord/main";
const OWNER: &str = "channel: { drafts: false, owner: ['1', '2', '3'] }";

/// What the model was asked last, each time.
async fn asked(model: &carapace_tests::server::Server) -> Vec<String> {
    let asked = peers::asked(model).await;
    asked.iter().map(|a| a["body"]["messages"].as_array().unwrap().last().unwrap()["content"].to_string()).collect()
}

/// Waits until the bot is logged in.
async fn connected(discord: &Discord, kernel: &Kernel) {
    until("a session", kernel, async || {
        let state = discord.state().await;
        state["sessions"].as_array().unwrap().iter().any(|s| s["connected"] == true).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn discord_py_talks_through_our_discord_as_through_the_real_one() {
    let discord = peer!("Discord", Discord::start(500));
    discord.control("channel", json!({ "id": "500" })).await;
    let mut client = peers::chat_client("discord_echo.py", &[&discord.0.base, TOKEN, "4"]).unwrap();
    assert_eq!(client.says(), "ready");
    let file = json!({ "name": "a.bin", "data": "ZnJvbSBmYXIgYXdheQ==" });
    discord.say("7", "500", "hello", json!({ "files": [file] })).await;
    let sent = discord.sent(4).await;
    assert_eq!((&sent[0]["content"], &sent[1]["content"]), (&json!("You: hello"), &json!("In a thread")));
    assert_eq!(sent[2]["files"], json!(["echo.py"]));
    discord.control("reconnect", json!({})).await;
    assert_eq!(client.says(), "resumed");
    discord.direct("7", "alone").await;
    assert_eq!(discord.sent(7).await[4]["content"], "You: alone");
    // What is said while nobody listens is told afterwards.
    discord.control("cut", json!({})).await;
    discord.direct("7", "while away").await;
    assert_eq!(client.says(), "resumed");
    assert_eq!(discord.sent(10).await[7]["content"], "You: while away");
    discord.control("invalidate", json!({ "resumable": false })).await;
    assert_eq!(client.says(), "ready");
    discord.direct("7", "anew").await;
    client.ends();
    let state = discord.state().await;
    assert_eq!((state["identifies"].as_u64(), state["resumes"].as_array().unwrap().len()), (Some(2), 2), "{state}");
    assert!(state["heartbeats"].as_array().unwrap().len() > 2);
    assert_eq!(state["credentials"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn discordjs_talks_through_our_discord_as_through_the_real_one() {
    for transport in ["plain", "zlib"] {
        let discord = peer!("Discord", Discord::start(300));
        discord.control("channel", json!({ "id": "500" })).await;
        let client = peers::npm_client("discord_ws.mjs", &[&discord.0.base, TOKEN, transport, "5"]);
        let mut client = peer!("@discordjs/ws", client);
        assert_eq!(client.says(), "ready");
        discord.say("7", "500", "hello", json!({})).await;
        let sent = discord.sent(2).await;
        assert_eq!((&sent[0]["content"], &sent[0]["reply"]), (&json!("You: hello"), &json!(true)));
        assert_eq!(sent[1]["files"], json!(["note.txt"]));
        // What is said while it is away is told when it comes back to the same session.
        discord.control("cut", json!({})).await;
        discord.direct("7", "while away").await;
        assert_eq!((client.says(), client.says()), ("closed 1006".to_owned(), "resumed".to_owned()));
        assert_eq!(discord.sent(4).await[2]["content"], "You: while away");
        discord.control("reconnect", json!({})).await;
        assert_eq!((client.says(), client.says()), ("closed 4200".to_owned(), "resumed".to_owned()));
        discord.direct("7", "as asked").await;
        discord.sent(6).await;
        // Nothing comes through any more: that its heartbeats are not answered is what it notices.
        let opened = discord.state().await["resumes"].as_array().unwrap().len();
        discord.control("deaf", json!({ "on": true })).await;
        assert_eq!(client.says(), "closed 4200");
        discord.control("deaf", json!({ "on": false })).await;
        assert_eq!(client.says(), "resumed");
        discord.direct("7", "awake again").await;
        discord.sent(8).await;
        assert_eq!(discord.state().await["resumes"].as_array().unwrap().len(), opened + 1);
        discord.control("invalidate", json!({ "resumable": false })).await;
        assert_eq!((client.says(), client.says()), ("closed 1000".to_owned(), "ready".to_owned()));
        discord.control("beat", json!({})).await;
        discord.direct("7", "anew").await;
        let heartbeats = client.says();
        let answered: usize = heartbeats.strip_suffix(" heartbeats").unwrap().parse().unwrap();
        client.ends();
        let state = discord.state().await;
        assert_eq!((state["identifies"].as_u64(), state["resumes"].as_array().unwrap().len()), (Some(2), 3), "{state}");
        let sent = state["heartbeats"].as_array().unwrap();
        assert!(answered > 3 && answered <= sent.len(), "{answered} of {}", sent.len());
        // Each says what was heard last; before anything was, nothing.
        assert!(sent.iter().any(|d| d.as_u64().is_some_and(|heard| heard > 1)), "{state}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_is_let_in_and_answered_and_after_a_restart_the_session_goes_on() {
    let discord = peer!("Discord", Discord::start(500));
    let model = peer!("aimock", peers::aimock(&answers("**Hello** @everyone <@7> snake_case"), &[]));
    let mut kernel = Kernel::start(discord.options(&model, 0, ""));
    connected(&discord, &kernel).await;
    discord.direct("7", "hi there").await;
    let sent = discord.sent(1).await;
    let list: Value = serde_json::from_str(&owner::done(kernel.state(), &["pairing", "list", "--json"])).unwrap();
    let code = list["pending"][0]["code"].as_str().unwrap().to_owned();
    assert!(sent[0]["content"].as_str().unwrap().contains(&code), "{sent:?}");
    assert!(peers::asked(&model).await.is_empty());
    owner::done(kernel.state(), &["pairing", "approve", &code, "--owner"]);
    discord.direct("7", "and now?").await;
    let sent = discord.sent(2).await;
    assert_eq!(sent[1]["content"], r"**Hello** @everyone \<@7> snake\_case");
    assert_eq!((&sent[1]["called"], &sent[1]["flags"]), (&json!([]), &json!(4)));

    // What is said while the kernel is down is told when it comes back, to the same session.
    kernel.kill();
    discord.direct("7", "are you there?").await;
    kernel.restart();
    assert_eq!(discord.sent(3).await.len(), 3);
    let state = discord.state().await;
    assert_eq!((state["identifies"].as_u64(), state["resumes"].as_array().unwrap().len()), (Some(1), 1), "{state}");
    assert_eq!(asked(&model).await.len(), 2);
    assert!(!kernel.log().contains(TOKEN));
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_channel_a_mention_and_a_reply_are_answered_and_a_thread_is_a_conversation_of_its_own() {
    let discord = peer!("Discord", Discord::start(1_000));
    let model = peer!("aimock", peers::aimock(&answers("Yes."), &[]));
    let kernel = Kernel::start(discord.options(&model, 0, OWNER));
    connected(&discord, &kernel).await;
    discord.say("1", "500", "just talking", json!({})).await;
    let named = discord.say("1", "500", &format!("<@{ME}> my secret is 12345"), json!({})).await;
    let sent = discord.sent(1).await;
    assert_eq!(
        (&sent[0]["channel_id"], &sent[0]["reply"], &sent[0]["called"]),
        (&json!("500"), &json!(true), &json!([]))
    );
    discord.say("1", "500", "really?", json!({ "reply_to": sent[0]["id"] })).await;
    assert_eq!(discord.sent(2).await.len(), 2);
    let thread = json!({ "type": 11, "room": { "parent_id": "500", "name": "About it" } });
    discord.say("1", "501", &format!("<@{ME}> what did I say?"), thread).await;
    assert_eq!(discord.sent(3).await[2]["channel_id"], "501");
    let asked = peers::asked(&model).await;
    assert!(asked[1]["body"].to_string().contains("12345") && !asked[2]["body"].to_string().contains("12345"));
    // An edit of what has been answered is said again.
    discord.control("edit", json!({ "channel": "500", "id": named, "text": format!("<@{ME}> it is 54321") })).await;
    assert_eq!(discord.sent(4).await.len(), 4);
    assert_eq!(asked.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_becomes_of_a_connection_nothing_is_lost_and_a_silent_one_is_noticed() {
    let discord = peer!("Discord", Discord::start(400));
    let model = peer!("aimock", peers::aimock(&answers("Here."), &[]));
    let kernel = Kernel::start(discord.options(&model, 0, OWNER));
    connected(&discord, &kernel).await;
    let resumes = async || discord.state().await["resumes"].as_array().unwrap().len();
    for (n, (what, how)) in [
        ("reconnect", json!({})),
        ("cut", json!({})),
        ("close", json!({ "code": 4000 })),
        ("invalidate", json!({ "resumable": true })),
    ]
    .into_iter()
    .enumerate()
    {
        discord.control(what, how).await;
        discord.direct("1", &format!("after {what}")).await;
        assert_eq!(discord.sent(n + 1).await.len(), n + 1, "{what}");
        until("a resumed session", &kernel, async || (resumes().await == n + 1).then_some(())).await;
    }
    // It stands, and nothing comes through: only the heartbeat tells.
    discord.control("deaf", json!({ "on": true })).await;
    discord.direct("1", "can you hear me?").await;
    until("the silent connection being left", &kernel, async || (discord.state().await["sockets"] == 0).then_some(()))
        .await;
    discord.control("deaf", json!({ "on": false })).await;
    assert_eq!(discord.sent(5).await.len(), 5);
    assert_eq!(discord.state().await["identifies"], 1);
    // A session that is gone is begun anew.
    discord.control("invalidate", json!({ "resumable": false })).await;
    until("another login", &kernel, async || (discord.state().await["identifies"] == 2).then_some(())).await;
    connected(&discord, &kernel).await;
    discord.direct("1", "anew").await;
    assert_eq!(discord.sent(6).await.len(), 6);
    assert_eq!(asked(&model).await.len(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_again_and_again_every_message_is_answered_exactly_once() {
    let discord = peer!("Discord", Discord::start(1_000));
    let model = peer!("aimock", peers::aimock(&answers("Understood."), &[]));
    // Its limits are another test's.
    discord.control("limit", json!({ "limit": 1000, "per": 1 })).await;
    let mut kernel = Kernel::start(discord.options(&model, 0, OWNER));
    connected(&discord, &kernel).await;
    let rounds = 4;
    for round in 0..rounds {
        for n in 0..3 {
            for who in 1..=3 {
                discord.direct(&who.to_string(), &format!("message {round}-{n} of {who}")).await;
            }
        }
        discord.sent(round * 9 + 2).await;
        kernel.kill();
        kernel.restart();
    }
    let all = 9 * rounds;
    until("everything being settled", &kernel, async || {
        let list: Vec<Value> =
            serde_json::from_str(&owner::done(kernel.state(), &["outbox", "list", "--json"])).unwrap();
        let here = channels(&kernel).as_array().unwrap().iter().find(|c| c["instance"] == INSTANCE).cloned().unwrap();
        let heard = discord.sent(0).await.len() >= all;
        (heard && here["waiting"] == 0 && list.is_empty()).then_some(())
    })
    .await;
    // What was in flight at a kill is sent again under its nonce, and Discord drops the second one.
    assert_eq!(discord.sent(all).await.len(), all);
    assert_eq!(discord.state().await["identifies"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_are_waited_for_where_they_hold_and_order_is_kept() {
    let discord = peer!("Discord", Discord::start(1_000));
    let model = peer!(
        "aimock",
        peers::aimock(
            &json!([
                { "match": { "userMessage": "first" }, "response": { "content": "A." } },
                { "match": { "userMessage": "second" }, "response": { "content": "B." } },
                { "match": { "userMessage": "third" }, "response": { "content": "C." } },
            ]),
            &[]
        )
    );
    let kernel = Kernel::start(discord.options(&model, 0, OWNER));
    connected(&discord, &kernel).await;
    discord.control("limit", json!({ "limit": 1, "per": 1 })).await;
    for text in ["first", "second", "third"] {
        discord.direct("1", text).await;
    }
    let texts: Vec<Value> = discord.sent(3).await.into_iter().map(|s| s["content"].clone()).collect();
    assert_eq!(texts, ["A.", "B.", "C."]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_discord_does_not_take_is_told_with_what_to_do() {
    let discord = peer!("Discord", Discord::with(json!({ "token": TOKEN, "content_intent": false })));
    let model = peer!("aimock", peers::aimock(&answers("Here."), &[]));
    let wrong = discord.options(&model, 0, "").with_env("DISCORD_BOT_TOKEN", "of-nobody-at-all");
    let kernel = Kernel::start(wrong);
    let stopped = stands(&kernel, INSTANCE, "stopped").await;
    assert!(stopped["why"].as_str().unwrap().contains("carapace secrets set bot-token"), "{stopped}");
    drop(kernel);
    let kernel = Kernel::start(discord.options(&model, 0, "config: { messageContent: true }"));
    let stopped = stands(&kernel, INSTANCE, "stopped").await;
    assert!(stopped["why"].as_str().unwrap().contains("Message Content Intent"), "{stopped}");
    drop(kernel);
    // Without that, only what names the bot has words; it needs nobody's leave.
    let kernel = Kernel::start(discord.options(&model, 0, "channel: { groupAllow: ['*'], groups: 'always' }"));
    connected(&discord, &kernel).await;
    discord.say("1", "500", "just talking", json!({})).await;
    discord.say("1", "500", &format!("<@{ME}> hello"), json!({})).await;
    assert_eq!(discord.sent(1).await.len(), 1);
    let texts = asked(&model).await;
    assert!(texts.len() == 1 && texts[0].contains("@carapace hello"), "{texts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn interactions_are_taken_if_discord_signed_them_and_probes_get_401() {
    let discord = peer!("Discord", Discord::start(1_000));
    let model = peer!("aimock", peers::aimock(&answers("Forty-two."), &[]));
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let key = discord.state().await["public_key"].as_str().unwrap().to_owned();
    let config = format!("config: {{ publicKey: '{key}' }}, {OWNER}");
    let kernel = Kernel::start(discord.options(&model, port, &config));
    connected(&discord, &kernel).await;
    let url = format!("http://127.0.0.1:{port}/channels/discord/interactions");
    until("the command being put up", &kernel, async || {
        (discord.state().await["commands"] == json!(["ask"])).then_some(())
    })
    .await;
    let interact = async |body: Value, more: Value| {
        let mut asked = json!({ "url": url, "body": body });
        asked.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        discord.control("interact", asked).await
    };
    assert_eq!(
        interact(json!({ "id": "1", "type": 1 }), json!({})).await,
        json!({ "status": 200, "body": { "type": 1 } })
    );
    assert_eq!(interact(json!({ "id": "1", "type": 1 }), json!({ "forged": true })).await["status"], 401);
    assert_eq!(interact(json!({ "id": "1", "type": 1 }), json!({ "timestamp": "1531420618" })).await["status"], 401);
    discord.direct("1", "open").await;
    discord.sent(1).await;
    let body = json!({ "id": "2", "type": 2, "token": "an-interaction-token", "channel_id": "601", "user": { "id": "1", "username": "ann" },
        "data": { "name": "ask", "options": [{ "name": "text", "type": 3, "value": "What is it?" }] } });
    let told = interact(body.clone(), json!({})).await;
    assert_eq!((&told["status"], &told["body"]["type"]), (&json!(200), &json!(4)), "{told}");
    let sent = discord.sent(2).await;
    assert_eq!((&sent[1]["channel_id"], &sent[1]["content"]), (&json!("601"), &json!("Forty-two.")));
    // The same again is the same.
    assert_eq!(interact(body, json!({})).await["status"], 200);
    assert_eq!(discord.sent(2).await.len(), 2);
    assert_eq!(asked(&model).await.len(), 2);
    assert!(!kernel.log().contains("an-interaction-token"));
}
