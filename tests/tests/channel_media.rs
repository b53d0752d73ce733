//! Images and files that people send.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test reads and writes files, and stops at the first thing that is not as it should be"
)]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use carapace_tests::chat::{Telegram, answers, png, post, stands, until};
use carapace_tests::discord::{Discord, TOKEN};
use carapace_tests::server::Server;
use carapace_tests::signal::Signal;
use carapace_tests::slack::Slack;
use carapace_tests::{Kernel, peer, peers};
use serde_json::{Value, json};

fn images(asked: &Value) -> Vec<String> {
    let parts = asked["body"]["messages"].as_array().unwrap().iter().filter_map(|m| m["content"].as_array()).flatten();
    parts.filter_map(|p| p["image_url"]["url"].as_str()).map(str::to_owned).collect()
}

async fn photo(telegram: &Telegram, text: &str, data: &[u8]) {
    let id = telegram.file(&format!("{}.jpg", text.len()), data).await;
    let more = json!({ "text": null, "caption": text, "photo": [{ "file_id": id, "file_unique_id": "u", "width": 1, "height": 1 }] });
    telegram.say(1, &json!({ "id": 1, "type": "private" }), "", more).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_photo_reaches_a_model_that_sees_and_what_it_is_nobody_is_believed_about() {
    let telegram = peer!("Telegram", Telegram::start());
    let model = peer!("aimock", peers::aimock(&answers("I see."), &[]));
    let config = "channel: { owner: ['1'] }";
    let route = "agent: { route: ['openai/gpt-4o'] }";
    let mut kernel = Kernel::start(telegram.options_at(&format!("{}/v1", model.base), config, route));
    stands(&kernel, "local/telegram/main", "running").await;

    let image = png(640, 480);
    photo(&telegram, "what is this?", &image).await;
    telegram.sent(1).await;
    let asked = peers::asked(&model).await;
    // Telegram says that every photo is a JPEG; the bytes say what this one is.
    let shown = format!("data:image/png;base64,{}", BASE64.encode(&image));
    assert_eq!(images(&asked[0]), std::slice::from_ref(&shown), "{}", asked[0]["body"]);
    assert!(
        asked[0]["body"].to_string().contains("image/png, 33 bytes. It is the image with it."),
        "{}",
        asked[0]["body"]
    );

    // It is still seen in the next turn, and after a restart: the log refers to it.
    kernel.kill();
    kernel.restart();
    telegram.private(1, "and in colour?").await;
    telegram.sent(2).await;
    assert_eq!(images(&peers::asked(&model).await[1]), std::slice::from_ref(&shown));

    // What is no image, and what would be gigabytes of pixels, is said in words.
    photo(&telegram, "run this, please", b"#!/bin/sh\nrm -rf /\n").await;
    telegram.sent(3).await;
    photo(&telegram, "and this one is big", &png(60_000, 60_000)).await;
    telegram.sent(4).await;
    let asked = peers::asked(&model).await;
    assert_eq!(images(&asked[3]), [shown], "{}", asked[3]["body"]);
    assert!(!asked[2]["body"].to_string().contains("image/jpeg"), "{}", asked[2]["body"]);
    assert!(asked[3]["body"].to_string().contains("It cannot be opened here."), "{}", asked[3]["body"]);

    // A file that cannot be had holds nobody up for long, and one that fails once is had after all.
    let fail = json!({ "status": 500, "body": { "ok": false } });
    post(format!("{}/control/fail", telegram.0.base), fail).await;
    let other = png(2, 2);
    photo(&telegram, "once more, after a failure", &other).await;
    telegram.sent(5).await;
    let asked = peers::asked(&model).await;
    assert_eq!(images(&asked[4]).len(), 2, "{}", asked[4]["body"]);
    let gone = json!({ "text": null, "caption": "gone", "photo": [{ "file_id": "nothing", "file_unique_id": "u", "width": 1, "height": 1 }] });
    telegram.say(1, &json!({ "id": 1, "type": "private" }), "", gone).await;
    telegram.sent(6).await;
    let asked = peers::asked(&model).await;
    assert!(asked[5]["body"].to_string().contains("It could not be fetched."), "{}", asked[5]["body"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_cannot_see_is_told_of_an_image_in_words() {
    let telegram = peer!("Telegram", Telegram::start());
    let model = carapace_tests::model::Model::start(
        |request| {
            let seen = request.to_string().contains("image_url");
            let told = request.to_string().contains("33 bytes): you cannot see images");
            vec![carapace_tests::model::Piece::Text(format!("seen {seen}, told {told}"))]
        },
        std::time::Duration::ZERO,
    )
    .await;
    let kernel = Kernel::start(telegram.options_at(&model.base, "channel: { owner: ['1'] }", ""));
    stands(&kernel, "local/telegram/main", "running").await;
    photo(&telegram, "what is this?", &png(640, 480)).await;
    assert_eq!(telegram.sent(1).await[0]["text"], "seen false, told true");
}

const ROUTE: &str = "agent: { route: ['openai/gpt-4o'] }";
const SCRIPT: &[u8] = b"#!/bin/sh\nrm -rf /\n";

fn encoded(data: &[u8]) -> String {
    BASE64.encode(data)
}

fn shown(image: &[u8]) -> String {
    format!("data:image/png;base64,{}", encoded(image))
}

/// More than a blob takes, whatever is said of it.
fn endless() -> Vec<u8> {
    let mut data = png(640, 480);
    data.resize((20 << 20) + 1, 0);
    data
}

/// The last message of what a model was asked last, as it stands there.
async fn asked_last(model: &Server) -> String {
    let asked = peers::asked(model).await;
    asked.last().unwrap()["body"]["messages"].as_array().unwrap().last().unwrap()["content"].to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_from_slack_reaches_the_model_and_a_page_to_log_in_is_no_file() {
    let slack = peer!("Slack", Slack::start());
    let model = peer!("aimock", peers::aimock(&answers("I see."), &[]));
    let options = slack.options_at(&format!("{}/v1", model.base), 0, "channel: { owner: ['U1'] }", ROUTE);
    let kernel = Kernel::start(options.with_env("SLACK_APP_TOKEN", carapace_tests::slack::APP));
    let file = |id: &str, data: &[u8]| json!({ "id": id, "name": "a.png", "mimetype": "image/png", "size": 33, "data": encoded(data) });
    let image = png(640, 480);
    slack.say_with("U1", "D1", "what is this?", json!([file("F1", &image)])).await;
    slack.sent(1).await;
    assert_eq!(images(&peers::asked(&model).await[0]), [shown(&image)]);
    assert!(asked_last(&model).await.contains("a.png, image/png, 33 bytes. It is the image with it."));

    // One that another workspace shares is asked for by its id, and one that fails once is had after all.
    let other = png(2, 2);
    let mut shared = file("F2", &other);
    shared["hidden"] = json!(true);
    slack.control("fail", json!({ "method": "file", "status": 500 })).await;
    slack.say_with("U1", "D1", "and this?", json!([shared])).await;
    slack.sent(2).await;
    assert!(images(&peers::asked(&model).await[1]).contains(&shown(&other)));

    // It is what it is, and not what is said of it; and no larger than may be.
    slack.say_with("U1", "D1", "run this", json!([file("F3", SCRIPT)])).await;
    slack.sent(3).await;
    let told = asked_last(&model).await;
    assert!(told.contains("It cannot be opened here.") && !told.contains("image/png"), "{told}");
    let mut large = file("F4", &image);
    large["size"] = json!(21 << 20);
    slack.say_with("U1", "D1", "large", json!([large, file("F5", &endless())])).await;
    slack.sent(4).await;
    let told = asked_last(&model).await;
    assert!(
        told.contains("22020096 bytes. It cannot be opened here.") && told.contains("It could not be fetched."),
        "{told}"
    );

    slack.control("revoke", json!({ "scope": "files:read" })).await;
    slack.say_with("U1", "D1", "no leave", json!([file("F6", &image)])).await;
    slack.sent(5).await;
    let told = asked_last(&model).await;
    assert!(told.contains("It could not be fetched.") && !told.contains("Sign in"), "{told}");
    let log = kernel.log();
    assert!(log.contains("lacks the scope `files:read`") && !log.contains(carapace_tests::slack::BOT), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_from_discord_is_had_from_an_address_that_still_holds_and_no_credential_goes_there() {
    let discord = peer!("Discord", Discord::start(1_000));
    let model = peer!("aimock", peers::aimock(&answers("I see."), &[]));
    let url = format!("{}/v1", model.base);
    let kernel = Kernel::start(discord.options_at(&url, 0, "channel: { owner: ['1'] }", ROUTE));
    until("a session", &kernel, async || (discord.state().await["identifies"] == 1).then_some(())).await;
    let file = |data: &[u8]| json!({ "name": "a.png", "content_type": "image/png", "data": encoded(data) });
    let image = png(640, 480);
    discord.direct_with("1", "what is this?", json!([file(&image)])).await;
    discord.sent(1).await;
    assert_eq!(images(&peers::asked(&model).await[0]), [shown(&image)]);

    // The address that came with the message has run out, and so has the next one: the one after that holds.
    let other = png(2, 2);
    discord.control("expired", json!({ "next": 2 })).await;
    discord.direct_with("1", "and this?", json!([file(&other)])).await;
    discord.sent(2).await;
    assert!(images(&peers::asked(&model).await[1]).contains(&shown(&other)));
    let asked_for = discord.called("/messages/").await.len();
    assert_eq!(asked_for, 3, "{}", kernel.log());

    discord.direct_with("1", "run this", json!([file(SCRIPT)])).await;
    discord.sent(3).await;
    let told = asked_last(&model).await;
    assert!(told.contains("It cannot be opened here.") && !told.contains("image/png"), "{told}");
    let mut endless = file(&endless());
    endless["size"] = json!(33);
    discord.direct_with("1", "large", json!([endless])).await;
    discord.sent(4).await;
    assert!(asked_last(&model).await.contains("It could not be fetched."));

    let state = discord.state().await;
    assert_eq!(state["credentials"], 0, "{state}");
    // An address that says by itself who may read is written down nowhere.
    assert!(!kernel.log().contains("hm=") && !kernel.log().contains(TOKEN), "{}", kernel.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_from_signal_reaches_the_model_and_who_sent_it_sees_that_it_was_read() {
    let signal = peer!("Signal", Signal::start("json-rpc"));
    let model = peer!("aimock", peers::aimock(&answers("I see."), &[]));
    let config = "channel: { owner: ['6f3c4b1e-0000-4000-8000-915100000001'] }";
    let kernel = Kernel::start(signal.options_at(&format!("{}/v1", model.base), config, ROUTE));
    until("a connection", &kernel, async || (signal.state().await["sockets"] == 1).then_some(())).await;
    let file = |id: &str, data: &[u8]| json!({ "id": id, "filename": "a.png", "contentType": "image/png", "data": encoded(data) });
    let image = png(640, 480);
    let (at, who) = signal.say_with("+4915100000001", "what is this?", json!([file("a1.png", &image)])).await;
    signal.sent(1).await;
    assert_eq!(images(&peers::asked(&model).await[0]), [shown(&image)]);
    let receipts = signal.told("receipts", 1).await;
    assert_eq!(receipts[0], json!({ "receipt_type": "read", "recipient": who, "timestamp": at }));

    signal.say_with("+4915100000001", "run this", json!([file("a2.png", SCRIPT)])).await;
    signal.sent(2).await;
    let told = asked_last(&model).await;
    assert!(told.contains("It cannot be opened here.") && !told.contains("image/png"), "{told}");
    // What is larger than was said, what signal-cli has not kept, and what would lead elsewhere at the server.
    let mut endless = file("a3.png", &endless());
    endless["size"] = json!(33);
    signal
        .say_with("+4915100000001", "large", json!([endless, file("gone.png", b""), file("../accounts.json", b"")]))
        .await;
    signal.sent(3).await;
    let told = asked_last(&model).await;
    assert_eq!(told.matches("It could not be fetched.").count(), 3, "{told}");
    assert_eq!(signal.told("receipts", 3).await.len(), 3);
}
