use super::*;
use std::collections::BTreeMap;

/// Notes in a map; the clock advances a second with each write.
#[derive(Default)]
struct Kept {
    notes: BTreeMap<String, Note>,
    refuse: Option<fn(String) -> Error>,
    seconds: u64,
}

impl Kept {
    fn gate(&self) -> Result<(), Error> {
        self.refuse.map_or(Ok(()), |refuse| Err(refuse("the kernel's words".into())))
    }
    fn newest(&self) -> Vec<Note> {
        let mut all: Vec<Note> = self.notes.values().cloned().collect();
        all.sort_by_key(|n| std::cmp::Reverse(n.updated_ms));
        all
    }
}

impl Notes for Kept {
    fn read(&mut self, key: &str) -> Result<Option<Note>, Error> {
        self.gate()?;
        Ok(self.notes.get(key).cloned())
    }
    fn write(&mut self, key: &str, text: &str) -> Result<(), Error> {
        self.gate()?;
        self.seconds += 1;
        let updated_ms = 1_782_909_296_000 + 1000 * self.seconds;
        let note = Note { key: key.into(), text: text.into(), updated_ms, tainted: false, extra: Vec::new() };
        self.notes.insert(key.into(), note);
        Ok(())
    }
    fn delete(&mut self, key: &str) -> Result<bool, Error> {
        self.gate()?;
        Ok(self.notes.remove(key).is_some())
    }
    fn list(&mut self, limit: u32) -> Result<Vec<Note>, Error> {
        self.gate()?;
        Ok(self.newest().into_iter().take(limit as usize).collect())
    }
    fn search(&mut self, query: &str, limit: u32) -> Result<Vec<Note>, Error> {
        self.gate()?;
        let holds = |note: &Note| query.split_whitespace().any(|word| note.text.contains(word));
        Ok(self.newest().into_iter().filter(holds).take(limit as usize).collect())
    }
}

fn ask(kept: &mut Kept, name: &str, arguments: &str) -> String {
    calls::answer(name, arguments, kept).unwrap()
}

