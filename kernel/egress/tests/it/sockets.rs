//! WebSockets: where they may lead, what goes along, what comes in.

use crate::support::{Ledger, Names, PUBLIC_A, SECRET, Vault, instance, internet, link_rule};
use carapace_contract::capability::{CapabilitySet, HttpCapability, SecretCapability, SocketCapability};
use carapace_contract::limits::Limits;
use carapace_contract::manifest::{Auth, FrameInject, Inject};
use carapace_contract::{EndpointName, SecretName};
use carapace_egress::{Connect, Door, EgressError, Incoming, Outcome, Policy, Recorder, Refused, Socket, SocketPlace};
use futures::{SinkExt as _, StreamExt as _};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Bytes, Message};
use tokio_util::sync::CancellationToken;

/// What a server saw: the request's line and headers, then each message.
type Seen = Arc<Mutex<Vec<String>>>;

/// A server that notes everything, repeats every message, and does what `!…` tells it.
async fn serve(acceptor: Option<tokio_rustls::TlsAcceptor>) -> (SocketAddr, Seen) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Seen::default();
    let log = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (log, acceptor) = (Arc::clone(&log), acceptor.clone());
            tokio::spawn(async move {
                match acceptor {
                    None => talk(stream, log).await,
                    Some(acceptor) => {
                        if let Ok(tls) = acceptor.accept(stream).await {
                            talk(tls, log).await;
                        }
                    }
                }
            });
        }
    });
    (address, seen)
}

async fn talk<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>(stream: S, log: Seen) {
    let noted = Arc::clone(&log);
    #[allow(clippy::result_large_err, reason = "the library's own signature")]
    let head = move |request: &Request, response: Response| {
        let mut line = request.uri().to_string();
        for (name, value) in request.headers() {
            line += &format!("\n{name}: {}", value.to_str().unwrap());
        }
        noted.lock().unwrap().push(line);
        if request.uri().path() == "/refuse" {
            let mut refusal = ErrorResponse::new(Some(format!("a text that nobody sees, {SECRET}")));
            *refusal.status_mut() = http::StatusCode::TOO_MANY_REQUESTS;
            return Err(refusal);
        }
        Ok(response)
    };
    let Ok(mut socket) = tokio_tungstenite::accept_hdr_async(stream, head).await else { return };
    while let Some(Ok(message)) = socket.next().await {
        match message {
            Message::Text(text) if text.as_str() == "!end" => {
                let reason = format!("your {SECRET} is over").into();
                let _ = socket.close(Some(CloseFrame { code: 4004.into(), reason })).await;
            }
            Message::Text(text) if text.as_str() == "!large" => {
                let _ = socket.send(Message::binary(vec![7; 70_000])).await;
            }
            Message::Text(text) if text.as_str() == "!ping" => {
                let _ = socket.send(Message::Ping(Bytes::new())).await;
            }
            Message::Text(text) => {
                log.lock().unwrap().push(text.to_string());
                let _ = socket.send(Message::text(text)).await;
            }
            Message::Binary(data) => {
                log.lock().unwrap().push(format!("{} bytes", data.len()));
                let _ = socket.send(Message::binary(data)).await;
            }
            Message::Close(_) => log.lock().unwrap().push("closed".into()),
            _ => {}
        }
    }
}

fn name() -> EndpointName {
    "gateway".parse().unwrap()
}

fn asked(url: Option<&str>, hosts: &[&str]) -> SocketCapability {
    SocketCapability {
        url: url.map(|u| u.parse().unwrap()),
        url_env: None,
        hosts: hosts.iter().map(|h| (*h).to_owned()).collect(),
        auth: Auth::None,
        inject: Vec::new(),
        spool: false,
        logins_per_day: None,
        max_frame: 64 << 10,
    }
}

fn token(login: bool) -> FrameInject {
    let when = BTreeMap::from([("/op".to_owned(), vec![json!(2)])]);
    FrameInject { rule: Inject { at: "/d/token".into(), when, secret: "key".parse().unwrap() }, login }
}

fn policy(socket: SocketCapability, operator: Option<&str>) -> Policy {
    try_policy(socket, operator).unwrap()
}

fn try_policy(socket: SocketCapability, operator: Option<&str>) -> Result<Policy, carapace_contract::Denial> {
    let key: SecretName = "key".parse().unwrap();
    let granted = CapabilitySet {
        sockets: [(name(), socket)].into(),
        secrets: [(key, SecretCapability { env: None, hmac: false })].into(),
        ..CapabilitySet::none()
    };
    let overrides = operator.map(|url| (name(), url.parse().unwrap())).into_iter().collect();
    Policy::new(instance(), &granted, &overrides, Limits::default())
}

