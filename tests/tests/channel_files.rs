//! Files that the assistant sends, and answers that are shown while they grow.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test stops at the first thing that is not as it should be"
)]

use axum::Router;
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use carapace_tests::chat::{Telegram, png, stands, until};
use carapace_tests::discord::Discord;
use carapace_tests::model::{Model, Piece};
use carapace_tests::signal::Signal;
use carapace_tests::slack::{self, Slack};
use carapace_tests::{Kernel, owner, peer};
use serde_json::{Value, json};
use std::time::Duration;

/// Bytes in which a careless form would end.
fn hostile_pdf() -> Vec<u8> {
    let mut data = b"%PDF-1.7\r\n--form-\r\n\r\n--".to_vec();
    data.extend((0..=255_u8).cycle().take(300_000));
    data
}

/// Serves on this machine; gives back `127.0.0.1:<port>`.
async fn serve() -> String {
    let file = |kind: &'static str, data: Vec<u8>| get(move || async move { ([("content-type", kind)], data) });
    let app = Router::new()
        .route("/chart", file("image/png", png(640, 480)))
        .route("/poster.png", file("image/png", png(9_000, 9_000)))
        .route("/a%20report.pdf", file("application/pdf", hostile_pdf()));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    server
}

/// Brings what it is asked for, and says what it was told of it.
fn bring(request: &Value) -> Vec<Piece> {
    let messages = request["messages"].as_array().unwrap();
    let last = messages.last().unwrap();
    if last["role"] == "user" && last["content"].as_str().is_some_and(|t| t.starts_with("http")) {
        let calls = last["content"].as_str().unwrap().split(' ').enumerate();
        return calls.map(|(n, url)| Piece::Call(format!("c{n}"), "web_file".into(), json!({ "url": url }))).collect();
    }
    let told = messages.iter().rev().find(|m| m["role"] == "tool").unwrap();
    vec![Piece::Text(format!("Here: {}", told["content"].as_str().unwrap()))]
}

