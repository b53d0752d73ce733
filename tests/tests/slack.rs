//! People reach the assistant through Slack: by Socket Mode and by the Events API.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test stops at the first thing that is not as it should be"
)]

use carapace_tests::chat::{answers, channels, stands, until};
use carapace_tests::obedient::{call, obedient};
use carapace_tests::slack::{APP, BOT, ME, SIGNING, Slack, address};
use carapace_tests::{Kernel, KernelOptions, owner, peer, peers};
use serde_json::{Value, json};

const INSTANCE: &str = "local/slack/main";

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// What the model was asked last, each time.
async fn asked(model: &carapace_tests::server::Server) -> Vec<String> {
    let asked = peers::asked(model).await;
    asked.iter().map(|a| a["body"]["messages"].as_array().unwrap().last().unwrap()["content"].to_string()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn slack_sdk_talks_through_our_slack_as_through_the_real_one() {
    let slack = peer!("Slack", Slack::start());
    let mut client = peers::chat_client("slack_echo.py", &[&slack.for_clients(), "socket"]).unwrap();
    assert_eq!(client.says(), "ready");
    let file =
        json!({ "id": "F1", "name": "a.bin", "mimetype": "application/octet-stream", "data": "ZnJvbSBmYXIgYXdheQ==" });
    let first = slack.say_with("U1", "D1", "hello", json!([file])).await;
    let sent = slack.sent(4).await;
    assert_eq!((&sent[0]["text"], &sent[0]["thread_ts"]), (&json!("You: hello"), &json!(first)));
    // Another connection takes over, and what comes then is taken there.
    slack.control("disconnect", json!({ "reason": "refresh_requested", "after": 1 })).await;
    slack.say("U1", "C1", &format!("<@{ME}> again")).await;
    assert_eq!(slack.sent(8).await.len(), 8);
    client.ends();
    assert_eq!(slack.calls("apps.connections.open").await, 2);

    let mut server = peers::chat_client("slack_echo.py", &[&slack.for_clients(), "push"]).unwrap();
    let url = server.says();
    assert_eq!(slack.control("events_url", json!({ "url": url })).await["verified"], true);
    assert_eq!(slack.control("forge", json!({ "url": url, "body": "{}" })).await["status"], 401);
    slack.say("U1", "D1", "pushed").await;
    server.ends();
}

#[tokio::test(flavor = "multi_thread")]
async fn pushed_events_are_taken_once_and_only_if_slack_signed_them() {
    let slack = peer!("Slack", Slack::start());
    let model = peer!("aimock", peers::aimock(&answers("**Hello** <!channel>."), &[]));
    let port = free_port();
    let kernel = Kernel::start(slack.by_webhook(&model, port, ""));
    stands(&kernel, INSTANCE, "running").await;
    let verified = slack.push_to(port).await;
    assert_eq!(verified["verified"], true, "{verified}\n{}", kernel.log());

    // A stranger gets a code and nothing else.
    slack.say("U7", "D7", "hi there").await;
    let sent = slack.sent(1).await;
    let list: Value = serde_json::from_str(&owner::done(kernel.state(), &["pairing", "list", "--json"])).unwrap();
    let code = list["pending"][0]["code"].as_str().unwrap().to_owned();
    assert!(sent[0]["text"].as_str().unwrap().contains(&code) && sent[0]["channel"] == "D7", "{sent:?}");
    assert_eq!(
        (list["pending"][0]["sender"].as_str(), list["pending"][0]["name"].as_str()),
        (Some("U7"), Some("Person U7"))
    );
    assert!(peers::asked(&model).await.is_empty());
    owner::done(kernel.state(), &["pairing", "approve", &code, "--owner"]);

    slack.say("U7", "D7", "and now?").await;
    let sent = slack.sent(2).await;
    let rich = &sent[1]["blocks"][0]["elements"][0]["elements"];
    assert_eq!(rich[0], json!({ "type": "text", "text": "Hello", "style": { "bold": true } }), "{sent:?}");
    assert_eq!(sent[1]["text"], "Hello &lt;!channel&gt;.");
    assert!(sent.iter().all(|s| s["pings"] == json!([])), "{sent:?}");
    assert!(sent[1]["thread_ts"].is_null());

    // A mention comes as two events, is one message, and is answered in a thread.
    let ts = slack.say("U7", "C1", &format!("<@{ME}> what about here?")).await;
    let sent = slack.sent(3).await;
    assert_eq!((&sent[2]["channel"], &sent[2]["thread_ts"]), (&json!("C1"), &json!(ts)));
    // What names nobody is not answered; nor is what the assistant said itself, which Slack tells it as well.
    slack.say("U7", "C1", "just talking").await;
    until("everything being delivered", &kernel, async || (slack.state().await["waiting"] == 0).then_some(())).await;
    assert_eq!(peers::asked(&model).await.len(), 2);
    assert_eq!(slack.sent(3).await.len(), 3);

    // Forged, or old: nothing.
    let forged = json!({ "url": address(port), "body": "{}" });
    assert_eq!(slack.control("forge", forged).await["status"], 401);
    let replayed = json!({ "url": address(port), "body": "{}", "timestamp": "1531420618", "replay": true });
    assert_eq!(slack.control("forge", replayed).await["status"], 401);
    assert!(!kernel.log().contains(SIGNING) && !kernel.log().contains(BOT));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_with_a_mention_is_not_lost_whichever_of_its_two_events_comes_first() {
    let slack = peer!("Slack", Slack::start());
    let model = peer!("aimock", peers::aimock(&answers("Seen."), &[]));
    let kernel = Kernel::start(slack.by_socket(&model, "channel: { owner: ['U1'] }"));
    until("a connection", &kernel, async || (slack.state().await["sockets"] == 1).then_some(())).await;
    for (n, order) in ["first", "second"].into_iter().enumerate() {
        let file = json!({ "id": format!("F{n}"), "name": format!("report-{n}.pdf"), "mimetype": "application/pdf", "data": "JVBERi0xLjc=" });
        let said = json!({ "user": "U1", "channel": "C1", "text": format!("<@{ME}> look"), "mention": order, "mention_files": false,
            "more": { "subtype": "file_share", "files": [file] } });
        slack.control("say", said).await;
        assert_eq!(slack.sent(n + 1).await.len(), n + 1);
        assert!(asked(&model).await[n].contains(&format!("report-{n}.pdf")), "the mention came {order}");
    }
    // Where nothing but the mention is told, it is a message all the same; by then nothing else waits.
    let alone = json!({ "user": "U1", "channel": "C1", "text": format!("<@{ME}> alone"), "mention": "only" });
    slack.control("say", alone).await;
    assert_eq!(slack.sent(3).await.len(), 3);
    until("everything being acknowledged", &kernel, async || (slack.state().await["waiting"] == 0).then_some(())).await;
    let texts = asked(&model).await;
    assert!(texts.len() == 3 && texts[2].contains("alone"), "{texts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn over_a_socket_events_are_acknowledged_and_a_new_connection_takes_over_without_a_gap() {
    let slack = peer!("Slack", Slack::start());
    let model = peer!("aimock", peers::aimock(&answers("Yes."), &[]));
    let kernel = Kernel::start(slack.by_socket(&model, "channel: { owner: ['U1'] }"));
    until("a connection", &kernel, async || (slack.state().await["sockets"] == 1).then_some(())).await;
    slack.say("U1", "D1", "one").await;
    assert_eq!(slack.sent(1).await[0]["text"], "Yes.");
    // Slack closes the old one after a while; before, there are two.
    slack.control("disconnect", json!({ "reason": "refresh_requested", "after": 3 })).await;
    until("two connections", &kernel, async || (slack.state().await["sockets"] == 2).then_some(())).await;
    slack.say("U1", "D1", "two").await;
    assert_eq!(slack.sent(2).await.len(), 2);
    until("the old one going", &kernel, async || {
        let state = slack.state().await;
        (state["sockets"] == 1 && state["going"] == 0).then_some(())
    })
    .await;
    slack.say("U1", "D1", "three").await;
    assert_eq!(slack.sent(3).await.len(), 3);
    // Cut off, it comes back with another ticket.
    slack.control("cut", json!({})).await;
    slack.say("U1", "D1", "four").await;
    assert_eq!(slack.sent(4).await.len(), 4);
    assert_eq!(slack.calls("apps.connections.open").await, 3);
    until("everything being acknowledged", &kernel, async || (slack.state().await["waiting"] == 0).then_some(())).await;
    assert_eq!(asked(&model).await.len(), 4);
    assert!(!kernel.log().contains("ticket=") && !kernel.log().contains(APP), "{}", kernel.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_again_and_again_over_a_socket_no_message_is_lost_and_none_is_taken_twice() {
    let slack = peer!("Slack", Slack::start());
    let model = peer!("aimock", peers::aimock(&answers("Understood."), &[]));
    let mut kernel = Kernel::start(slack.by_socket(&model, "channel: { drafts: false, owner: ['U1', 'U2', 'U3'] }"));
    let rounds = 4;
    for round in 0..rounds {
        for n in 0..3 {
            for who in 1..=3 {
                slack.say(&format!("U{who}"), &format!("D{who}"), &format!("message {round}-{n} of {who}")).await;
            }
        }
        // In the middle of it: how far it got is chance.
        slack.sent(round * 9 + 2).await;
        kernel.kill();
        kernel.restart();
    }
    let all = 9 * rounds;
    let uncertain = until("everything being settled", &kernel, async || {
        let unread = slack.state().await["waiting"].as_u64().unwrap();
        let list: Vec<Value> =
            serde_json::from_str(&owner::done(kernel.state(), &["outbox", "list", "--json"])).unwrap();
        let here = channels(&kernel).as_array().unwrap().iter().find(|c| c["instance"] == INSTANCE).cloned().unwrap();
        let settled = unread == 0 && here["waiting"] == 0 && list.iter().all(|p| p["state"] == "uncertain");
        settled.then_some(list.len())
    })
    .await;
    assert!(uncertain <= rounds * 3, "{uncertain}: at most one part per conversation can be in flight at a kill");
    let sent = slack.sent(0).await.len();
    assert!(sent <= all && sent + uncertain >= all, "{sent} sent, {uncertain} uncertain, of {all}");
    let texts = asked(&model).await;
    for who in 1..=3 {
        for round in 0..rounds {
            for n in 0..3 {
                let text = format!("message {round}-{n} of {who}");
                assert!(texts.iter().any(|t| t.contains(&text)), "{text} was lost");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_replaces_what_waits_and_too_many_messages_are_waited_for() {
    let slack = peer!("Slack", Slack::start());
    let model = peer!("aimock", peers::aimock(&answers("Fine."), &[]));
    let kernel = Kernel::start(slack.by_socket(&model, "channel: { owner: ['U1'] }"));
    stands(&kernel, INSTANCE, "running").await;
    let busy = json!({ "method": "chat.postMessage", "status": 429, "headers": { "retry-after": "1" }, "body": { "ok": false, "error": "ratelimited" } });
    slack.control("fail", busy).await;
    let ts = slack.say("U1", "D1", "one &amp; only").await;
    assert_eq!(slack.sent(1).await.len(), 1);
    assert_eq!(slack.calls("chat.postMessage").await, 2);
    slack.control("edit", json!({ "channel": "D1", "ts": ts, "text": "something else" })).await;
    assert_eq!(slack.sent(2).await.len(), 2);
    let texts = asked(&model).await;
    assert!(
        texts[0].contains("one & only") && texts[1].contains("edited") && texts[1].contains("something else"),
        "{texts:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_slack_does_not_take_is_told_with_what_to_do() {
    let slack = peer!("Slack", Slack::start());
    let model = peer!("aimock", peers::aimock(&answers("Here."), &[]));
    let kernel = Kernel::start(slack.by_socket(&model, "").with_env("SLACK_APP_TOKEN", "xapp-1-of-nobody-at-all"));
    let stopped = stands(&kernel, INSTANCE, "stopped").await;
    assert!(stopped["why"].as_str().unwrap().contains("carapace secrets set app-token"), "{stopped}");
    drop(kernel);
    let kernel = Kernel::start(slack.options(&model, 0, ""));
    let stopped = stands(&kernel, INSTANCE, "stopped").await;
    assert!(stopped["why"].as_str().unwrap().contains("nothing can come in"), "{stopped}");
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_elses_slack_takes_what_we_send() {
    let slack = peer!("Slack", Slack::start());
    let backlot = peer!("backlot", peers::backlot());
    let model = peer!("aimock", peers::aimock(&answers("# Title\n\n**Hello** `x`\n\n```\ncode\n```\n\n> so"), &[]));
    let (api, port) = (format!("{}/slack/api", backlot.base), free_port());
    let config = format!(
        "{{ webhooks: {{ port: {port} }}, instances: {{ slack: {{ endpoints: {{ api: '{api}' }}, config: {{ replyInThread: false }}, channel: {{ groupAllow: ['*'] }} }} }} }}"
    );
    let token = "admin-service-token";
    let options = KernelOptions::openai(&format!("{}/v1", model.base)).with_env("SLACK_BOT_TOKEN", token);
    let kernel = Kernel::start(options.with_env("SLACK_SIGNING_SECRET", SIGNING).with_config(&config));
    stands(&kernel, INSTANCE, "running").await;
    assert_eq!(slack.push_to(port).await["verified"], true);
    let http = carapace_tests::kernel::client(reqwest::header::HeaderMap::new());
    let ask = async |path: &str| -> Value {
        http.get(format!("{api}/{path}")).bearer_auth(token).send().await.unwrap().json().await.unwrap()
    };
    let (me, rooms, people) = (ask("auth.test").await, ask("conversations.list").await, ask("users.list").await);
    let (room, person) = (rooms["channels"][0]["id"].as_str().unwrap(), people["members"][0]["id"].as_str().unwrap());
    let text = format!("<@{}> hello", me["user_id"].as_str().unwrap());
    let event = json!({ "type": "app_mention", "user": person, "text": text, "ts": "1770628400.000100", "channel": room, "event_ts": "1770628400.000100" });
    slack.control("event", event).await;
    let posted = until("an answer at backlot", &kernel, async || {
        let history = ask(&format!("conversations.history?channel={room}")).await.to_string();
        let refused = owner::done(kernel.state(), &["outbox", "list", "--json"]);
        assert!(!refused.contains("dead"), "{refused}");
        history.contains("Hello x").then_some(history)
    })
    .await;
    // It shows the words that stand beside the blocks.
    assert!(posted.contains("Title") && posted.contains("code"), "{posted}");
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_elses_slack_takes_what_our_tools_do() {
    let slack = peer!("Slack", Slack::start());
    let backlot = peer!("backlot", peers::backlot());
    let model = obedient().await;
    let (api, port, token) = (format!("{}/slack/api", backlot.base), free_port(), "admin-service-token");
    let http = carapace_tests::kernel::client(reqwest::header::HeaderMap::new());
    let ask = async |path: &str| -> Value {
        http.get(format!("{api}/{path}")).bearer_auth(token).send().await.unwrap().json().await.unwrap()
    };
    let (rooms, people) = (ask("conversations.list").await, ask("users.list").await);
    let (room, person) = (rooms["channels"][0]["id"].as_str().unwrap(), people["members"][0]["id"].as_str().unwrap());
    let config = format!(
        "{{ webhooks: {{ port: {port} }}, instances: {{ slack: {{ endpoints: {{ api: '{api}', actions: '{api}' }}, channel: {{ owner: ['{person}'] }} }} }} }}"
    );
    let options = KernelOptions::openai(&model.base).with_env("SLACK_BOT_TOKEN", token);
    let kernel = Kernel::start(options.with_env("SLACK_SIGNING_SECRET", SIGNING).with_config(&config));
    stands(&kernel, INSTANCE, "running").await;
    assert_eq!(slack.push_to(port).await["verified"], true);
    // Its rooms are channels; that this one is a person's is what our Slack says.
    let answers = async |n: usize, calls: &str| -> Vec<String> {
        let ts = format!("17706284{n:02}.000100");
        let event = json!({ "type": "message", "channel_type": "im", "user": person, "text": calls, "ts": ts, "channel": room, "event_ts": ts });
        slack.control("event", event).await;
        until("an answer at backlot", &kernel, async || {
            let history = ask(&format!("conversations.history?channel={room}&limit=200")).await;
            let answers = history["messages"].as_array().unwrap().iter().filter_map(|m| m["text"].as_str());
            // Newest first.
            let mut answers: Vec<String> = answers.filter(|t| t.contains("done:")).map(str::to_owned).collect();
            answers.reverse();
            (answers.len() == n).then(|| answers.pop().unwrap().lines().map(str::to_owned).collect())
        })
        .await
    };
    let blocks =
        json!([{ "type": "header", "text": { "type": "plain_text", "text": "Report" } }, { "type": "divider" }]);
    let sent = answers(1, &call("slack_send_blocks", &json!({ "blocks": blocks }))).await;
    let ts = sent[0].strip_prefix("done: ").unwrap().to_owned();
    let calls = [
        call("slack_add_reaction", &json!({ "emoji": "thumbsup", "timestamp": ts })),
        call("slack_add_reaction", &json!({ "emoji": "thumbsup", "timestamp": ts })),
        call("slack_update_message", &json!({ "text": "**new**", "timestamp": ts })),
        call("slack_send_ephemeral", &json!({ "text": "look", "user": person })),
        call("slack_delete_message", &json!({ "timestamp": ts })),
        call("slack_delete_message", &json!({ "timestamp": ts })),
    ];
    let told = answers(2, &calls.join("\n")).await;
    let (last, before) = told.split_last().unwrap();
    assert!(before.len() == 5 && before.iter().all(|t| t.starts_with("done: ")), "{told:?}");
    assert!(last.contains("there is no such message in this conversation"), "{told:?}");
}
