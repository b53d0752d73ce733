//! What the command line itself says over the network: a client for a kernel that runs on this machine, and [`probe`], which
//! asks what else is served here. Both speak plain http to loopback and nothing else.

use crate::error::{EgressError, shown};
use crate::origin::{Origin, parse_url};
use crate::path::Relative;
use crate::transport::{describe, loopback};
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{SinkExt as _, StreamExt as _};
use http::Method;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use std::fmt;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{self, Message};
use url::Url;
use zeroize::Zeroizing;

/// Until a whole answer to [`Client::get`] and [`Client::post`], or the head of a stream.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The largest message of a WebSocket.
const MAX_MESSAGE: usize = 4 << 20;
/// The largest JSON answer.
const MAX_ANSWER: usize = 32 << 20;

/// Until a whole answer to [`probe`]: whatever runs here answers at once, and what does not is not waited for.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);
/// The largest answer to it.
const MAX_PROBED: usize = 1 << 20;

/// Asks a server on this machine for one JSON document, such as its list of models: no credential goes along, no redirect is
/// followed, and it has two seconds and 1 MiB.
///
/// `base` may have a path (`http://127.0.0.1:8080/v1`); `path` is below it.
///
/// # Errors
/// `base` is not plain http to this machine; nobody answered, or not like that.
pub async fn probe(base: &str, path: &str) -> Result<Answer, EgressError> {
    let url = here(base, "a server on this machine")?;
    let url = Relative::parse(path)?.join(&url, "")?;
    let exchange = async {
        let request = loopback()?.get(url).header(ACCEPT, "application/json");
        let response = request.send().await.map_err(|e| {
            EgressError::Unavailable(format!("nobody answered at `{}`: {}", shown(base), describe(&e.without_url())))
        })?;
        let status = response.status().as_u16();
        let body = whole(Events { status, stream: response.bytes_stream().boxed() }, MAX_PROBED).await?;
        Ok(Answer { status, body })
    };
    let late =
        || EgressError::Timeout(format!("`{}` did not answer within {} s", shown(base), PROBE_TIMEOUT.as_secs()));
    tokio::time::timeout(PROBE_TIMEOUT, exchange).await.unwrap_or_else(|_| Err(late()))
}

/// A URL of plain http to this machine.
fn here(base: &str, what: &str) -> Result<Url, EgressError> {
    let url = parse_url(base)?;
    let origin = Origin::of(&url)?;
    if origin.is_https() || !origin.is_loopback() {
        return Err(EgressError::Invalid(format!("`{}` is not {what}; use http://127.0.0.1:PORT", shown(base))));
    }
    Ok(url)
}

/// A whole body: JSON, a string if it was something else, null if it was empty.
async fn whole(mut events: Events, largest: usize) -> Result<Value, EgressError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = events.next().await? {
        if bytes.len() + chunk.len() > largest {
            return Err(EgressError::Limit(format!("the answer is larger than {} MiB", largest >> 20)));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(match serde_json::from_slice(&bytes) {
        Ok(json) => json,
        Err(_) if bytes.is_empty() => Value::Null,
        Err(_) => Value::String(String::from_utf8_lossy(&bytes).into_owned()),
    })
}

/// A client of one running kernel.
pub struct Client {
    http: reqwest::Client,
    base: Url,
    token: Option<SecretString>,
    headers: HeaderMap,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("base", &self.base.as_str()).finish_non_exhaustive()
    }
}

/// A whole answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// The body as JSON; a string if it was something else, null if it was empty.
    pub body: Value,
}

/// A stream of bytes, such as server-sent events.
pub struct Events {
    /// Status code.
    pub status: u16,
    stream: BoxStream<'static, reqwest::Result<Bytes>>,
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").field("status", &self.status).finish_non_exhaustive()
    }
}

impl Events {
    /// The next bytes as they come; none at the end. Waits without a deadline: an event may take its time.
    ///
    /// # Errors
    /// The stream broke off.
    pub async fn next(&mut self) -> Result<Option<Bytes>, EgressError> {
        self.stream
            .next()
            .await
            .transpose()
            .map_err(|e| EgressError::Unavailable(format!("the answer broke off: {}", describe(&e.without_url()))))
    }
}

