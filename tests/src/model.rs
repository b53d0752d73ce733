//! A model server inside the test process, for what must be fast, paced, or decided anew for each turn.
//!
//! It speaks the streaming half of OpenAI's chat completions, as documented at
//! <https://platform.openai.com/docs/api-reference/chat-streaming> ("The chat completion chunk object").

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures::{StreamExt, stream};
use serde_json::{Value, json};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};
use tokio::sync::watch;

static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Microseconds on this process's own clock; what [`Piece::Clock`] writes.
pub fn clock_us() -> u64 {
    u64::try_from(EPOCH.elapsed().as_micros()).unwrap_or(u64::MAX)
}

/// One chunk of an answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Piece {
    /// Text.
    Text(String),
    /// The time at which it was sent, as `@<microseconds> `.
    Clock,
    /// A whole tool call: its id, the tool, its arguments.
    Call(String, String, Value),
}

type Script = dyn Fn(&Value) -> Vec<Piece> + Send + Sync;

/// A running model server; it stops with its runtime or when dropped.
#[derive(Debug)]
pub struct Model {
    /// `http://127.0.0.1:<port>/v1`
    pub base: String,
    /// How many chunks were sent.
    pub chunks: watch::Receiver<u64>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Model {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Shared {
    script: Box<Script>,
    pace: Duration,
    chunks: watch::Sender<u64>,
}

impl Model {
    /// Answers each request with what `script` makes of its body, one chunk every `pace`.
    pub async fn start(script: impl Fn(&Value) -> Vec<Piece> + Send + Sync + 'static, pace: Duration) -> Self {
        let (chunks, seen) = watch::channel(0);
        let shared = Arc::new(Shared { script: Box::new(script), pace, chunks });
        let app = Router::new()
            .route(
                "/v1/models",
                get(|| async { axum::Json(json!({"object": "list", "data": [{"id": "mock", "object": "model"}]})) }),
            )
            .route("/v1/chat/completions", post(answer))
            .with_state(shared);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}/v1", listener.local_addr().unwrap());
        let listener = axum::serve::ListenerExt::tap_io(listener, |socket| socket.set_nodelay(true).unwrap());
        let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { base, chunks: seen, task }
    }
}

async fn answer(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    let request: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(request["stream"], true, "this server only streams: {request}");
    let pieces = (shared.script)(&request);
    let called = pieces.iter().any(|p| matches!(p, Piece::Call(..)));
    let tokens = pieces.len();
    let mut deltas: Vec<Piece> = pieces;
    // The first chunk names the role, with no text.
    deltas.insert(0, Piece::Text(String::new()));
    let begin = tokio::time::Instant::now();
    let pace = shared.pace;
    let body = stream::iter(deltas.into_iter().enumerate()).then(move |(n, piece)| {
        let shared = Arc::clone(&shared);
        async move {
            if !pace.is_zero() {
                tokio::time::sleep_until(begin + pace * u32::try_from(n).unwrap()).await;
            }
            shared.chunks.send_modify(|sent| *sent += 1);
            chunk(&json!({"index": 0, "delta": delta(n, piece), "finish_reason": null}), None)
        }
    });
    let finish = json!({"index": 0, "delta": {}, "finish_reason": if called { "tool_calls" } else { "stop" }});
    let usage = json!({"prompt_tokens": 10, "completion_tokens": tokens, "total_tokens": 10 + tokens});
    let wants_usage = request["stream_options"]["include_usage"] == true;
    let end = [
        Some(chunk(&finish, None)),
        wants_usage.then(|| chunk(&Value::Null, Some(usage))),
        Some(Bytes::from_static(b"data: [DONE]\n\n")),
    ];
    let body = body.chain(stream::iter(end.into_iter().flatten())).map(Ok::<_, std::convert::Infallible>);
    ([(CONTENT_TYPE, "text/event-stream")], Body::from_stream(body)).into_response()
}

fn delta(n: usize, piece: Piece) -> Value {
    match piece {
        Piece::Text(text) if n == 0 => json!({"role": "assistant", "content": text}),
        Piece::Text(text) => json!({"content": text}),
        Piece::Clock => json!({"content": format!("@{} ", clock_us())}),
        Piece::Call(id, name, arguments) => json!({"tool_calls": [{"index": n, "id": id, "type": "function",
            "function": {"name": name, "arguments": arguments.to_string()}}]}),
    }
}

fn chunk(choice: &Value, usage: Option<Value>) -> Bytes {
    let choices = if choice.is_null() { json!([]) } else { json!([choice]) };
    let chunk = json!({"id": "chatcmpl-mock", "object": "chat.completion.chunk", "created": 1_700_000_000, "model": "mock",
        "choices": choices, "usage": usage});
    format!("data: {chunk}\n\n").into()
}
