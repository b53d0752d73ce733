use super::*;
use serde_json::{Value, json};

const NOON: u64 = 1_782_907_200_000;

/// What the kernel would answer, and what it was asked.
struct Fake {
    sessions: Vec<Session>,
    entries: Vec<Entry>,
    settings: Value,
    refuse: Option<fn(String) -> Error>,
}

impl Default for Fake {
    fn default() -> Self {
        Self { sessions: Vec::new(), entries: Vec::new(), settings: json!({}), refuse: None }
    }
}

impl Fake {
    fn gate(&self) -> Result<(), Error> {
        self.refuse.map_or(Ok(()), |refuse| Err(refuse("the kernel's words".into())))
    }
}

impl Known for Fake {
    fn sessions(&mut self, limit: u32) -> Result<Vec<Session>, Error> {
        self.gate()?;
        Ok(self.sessions.iter().take(limit as usize).cloned().collect())
    }
    fn entries(&mut self, session: &str, limit: u32) -> Result<Vec<Entry>, Error> {
        self.gate()?;
        if session != "s1" {
            return Err(Error::NotFound("there is no such conversation".into()));
        }
        let skip = self.entries.len().saturating_sub(limit as usize);
        Ok(self.entries.iter().skip(skip).cloned().collect())
    }
    fn settings(&mut self, path: &str) -> Result<Option<String>, Error> {
        self.gate()?;
        let found = if path.is_empty() { Some(&self.settings) } else { self.settings.get(path) };
        Ok(found.map(Value::to_string))
    }
}

fn session(id: &str, title: &str) -> Session {
    Session { id: id.into(), title: title.into(), messages: 4, updated_ms: NOON, extra: Vec::new() }
}

fn entry(role: &str, text: &str, extra: &[(&str, &str)]) -> Entry {
    let extra = extra.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    Entry { role: role.into(), text: text.into(), at_ms: NOON, tainted: false, extra }
}

fn ask(known: &mut Fake, name: &str, arguments: &str) -> String {
    calls::answer(name, arguments, known).unwrap()
}

#[test]
fn conversations_are_a_line_each_and_a_full_list_says_there_may_be_more() {
    let mut known = Fake {
        sessions: vec![session("s1", "plans for\nJuly"), session("s2", ""), session("s3", "x")],
        ..Fake::default()
    };
    assert_eq!(
        ask(&mut known, "session_list", r#"{"limit":2}"#),
        "s1 (Wed, 01 Jul 2026 12:00:00 GMT; messages: 4): plans for July\n\
         s2 (Wed, 01 Jul 2026 12:00:00 GMT; messages: 4): (no words)\n\
         These are the newest 2; there may be more."
    );
    assert!(!ask(&mut known, "session_list", "{}").contains("more"));
    assert_eq!(ask(&mut Fake::default(), "session_list", "{}"), "There are no conversations yet.");
}

#[test]
fn a_conversation_shows_who_spoke_what_was_called_and_what_may_be_from_outside() {
    let mut page = entry("tool", "the page", &[("tool", "web_fetch"), ("error", "true")]);
    page.tainted = true;
    let entries = vec![
        entry("user", "look it up", &[]),
        entry("assistant", "", &[("reasoning", "hm"), ("tool-call", r#"web_fetch {"url":"u"}"#)]),
        page,
    ];
    let text = ask(&mut Fake { entries, ..Fake::default() }, "session_read", r#"{"session":"s1"}"#);
    assert_eq!(
        text,
        "[user; Wed, 01 Jul 2026 12:00:00 GMT]\nlook it up\n\n\
         [assistant; Wed, 01 Jul 2026 12:00:00 GMT]\n(called web_fetch {\"url\":\"u\"})\n\n\
         [tool web_fetch, failed, may hold text from outside; Wed, 01 Jul 2026 12:00:00 GMT]\nthe page"
    );
}

#[test]
fn of_a_long_conversation_the_end_is_shown_and_what_is_missing_is_counted() {
    let entries: Vec<Entry> = (0..5).map(|n| entry("user", &format!("{n}{}", "x".repeat(30 << 10)), &[])).collect();
    let text = ask(&mut Fake { entries, ..Fake::default() }, "session_read", r#"{"session":"s1"}"#);
    assert!(text.starts_with("(earlier messages are left out: 3)\n\n[user;") && text.contains("\n4xxx"));
    let last = ask(
        &mut Fake { entries: vec![entry("user", "a", &[]), entry("user", "b", &[])], ..Fake::default() },
        "session_read",
        r#"{"session":"s1","limit":1}"#,
    );
    assert!(last.ends_with("\nb") && !last.contains("\na"), "{last}");
    let one = Fake { entries: vec![entry("user", &"y".repeat(100 << 10), &[])], ..Fake::default() };
    assert!(ask(&mut { one }, "session_read", r#"{"session":"s1"}"#).ends_with("yyy"));
}

#[test]
fn the_configuration_is_shown_whole_or_in_part() {
    let mut known = Fake { settings: json!({"agent": {"route": ["a/b"]}}), ..Fake::default() };
    let all = ask(&mut known, "config_read", "{}");
    assert_eq!(serde_json::from_str::<Value>(&all).unwrap(), known.settings);
    assert_eq!(
        serde_json::from_str::<Value>(&ask(&mut known, "config_read", r#"{"path":" agent "}"#)).unwrap(),
        json!({"route": ["a/b"]})
    );
    match calls::answer("config_read", r#"{"path":"nowhere"}"#, &mut known) {
        Err(ToolError::NotFound(why)) => assert!(why.contains("`nowhere`"), "{why}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn arguments_that_do_not_fit_are_told_what_to_change() {
    let invalid = |name: &str, arguments: &str| match calls::answer(name, arguments, &mut Fake::default()) {
        Err(ToolError::InvalidArguments(why)) => why,
        other => panic!("{other:?}"),
    };
    assert!(invalid("session_list", r#"{"limit":101}"#).contains("1 to 100"));
    assert!(invalid("session_read", "{}").contains("`session`"));
    assert!(invalid("session_read", r#"{"session":"s1","limit":0}"#).contains("1 to 200"));
    assert!(invalid("config_read", r#"{"pfad":"a"}"#).contains("`pfad`"));
    assert!(matches!(calls::answer("config_write", "{}", &mut Fake::default()), Err(ToolError::NotFound(_))));
}

#[test]
fn a_refusal_of_the_kernel_keeps_its_kind_and_its_words() {
    for (name, arguments) in [("session_list", "{}"), ("session_read", r#"{"session":"s1"}"#), ("config_read", "{}")] {
        let with = |refuse| calls::answer(name, arguments, &mut Fake { refuse: Some(refuse), ..Fake::default() });
        assert!(matches!(with(Error::Denied), Err(ToolError::Denied(w)) if w == "the kernel's words"), "{name}");
        assert!(matches!(with(Error::NotFound), Err(ToolError::NotFound(_))), "{name}");
        assert!(matches!(with(Error::Unavailable), Err(ToolError::Unavailable(_))), "{name}");
    }
}

#[test]
fn every_listed_tool_stands_in_the_manifest_and_its_schema_is_json() {
    let manifest = include_str!("../carapace.toml");
    for tool in Assistant::list() {
        assert!(manifest.contains(&format!("name = \"{}\"", tool.name)), "{}", tool.name);
        assert!(serde_json::from_str::<Value>(&tool.parameters).unwrap()["properties"].is_object(), "{}", tool.name);
    }
}
