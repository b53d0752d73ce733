//! What the assistant does on a chat platform besides answering: messages elsewhere, and the tools of the channel itself.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test reads and writes files, and stops at the first thing that is not as it should be"
)]

use carapace_tests::chat::{Telegram, stands, until};
use carapace_tests::discord::{self, Discord};
use carapace_tests::obedient::{call, obedient};
use carapace_tests::signal::{NUMBER, Signal};
use carapace_tests::slack::{self, Slack};
use carapace_tests::{Kernel, peer};
use serde_json::{Value, json};

const TARGETS: &str = "channels: { targets: { family: { instance: 'telegram', conversation: '-200', thread: '3' }, \
                       elsewhere: { instance: 'slack:work', conversation: 'C1' } } }";

fn to(target: &str) -> String {
    call("message_send", &json!({ "target": target, "text": "Dinner is at **eight**." }))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_goes_where_the_owner_said_it_may_and_only_on_their_word() {
    let telegram = peer!("Telegram", Telegram::start());
    let model = obedient().await;
    let config = "channel: { owner: ['1'], allow: ['2'], groupAllow: ['-100'] }";
    let kernel = Kernel::start(telegram.options_at(&model.base, config, TARGETS));
    stands(&kernel, "local/telegram/main", "running").await;

    // From the terminal, into a group; and a name that there is not is answered with those there are.
    let turn = kernel.turn("terminal", "carapace", &to("family")).await;
    assert_eq!(turn.result(), ("On its way to family, through telegram.", false), "{turn:?}");
    let sent = telegram.sent(1).await;
    assert_eq!((&sent[0]["chat_id"], &sent[0]["message_thread_id"]), (&json!(-200), &json!(3)));
    assert_eq!((&sent[0]["text"], &sent[0]["entities"][0]["type"]), (&json!("Dinner is at eight."), &json!("bold")));
    let turn = kernel.turn("terminal-2", "carapace", &to("work")).await;
    assert!(turn.result().1 && turn.result().0.contains("`owner`, `elsewhere`, `family`"), "{turn:?}");
    let turn = kernel.turn("terminal-3", "carapace", &to("elsewhere")).await;
    assert!(turn.result().1 && turn.result().0.contains("`slack:work`"), "{turn:?}");
    // The owner has written nowhere yet.
    let turn = kernel.turn("terminal-4", "carapace", &to("owner")).await;
    assert!(turn.result().1 && turn.result().0.contains("has not written directly"), "{turn:?}");
    telegram.private(1, "hello").await;
    telegram.sent(2).await;
    let turn = kernel.turn("terminal-5", "carapace", &to("owner")).await;
    assert_eq!(turn.result(), ("On its way to owner, through telegram.", false), "{turn:?}");
    assert_eq!(telegram.sent(3).await[2]["chat_id"], 1);

    // Somebody who was let in leaves the owner a word, and speaks to nobody else in their name.
    telegram.private(2, &to("owner")).await;
    let sent = telegram.sent(5).await;
    let to_owner: Vec<&Value> = sent.iter().skip(3).filter(|s| s["chat_id"] == 1).collect();
    assert_eq!(to_owner.len(), 1, "{sent:?}");
    telegram.private(2, &to("family")).await;
    let sent = telegram.sent(6).await;
    assert!(sent[5]["text"].as_str().unwrap().contains("E-GRANT-006"), "{sent:?}");

    // In a group, its members' words stand between: whoever asks there, a person has to agree.
    let group = json!({ "id": -100, "type": "supergroup", "title": "Team" });
    let mention = json!({ "entities": [{ "type": "mention", "offset": 0, "length": 13 }] });
    let ask = format!("@carapace_bot please\n{}", to("owner"));
    telegram.say(3, &group, &ask, mention.clone()).await;
    let sent = telegram.sent(7).await;
    assert!(sent[6]["text"].as_str().unwrap().contains("E-CHECK-003"), "{sent:?}");
    telegram.say(1, &group, &ask, mention).await;
    let sent = telegram.sent(8).await;
    assert!(sent[7]["text"].as_str().unwrap().contains("E-CHECK-010"), "{sent:?}");

    // Whoever wants none of it takes the capability away.
    carapace_tests::owner::done(kernel.state(), &["plugin", "revoke", "assistant", "message"]);
    let turn = kernel.turn("terminal-6", "carapace", &to("family")).await;
    let (why, failed) = turn.result();
    assert!(failed && why.contains("carapace plugin grant local/assistant/main message"), "{turn:?}");
    assert_eq!(telegram.sent(8).await.len(), 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channels_tools_act_in_their_own_chat_and_elsewhere_only_for_the_owner() {
    let telegram = peer!("Telegram", Telegram::start());
    let model = obedient().await;
    let config = "channel: { owner: ['1'], allow: ['2'] }";
    let kernel = Kernel::start(telegram.options_at(&model.base, config, ""));
    stands(&kernel, "local/telegram/main", "running").await;

    telegram.private(1, "hello").await;
    let first = telegram.sent(1).await[0]["message_id"].clone();
    // Neither chat nor message is named, and one call after the other is let through: nothing came from outside.
    let edit = call("telegram_edit_message", &json!({ "text": "Hello, _again_" }));
    let pin = call("telegram_pin_message", &json!({}));
    telegram.private(1, &format!("{edit}\n{pin}")).await;
    let acted = telegram.acted(2).await;
    assert_eq!(
        acted[0],
        json!({ "method": "editMessageText", "chat_id": 1, "message_id": first, "text": "Hello, again",
            "entities": [{ "offset": 7, "length": 5, "type": "italic" }], "link_preview_options": { "is_disabled": true } })
    );
    assert_eq!((&acted[1]["method"], &acted[1]["message_id"]), (&json!("pinChatMessage"), &first));
    let answer = telegram.sent(2).await[1].clone();
    assert_eq!(answer["text"], format!("done: {first}\ndone: {first}"));
    let photo = |chat: Value| {
        call(
            "telegram_send_photo",
            &json!({ "url": "https://example.com/a.jpg", "caption": "**look**", "chat_id": chat }),
        )
    };
    let buttons = json!({ "message_id": first, "rows": [[{ "text": "Yes", "data": "y" }]] });
    telegram.private(1, &format!("{}\n{}", photo(Value::Null), call("telegram_reply_markup", &buttons))).await;
    let acted = telegram.acted(4).await;
    assert_eq!((&acted[2]["chat_id"], &acted[2]["caption"]), (&json!(1), &json!("look")));
    assert_eq!(acted[3]["reply_markup"]["inline_keyboard"][0][0]["callback_data"], "y");
    assert_eq!(telegram.sent(3).await[2]["text"], format!("done: {}\ndone: {first}", acted[2]["sent_as"]));

    // In another chat: for the owner, and for nobody else.
    telegram.private(2, &photo(json!(1))).await;
    assert!(telegram.sent(4).await[3]["text"].as_str().unwrap().contains("E-CHECK-012"));
    telegram.private(2, &photo(json!(2))).await;
    assert_eq!(telegram.acted(5).await[4]["chat_id"], 2);
    telegram.sent(5).await;
    telegram.private(1, &photo(json!(2))).await;
    assert_eq!(telegram.acted(6).await[5]["chat_id"], 2);
    telegram.sent(6).await;

    // What Telegram says of a call that it refuses is from outside.
    telegram.private(2, &call("telegram_delete_message", &json!({ "message_id": 999 }))).await;
    assert!(telegram.sent(7).await[6]["text"].as_str().unwrap().contains("not found"));
    telegram.private(2, &photo(Value::Null)).await;
    assert!(telegram.sent(8).await[7]["text"].as_str().unwrap().contains("E-CHECK-010"));
    assert_eq!(telegram.acted(6).await.len(), 6);

    // Anywhere else, there is no such tool.
    let turn = kernel.turn("terminal", "carapace", &photo(json!(1))).await;
    assert!(turn.result().1 && turn.result().0.contains("there is no tool `telegram_send_photo`"), "{turn:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn slacks_tools_act_in_their_own_conversation_and_call_nobody() {
    let slack = peer!("Slack", Slack::start());
    let model = obedient().await;
    let options = slack.options_at(&model.base, 0, "channel: { owner: ['U1'], allow: ['U2'] }", "");
    let kernel = Kernel::start(options.with_env("SLACK_APP_TOKEN", slack::APP));
    let message = async |channel: &str, ts: &Value| -> Value {
        let state = slack.state().await;
        let all = state["channels"][channel].as_array().unwrap().clone();
        all.into_iter().find(|m| m["ts"] == *ts).unwrap_or_default()
    };

    slack.say("U1", "D1", "hello").await;
    let first = slack.sent(1).await[0]["ts"].clone();
    // What a person types as `<` comes escaped.
    let update = call("slack_update_message", &json!({ "text": "Hello, _again_ &lt;!channel&gt;" }));
    let react = call("slack_add_reaction", &json!({ "emoji": "eyes" }));
    let asked = slack.say("U1", "D1", &format!("{update}\n{react}")).await;
    let answer = slack.sent(2).await[1].clone();
    assert_eq!(answer["text"], format!("done: {}\ndone: {asked}", first.as_str().unwrap()));
    assert_eq!(message("D1", &first).await["text"], "Hello, again &lt;!channel&gt;");
    assert_eq!(message("D1", &json!(asked)).await["reactions"][0]["name"], "eyes");
    let blocks = |channel: Value| {
        let section = json!({ "type": "section", "text": { "type": "mrkdwn", "text": "*look*" } });
        call("slack_send_blocks", &json!({ "blocks": [section], "channel": channel }))
    };
    let delete = call("slack_delete_message", &json!({ "timestamp": first }));
    slack.say("U1", "D1", &format!("{}\n{delete}", blocks(Value::Null))).await;
    let sent = slack.sent(4).await;
    assert_eq!((&sent[2]["channel"], &sent[2]["blocks"][0]["text"]["text"]), (&json!("D1"), &json!("*look*")));
    assert_eq!(
        sent[3]["text"],
        format!("done: {}\ndone: {}", sent[2]["ts"].as_str().unwrap(), first.as_str().unwrap())
    );
    assert_eq!(message("D1", &first).await, Value::Null);
    // In a channel, to whoever asked, in the thread.
    let whisper = call("slack_send_ephemeral", &json!({ "text": "**Only** you." }));
    let ts = slack.say("U1", "C1", &format!("<@{}> please\n{whisper}", slack::ME)).await;
    let sent = slack.sent(5).await;
    let whispered = slack.called("chat.postEphemeral").await;
    assert_eq!(whispered.len(), 1, "{sent:?}");
    assert_eq!(
        (&whispered[0]["user"], &whispered[0]["channel"], &whispered[0]["thread_ts"]),
        (&json!("U1"), &json!("C1"), &json!(ts))
    );
    assert!(sent.iter().all(|s| s["pings"] == json!([])), "{sent:?}");

    // Elsewhere: for the owner, and for nobody else; and a stranger calls nothing.
    slack.say("U2", "D2", &blocks(json!("D1"))).await;
    assert!(slack.sent(6).await[5]["text"].as_str().unwrap().contains("E-CHECK-012"));
    slack.say("U1", "D1", &blocks(json!("D2"))).await;
    let sent = slack.sent(8).await;
    assert_eq!((&sent[6]["channel"], &sent[7]["channel"]), (&json!("D2"), &json!("D1")));
    slack.say("U9", "D9", &blocks(Value::Null)).await;
    let sent = slack.sent(9).await;
    assert!(sent[8]["text"].as_str().unwrap().contains("carapace pairing approve"), "{sent:?}");
    assert_eq!(slack.called("chat.postMessage").await.len(), 9);

    // What the app may not do is said with what to do.
    slack.control("revoke", json!({ "scope": "reactions:write" })).await;
    slack.say("U1", "D1", &react).await;
    assert!(slack.sent(10).await[9]["text"].as_str().unwrap().contains("reactions:write; add it under OAuth"));
    let turn = kernel.turn("terminal", "carapace", &delete).await;
    assert!(turn.result().1 && turn.result().0.contains("there is no tool `slack_delete_message`"), "{turn:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn discords_tools_act_in_their_own_channel_and_call_nobody() {
    let discord = peer!("Discord", Discord::start(1_000));
    let model = obedient().await;
    discord.control("limit", json!({ "limit": 1000, "per": 1 })).await;
    let kernel = Kernel::start(discord.options_at(&model.base, 0, "channel: { owner: ['1'], allow: ['2'] }", ""));
    until("a session", &kernel, async || (discord.state().await["identifies"] == 1).then_some(())).await;
    let acted = async |method: &str, path: &str| -> Vec<Value> {
        discord.called(path).await.into_iter().filter(|c| c["method"] == method).collect()
    };

    discord.direct("1", "hello").await;
    let first = discord.sent(1).await[0]["id"].as_str().unwrap().to_owned();
    let edit = call("discord_edit_message", &json!({ "content": "Hello, *again* @everyone" }));
    let react = call("discord_add_reaction", &json!({ "emoji": "👀" }));
    let asked = discord.direct("1", &format!("{edit}\n{react}")).await;
    assert_eq!(discord.sent(2).await[1]["content"], format!("done: {first}\ndone: {asked}"));
    let edited = acted("PATCH", "/messages/").await;
    assert_eq!(edited[0]["path"], format!("/channels/601/messages/{first}"));
    assert_eq!(
        edited[0]["body"],
        json!({ "content": "Hello, *again* @everyone", "allowed_mentions": { "parse": [] } })
    );
    let reacted = acted("PUT", "/reactions/").await;
    assert_eq!(reacted[0]["path"], format!("/channels/601/messages/{asked}/reactions/👀/@me"));
    let embed = |channel: Value| {
        let fields = json!([{ "name": "a", "value": "1" }]);
        call(
            "discord_send_embed",
            &json!({ "title": "Report", "fields": fields, "color": "#5865F2", "channel_id": channel }),
        )
    };
    let delete = call("discord_delete_message", &json!({ "message_id": first }));
    discord.direct("1", &format!("{}\n{delete}", embed(Value::Null))).await;
    let sent = discord.sent(4).await;
    assert_eq!((&sent[2]["channel_id"], &sent[2]["embeds"][0]["color"]), (&json!("601"), &json!(0x58_65F2)));
    assert_eq!(sent[3]["content"], format!("done: {}\ndone: {first}", sent[2]["id"].as_str().unwrap()));
    assert_eq!(acted("DELETE", "/messages/").await[0]["path"], format!("/channels/601/messages/{first}"));
    // In a channel of a server, a thread at what was just said.
    let thread = call("discord_create_thread", &json!({ "name": "About it", "auto_archive_minutes": 60 }));
    let said = discord.say("1", "500", &format!("<@{}> please\n{thread}", discord::ME), json!({})).await;
    let sent = discord.sent(5).await;
    assert_eq!(sent[4]["content"], format!("done: {said}"), "{sent:?}");
    let begun = acted("POST", "/threads").await;
    assert_eq!(begun[0]["path"], format!("/channels/500/messages/{said}/threads"));
    assert_eq!(begun[0]["body"], json!({ "name": "About it", "auto_archive_duration": 60 }));

    // Elsewhere: for the owner, and for nobody else; and a stranger calls nothing.
    discord.direct("2", &embed(json!("601"))).await;
    assert!(discord.sent(6).await[5]["content"].as_str().unwrap().contains("E-CHECK-012"));
    discord.direct("1", &embed(json!("602"))).await;
    let sent = discord.sent(8).await;
    assert_eq!((&sent[6]["channel_id"], &sent[7]["channel_id"]), (&json!("602"), &json!("601")));
    discord.direct("9", &embed(Value::Null)).await;
    let sent = discord.sent(9).await;
    assert!(sent[8]["content"].as_str().unwrap().contains("carapace pairing approve"), "{sent:?}");
    assert!(sent.iter().all(|s| s["called"] == json!([])), "{sent:?}");

    // What Discord refuses is said with what to do.
    let others = call("discord_delete_message", &json!({ "channel_id": "500", "message_id": said }));
    discord.direct("1", &others).await;
    assert!(discord.sent(10).await[9]["content"].as_str().unwrap().contains("Manage Messages"));
    let turn = kernel.turn("terminal", "carapace", &delete).await;
    assert!(turn.result().1 && turn.result().0.contains("there is no tool `discord_delete_message`"), "{turn:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn signals_tool_reacts_to_what_was_just_said() {
    let signal = peer!("Signal", Signal::start("json-rpc"));
    let model = obedient().await;
    let (ann, bo) = ("6f3c4b1e-0000-4000-8000-915100000001", "6f3c4b1e-0000-4000-8000-915100000002");
    let config = format!("channel: {{ owner: ['{ann}'], allow: ['{bo}'] }}");
    let kernel = Kernel::start(signal.options_at(&model.base, &config, ""));
    until("a connection", &kernel, async || (signal.state().await["sockets"] == 1).then_some(())).await;
    let react = |more: Value| {
        let mut arguments = json!({ "emoji": "👍" });
        arguments.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        call("signal_react", &arguments)
    };
    let (at, _) = signal.say("+4915100000001", &react(json!({})), json!({})).await;
    assert_eq!(signal.sent(1).await[0]["message"], format!("done: {at}:{ann}"));
    let reacted = signal.told("reacted", 1).await;
    assert_eq!(reacted[0], json!({ "reaction": "👍", "recipient": ann, "target_author": ann, "timestamp": at }));
    // To what the assistant said itself.
    let own = signal.sent(1).await[0]["timestamp"].as_u64().unwrap();
    signal.say("+4915100000001", &react(json!({ "message": own.to_string() })), json!({})).await;
    signal.sent(2).await;
    let reacted = signal.told("reacted", 2).await;
    assert_eq!((&reacted[1]["target_author"], &reacted[1]["timestamp"]), (&json!(NUMBER), &json!(own)));

    // Elsewhere: for the owner, and for nobody else; and a stranger calls nothing.
    let there = |who: &str| react(json!({ "conversation": who, "message": format!("{at}:{ann}") }));
    signal.say("+4915100000002", &there(ann), json!({})).await;
    assert!(signal.sent(3).await[2]["message"].as_str().unwrap().contains("E-CHECK-012"));
    signal.say("+4915100000001", &there(bo), json!({})).await;
    signal.sent(4).await;
    assert_eq!(signal.told("reacted", 3).await[2]["recipient"], bo);
    signal.say("+4915100000009", &react(json!({})), json!({})).await;
    assert!(signal.sent(5).await[4]["message"].as_str().unwrap().contains("carapace pairing approve"));
    assert_eq!(signal.told("reacted", 3).await.len(), 3);
}
