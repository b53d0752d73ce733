//! What a connected client may ask.

use crate::http::health::status_json;
use crate::state::{Shared, now_ms};
use crate::ws::connect::Scopes;
use crate::ws::frame::{Failure, Request, response};
use crate::ws::queue::Queue;
use crate::ws::{chat, sessions};
use carapace_contract::completion::ModelInfo;
use carapace_contract::decision::{Effect, Effects};
use futures::future::BoxFuture;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Methods and the scope each needs.
pub(crate) const METHODS: [(&str, &str); 11] = [
    ("health", "operator.read"),
    ("status", "operator.read"),
    ("models.list", "operator.read"),
    ("tools.catalog", "operator.read"),
    ("sessions.list", "operator.read"),
    ("sessions.preview", "operator.read"),
    ("chat.history", "operator.read"),
    ("chat.send", "operator.write"),
    ("chat.abort", "operator.write"),
    ("agent", "operator.write"),
    ("agent.wait", "operator.write"),
];

/// First words of the protocol's other methods: known, and not served here.
const KNOWN: &str = "agent agents approval artifacts assistant attach audit board channels chat commands config \
    controlUi conversations cron desktop device diagnostics doctor environments exec fs gateway hooks last-heartbeat \
    logs mcp memory message migrations models nativeHook node openclaw plugin plugins poll portal progressCard \
    projects push question secrets send session sessions set-heartbeats skills system system-event system-presence \
    talk taskSuggestions tasks terminal tools tts ui update usage users voicewake wake web wizard worker worktrees";

/// What a request needs to be answered.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) shared: Arc<Shared>,
    pub(crate) queue: Arc<Queue>,
    pub(crate) scopes: Scopes,
}

/// An answer in the making.
pub(crate) type Answer = BoxFuture<'static, Result<Value, Failure>>;

/// Answers a request. What must happen in the order of arrival happens before this returns.
pub(crate) fn answer(context: Context, request: Request) -> impl Future<Output = ()> + Send + 'static {
    let label = METHODS.iter().find(|(name, _)| *name == request.method).map_or("other", |(name, _)| *name);
    let begun = begin(&context, &request);
    async move {
        let outcome = match begun {
            Ok(answer) => answer.await,
            Err(failure) => Err(failure),
        };
        let word = outcome.as_ref().map_or_else(|f| f.code, |_| "ok");
        ::metrics::counter!("carapace_ws_requests_total", "method" => label, "outcome" => word).increment(1);
        context.queue.text(response(&request.id, &outcome));
    }
}

fn begin(context: &Context, request: &Request) -> Result<Answer, Failure> {
    let method = request.method.as_str();
    let Some((name, scope)) = METHODS.iter().find(|(name, _)| *name == method) else { return Err(not_served(method)) };
    if !context.scopes.has(scope) {
        return Err(Failure::missing_scope(scope));
    }
    let shared = Arc::clone(&context.shared);
    Ok(match *name {
        "health" => Box::pin(async move { Ok(health(&shared).await) }),
        "status" => Box::pin(async move { Ok(status(&shared).await) }),
        "models.list" => Box::pin(async move { Ok(models(&shared).await) }),
        "tools.catalog" => {
            chat::check_agent(&params::<AgentOnly>(&request.params)?.agent_id)?;
            Box::pin(async move { Ok(tools(&shared)) })
        }
        "sessions.list" => sessions::list(shared, &request.params)?,
        "sessions.preview" => sessions::preview(shared, &request.params)?,
        "chat.history" => sessions::history(shared, &request.params)?,
        "chat.send" => chat::send(shared, &request.params)?,
        "chat.abort" => chat::abort(shared, &request.params)?,
        "agent" => chat::agent(context, request)?,
        "agent.wait" => chat::wait(shared, &request.params)?,
        other => return Err(not_served(other)),
    })
}

