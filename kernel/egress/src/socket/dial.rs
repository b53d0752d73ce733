//! Opening a WebSocket: judged like a request, resolved like a request, recorded like a request.

use super::{Socket, Wire};
use crate::audit::{Outcome, Ticket};
use crate::door::Door;
use crate::error::{EgressError, shown};
use crate::headers;
use crate::origin::{MAX_URL, Origin, parse_url};
use crate::path::Relative;
use crate::plan;
use crate::policy::{Policy, SocketEndpoint, as_ws};
use crate::resolve::{Guarded, Rule};
use crate::secrets::SecretSource;
use crate::transport::{CONNECT, operator_rule};
use crate::{address, auth};
use carapace_contract::{Denial, EndpointName};
use http::header::{HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use rustls::pki_types::ServerName;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Utf8Bytes};
use tokio_util::sync::CancellationToken;
use url::Url;

/// Until the socket is open, resolving included.
const TIMEOUT: Duration = Duration::from_secs(30);
/// What stands for the method in the audit log, and what for the end of a socket.
const OPENED: &str = "WEBSOCKET";
const CLOSED: &str = "WEBSOCKET-CLOSE";

/// A socket that a guest wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connect {
    /// A granted `[[socket]]`.
    pub endpoint: String,
    /// Where to.
    pub place: SocketPlace,
    /// Of the handshake; the same are refused as in a request.
    pub headers: Vec<(String, String)>,
}

/// Where a socket leads, as the guest names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SocketPlace {
    /// `/path?query` under the granted URL; empty = the URL itself.
    Path(String),
    /// A URL that the granted hosts cover.
    Url(String),
    /// What a capture rule put in place of a link.
    Handle(String),
}

/// Why a socket did not come about.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct Refused {
    /// Why.
    pub error: EgressError,
    /// What the server answered, if that was no WebSocket.
    pub status: Option<u16>,
}

impl From<EgressError> for Refused {
    fn from(error: EgressError) -> Self {
        Self { error, status: None }
    }
}

impl From<Denial> for Refused {
    fn from(denial: Denial) -> Self {
        EgressError::Denied(denial).into()
    }
}

/// Where it goes, judged.
struct Place {
    /// With a scheme of HTTP.
    url: Url,
    origin: Origin,
    /// Somebody who may do so has named exactly this origin.
    named: bool,
    /// Under the granted URL: the kernel's credential belongs there.
    home: Option<String>,
    /// The address is a credential itself.
    concealed: bool,
}

impl Door {
    /// Opens a socket. One record is made of the attempt, and one of the socket's end.
    ///
    /// # Errors
    /// What the policy refuses, what is malformed, what reached a limit, what could not be reached, and what answered no WebSocket.
    pub async fn connect(
        &self,
        policy: &Policy,
        secrets: &dyn SecretSource,
        connect: Connect,
        cancel: CancellationToken,
    ) -> Result<Socket, Refused> {
        let recorder = Arc::clone(&self.0.recorder);
        let mut ticket = Ticket::new(recorder, policy.instance.clone(), OPENED.to_owned());
        let result = tokio::select! {
            biased;
            () = cancel.cancelled() => Err(EgressError::Cancelled.into()),
            result = tokio::time::timeout(TIMEOUT, self.open(policy, secrets, connect, &mut ticket)) => {
                result.unwrap_or_else(|_| {
                    Err(EgressError::Timeout(format!("the socket did not open within {} s", TIMEOUT.as_secs())).into())
                })
            }
        };
        match result {
            Ok(socket) => {
                ticket.record.outcome = Outcome::Status(101);
                Ok(socket)
            }
            Err(refused) => {
                match refused.status {
                    Some(status) => ticket.record.outcome = Outcome::Status(status),
                    None => ticket.failed(&refused.error),
                }
                // All rules are written for the schemes of HTTP.
                Err(Refused { error: refused.error.map_text(as_ws), ..refused })
            }
        }
    }

