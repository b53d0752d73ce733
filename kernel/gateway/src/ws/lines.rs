//! Programs that talk with a channel line by line: `GET /api/lines/<component>[/<instance>]?as=<name>`, a WebSocket of JSON messages
//! ([`FromProgram`], [`ToProgram`]).

use super::{End, LINGER, Upgrade, admit, cut, next};
use crate::http::Authed;
use crate::http::control::refused;
use crate::http::error::ApiError;
use crate::state::{Peer, Shared};
use axum::extract::ws::{CloseFrame, Message, WebSocket};
use axum::extract::{Extension, Path, Query, State};
use axum::response::{IntoResponse as _, Response};
use carapace_contract::Denial;
use carapace_contract::lines::{FromProgram, ToProgram};
use carapace_contract::ports::{LATER, Program, Seated, Written};
use futures::stream::SplitSink;
use futures::{FutureExt as _, SinkExt as _, StreamExt as _};
use serde::Deserialize;
use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// Lines that are read ahead of the one that is being taken.
const AHEAD: usize = 32;
/// What may be written and not said to be had.
const MOST_WRITTEN: usize = 256;
/// How often it is looked whether everything is said, once a program has ended.
const LOOK: Duration = Duration::from_millis(100);
/// How long a program may take to read one message.
const SLOW: Duration = Duration::from_secs(5);

/// The name of a program that names itself not.
const NAMELESS: &str = "terminal";

/// What comes with the address.
#[derive(Deserialize)]
pub(crate) struct Wanted {
    #[serde(rename = "as")]
    name: Option<String>,
}

/// `GET /api/lines/<component>`: the instance `main`.
pub(crate) async fn of_main(
    state: State<Arc<Shared>>,
    authed: Authed,
    peer: Extension<Peer>,
    Path(component): Path<String>,
    wanted: Query<Wanted>,
    upgrade: Upgrade,
) -> Response {
    of(state, authed, peer, Path((component, "main".to_owned())), wanted, upgrade).await
}

/// `GET /api/lines/<component>/<instance>`.
pub(crate) async fn of(
    State(shared): State<Arc<Shared>>,
    _: Authed,
    Extension(peer): Extension<Peer>,
    Path((component, instance)): Path<(String, String)>,
    Query(wanted): Query<Wanted>,
    upgrade: Upgrade,
) -> Response {
    let (upgrade, seat) = match admit(&shared, peer, upgrade) {
        Ok(admitted) => admitted,
        Err(refused) => return refused,
    };
    let Some(lines) = shared.lines.clone() else {
        return ApiError::internal("no programs are attached here").into_response();
    };
    let name = wanted.name.as_deref().unwrap_or(NAMELESS);
    let attachment = match lines.attach(&component, &instance, name).await {
        Ok(attachment) => attachment,
        Err(denial) => return refused(&denial),
    };
    let tracked = shared.tracker.token();
    upgrade.on_upgrade(move |socket| async move {
        talk(socket, &shared, attachment).await;
        drop((seat, tracked));
    })
}

type Taking = Pin<Box<dyn Future<Output = (String, Result<(), Denial>)> + Send>>;

async fn talk(socket: WebSocket, shared: &Shared, attachment: Seated) {
    let Seated { program, mut written } = attachment;
    let (mut sink, mut stream) = socket.split();
    let (mut ahead, mut taking) = (VecDeque::new(), None::<Taking>);
    let mut unsaid: HashMap<String, Vec<oneshot::Sender<()>>> = HashMap::new();
    let mut ended = false;
    let mut look = tokio::time::interval(LOOK);
    let (code, reason) = loop {
        if taking.is_none() {
            taking = ahead.pop_front().map(|(id, text)| take(Arc::clone(&program), id, text));
        }
        tokio::select! {
            () = shared.stopping.cancelled() => break (1001, "the gateway is stopping".to_owned()),
            Some((id, result)) = maybe(taking.as_mut()) => {
                taking = None;
                if !say(&mut sink, &answer(id, result)).await {
                    return;
                }
            }
            one = written.recv(), if unsaid.len() < MOST_WRITTEN => {
                let Some(Written { key, text, got }) = one else { break (1001, "the channel is gone".to_owned()) };
                unsaid.retain(|_, waiting| waiting.iter().any(|got| !got.is_closed()));
                unsaid.entry(key.clone()).or_default().push(got);
                if !say(&mut sink, &ToProgram::Line { key, text }).await {
                    return;
                }
            }
            text = next(&mut stream, shared.limits.ws_frame_bytes), if ahead.len() < AHEAD => match text {
                Err(End::Gone) => return,
                Err(End::Close(code, reason)) => break (code, reason),
                Ok(text) => match serde_json::from_str(&text) {
                    Ok(FromProgram::Line { id, text }) if !ended => ahead.push_back((id, text)),
                    Ok(FromProgram::Line { .. }) => break (1008, "a line after the end".to_owned()),
                    Ok(FromProgram::Got { key }) => {
                        for got in unsaid.remove(&key).unwrap_or_default() {
                            // Late: it will be written once more, and is known by its key then.
                            let _ = got.send(());
                        }
                    }
                    Ok(FromProgram::End) => ended = true,
                    Err(e) => break (1008, format!("no message of a program's: {e}")),
                },
            },
            _ = look.tick(), if ended && taking.is_none() && ahead.is_empty() => {
                // What cannot be looked up is looked up again.
                if program.is_quiet().await.unwrap_or(false) {
                    break (1000, "everything is said".to_owned());
                }
            }
        }
    };
    let close = Message::Close(Some(CloseFrame { code, reason: cut(&reason) }));
    let farewell = async {
        let _ = sink.send(close).await;
        while let Some(Ok(_)) = stream.next().await {}
    };
    let _ = tokio::time::timeout(LINGER, farewell).await;
}

async fn maybe<F: Future + Unpin>(future: Option<F>) -> Option<F::Output> {
    match future {
        Some(future) => Some(future.await),
        None => None,
    }
}

fn take(program: Arc<dyn Program>, id: String, text: String) -> Taking {
    async move {
        let result = program.line(id.clone(), text).await;
        (id, result)
    }
    .boxed()
}

fn answer(id: String, result: Result<(), Denial>) -> ToProgram {
    match result {
        Ok(()) => ToProgram::Taken { id },
        Err(denial) => ToProgram::Refused {
            id,
            retry: denial.code == LATER,
            code: denial.code.to_string(),
            message: denial.message,
            fix: denial.fix,
        },
    }
}

/// Whether it was read, or is on its way to be.
async fn say(sink: &mut SplitSink<WebSocket, Message>, what: &ToProgram) -> bool {
    let Ok(text) = serde_json::to_string(what) else { return false };
    ::metrics::counter!("carapace_ws_messages_total", "direction" => "out").increment(1);
    matches!(tokio::time::timeout(SLOW, sink.send(Message::Text(text.into()))).await, Ok(Ok(())))
}