fn at(place: SocketPlace) -> Connect {
    Connect { endpoint: "gateway".into(), place, headers: Vec::new() }
}

fn path(path: &str) -> Connect {
    at(SocketPlace::Path(path.into()))
}

fn url(url: &str) -> Connect {
    at(SocketPlace::Url(url.into()))
}

async fn connect(door: &Door, policy: &Policy, vault: &Vault, connect: Connect) -> Result<Socket, Refused> {
    door.connect(policy, vault, connect, CancellationToken::new()).await
}

async fn code(policy: &Policy, to: Connect) -> String {
    let refused = connect(&Door::builder().build(), policy, &Vault::key(), to).await.unwrap_err();
    refused.error.code().to_owned()
}

fn text(data: &str) -> Incoming {
    Incoming::Message { text: true, data: data.as_bytes().to_vec() }
}

#[tokio::test]
async fn a_socket_under_a_url_is_authenticated_by_the_kernel_and_says_so_to_nobody() {
    let (address, seen) = serve(None).await;
    let auth = Auth::Bearer { secret: "key".parse().unwrap() };
    let granted = SocketCapability { auth, ..asked(Some("wss://signed.example.com/v1"), &[]) };
    let policy = policy(granted, Some(&format!("ws://{address}/base")));
    let ledger = Arc::new(Ledger::default());
    let door = Door::builder().recorder(Arc::clone(&ledger) as Arc<dyn Recorder>).build();
    let vault = Vault::key();
    let mut connect_ = path("/events?v=1");
    connect_.headers = vec![("x-own".into(), "mine".into()), ("sec-websocket-protocol".into(), "chat".into())];
    // The server speaks no such protocol, and says nothing about it.
    let refused = connect(&door, &policy, &vault, connect_.clone()).await.unwrap_err();
    assert!(matches!(refused.error, EgressError::Unavailable(_)), "{refused}");
    connect_.headers.pop();
    let mut socket = connect(&door, &policy, &vault, connect_).await.unwrap();
    let head = seen.lock().unwrap().last().unwrap().clone();
    assert!(head.starts_with("/base/events?v=1\n"), "{head}");
    assert!(head.contains(&format!("authorization: Bearer {SECRET}")) && head.contains("x-own: mine"), "{head}");
    assert!(head.contains(&format!("host: {address}")) && head.contains("user-agent: carapace/"), "{head}");
    assert_eq!(socket.endpoint(), &name());

    // Whoever knows the secret may say it; nobody here hears it.
    socket.send(&policy, &vault, true, b"hello".to_vec()).await.unwrap();
    assert_eq!(socket.next(&policy, &vault).await, text("hello"));
    socket.send(&policy, &vault, true, format!("it is {SECRET}").into_bytes()).await.unwrap();
    assert_eq!(socket.next(&policy, &vault).await, text("it is [redacted]"));
    socket.send(&policy, &vault, false, format!("\0{SECRET}\u{1}").into_bytes()).await.unwrap();
    let clean = Incoming::Message { text: false, data: b"\0[redacted]\x01".to_vec() };
    assert_eq!(socket.next(&policy, &vault).await, clean);
    socket.send(&policy, &vault, true, b"!ping".to_vec()).await.unwrap();
    assert_eq!(socket.next(&policy, &vault).await, Incoming::Alive);
    socket.ping().await.unwrap();
    assert_eq!(socket.next(&policy, &vault).await, Incoming::Alive);
    socket.send(&policy, &vault, true, b"!end".to_vec()).await.unwrap();
    let end = Incoming::Closed { code: Some(4004), reason: "your [redacted] is over".into() };
    assert_eq!(socket.next(&policy, &vault).await, end);
    assert_eq!(socket.next(&policy, &vault).await, end, "and nothing after it");
    drop(socket);
    let records = ledger.0.lock().unwrap().clone();
    let kinds: Vec<_> = records.iter().map(|r| (r.method.as_str(), r.outcome.clone())).collect();
    assert_eq!(kinds[1..], [("WEBSOCKET", Outcome::Status(101)), ("WEBSOCKET-CLOSE", Outcome::Status(4004))]);
    assert_eq!(records[2].origin.as_deref(), Some(format!("ws://{address}").as_str()));
    assert_eq!(records[2].path.as_deref(), Some("/base/events"));
    assert!(records[2].leak_found && records[2].bytes_in > 40 && records[2].bytes_out > 40, "{:?}", records[2]);
}

