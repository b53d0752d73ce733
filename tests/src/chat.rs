//! People on a chat platform, and what a test asks of the kernel that talks with them.

use crate::server::Server;
use crate::{Kernel, KernelOptions, owner, peers};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// The bot's token.
pub const TOKEN: &str = "110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw";
const PATIENCE: Duration = Duration::from_secs(60);

/// GET, as JSON.
pub async fn get(url: String) -> Value {
    let http = crate::kernel::client(reqwest::header::HeaderMap::new());
    http.get(url).send().await.unwrap().json().await.unwrap()
}

/// POST of JSON, as JSON.
pub async fn post(url: String, body: Value) -> Value {
    let http = crate::kernel::client(reqwest::header::HeaderMap::new());
    http.post(url).json(&body).send().await.unwrap().json().await.unwrap()
}

/// Whatever is said, the model answers so.
pub fn answers(text: &str) -> Value {
    json!([{ "match": {}, "response": { "content": text } }])
}

/// A PNG as its header says; nobody here decodes the rest.
pub fn png(width: u32, height: u32) -> Vec<u8> {
    let mut data = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec();
    data.extend(width.to_be_bytes());
    data.extend(height.to_be_bytes());
    data.extend(b"\x08\x06\0\0\0\0\0\0\0");
    data
}

/// Asks until it is so.
pub async fn until<T>(what: &str, kernel: &Kernel, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(found) = ask().await {
            return found;
        }
        assert!(begin.elapsed() < PATIENCE, "{what} did not happen; the kernel's log:\n{}", kernel.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// How each channel stands.
pub fn channels(kernel: &Kernel) -> Value {
    serde_json::from_str(&owner::done(kernel.state(), &["channels", "list", "--json"])).unwrap()
}

/// Waits until a channel is in that state.
pub async fn stands(kernel: &Kernel, instance: &str, state: &str) -> Value {
    until(&format!("{instance} being {state}"), kernel, async || {
        let found = channels(kernel);
        found.as_array().unwrap().iter().find(|c| c["instance"] == instance && c["state"] == state).cloned()
    })
    .await
}

/// A Telegram of our own.
#[derive(Debug)]
pub struct Telegram(pub Server);

impl Telegram {
    /// On a free port.
    pub fn start() -> Result<Self, String> {
        peers::chat_server("telegram_bot_api.py", TOKEN).map(Self)
    }

    /// Somebody writes.
    pub async fn say(&self, who: i64, chat: &Value, text: &str, more: Value) {
        let from = json!({ "id": who, "is_bot": false, "first_name": format!("Person {who}") });
        let body = json!({ "chat": chat, "from": from, "text": text, "more": more });
        post(format!("{}/control/say", self.0.base), body).await;
    }

    /// Somebody writes in private.
    pub async fn private(&self, who: i64, text: &str) {
        self.say(who, &json!({ "id": who, "type": "private" }), text, json!({})).await;
    }

    /// A file that lies there, and its id.
    pub async fn file(&self, name: &str, data: &[u8]) -> String {
        let body = json!({ "name": name, "data": BASE64.encode(data) });
        post(format!("{}/control/file", self.0.base), body).await["result"].as_str().unwrap().to_owned()
    }

    /// What was sent, once it is so many.
    pub async fn sent(&self, least: usize) -> Vec<Value> {
        let url = format!("{}/control/sent?least={least}&seconds=60", self.0.base);
        get(url).await["result"].as_array().unwrap().clone()
    }

    /// What was done beside sending texts, once it is so much: the method and what it was given.
    pub async fn acted(&self, least: usize) -> Vec<Value> {
        let url = format!("{}/control/acted?least={least}&seconds=60", self.0.base);
        get(url).await["result"].as_array().unwrap().clone()
    }

    /// A kernel whose Telegram it is; `config`: what else stands in the instance's section.
    pub fn options(&self, model: &Server, config: &str) -> KernelOptions {
        self.options_at(&format!("{}/v1", model.base), config, "")
    }

    /// The same with any model server, and what else stands in the configuration.
    pub fn options_at(&self, model: &str, config: &str, more: &str) -> KernelOptions {
        KernelOptions::openai(model).with_env("TELEGRAM_BOT_TOKEN", TOKEN).with_config(&format!(
            "{{ webhooks: {{ port: 0 }}, instances: {{ telegram: {{ endpoints: {{ api: '{0}', actions: '{0}', files: '{0}/file' }}, {config} }} }}, {more} }}",
            self.0.base
        ))
    }
}
