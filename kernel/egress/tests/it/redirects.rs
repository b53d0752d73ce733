use crate::support::*;
use axum::Router;
use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use axum::routing::any;
use carapace_contract::manifest::Auth;
use carapace_egress::{Door, EgressError};
use std::sync::{Arc, Mutex};

/// Redirects everything but `/end`, where it says so.
fn to(status: u16, location: impl Into<String>) -> Router {
    let location = location.into();
    Router::new().route("/end", any(|| async { "arrived" })).fallback(any(move || {
        let location = location.clone();
        async move { (StatusCode::from_u16(status).unwrap(), [("location", location)]).into_response() }
    }))
}

fn end() -> Router {
    Router::new().fallback(any(|| async { "elsewhere" }))
}

#[tokio::test]
async fn a_redirect_within_the_base_keeps_the_credential() {
    let log = Log::default();
    let server = serve(logged(to(302, "/end?x=1"), &log)).await;
    let policy = pointed(&format!("http://{server}"), |h| h.auth = bearer());
    let mut response = send(&Door::builder().build(), &policy, &Vault::key(), api("GET", "/start")).await.unwrap();
    assert_eq!(text(&mut response).await.unwrap(), "arrived");
    assert_eq!(response.url, format!("http://{server}/end"));
    let seen = log.lock().unwrap();
    assert_eq!(seen.iter().map(|s| s.target.as_str()).collect::<Vec<_>>(), ["/start", "/end?x=1"]);
    assert!(seen.iter().all(|s| s.header("authorization") == Some(&format!("Bearer {SECRET}"))));
}

