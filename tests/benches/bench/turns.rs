//! Whole turns and single tokens, against a pass-through that does nothing but pass through.

use crate::report::{Report, Samples, timed};
use crate::storage::Disk;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use carapace_tests::model::{Model, Piece, clock_us};
use carapace_tests::socket::Socket;
use carapace_tests::{Kernel, KernelOptions, kernel};
use futures::StreamExt;
use serde_json::json;
use std::time::Duration;

const TOKENS: usize = 20;
const TURNS: usize = 300;
const WARM_UP: usize = 30;
/// Turns over one socket: one that says more than 60 things in a second is told to wait.
const PER_SOCKET: usize = 50;
/// A fast model's pace: 50 tokens a second.
const PACE: Duration = Duration::from_millis(20);
/// Tokens of one paced stream.
const STREAM: usize = 100;
const STREAMS: [usize; 3] = [1, 10, 100];

fn options(base: &str) -> KernelOptions {
    KernelOptions::openai(base).with_config(
        "{ agent: { route: ['openai/mock'], maxConcurrentRuns: 128 }, budget: { dailyTokens: null, dailyUsd: null }, \
         limits: { ceiling: { httpRequestsPerMinute: 1000000, concurrency: 200 } }, \
         instances: { openai: { limits: { httpRequestsPerMinute: 1000000, concurrency: 200 } } } }",
    )
}

pub(crate) async fn measure(report: &mut Report) {
    whole(report).await;
    tokens(report).await;
}

/// The native way: one HTTP server and client, no assistant.
async fn pass_through(model: &str) -> (String, tokio::task::JoinHandle<()>) {
    #[derive(Clone)]
    struct Upstream(reqwest::Client, String);
    async fn pass(State(upstream): State<Upstream>, body: Bytes) -> Response {
        let answer =
            upstream.0.post(&upstream.1).header(CONTENT_TYPE, "application/json").body(body).send().await.unwrap();
        let kind = answer.headers()[CONTENT_TYPE].clone();
        ([(CONTENT_TYPE, kind)], Body::from_stream(answer.bytes_stream())).into_response()
    }
    let upstream = Upstream(kernel::client(reqwest::header::HeaderMap::new()), format!("{model}/chat/completions"));
    let app = Router::new().route("/v1/chat/completions", post(pass)).with_state(upstream);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let listener = axum::serve::ListenerExt::tap_io(listener, |socket| socket.set_nodelay(true).unwrap());
    (base, tokio::spawn(async move { axum::serve(listener, app).await.unwrap() }))
}

/// One streamed answer over HTTP; gives each piece of text to `heard`.
async fn by_http(http: &reqwest::Client, base: &str, token: &str, session: &str, mut heard: impl FnMut(&str)) {
    let response = http
        .post(format!("{base}/v1/chat/completions"))
        .bearer_auth(token)
        .header("x-carapace-session-key", session)
        .json(&json!({"stream": true, "messages": [{"role": "user", "content": "Say something."}]}))
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    let mut body = response.bytes_stream();
    let mut text = String::new();
    let mut done = false;
    while let Some(bytes) = body.next().await {
        text.push_str(std::str::from_utf8(&bytes.unwrap()).unwrap());
        while let Some(end) = text.find("\n\n") {
            let event: String = text.drain(..end + 2).collect();
            let Some(data) = event.trim_end().strip_prefix("data: ") else { continue };
            if data == "[DONE]" {
                done = true;
                continue;
            }
            let chunk: serde_json::Value = serde_json::from_str(data).unwrap();
            assert!(chunk["error"].is_null(), "{chunk}");
            if let Some(piece) = chunk["choices"][0]["delta"]["content"].as_str().filter(|p| !p.is_empty()) {
                heard(piece);
            }
        }
    }
    assert!(done, "the stream ended before the answer did: {text}");
}

async fn by_socket(socket: &mut Socket, run: &str, heard: impl FnMut(&str)) {
    let send = json!({"sessionKey": run, "message": "Say something.", "idempotencyKey": run});
    socket.request("chat.send", send).await.unwrap();
    let last = socket.outcome(run, heard).await.unwrap();
    assert_eq!(last["state"], "final", "{last}");
}