fn bytes(file: &Value) -> Vec<u8> {
    BASE64.decode(file["data"].as_str().unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_tool_made_goes_to_the_chat_as_it_is() {
    let telegram = peer!("Telegram", Telegram::start());
    let files = serve().await;
    let model = Model::start(bring, Duration::ZERO).await;
    let config = format!("channel: {{ owner: ['1'] }} }}, web: {{ publicAllow: ['{files}']");
    let kernel = Kernel::start(telegram.options_at(&model.base, &config, "agent: { route: ['openai/mock'] }"));
    stands(&kernel, "local/telegram/main", "running").await;

    telegram.private(1, &format!("http://{files}/chart")).await;
    let said = telegram.sent(1).await[0]["text"].as_str().unwrap().to_owned();
    assert!(said.contains("an image (image/png, 33 bytes): it goes along with the answer"), "{said}");
    let photo = telegram.acted(1).await[0].clone();
    assert_eq!((photo["method"].as_str(), photo["chat_id"].as_str()), (Some("sendPhoto"), Some("1")));
    assert_eq!(bytes(&photo["photo"]), png(640, 480));
    assert_eq!(photo["photo"]["mime"], "image/png");

    // A file has its name, and every byte of it comes; what is no photo for Telegram is sent as a file.
    telegram.private(1, &format!("http://{files}/a%20report.pdf http://{files}/poster.png")).await;
    let acted = telegram.acted(3).await;
    let documents: Vec<&Value> =
        acted.iter().filter(|a| a["method"] == "sendDocument").map(|a| &a["document"]).collect();
    assert_eq!(documents.len(), 2, "{acted:?}");
    assert_eq!(
        (documents[0]["name"].as_str(), documents[0]["mime"].as_str()),
        (Some("a report.pdf"), Some("application/pdf"))
    );
    assert_eq!(bytes(documents[0]), hostile_pdf());
    assert_eq!(bytes(documents[1]), png(9_000, 9_000));
}

/// The files that were sent, of those that hold any: name and bytes of each.
fn named(sent: &[Value], files: impl Fn(&Value) -> Vec<(String, Vec<u8>)>) -> Vec<(String, Vec<u8>)> {
    sent.iter().flat_map(files).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn expected() -> Vec<(String, Vec<u8>)> {
    vec![("a report.pdf".to_owned(), hostile_pdf())]
}

#[tokio::test(flavor = "multi_thread")]
async fn slack_is_given_a_file_in_three_steps_and_a_scope_that_is_missing_is_named() {
    let slack = peer!("Slack", Slack::start());
    let files = serve().await;
    let model = Model::start(bring, Duration::ZERO).await;
    let config = format!("channel: {{ owner: ['U1'] }} }}, web: {{ publicAllow: ['{files}']");
    let options = slack.options_at(&model.base, 0, &config, "agent: { route: ['openai/mock'] }");
    let kernel = Kernel::start(options.with_env("SLACK_APP_TOKEN", slack::APP));
    stands(&kernel, "local/slack/main", "running").await;
    slack.say("U1", "D1", &format!("http://{files}/a%20report.pdf")).await;
    let sent = slack.sent(2).await;
    assert!(text(&sent[0]["text"]).contains("a report.pdf (application/pdf"), "{}", sent[0]);
    let of = |sent: &Value| {
        let files = sent["files"].as_array().into_iter().flatten();
        files.map(|f| (text(&f["name"]), bytes(f))).collect()
    };
    assert_eq!(named(&sent, of), expected());
    assert_eq!((text(&sent[1]["channel"]).as_str(), slack.calls("files.completeUploadExternal").await), ("D1", 1));

    slack.control("revoke", json!({ "scope": "files:write" })).await;
    slack.say("U1", "D1", &format!("http://{files}/a%20report.pdf")).await;
    let dead = until("a dead part", &kernel, async || {
        let list: Vec<Value> =
            serde_json::from_str(&owner::done(kernel.state(), &["outbox", "list", "--json"])).unwrap();
        list.into_iter().find(|p| p["state"] == "dead")
    })
    .await;
    assert!(dead.to_string().contains("lacks the scope `files:write`"), "{dead}");
}

#[tokio::test(flavor = "multi_thread")]
async fn discord_is_given_a_file_with_a_message() {
    let discord = peer!("Discord", Discord::start(45_000));
    let files = serve().await;
    let model = Model::start(bring, Duration::ZERO).await;
    let config = format!("channel: {{ owner: ['11'] }} }}, web: {{ publicAllow: ['{files}']");
    let kernel = Kernel::start(discord.options_at(&model.base, 0, &config, "agent: { route: ['openai/mock'] }"));
    stands(&kernel, "local/discord/main", "running").await;
    until("a session", &kernel, async || {
        let state = discord.state().await;
        state["sessions"].as_array().unwrap().iter().any(|s| s["connected"] == true).then_some(())
    })
    .await;
    discord.direct("11", &format!("http://{files}/a%20report.pdf")).await;
    let sent = discord.sent(2).await;
    assert!(text(&sent[0]["content"]).contains("a report.pdf"), "{}", sent[0]);
    let of = |sent: &Value| {
        let both = sent["files"].as_array().unwrap().iter().zip(sent["data"].as_array().unwrap());
        both.map(|(name, data)| (text(name), BASE64.decode(data.as_str().unwrap()).unwrap())).collect()
    };
    assert_eq!(named(&sent, of), expected());
}

#[tokio::test(flavor = "multi_thread")]
async fn signal_is_given_a_file_in_base64() {
    let signal = peer!("Signal", Signal::start("json-rpc"));
    let files = serve().await;
    let model = Model::start(bring, Duration::ZERO).await;
    let config =
        format!("channel: {{ owner: ['6f3c4b1e-0000-4000-8000-915100000001'] }} }}, web: {{ publicAllow: ['{files}']");
    let kernel = Kernel::start(signal.options_at(&model.base, &config, "agent: { route: ['openai/mock'] }"));
    stands(&kernel, "local/signal/main", "running").await;
    signal.say("+4915100000001", &format!("http://{files}/a%20report.pdf"), json!({})).await;
    let sent = signal.sent(2).await;
    let of = |sent: &Value| {
        let files = sent["files"].as_array().into_iter().flatten();
        files.map(|f| (text(&f["name"]), bytes(f))).collect()
    };
    assert_eq!(named(&sent, of), expected());
    assert_eq!(sent[1]["files"][0]["mime"], "application/pdf");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_answer_is_shown_while_it_grows_and_ends_as_it_should() {
    let telegram = peer!("Telegram", Telegram::start());
    let words: Vec<String> = (1..=24).map(|n| format!("word{n} ")).collect();
    let whole = words.concat().trim_end().to_owned();
    let model =
        Model::start(move |_| words.iter().cloned().map(Piece::Text).collect(), Duration::from_millis(400)).await;
    let route = "agent: { route: ['openai/mock'] }";
    let kernel = Kernel::start(telegram.options_at(&model.base, "channel: { owner: ['1'] }", route));
    stands(&kernel, "local/telegram/main", "running").await;
    telegram.private(1, "tell me").await;
    let first = telegram.sent(1).await[0].clone();
    let shown = first["text"].as_str().unwrap();
    assert!(whole.starts_with(shown) && shown != whole, "{shown}");
    let mut least = 1;
    let changes = loop {
        let acted = telegram.acted(least).await;
        if acted.last().is_some_and(|a| a["text"] == *whole) {
            break acted;
        }
        least = acted.len() + 1;
    };
    // Each shows more than the one before, in the same message.
    let mut seen = shown.len();
    for change in &changes {
        assert_eq!((change["method"].as_str(), &change["message_id"]), (Some("editMessageText"), &first["message_id"]));
        let text = change["text"].as_str().unwrap();
        assert!(whole.starts_with(text) && text.len() > seen, "{text}");
        seen = text.len();
    }
    assert!(changes.len() >= 2, "{changes:?}");
    assert_eq!(telegram.sent(1).await.len(), 1);
}