fn bearer(token: &SecretString) -> Result<HeaderValue, EgressError> {
    let value = Zeroizing::new(format!("Bearer {}", token.expose_secret()));
    let mut value = HeaderValue::from_str(&value).map_err(|_| {
        EgressError::Invalid("the gateway token holds characters that a header cannot carry".to_owned())
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// What came of asking for a WebSocket.
#[derive(Debug)]
pub enum Answered {
    /// It is open.
    Socket(Talk),
    /// The kernel refused.
    Other(Answer),
}

/// An open WebSocket to a kernel. Dropping it cuts the connection.
#[derive(Debug)]
pub struct Talk(Box<WebSocketStream<TcpStream>>);

impl Talk {
    /// Sends a text.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn say(&mut self, text: String) -> Result<(), EgressError> {
        self.0.send(Message::Text(text.into())).await.map_err(|e| EgressError::Unavailable(e.to_string()))
    }

    /// The next text; none when the kernel ended it with 1000.
    ///
    /// # Errors
    /// It ended in another way: what it said, or that the connection is gone.
    pub async fn next(&mut self) -> Result<Option<String>, EgressError> {
        loop {
            let message = self.0.next().await.transpose().map_err(|e| EgressError::Unavailable(e.to_string()))?;
            match message {
                Some(Message::Text(text)) => return Ok(Some(text.as_str().to_owned())),
                Some(Message::Close(Some(close))) if close.code == CloseCode::Normal => return Ok(None),
                Some(Message::Close(Some(close))) => {
                    return Err(EgressError::Unavailable(close.reason.as_str().to_owned()));
                }
                Some(Message::Close(None)) | None => {
                    return Err(EgressError::Unavailable("the connection is gone".to_owned()));
                }
                Some(_) => {}
            }
        }
    }
}

impl Client {
    /// A client for `http://127.0.0.1:PORT`, `http://[::1]:PORT` or `http://localhost:PORT`; the token goes out as a bearer.
    ///
    /// # Errors
    /// The URL isn't plain http to this machine.
    pub fn new(base: &str, token: Option<SecretString>) -> Result<Self, EgressError> {
        let url = here(base, "a kernel on this machine")?;
        Ok(Self { http: loopback()?, base: url, token, headers: HeaderMap::new() })
    }

    /// Sends a header with every request.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// `GET path`
    ///
    /// # Errors
    /// The kernel could not be reached or broke off. A status is not an error.
    pub async fn get(&self, path: &str) -> Result<Answer, EgressError> {
        self.whole(Method::GET, path, None).await
    }

    /// `POST path` with a JSON body.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn post(&self, path: &str, body: &Value) -> Result<Answer, EgressError> {
        self.whole(Method::POST, path, Some(body)).await
    }

    /// `GET` (without a body) or `POST`, answered by a stream.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn events(&self, path: &str, body: Option<&Value>) -> Result<Events, EgressError> {
        let method = if body.is_some() { Method::POST } else { Method::GET };
        let response = self.send(method, path, body, "text/event-stream").await?;
        Ok(Events { status: response.status().as_u16(), stream: response.bytes_stream().boxed() })
    }

    /// A WebSocket at `path`, of text messages, in which nothing is larger than 4 MiB.
    ///
    /// # Errors
    /// The kernel could not be reached, or answered something else: [`Answered::Other`] has it.
    #[allow(clippy::disallowed_methods, reason = "this room owns client sockets")]
    pub async fn socket(&self, path: &str) -> Result<Answered, EgressError> {
        let url = Relative::parse(path)?.join(&self.base, "")?;
        let (host, port) = (url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or(80));
        let unreachable =
            |why: String| EgressError::Unavailable(format!("no kernel answered at `{}`: {why}", self.base));
        let mut request =
            url.as_str().replacen("http", "ws", 1).into_client_request().map_err(|e| unreachable(e.to_string()))?;
        request.headers_mut().extend(self.headers.clone());
        if let Some(token) = &self.token {
            request.headers_mut().insert(AUTHORIZATION, bearer(token)?);
        }
        let open = async {
            let host = host.trim_start_matches('[').trim_end_matches(']');
            let stream = TcpStream::connect((host, port)).await.map_err(|e| unreachable(e.to_string()))?;
            let limits =
                WebSocketConfig::default().max_message_size(Some(MAX_MESSAGE)).max_frame_size(Some(MAX_MESSAGE));
            match tokio_tungstenite::client_async_with_config(request, stream, Some(limits)).await {
                Ok((stream, _)) => Ok(Answered::Socket(Talk(Box::new(stream)))),
                Err(tungstenite::Error::Http(response)) => {
                    let body = response.body().as_deref().unwrap_or_default();
                    let body = serde_json::from_slice(body)
                        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(body).into_owned()));
                    Ok(Answered::Other(Answer { status: response.status().as_u16(), body }))
                }
                Err(e) => Err(unreachable(e.to_string())),
            }
        };
        tokio::time::timeout(TIMEOUT, open).await.unwrap_or_else(|_| Err(self.late()))
    }

    async fn whole(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Answer, EgressError> {
        let exchange = async {
            let response = self.send(method, path, body, "application/json").await?;
            let status = response.status().as_u16();
            let body = whole(Events { status, stream: response.bytes_stream().boxed() }, MAX_ANSWER).await?;
            Ok(Answer { status, body })
        };
        tokio::time::timeout(TIMEOUT, exchange).await.unwrap_or_else(|_| Err(self.late()))
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        accept: &'static str,
    ) -> Result<reqwest::Response, EgressError> {
        let url = Relative::parse(path)?.join(&self.base, "")?;
        let mut request = self.http.request(method, url).headers(self.headers.clone()).header(ACCEPT, accept);
        if let Some(body) = body {
            request = request.header(CONTENT_TYPE, "application/json").body(body.to_string());
        }
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, bearer(token)?);
        }
        let answered = tokio::time::timeout(TIMEOUT, request.send()).await.map_err(|_| self.late())?;
        answered.map_err(|e| {
            let hint = if e.is_connect() { "; is it running? start it with `carapace start`" } else { "" };
            EgressError::Unavailable(format!(
                "no kernel answered at `{}`: {}{hint}",
                self.base,
                describe(&e.without_url())
            ))
        })
    }

    fn late(&self) -> EgressError {
        EgressError::Timeout(format!("the kernel at `{}` did not answer within {} s", self.base, TIMEOUT.as_secs()))
    }
}
