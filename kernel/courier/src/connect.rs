//! What a component wants done with its sockets: opened, written to, ended.

use crate::courier::Inner;
use crate::logins;
use crate::pump::Command;
use crate::slot::Slot;
use carapace_contract::channel::{
    ChannelFailure, ChannelFailureKind, ChannelInfo, Effect, FailureScope, SocketInfo, SocketTarget,
};
use carapace_contract::ports::{ConnectFailure, Socket};
use carapace_contract::{EndpointName, InstanceId};
use std::sync::Arc;

/// A socket that has just been opened.
pub(crate) struct New {
    pub(crate) socket: Box<dyn Socket>,
    pub(crate) endpoint: EndpointName,
    pub(crate) info: SocketInfo,
    pub(crate) ping_ms: Option<u32>,
}

/// Does what a component wants done with its sockets, now that it is durable. Anything else is not for here.
pub(crate) async fn perform(inner: &Arc<Inner>, slot: &Arc<Slot>, info: &ChannelInfo, effect: Effect) {
    let (number, command) = match effect {
        Effect::Request(_) => return,
        Effect::Dial => return slot.sockets.ask(),
        Effect::Connect(target) => return connect(inner, slot, info, target),
        Effect::Frame(f) => (f.socket, Command::Send { text: f.text, data: f.data }),
        Effect::Close(c) => (c.socket, Command::Close { code: c.code, reason: c.reason }),
    };
    // To one that is gone, or goes just now, it is dropped; its end is told.
    if let Some(commands) = slot.sockets.commands(number) {
        let _ = commands.send(command).await;
    }
}

/// Begins to open a socket.
fn connect(inner: &Arc<Inner>, slot: &Arc<Slot>, info: &ChannelInfo, target: SocketTarget) {
    let Some((attempt, cancel)) = slot.sockets.attempt(&slot.instance) else { return };
    let declared = info.sockets.iter().find(|(name, _)| name.as_str() == target.endpoint);
    let declared = declared.map(|(name, info)| (name.clone(), *info));
    let (slot, inner_) = (Arc::clone(slot), Arc::clone(inner));
    inner.spawn(async move {
        let opened = tokio::select! {
            biased;
            () = inner_.stopping.cancelled() => return,
            () = cancel.cancelled() => return,
            opened = open(&inner_, &slot.instance, declared, target) => opened,
        };
        let outcome = if opened.is_ok() { "ok" } else { "failed" };
        metrics::counter!("carapace_channel_dials_total", "instance" => slot.instance.to_string(), "outcome" => outcome)
            .increment(1);
        match opened {
            Ok(new) => slot.sockets.opened(&inner_, &slot, attempt, new),
            Err(failed) => slot.sockets.not_opened(&inner_, &slot, attempt, failed),
        }
    });
}

/// Opens it, if its logins are not used up.
async fn open(
    inner: &Inner,
    instance: &InstanceId,
    declared: Option<(EndpointName, SocketInfo)>,
    target: SocketTarget,
) -> Result<New, ConnectFailure> {
    let failed = |failure| ConnectFailure { failure, status: None };
    let Some((endpoint, info)) = declared else {
        let name: String = target.endpoint.chars().filter(|c| !c.is_control()).take(64).collect();
        let why = format!("it was granted no socket `{name}`; its manifest must declare it as [[socket]]");
        return Err(failed(retryable(why, None)));
    };
    if let SocketInfo { logins_per_day: Some(most), login_frames: false, .. } = info {
        match logins::take(inner, instance, &endpoint, most).await {
            Ok(Ok(())) => {}
            Ok(Err(free_ms)) => {
                return Err(failed(used_up(&endpoint, most, free_ms.saturating_sub(inner.clock.now_ms()))));
            }
            Err(e) => return Err(failed(retryable(format!("its logins could not be counted: {e}"), None))),
        }
    }
    let ping_ms = target.ping_ms;
    let socket = inner.channels.connect(instance, target).await?;
    Ok(New { socket, endpoint, info, ping_ms })
}

pub(crate) fn used_up(endpoint: &EndpointName, most: u32, free_in_ms: u64) -> ChannelFailure {
    let minutes = free_in_ms.div_ceil(60_000);
    let why = format!(
        "the {most} logins in 24 hours of its socket `{endpoint}` are used up; the next is free in {minutes} minutes"
    );
    retryable(why, Some(free_in_ms))
}

fn retryable(message: String, retry_after_ms: Option<u64>) -> ChannelFailure {
    let (kind, scope) = (ChannelFailureKind::Retryable, FailureScope::Account);
    ChannelFailure { kind, message, retry_after_ms, scope, uncertain: false }
}
