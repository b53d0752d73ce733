//! People on four chat platforms at once, which differ in how they repeat themselves and in whether they know a repetition.
//!
//! | what says it | what comes again | in order | a second answer under the same key |
//! |---|---|---|---|
//! | `poll`, Telegram | every update that no poll has passed | yes | is shown |
//! | `webhook`, standardwebhooks | a request until it is accepted | yes | carries the same id, by which it is dropped |
//! | `session`, Discord's gateway | everything after the last event that was heard | yes | is dropped |
//! | `envelope`, Slack's Socket Mode | each event until it is acknowledged | no | is shown |

use crate::chat::{TOKEN, Telegram, get};
use crate::discord::{self, Discord};
use crate::kernel::client;
use crate::server::Server;
use crate::slack::{self, Slack};
use crate::{KernelOptions, peers};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::watch;

/// By whom a message is said.
pub const PLATFORMS: [&str; 4] = ["poll", "webhook", "session", "envelope"];
/// Those that hand messages on in the order in which they were said.
pub const IN_ORDER: [&str; 3] = ["poll", "webhook", "session"];
/// Those that drop a second message with the same key.
pub const KEYED: [&str; 2] = ["webhook", "session"];
/// People who talk on each platform, each in a conversation of their own.
pub const PEOPLE: usize = 4;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/// Messages of all platforms that may wait for an answer before anybody says another.
const AHEAD: usize = 80;
/// How long a crowd waits for anything to be answered.
const PATIENCE: Duration = Duration::from_secs(180);

/// The n-th message on a platform: it says who said it, and how many they said before.
pub fn text(platform: &str, n: usize) -> String {
    format!("{platform} {} {}", n % PEOPLE, n / PEOPLE)
}

/// Who said it, and how many they said before. Panics if nobody of the crowd did.
pub fn read(text: &str) -> (String, usize) {
    let read = || text.trim().rsplit_once(' ').and_then(|(who, n)| Some((who.to_owned(), n.parse().ok()?)));
    read().unwrap_or_else(|| panic!("nobody said {text:?}"))
}

/// What each person said, or was answered, in this order.
pub fn by_person<'a>(texts: impl IntoIterator<Item = &'a str>) -> BTreeMap<String, Vec<usize>> {
    let mut people: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (who, n) in texts.into_iter().map(read) {
        people.entry(who).or_default().push(n);
    }
    people
}

/// The platforms.
#[derive(Debug)]
pub struct Crowd {
    /// `poll`
    pub telegram: Telegram,
    /// `webhook`
    pub ends: Server,
    /// `session`
    pub discord: Discord,
    /// `envelope`
    pub slack: Slack,
    /// Where the kernel takes webhooks.
    port: u16,
}

impl Crowd {
    /// All four.
    pub fn start() -> Result<Self, String> {
        Ok(Self {
            telegram: Telegram::start()?,
            ends: peers::chat_server("standard_webhooks.py", SECRET)?,
            // A kernel that is down for a while is no reason to end its session.
            discord: Discord::start(30_000)?,
            slack: Slack::start()?,
            port: std::net::TcpListener::bind("127.0.0.1:0")
                .and_then(|l| l.local_addr())
                .map_err(|e| e.to_string())?
                .port(),
        })
    }

    /// A kernel that answers everybody, with nothing in the way: no limit of its own, and none of Discord's.
    pub async fn options(&self, model: &str) -> KernelOptions {
        self.discord.control("limit", json!({ "limit": 1_000_000, "per": 1 })).await;
        let (discord, slack) = (&self.discord.0.base, &self.slack.0.base);
        let people = |first: &str| -> Vec<String> { (0..PEOPLE).map(|n| format!("{first}{n}")).collect() };
        let instance = |endpoints: Value, allow: Vec<String>| json!({ "endpoints": endpoints, "channel": { "allow": allow, "drafts": false }, "limits": { "httpRequestsPerMinute": 1_000_000 } });
        let ws = |base: &str| base.replacen("http", "ws", 1);
        let slack_api = format!("{slack}/api");
        let config = json!({
            "webhooks": { "port": self.port },
            "agent": { "route": ["openai/mock"] },
            "budget": { "dailyTokens": null, "dailyUsd": null },
            "limits": { "ceiling": { "httpRequestsPerMinute": 1_000_000 } },
            "instances": {
                "openai": { "limits": { "httpRequestsPerMinute": 1_000_000 } },
                "telegram": instance(json!({ "api": self.telegram.0.base }), people("70")),
                "webhook": instance(json!({ "out": self.ends.base }), people("person-")),
                "discord": instance(json!({ "api": format!("{discord}/api/v10"), "gateway": ws(discord) }), people("70")),
                "slack": instance(json!({ "api": slack_api, "open": slack_api, "events": ws(slack) }), people("U7")),
            },
        });
        KernelOptions::openai(model)
            .with_env("TELEGRAM_BOT_TOKEN", TOKEN)
            .with_env("WEBHOOK_SIGNING_SECRET", SECRET)
            .with_env("DISCORD_BOT_TOKEN", discord::TOKEN)
            .with_env("SLACK_BOT_TOKEN", slack::BOT)
            .with_env("SLACK_APP_TOKEN", slack::APP)
            .with_config(&config.to_string())
    }

