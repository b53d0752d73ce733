//! What the assistant does on a chat platform besides answering: messages elsewhere, and the tools of the channel itself.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test reads and writes files, and stops at the first thing that is not as it should be"
)]

use carapace_tests::chat::{Telegram, stands};
use carapace_tests::obedient::{call, obedient};
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