#[tokio::test]
async fn a_redirect_to_another_origin_is_refused_and_that_server_sees_nothing() {
    let log = Log::default();
    let other = serve(logged(end(), &log)).await;
    let server = serve(to(307, format!("http://{other}/end"))).await;
    let policy = pointed(&format!("http://{server}"), |h| h.auth = bearer());
    let failure = send(&Door::builder().build(), &policy, &Vault::key(), api("GET", "/")).await.unwrap_err();
    let EgressError::Denied(denial) = &failure.error else { panic!("{failure}") };
    assert_eq!(denial.code, "E-EGRESS-005");
    assert!(denial.message.contains(&format!("http://{other}")) && denial.fix.contains("`hosts`"), "{denial}");
    assert!(failure.sent, "the first server has seen the request");
    assert!(log.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_redirect_to_a_granted_host_travels_without_credentials_cookies_and_injected_values() {
    let log = Log::default();
    let (cdn, der) = serve_tls(logged(end(), &log), &["cdn.example.com"]).await;
    let first = Log::default();
    let server = serve(logged(to(307, "https://cdn.example.com/file?sig=abc"), &first)).await;
    let names = Names::new(&[("cdn.example.com", &[&[PUBLIC_A]])]);
    let door = internet(&names, &[(PUBLIC_A, cdn)]).extra_root(der).build();
    for auth in [Auth::None, bearer()] {
        let keyed = auth != Auth::None;
        let policy = pointed(&format!("http://{server}"), |h| {
            h.auth = auth;
            h.hosts = ["*.example.com".to_owned()].into();
            h.inject = if keyed { vec![token_rule()] } else { Vec::new() };
        });
        let request = with_body(api("POST", "/up"), r#"{"token":null}"#);
        let own = [
            ("authorization", "Bearer own"),
            ("cookie", "a=b"),
            ("referer", "https://x.example/?q"),
            ("x-keep", "yes"),
        ];
        let request = with_headers(request, if keyed { &own[3..] } else { &own[..] });
        let mut response = send(&door, &policy, &Vault::key(), request).await.unwrap();
        assert_eq!(text(&mut response).await.unwrap(), "elsewhere");
        assert_eq!(response.url, "https://cdn.example.com/file");

        let home = first.lock().unwrap().pop().unwrap();
        assert_eq!(home.header("authorization").is_some_and(|a| a.contains(SECRET)), keyed);
        assert_eq!(home.body.contains(SECRET), keyed);
        let away = log.lock().unwrap().pop().unwrap();
        assert_eq!((away.method.as_str(), away.body.as_str()), ("POST", r#"{"token":null}"#));
        for gone in ["authorization", "cookie", "referer"] {
            assert_eq!(away.header(gone), None, "{gone}");
        }
        assert_eq!(away.header("x-keep"), Some("yes"));
        assert!(!away.text().contains(SECRET));
    }
}

#[tokio::test]
async fn who_has_left_home_comes_back_without_credentials() {
    let log = Log::default();
    let back = Arc::new(Mutex::new(String::new()));
    let target = Arc::clone(&back);
    let bounce = Router::new().fallback(any(move || {
        let to = target.lock().unwrap().clone();
        async move { (StatusCode::FOUND, [("location", to)]).into_response() }
    }));
    let (cdn, der) = serve_tls(bounce, &["cdn.example.com"]).await;
    let server = serve(logged(to(302, "https://cdn.example.com/x"), &log)).await;
    *back.lock().unwrap() = format!("http://{server}/end");
    let names = Names::new(&[("cdn.example.com", &[&[PUBLIC_A]])]);
    let door = internet(&names, &[(PUBLIC_A, cdn)]).extra_root(der).build();
    let policy = pointed(&format!("http://{server}"), |h| {
        h.auth = bearer();
        h.hosts = ["cdn.example.com".to_owned()].into();
    });
    let mut response = send(&door, &policy, &Vault::key(), api("GET", "/start")).await.unwrap();
    assert_eq!(text(&mut response).await.unwrap(), "arrived");
    let seen = log.lock().unwrap();
    assert_eq!(seen.len(), 2);
    assert!(seen[0].text().contains(SECRET) && !seen[1].text().contains(SECRET));
}

#[tokio::test]
async fn a_server_cannot_hand_the_secret_on_in_a_redirect() {
    let log = Log::default();
    let (cdn, der) = serve_tls(logged(end(), &log), &["cdn.example.com"]).await;
    let names = Names::new(&[("cdn.example.com", &[&[PUBLIC_A]])]);
    let door = internet(&names, &[(PUBLIC_A, cdn)]).extra_root(der).build();
    for leak in ["sk-live%2F7f3a%2B9c51%3D%3Dend", "sk-live/7f3a+9c51==end", &hex::encode(SECRET)] {
        let server = serve(to(302, format!("https://cdn.example.com/x?k={leak}"))).await;
        let policy = pointed(&format!("http://{server}"), |h| {
            h.auth = Auth::Query { name: "k".to_owned(), secret: "key".parse().unwrap() };
            h.hosts = ["cdn.example.com".to_owned()].into();
        });
        let failure = send(&door, &policy, &Vault::key(), api("GET", "/")).await.unwrap_err();
        assert_eq!(failure.error.code(), "E-EGRESS-013", "{failure}");
        assert!(!failure.to_string().contains("7f3a"), "{failure}");
    }
    assert!(log.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_credential_in_path_or_query_is_not_doubled_by_a_redirect_that_repeats_it() {
    let secret = || "key".parse().unwrap();
    let coded = "sk-live%2F7f3a+9c51==end";
    for (auth, location, expected) in [
        (
            Auth::PathPrefix { prefix: "/bot".to_owned(), secret: secret() },
            format!("/v1/bot{coded}/end"),
            format!("/v1/bot{coded}/end"),
        ),
        (
            Auth::Query { name: "k".to_owned(), secret: secret() },
            "/v1/end?k=sk-live%2F7f3a%2B9c51%3D%3Dend&a=1".to_owned(),
            "/v1/end?a=1&k=sk-live%2F7f3a%2B9c51%3D%3Dend".to_owned(),
        ),
    ] {
        let log = Log::default();
        let app = Router::new()
            .route("/v1/end", any(|| async { "arrived" }))
            .route("/v1/{bot}/end", any(|| async { "arrived" }));
        let server = serve(logged(app.fallback_service(to(302, location)), &log)).await;
        let policy = pointed(&format!("http://{server}/v1"), |h| h.auth = auth);
        let mut response = send(&Door::builder().build(), &policy, &Vault::key(), api("GET", "/start")).await.unwrap();
        assert_eq!(text(&mut response).await.unwrap(), "arrived");
        assert_eq!(log.lock().unwrap().last().unwrap().target, expected);
        assert_eq!(response.url, format!("http://{server}/v1/end"));
    }
}

#[tokio::test]
async fn a_redirect_on_the_same_origin_may_not_leave_the_base_or_the_granted_paths() {
    for location in ["/admin", "/v1/../admin", "/v10/x", "/v1/secret", "/v1/a%2f..%2fb"] {
        let server = serve(to(302, location)).await;
        let policy = pointed(&format!("http://{server}/v1"), |h| {
            h.auth = bearer();
            h.paths = ["/start".to_owned(), "/end".to_owned()].into();
        });
        let failure = send(&Door::builder().build(), &policy, &Vault::key(), api("GET", "/start")).await.unwrap_err();
        assert!(matches!(failure.error.code(), "E-EGRESS-003" | "invalid"), "{location}: {failure}");
        assert!(failure.sent);
    }
}

#[tokio::test]
async fn a_redirect_loop_ends_after_five() {
    let log = Log::default();
    let server = serve(logged(to(302, "/again"), &log)).await;
    let policy = pointed(&format!("http://{server}"), |_| {});
    let failure = send(&Door::builder().build(), &policy, &Vault::default(), api("GET", "/")).await.unwrap_err();
    assert!(matches!(&failure.error, EgressError::Limit(t) if t.contains("more than 5 times")), "{failure}");
    assert_eq!(log.lock().unwrap().len(), 6);
}

#[tokio::test]
async fn see_other_turns_a_post_into_a_get_without_its_body() {
    let log = Log::default();
    let server = serve(logged(to(303, "/end"), &log)).await;
    let policy = pointed(&format!("http://{server}"), |_| {});
    let request = with_headers(with_body(api("POST", "/"), "x=1"), &[("content-type", "text/plain")]);
    send(&Door::builder().build(), &policy, &Vault::default(), request).await.unwrap();
    let seen = log.lock().unwrap();
    assert_eq!((seen[1].method.as_str(), seen[1].body.as_str(), seen[1].header("content-type")), ("GET", "", None));
}

#[tokio::test]
async fn a_redirect_that_changes_the_method_needs_a_grant_for_it() {
    let server = serve(to(303, "/end")).await;
    let policy = pointed(&format!("http://{server}"), |h| h.methods = ["POST".to_owned()].into());
    let failure = send(&Door::builder().build(), &policy, &Vault::default(), api("POST", "/")).await.unwrap_err();
    assert_eq!(failure.error.code(), "E-EGRESS-002");
}

#[tokio::test]
async fn every_hop_of_a_public_fetch_is_filtered() {
    let names =
        Names::new(&[("pages.example.com", &[&[PUBLIC_A]]), ("inner.example.com", &[&["10.0.0.7".parse().unwrap()]])]);
    for (location, code) in [
        ("http://127.0.0.1:8080/", "E-EGRESS-007"),
        ("http://0x7f.1/", "E-EGRESS-007"),
        ("http://[::ffff:10.0.0.1]/", "E-EGRESS-007"),
        ("http://169.254.169.254/latest/meta-data/", "E-EGRESS-014"),
        ("http://metadata.google.internal/", "E-EGRESS-014"),
        ("http://localhost/", "E-EGRESS-008"),
        ("http://inner.example.com/", "E-EGRESS-007"),
        ("http://pages.example.com:22/", "E-EGRESS-012"),
        ("//127.1/x", "E-EGRESS-007"),
        ("file:///etc/passwd", "unavailable"),
        ("http://user:pw@pages.example.com/", "unavailable"),
    ] {
        let server = serve(to(302, location)).await;
        let door = internet(&names, &[(PUBLIC_A, server)]).build();
        let failure = send(&door, &public(), &Vault::default(), fetch("http://pages.example.com/a")).await.unwrap_err();
        assert_eq!(failure.error.code(), code, "{location}: {failure}");
        assert!(failure.sent);
    }
}

#[tokio::test]
async fn a_public_fetch_follows_to_another_public_host_without_the_guests_credentials() {
    let log = Log::default();
    let second = serve(logged(end(), &log)).await;
    let first = serve(to(301, "http://b.example.com/there?x=1#part")).await;
    let names = Names::new(&[("a.example.com", &[&[PUBLIC_A]]), ("b.example.com", &[&[PUBLIC_B]])]);
    let door = internet(&names, &[(PUBLIC_A, first), (PUBLIC_B, second)]).build();
    let request = with_headers(fetch("http://a.example.com/"), &[("authorization", "Bearer own"), ("cookie", "a=b")]);
    let mut response = send(&door, &public(), &Vault::default(), request).await.unwrap();
    assert_eq!(text(&mut response).await.unwrap(), "elsewhere");
    assert_eq!(response.url, "http://b.example.com/there");
    let seen = log.lock().unwrap().pop().unwrap();
    assert_eq!((seen.header("authorization"), seen.header("cookie")), (None, None));
    assert_eq!((seen.target.as_str(), seen.header("host")), ("/there?x=1", Some("b.example.com")));
}