    async fn open(
        &self,
        policy: &Policy,
        secrets: &dyn SecretSource,
        connect: Connect,
        ticket: &mut Ticket,
    ) -> Result<Socket, Refused> {
        let (name, socket) = granted(policy, &connect.endpoint)?;
        let place = self.place(policy, name, socket, &connect.place)?;
        ticket.record.origin = Some(as_ws(&place.origin.to_string()));
        ticket.record.path = (!place.concealed).then(|| shown(place.url.path()));
        let home = socket.base.as_ref().filter(|_| place.home.is_some());
        let mut headers = headers::parse(&connect.headers, home.map(|base| (name, base)))?;
        check_headers(&headers)?;
        self.0.rates.take(&policy.instance, policy.limits.http_requests_per_minute, Instant::now())?;

        let (secret, _, scanner) = self.secrets(policy, secrets, home, &[]).await?;
        let mut keyed = secret.is_some();
        for inject in &socket.inject {
            keyed |= secrets.get(&inject.rule.secret).await.is_ok();
        }
        if keyed && !is_safe(&place.origin) {
            return Err(unencrypted(policy, name, &place.origin).into());
        }
        let wire = match (&place.home, home) {
            (Some(path), Some(base)) => auth::dress(base, secret.as_ref(), &Relative::parse(path)?, &mut headers)?,
            _ => place.url.clone(),
        };
        let clean = |refused: Refused| Refused { error: refused.error.map_text(|t| scanner.redact(t)), ..refused };
        let request = handshake(&wire, headers).map_err(clean)?;
        let rule = if place.named { operator_rule(&place.origin) } else { Rule::Public };
        let stream = self.wire(policy, name, &place.origin, rule).await.map_err(clean)?;
        let config = WebSocketConfig::default()
            .read_buffer_size(16 << 10)
            .write_buffer_size(0)
            .max_write_buffer_size(socket.max_frame.saturating_add(64 << 10))
            .max_message_size(Some(socket.max_frame))
            .max_frame_size(Some(socket.max_frame));
        ticket.record.sent = true;
        let opened = tokio_tungstenite::client_async_with_config(request, stream, Some(config)).await;
        let (stream, _) = opened.map_err(|e| clean(not_opened(&place.origin, e)))?;
        let mut end = Ticket::new(Arc::clone(&self.0.recorder), policy.instance.clone(), CLOSED.to_owned());
        end.record.origin.clone_from(&ticket.record.origin);
        end.record.path.clone_from(&ticket.record.path);
        end.record.sent = true;
        Ok(Socket {
            inner: Arc::clone(&self.0),
            stream,
            endpoint: name.clone(),
            origin: place.origin,
            max_frame: socket.max_frame,
            scanner,
            scanned: Instant::now(),
            ended: None,
            ticket: end,
        })
    }

    /// Judges where it is to go.
    fn place(
        &self,
        policy: &Policy,
        name: &EndpointName,
        socket: &SocketEndpoint,
        place: &SocketPlace,
    ) -> Result<Place, Refused> {
        let (text, concealed) = match place {
            SocketPlace::Path(path) => {
                let Some(base) = &socket.base else {
                    let why = format!(
                        "the socket `{name}` has no `url`; name an address that its hosts cover ({})",
                        socket.allows()
                    );
                    return Err(EgressError::Invalid(why).into());
                };
                let relative = Relative::parse(path)?;
                auth::check_query(&base.auth, &relative)?;
                let url = relative.join(&base.base, "")?;
                let (origin, named) = (base.origin.clone(), base.is_named());
                return Ok(Place { url, origin, named, home: Some(path.clone()), concealed: false });
            }
            SocketPlace::Url(url) => (zeroize::Zeroizing::new(url.clone()), false),
            SocketPlace::Handle(handle) => (self.0.handles.open(&policy.instance, handle)?.1, true),
        };
        let url = parse_ws(&text).map_err(|e| match e {
            // The link is the credential; its parse error would show it.
            _ if concealed => {
                EgressError::Invalid("the handle stands for something that is no address of a WebSocket".to_owned())
            }
            e => e,
        })?;
        let origin = Origin::of(&url)?;
        let Some(base) = &socket.base else {
            check_origin(policy, name, socket, &origin)?;
            return Ok(Place { url, origin, named: false, home: None, concealed });
        };
        if origin == base.origin && plan::relative_to(base, &url).is_some() {
            return Ok(Place { url, origin, named: base.is_named(), home: None, concealed });
        }
        if base.operator && socket.hosts.iter().any(|h| h.covers(&origin)) {
            // Where the operator points all of it: with the path and query that the platform named.
            let mut there = base.base.clone();
            there.set_path(&format!("{}{}", base.base.path().trim_end_matches('/'), url.path()));
            there.set_query(url.query());
            return Ok(Place { url: there, origin: base.origin.clone(), named: true, home: None, concealed });
        }
        Err(elsewhere(policy, name, socket, &origin).into())
    }

