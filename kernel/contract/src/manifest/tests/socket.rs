use super::super::*;
use super::{problems_with, with};

const GATEWAY: &str = r#"
[channel]

[secrets.bot-token]
prompt = "The bot's token"

[[socket]]
endpoint = "gateway"
hosts = ["gateway.example.com", "*.gw.example.com"]
inject = [{ at = "/d/token", when = { "/op" = [2] }, secret = "bot-token", login = true }, { at = "/d/token", when = { "/op" = 6 }, secret = "bot-token" }]
logins-per-day = 900
max-frame = "4MiB"
"#;

#[test]
fn a_socket_whose_address_the_platform_names_is_read_whole() {
    let m = Manifest::parse(&with(GATEWAY)).unwrap();
    let [socket] = m.sockets.as_slice() else { panic!("{:?}", m.sockets) };
    assert_eq!((socket.url.as_ref(), socket.hosts.len()), (None, 2));
    assert_eq!((socket.logins_per_day, socket.max_frame), (Some(900), 4 << 20));
    assert_eq!(socket.inject.iter().map(|i| i.login).collect::<Vec<_>>(), [true, false]);
    assert_eq!(socket.inject[0].rule.when["/op"], [serde_json::json!(2)]);
    assert_eq!(socket.secrets().count(), 2);
}

#[test]
fn a_fixed_socket_is_encrypted_or_on_this_machine_and_may_have_a_credential() {
    let m = Manifest::parse(&with(
        r#"
[channel]
[secrets.key]
prompt = "A key"
[[socket]]
endpoint = "events"
url = "wss://events.example.com/v1"
url-env = "EVENTS_URL"
auth = { scheme = "bearer", secret = "key" }
[[socket]]
endpoint = "receive"
url = "ws://127.0.0.1:8080/v1/receive"
spool = true
"#,
    ))
    .unwrap();
    assert_eq!(m.sockets[0].auth.scheme(), "bearer");
    assert!(m.sockets[1].spool && !m.sockets[0].spool);
    assert_eq!(m.sockets[1].max_frame, 1 << 20, "unless it says");
    for url in [
        "ws://events.example.com",
        "ws://127.0.0.1:80",
        "ws://127.1:8080",
        "https://x.example.com",
        "wss://u:p@x.example.com",
        "wss://10.0.0.1/",
        "wss://x.example.com/?a=b",
        "x",
    ] {
        let text = problems_with(&format!("[channel]\n[[socket]]\nendpoint = \"e\"\nurl = \"{url}\"\n"));
        assert!(text.contains("`url`"), "{url}: {text}");
    }
}

#[test]
fn what_a_socket_cannot_be_is_said_with_what_to_write() {
    let socket = |more: &str| problems_with(&format!("[channel]\n[[socket]]\nendpoint = \"e\"\n{more}"));
    assert!(socket("").contains("either `url` or `hosts`"));
    assert!(socket("url = \"wss://a.example.com\"\nhosts = [\"a.example.com\"]").contains("either `url` or `hosts`"));
    assert!(socket("hosts = []").contains("nothing could be reached"));
    assert!(socket("hosts = [\"*\"]").contains("not a host pattern"));
    assert!(
        socket("hosts = [\"a.example.com\"]\nauth = { scheme = \"bearer\", secret = \"s\" }").contains("fixed `url`")
    );
    assert!(socket("hosts = [\"a.example.com\"]\nurl-env = \"THE_URL\"").contains("fixed `url`"));
    assert!(socket("hosts = [\"a.example.com\"]\nmax-frame = \"17MiB\"").contains("at most \"16MiB\""));
    assert!(socket("hosts = [\"a.example.com\"]\nlogin = true").contains("no key `login`"));
    let undeclared = "hosts = [\"a.example.com\"]\ninject = [{ at = \"/t\", secret = \"nope\" }]";
    assert!(socket(undeclared).contains("the secret `nope` is not declared"));
    let http = "[[http]]\nendpoint = \"e\"\nurl = \"https://a.example.com\"\n";
    assert!(socket(&format!("hosts = [\"a.example.com\"]\n{http}")).contains("the endpoint `e` stands there twice"));
    let alone = problems_with("[[socket]]\nendpoint = \"e\"\nhosts = [\"a.example.com\"]\n[[tool]]\nname = \"t\"\n");
    assert!(alone.contains("a socket brings messages to a channel; add [channel]"), "{alone}");
    let login = problems_with(
        "[secrets.s]\nprompt = \"S\"\n[[http]]\nendpoint = \"e\"\nurl = \"https://a.example.com\"\n\
         inject = [{ at = \"/t\", secret = \"s\", login = true }]\n[provider]\n",
    );
    assert!(login.contains("no key `login`"), "{login}");
}
