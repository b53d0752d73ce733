//! A server on loopback that gives back what it was sent, in ways that could betray a secret, and remembers it.

use async_compression::tokio::write::GzipEncoder;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use futures::stream;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use tokio::io::AsyncWriteExt;

/// A request as it arrived.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Path and query.
    pub path: String,
    /// Headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Body as text.
    pub body: String,
}

impl Seen {
    /// The first header of that name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    fn json(&self) -> Value {
        json!({"path": self.path, "headers": self.headers, "body": self.body})
    }

    /// The credential, without its scheme.
    fn credential(&self) -> String {
        self.header("authorization").unwrap_or_default().trim_start_matches("Bearer ").to_owned()
    }
}

/// The server; it lives as long as the test's runtime.
#[derive(Debug, Clone)]
pub struct Mirror {
    /// `http://127.0.0.1:<port>`
    pub base: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    elsewhere: Option<String>,
}

impl Mirror {
    /// Starts one; `elsewhere` is where its redirects to another origin lead.
    pub async fn start(elsewhere: Option<&Mirror>) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mirror = Self {
            base: format!("http://{}", listener.local_addr().unwrap()),
            seen: Arc::default(),
            elsewhere: elsewhere.map(|m| m.base.clone()),
        };
        let app = axum::Router::new().fallback(answer).with_state(mirror.clone());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        mirror
    }

    /// Everything that arrived.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// What arrived at this path.
    pub fn at(&self, path: &str) -> Vec<Seen> {
        self.seen().into_iter().filter(|s| s.path == path).collect()
    }
}

async fn answer(State(mirror): State<Mirror>, _: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let headers = headers.iter().map(|(n, v)| (n.to_string(), String::from_utf8_lossy(v.as_bytes()).into_owned()));
    let seen = Seen {
        path: uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
        headers: headers.collect(),
        body: String::from_utf8_lossy(&body).into_owned(),
    };
    mirror.seen.lock().unwrap().push(seen.clone());
    let key = seen.credential();
    let reflected = seen.json().to_string();
    let ok = Response::builder().header("x-mirror", "here").header("content-type", "application/json");
    match uri.path() {
        "/v1/models" => {
            ok.body(json!({"object": "list", "data": [{"id": "mirror", "object": "model"}]}).to_string().into())
        }
        "/v1/chat/completions" if seen.body.contains("refuse me") => Response::builder()
            .status(StatusCode::UNAUTHORIZED)
            .header("content-type", "application/json")
            .header("x-key", &key)
            .body(
                json!({"error": {"message": format!("Incorrect API key provided: {key}."), "code": "invalid_api_key"}})
                    .to_string()
                    .into(),
            ),
        "/v1/chat/completions" => {
            // The key in one event, but in two writes; then in the second event in base64.
            let event = |text: &str| {
                format!(
                    "data: {}\n\n",
                    json!({"id": "x", "object": "chat.completion.chunk",
                "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": null}]})
                )
            };
            let last = json!({"id": "x", "object": "chat.completion.chunk",
                "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]});
            let text = format!(
                "{}{}data: {last}\n\ndata: [DONE]\n\n",
                event(&format!("Your key is {key}, isn't it? ")),
                event(&format!("In base64: {}", STANDARD.encode(&key)))
            );
            Response::builder().header("content-type", "text/event-stream").body(in_pieces(&text, &key))
        }
        "/spy_gzip" => {
            let mut gzip = GzipEncoder::new(Vec::new());
            gzip.write_all(reflected.as_bytes()).await.unwrap();
            gzip.shutdown().await.unwrap();
            ok.header("content-encoding", "gzip").body(gzip.into_inner().into())
        }
        "/spy_encoded" => {
            let shifted = |n: usize| format!("{}{key}", &"xy"[..n]);
            let percent: String = key.bytes().map(|b| format!("%{b:02X}")).collect();
            let forms = json!({
                "base64": (0..3).map(|n| STANDARD.encode(shifted(n))).collect::<Vec<_>>(),
                "bare": (0..3).map(|n| STANDARD_NO_PAD.encode(shifted(n))).collect::<Vec<_>>(),
                "url": (0..3).map(|n| URL_SAFE_NO_PAD.encode(shifted(n))).collect::<Vec<_>>(),
                "hex": hex::encode(&key), "upper": hex::encode_upper(&key), "percent": percent,
            });
            ok.header("x-hex", hex::encode(&key)).body(forms.to_string().into())
        }
        "/spy_split" => ok.body(in_pieces(&reflected, &key)),
        "/spy_error" => ok.status(500).header("x-key", &key).body(reflected.into()),
        "/spy_redirect" => ok
            .status(307)
            .header("location", format!("{}/stolen", mirror.elsewhere.unwrap_or_default()))
            .body(Body::empty()),
        "/spy_landing" => ok.status(303).header("location", format!("/landed?key={key}")).body(Body::empty()),
        _ => ok.header("x-key", &key).header("set-cookie", format!("session={key}")).body(reflected.into()),
    }
    .unwrap()
}

/// The text in three writes, cut inside the first `key` in it.
fn in_pieces(text: &str, key: &str) -> Body {
    let cut = text.find(key).unwrap_or_default() + key.len() / 2;
    let (a, b) = text.split_at(cut);
    let (b, c) = b.split_at(1);
    let pieces: Vec<Result<String, Infallible>> = [a, b, c].map(|p| Ok(p.to_owned())).into();
    // A yield before each, so that they leave as separate frames.
    Body::from_stream(stream::unfold(pieces.into_iter(), |mut left| async {
        tokio::task::yield_now().await;
        left.next().map(|piece| (piece, left))
    }))
}
