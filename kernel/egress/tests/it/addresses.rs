use crate::support::*;
use axum::Router;
use axum::response::Redirect;
use axum::routing::any;
use carapace_egress::{Door, EgressError};
use std::net::IpAddr;

fn ok() -> Router {
    Router::new().fallback(any(|| async { "ok" }))
}

#[tokio::test]
async fn a_private_address_is_refused_in_every_spelling_without_a_look_up() {
    let names = Names::new(&[]);
    let door = internet(&names, &[]).build();
    for url in [
        "http://127.0.0.1/",
        "http://127.0.0.1:8080/",
        "https://127.1/",
        "http://2130706433/",
        "http://0x7f000001/",
        "http://017700000001/",
        "http://0177.1/",
        "http://127.0.0.1./",
        "http://%31%32%37.1/",
        "http://１２７.1/",
        "http://0/",
        "http://10.1/",
        "http://0xa.1.2.3/",
        "http://100.64.0.1/",
        "http://172.16.0.1/",
        "http://192.168.0.1/",
        "http://3232235521/",
        "http://198.18.0.1/",
        "http://224.0.0.1/",
        "http://255.255.255.255/",
        "http://[::1]/",
        "http://[::]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[::ffff:a00:1]/",
        "http://[::10.0.0.1]/",
        "http://[64:ff9b::10.0.0.1]/",
        "http://[2002:a00:1::]/",
        "http://[fc00::1]/",
        "http://[fe80::1]/",
        "http://[fec0::1]/",
        "http://[ff02::1]/",
        "http://[2001:db8::1]/",
    ] {
        let denial = denial(send(&door, &public(), &Vault::default(), fetch(url)).await);
        assert_eq!(denial.code, "E-EGRESS-007", "{url}: {denial}");
        assert!(denial.fix.contains("instances.\"weather\".publicAllow: [\""), "{denial}");
    }
    for url in [
        "http://169.254.169.254/",
        "http://0xa9fea9fe/",
        "http://[::ffff:169.254.169.254]/",
        "http://[fd00:ec2::254]/",
        "http://metadata/",
        "http://metadata.google.internal./",
    ] {
        let denial = denial(send(&door, &public(), &Vault::default(), fetch(url)).await);
        assert_eq!(denial.code, "E-EGRESS-014", "{url}: {denial}");
    }
    for url in [
        "http://localhost/",
        "http://LOCALHOST./",
        "http://a.localhost/",
        "http://nas.local/",
        "http://x.internal/",
        "http://x.home.arpa/",
        "http://printer/",
    ] {
        let denial = denial(send(&door, &public(), &Vault::default(), fetch(url)).await);
        assert_eq!(denial.code, "E-EGRESS-008", "{url}: {denial}");
    }
    assert!(names.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_name_with_one_private_address_among_public_ones_is_refused() {
    let server = serve(ok()).await;
    for bad in ["10.0.0.1", "127.0.0.1", "::1", "fd00::1", "::ffff:192.168.0.1", "100.100.100.200"] {
        let bad: IpAddr = bad.parse().unwrap();
        let names = Names::new(&[("mixed.example.com", &[&[PUBLIC_A, bad]])]);
        let door = internet(&names, &[(PUBLIC_A, server)]).build();
        let denial = denial(send(&door, &public(), &Vault::default(), fetch("http://mixed.example.com/")).await);
        assert!(denial.message.contains(&bad.to_string()) && denial.message.contains("mixed.example.com"), "{denial}");
    }
}

#[tokio::test]
async fn a_name_that_changes_between_look_ups_reaches_only_what_was_checked() {
    let server = serve(ok()).await;
    let loopback: IpAddr = "127.0.0.1".parse().unwrap();
    let names = Names::new(&[("rebind.example.com", &[&[PUBLIC_A], &[loopback]])]);
    let door = internet(&names, &[(PUBLIC_A, server)]).build();
    let url = "http://rebind.example.com/";
    let mut first = send(&door, &public(), &Vault::default(), fetch(url)).await.unwrap();
    assert_eq!(text(&mut first).await.unwrap(), "ok");
    assert_eq!(names.asked.lock().unwrap().len(), 1, "one look-up, judged and dialled");
    // Another pool has no connection yet, looks up again, and meets the address the name has now.
    let mut other = public();
    other.instance = "acme/weather/second".parse().unwrap();
    let denial = denial(send(&door, &other, &Vault::default(), fetch(url)).await);
    assert_eq!(denial.code, "E-EGRESS-007");
    // The first keeps to the connection that was checked.
    let mut again = send(&door, &public(), &Vault::default(), fetch(url)).await.unwrap();
    assert_eq!(text(&mut again).await.unwrap(), "ok");
    assert_eq!(names.asked.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn a_signed_endpoint_reaches_public_addresses_only_and_says_which_line_opens_it() {
    let names = Names::new(&[("api.example.com", &[&["192.168.1.5".parse().unwrap()]])]);
    let door = internet(&names, &[]).build();
    let policy = signed("https://api.example.com/v1", |_| {});
    let denial = denial(send(&door, &policy, &Vault::default(), api("GET", "/x")).await);
    assert_eq!(denial.code, "E-EGRESS-007");
    assert!(denial.message.contains("192.168.1.5") && denial.message.contains("192.168.0.0/16"), "{denial}");
    assert_eq!(
        denial.fix,
        "set `instances.\"weather\".endpoints.api: \"https://api.example.com/v1\"` in carapace.json5"
    );
    let literal = signed("https://10.0.0.8/v1", |_| {});
    assert_eq!(
        crate::support::denial(send(&door, &literal, &Vault::default(), api("GET", "/x")).await).code,
        "E-EGRESS-007"
    );
}

#[tokio::test]
async fn an_operator_may_point_an_endpoint_at_a_private_name_but_not_at_metadata() {
    let server = serve(ok()).await;
    let private: IpAddr = "192.168.1.5".parse().unwrap();
    let names = Names::new(&[("models.lan", &[&[private]]), ("evil.lan", &[&["169.254.169.254".parse().unwrap()]])]);
    let door = internet(&names, &[(private, server)]).build();
    let mut response =
        send(&door, &pointed("http://models.lan", |_| {}), &Vault::default(), api("GET", "/")).await.unwrap();
    assert_eq!(text(&mut response).await.unwrap(), "ok");
    let denial = denial(send(&door, &pointed("http://evil.lan", |_| {}), &Vault::default(), api("GET", "/")).await);
    assert_eq!(denial.code, "E-EGRESS-014");
    assert!(denial.fix.contains("endpoints.api"), "{denial}");
}

#[tokio::test]
async fn an_operators_origin_opens_nothing_beside_itself() {
    let server = serve(ok()).await;
    let private: IpAddr = "192.168.1.5".parse().unwrap();
    let names = Names::new(&[("models.example.com", &[&[private]])]);
    let door = internet(&names, &[(private, server)]).build();
    let mut policy = pointed("http://models.example.com", |_| {});
    policy.public = true;
    let vault = Vault::default();
    send(&door, &policy, &vault, api("GET", "/")).await.unwrap();
    // The same name as a public target is judged as one, though a connection to it is open.
    for url in ["http://models.example.com/", "http://models.example.com:8080/", "https://models.example.com/"] {
        assert_eq!(denial(send(&door, &policy, &vault, fetch(url)).await).code, "E-EGRESS-007", "{url}");
    }
}

#[tokio::test]
async fn a_signed_loopback_origin_opens_itself_and_nothing_beside_itself() {
    let (server, other) = (serve(ok()).await, serve(ok()).await);
    let door = Door::builder().build();
    let mut policy = signed(&format!("http://127.0.0.1:{}/base", server.port()), |h| h.auth = bearer());
    policy.public = true;
    let mut response = send(&door, &policy, &Vault::key(), api("GET", "/x")).await.unwrap();
    assert_eq!(text(&mut response).await.unwrap(), "ok");
    for url in [format!("http://127.0.0.1:{}/base/x", server.port()), format!("http://127.0.0.1:{}/", other.port())] {
        assert_eq!(denial(send(&door, &policy, &Vault::key(), fetch(&url)).await).code, "E-EGRESS-007", "{url}");
    }
}

#[tokio::test]
async fn a_program_on_this_machine_cannot_send_the_kernel_to_another() {
    let other = serve(ok()).await;
    let away = format!("http://127.0.0.1:{}/", other.port());
    let server = serve(Router::new().fallback(any(move || async move { Redirect::temporary(&away) }))).await;
    let policy = signed(&format!("http://127.0.0.1:{}", server.port()), |_| {});
    let failure = send(&Door::builder().build(), &policy, &Vault::default(), api("GET", "/x")).await.unwrap_err();
    assert!(failure.to_string().contains("E-EGRESS-005"), "{failure}");
}

#[tokio::test]
async fn localhost_is_this_machine_and_never_asked_of_dns() {
    let server = serve(ok()).await;
    let names = Names::new(&[("localhost", &[&[PUBLIC_A]])]);
    let door = internet(&names, &[]).build();
    let policy = pointed(&format!("http://localhost:{}", server.port()), |h| h.auth = bearer());
    send(&door, &policy, &Vault::key(), api("GET", "/")).await.unwrap();
    assert!(names.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn public_fetches_are_get_and_head_on_ordinary_ports() {
    let names = Names::new(&[("a.example.com", &[&[PUBLIC_A]])]);
    let door = internet(&names, &[]).build();
    let post = request("POST", carapace_egress::Target::Public("http://a.example.com/".to_owned()));
    assert_eq!(denial(send(&door, &public(), &Vault::default(), post).await).code, "E-EGRESS-011");
    for port in [22, 25, 445] {
        let denial =
            denial(send(&door, &public(), &Vault::default(), fetch(&format!("http://a.example.com:{port}/"))).await);
        assert_eq!(denial.code, "E-EGRESS-012");
        assert!(denial.message.contains(&port.to_string()));
    }
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_unavailable_and_nothing_was_sent() {
    let door = Door::builder().resolver(Names::new(&[("empty.example.com", &[&[]])])).build();
    for host in ["gone.example.com", "empty.example.com"] {
        let failure = send(&door, &public(), &Vault::default(), fetch(&format!("https://{host}/"))).await.unwrap_err();
        assert!(matches!(&failure.error, EgressError::Unavailable(t) if t.contains(host)), "{failure}");
        assert!(!failure.sent);
    }
}
