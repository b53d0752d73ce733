//! A package reads the files that its manifest pins, and nothing else.

use crate::fixtures::wat;
use crate::world::{World, grant, granted, tool};
use carapace_contract::Digest;
use carapace_contract::message::Part;
use serde_json::json;

const NOTES: &[u8] = b"what the package was signed with";

fn pinned(more: &str) -> String {
    let (digest, size) = (Digest::of(NOTES).hex(), NOTES.len());
    format!("[[asset]]\nname = \"notes.txt\"\nsha256 = \"{digest}\"\nsize = {size}\n{more}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_read_once_it_is_there() {
    let world = World::new();
    let package = tool(wat::ASSET, "\"assets\"", &pinned(""));
    let given = granted(&package);
    world.load(package, given).await.unwrap();
    let missing = world.call(json!({})).await.unwrap_err();
    assert!(
        missing.message.contains("`notes.txt` is not on this machine")
            && missing.message.contains("carapace assets add"),
        "{missing}"
    );
    world.asset(NOTES, NOTES);
    let read = world.call(json!({})).await.unwrap();
    assert_eq!(read.content, [Part::Text { text: String::from_utf8(NOTES.to_vec()).unwrap() }]);
    assert!(!read.tainted, "it was signed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_somebody_changed_is_not_read() {
    let world = World::new();
    let package = tool(wat::ASSET, "\"assets\"", &pinned(""));
    let given = granted(&package);
    world.load(package, given).await.unwrap();
    world.asset(NOTES, &NOTES.to_ascii_uppercase());
    let refused = world.call(json!({})).await.unwrap_err();
    assert!(refused.message.contains("its digest is"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_not_granted_is_refused_with_the_command_that_grants_it() {
    let world = World::new();
    let package = tool(wat::ASSET, "\"assets\"", &pinned("optional = true\n"));
    let narrow = package.capabilities().without_optional(&["asset:notes.txt".to_owned()]);
    assert!(narrow.assets.is_empty());
    let given = grant(&package, narrow);
    world.load(package, given).await.unwrap();
    world.asset(NOTES, NOTES);
    let denied = world.call(json!({})).await.unwrap_err();
    assert!(denied.message.contains("E-RUNTIME-023") && denied.message.contains("carapace plugin grant"), "{denied}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_that_does_not_say_so_reads_no_file() {
    let world = World::new();
    let other = format!("{}[[tool]]\nname = \"reads\"\nuses = [\"assets\"]\n", pinned(""));
    let package = tool(wat::ASSET, "", &other);
    let given = granted(&package);
    world.load(package, given).await.unwrap();
    world.asset(NOTES, NOTES);
    let denied = world.call(json!({})).await.unwrap_err();
    assert!(denied.message.contains("E-RUNTIME-023") && denied.message.contains("`uses`"), "{denied}");
}
