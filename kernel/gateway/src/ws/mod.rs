//! The WebSocket edge: OpenClaw's gateway protocol, version 4.

pub(crate) mod chat;
pub(crate) mod connect;
pub(crate) mod device;
pub(crate) mod events;
pub(crate) mod frame;
pub(crate) mod hub;
pub(crate) mod lines;
pub(crate) mod methods;
pub(crate) mod queue;
pub(crate) mod runs;
pub(crate) mod sessions;

use crate::http::error::ApiError;
use crate::state::{Peer, Shared, now_ms};
use crate::throttle::Bucket;
use crate::ws::connect::Scopes;
use crate::ws::frame::{Failure, Request, response};
use crate::ws::hub::{Hub, Seat};
use crate::ws::methods::Context;
use crate::ws::queue::Queue;
use ::http::StatusCode;
use ::http::header::{RETRY_AFTER, UPGRADE};
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::extract::{Extension, State};
use axum::response::{IntoResponse as _, Response};
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt as _, StreamExt as _};
use serde_json::json;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Above the cap on frames, so that a frame that is too large is answered, not just cut off.
const SLACK: usize = 4 << 10;
/// How long a client has to take its close.
const LINGER: Duration = Duration::from_secs(1);
/// The longest reason a close frame holds.
const REASON_BYTES: usize = 123;

/// A request to become a WebSocket.
pub(crate) type Upgrade = Result<WebSocketUpgrade, WebSocketUpgradeRejection>;

/// `GET /ws`.
pub(crate) async fn upgrade(
    State(shared): State<Arc<Shared>>,
    Extension(peer): Extension<Peer>,
    upgrade: Upgrade,
) -> Response {
    let (upgrade, seat) = match admit(&shared, peer, upgrade) {
        Ok(admitted) => admitted,
        Err(refused) => return refused,
    };
    // Shutdown waits for it from here on.
    let tracked = shared.tracker.token();
    upgrade.on_upgrade(move |socket| async move {
        connection(socket, shared, peer.0.ip(), seat).await;
        drop(tracked);
    })
}

/// Whether one more connection may become a WebSocket.
#[allow(clippy::result_large_err, reason = "a response is what is answered")]
pub(crate) fn admit(shared: &Arc<Shared>, peer: Peer, upgrade: Upgrade) -> Result<(WebSocketUpgrade, Seat), Response> {
    let upgrade = upgrade.map_err(|e| {
        let message = format!("this address speaks WebSocket: {e}");
        let error = ApiError::new(StatusCode::UPGRADE_REQUIRED, "invalid_request_error", message);
        ([(UPGRADE, "websocket")], error.code("upgrade_required")).into_response()
    })?;
    let busy = |message: &str| {
        let error = ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "server_error", message);
        ([(RETRY_AFTER, "5")], error.code("connection_limit")).into_response()
    };
    if shared.stopping.is_cancelled() {
        return Err(busy("the gateway is stopping"));
    }
    let seat = Hub::admit(shared, peer.0.ip()).ok_or_else(|| busy("connection limit reached"))?;
    let upgrade = upgrade
        .max_message_size(shared.limits.ws_frame_bytes + SLACK)
        .max_frame_size(shared.limits.ws_frame_bytes + SLACK)
        .read_buffer_size(8 << 10)
        .write_buffer_size(16 << 10);
    Ok((upgrade, seat))
}

async fn connection(socket: WebSocket, shared: Arc<Shared>, peer: IpAddr, seat: Seat) {
    let queue = Arc::new(Queue::new(shared.limits.ws_queue_frames, shared.limits.ws_queue_bytes));
    let (sink, mut stream) = socket.split();
    let mut writer = tokio::spawn(write(sink, Arc::clone(&queue), shared.dead.clone()));
    let (code, reason) = match session(&shared, peer, &seat, &mut stream, &queue).await {
        End::Gone => (1000, String::new()),
        End::Close(code, reason) => (code, reason),
    };
    drop(seat);
    queue.close(code, &reason);
    let farewell = async {
        let _ = (&mut writer).await;
        // Dropping a socket with unread data resets it, and the client would not see its close frame.
        while let Some(Ok(_)) = stream.next().await {}
    };
    if tokio::time::timeout(LINGER, farewell).await.is_err() {
        writer.abort();
    }
}

async fn write(mut sink: SplitSink<WebSocket, Message>, queue: Arc<Queue>, dead: CancellationToken) {
    loop {
        let batch = queue.take().await;
        let mut last = None;
        let send = async {
            for frame in batch {
                match frame::text(frame) {
                    Ok(text) => {
                        ::metrics::counter!("carapace_ws_messages_total", "direction" => "out").increment(1);
                        sink.feed(Message::Text(text.into())).await?;
                    }
                    Err(close) => last = Some(close),
                }
            }
            sink.flush().await
        };
        let sent = tokio::select! {
            sent = send => sent.is_ok(),
            () = queue.stuck.cancelled() => true,
            () = dead.cancelled() => true,
        };
        if !sent {
            // Nobody reads any more: what the reader half sees ends the connection.
            return;
        }
        if last.is_none() && queue.stuck.is_cancelled() {
            last = Some((1008, "slow consumer".to_owned()));
        }
        if last.is_none() && dead.is_cancelled() {
            last = Some((1001, "the gateway has stopped".to_owned()));
        }
        if let Some((code, reason)) = last {
            let frame = CloseFrame { code, reason: cut(&reason) };
            let _ = tokio::time::timeout(LINGER, sink.send(Message::Close(Some(frame)))).await;
            return;
        }
    }
}

