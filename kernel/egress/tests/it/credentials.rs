use crate::support::*;
use axum::Router;
use axum::response::IntoResponse as _;
use axum::routing::any;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use carapace_contract::limits::Limits;
use carapace_contract::manifest::Auth;
use carapace_egress::{Door, EgressError, Policy};
use serde_json::json;

/// Sends everything it was sent back: in headers, in the body, plain, escaped and encoded.
fn mirror() -> Router {
    Router::new().fallback(any(|request: axum::extract::Request| async move {
        let (parts, body) = request.into_parts();
        let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
        let all = format!("{} {:?} {}", parts.uri, parts.headers, String::from_utf8_lossy(&body));
        let authorization = parts.headers.get("authorization").map(|v| v.to_str().unwrap_or("").to_owned());
        let mut response = json!({
            "all": all,
            "base64": STANDARD.encode(&all),
            "hex": hex::encode(&all),
            "query": parts.uri.query(),
        })
        .to_string()
        .into_response();
        let headers = response.headers_mut();
        headers.insert("set-cookie", format!("s={}", authorization.clone().unwrap_or_default()).parse().unwrap());
        headers.insert("www-authenticate", authorization.unwrap_or_default().parse().unwrap());
        headers.insert("x-target", parts.uri.to_string().parse().unwrap());
        response
    }))
}

fn schemes() -> Vec<Auth> {
    let secret = || "key".parse().unwrap();
    vec![
        bearer(),
        Auth::Header { name: "x-api-key".to_owned(), prefix: "v1 ".to_owned(), secret: secret() },
        Auth::Query { name: "key".to_owned(), secret: secret() },
        Auth::Basic { username: Some("robot".to_owned()), secret: secret() },
        Auth::PathPrefix { prefix: "/bot".to_owned(), secret: secret() },
    ]
}