    /// A connection, encrypted where the scheme says so, to an address that was judged.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one door: sockets are opened here, after their addresses were judged"
    )]
    async fn wire(
        &self,
        policy: &Policy,
        name: &EndpointName,
        origin: &Origin,
        rule: Rule,
    ) -> Result<Box<dyn Wire>, Refused> {
        let pools = &self.0.pools;
        let judged = match (origin.ip(), origin.name()) {
            (Some(ip), _) => rule.check(ip),
            (None, Some(host)) if rule == Rule::Public => address::check_name(host),
            _ => Ok(()),
        };
        judged.map_err(|r| refused(policy, name, origin, &r))?;
        let unreachable =
            |why: &dyn std::fmt::Display| EgressError::Unavailable(format!("`{origin}` could not be reached: {why}"));
        let addresses = match (origin.ip(), origin.name()) {
            (Some(ip), _) => vec![SocketAddr::new(ip, origin.port())],
            (None, host) => {
                let host = host.unwrap_or_default();
                let found = Guarded::addresses(pools.resolver.as_ref(), rule, host).await.map_err(|e| {
                    e.downcast_ref::<address::Refusal>()
                        .map_or_else(|| unreachable(&e), |r| refused(policy, name, origin, r))
                })?;
                // Port 0: the URL's own.
                let dialled = found.into_iter().map(|ip| {
                    let to = pools.dial.as_ref().and_then(|dial| dial(ip)).unwrap_or_else(|| SocketAddr::new(ip, 0));
                    if to.port() == 0 { SocketAddr::new(to.ip(), origin.port()) } else { to }
                });
                dialled.collect()
            }
        };
        let mut failed = None;
        for address in addresses {
            match tokio::time::timeout(CONNECT, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    // Small messages leave at once; it works without, only later.
                    let _ = stream.set_nodelay(true);
                    return self.encrypted(origin, stream).await;
                }
                Ok(Err(e)) => failed = Some(unreachable(&e)),
                Err(_) => {
                    failed = Some(EgressError::Timeout(format!(
                        "`{origin}` could not be reached within {} s",
                        CONNECT.as_secs()
                    )));
                }
            }
        }
        Err(failed.unwrap_or_else(|| unreachable(&"it has no address")).into())
    }

    async fn encrypted(&self, origin: &Origin, stream: TcpStream) -> Result<Box<dyn Wire>, Refused> {
        if !origin.is_https() {
            return Ok(Box::new(stream));
        }
        let mut config = self.0.pools.tls().await?;
        // A WebSocket begins as HTTP/1.1.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let host = match (origin.ip(), origin.name()) {
            (Some(ip), _) => ServerName::IpAddress(ip.into()),
            (None, name) => ServerName::try_from(name.unwrap_or_default().to_owned())
                .map_err(|e| EgressError::Invalid(format!("`{origin}` is no name for TLS: {e}")))?,
        };
        let tls = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(host, stream).await;
        let tls = tls.map_err(|e| EgressError::Unavailable(format!("`{origin}` could not be reached: {e}")))?;
        Ok(Box::new(tls))
    }
}

/// The granted socket of that name.
pub(super) fn granted<'p>(policy: &'p Policy, name: &str) -> Result<(&'p EndpointName, &'p SocketEndpoint), Denial> {
    let found = name.parse::<EndpointName>().ok().and_then(|name| policy.sockets.get_key_value(&name));
    found.ok_or_else(|| {
        let known: Vec<String> = policy.sockets.keys().map(|k| format!("`{k}`")).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        Denial::new(
            "E-EGRESS-001",
            format!("{} was granted no socket `{}` (granted: {known})", policy.instance, shown(name)),
            format!("declare it as `[[socket]]` in carapace.toml, then `carapace plugin grant {}`", policy.instance),
        )
    })
}

/// Whether it may lead to this origin: one of its hosts, or exactly where its URL or its operator points.
pub(super) fn check_origin(
    policy: &Policy,
    name: &EndpointName,
    socket: &SocketEndpoint,
    origin: &Origin,
) -> Result<(), Denial> {
    let fits = match &socket.base {
        Some(base) => base.origin == *origin,
        None => socket.hosts.iter().any(|h| h.covers(origin)),
    };
    if fits { Ok(()) } else { Err(elsewhere(policy, name, socket, origin)) }
}

