//! Servers that the operator opened to public fetches.

use crate::support::*;
use axum::Router;
use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use axum::routing::any;
use carapace_egress::{Door, EgressError, Policy};
use std::net::{IpAddr, SocketAddr};

fn opened(servers: &[&str]) -> Policy {
    public().opening(servers.iter().map(|s| s.parse().unwrap()).collect())
}

/// Redirects `/to`; says `read` elsewhere.
fn site(location: &str) -> Router {
    let location = location.to_owned();
    let to = move || async move { (StatusCode::FOUND, [("location", location)]).into_response() };
    Router::new().route("/to", any(to)).fallback(any(|| async { "read" }))
}

async fn refused(door: &Door, policy: &Policy, url: &str) -> carapace_contract::Denial {
    match send(door, policy, &Vault::default(), fetch(url)).await.unwrap_err().error {
        EgressError::Denied(denial) => denial,
        other => panic!("{url}: {other}"),
    }
}

async fn read(door: &Door, policy: &Policy, url: &str) -> String {
    text(&mut send(door, policy, &Vault::default(), fetch(url)).await.unwrap()).await.unwrap()
}

#[tokio::test]
async fn an_opened_server_is_read_and_nothing_beside_it() {
    let (server, other) = (serve(site("/")).await, serve(site("/")).await);
    let door = Door::builder().build();
    let policy = opened(&[&server.to_string()]);
    assert_eq!(read(&door, &policy, &format!("http://{server}/x")).await, "read");
    let port = server.port();
    for url in [
        format!("http://{other}/"),
        format!("http://127.0.0.2:{port}/"),
        format!("http://[::1]:{port}/"),
        format!("http://localhost:{port}/"),
        format!("http://[::ffff:127.0.0.1]:{port}/"),
    ] {
        let denial = refused(&door, &policy, &url).await;
        assert!(["E-EGRESS-007", "E-EGRESS-008"].contains(&denial.code.as_str()), "{url}: {denial}");
        assert!(denial.fix.contains("instances.\"weather\".publicAllow"), "{denial}");
    }
    // What opens one instance opens no other, whose grant has no public fetches at all.
    let mut closed = policy.clone();
    closed.public = false;
    assert_eq!(refused(&door, &closed, &format!("http://{server}/x")).await.code, "E-EGRESS-006");
    assert_eq!(refused(&door, &public(), &format!("http://{server}/x")).await.code, "E-EGRESS-007");
    let post = request("POST", carapace_egress::Target::Public(format!("http://{server}/")));
    assert_eq!(denial(send(&door, &policy, &Vault::default(), post).await).code, "E-EGRESS-011");
}

#[tokio::test]
async fn an_opened_name_may_be_private_but_never_a_metadata_service() {
    let private: IpAddr = "192.168.1.5".parse().unwrap();
    let metadata: IpAddr = "169.254.169.254".parse().unwrap();
    let names = Names::new(&[("wiki.lan", &[&[private]]), ("evil.lan", &[&[metadata]]), ("metadata", &[&[private]])]);
    let home = serve(site("/")).await;
    let door = internet(&names, &[(private, home), (metadata, home)]).build();
    let policy = opened(&[
        "wiki.lan:80",
        "evil.lan:80",
        "169.254.169.254:80",
        "[fd00:ec2::254]:80",
        "[::ffff:a9fe:a9fe]:80",
        "metadata.google.internal:80",
        "metadata:80",
    ]);
    // The dialler of the test keeps the server's own port.
    assert_eq!(read(&door, &policy, "http://wiki.lan/").await, "read");
    assert_eq!(read(&door, &policy, "http://WIKI.lan.:80/").await, "read");
    for host in [
        "evil.lan",
        "169.254.169.254",
        "0xa9fea9fe",
        "[fd00:ec2::254]",
        "[::ffff:169.254.169.254]",
        "metadata.google.internal",
        "metadata",
    ] {
        assert_eq!(refused(&door, &policy, &format!("http://{host}/")).await.code, "E-EGRESS-014", "{host}");
    }
}

/// A public site `a.example.com` and the owner's `wiki.lan`, where `/to` leads to what is given.
async fn world(public_to: &str, private_to: &str) -> (Door, Policy, Log) {
    let log = Log::default();
    let private: IpAddr = "192.168.1.5".parse().unwrap();
    let names =
        Names::new(&[("a.example.com", &[&[PUBLIC_A]]), ("wiki.lan", &[&[private]]), ("nas.lan", &[&[private]])]);
    let homes: [(IpAddr, SocketAddr); 2] =
        [(PUBLIC_A, serve(site(public_to)).await), (private, serve(logged(site(private_to), &log)).await)];
    (internet(&names, &homes).build(), opened(&["wiki.lan:80", "nas.lan:80", "nas.lan:443"]), log)
}

#[tokio::test]
async fn a_public_page_cannot_send_the_kernel_to_an_opened_server() {
    let (door, policy, log) = world("http://wiki.lan/delete?all=1", "/").await;
    let denial = refused(&door, &policy, "http://a.example.com/to").await;
    assert_eq!(denial.code, "E-EGRESS-008");
    assert!(denial.fix.contains("fetch `http://wiki.lan` itself"), "{denial}");
    assert!(log.lock().unwrap().is_empty(), "the server saw it");
}

#[tokio::test]
async fn an_opened_server_redirects_within_itself_and_into_the_world_but_not_to_another_opened_one() {
    let (door, policy, _) = world("/", "/page").await;
    assert_eq!(read(&door, &policy, "http://wiki.lan/to").await, "read");
    let (door, policy, _) = world("/", "http://a.example.com/page").await;
    assert_eq!(read(&door, &policy, "http://wiki.lan/to").await, "read");
    let (door, policy, log) = world("/", "http://nas.lan/page").await;
    assert_eq!(refused(&door, &policy, "http://wiki.lan/to").await.code, "E-EGRESS-008");
    assert_eq!(log.lock().unwrap().len(), 1, "only the one that was asked for");
}

#[tokio::test]
async fn who_was_sent_away_from_an_opened_server_is_not_sent_back_to_it() {
    let (door, policy, log) = world("http://wiki.lan/delete?all=1", "http://a.example.com/to").await;
    assert_eq!(refused(&door, &policy, "http://wiki.lan/to").await.code, "E-EGRESS-008");
    let seen: Vec<String> = log.lock().unwrap().iter().map(|s| s.target.clone()).collect();
    assert_eq!(seen, ["/to"]);
}