#[tokio::test]
async fn a_secret_is_set_in_a_message_where_the_guest_left_null_and_nowhere_else() {
    let (address, seen) = serve(None).await;
    let granted = SocketCapability { inject: vec![token(true)], ..asked(None, &["gateway.example.com"]) };
    let policy = policy(granted, Some(&format!("ws://{address}")));
    let (door, vault) = (Door::builder().build(), Vault::key());
    let mut socket = connect(&door, &policy, &vault, url("wss://gateway.example.com/?v=10")).await.unwrap();
    assert!(seen.lock().unwrap()[0].starts_with("/?v=10\n"));
    let identify = br#"{"op":2,"d":{"token":null}}"#.to_vec();
    for (message, login) in [
        (r#"{"op":2,"d":{"token":null}}"#, true),
        (r#"{"op":1,"d":{"token":null}}"#, false),
        (r#"{"op":2,"d":{"token":"{{secret:key}}"}}"#, false),
        ("no JSON", false),
    ] {
        assert_eq!(socket.is_login(&policy, true, message.as_bytes()), login, "{message}");
        socket.send(&policy, &vault, true, message.as_bytes().to_vec()).await.unwrap();
    }
    assert!(!socket.is_login(&policy, false, &identify), "bytes are no JSON text");
    let answer = socket.next(&policy, &vault).await;
    assert_eq!(answer, text(r#"{"op":2,"d":{"token":"[redacted]"}}"#), "the server repeated it");
    for _ in 0..3 {
        socket.next(&policy, &vault).await;
    }
    let got = seen.lock().unwrap().clone();
    assert_eq!(got[1], format!(r#"{{"op":2,"d":{{"token":"{SECRET}"}}}}"#));
    assert_eq!(got[2..], [r#"{"op":1,"d":{"token":null}}"#, r#"{"op":2,"d":{"token":"{{secret:key}}"}}"#, "no JSON"]);

    // Without the secret the message does not leave; the socket stands.
    let error = socket.send(&policy, &Vault::default(), true, identify.clone()).await.unwrap_err();
    assert_eq!(error.code(), "E-SECRET-001");
    socket.send(&policy, &vault, true, b"still there".to_vec()).await.unwrap();
    assert_eq!(socket.next(&policy, &vault).await, text("still there"));

    // What was taken away bites at the next message.
    let revoked = Policy { sockets: BTreeMap::new(), ..policy.clone() };
    assert_eq!(socket.check(&revoked).unwrap_err().code, "E-EGRESS-001");
    assert_eq!(socket.send(&revoked, &vault, true, identify.clone()).await.unwrap_err().code(), "E-EGRESS-001");
    let elsewhere = self::policy(asked(None, &["gateway.example.com"]), Some("ws://127.0.0.1:1"));
    assert_eq!(socket.send(&elsewhere, &vault, true, identify).await.unwrap_err().code(), "E-EGRESS-005");
}

#[tokio::test]
async fn a_socket_leads_only_where_its_hosts_are_and_only_over_tls() {
    let granted = policy(asked(None, &["gateway.example.com", "*.gw.example.com"]), None);
    for there in [
        "wss://evil.example.com/",
        "wss://gw.example.com/",
        "wss://gateway.example.com.evil.net/",
        "wss://gateway.example.com:8443/",
        "ws://gateway.example.com/",
    ] {
        assert_eq!(code(&granted, url(there)).await, "E-EGRESS-005", "{there}");
    }
    for there in
        ["https://gateway.example.com/", "wss://u:p@gateway.example.com/", "wss://gateway.example.com /", "x", ""]
    {
        assert_eq!(code(&granted, url(there)).await, "invalid", "{there}");
    }
    assert_eq!(code(&granted, path("/")).await, "invalid", "there is no URL that it could lie under");
    assert_eq!(code(&granted, at(SocketPlace::Handle("handle:0".into()))).await, "invalid");
    let other = Connect { endpoint: "other".into(), ..path("/") };
    assert_eq!(code(&granted, other).await, "E-EGRESS-001");
    let kernels =
        Connect { headers: vec![("Sec-WebSocket-Key".into(), "x".into())], ..url("wss://gateway.example.com/") };
    assert_eq!(code(&granted, kernels).await, "E-EGRESS-004");
    let host = Connect { headers: vec![("Host".into(), "x".into())], ..url("wss://gateway.example.com/") };
    assert_eq!(code(&granted, host).await, "E-EGRESS-004");

    let refused = connect(&Door::builder().build(), &granted, &Vault::key(), url("wss://evil.example.com/")).await;
    let error = refused.unwrap_err().to_string();
    assert!(error.contains("may not lead to `wss://evil.example.com`"), "{error}");
    assert!(error.contains("wss://*.gw.example.com, wss://gateway.example.com"), "{error}");

    let fixed = policy(asked(Some("wss://events.example.com/v1"), &[]), None);
    assert_eq!(code(&fixed, url("wss://events.example.com/v2")).await, "E-EGRESS-005", "outside its base");
    assert_eq!(code(&fixed, path("/../v2")).await, "invalid");
    let denial = try_policy(asked(Some("ws://events.example.com/v1"), &[]), None).unwrap_err();
    assert_eq!(denial.code, "E-EGRESS-015");
}

#[tokio::test]
async fn names_that_lead_into_private_networks_are_refused_before_anything_is_dialled() {
    let granted = policy(asked(None, &["*.example.com"]), None);
    let names = Names::new(&[("a.example.com", &[&["10.0.0.7".parse().unwrap()]])]);
    let door = internet(&names, &[]).build();
    let refused = connect(&door, &granted, &Vault::key(), url("wss://a.example.com/")).await.unwrap_err();
    assert_eq!(refused.error.code(), "E-EGRESS-007", "{refused}");
    // Where an operator points it, a private address is theirs; plain ws with a secret beyond this machine is not.
    let keyed = SocketCapability { inject: vec![token(false)], ..asked(None, &["*.example.com"]) };
    let pointed = policy(keyed, Some("ws://10.0.0.7:9"));
    let refused = connect(&door, &pointed, &Vault::key(), url("wss://a.example.com/")).await.unwrap_err();
    assert_eq!(refused.error.code(), "E-EGRESS-009", "{refused}");
    assert!(refused.to_string().contains("`ws://10.0.0.7:9`"), "{refused}");
    let metadata = policy(asked(None, &["*.example.com"]), Some("ws://metadata.internal.example"));
    let names = Names::new(&[("metadata.internal.example", &[&["169.254.169.254".parse().unwrap()]])]);
    let refused = connect(&internet(&names, &[]).build(), &metadata, &Vault::key(), path("/")).await.unwrap_err();
    assert_eq!(refused.error.code(), "E-EGRESS-014", "{refused}");
}

#[tokio::test]
async fn over_tls_the_name_is_verified_and_resolved_once() {
    let made = rcgen::generate_simple_self_signed(vec!["gateway.example.com".to_owned()]).unwrap();
    let der = made.cert.der().clone();
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![der.clone()], key)
        .unwrap();
    let (address, _) = serve(Some(tokio_rustls::TlsAcceptor::from(Arc::new(config)))).await;
    let granted = policy(asked(None, &["*.example.com"]), None);
    let names = Names::new(&[("gateway.example.com", &[&[PUBLIC_A]]), ("other.example.com", &[&[PUBLIC_A]])]);
    let door = internet(&names, &[(PUBLIC_A, address)]).extra_root(der.to_vec()).build();
    let vault = Vault::key();
    let mut socket = connect(&door, &granted, &vault, url("wss://gateway.example.com/x")).await.unwrap();
    assert_eq!(*names.asked.lock().unwrap(), ["gateway.example.com"]);
    socket.send(&granted, &vault, true, b"over TLS".to_vec()).await.unwrap();
    assert_eq!(socket.next(&granted, &vault).await, text("over TLS"));
    let wrong = connect(&door, &granted, &vault, url("wss://other.example.com/x")).await.unwrap_err();
    assert!(matches!(wrong.error, EgressError::Unavailable(_)), "{wrong}");
}

#[tokio::test]
async fn what_is_no_websocket_is_told_by_its_status_and_nothing_else() {
    let (address, _) = serve(None).await;
    let granted = policy(asked(Some("wss://signed.example.com"), &[]), Some(&format!("http://{address}")));
    let door = Door::builder().build();
    let refused = connect(&door, &granted, &Vault::key(), path("/refuse")).await.unwrap_err();
    assert_eq!(refused.status, Some(429));
    let said = refused.to_string();
    assert!(said.contains("answered 429") && !said.contains("nobody sees") && !said.contains(SECRET), "{said}");
    let nobody = policy(asked(Some("wss://signed.example.com"), &[]), Some("ws://127.0.0.1:1"));
    let refused = connect(&door, &nobody, &Vault::key(), path("/")).await.unwrap_err();
    assert!(matches!(refused.error, EgressError::Unavailable(_)) && refused.status.is_none(), "{refused}");
}

#[tokio::test]
async fn a_message_that_is_too_large_ends_the_socket_and_none_is_sent() {
    let (address, seen) = serve(None).await;
    let granted = policy(asked(Some("wss://signed.example.com"), &[]), Some(&format!("ws://{address}")));
    let (door, vault) = (Door::builder().build(), Vault::key());
    let mut socket = connect(&door, &granted, &vault, path("")).await.unwrap();
    let error = socket.send(&granted, &vault, true, vec![b'x'; (64 << 10) + 1]).await.unwrap_err();
    assert!(matches!(error, EgressError::Limit(_)) && error.to_string().contains("65536"), "{error}");
    socket.send(&granted, &vault, false, vec![b'x'; 64 << 10]).await.unwrap();
    assert!(matches!(socket.next(&granted, &vault).await, Incoming::Message { text: false, .. }));
    assert_eq!(seen.lock().unwrap()[1], "65536 bytes");
    socket.send(&granted, &vault, true, b"!large".to_vec()).await.unwrap();
    let Incoming::Closed { code: None, reason } = socket.next(&granted, &vault).await else { panic!() };
    assert!(reason.contains("larger than 65536 bytes") && reason.contains("max-frame"), "{reason}");
}

#[tokio::test]
async fn a_link_that_was_captured_opens_a_socket_that_nobody_has_seen() {
    let (address, seen) = serve(None).await;
    let link = format!("ws://{address}/link?ticket=very-secret-ticket");
    let body = json!({ "ok": true, "url": link }).to_string();
    let app = axum::Router::new().route("/open", axum::routing::post(move || async move { body }));
    let http = crate::support::serve(app).await;
    let api =
        HttpCapability { capture: BTreeSet::from([link_rule()]), ..crate::support::asked("https://api.example.com") };
    let granted = CapabilitySet {
        http: [("api".parse().unwrap(), api)].into(),
        sockets: [(name(), asked(None, &["*.example.com"]))].into(),
        ..CapabilitySet::none()
    };
    let overrides = BTreeMap::from([
        ("api".parse().unwrap(), format!("http://{http}").parse().unwrap()),
        (name(), format!("ws://{address}").parse().unwrap()),
    ]);
    let policy = Policy::new(instance(), &granted, &overrides, Limits::default()).unwrap();
    let ledger = Arc::new(Ledger::default());
    let door = Door::builder().recorder(Arc::clone(&ledger) as Arc<dyn Recorder>).build();
    let vault = Vault::default();
    let mut answer = crate::support::send(&door, &policy, &vault, crate::support::api("POST", "/open")).await.unwrap();
    let answer: serde_json::Value = serde_json::from_str(&crate::support::text(&mut answer).await.unwrap()).unwrap();
    let handle = answer["url"].as_str().unwrap().to_owned();
    assert!(handle.starts_with("handle:"));
    let mut socket = connect(&door, &policy, &vault, at(SocketPlace::Handle(handle))).await.unwrap();
    assert!(seen.lock().unwrap()[0].starts_with("/link?ticket=very-secret-ticket"));
    // A server that repeats the link gives nothing away.
    socket.send(&policy, &vault, true, link.clone().into_bytes()).await.unwrap();
    assert_eq!(socket.next(&policy, &vault).await, text("[redacted]"));
    socket.close(1000, "done").await;
    assert!(matches!(socket.next(&policy, &vault).await, Incoming::Closed { code: Some(1000), .. }));
    drop(socket);
    let records = format!("{:?}", ledger.0.lock().unwrap());
    assert!(!records.contains("ticket") && !records.contains("/link"), "{records}");
}

#[tokio::test]
async fn waiting_for_a_message_can_be_given_up_without_losing_one() {
    let (address, _) = serve(None).await;
    let granted = policy(asked(Some("wss://signed.example.com"), &[]), Some(&format!("ws://{address}")));
    let (door, vault) = (Door::builder().build(), Vault::key());
    let mut socket = connect(&door, &granted, &vault, path("")).await.unwrap();
    for n in 0..200 {
        socket.send(&granted, &vault, true, n.to_string().into_bytes()).await.unwrap();
    }
    let mut got = Vec::new();
    while got.len() < 200 {
        tokio::select! {
            biased;
            incoming = socket.next(&granted, &vault) => got.push(incoming),
            () = tokio::task::yield_now() => {}
        }
    }
    assert_eq!(got, (0..200).map(|n| text(&n.to_string())).collect::<Vec<_>>());
}
