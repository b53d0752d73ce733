//! The CLI as a client of a running kernel.

#![allow(clippy::indexing_slicing, reason = "only JSON is indexed, and that gives null where there is nothing")]

use crate::commands::chat::visible;
use crate::failure::{Exit, Failure, OrFail, Outcome};
use carapace_config::StatePaths;
use carapace_contract::control::ControlRequest;
use carapace_contract::lines::{FromProgram, ToProgram};
use carapace_egress::EgressError;
use carapace_egress::local;
use carapace_store::Store;
use http::header::{HeaderName, HeaderValue};
use secrecy::SecretString;
use serde_json::{Value, json};

/// A connection to the kernel of a state directory.
pub(crate) struct Client {
    local: local::Client,
    /// `http://127.0.0.1:<port>`
    pub base: String,
}

/// What a turn shows while it runs.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Shown {
    /// The next piece of the answer.
    Text(String),
    /// A tool runs or answered; as the gateway describes it.
    Tool(Value),
}

/// The answer of a turn.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Answer {
    /// The whole text.
    pub text: String,
    /// The model that answered.
    pub model: String,
    /// `stop`, `length`, `content_filter`.
    pub finish: String,
    /// Token counts in OpenAI's form.
    pub usage: Value,
}

fn unreachable(e: &EgressError) -> Failure {
    Failure::new(Exit::Unreachable, e.to_string()).help("carapace start")
}

impl Client {
    /// To a kernel at this address.
    pub(crate) fn to(base: &str, token: SecretString) -> Outcome<Self> {
        let local = local::Client::new(base, Some(token)).map_err(|e| unreachable(&e))?;
        let local = local.with_header(HeaderName::from_static("x-carapace-events"), HeaderValue::from_static("true"));
        Ok(Self { local, base: base.to_owned() })
    }

    /// To the kernel of this state directory, if one answers. A file left by a crash counts for nothing.
    pub(crate) async fn running(paths: &StatePaths) -> Outcome<Option<Self>> {
        let Ok(text) = std::fs::read_to_string(paths.root().join("run.json")) else { return Ok(None) };
        let run: Value = serde_json::from_str(&text).unwrap_or_default();
        let Some(base) = run["http"].as_str() else { return Ok(None) };
        // After a crash somebody else may listen there, who must not get the owner's token: the kernel that wrote the file
        // still owns the state, or there is none.
        let holder = Store::holder(paths.root()).or_fail("cannot tell whether an assistant runs")?;
        if !holder.is_some_and(|h| h.pid.is_none_or(|pid| run["pid"] == pid)) {
            return Ok(None);
        }
        let token = std::fs::read_to_string(paths.gateway_token()).unwrap_or_default();
        let client = Self::to(base, SecretString::from(token.trim().to_owned()))?;
        let answered = client.local.get("/api/status").await;
        Ok(answered.is_ok_and(|a| a.status == 200).then_some(client))
    }

    /// As [`Self::running`], or a failure that says how to start one.
    pub(crate) async fn needed(paths: &StatePaths) -> Outcome<Self> {
        Self::running(paths).await?.ok_or_else(|| {
            Failure::new(Exit::Unreachable, format!("no assistant is running on {}", paths.root().display()))
                .help("carapace start")
        })
    }

    /// `GET`, 200 expected.
    pub(crate) async fn get(&self, path: &str) -> Outcome<Value> {
        let answer = self.local.get(path).await.map_err(|e| unreachable(&e))?;
        if answer.status == 200 { Ok(answer.body) } else { Err(refused(answer.status, &answer.body)) }
    }

    /// Carries out an owner's request.
    pub(crate) async fn control(&self, request: &ControlRequest) -> Outcome<Value> {
        let body = serde_json::to_value(request).map_err(|e| Failure::new(Exit::Failed, e.to_string()))?;
        let answer = self.local.post("/api/control", &body).await.map_err(|e| unreachable(&e))?;
        if answer.status == 200 { Ok(answer.body) } else { Err(refused(answer.status, &answer.body)) }
    }

    /// A program's place at a channel: a WebSocket at `/api/lines/…`.
    pub(crate) async fn talk(&self, path: &str) -> Outcome<Talking> {
        match self.local.socket(path).await.map_err(|e| unreachable(&e))? {
            local::Answered::Socket(talk) => Ok(Talking(talk)),
            local::Answered::Other(answer) => Err(refused(answer.status, &answer.body)),
        }
    }