fn cut(reason: &str) -> Utf8Bytes {
    let mut end = reason.len().min(REASON_BYTES);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    reason.get(..end).unwrap_or_default().into()
}

/// How a session ended.
enum End {
    /// The client went.
    Gone,
    /// Close it.
    Close(u16, String),
}

async fn next(stream: &mut SplitStream<WebSocket>, limit: usize) -> Result<Utf8Bytes, End> {
    loop {
        let message = match stream.next().await {
            Some(Ok(message)) => message,
            Some(Err(e)) if e.to_string().contains("too long") => {
                return Err(End::Close(1009, "payload too large".into()));
            }
            None | Some(Err(_)) => return Err(End::Gone),
        };
        match message {
            Message::Text(text) if text.len() > limit => return Err(End::Close(1009, "payload too large".into())),
            Message::Text(text) => {
                ::metrics::counter!("carapace_ws_messages_total", "direction" => "in").increment(1);
                return Ok(text);
            }
            Message::Binary(_) => return Err(End::Close(1008, "binary messages not supported".into())),
            Message::Close(_) => return Err(End::Gone),
            Message::Ping(_) | Message::Pong(_) => {}
        }
    }
}

async fn session(
    shared: &Arc<Shared>,
    peer: IpAddr,
    seat: &Seat,
    stream: &mut SplitStream<WebSocket>,
    queue: &Arc<Queue>,
) -> End {
    let scopes = match handshake(shared, peer, seat, stream, queue).await {
        Ok(scopes) => scopes,
        Err(end) => return end,
    };
    let reads = scopes.has("operator.read");
    let context = Context { shared: Arc::clone(shared), queue: Arc::clone(queue), scopes };
    seat.join(queue, reads);
    requests(&context, stream).await
}

async fn handshake(
    shared: &Arc<Shared>,
    peer: IpAddr,
    seat: &Seat,
    stream: &mut SplitStream<WebSocket>,
    queue: &Arc<Queue>,
) -> Result<Scopes, End> {
    let mut random = [0_u8; 16];
    if getrandom::fill(&mut random).is_err() {
        return Err(End::Close(1011, "no randomness".into()));
    }
    let nonce = hex::encode(random);
    let challenge = json!({"type": "event", "event": "connect.challenge", "payload": {"nonce": nonce, "ts": now_ms()}});
    queue.text(challenge.to_string());

    let first = tokio::select! {
        first = tokio::time::timeout(shared.limits.ws_handshake, next(stream, shared.limits.ws_preauth_frame_bytes)) => first,
        () = shared.stopping.cancelled() => return Err(End::Close(1001, "the gateway is stopping".into())),
    };
    let text = first.unwrap_or_else(|_| Err(End::Close(1008, "connect did not come in time".into())))?;
    let request = Request::parse(&text, shared.limits.ws_depth)
        .map_err(|e| End::Close(1008, format!("invalid handshake: {e}")))?;
    match connect::check(shared, peer, &nonce, &request) {
        Ok(scopes) => {
            queue.text(response(&request.id, &Ok(connect::hello(shared, seat.id, &scopes).await)));
            Ok(scopes)
        }
        Err(rejected) => {
            let reason = rejected.failure.message.clone();
            queue.text(response(&request.id, &Err(rejected.failure)));
            Err(End::Close(rejected.close, reason))
        }
    }
}

async fn requests(context: &Context, stream: &mut SplitStream<WebSocket>) -> End {
    let (shared, queue) = (&context.shared, &context.queue);
    let limits = &shared.limits;
    let mut bucket = Bucket::new(limits.ws_message_burst, f64::from(limits.ws_messages_per_second), Instant::now());
    let mut refused_in_a_row = 0;
    let mut in_flight: JoinSet<()> = JoinSet::new();
    let mut draining = false;
    loop {
        if draining && in_flight.is_empty() {
            return End::Close(1001, "the gateway is stopping".into());
        }
        let text = tokio::select! {
            text = next(stream, limits.ws_frame_bytes) => match text {
                Ok(text) => text,
                Err(end) => return end,
            },
            _ = in_flight.join_next(), if !in_flight.is_empty() => continue,
            () = shared.stopping.cancelled(), if !draining => {
                draining = true;
                continue;
            }
            () = shared.dead.cancelled() => return End::Close(1001, "the gateway has stopped".into()),
            () = queue.stuck.cancelled() => return End::Close(1008, "slow consumer".into()),
        };
        let request = match Request::parse(&text, limits.ws_depth) {
            Ok(request) => request,
            Err(e) => return End::Close(1008, e),
        };
        let refuse = |failure: Failure| queue.text(response(&request.id, &Err(failure)));
        if let Err(wait) = bucket.take(Instant::now()) {
            refused_in_a_row += 1;
            if refused_in_a_row > limits.ws_message_burst {
                return End::Close(1008, "rate limit exceeded".into());
            }
            refuse(
                Failure::unavailable(format!("more than {} messages a second", limits.ws_messages_per_second))
                    .details(json!({"code": "RATE_LIMITED"}))
                    .retryable(Some(wait)),
            );
            continue;
        }
        refused_in_a_row = 0;
        if draining {
            refuse(Failure::unavailable("the gateway is stopping").retryable(Some(Duration::from_secs(5))));
        } else if in_flight.len() >= limits.ws_in_flight {
            refuse(
                Failure::unavailable(format!("{} requests are in flight on this connection", limits.ws_in_flight))
                    .details(json!({"code": "TOO_MANY_IN_FLIGHT"}))
                    .retryable(Some(Duration::from_millis(250))),
            );
        } else {
            in_flight.spawn(methods::answer(context.clone(), request));
        }
    }
}
