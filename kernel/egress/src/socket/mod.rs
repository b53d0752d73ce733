//! A WebSocket that is open: what comes in is scanned, what goes out gets its secrets, and both are counted.
//!
//! A [`Socket`] is held by one owner who reads and writes. Policy and secrets are given with each call, so that what was revoked bites at
//! once.

mod dial;

pub use dial::{Connect, Refused, SocketPlace};

use crate::audit::{Outcome, Ticket};
use crate::door::{Door, Inner};
use crate::error::{EgressError, shown};
use crate::inject;
use crate::leak::Scanner;
use crate::origin::Origin;
use crate::policy::{Policy, SocketEndpoint};
use crate::secrets::SecretSource;
use carapace_contract::manifest::{FrameInject, Inject};
use carapace_contract::{Denial, EndpointName};
use futures::{SinkExt as _, StreamExt as _};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};

/// For so long what is scanned for is taken to be the same.
const SCANNER_LIVES: Duration = Duration::from_secs(60);
/// Until a message has left; a peer that takes none is gone.
const WRITE: Duration = Duration::from_secs(20);
/// Until a farewell has left.
const FAREWELL: Duration = Duration::from_secs(2);

pub(crate) trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// What comes through a socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming {
    /// A whole message, without secrets.
    Message {
        /// Else binary.
        text: bool,
        /// What.
        data: Vec<u8>,
    },
    /// A ping or a pong.
    Alive,
    /// Its end; nothing follows.
    Closed {
        /// The other side's code, if it gave one.
        code: Option<u16>,
        /// Why, without secrets.
        reason: String,
    },
}

/// An open WebSocket. Dropping it cuts the connection.
pub struct Socket {
    inner: Arc<Inner>,
    stream: WebSocketStream<Box<dyn Wire>>,
    endpoint: EndpointName,
    origin: Origin,
    max_frame: usize,
    scanner: Arc<Scanner>,
    scanned: Instant,
    ended: Option<Incoming>,
    ticket: Ticket,
}

impl std::fmt::Debug for Socket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Socket").field("endpoint", &self.endpoint).field("origin", &self.origin).finish_non_exhaustive()
    }
}

impl Socket {
    /// Which of the instance's sockets it is.
    pub fn endpoint(&self) -> &EndpointName {
        &self.endpoint
    }

    /// Whether the policy still lets it be.
    ///
    /// # Errors
    /// It does not any more, and why.
    pub fn check(&self, policy: &Policy) -> Result<(), Denial> {
        self.granted(policy).map(drop)
    }