    /// One turn; what it shows goes to `show` as it comes. Dropping the future stops the turn.
    pub(crate) async fn turn(
        &self,
        session: &str,
        model: Option<&str>,
        text: &str,
        mut show: impl FnMut(Shown),
    ) -> Outcome<Answer> {
        let body = json!({
            "model": model.unwrap_or("carapace"), "stream": true, "stream_options": {"include_usage": true},
            "user": session,
            "messages": [{"role": "user", "content": text}],
        });
        let mut events = self.local.events("/v1/chat/completions", Some(&body)).await.map_err(|e| unreachable(&e))?;
        let status = events.status;
        let mut lines = Lines::default();
        let mut whole = Vec::new();
        let mut answer = Answer::default();
        while let Some(bytes) = events.next().await.map_err(|e| unreachable(&e))? {
            if status != 200 {
                whole.extend_from_slice(&bytes);
                continue;
            }
            for line in lines.push(&bytes) {
                let Some(data) = line.strip_prefix("data:") else { continue };
                let Ok(chunk) = serde_json::from_str::<Value>(data.trim()) else { continue };
                if !chunk["error"].is_null() {
                    return Err(refused(500, &chunk));
                }
                if let Some(event) = chunk.pointer("/x_carapace/event") {
                    show(Shown::Tool(event.clone()));
                }
                if let Some(delta) = chunk.pointer("/choices/0/delta/content").and_then(Value::as_str)
                    && !delta.is_empty()
                {
                    answer.text.push_str(delta);
                    show(Shown::Text(delta.to_owned()));
                }
                if let Some(finish) = chunk.pointer("/choices/0/finish_reason").and_then(Value::as_str) {
                    finish.clone_into(&mut answer.finish);
                }
                if let Some(model) = chunk["model"].as_str() {
                    model.clone_into(&mut answer.model);
                }
                if !chunk["usage"].is_null() {
                    answer.usage = chunk["usage"].clone();
                }
            }
        }
        if status != 200 {
            return Err(refused(status, &serde_json::from_slice(&whole).unwrap_or_default()));
        }
        if answer.finish.is_empty() {
            return Err(Failure::new(Exit::Failed, "the answer broke off").help("ask again; the conversation is kept"));
        }
        Ok(answer)
    }
}

/// A program's place at a channel.
pub(crate) struct Talking(local::Talk);

impl Talking {
    /// Says something.
    pub(crate) async fn say(&mut self, what: &FromProgram) -> Result<(), EgressError> {
        self.0.say(serde_json::to_string(what).unwrap_or_default()).await
    }

    /// What is said next; none at the end. What this program does not understand is left out.
    pub(crate) async fn next(&mut self) -> Result<Option<ToProgram>, EgressError> {
        while let Some(text) = self.0.next().await? {
            match serde_json::from_str(&text) {
                Ok(heard) => return Ok(Some(heard)),
                Err(error) => tracing::debug!(%error, "the kernel said something unknown"),
            }
        }
        Ok(None)
    }
}

/// What the gateway said, in the CLI's form.
fn refused(status: u16, body: &Value) -> Failure {
    let error = &body["error"];
    // A component's words may stand in there.
    let text = |key: &str| visible(error[key].as_str().unwrap_or_default());
    let code = text("code");
    // A turn's outcome has one status for many reasons; these are refusals, not failures.
    let by_policy = ["E-BUDGET-", "E-GRANT-", "E-TRUST-"].iter().any(|room| code.starts_with(room));
    let exit = match status {
        401 | 403 => Exit::Refused,
        404 | 400 => Exit::Usage,
        _ if by_policy => Exit::Refused,
        _ => Exit::Failed,
    };
    if error.is_object() {
        let fix = text("fix");
        return Failure::coded(exit, &code, text("message")).help(fix);
    }
    Failure::new(exit, format!("the kernel answered {status}"))
}

/// Whole lines out of pieces.
#[derive(Debug, Default)]
struct Lines(Vec<u8>);

impl Lines {
    fn push(&mut self, bytes: &[u8]) -> Vec<String> {
        self.0.extend_from_slice(bytes);
        let mut lines = Vec::new();
        while let Some(end) = self.0.iter().position(|b| *b == b'\n') {
            let line: Vec<u8> = self.0.drain(..=end).collect();
            lines.push(String::from_utf8_lossy(&line).trim_end().to_owned());
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::{Client, Lines};
    use carapace_config::StatePaths;
    use carapace_store::{Store, StoreOptions};
    use std::collections::BTreeMap;

    #[tokio::test]
    async fn the_token_goes_to_nobody_who_took_the_place_of_a_crashed_kernel() {
        let dir = tempfile::tempdir().unwrap();
        let env = BTreeMap::from([("CARAPACE_STATE_DIR".to_owned(), dir.path().display().to_string())]);
        let paths = StatePaths::resolve(&env).unwrap();
        let thief = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let run = serde_json::json!({ "pid": 1, "http": format!("http://{}", thief.local_addr().unwrap()) });
        std::fs::write(dir.path().join("run.json"), run.to_string()).unwrap();
        std::fs::write(paths.gateway_token(), "the owner's own token").unwrap();
        let options =
            StoreOptions { unlocker: carapace_store::Unlocker::Password("a test".into()), ..StoreOptions::default() };
        let store = Store::open(dir.path(), options).unwrap();
        // While another process owns the state, and while nobody does.
        assert!(Client::running(&paths).await.unwrap().is_none());
        store.close().await;
        assert!(Client::running(&paths).await.unwrap().is_none());
        tokio::select! {
            biased;
            _ = thief.accept() => panic!("something connected"),
            () = std::future::ready(()) => {}
        }
    }

    #[test]
    fn lines_come_whole_however_they_were_cut() {
        let text = "data: {\"a\":\"é\"}\n\ndata: [DONE]\n";
        for cut in 0..text.len() {
            let (a, b) = text.as_bytes().split_at(cut);
            let mut lines = Lines::default();
            let mut all = lines.push(a);
            all.extend(lines.push(b));
            assert_eq!(all, ["data: {\"a\":\"é\"}", "", "data: [DONE]"]);
        }
    }
}
