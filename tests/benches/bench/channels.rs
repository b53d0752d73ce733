//! Messages through channels, by webhook, by poll and through a socket: how many a second are taken in, when nobody is answered and when everybody
//! is, how soon each is answered, and how soon after a kill.
//!
//! The platform at the other end and the model are in this process and answer at once.

use crate::report::{Report, Samples};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::routing::{any, post};
use carapace_tests::model::{Model, Piece, clock_us};
use carapace_tests::{Kernel, KernelOptions, kernel};
use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, watch};
use tokio_tungstenite::tungstenite::Message;

/// Messages of one run, of which each is answered.
const MESSAGES: usize = 2_000;
/// Messages of one run that answers nobody.
const HEARD: usize = 20_000;
/// The same by poll: as many as come before polls are spaced out again, 60 times 100.
const POLLED: usize = 6_000;
/// Kills.
const KILLS: usize = 20;
const CONVERSATIONS: [usize; 3] = [1, 100, 1_000];
/// Webhooks under way at once.
const SENDERS: usize = 64;
/// A run that takes longer has come to a standstill.
const PATIENCE: Duration = Duration::from_secs(300);
/// The first person's number; the bot has another.
const PERSON: usize = 1_001;
const TOKEN: &str = "110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw";

/// What comes back, and when it was asked.
struct Answers {
    count: watch::Sender<usize>,
    took: Mutex<Samples>,
}

impl Answers {
    fn new() -> Arc<Self> {
        Arc::new(Self { count: watch::channel(0).0, took: Mutex::default() })
    }

    /// The text of an answer holds the time at which its question left.
    fn arrived(&self, text: &str) {
        let sent: u64 = text.trim().trim_start_matches('@').parse().unwrap();
        self.took.lock().unwrap().add_us(clock_us().saturating_sub(sent) as f64);
        self.count.send_modify(|n| *n += 1);
    }

    async fn are(&self, least: usize) {
        let mut count = self.count.subscribe();
        let all = tokio::time::timeout(PATIENCE, count.wait_for(|n| *n >= least)).await;
        if all.is_err() {
            panic!("{} of {least} messages were answered", *self.count.borrow());
        }
    }
}

async fn serve(app: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    base
}

/// A model that says back what was said last.
async fn echo() -> Model {
    let say = |request: &Value| {
        let last = request["messages"].as_array().unwrap().last().unwrap();
        vec![Piece::Text(last["content"].as_str().unwrap().to_owned())]
    };
    Model::start(say, Duration::ZERO).await
}

fn options(model: &Model, instances: &Value, more: Value) -> KernelOptions {
    let mut config = json!({
        "agent": { "route": ["openai/mock"], "maxConcurrentRuns": 64 },
        "budget": { "dailyTokens": null, "dailyUsd": null },
        "limits": { "ceiling": { "httpRequestsPerMinute": 1_000_000, "concurrency": 200 } },
        "instances": instances,
    });
    config["instances"]["openai"] = json!({ "limits": { "httpRequestsPerMinute": 1_000_000, "concurrency": 200 } });
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    KernelOptions::openai(&model.base).with_config(&config.to_string())
}

/// One run: how long until all was taken in, until all was answered, and how long each took.
struct Run {
    taken: Duration,
    answered: Duration,
    each: Samples,
}

/// How many events a second are committed that nobody answers, by one way in.
pub(crate) async fn taken(report: &mut Report, kind: &str) {
    for conversations in CONVERSATIONS {
        let (n, taken) = match kind {
            "webhook" => (HEARD, by_webhook(conversations, Then::Nothing).await.taken),
            "poll" => (POLLED, by_poll(conversations, Then::Nothing).await.taken),
            _ => (HEARD, by_socket(conversations).await),
        };
        let name = format!("channel, {kind}, {conversations} conversations: messages committed, none answered");
        report.put(&name, n as f64 / taken.as_secs_f64(), "1/s", None, n);
    }
}