fn invalid(name: &str, arguments: &str) -> String {
    match calls::answer(name, arguments, &mut Kept::default()) {
        Err(ToolError::InvalidArguments(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_was_written_is_read_listed_and_found() {
    let mut kept = Kept::default();
    ask(&mut kept, "memory_write", r#"{"key":"people/anna","text":"Anna plays\nthe viola."}"#);
    ask(&mut kept, "memory_write", r#"{"key":"tea","text":"No milk."}"#);
    let read = ask(&mut kept, "memory_read", r#"{"key":"people/anna"}"#);
    assert_eq!(read, "`people/anna` (Wed, 01 Jul 2026 12:34:57 GMT)\n\nAnna plays\nthe viola.");
    let list = ask(&mut kept, "memory_list", "{}");
    assert_eq!(
        list,
        "`tea` (Wed, 01 Jul 2026 12:34:58 GMT): No milk.\n`people/anna` (Wed, 01 Jul 2026 12:34:57 GMT): Anna plays the viola."
    );
    let found = ask(&mut kept, "memory_search", r#"{"query":"viola violin"}"#);
    assert!(found.starts_with("`people/anna`") && !found.contains("milk"), "{found}");
    assert_eq!(ask(&mut kept, "memory_search", r#"{"query":"coffee"}"#), "No note holds any of these words.");
}

#[test]
fn a_note_is_forgotten_once_and_then_it_is_not_there() {
    let mut kept = Kept::default();
    ask(&mut kept, "memory_write", r#"{"key":"k","text":"t"}"#);
    assert_eq!(ask(&mut kept, "memory_forget", r#"{"key":"k"}"#), "Forgotten: `k`.");
    for name in ["memory_forget", "memory_read"] {
        match calls::answer(name, r#"{"key":"k"}"#, &mut kept) {
            Err(ToolError::NotFound(why)) => assert!(why.contains("`k`") && why.contains("memory_list"), "{why}"),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(ask(&mut kept, "memory_list", "{}"), "No notes are kept.");
}

#[test]
fn text_from_outside_is_marked_wherever_the_note_is_shown() {
    let mut kept = Kept::default();
    ask(&mut kept, "memory_write", r#"{"key":"k","text":"word"}"#);
    kept.notes.get_mut("k").unwrap().tainted = true;
    for (name, arguments) in
        [("memory_read", r#"{"key":"k"}"#), ("memory_list", "{}"), ("memory_search", r#"{"query":"word"}"#)]
    {
        assert!(ask(&mut kept, name, arguments).contains("holds text from outside"), "{name}");
    }
}

#[test]
fn what_is_left_out_is_said() {
    let mut kept = Kept::default();
    for n in 0..3 {
        ask(&mut kept, "memory_write", &format!(r#"{{"key":"k{n}","text":"ä{}"}}"#, "ö".repeat(2_000)));
    }
    let list = ask(&mut kept, "memory_list", r#"{"limit":2}"#);
    assert!(list.contains("`k2`") && list.contains("`k1`") && !list.contains("`k0`"), "{list}");
    assert!(list.ends_with("There are more than these 2; memory_search finds them by words.") && list.len() < 900);
    assert!(!ask(&mut kept, "memory_list", r#"{"limit":3}"#).contains("more than"));
    kept.notes.get_mut("k0").unwrap().text.push_str(" end");
    let found = ask(&mut kept, "memory_search", r#"{"query":"end"}"#);
    assert!(found.ends_with("(cut; memory_read gives it whole)") && !found.contains("end\n"), "{found}");
    assert!(ask(&mut kept, "memory_read", r#"{"key":"k0"}"#).ends_with(" end"));
}

#[test]
fn arguments_that_do_not_fit_are_told_what_to_change() {
    assert!(invalid("memory_read", "{}").contains("`key`"));
    assert!(invalid("memory_read", r#"{"key":"k","kee":1}"#).contains("`kee`"));
    assert!(invalid("memory_write", r#"{"key":"k","text":" "}"#).contains("memory_forget"));
    assert!(invalid("memory_write", r#"{"key":7,"text":"t"}"#).contains("string"));
    assert!(invalid("memory_search", r#"{"query":"  "}"#).contains("word"));
    assert!(invalid("memory_search", r#"{"query":"q","limit":0}"#).contains("1 to 50"));
    assert!(invalid("memory_list", r#"{"limit":501}"#).contains("1 to 500"));
    assert!(invalid("memory_list", "nonsense").contains("do not fit"));
    let other = calls::answer("memory_burn", "{}", &mut Kept::default());
    assert!(matches!(other, Err(ToolError::NotFound(_))));
}

#[test]
fn a_refusal_of_the_kernel_keeps_its_kind_and_its_words() {
    let calls = [
        ("memory_read", r#"{"key":"k"}"#),
        ("memory_list", "{}"),
        ("memory_search", r#"{"query":"q"}"#),
        ("memory_write", r#"{"key":"k","text":"t"}"#),
        ("memory_forget", r#"{"key":"k"}"#),
    ];
    for (name, arguments) in calls {
        let with = |refuse| calls::answer(name, arguments, &mut Kept { refuse: Some(refuse), ..Kept::default() });
        assert!(matches!(with(Error::Denied), Err(ToolError::Denied(w)) if w == "the kernel's words"), "{name}");
        assert!(matches!(with(Error::Limit), Err(ToolError::Failed(w)) if w == "the kernel's words"), "{name}");
        assert!(matches!(with(Error::Invalid), Err(ToolError::InvalidArguments(_))), "{name}");
        assert!(matches!(with(Error::Timeout), Err(ToolError::Unavailable(_))), "{name}");
    }
}

#[test]
fn every_listed_tool_stands_in_the_manifest_and_its_schema_is_json() {
    let manifest = include_str!("../carapace.toml");
    for tool in Memory::list() {
        assert!(manifest.contains(&format!("name = \"{}\"", tool.name)), "{}", tool.name);
        let schema: serde_json::Value = serde_json::from_str(&tool.parameters).unwrap();
        for required in schema["required"].as_array().unwrap() {
            assert!(schema["properties"][required.as_str().unwrap()].is_object(), "{}", tool.name);
        }
    }
}
