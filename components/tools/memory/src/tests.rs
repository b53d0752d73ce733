use super::*;
use carapace_sdk::Error;
use carapace_sdk::serde_json::Value;

const BEGIN: u64 = 1_782_909_296_000;

fn ask(host: &mut TestHost, name: &str, arguments: Value) -> String {
    host.call_tool(name, arguments).unwrap().text()
}

/// A note of its own second.
fn keep(host: &mut TestHost, second: u64, key: &str, text: &str) {
    host.now_ms(BEGIN + 1000 * second);
    ask(host, "memory_write", json!({ "key": key, "text": text }));
}

#[carapace_sdk::test]
fn what_was_written_is_read_listed_and_found(host: &mut TestHost) {
    keep(host, 1, "people/anna", "Anna plays\nthe viola.");
    keep(host, 2, "tea", "No milk.");
    let read = ask(host, "memory_read", json!({ "key": "people/anna" }));
    assert_eq!(read, "`people/anna` (Wed, 01 Jul 2026 12:34:57 GMT)\n\nAnna plays\nthe viola.");
    assert_eq!(
        ask(host, "memory_list", json!({})),
        "`tea` (Wed, 01 Jul 2026 12:34:58 GMT): No milk.\n`people/anna` (Wed, 01 Jul 2026 12:34:57 GMT): Anna plays the viola."
    );
    let found = ask(host, "memory_search", json!({ "query": "viola violin" }));
    assert!(found.starts_with("`people/anna`") && !found.contains("milk"), "{found}");
    assert_eq!(ask(host, "memory_search", json!({ "query": "coffee" })), "No note holds any of these words.");
}

#[carapace_sdk::test]
fn a_note_is_forgotten_once_and_then_it_is_not_there(host: &mut TestHost) {
    keep(host, 1, "k", "t");
    assert_eq!(ask(host, "memory_forget", json!({ "key": "k" })), "Forgotten: `k`.");
    for name in ["memory_forget", "memory_read"] {
        match host.call_tool(name, json!({ "key": "k" })) {
            Err(ToolError::NotFound(why)) => assert!(why.contains("`k`") && why.contains("memory_list"), "{why}"),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(ask(host, "memory_list", json!({})), "No notes are kept.");
}

#[carapace_sdk::test]
fn text_from_outside_is_marked_wherever_the_note_is_shown(host: &mut TestHost) {
    host.note_from_outside("k", "word");
    for (name, arguments) in [
        ("memory_read", json!({ "key": "k" })),
        ("memory_list", json!({})),
        ("memory_search", json!({ "query": "word" })),
    ] {
        assert!(ask(host, name, arguments).contains("holds text from outside"), "{name}");
    }
    keep(host, 1, "k", "word");
    assert!(!ask(host, "memory_read", json!({ "key": "k" })).contains("outside"));
}

#[carapace_sdk::test]
fn what_is_left_out_is_said(host: &mut TestHost) {
    for n in 0..3 {
        keep(host, n, &format!("k{n}"), &format!("ä{}", "ö".repeat(2_000)));
    }
    let list = ask(host, "memory_list", json!({ "limit": 2 }));
    assert!(list.contains("`k2`") && list.contains("`k1`") && !list.contains("`k0`"), "{list}");
    assert!(list.ends_with("There are more than these 2; memory_search finds them by words.") && list.len() < 900);
    assert!(!ask(host, "memory_list", json!({ "limit": 3 })).contains("more than"));
    keep(host, 0, "k0", &format!("ä{} end", "ö".repeat(2_000)));
    let found = ask(host, "memory_search", json!({ "query": "end" }));
    assert!(found.ends_with("(cut; memory_read gives it whole)") && !found.contains("end\n"), "{found}");
    assert!(ask(host, "memory_read", json!({ "key": "k0" })).ends_with(" end"));
}

#[carapace_sdk::test]
fn arguments_that_do_not_fit_are_told_what_to_change(host: &mut TestHost) {
    let mut invalid = |name: &str, arguments| match host.call_tool(name, arguments) {
        Err(ToolError::InvalidArguments(why)) => why,
        other => panic!("{other:?}"),
    };
    assert!(invalid("memory_read", json!({})).contains("`key`"));
    assert!(invalid("memory_read", json!({ "key": "k", "kee": 1 })).contains("`kee`"));
    assert!(invalid("memory_read", json!({ "key": "" })).contains("1 to 512 bytes"));
    assert!(invalid("memory_write", json!({ "key": "k", "text": " " })).contains("memory_forget"));
    assert!(invalid("memory_write", json!({ "key": 7, "text": "t" })).contains("string"));
    assert!(invalid("memory_search", json!({ "query": "  " })).contains("word"));
    assert!(invalid("memory_search", json!({ "query": "q", "limit": 0 })).contains("1 to 50"));
    assert!(invalid("memory_list", json!({ "limit": 501 })).contains("1 to 500"));
    assert!(invalid("memory_list", json!("nonsense")).contains("object"));
    assert!(matches!(host.call_tool("memory_burn", json!({})), Err(ToolError::NotFound(_))));
}

#[carapace_sdk::test]
fn a_refusal_of_the_kernel_keeps_its_kind_and_its_words(host: &mut TestHost) {
    let calls = [
        ("memory_read", json!({ "key": "k" })),
        ("memory_list", json!({})),
        ("memory_search", json!({ "query": "q" })),
        ("memory_write", json!({ "key": "k", "text": "t" })),
        ("memory_forget", json!({ "key": "k" })),
    ];
    for (name, arguments) in calls {
        let mut with = |refuse: fn(String) -> Error| {
            host.fail("memory", refuse("the kernel's words".into())).call_tool(name, arguments.clone())
        };
        assert!(matches!(with(Error::Denied), Err(ToolError::Denied(w)) if w == "the kernel's words"), "{name}");
        assert!(matches!(with(Error::Limit), Err(ToolError::Failed(w)) if w == "the kernel's words"), "{name}");
        assert!(matches!(with(Error::Timeout), Err(ToolError::Unavailable(_))), "{name}");
        // A list has nothing of the model's in it that could be wrong.
        if name != "memory_list" {
            assert!(matches!(with(Error::Invalid), Err(ToolError::InvalidArguments(_))), "{name}");
        }
    }
}
