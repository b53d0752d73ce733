//! A running gateway and clients of it.

use crate::support::Fake;
use carapace_gateway::{Gateway, GatewayLimits, GatewayOptions, RunningGateway};
use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

pub const TOKEN: &str = "the-owner-has-this-token";

pub struct House {
    pub fake: Arc<Fake>,
    pub gateway: RunningGateway,
    pub addr: SocketAddr,
    pub http: reqwest::Client,
}

pub async fn house() -> House {
    house_with(GatewayLimits::default()).await
}

pub async fn house_with(limits: GatewayLimits) -> House {
    house_of(Fake::new(), limits).await
}

pub async fn house_of(fake: Arc<Fake>, limits: GatewayLimits) -> House {
    // reqwest without a bundled provider wants one even for plain HTTP.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut options = GatewayOptions::new(TOKEN.into(), "9.9.9", Arc::clone(&fake) as _, Arc::clone(&fake) as _);
    options.port = 0;
    options.limits = limits;
    let gateway = Gateway::start(options).await.unwrap();
    let addr = gateway.addr;
    House { fake, gateway, addr, http: reqwest::Client::new() }
}

impl House {
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    pub async fn get(&self, path: &str) -> (u16, Value) {
        let answer = self.http.get(self.url(path)).bearer_auth(TOKEN).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    pub fn chat(&self, body: &Value) -> reqwest::RequestBuilder {
        self.http.post(self.url("/v1/chat/completions")).bearer_auth(TOKEN).json(body)
    }

    pub async fn ask(&self, body: &Value) -> (u16, Value) {
        let answer = self.chat(body).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    pub fn respond(&self, body: &Value) -> reqwest::RequestBuilder {
        self.http.post(self.url("/v1/responses")).bearer_auth(TOKEN).json(body)
    }

    /// A response, not streamed.
    pub async fn response(&self, body: &Value) -> (u16, Value) {
        let answer = self.respond(body).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    pub async fn socket(&self) -> Client {
        let (socket, _) = tokio_tungstenite::connect_async(format!("ws://{}/ws", self.addr)).await.unwrap();
        Client { socket, events: VecDeque::new(), seen: 0, answers: VecDeque::new(), next: 0 }
    }

    /// A connected client and its `hello-ok`.
    pub async fn connected(&self) -> (Client, Value) {
        let mut client = self.socket().await;
        let answer = client.connect(json!({})).await;
        assert_eq!(answer["ok"], true, "{answer}");
        (client, answer["payload"].clone())
    }
}

pub struct Client {
    pub socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    pub events: VecDeque<Value>,
    /// Numbered events that came.
    pub seen: u64,
    answers: VecDeque<Value>,
    next: u64,
}

pub fn connect_params(overrides: &Value) -> Value {
    let mut params = json!({
        "minProtocol": 4, "maxProtocol": 4,
        "client": {"id": "test", "version": "1", "platform": "linux", "mode": "test"},
        "role": "operator", "scopes": [], "caps": [], "auth": {"token": TOKEN},
    });
    params.as_object_mut().unwrap().extend(overrides.as_object().unwrap().clone());
    params
}

impl Client {
    pub async fn text(&mut self, text: String) {
        self.socket.send(Message::text(text)).await.unwrap();
    }

    /// Sends a request; gives its id.
    pub async fn send(&mut self, method: &str, params: &Value) -> String {
        self.next += 1;
        let id = format!("r{}", self.next);
        self.text(json!({"type": "req", "id": id, "method": method, "params": params}).to_string()).await;
        id
    }

    pub async fn connect(&mut self, overrides: Value) -> Value {
        let challenge = self.event("connect.challenge").await;
        assert!(challenge["payload"]["nonce"].as_str().unwrap().len() >= 16);
        self.request("connect", &connect_params(&overrides)).await
    }

    pub async fn request(&mut self, method: &str, params: &Value) -> Value {
        let id = self.send(method, params).await;
        self.answer(&id).await
    }

    /// The payload of an answer that must be ok.
    pub async fn ok(&mut self, method: &str, params: Value) -> Value {
        let answer = self.request(method, &params).await;
        assert_eq!(answer["ok"], true, "{method}: {answer}");
        answer["payload"].clone()
    }

    pub async fn answer(&mut self, id: &str) -> Value {
        loop {
            if let Some(at) = self.answers.iter().position(|a| a["id"] == id) {
                return self.answers.remove(at).unwrap();
            }
            self.read().await;
        }
    }

    pub async fn event(&mut self, name: &str) -> Value {
        self.event_where(|e| e["event"] == name).await
    }

    pub async fn event_where(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            while let Some(event) = self.events.pop_front() {
                if wanted(&event) {
                    return event;
                }
            }
            self.read().await;
        }
    }

    async fn read(&mut self) {
        match self.socket.next().await {
            Some(Ok(Message::Text(text))) => {
                let frame: Value = serde_json::from_str(&text).unwrap();
                match frame["type"].as_str() {
                    Some("event") => {
                        self.seen += u64::from(frame.get("seq").is_some());
                        self.events.push_back(frame);
                    }
                    Some("res") => self.answers.push_back(frame),
                    other => panic!("a frame of type {other:?}"),
                }
            }
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            other => panic!("instead of a frame: {other:?}"),
        }
    }

    /// How the server closes.
    pub async fn closed(&mut self) -> (u16, String) {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Close(Some(frame)))) => return (frame.code.into(), frame.reason.to_string()),
                Some(Ok(_)) => {}
                other => panic!("instead of a close: {other:?}"),
            }
        }
    }
}
