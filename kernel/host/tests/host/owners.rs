//! What is the owner's: notes, conversations, configuration. Who gets them, and what they say about where they come from.

use crate::fixtures::wat;
use crate::world::{World, grant, granted, id, tool};
use carapace_contract::decision::Origin;
use carapace_contract::log::Entry;
use carapace_contract::message::Part;
use carapace_contract::ports::{ToolFailure, ToolOutput};
use carapace_store::{Batch, KvWrite, LogRow, Ulid};
use serde_json::{Value, json};

/// The argument's name says what to do with the note `k`: `w` writes the arguments into it, `r` reads it, `f` fails with it.
const NOTES: &str = r#"
(import "carapace:plugin/memory@0.1.0-dev" "read" (func $read (param i32 i32 i32)))
(import "carapace:plugin/memory@0.1.0-dev" "write" (func $write (param i32 i32 i32 i32 i32)))
(func $main (result i32)
  (local $do i32)
  (local.set $do (i32.load8_u (i32.add (global.get $arguments) (i32.const 2))))
  (if (i32.eq (local.get $do) (i32.const 119))
    (then
      (call $write (i32.const 1024) (i32.const 1) (global.get $arguments) (global.get $arguments-len) (i32.const 0))
      (if (i32.load8_u (i32.const 0))
        (then (return (call $denied (i32.load (i32.const 8)) (i32.load (i32.const 12))))))
      (return (call $text (i32.const 1025) (i32.const 7)))))
  (call $read (i32.const 1024) (i32.const 1) (i32.const 0))
  (if (i32.load8_u (i32.const 0))
    (then (return (call $denied (i32.load (i32.const 12)) (i32.load (i32.const 16))))))
  (if (i32.eqz (i32.load8_u (i32.const 8))) (then (return (call $text (i32.const 1032) (i32.const 7)))))
  (if (i32.eq (local.get $do) (i32.const 102))
    (then (return (call $denied (i32.load (i32.const 24)) (i32.load (i32.const 28))))))
  (call $text (i32.load (i32.const 24)) (i32.load (i32.const 28))))
(data (i32.const 1024) "kwrittennothing")"#;

/// `l`: how many conversations there are, and the first one's id; `x`: what the one named in the arguments begins with.
const CONVERSATIONS: &str = r#"
(import "carapace:plugin/sessions@0.1.0-dev" "list" (func $list (param i32 i32)))
(import "carapace:plugin/sessions@0.1.0-dev" "read" (func $read (param i32 i32 i32 i32)))
(func $main (result i32)
  (local $at i32)
  (if (i32.eq (i32.load8_u (i32.add (global.get $arguments) (i32.const 2))) (i32.const 108))
    (then
      (call $list (i32.const 9) (i32.const 0))
      (if (i32.load8_u (i32.const 0))
        (then (return (call $denied (i32.load (i32.const 8)) (i32.load (i32.const 12))))))
      (local.set $at (i32.const 1024))
      (i32.store8 (local.get $at) (i32.add (i32.const 48) (i32.load (i32.const 8))))
      (memory.copy (i32.const 1025) (i32.load (i32.load (i32.const 4))) (i32.const 32))
      (return (call $text (i32.const 1024) (i32.const 33)))))
  (call $read (i32.add (global.get $arguments) (i32.const 6)) (i32.const 32) (i32.const 9) (i32.const 0))
  (if (i32.load8_u (i32.const 0))
    (then (return (call $denied (i32.load (i32.const 8)) (i32.load (i32.const 12))))))
  (local.set $at (i32.load (i32.const 4)))
  (call $text (i32.load offset=8 (local.get $at)) (i32.load offset=12 (local.get $at))))"#;

