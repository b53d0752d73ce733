//! A Slack of our own, which slack_sdk takes for the real one.

use crate::KernelOptions;
use crate::chat::{get, post};
use crate::peers;
use crate::server::Server;
use serde_json::{Value, json};

/// The bot's token.
pub const BOT: &str = "xoxb-1234567890-carapace";
/// The app's token.
pub const APP: &str = "xapp-1-A0CARAPACE-carapace";
/// What signs what is pushed.
pub const SIGNING: &str = "8f742231b10e8888abcd99yyyzzz85a5";
/// The account of the bot.
pub const ME: &str = "U0CARAPACE";

/// A workspace.
#[derive(Debug)]
pub struct Slack(pub Server);

impl Slack {
    /// On a free port. What is not acknowledged is sent again after a second, for as long as a test may take.
    pub fn start() -> Result<Self, String> {
        let options = json!({ "bot": BOT, "app": APP, "signing": SIGNING, "retries": vec![1; 120] });
        peers::chat_server("slack_api.py", &options.to_string()).map(Self)
    }

    /// What a client of it needs.
    pub fn for_clients(&self) -> String {
        json!({ "base": self.0.base, "bot": BOT, "app": APP, "signing": SIGNING }).to_string()
    }

    /// Something happens, or is asked.
    pub async fn control(&self, what: &str, body: Value) -> Value {
        post(format!("{}/control/{what}", self.0.base), body).await
    }

    /// Somebody writes; the time, which is the message's id.
    pub async fn say(&self, who: &str, channel: &str, text: &str) -> String {
        let said = self.control("say", json!({ "user": who, "channel": channel, "text": text })).await;
        said["ts"].as_str().unwrap().to_owned()
    }

    /// Somebody shares files; `data` is what is in one, in base64.
    pub async fn say_with(&self, who: &str, channel: &str, text: &str, files: Value) -> String {
        let more = json!({ "subtype": "file_share", "files": files });
        let said = json!({ "user": who, "channel": channel, "text": text, "more": more });
        self.control("say", said).await["ts"].as_str().unwrap().to_owned()
    }

    /// What a method was called with, each time.
    pub async fn called(&self, method: &str) -> Vec<Value> {
        let calls = get(format!("{}/control/calls?method={method}", self.0.base)).await;
        calls.as_array().unwrap().iter().map(|c| c["arguments"].clone()).collect()
    }

    /// What was sent, once it is so many.
    pub async fn sent(&self, least: usize) -> Vec<Value> {
        let url = format!("{}/control/sent?least={least}&seconds=60", self.0.base);
        get(url).await.as_array().unwrap().clone()
    }

    /// How it stands.
    pub async fn state(&self) -> Value {
        get(format!("{}/control/state", self.0.base)).await
    }

    /// The calls of a method.
    pub async fn calls(&self, method: &str) -> usize {
        self.called(method).await.len()
    }

    /// A kernel that listens by Socket Mode; `config`: what else stands in the instance's section.
    pub fn by_socket(&self, model: &Server, config: &str) -> KernelOptions {
        self.options(model, 0, config).with_env("SLACK_APP_TOKEN", APP)
    }

    /// A kernel that takes pushed events on this port.
    pub fn by_webhook(&self, model: &Server, port: u16, config: &str) -> KernelOptions {
        self.options(model, port, config).with_env("SLACK_SIGNING_SECRET", SIGNING)
    }

    /// A kernel that has no more than the bot's token.
    pub fn options(&self, model: &Server, port: u16, config: &str) -> KernelOptions {
        self.options_at(&format!("{}/v1", model.base), port, config, "")
    }

    /// The same with any model server, and what else stands in the configuration.
    pub fn options_at(&self, model: &str, port: u16, config: &str, more: &str) -> KernelOptions {
        let socket = self.0.base.replacen("http", "ws", 1);
        KernelOptions::openai(model).with_env("SLACK_BOT_TOKEN", BOT).with_config(&format!(
            "{{ webhooks: {{ port: {port} }}, instances: {{ slack: {{ endpoints: {{ api: '{0}/api', actions: '{0}/api', open: '{0}/api', uploads: '{0}/api', files: '{0}', events: '{socket}' }}, {config} }} }}, {more} }}",
            self.0.base
        ))
    }

    /// Points it at a kernel's webhook; its answer to the proof of the address.
    pub async fn push_to(&self, port: u16) -> Value {
        self.control("events_url", json!({ "url": address(port) })).await
    }
}

/// Where a kernel takes events.
pub fn address(port: u16) -> String {
    format!("http://127.0.0.1:{port}/channels/slack/events")
}