/// Turns of an instant model, over WebSocket, over HTTP and past the kernel, in turn.
async fn whole(report: &mut Report) {
    let say = |_: &serde_json::Value| (0..TOKENS).map(|n| Piece::Text(format!("word{n} "))).collect();
    let model = Model::start(say, Duration::ZERO).await;
    let (native, proxy) = pass_through(&model.base).await;
    let kernel = Kernel::start(options(&model.base));
    let http = kernel::client(reqwest::header::HeaderMap::new());
    let mut socket = Socket::connect(&kernel.base, &kernel.token).await.unwrap();
    let disk = Disk::new();
    let (mut ws, mut api, mut direct) = (Samples::default(), Samples::default(), Samples::default());
    let mut commits = Samples::default();
    for n in 0..TURNS + WARM_UP {
        if n % PER_SOCKET == 0 {
            socket = Socket::connect(&kernel.base, &kernel.token).await.unwrap();
        }
        let mut words = [0; 3];
        let (_, a) = timed(by_socket(&mut socket, &format!("turn-ws-{n}"), |_| words[0] += 1)).await;
        let (_, b) =
            timed(by_http(&http, &kernel.base, &kernel.token, &format!("turn-http-{n}"), |_| words[1] += 1)).await;
        let (_, c) = timed(by_http(&http, &native, "none", "none", |_| words[2] += 1)).await;
        assert!(words.iter().all(|w| *w > 0), "{words:?}");
        // A turn without tools is accepted and ended durably, begun at ease. In turn with the rest, so that they meet the same disk.
        let d = disk.full(n).await + disk.relaxed(n).await + disk.full(n).await;
        if n >= WARM_UP {
            commits.add(d);
            ws.add(a);
            api.add(b);
            direct.add(c);
        }
    }
    proxy.abort();
    drop(kernel);
    let less = ws.median() - commits.median();
    report.both("agent turn of 20 tokens over WebSocket", &ws, "ms", None, None);
    report.both("agent turn of 20 tokens over HTTP", &api, "ms", None, None);
    report.both("the same answer through a native pass-through", &direct, "ms", None, None);
    report.both("as many commits (2 full, 1 relaxed), measured in turn with it", &commits, "ms", None, None);
    let mut put = |what: &str, value: f64, unit: &str, budget| report.put(what, value, unit, budget, ws.n());
    put("agent turn over WebSocket minus its commits, median", less / 1e3, "ms", Some(2.0));
    put("agent turn over WebSocket, p99 / median", ws.p99() / ws.median(), "x", Some(3.0));
    // The pass-through commits nothing; the budget compares with it all the same.
    put("agent turn over WebSocket / native pass-through, median", ws.median() / direct.median(), "x", Some(2.0));
    put("agent turn over WebSocket minus its commits / pass-through, median", less / direct.median(), "x", None);
    put("agent turn over HTTP / native pass-through, median", api.median() / direct.median(), "x", None);
}

/// How long after it was sent a token arrives, with many streams at once: through the kernel and through the pass-through.
async fn tokens(report: &mut Report) {
    let say = |_: &serde_json::Value| vec![Piece::Clock; STREAM];
    let model = Model::start(say, PACE).await;
    let (native, proxy) = pass_through(&model.base).await;
    let kernel = Kernel::start(options(&model.base));
    for streams in STREAMS {
        let through = many(streams, &kernel.base, &kernel.token, &format!("stream-{streams}")).await;
        let past = many(streams, &native, "none", "none").await;
        let name = format!("a token through the kernel, {streams} streams at once");
        report.both(&name, &through, "ms", None, None);
        report.both(&format!("a token through the pass-through, {streams} streams at once"), &past, "ms", None, None);
        let budget = (streams == 100).then_some(2.0);
        let added = (through.p99() - past.p99()) / 1e3;
        report.put(
            &format!("latency added per token, p99, {streams} streams at once"),
            added,
            "ms",
            budget,
            through.n(),
        );
    }
    proxy.abort();
}

async fn many(streams: usize, base: &str, token: &str, session: &str) -> Samples {
    let http = kernel::client(reqwest::header::HeaderMap::new());
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..streams {
        let (http, base, token, session) = (http.clone(), base.to_owned(), token.to_owned(), format!("{session}-{n}"));
        tasks.spawn(async move {
            // Models do not speak in step.
            tokio::time::sleep(PACE * u32::try_from(n).unwrap() / u32::try_from(streams).unwrap()).await;
            let mut late = Samples::default();
            by_http(&http, &base, &token, &session, |piece| {
                let now = clock_us();
                for sent in piece.split_whitespace() {
                    let sent: u64 = sent.trim_start_matches('@').parse().unwrap();
                    late.add_us(now.saturating_sub(sent) as f64);
                }
            })
            .await;
            assert_eq!(late.n(), STREAM);
            late
        });
    }
    let mut all = Samples::default();
    while let Some(samples) = tasks.join_next().await {
        all.extend(samples.unwrap());
    }
    all
}
