//! A client of the gateway's WebSocket that survives the gateway: everything that goes wrong is an error, not a panic.

use anyhow::{Context, Result, bail};
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::collections::VecDeque;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// A connected operator.
#[derive(Debug)]
pub struct Socket {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
    waiting: VecDeque<Value>,
    last: u64,
}

impl Socket {
    /// Connects to `http://host:port` and says hello.
    pub async fn connect(base: &str, token: &str) -> Result<Self> {
        let url = base.replace("http://", "ws://") + "/ws";
        let (stream, _) = tokio_tungstenite::connect_async_with_config(url, None, true).await?;
        let mut socket = Self { stream, waiting: VecDeque::new(), last: 0 };
        let challenge = socket.frame().await?;
        if challenge["event"] != "connect.challenge" {
            bail!("no challenge: {challenge}");
        }
        let hello = socket
            .request(
                "connect",
                json!({"minProtocol": 4, "maxProtocol": 4,
                    "client": {"id": "gateway-client", "version": "1.0.0", "platform": "linux", "mode": "backend"},
                    "role": "operator", "scopes": ["operator.read", "operator.write"], "auth": {"token": token}}),
            )
            .await?;
        if hello["type"] != "hello-ok" {
            bail!("no hello: {hello}");
        }
        Ok(socket)
    }

    /// Asks and waits for the answer; events that come meanwhile are kept for [`Socket::event`].
    pub async fn request(&mut self, method: &str, params: Value) -> Result<Value> {
        self.last += 1;
        let id = self.last.to_string();
        let frame = json!({"type": "req", "id": id, "method": method, "params": params});
        self.stream.send(Message::text(frame.to_string())).await?;
        loop {
            let frame = self.frame().await?;
            if frame["type"] != "res" {
                self.waiting.push_back(frame);
            } else if frame["id"] == *id {
                if frame["ok"] != true {
                    bail!("{method}: {}", frame["error"]);
                }
                return Ok(frame["payload"].clone());
            }
        }
    }

    /// The next event.
    pub async fn event(&mut self) -> Result<Value> {
        if let Some(event) = self.waiting.pop_front() {
            return Ok(event);
        }
        loop {
            let frame = self.frame().await?;
            if frame["type"] == "event" {
                return Ok(frame);
            }
        }
    }

    /// The last `chat` event of a run: `final`, `error` or `aborted`; gives each `delta` to `heard`.
    pub async fn outcome(&mut self, run: &str, mut heard: impl FnMut(&str)) -> Result<Value> {
        loop {
            let event = self.event().await?;
            let payload = &event["payload"];
            if event["event"] != "chat" || payload["runId"] != *run {
                continue;
            }
            if payload["state"] == "delta" {
                heard(payload["deltaText"].as_str().unwrap_or_default());
            } else {
                return Ok(payload.clone());
            }
        }
    }

    async fn frame(&mut self) -> Result<Value> {
        loop {
            match self.stream.next().await.context("the socket ended")?? {
                Message::Text(text) => return Ok(serde_json::from_str(&text)?),
                Message::Close(frame) => bail!("closed: {frame:?}"),
                _ => {}
            }
        }
    }
}
