//! Turns over HTTP with what happened in them, and a scripted model that calls tools.

use crate::Kernel;
use serde_json::{Value, json};

/// A turn as its client saw it.
#[derive(Debug)]
pub struct Turn {
    /// HTTP status.
    pub status: u16,
    /// The whole body.
    pub body: Value,
}

impl Turn {
    /// The answer's text; panics with the whole body if there is none.
    pub fn text(&self) -> &str {
        self.body["choices"][0]["message"]["content"].as_str().unwrap_or_else(|| panic!("no answer: {}", self.body))
    }

    /// The error's code; panics with the whole body if there is none.
    pub fn code(&self) -> &str {
        self.body["error"]["code"].as_str().unwrap_or_else(|| panic!("no error: {}", self.body))
    }

    /// What the first tool answered: its text, and whether it failed.
    pub fn result(&self) -> (&str, bool) {
        let result = self.body["x_carapace"]["events"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|e| e["type"] == "tool-result")
            .unwrap_or_else(|| panic!("no tool answered: {}", self.body));
        (result["content"].as_str().unwrap(), result["is_error"].as_bool().unwrap())
    }
}

impl Kernel {
    /// One turn, not streamed.
    pub async fn turn(&self, session: &str, model: &str, text: &str) -> Turn {
        let response = self
            .http()
            .post(format!("{}/v1/chat/completions", self.base))
            .header("x-carapace-session-key", session)
            .header("x-carapace-events", "true")
            .json(&json!({"model": model, "messages": [{"role": "user", "content": text}]}))
            .send()
            .await
            .unwrap_or_else(|e| panic!("the kernel does not answer: {e}\n{}", self.log()));
        Turn { status: response.status().as_u16(), body: response.json().await.unwrap() }
    }

    /// Has the scripted model of [`script`] call `tool`, in a session of its own.
    pub async fn call(&self, tool: &str) -> Turn {
        self.turn(&format!("call-{tool}"), "carapace", &please_call(tool)).await
    }

    /// The text of `/metrics`.
    pub async fn metrics(&self) -> String {
        self.http().get(format!("{}/metrics", self.base)).send().await.unwrap().text().await.unwrap()
    }

    /// Another component still answers in the same process.
    pub async fn still_answers(&self) {
        let turn = self.call("math_eval").await;
        assert_eq!(turn.result(), ("42", false), "{}", self.log());
        assert_eq!(turn.text(), DONE, "{}", self.log());
    }
}

/// What the scripted model says after a tool answered.
pub const DONE: &str = "The tool has answered.";

fn please_call(tool: &str) -> String {
    format!("Please call <{tool}>.")
}

/// Fixtures for aimock: asked to call one of these tools, the model does, and then it is done. `math_eval` is always among them.
pub fn script(tools: &[&str]) -> Value {
    let call = |tool: &str, arguments: Value| {
        json!({"match": {"userMessage": please_call(tool), "hasToolResult": false},
            "response": {"toolCalls": [{"name": tool, "arguments": arguments}]}})
    };
    let mut fixtures: Vec<Value> = tools.iter().map(|tool| call(tool, json!({}))).collect();
    fixtures.push(call("math_eval", json!({"expression": "6*7"})));
    fixtures.push(json!({"match": {"hasToolResult": true}, "response": {"content": DONE}}));
    fixtures.push(json!({"match": {"userMessage": "Are you there?"}, "response": {"content": "Yes."}}));
    Value::Array(fixtures)
}
