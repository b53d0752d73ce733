//! A Discord of our own, which discord.py takes for the real one.

use crate::KernelOptions;
use crate::chat::{get, post};
use crate::peers;
use crate::server::Server;
use serde_json::{Value, json};

/// The bot's token.
pub const TOKEN: &str = "OTAwMDAwMDAwMDAwMDAwMDAwMQ.GcArAp.carapace-carapace-carapace-carapace";
/// The bot.
pub const ME: &str = "9000000000000000001";

/// One server with its channels.
#[derive(Debug)]
pub struct Discord(pub Server);

impl Discord {
    /// On a free port, with so much between two heartbeats.
    pub fn start(heartbeat_ms: u32) -> Result<Self, String> {
        Self::with(json!({ "token": TOKEN, "heartbeat_ms": heartbeat_ms }))
    }

    /// With other options of the script's.
    pub fn with(options: Value) -> Result<Self, String> {
        peers::chat_server("discord_api.py", &options.to_string()).map(Self)
    }

    /// Something happens, or is asked.
    pub async fn control(&self, what: &str, body: Value) -> Value {
        post(format!("{}/control/{what}", self.0.base), body).await
    }

    /// Somebody writes to the bot alone; the message's id.
    pub async fn direct(&self, who: &str, text: &str) -> String {
        let said = self
            .control("say", json!({ "user": who, "channel": format!("60{who}"), "direct": true, "text": text }))
            .await;
        said["id"].as_str().unwrap().to_owned()
    }

    /// Somebody writes in a channel of the server.
    pub async fn say(&self, who: &str, channel: &str, text: &str, more: Value) -> String {
        let mut body = json!({ "user": who, "channel": channel, "text": text });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.control("say", body).await["id"].as_str().unwrap().to_owned()
    }

    /// Somebody sends files to the bot alone; `data` is what is in one, in base64.
    pub async fn direct_with(&self, who: &str, text: &str, files: Value) -> String {
        let said = json!({ "user": who, "channel": format!("60{who}"), "direct": true, "text": text, "files": files });
        self.control("say", said).await["id"].as_str().unwrap().to_owned()
    }

    /// What was called whose path has this in it: `method`, `path`, `body`.
    pub async fn called(&self, path: &str) -> Vec<Value> {
        get(format!("{}/control/calls?path={path}", self.0.base)).await.as_array().unwrap().clone()
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

    /// A kernel whose Discord it is; `config`: what else stands in the instance's section.
    pub fn options(&self, model: &Server, port: u16, config: &str) -> KernelOptions {
        self.options_at(&format!("{}/v1", model.base), port, config, "")
    }

    /// The same with any model server, and what else stands in the configuration.
    pub fn options_at(&self, model: &str, port: u16, config: &str, more: &str) -> KernelOptions {
        let socket = self.0.base.replacen("http", "ws", 1);
        KernelOptions::openai(model).with_env("DISCORD_BOT_TOKEN", TOKEN).with_config(&format!(
            "{{ webhooks: {{ port: {port} }}, instances: {{ discord: {{ endpoints: {{ api: '{0}/api/v10', actions: '{0}/api/v10', cdn: '{0}', gateway: '{socket}' }}, {config} }} }}, {more} }}",
            self.0.base
        ))
    }
}