/// How many messages a second are answered, and how soon each is.
pub(crate) async fn answered(report: &mut Report) {
    for conversations in CONVERSATIONS {
        let run = by_webhook(conversations, Then::Answer).await;
        shown(report, "webhook", conversations, &run);
        let run = by_poll(conversations, Then::Answer).await;
        shown(report, "poll", conversations, &run);
    }
}

/// How soon what was accepted before a kill is answered after it.
pub(crate) async fn killed(report: &mut Report) {
    let after = after_a_kill().await;
    report.both(
        "channel, webhook: from kill -9 to the answer to what was accepted before it",
        &after,
        "ms",
        None,
        None,
    );
}

/// What follows from a message.
#[derive(Clone, Copy, PartialEq)]
enum Then {
    /// It is from somebody who may not talk: its event is committed, and that is all.
    Nothing,
    /// A turn, and an answer.
    Answer,
}

impl Then {
    fn policy(self, people: &[String]) -> Value {
        match self {
            Self::Nothing => json!({ "direct": "off" }),
            Self::Answer => json!({ "allow": people, "drafts": false }),
        }
    }

    /// Of so many, how many there are.
    fn of(self, heard: usize) -> usize {
        if self == Self::Nothing { heard } else { MESSAGES }
    }

    async fn all(self, answers: &Answers) {
        if self == Self::Answer {
            answers.are(MESSAGES).await;
        }
    }
}

fn shown(report: &mut Report, kind: &str, conversations: usize, run: &Run) {
    let name = format!("channel, {kind}, {conversations} conversations");
    let rate = |time: Duration| MESSAGES as f64 / time.as_secs_f64();
    report.put(&format!("{name}: messages committed"), rate(run.taken), "1/s", None, MESSAGES);
    report.put(&format!("{name}: messages answered"), rate(run.answered), "1/s", None, MESSAGES);
    report.both(&format!("{name}: from message to answer, under that load"), &run.each, "ms", None, None);
}

/// A kernel that takes webhooks, and who sends them.
struct Hooked {
    kernel: Kernel,
    answers: Arc<Answers>,
    url: String,
    http: reqwest::Client,
    _model: Model,
}

impl Hooked {
    async fn start(people: &[String], then: Then) -> Self {
        async fn answer(State(answers): State<Arc<Answers>>, body: Bytes) {
            let said: Value = serde_json::from_slice(&body).unwrap();
            answers.arrived(said["text"].as_str().unwrap());
        }
        let (model, answers) = (echo().await, Answers::new());
        let out = serve(Router::new().route("/", post(answer)).with_state(Arc::clone(&answers))).await;
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let wide = json!({ "httpRequestsPerMinute": 1_000_000, "concurrency": 64 });
        let webhook = json!({ "endpoints": { "out": out }, "channel": then.policy(people), "limits": wide });
        let options = options(&model, &json!({ "webhook": webhook }), json!({ "webhooks": { "port": port } }));
        let kernel = Kernel::start(options.with_env("CARAPACE_PASSWORD", "correct horse battery staple"));
        carapace_tests::owner::set_secret(kernel.state(), "token", "local/webhook/main", "a-token-of-the-bench");
        let url = format!("http://127.0.0.1:{port}/channels/webhook/token");
        Self { kernel, answers, url, http: kernel::client(reqwest::header::HeaderMap::new()), _model: model }
    }

    /// Sends a message until it is taken.
    async fn post(&self, n: usize, from: &str) {
        let body = json!({ "id": format!("m-{n}"), "from": from, "text": format!("@{}", clock_us()) });
        loop {
            let sent = self.http.post(&self.url).bearer_auth("a-token-of-the-bench").json(&body).send().await;
            match sent.map(|answer| answer.status().as_u16()) {
                Ok(202) => return,
                // Its port opens once the secret is there; and a full mailbox says so.
                Ok(404 | 429 | 503) | Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
                Ok(other) => panic!("the webhook answered {other}\n{}", self.kernel.log()),
            }
        }
    }
}