fn elsewhere(policy: &Policy, name: &EndpointName, socket: &SocketEndpoint, origin: &Origin) -> Denial {
    let (there, granted) = (as_ws(&origin.to_string()), socket.allows());
    Denial::new(
        "E-EGRESS-005",
        format!("the socket `{name}` of {} may not lead to `{there}` (granted: {granted})", policy.instance),
        format!(
            "add the host to `hosts` of `[[socket]]` `{name}` in carapace.toml, then `carapace plugin grant {}`",
            policy.instance
        ),
    )
}

fn refused(policy: &Policy, name: &EndpointName, origin: &Origin, refusal: &address::Refusal) -> EgressError {
    let code = match refusal {
        address::Refusal { metadata: true, .. } => "E-EGRESS-014",
        r if r.subject.parse::<std::net::IpAddr>().is_ok() => "E-EGRESS-007",
        _ => "E-EGRESS-008",
    };
    let message = format!("{} may not reach `{origin}`: {refusal}", policy.instance);
    EgressError::Denied(Denial::new(code, message, policy.config_line(name, &as_ws(&origin.to_string()))))
}

/// Whether a secret may travel there: encrypted, or not beyond this machine.
pub(super) fn is_safe(origin: &Origin) -> bool {
    origin.is_https() || origin.is_loopback()
}

pub(super) fn unencrypted(policy: &Policy, name: &EndpointName, origin: &Origin) -> EgressError {
    EgressError::Denied(Denial::new(
        "E-EGRESS-009",
        format!(
            "the socket `{name}` of {} cannot use `{}`: a secret would go along, and ws is allowed for secrets on this machine's loopback only",
            policy.instance,
            as_ws(&origin.to_string())
        ),
        policy.config_line(name, &as_ws(&origin.to_string().replacen("http:", "https:", 1))),
    ))
}

/// A WebSocket's URL, with the scheme of HTTP in its place.
fn parse_ws(text: &str) -> Result<Url, EgressError> {
    let (scheme, rest) = text.split_once("://").unwrap_or_default();
    let http = match scheme.to_ascii_lowercase().as_str() {
        "wss" => "https",
        "ws" => "http",
        _ => {
            return Err(EgressError::Invalid(format!(
                "`{}` is no address of a WebSocket; it begins with wss://",
                shown(text.split('?').next().unwrap_or_default())
            )));
        }
    };
    parse_url(&format!("{http}://{rest}"))
}

/// The handshake is the kernel's; only which protocol is spoken inside is the guest's.
fn check_headers(headers: &HeaderMap) -> Result<(), Refused> {
    let of_handshake =
        |n: &&HeaderName| n.as_str().starts_with("sec-websocket-") && n.as_str() != "sec-websocket-protocol";
    match headers.keys().find(of_handshake) {
        Some(name) => Err(Denial::new(
            "E-EGRESS-004",
            format!("the header `{name}` cannot be set by a component: the kernel sets or forbids it"),
            "",
        )
        .into()),
        None => Ok(()),
    }
}

fn handshake(wire: &Url, headers: HeaderMap) -> Result<Request, Refused> {
    if wire.as_str().len() > MAX_URL * 2 {
        return Err(EgressError::Invalid("the URL is too long".to_owned()).into());
    }
    // Only the scheme: what stands in the query is the guest's.
    let text = wire.as_str();
    let address = text.strip_prefix("http").map_or_else(|| text.to_owned(), |rest| format!("ws{rest}"));
    let mut request = address
        .into_client_request()
        .map_err(|_| EgressError::Invalid("the address cannot be asked for".to_owned()))?;
    let agent = HeaderValue::from_static(concat!("carapace/", env!("CARGO_PKG_VERSION")));
    request.headers_mut().insert(USER_AGENT, agent);
    request.headers_mut().extend(headers);
    Ok(request)
}

/// What the library's error means, with nothing in it that the server said but its status.
fn not_opened(origin: &Origin, e: Error) -> Refused {
    match e {
        Error::Http(response) => {
            let status = response.status().as_u16();
            let text = format!("`{origin}` opened no WebSocket: it answered {status}");
            Refused { error: EgressError::Unavailable(text), status: Some(status) }
        }
        other => {
            let why: Utf8Bytes = shown(&other.to_string()).into();
            EgressError::Unavailable(format!("`{origin}` opened no WebSocket: {why}")).into()
        }
    }
}
