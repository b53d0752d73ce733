//! A signal-cli-rest-api of our own, which signalbot and pysignalclirestapi take for the real one.

use crate::KernelOptions;
use crate::chat::{get, post};
use crate::peers;
use crate::server::Server;
use serde_json::{Value, json};

/// The assistant's account.
pub const NUMBER: &str = "+4915100000000";

/// One account.
#[derive(Debug)]
pub struct Signal(pub Server);

impl Signal {
    /// On a free port; `mode` is `json-rpc` or `normal`.
    pub fn start(mode: &str) -> Result<Self, String> {
        peers::chat_server("signal_rest.py", &json!({ "number": NUMBER, "mode": mode }).to_string()).map(Self)
    }

    /// Something happens, or is asked.
    pub async fn control(&self, what: &str, body: Value) -> Value {
        post(format!("{}/control/{what}", self.0.base), body).await
    }

    /// Somebody writes; when, and the id of their account.
    pub async fn say(&self, who: &str, text: &str, more: Value) -> (u64, String) {
        let said = self.control("say", json!({ "user": who, "text": text, "more": more })).await;
        (said["timestamp"].as_u64().unwrap(), said["uuid"].as_str().unwrap().to_owned())
    }

    /// Somebody sends files; `data` is what is in one, in base64.
    pub async fn say_with(&self, who: &str, text: &str, files: Value) -> (u64, String) {
        let said = self.control("say", json!({ "user": who, "text": text, "files": files })).await;
        (said["timestamp"].as_u64().unwrap(), said["uuid"].as_str().unwrap().to_owned())
    }

    /// The `receipts` or what `reacted`, once it is so many.
    pub async fn told(&self, what: &str, least: usize) -> Vec<Value> {
        let url = format!("{}/control/{what}?least={least}&seconds=60", self.0.base);
        get(url).await.as_array().unwrap().clone()
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

    /// A kernel whose Signal it is; `config`: what else stands in the instance's section.
    pub fn options(&self, model: &Server, config: &str) -> KernelOptions {
        self.options_at(&format!("{}/v1", model.base), config, "")
    }

    /// The same with any model server, and what else stands in the configuration.
    pub fn options_at(&self, model: &str, config: &str, more: &str) -> KernelOptions {
        let socket = self.0.base.replacen("http", "ws", 1);
        KernelOptions::openai(model).with_config(&format!(
            "{{ webhooks: {{ port: 0 }}, instances: {{ signal: {{ endpoints: {{ api: '{0}', files: '{0}', actions: '{0}', receive: '{socket}' }}, config: {{ number: '{NUMBER}' }}, {config} }} }}, {more} }}",
            self.0.base
        ))
    }
}