    /// Everybody says the messages in this range of numbers, at a steady pace, whether anybody listens or not, and never far ahead of what
    /// `turns` says was taken up.
    pub async fn say(&self, messages: std::ops::Range<usize>, turns: &watch::Receiver<usize>) {
        let http = client(reqwest::header::HeaderMap::new());
        let all = |platform: &'static str| {
            let (http, messages) = (http.clone(), messages.clone());
            async move {
                for n in messages {
                    let due = (PLATFORMS.len() * n).saturating_sub(AHEAD);
                    reached(turns, due).await;
                    tokio::time::sleep(Duration::from_millis(15)).await;
                    self.say_one(&http, platform, n).await;
                }
            }
        };
        tokio::join!(all("poll"), all("webhook"), all("session"), all("envelope"));
    }

    async fn say_one(&self, http: &reqwest::Client, platform: &str, n: usize) {
        let (who, text) = (n % PEOPLE, text(platform, n));
        let post = async |url: String, body: Value| {
            let answer = http.post(url).json(&body).send().await.unwrap();
            assert!(answer.status().is_success(), "{text}: {}", answer.status());
        };
        match platform {
            "poll" => {
                let id = 700 + who;
                let from = json!({ "id": id, "is_bot": false, "first_name": "P" });
                let body = json!({ "chat": { "id": id, "type": "private" }, "from": from, "text": text });
                post(format!("{}/control/say", self.telegram.0.base), body).await;
            }
            "session" => {
                let body =
                    json!({ "user": format!("70{who}"), "channel": format!("60{who}"), "direct": true, "text": text });
                post(format!("{}/control/say", self.discord.0.base), body).await;
            }
            "envelope" => {
                let body = json!({ "user": format!("U7{who}"), "channel": format!("D7{who}"), "text": text });
                post(format!("{}/control/say", self.slack.0.base), body).await;
            }
            _ => self.by_webhook(http, n, &text).await,
        }
    }

    /// A program sends a webhook again and again with the same id until it is accepted.
    async fn by_webhook(&self, http: &reqwest::Client, n: usize, text: &str) {
        let url = format!("http://127.0.0.1:{}/channels/webhook/standard", self.port);
        let id = format!("msg_{n}");
        let body = json!({ "text": text, "from": format!("person-{}", n % PEOPLE), "id": id });
        loop {
            let send =
                http.post(format!("{}/send", self.ends.base)).json(&json!({ "url": url, "id": id, "body": body }));
            // The sender's own server fails where nobody listens.
            let answer: Option<Value> = match send.send().await {
                Ok(answer) => answer.json().await.ok(),
                Err(_) => None,
            };
            match answer.as_ref().and_then(|a| a["status"].as_u64()) {
                Some(202) => return,
                None | Some(404 | 429 | 503) => tokio::time::sleep(Duration::from_millis(50)).await,
                Some(other) => panic!("the webhook answered {other}: {answer:?}"),
            }
        }
    }

    /// Messages that a platform holds and nobody has taken.
    pub async fn untaken(&self) -> u64 {
        let updates = get(format!("{}/control/waiting", self.telegram.0.base)).await["result"].as_u64().unwrap();
        updates + self.slack.state().await["waiting"].as_u64().unwrap()
    }

    /// What a person on a platform sees of the answers, in the order in which they came: what repeats a key that the platform drops is not
    /// seen.
    pub async fn seen(&self, platform: &str) -> Vec<String> {
        let texts = |list: &[Value], key: &str| list.iter().map(|m| m[key].as_str().unwrap().to_owned()).collect();
        match platform {
            "poll" => texts(&self.telegram.sent(0).await, "text"),
            "session" => texts(&self.discord.sent(0).await, "content"),
            "envelope" => texts(&self.slack.sent(0).await, "text"),
            _ => {
                let received = get(format!("{}/received", self.ends.base)).await;
                let mut keys: BTreeMap<String, String> = BTreeMap::new();
                let mut seen = Vec::new();
                for one in received.as_array().unwrap() {
                    assert_eq!(one["ok"], true, "{one}");
                    let (text, key) = (&one["body"]["text"], one["headers"]["webhook-id"].as_str().unwrap());
                    let text = text.as_str().unwrap().to_owned();
                    if let Some(before) = keys.insert(key.to_owned(), text.clone()) {
                        assert_eq!(before, text, "two messages came under the id {key}");
                        continue;
                    }
                    seen.push(text);
                }
                seen
            }
        }
    }
}

/// Waits until so many turns were taken up. Panics if none was for too long.
pub async fn reached(turns: &watch::Receiver<usize>, least: usize) {
    let mut turns = turns.clone();
    while *turns.borrow_and_update() < least {
        let Ok(news) = tokio::time::timeout(PATIENCE, turns.changed()).await else {
            panic!("{} turns were taken up, and for {PATIENCE:?} no other; {least} were waited for", *turns.borrow());
        };
        news.expect("the model is gone");
    }
}
