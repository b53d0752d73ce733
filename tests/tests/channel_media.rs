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
use carapace_tests::chat::{Telegram, answers, post, stands};
use carapace_tests::{Kernel, peer, peers};
use serde_json::{Value, json};

/// A PNG as its header says; nobody here decodes the rest.
fn png(width: u32, height: u32) -> Vec<u8> {
    let mut data = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec();
    data.extend(width.to_be_bytes());
    data.extend(height.to_be_bytes());
    data.extend(b"\x08\x06\0\0\0\0\0\0\0");
    data
}

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
            let told = request.to_string().contains("33 bytes: you cannot see images");
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
