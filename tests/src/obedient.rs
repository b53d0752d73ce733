//! A model that does as it is told.

use crate::model::{Model, Piece};
use serde_json::Value;
use std::time::Duration;

const CALL: &str = "call ";

/// Starts one: a line [`call`] is called, and what the tools answered since is said, one answer a line;
/// told to call nothing, it says so.
pub async fn obedient() -> Model {
    Model::start(obey, Duration::ZERO).await
}

/// The line that has it call a tool.
pub fn call(tool: &str, arguments: &Value) -> String {
    format!("{CALL}{tool} {arguments}")
}

fn obey(request: &Value) -> Vec<Piece> {
    let messages = request["messages"].as_array().unwrap();
    let told = messages.iter().rposition(|m| m["role"] == "user").unwrap();
    let answers: Vec<&str> =
        messages[told..].iter().filter(|m| m["role"] == "tool").map(|m| m["content"].as_str().unwrap()).collect();
    let text = text(&messages[told]["content"]);
    let calls: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix(CALL)).collect();
    match calls.get(answers.len()) {
        Some(call) => {
            let (tool, arguments) = call.split_once(' ').unwrap();
            let id = format!("call_{}", messages.len());
            vec![Piece::Call(id, tool.to_owned(), serde_json::from_str(arguments).unwrap())]
        }
        None if calls.is_empty() => vec![Piece::Text("Nothing to call.".to_owned())],
        None => vec![Piece::Text(answers.join("\n"))],
    }
}

fn text(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().filter_map(|p| p["text"].as_str()).collect(),
        other => panic!("no text: {other}"),
    }
}