/// Reads `agent.maxTurns`.
const SETTINGS: &str = r#"
(import "carapace:plugin/settings@0.1.0-dev" "read" (func $read (param i32 i32 i32)))
(func $main (result i32)
  (call $read (i32.const 1024) (i32.const 14) (i32.const 0))
  (if (i32.load8_u (i32.const 0))
    (then (return (call $denied (i32.load (i32.const 8)) (i32.load (i32.const 12))))))
  (call $text (i32.load (i32.const 8)) (i32.load (i32.const 12))))
(data (i32.const 1024) "agent.maxTurns")"#;

fn said(output: &ToolOutput) -> &str {
    match output.content.as_slice() {
        [Part::Text { text }] => text,
        other => panic!("not one text: {other:?}"),
    }
}

async fn notes(uses: &str, more: &str) -> World {
    let world = World::new();
    renew(&world, uses, more).await;
    world
}

/// Another version of the component, with the same instance's notes.
async fn renew(world: &World, uses: &str, more: &str) {
    let package = tool(NOTES, uses, &format!("[memory]\n{more}"));
    let given = granted(&package);
    world.load(package, given).await.unwrap();
}

async fn as_(world: &World, origin: Origin, session: &str, arguments: Value) -> ToolOutput {
    world.call_as(origin, session, false, arguments).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_owner_finds_a_note_in_every_conversation_and_nobody_elses_ever() {
    let world = notes("\"memory\"", "").await;
    as_(&world, Origin::Owner, "one", json!({"w": "the owner's"})).await;
    as_(&world, Origin::PairedUser, "anna", json!({"w": "Anna's"})).await;
    for (origin, session, found) in [
        (Origin::Owner, "two", r#"{"w":"the owner's"}"#),
        (Origin::ApiClient, "three", r#"{"w":"the owner's"}"#),
        (Origin::Schedule, "four", r#"{"w":"the owner's"}"#),
        (Origin::Owner, "anna", r#"{"w":"the owner's"}"#),
        (Origin::PairedUser, "anna", r#"{"w":"Anna's"}"#),
        (Origin::PairedUser, "bert", "nothing"),
        (Origin::PairedUser, "one", "nothing"),
    ] {
        let output = as_(&world, origin, session, json!({"r": 0})).await;
        assert_eq!(said(&output), found, "{origin:?} in {session}");
        assert!(!output.tainted, "{origin:?} in {session}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_that_says_it_only_reads_notes_cannot_write_them() {
    let world = notes("\"memory:read\"", "").await;
    assert_eq!(said(&as_(&world, Origin::UnknownSender, "s", json!({"r": 0})).await), "nothing");
    let refused = world.call(json!({"w": 0})).await.unwrap_err();
    assert!(refused.kind == "denied" && refused.message.contains("[E-GRANT-003]"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_note_that_text_from_outside_had_a_hand_in_taints_whatever_reads_it() {
    let fetches = "[[http]]\npublic = true\n";
    let world = notes("\"memory\", \"http:public\"", fetches).await;
    world.call(json!({"w": "from the web"})).await.unwrap();
    renew(&world, "\"memory\"", "").await;
    assert!(world.call(json!({"r": 0})).await.unwrap().tainted);
    // A failure is told in the guest's words, too.
    let failed: ToolFailure = world.call(json!({"f": 0})).await.unwrap_err();
    assert!(failed.tainted && failed.message.contains("from the web"), "{failed:?}");
    // Nothing was read, nothing is tainted; and what replaces the note counts for itself.
    assert!(!world.call(json!({"w": "the owner's own"})).await.unwrap().tainted);
    assert!(!world.call(json!({"r": 0})).await.unwrap().tainted);
}

#[tokio::test(flavor = "multi_thread")]
async fn notes_have_a_quota_whose_refusal_names_the_line_and_no_conversation() {
    let world = notes("\"memory\"", "[limits]\nnotes-size = \"16B\"\n").await;
    as_(&world, Origin::PairedUser, "a person's number", json!({"w": "x"})).await;
    let refused = world.call_as(Origin::PairedUser, "a person's number", false, json!({"w": "more than fits"})).await;
    let refused = refused.unwrap_err().message;
    assert!(refused.contains("at most 16") && refused.contains("notesBytes: 32"), "{refused}");
    assert!(!refused.contains("number"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_refused_of_it_answers_with_a_denial_and_the_command() {
    for (fixture, word) in [(NOTES, "memory"), (CONVERSATIONS, "sessions"), (SETTINGS, "settings")] {
        let world = World::new();
        let package = tool(fixture, &format!("\"{word}\""), &format!("[{word}]\noptional = true\n"));
        let narrow = package.capabilities().without_optional(&[word.to_owned()]);
        let given = grant(&package, narrow);
        world.load(package, given).await.unwrap();
        for arguments in [json!({"r": 0}), json!({"l": 0})] {
            let refused = world.call(arguments).await.unwrap_err();
            assert!(refused.kind == "denied" && refused.message.contains("[E-RUNTIME-023]"), "{word}: {refused}");
            assert!(refused.message.contains("carapace plugin grant local/fixture/main"), "{word}: {refused}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_text_from_outside_had_a_hand_in_taints_whatever_reads_it() {
    let world = World::new();
    let package = tool(wat::KV, "\"kv\"", "[kv]\n");
    let given = granted(&package);
    world.load(package, given).await.unwrap();
    let put = |key: Value, tainted| KvWrite {
        instance: id().to_string(),
        key: key.to_string(),
        value: vec![1],
        ttl_ms: None,
        quota_bytes: u64::MAX,
        tainted,
    };
    let batch = Batch::new().kv_set(put(json!({"web": 1}), true)).kv_set(put(json!({"own": 1}), false));
    world.store.commit(batch).await.unwrap();
    for (arguments, tainted) in [(json!({"web": 1}), true), (json!({"own": 1}), false), (json!({"none": 1}), false)] {
        assert_eq!(world.call(arguments.clone()).await.unwrap().tainted, tainted, "{arguments}");
    }
}

async fn conversations() -> World {
    let world = World::new();
    let package = tool(CONVERSATIONS, "\"sessions\"", "[sessions]\n");
    let given = granted(&package);
    world.load(package, given).await.unwrap();
    for (at_ms, session, origin, text) in
        [(1, "mine", Origin::Owner, "my own words"), (2, "anna", Origin::PairedUser, "Anna's words")]
    {
        let entry = Entry::User { origin, parts: vec![Part::text(text)], after: None, brought: false };
        let row = LogRow {
            id: Ulid::generate(),
            session: session.into(),
            run: None,
            kind: entry.kind().into(),
            content: serde_json::to_value(entry).unwrap(),
            tainted: false,
            at_ms,
        };
        world.store.commit(Batch::new().append(row)).await.unwrap();
    }
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn the_owner_reads_every_conversation_and_anybody_else_their_own() {
    let world = conversations().await;
    let list = async |origin, session| {
        let output = as_(&world, origin, session, json!({"l": 0})).await;
        let (count, id) = said(&output).split_at(1);
        (count.to_owned(), id.to_owned())
    };
    // Newest first, and under the name by which the guest knows it in its own call.
    let (count, annas) = list(Origin::Owner, "mine").await;
    assert_eq!(count, "2");
    let (count, mine) = list(Origin::Schedule, "mine").await;
    assert_eq!(count, "1");
    assert_eq!(list(Origin::PairedUser, "anna").await, ("1".to_owned(), annas.clone()));
    assert!(!annas.contains("anna") && annas != mine);

    let read = async |origin, session, id: &str| world.call_as(origin, session, false, json!({"x": id})).await;
    let own = read(Origin::ApiClient, "mine", &mine).await.unwrap();
    assert_eq!((said(&own), own.tainted), ("my own words", false));
    let others = read(Origin::Owner, "mine", &annas).await.unwrap();
    assert_eq!((said(&others), others.tainted), ("Anna's words", true));
    assert_eq!(said(&read(Origin::PairedUser, "anna", &annas).await.unwrap()), "Anna's words");
    for (origin, session, id) in
        [(Origin::PairedUser, "anna", &mine), (Origin::Schedule, "anna", &mine), (Origin::UnknownSender, "x", &annas)]
    {
        let refused = read(origin, session, id).await.unwrap_err();
        assert!(refused.kind == "denied" && refused.message.contains("[E-GRANT-006]"), "{origin:?}: {refused}");
    }
    let refused = read(Origin::Owner, "mine", &"0".repeat(32)).await.unwrap_err();
    assert!(refused.message.contains("no such conversation"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_configuration_is_read_for_the_owner_and_for_nobody_else() {
    let world = World::new();
    let package = tool(SETTINGS, "\"settings\"", "[settings]\n");
    let given = granted(&package);
    world.load(package, given).await.unwrap();
    for origin in [Origin::Owner, Origin::ApiClient] {
        assert_eq!(said(&as_(&world, origin, "s", json!({})).await), "16");
    }
    for origin in [Origin::Schedule, Origin::PairedUser, Origin::GroupMember, Origin::UnknownSender, Origin::Webhook] {
        let refused = world.call_as(origin, "s", false, json!({})).await.unwrap_err();
        assert!(refused.message.contains("[E-GRANT-006]") && refused.message.contains("as the owner"), "{refused}");
    }
}

/// Proposes to install `acme/mail`, to read↵mail.
const PROPOSE: &str = include_str!("../../../../tests/fixtures/propose.wat");

#[tokio::test(flavor = "multi_thread")]
async fn an_installation_is_only_recorded_and_only_when_the_owner_speaks() {
    let world = World::new();
    let package = tool(PROPOSE, "\"requests\"", "[requests]\n");
    let given = granted(&package);
    world.load(package, given).await.unwrap();
    for origin in [Origin::Schedule, Origin::PairedUser, Origin::GroupMember, Origin::UnknownSender, Origin::Webhook] {
        let refused = world.call_as(origin, "s", false, json!({})).await.unwrap_err();
        assert!(refused.message.contains("[E-GRANT-006]"), "{origin:?}: {refused}");
    }
    assert_eq!(world.store.requests(0).await.unwrap(), []);
    // Text from outside may have talked the model into it: that is noted, and no more comes of it than of any other.
    let answered = world.call_as(Origin::Owner, "chat", true, json!({})).await.unwrap();
    let waiting = world.store.requests(0).await.unwrap();
    let [request] = waiting.as_slice() else { panic!("{waiting:?}") };
    assert_eq!(said(&answered), request.id.to_string().to_lowercase());
    assert_eq!((request.name.as_str(), request.reason.as_str()), ("acme/mail", "to read mail"));
    assert!(request.tainted && request.session == "chat" && request.instance == id());
    let again = world.call(json!({})).await.unwrap_err();
    assert!(again.message.contains("already"), "{again}");
    assert_eq!(world.host.packages().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_version_sees_in_which_form_the_pairs_are_until_it_says_that_it_changed_them() {
    const SCHEMA: &str = include_str!("../../../../tests/fixtures/kv-schema.wat");
    let world = World::new();
    let answers = async |number: u32| {
        let package = tool(SCHEMA, "\"kv\"", &format!("[kv]\nschema = {number}\n"));
        let given = granted(&package);
        world.load(package, given).await.unwrap();
        let first = said(&world.call(json!({})).await.unwrap()).to_owned();
        (first, said(&world.call(json!({})).await.unwrap()).to_owned())
    };
    // Nothing is kept yet: its own number.
    assert_eq!(answers(1).await, ("1".into(), "1".into()));
    assert_eq!(answers(3).await, ("1".into(), "3".into()));
    assert_eq!(world.store.component_schema(id().component()).await.unwrap(), Some(3));
}