fn not_served(method: &str) -> Failure {
    if method == "connect" {
        return Failure::invalid("connect already completed");
    }
    let first = method.split('.').next().unwrap_or_default();
    let served: Vec<&str> = METHODS.iter().map(|(name, _)| *name).collect();
    if KNOWN.split_whitespace().any(|known| known == first) {
        Failure::unavailable(format!("{method} is not supported by this gateway"))
            .details(json!({"code": "METHOD_NOT_SUPPORTED", "method": method, "supported": served}))
    } else {
        Failure::invalid(format!("unknown method: {method}"))
            .details(json!({"code": "UNKNOWN_METHOD", "method": method, "supported": served}))
    }
}

/// A method's parameters.
pub(crate) fn params<T: DeserializeOwned>(params: &Value) -> Result<T, Failure> {
    T::deserialize(params).map_err(|e| Failure::invalid(format!("invalid params: {e}")))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AgentOnly {
    agent_id: Option<String>,
}

/// The protocol's health snapshot. `ok` is said only when it is so.
pub(crate) async fn health(shared: &Shared) -> Value {
    let began = std::time::Instant::now();
    let status = shared.status.status().await;
    let (loaded, failed): (Vec<_>, Vec<_>) = status.instances.iter().partition(|i| i.state == "ready");
    let loaded: Vec<String> = loaded.iter().map(|i| i.instance.to_string()).collect();
    let errors: Vec<Value> = failed
        .iter()
        .map(|i| json!({"id": i.instance.to_string(), "origin": "component", "activated": false, "error": i.state}))
        .collect();
    let mut health = json!({
        "ts": now_ms(),
        "durationMs": u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
        "defaultAgentId": "main",
        "plugins": {"loaded": loaded, "errors": errors},
    });
    if status.not_ready.is_empty()
        && let Some(health) = health.as_object_mut()
    {
        health.insert("ok".into(), Value::Bool(true));
    }
    health
}

async fn status(shared: &Shared) -> Value {
    let mut status = status_json(shared).await;
    if let Some(status) = status.as_object_mut() {
        status.insert("runtimeVersion".into(), json!(shared.version));
        status.insert("ts".into(), json!(now_ms()));
    }
    status
}

async fn models(shared: &Shared) -> Value {
    let models: Vec<Value> = shared.assistant.models().await.iter().map(model).collect();
    json!({"models": models})
}

fn model(m: &ModelInfo) -> Value {
    let whole = m.reference.to_string();
    let provider = whole.strip_suffix(&format!("/{}", m.reference.model)).unwrap_or(&whole);
    let mut out = json!({
        "id": m.reference.model,
        "name": if m.name.is_empty() { &m.reference.model } else { &m.name },
        "provider": provider,
        "available": true,
        "supportsTools": m.tools,
        "input": if m.images { vec!["text", "image"] } else { vec!["text"] },
    });
    if let (Some(out), Some(context)) = (out.as_object_mut(), m.context.filter(|c| *c > 0)) {
        out.insert("contextWindow".into(), json!(context));
    }
    out
}

fn tools(shared: &Shared) -> Value {
    let mut groups: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for tool in shared.assistant.tools().iter() {
        let instance = tool.instance.to_string();
        groups.entry(instance.clone()).or_default().push(json!({
            "id": tool.name,
            "label": tool.name,
            "description": tool.description,
            "source": "plugin",
            "pluginId": instance,
            "risk": risk(tool.effects),
            "tags": tool.effects.iter().map(Effect::as_str).collect::<Vec<_>>(),
            "defaultProfiles": ["full"],
        }));
    }
    let groups: Vec<Value> = groups
        .into_iter()
        .map(|(instance, tools)| {
            json!({"id": instance, "label": instance, "source": "plugin", "pluginId": instance, "tools": tools})
        })
        .collect();
    json!({"agentId": "main", "profiles": [{"id": "full", "label": "Full"}], "groups": groups})
}

fn risk(effects: Effects) -> &'static str {
    if effects.has(Effect::Send) || effects.has(Effect::Execute) {
        "high"
    } else if effects.has(Effect::Write) || effects.has(Effect::Fetch) {
        "medium"
    } else {
        "low"
    }
}