async fn by_webhook(conversations: usize, then: Then) -> Run {
    let people: Vec<String> = (0..conversations).map(|n| format!("person-{n}")).collect();
    let hooked = Hooked::start(&people, then).await;
    let post = |n: usize| hooked.post(n, &people[n % conversations]);
    // The first one waits for the port; it counts as one of all.
    post(0).await;
    let begin = Instant::now();
    let next = std::sync::atomic::AtomicUsize::new(1);
    let sender = async || loop {
        let n = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        if n >= then.of(HEARD) {
            return;
        }
        post(n).await;
    };
    futures::future::join_all((0..SENDERS).map(|_| sender())).await;
    let taken = begin.elapsed();
    then.all(&hooked.answers).await;
    Run { taken, answered: begin.elapsed(), each: hooked.answers.took.lock().unwrap().clone() }
}

/// Each time, a message is taken, the kernel is killed before it can have been answered, and started again.
async fn after_a_kill() -> Samples {
    let person = "person-0".to_owned();
    let mut hooked = Hooked::start(std::slice::from_ref(&person), Then::Answer).await;
    hooked.post(0, &person).await;
    hooked.answers.are(1).await;
    let mut took = Samples::default();
    for n in 1..=KILLS {
        hooked.post(n, &person).await;
        hooked.kernel.kill();
        let begin = Instant::now();
        let answered = *hooked.answers.count.borrow();
        hooked.kernel.restart();
        // One that was faster than the kill is none that was waited for.
        if answered < n + 1 {
            hooked.answers.are(n + 1).await;
            took.add(begin.elapsed());
        }
    }
    took
}

/// A Bot API with everything that is said there already said: <https://core.telegram.org/bots/api#getupdates>.
struct Platform {
    waiting: Mutex<VecDeque<Value>>,
    /// What was handed out with the last poll, until the next one confirms it.
    begun: Mutex<Option<Instant>>,
    taken: Notify,
    took: Mutex<Option<Duration>>,
    answers: Arc<Answers>,
}

async fn by_poll(conversations: usize, then: Then) -> Run {
    async fn api(
        State(platform): State<Arc<Platform>>,
        Path(method): Path<String>,
        RawQuery(query): RawQuery,
        body: Bytes,
    ) -> axum::Json<Value> {
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        let result = match method.as_str() {
            "getMe" => json!({ "id": 42, "is_bot": true, "first_name": "Carapace", "username": "carapace_bot" }),
            "getUpdates" => {
                let query = query.unwrap_or_default();
                let offset = query.split('&').find_map(|p| p.strip_prefix("offset=")?.parse::<u64>().ok());
                let offset = offset.or_else(|| body["offset"].as_u64()).unwrap_or(0);
                platform.poll(offset).await
            }
            "sendMessage" => {
                platform.answers.arrived(body["text"].as_str().unwrap());
                json!({ "message_id": 1, "date": 1, "chat": { "id": body["chat_id"], "type": "private" } })
            }
            _ => json!(true),
        };
        axum::Json(json!({ "ok": true, "result": result }))
    }
    let (model, answers) = (echo().await, Answers::new());
    let platform = Arc::new(Platform {
        waiting: Mutex::default(),
        begun: Mutex::default(),
        taken: Notify::new(),
        took: Mutex::default(),
        answers: Arc::clone(&answers),
    });
    let app = Router::new().route(&format!("/bot{TOKEN}/{{method}}"), any(api)).with_state(Arc::clone(&platform));
    let base = serve(app).await;
    let people: Vec<String> = (0..conversations).map(|n| (PERSON + n).to_string()).collect();
    let wide = json!({ "httpRequestsPerMinute": 1_000_000, "concurrency": 64 });
    let telegram = json!({ "endpoints": { "api": base }, "channel": then.policy(&people), "limits": wide });
    let options = options(&model, &json!({ "telegram": telegram }), json!({ "webhooks": { "port": 0 } }));
    let _kernel = Kernel::start(options.with_env("TELEGRAM_BOT_TOKEN", TOKEN));
    let now = clock_us();
    let update = |n: usize| {
        let who = PERSON + n % conversations;
        let from = json!({ "id": who, "is_bot": false, "first_name": "P" });
        json!({ "update_id": n + 1, "message": { "message_id": n + 1, "date": 1, "chat": { "id": who, "type": "private" }, "from": from, "text": format!("@{now}") } })
    };
    *platform.waiting.lock().unwrap() = (0..then.of(POLLED)).map(update).collect();
    let begin = Instant::now();
    tokio::time::timeout(PATIENCE, platform.taken.notified()).await.expect("every message taken");
    then.all(&answers).await;
    let took = platform.took.lock().unwrap().unwrap();
    Run { taken: took, answered: begin.elapsed(), each: answers.took.lock().unwrap().clone() }
}