    fn granted<'p>(&self, policy: &'p Policy) -> Result<&'p SocketEndpoint, Denial> {
        match dial::granted(policy, self.endpoint.as_str()) {
            Ok((name, socket)) => dial::check_origin(policy, name, socket, &self.origin).map(|()| socket),
            Err(denial) => Err(denial),
        }
    }

    /// What comes next. May be dropped and called again: nothing is lost by it.
    pub async fn next(&mut self, policy: &Policy, secrets: &dyn SecretSource) -> Incoming {
        if let Some(end) = &self.ended {
            return end.clone();
        }
        if self.scanned.elapsed() >= SCANNER_LIVES {
            self.rescan(policy, secrets).await;
        }
        let news = match self.stream.next().await {
            Some(Ok(Message::Text(text))) => {
                self.ticket.record.bytes_in += text.len() as u64;
                let found = self.scanner.finds(text.as_bytes());
                self.ticket.record.leak_found |= found;
                let text = if found { self.scanner.redact(&text) } else { text.as_str().to_owned() };
                return Incoming::Message { text: true, data: text.into_bytes() };
            }
            Some(Ok(Message::Binary(data))) => {
                self.ticket.record.bytes_in += data.len() as u64;
                let mut scrubber = self.scanner.stream();
                let mut clean = scrubber.push(&data);
                clean.extend(scrubber.finish());
                self.ticket.record.leak_found |= scrubber.found();
                return Incoming::Message { text: false, data: clean };
            }
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => return Incoming::Alive,
            // Of the library's inner life; never given by it.
            Some(Ok(Message::Frame(_))) => return Incoming::Alive,
            Some(Ok(Message::Close(frame))) => {
                let code = frame.as_ref().map(|f| u16::from(f.code));
                let reason = frame.map(|f| shown(&self.scanner.redact(&f.reason))).unwrap_or_default();
                self.end(code, reason, code.map_or(Outcome::Status(1005), Outcome::Status))
            }
            Some(Err(e)) => {
                let why = match &e {
                    Error::Capacity(_) => {
                        format!(
                            "a message came that is larger than {} bytes (`max-frame` in its manifest)",
                            self.max_frame
                        )
                    }
                    Error::ConnectionClosed | Error::AlreadyClosed => "the connection was closed".to_owned(),
                    other => format!("the connection broke: {}", shown(&self.scanner.redact(&other.to_string()))),
                };
                let outcome = if matches!(e, Error::Capacity(_)) { "limit" } else { "unavailable" };
                self.end(None, why, Outcome::Failed(outcome.to_owned()))
            }
            None => {
                let why = "the connection was closed without a farewell".to_owned();
                self.end(None, why, Outcome::Failed("unavailable".to_owned()))
            }
        };
        // Its end is noted: whoever drops this now is told the same again. The library answers a farewell by itself, once it may write.
        let code = match &news {
            Incoming::Closed { code: None, reason } if reason.contains("larger than") => CloseCode::Size,
            _ => CloseCode::Normal,
        };
        let _ = tokio::time::timeout(FAREWELL, self.stream.close(Some(CloseFrame { code, reason: "".into() }))).await;
        news
    }

    fn end(&mut self, code: Option<u16>, reason: String, outcome: Outcome) -> Incoming {
        self.ticket.record.outcome = outcome;
        let end = Incoming::Closed { code, reason };
        self.ended = Some(end.clone());
        end
    }

    async fn rescan(&mut self, policy: &Policy, secrets: &dyn SecretSource) {
        let door = Door(Arc::clone(&self.inner));
        // What cannot be read now was known when it was opened.
        if let Ok((_, _, scanner)) = door.secrets(policy, secrets, None, &[]).await {
            self.scanner = scanner;
        }
        self.scanned = Instant::now();
    }

    /// Whether a message would be a login: a rule that says so sets a secret in it.
    pub fn is_login(&self, policy: &Policy, text: bool, data: &[u8]) -> bool {
        let Ok(socket) = self.granted(policy) else { return false };
        if !text || !socket.inject.iter().any(|i| i.login) {
            return false;
        }
        let logins: Vec<Inject> = rules(&socket.inject, |i| i.login);
        !inject::wanted(data, &logins).is_empty()
    }

    /// Sends a message. Where a rule says so, and the guest left `null`, a secret is set in it.
    ///
    /// # Errors
    /// [`EgressError::Denied`] and [`EgressError::Limit`]: the message was refused and the socket stands. Else the socket is of no use any
    /// more.
    pub async fn send(
        &mut self,
        policy: &Policy,
        secrets: &dyn SecretSource,
        text: bool,
        data: Vec<u8>,
    ) -> Result<(), EgressError> {
        if data.len() > self.max_frame {
            return Err(EgressError::Limit(format!(
                "a message of {} bytes was not sent; {} are allowed (`max-frame` in its manifest)",
                data.len(),
                self.max_frame
            )));
        }
        let inject = self.granted(policy)?.inject.as_slice();
        let mut data = data;
        if text && !inject.is_empty() {
            let rules = rules(inject, |_| true);
            let mut values = BTreeMap::new();
            for name in inject::wanted(&data, &rules) {
                match secrets.get(&name).await {
                    Ok(value) => drop(values.insert(name, value)),
                    // It works without it, as a request does.
                    Err(_) if policy.optional_secrets.contains(&name) => {}
                    Err(denial) => return Err(EgressError::Denied(denial)),
                }
            }
            if !values.is_empty() {
                if !dial::is_safe(&self.origin) {
                    return Err(dial::unencrypted(policy, &self.endpoint, &self.origin));
                }
                // What comes back may hold it.
                self.rescan(policy, secrets).await;
                if let Some(injected) = inject::inject(&data, &rules, &values) {
                    data = injected.to_vec();
                }
            }
        }
        let size = data.len() as u64;
        let message = if text {
            let text =
                String::from_utf8(data).map_err(|_| EgressError::Invalid("a message of text is not UTF-8".into()))?;
            Message::text(text)
        } else {
            Message::binary(data)
        };
        self.write(message).await?;
        self.ticket.record.bytes_out += size;
        Ok(())
    }

    /// Asks whether somebody is there.
    ///
    /// # Errors
    /// The socket is of no use any more.
    pub async fn ping(&mut self) -> Result<(), EgressError> {
        self.write(Message::Ping(Vec::new().into())).await
    }

    async fn write(&mut self, message: Message) -> Result<(), EgressError> {
        let gone = |why: String| EgressError::Unavailable(format!("the socket cannot be written to: {why}"));
        match tokio::time::timeout(WRITE, self.stream.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(e)) => Err(gone(shown(&self.scanner.redact(&e.to_string())))),
            Err(_) => Err(gone(format!("nothing was taken within {} s", WRITE.as_secs()))),
        }
    }

    /// Says that it is to end. What was under way still comes, then its end.
    pub async fn close(&mut self, code: u16, reason: &str) {
        let frame = CloseFrame { code: CloseCode::from(code), reason: reason.to_owned().into() };
        let _ = tokio::time::timeout(FAREWELL, self.stream.send(Message::Close(Some(frame)))).await;
    }
}

fn rules(inject: &[FrameInject], which: impl Fn(&FrameInject) -> bool) -> Vec<Inject> {
    inject.iter().filter(|i| which(i)).map(|i| i.rule.clone()).collect()
}