#[tokio::test]
async fn a_reflecting_server_never_shows_the_secret_under_any_scheme() {
    let log = Log::default();
    let server = serve(logged(mirror(), &log)).await;
    for auth in schemes() {
        let ledger = std::sync::Arc::new(Ledger::default());
        let door = Door::builder().recorder(ledger.clone()).build();
        let policy = pointed(&format!("http://{server}/v1"), |h| h.auth = auth.clone());
        let request = with_body(api("POST", "/echo?a=b"), r#"{"x":1}"#);
        let mut response = send(&door, &policy, &Vault::key(), request).await.unwrap();
        let body = text(&mut response).await.unwrap();
        let visible = format!("{:?} {} {body}", response.headers, response.url);

        let seen = log.lock().unwrap().pop().unwrap();
        let scheme = auth.scheme();
        match &auth {
            Auth::Basic { .. } => {
                let expected = format!("Basic {}", STANDARD.encode(format!("robot:{SECRET}")));
                assert_eq!(seen.header("authorization"), Some(expected.as_str()));
            }
            Auth::Query { .. } => assert_eq!(seen.target, "/v1/echo?a=b&key=sk-live%2F7f3a%2B9c51%3D%3Dend"),
            Auth::PathPrefix { .. } => assert_eq!(seen.target, "/v1/botsk-live%2F7f3a+9c51==end/echo?a=b"),
            Auth::Header { .. } => assert_eq!(seen.header("x-api-key"), Some(format!("v1 {SECRET}").as_str())),
            _ => assert_eq!(seen.header("authorization"), Some(format!("Bearer {SECRET}").as_str())),
        }
        for fragment in [SECRET, "7f3a+9c51", "7f3a%2B9c51", &STANDARD.encode(SECRET)[4..20], &hex::encode(SECRET)] {
            assert!(!visible.to_lowercase().contains(&fragment.to_lowercase()), "{scheme}: {fragment} in {visible}");
        }
        assert!(visible.contains("[redacted]"), "{scheme}: {visible}");
        assert_eq!(response.url, format!("http://{server}/v1/echo"));
        drop(response);
        let record = ledger.one();
        assert!(record.leak_found, "{scheme}");
        assert_eq!(record.path.as_deref(), Some("/v1/echo"));
    }
}

#[tokio::test]
async fn every_secret_of_the_instance_is_looked_for_and_not_only_the_one_that_was_used() {
    let server = serve(Router::new().fallback(any(|| async { "it is other-secret-value!" }))).await;
    let mut policy = pointed(&format!("http://{server}"), |h| h.auth = bearer());
    policy.secrets.insert("other".parse().unwrap());
    let vault = Vault::with(&[("key", SECRET), ("other", "other-secret-value")]);
    let mut response = send(&Door::builder().build(), &policy, &vault, api("GET", "/")).await.unwrap();
    assert_eq!(text(&mut response).await.unwrap(), "it is [redacted]!");
}

#[tokio::test]
async fn a_placeholder_that_a_guest_writes_is_sent_literally() {
    let log = Log::default();
    let server = serve(logged(mirror(), &log)).await;
    let policy = pointed(&format!("http://{server}"), |h| {
        h.auth = Auth::Header { name: "x-api-key".to_owned(), prefix: String::new(), secret: "key".parse().unwrap() }
    });
    let body = r#"{"a":"{{secret:key}}","b":"${key}"}"#;
    let request =
        with_headers(with_body(api("POST", "/{{secret:key}}?q={{secret:key}}"), body), &[("x-note", "{{secret:key}}")]);
    send(&Door::builder().build(), &policy, &Vault::key(), request).await.unwrap();
    let seen = log.lock().unwrap().pop().unwrap();
    assert_eq!(seen.body, body);
    assert_eq!(seen.header("x-note"), Some("{{secret:key}}"));
    assert_eq!(seen.target.replace("%7B", "{").replace("%7D", "}"), "/{{secret:key}}?q={{secret:key}}");
}

#[tokio::test]
async fn a_null_in_the_body_becomes_the_secret_on_the_way_to_its_origin() {
    let log = Log::default();
    let server = serve(logged(mirror(), &log)).await;
    let policy = pointed(&format!("http://{server}"), |h| h.inject = vec![token_rule()]);
    let door = Door::builder().build();
    let request = with_body(api("POST", "/"), r#"{"token":null,"n":1}"#);
    let mut response = send(&door, &policy, &Vault::key(), request).await.unwrap();
    let back = text(&mut response).await.unwrap();
    assert!(!back.contains(SECRET) && back.contains("[redacted]"), "{back}");
    let seen = log.lock().unwrap().pop().unwrap();
    assert_eq!(seen.body, format!(r#"{{"token":"{SECRET}","n":1}}"#));
    assert_eq!(seen.header("content-length"), Some(seen.body.len().to_string().as_str()));

    let own = r#"{"token":"guest's own"}"#;
    send(&door, &policy, &Vault::key(), with_body(api("POST", "/"), own)).await.unwrap();
    assert_eq!(log.lock().unwrap().pop().unwrap().body, own);
}

#[tokio::test]
async fn a_guest_cannot_bring_what_the_kernel_sets() {
    let policy = pointed("http://127.0.0.1:1", |h| h.auth = bearer());
    let door = Door::builder().build();
    for name in ["Authorization", "authorization", "cookie", "host", "content-length", "proxy-authorization"] {
        let request = with_headers(api("GET", "/"), &[(name, "mine")]);
        let denial = denial(send(&door, &policy, &Vault::key(), request).await);
        assert_eq!(denial.code, "E-EGRESS-004");
        assert!(denial.message.contains(name), "{denial}");
    }
    let policy = pointed("http://127.0.0.1:1", |h| {
        h.auth = Auth::Header { name: "X-Api-Key".to_owned(), prefix: String::new(), secret: "key".parse().unwrap() };
    });
    let request = with_headers(api("GET", "/"), &[("x-api-KEY", "mine")]);
    assert_eq!(denial(send(&door, &policy, &Vault::key(), request).await).code, "E-EGRESS-004");

    let policy = pointed("http://127.0.0.1:1", |h| {
        h.auth = Auth::Query { name: "key".to_owned(), secret: "key".parse().unwrap() };
    });
    let failure = send(&door, &policy, &Vault::key(), api("GET", "/?%6bey=mine")).await.unwrap_err();
    assert!(matches!(&failure.error, EgressError::Invalid(t) if t.contains("`key`")), "{failure}");
}

#[tokio::test]
async fn a_guests_own_authorization_goes_to_an_endpoint_without_a_credential() {
    let log = Log::default();
    let server = serve(logged(mirror(), &log)).await;
    let policy = pointed(&format!("http://{server}"), |_| {});
    let request = with_headers(api("GET", "/"), &[("authorization", "Bearer own")]);
    send(&Door::builder().build(), &policy, &Vault::default(), request).await.unwrap();
    assert_eq!(log.lock().unwrap().pop().unwrap().header("authorization"), Some("Bearer own"));
}

#[tokio::test]
async fn a_missing_secret_stops_the_request_with_the_way_to_store_it() {
    let policy = signed("https://api.example.com", |h| h.auth = bearer());
    let door = Door::builder().resolver(Names::new(&[])).build();
    let denial = denial(send(&door, &policy, &Vault::default(), api("GET", "/")).await);
    assert_eq!((denial.code.as_str(), denial.fix.as_str()), ("E-SECRET-001", "carapace secrets set"));
}

#[tokio::test]
async fn an_operators_own_server_needs_no_secret() {
    let log = Log::default();
    let server = serve(logged(mirror(), &log)).await;
    let policy = pointed(&format!("http://{server}"), |h| h.auth = bearer());
    send(&Door::builder().build(), &policy, &Vault::default(), api("GET", "/")).await.unwrap();
    assert_eq!(log.lock().unwrap().pop().unwrap().header("authorization"), None);
}

#[tokio::test]
async fn a_secret_that_cannot_be_read_is_not_taken_for_one_that_is_not_needed() {
    struct Locked;
    #[async_trait::async_trait]
    impl carapace_egress::SecretSource for Locked {
        async fn get(
            &self,
            _: &carapace_contract::SecretName,
        ) -> Result<secrecy::SecretString, carapace_contract::Denial> {
            Err(carapace_contract::Denial::new("E-STORE-004", "the password is another one", "set CARAPACE_PASSWORD"))
        }
    }
    let log = Log::default();
    let server = serve(logged(mirror(), &log)).await;
    let policy = pointed(&format!("http://{server}"), |h| h.auth = bearer());
    let door = Door::builder().build();
    let sent = door.send(&policy, &Locked, api("GET", "/"), tokio_util::sync::CancellationToken::new()).await;
    assert_eq!(denial(sent).code, "E-STORE-004");
    assert!(log.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_key_over_plain_http_is_allowed_to_loopback_only() {
    let door = Door::builder().resolver(Names::new(&[])).build();
    for base in ["http://192.168.1.5:8000/v1", "http://models.lan:8000", "http://8.8.8.8", "http://api.example.com"] {
        let policy = pointed(base, |h| h.auth = bearer());
        let denial = self::denial(send(&door, &policy, &Vault::key(), api("POST", "/")).await);
        assert_eq!(denial.code, "E-EGRESS-009", "{base}");
        assert!(
            denial.message.contains(base)
                && denial.fix.contains("instances.\"weather\".endpoints.api")
                && denial.fix.contains("carapace secrets rm key --instance"),
            "{denial}"
        );
        let policy = pointed(base, |h| h.inject = vec![token_rule()]);
        let request = with_body(api("POST", "/"), r#"{"token":null}"#);
        let injected = send(&door, &policy, &Vault::key(), request).await;
        assert_eq!(self::denial(injected).code, "E-EGRESS-009", "{base}");
    }
    for base in ["http://127.0.0.1:8000", "http://localhost:8000", "http://[::1]:8000", "https://192.168.1.5"] {
        try_policy(Some(base), "https://signed.example.com", |h| h.auth = bearer()).unwrap();
    }
}

#[tokio::test]
async fn an_operators_own_server_in_the_house_may_speak_plain_http_while_no_secret_is_stored() {
    let log = Log::default();
    let server = serve(logged(mirror(), &log)).await;
    let lan: std::net::IpAddr = "192.168.1.5".parse().unwrap();
    let names = Names::new(&[("models.lan", &[&[lan]])]);
    let door = Door::builder().resolver(names).dial(move |ip| (ip == lan).then_some(server)).build();
    let policy = pointed(&format!("http://models.lan:{}/v1", server.port()), |h| h.auth = bearer());
    send(&door, &policy, &Vault::default(), api("GET", "/models")).await.unwrap();
    assert_eq!(log.lock().unwrap().pop().unwrap().header("authorization"), None);
    // The day somebody stores one, it stays here.
    let denial = denial(send(&door, &policy, &Vault::key(), api("GET", "/models")).await);
    assert_eq!(denial.code, "E-EGRESS-009");
    assert!(log.lock().unwrap().is_empty());
}

#[test]
fn a_component_may_only_ask_for_https_without_user_info_or_query() {
    for (base, code) in [
        ("http://api.example.com", "E-EGRESS-015"),
        ("http://127.0.0.1", "E-EGRESS-015"),
        ("http://127.0.0.1:22", "E-EGRESS-015"),
        ("http://127.0.0.2:8000", "E-EGRESS-015"),
        ("http://localhost:8000", "E-EGRESS-015"),
        ("http://[::1]:8000", "E-EGRESS-015"),
        ("http://10.0.0.1:8000", "E-EGRESS-015"),
        ("https://user:pw12345@api.example.com", "E-EGRESS-016"),
        ("https://api.example.com/?key=pw12345", "E-EGRESS-016"),
        ("ftp://api.example.com", "E-EGRESS-016"),
    ] {
        let denial = try_policy(None, base, |_| {}).unwrap_err();
        assert_eq!(denial.code, code, "{base}");
        assert!(!denial.to_string().contains("pw12345"), "{denial}");
    }
}

#[tokio::test]
async fn a_secret_that_no_header_can_carry_is_named_and_not_shown() {
    let policy = pointed("http://127.0.0.1:1", |h| h.auth = bearer());
    let vault = Vault::with(&[("key", "first-line-of-it\nsecond-line")]);
    let failure = send(&Door::builder().build(), &policy, &vault, api("GET", "/")).await.unwrap_err();
    let shown = failure.to_string();
    assert!(shown.contains("`key`") && shown.contains("line break") && !shown.contains("first-line"), "{shown}");
    assert!(!failure.sent);
}

#[tokio::test]
async fn caps_and_rates_are_kept_before_anything_is_sent() {
    let log = Log::default();
    let server = serve(logged(mirror(), &log)).await;
    let door = Door::builder().build();
    let mut policy: Policy = pointed(&format!("http://{server}"), |_| {});
    policy.limits = Limits { http_request_bytes: 10, http_requests_per_minute: 2, ..Limits::default() };
    let large = send(&door, &policy, &Vault::default(), with_body(api("POST", "/"), "12345678901")).await.unwrap_err();
    assert!(matches!(&large.error, EgressError::Limit(t) if t.contains("11 bytes")), "{large}");
    for _ in 0..2 {
        send(&door, &policy, &Vault::default(), api("GET", "/")).await.unwrap();
    }
    let fast = send(&door, &policy, &Vault::default(), api("GET", "/")).await.unwrap_err();
    assert!(matches!(&fast.error, EgressError::Limit(t) if t.contains("requests per minute")), "{fast}");
    assert!(!fast.sent && !large.sent);
    assert_eq!(log.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn what_was_not_granted_is_named_with_the_way_to_grant_it() {
    let policy = pointed("http://127.0.0.1:1", |h| {
        h.methods = ["GET".to_owned()].into();
        h.paths = ["/chat/*".to_owned()].into();
    });
    let door = Door::builder().build();
    let vault = Vault::default();
    let other = carapace_egress::Target::Endpoint { name: "files".to_owned(), path: "/".to_owned() };
    for (request, code, value) in [
        (request("GET", other), "E-EGRESS-001", "`files`"),
        (api("POST", "/chat/x"), "E-EGRESS-002", "`POST`"),
        (api("GET", "/admin"), "E-EGRESS-003", "`/admin`"),
        (fetch("https://example.com"), "E-EGRESS-006", "acme/weather/main"),
    ] {
        let denial = denial(send(&door, &policy, &vault, request).await);
        assert_eq!(denial.code, code);
        assert!(denial.message.contains(value) && denial.fix.contains("carapace plugin grant"), "{denial}");
    }
    for method in ["get", "GET ", "", "CONNECT", "G\r\n"] {
        let failure = send(&door, &policy, &vault, api(method, "/chat/x")).await.unwrap_err();
        assert!(matches!(failure.error, EgressError::Invalid(_)), "{method:?} {failure}");
    }
}