impl Platform {
    /// At most 100 from an offset on; what lies before it is confirmed.
    async fn poll(&self, offset: u64) -> Value {
        let before = |u: &Value| u["update_id"].as_u64().unwrap() < offset;
        {
            let mut waiting = self.waiting.lock().unwrap();
            while waiting.front().is_some_and(before) {
                waiting.pop_front();
            }
            if !waiting.is_empty() {
                self.begun.lock().unwrap().get_or_insert_with(Instant::now);
                return waiting.iter().take(100).cloned().collect();
            }
        }
        if let Some(begun) = self.begun.lock().unwrap().take() {
            *self.took.lock().unwrap() = Some(begun.elapsed());
            self.taken.notify_one();
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        json!([])
    }
}

/// A workspace whose Socket Mode has everything to say at once: <https://docs.slack.dev/apis/events-api/using-socket-mode/>.
async fn by_socket(conversations: usize) -> Duration {
    async fn api(State(socket): State<Arc<str>>, Path(method): Path<String>) -> axum::Json<Value> {
        axum::Json(match method.as_str() {
            "auth.test" => json!({ "ok": true, "user_id": "U0CARAPACE", "user": "carapace", "bot_id": "B0CARAPACE" }),
            "users.info" => json!({ "ok": true, "user": { "name": "ann", "profile": { "display_name": "Ann" } } }),
            "apps.connections.open" => json!({ "ok": true, "url": format!("{socket}/link?ticket=1") }),
            other => panic!("{other} was called"),
        })
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let socket: Arc<str> = format!("ws://{}", listener.local_addr().unwrap()).into();
    let base = serve(Router::new().route("/api/{method}", any(api)).with_state(Arc::clone(&socket))).await;
    let wide = json!({ "httpRequestsPerMinute": 1_000_000, "concurrency": 64 });
    let slack = json!({ "channel": Then::Nothing.policy(&[]), "limits": wide,
        "endpoints": { "api": format!("{base}/api"), "open": format!("{base}/api"), "events": &*socket } });
    let model = echo().await;
    let options = options(&model, &json!({ "slack": slack }), json!({ "webhooks": { "port": 0 } }));
    let _kernel =
        Kernel::start(options.with_env("SLACK_BOT_TOKEN", "xoxb-bench").with_env("SLACK_APP_TOKEN", "xapp-bench"));
    let envelope = |n: usize| {
        let ts = format!("{}.{:06}", 1_700_000_000 + n, n);
        let channel = format!("D{:08}", n % conversations);
        let event = json!({ "type": "message", "channel_type": "im", "channel": channel, "user": channel, "text": "hi", "ts": ts });
        json!({ "type": "events_api", "envelope_id": format!("e-{n}"), "accepts_response_payload": false,
            "payload": { "type": "event_callback", "event_id": format!("Ev{n}"), "event": event } })
    };
    let whole = async {
        let (stream, _) = listener.accept().await.unwrap();
        let (mut sink, mut acks) = tokio_tungstenite::accept_async(stream).await.unwrap().split();
        sink.send(Message::text(json!({ "type": "hello", "num_connections": 1 }).to_string())).await.unwrap();
        let begin = Instant::now();
        let says = async {
            for n in 0..HEARD {
                sink.feed(Message::text(envelope(n).to_string())).await.unwrap();
            }
            sink.flush().await.unwrap();
        };
        let hears = async {
            let mut heard = 0;
            while heard < HEARD {
                heard += usize::from(acks.next().await.unwrap().unwrap().is_text());
            }
        };
        futures::join!(says, hears);
        begin.elapsed()
    };
    tokio::time::timeout(PATIENCE, whole).await.expect("every message acknowledged")
}
