//! `sessions.list`, `sessions.preview` and `chat.history`.

use crate::state::{Shared, now_ms};
use crate::ws::chat::{check_agent, check_session};
use crate::ws::frame::Failure;
use crate::ws::methods::{Answer, params};
use carapace_contract::message::{Part, Role};
use carapace_contract::turn::{HistoryItem, SessionInfo};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// Sessions looked at.
const SESSIONS: usize = 1_000;
/// Bytes of one history answer.
const HISTORY_BYTES: usize = 1 << 20;
/// Keys of one preview.
const PREVIEWS: usize = 64;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListParams {
    limit: Option<usize>,
    offset: Option<usize>,
    active_minutes: Option<u64>,
    search: Option<String>,
    agent_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PreviewParams {
    keys: Vec<String>,
    limit: Option<usize>,
    max_chars: Option<usize>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HistoryParams {
    session_key: String,
    agent_id: Option<String>,
    limit: Option<usize>,
    max_chars: Option<usize>,
}

/// `sessions.list`, newest first.
pub(crate) fn list(shared: Arc<Shared>, given: &Value) -> Result<Answer, Failure> {
    let p: ListParams = params(given)?;
    check_agent(&p.agent_id)?;
    Ok(Box::pin(async move {
        let now = now_ms();
        let needle = p.search.map(|s| s.to_lowercase()).filter(|s| !s.is_empty());
        let since = p.active_minutes.map_or(0, |m| now.saturating_sub(m.saturating_mul(60_000)));
        let found: Vec<SessionInfo> = shared
            .assistant
            .sessions(SESSIONS)
            .await?
            .into_iter()
            .filter(|s| s.updated_ms >= since)
            .filter(|s| {
                needle.as_ref().is_none_or(|n| s.key.to_lowercase().contains(n) || s.title.to_lowercase().contains(n))
            })
            .collect();
        let (offset, limit) = (p.offset.unwrap_or(0), p.limit.unwrap_or(100).clamp(1, SESSIONS));
        let rows: Vec<Value> = found.iter().skip(offset).take(limit).map(row).collect();
        let route = shared.status.status().await.route;
        Ok(json!({
            "ts": now,
            "path": "",
            "count": rows.len(),
            "totalCount": found.len(),
            "hasMore": offset + rows.len() < found.len(),
            "defaults": {"modelProvider": null, "model": route.first(), "contextTokens": null},
            "sessions": rows,
        }))
    }))
}

fn row(s: &SessionInfo) -> Value {
    json!({
        "key": s.key,
        "sessionId": s.key,
        "kind": "direct",
        "agentId": "main",
        "derivedTitle": s.title,
        "createdAt": s.created_ms,
        "updatedAt": s.updated_ms,
        "messageCount": s.messages,
        "tainted": s.tainted,
    })
}

/// `sessions.preview`.
pub(crate) fn preview(shared: Arc<Shared>, given: &Value) -> Result<Answer, Failure> {
    let p: PreviewParams = params(given)?;
    if p.keys.len() > PREVIEWS {
        return Err(Failure::invalid(format!("invalid params: at most {PREVIEWS} keys")));
    }
    let keys = p.keys.into_iter().map(check_session).collect::<Result<Vec<_>, _>>()?;
    Ok(Box::pin(async move {
        let (limit, chars) = (p.limit.unwrap_or(12).clamp(1, 100), p.max_chars.unwrap_or(240).clamp(20, 4_000));
        let mut previews = Vec::with_capacity(keys.len());
        for key in keys {
            let items: Vec<Value> = shared
                .assistant
                .history(&key, limit)
                .await?
                .iter()
                .filter_map(|item| {
                    let text: String = item.parts.iter().filter_map(readable).collect::<Vec<_>>().join("\n");
                    (!text.is_empty()).then(|| json!({"role": preview_role(item.role), "text": cut(&text, chars)}))
                })
                .collect();
            let status = if items.is_empty() { "empty" } else { "ok" };
            previews.push(json!({"key": key, "status": status, "items": items}));
        }
        Ok(json!({"ts": now_ms(), "previews": previews}))
    }))
}

fn readable(part: &Part) -> Option<&str> {
    match part {
        Part::Text { text } => Some(text),
        Part::ToolResult(r) => Some(&r.content),
        _ => None,
    }
}

fn preview_role(role: Role) -> &'static str {
    match role {
        Role::System => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
        Role::Tool => "tool",
    }
}

/// `chat.history`: the last messages, oldest first; so many as fit.
pub(crate) fn history(shared: Arc<Shared>, given: &Value) -> Result<Answer, Failure> {
    let p: HistoryParams = params(given)?;
    check_agent(&p.agent_id)?;
    let session = check_session(p.session_key)?;
    Ok(Box::pin(async move {
        let items = shared.assistant.history(&session, p.limit.unwrap_or(200).clamp(1, 1_000)).await?;
        let chars = p.max_chars.unwrap_or(100_000).clamp(1, 500_000);
        let room = HISTORY_BYTES.min(shared.limits.ws_queue_bytes / 2);
        let (mut bytes, mut messages) = (0, Vec::new());
        for item in items.iter().rev() {
            let message = message(item, chars);
            bytes += message.to_string().len();
            if bytes > room {
                break;
            }
            messages.push(message);
        }
        messages.reverse();
        let truncated = messages.len() < items.len();
        Ok(json!({"sessionKey": session, "sessionId": session, "messages": messages, "truncated": truncated}))
    }))
}

fn message(item: &HistoryItem, chars: usize) -> Value {
    let mut out = json!({"id": item.id, "timestamp": item.at_ms, "tainted": item.tainted});
    let content: Vec<Value> = item
        .parts
        .iter()
        .filter_map(|part| match part {
            Part::Text { text } => Some(json!({"type": "text", "text": cut(text, chars)})),
            Part::Reasoning { text } => Some(json!({"type": "thinking", "thinking": cut(text, chars)})),
            Part::Image { mime, data } => Some(json!({"type": "image", "mimeType": mime, "data": data})),
            Part::Media(m) => Some(json!({"type": "text", "text": format!("[{}]", m.in_words())})),
            Part::ToolCall(call) => {
                let arguments: Value = serde_json::from_str(&call.arguments).unwrap_or_else(|_| json!(call.arguments));
                Some(json!({"type": "toolCall", "id": call.id, "name": call.name, "arguments": arguments}))
            }
            Part::ToolResult(result) => Some(json!({"type": "text", "text": cut(&result.content, chars)})),
            Part::Other { .. } => None,
        })
        .collect();
    if let Some(out) = out.as_object_mut() {
        let role = match item.role {
            Role::System => "system",
            Role::User => "user",
            Role::Assistant => "assistant",
            Role::Tool => "toolResult",
        };
        out.insert("role".into(), json!(role));
        out.insert("content".into(), json!(content));
        // In the protocol a message holds one result; a message that holds several shows the first one's names.
        let result = item.parts.iter().find_map(|p| if let Part::ToolResult(r) = p { Some(r) } else { None });
        if let Some(result) = result {
            out.insert("toolCallId".into(), json!(result.call_id));
            out.insert("toolName".into(), json!(result.name));
            out.insert("isError".into(), json!(result.is_error));
        }
    }
    out
}

fn cut(text: &str, chars: usize) -> String {
    let mut out: String = text.chars().take(chars).collect();
    if out.len() < text.len() {
        out.push('…');
    }
    out
}
