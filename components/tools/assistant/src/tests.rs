use super::*;
use carapace_sdk::Error;
use carapace_sdk::serde_json::{self, Value};
use carapace_sdk::sessions::{Entry, Session};

const NOON: u64 = 1_782_907_200_000;

fn session(id: &str, title: &str) -> Session {
    Session { id: id.into(), title: title.into(), messages: 4, updated_ms: NOON, extra: Vec::new() }
}

fn entry(role: &str, text: &str, extra: &[(&str, &str)]) -> Entry {
    let extra = extra.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    Entry { role: role.into(), text: text.into(), at_ms: NOON, tainted: false, extra }
}

fn ask(host: &mut TestHost, name: &str, arguments: Value) -> String {
    host.call_tool(name, arguments).unwrap().text()
}

#[carapace_sdk::test]
fn conversations_are_a_line_each_and_a_full_list_says_there_may_be_more(host: &mut TestHost) {
    assert_eq!(ask(host, "session_list", json!({})), "There are no conversations yet.");
    for s in [session("s1", "plans for\nJuly"), session("s2", ""), session("s3", "x")] {
        host.recorded(s, Vec::new());
    }
    assert_eq!(
        ask(host, "session_list", json!({ "limit": 2 })),
        "s1 (Wed, 01 Jul 2026 12:00:00 GMT; messages: 4): plans for July\n\
         s2 (Wed, 01 Jul 2026 12:00:00 GMT; messages: 4): (no words)\n\
         These are the newest 2; there may be more."
    );
    assert!(!ask(host, "session_list", json!({})).contains("more"));
}

#[carapace_sdk::test]
fn a_conversation_shows_who_spoke_what_was_called_and_what_may_be_from_outside(host: &mut TestHost) {
    let mut page = entry("tool", "the page", &[("tool", "web_fetch"), ("error", "true")]);
    page.tainted = true;
    let entries = vec![
        entry("user", "look it up", &[]),
        entry("assistant", "", &[("reasoning", "hm"), ("tool-call", r#"web_fetch {"url":"u"}"#)]),
        page,
    ];
    host.recorded(session("s1", "look it up"), entries);
    assert_eq!(
        ask(host, "session_read", json!({ "session": "s1" })),
        "[user; Wed, 01 Jul 2026 12:00:00 GMT]\nlook it up\n\n\
         [assistant; Wed, 01 Jul 2026 12:00:00 GMT]\n(called web_fetch {\"url\":\"u\"})\n\n\
         [tool web_fetch, failed, may hold text from outside; Wed, 01 Jul 2026 12:00:00 GMT]\nthe page"
    );
}

#[carapace_sdk::test]
fn of_a_long_conversation_the_end_is_shown_and_what_is_missing_is_counted(host: &mut TestHost) {
    let long = (0..5).map(|n| entry("user", &format!("{n}{}", "x".repeat(30 << 10)), &[])).collect();
    host.recorded(session("long", "long"), long);
    host.recorded(session("two", "two"), vec![entry("user", "a", &[]), entry("user", "b", &[])]);
    host.recorded(session("one", "one"), vec![entry("user", &"y".repeat(100 << 10), &[])]);
    let text = ask(host, "session_read", json!({ "session": "long" }));
    assert!(text.starts_with("(earlier messages are left out: 3)\n\n[user;") && text.contains("\n4xxx"));
    let last = ask(host, "session_read", json!({ "session": "two", "limit": 1 }));
    assert!(last.ends_with("\nb") && !last.contains("\na"), "{last}");
    assert!(ask(host, "session_read", json!({ "session": "one" })).ends_with("yyy"));
}

#[carapace_sdk::test]
fn the_configuration_is_shown_whole_or_in_part(host: &mut TestHost) {
    let settings = json!({ "agent": { "route": ["a/b"] } });
    host.settings(settings.clone());
    let mut read = |arguments| serde_json::from_str::<Value>(&ask(host, "config_read", arguments)).unwrap();
    assert_eq!(read(json!({})), settings);
    assert_eq!(read(json!({ "path": " agent " })), json!({ "route": ["a/b"] }));
    match host.call_tool("config_read", json!({ "path": "nowhere" })) {
        Err(ToolError::NotFound(why)) => assert!(why.contains("`nowhere`"), "{why}"),
        other => panic!("{other:?}"),
    }
}

#[carapace_sdk::test]
fn arguments_that_do_not_fit_are_told_what_to_change(host: &mut TestHost) {
    let mut invalid = |name: &str, arguments| match host.call_tool(name, arguments) {
        Err(ToolError::InvalidArguments(why)) => why,
        other => panic!("{other:?}"),
    };
    assert!(invalid("session_list", json!({ "limit": 101 })).contains("1 to 100"));
    assert!(invalid("session_read", json!({})).contains("`session`"));
    assert!(invalid("session_read", json!({ "session": "s1", "limit": 0 })).contains("1 to 200"));
    assert!(invalid("config_read", json!({ "pfad": "a" })).contains("`pfad`"));
    assert!(matches!(host.call_tool("config_write", json!({})), Err(ToolError::NotFound(_))));
}

#[carapace_sdk::test]
fn a_refusal_of_the_kernel_keeps_its_kind_and_its_words(host: &mut TestHost) {
    for (name, capability, arguments) in [
        ("session_list", "sessions", json!({})),
        ("session_read", "sessions", json!({ "session": "s1" })),
        ("config_read", "settings", json!({})),
    ] {
        let mut with = |refuse: fn(String) -> Error| {
            host.fail(capability, refuse("the kernel's words".into())).call_tool(name, arguments.clone())
        };
        assert!(matches!(with(Error::Denied), Err(ToolError::Denied(w)) if w == "the kernel's words"), "{name}");
        assert!(matches!(with(Error::NotFound), Err(ToolError::NotFound(_))), "{name}");
        assert!(matches!(with(Error::Unavailable), Err(ToolError::Unavailable(_))), "{name}");
    }
}

#[carapace_sdk::test]
fn an_installation_is_asked_for_and_the_owner_is_told_where_to_decide(host: &mut TestHost) {
    let said = ask(host, "plugin_request", json!({ "name": " acme/mail ", "reason": "to read your mail" }));
    assert!(
        said.contains("nothing is installed") && said.contains("carapace plugin requests approve request-1"),
        "{said}"
    );
    let with = |host: &mut TestHost, error: Error| {
        host.fail("requests", error).call_tool("plugin_request", json!({ "name": "mail", "reason": "why not" }))
    };
    assert!(matches!(with(host, Error::Invalid("no such name".into())), Err(ToolError::InvalidArguments(_))));
    assert!(matches!(with(host, Error::Denied("not granted".into())), Err(ToolError::Denied(_))));
}

#[carapace_sdk::test]
fn a_message_goes_to_whom_it_names_and_a_wrong_name_is_told(host: &mut TestHost) {
    host.target("family");
    let said = ask(host, "message_send", json!({ "target": " family ", "text": "Dinner at **eight**." }));
    assert!(said.starts_with("On its way to family"), "{said}");
    assert_eq!(host.messages(), [("family".to_owned(), "Dinner at **eight**.".to_owned())]);
    let sent = host.call_tool("message_send", json!({ "target": "nobody", "text": "x" }));
    assert!(matches!(sent, Err(ToolError::NotFound(_))), "{sent:?}");
    host.fail("message", Error::Invalid("a text has 1 to 65536 bytes".into()));
    let sent = host.call_tool("message_send", json!({ "target": "owner", "text": " " }));
    assert!(matches!(sent, Err(ToolError::InvalidArguments(_))), "{sent:?}");
}
