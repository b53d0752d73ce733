//! A package runs under the grant that was given for it, or under one that covers it.

use crate::fixtures::wat;
use crate::world::{World, grant, granted, id, tool};
use carapace_contract::ports::Tools;
use carapace_host::Lending;
use serde_json::json;
use std::collections::BTreeSet;
use std::time::Duration;

const KV: &str = "[kv]\n";

#[tokio::test(flavor = "multi_thread")]
async fn an_earlier_grant_carries_a_package_that_asks_for_nothing_more() {
    let world = World::new();
    let (older, newer) = (tool(wat::KV, "\"kv\"", KV), tool(wat::KV, "\"kv\"", "[kv]\n[limits]\nmemory = \"16MiB\"\n"));
    assert_ne!(older.digest(), newer.digest());
    world.load(newer, granted(&older)).await.unwrap();
    world.call(json!({"key": "x"})).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_earlier_grant_does_not_carry_a_package_that_asks_for_more() {
    let world = World::new();
    let older = tool(wat::ECHO, "", "");
    for (uses, more, named) in [
        ("", "[limits]\nmemory = \"64MiB\"\n", "limits.memory"),
        ("\"http:public\"", "[[http]]\npublic = true\n", "http:public"),
        ("\"kv\"", KV, "kv"),
    ] {
        let newer = tool(wat::ECHO, uses, more);
        let denial = world.load(newer, granted(&older)).await.unwrap_err();
        assert_eq!(denial.code, "E-GRANT-005", "{denial}");
        assert!(denial.message.contains(named), "{denial}");
        assert_eq!(denial.fix, "carapace plugin grant local/fixture/main");
    }
    assert!(world.host.packages().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_effect_that_a_newer_package_no_longer_admits_is_not_forgotten() {
    let world = World::new();
    let older = tool(wat::ECHO, "", "effects = [\"send\"]\n");
    let newer = tool(wat::ECHO, "", "");
    let denial = world.load(newer, granted(&older)).await.unwrap_err();
    assert!(denial.code == "E-GRANT-005" && denial.message.contains("no longer says that it can send"), "{denial}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_bites_in_the_middle_of_a_conversation_and_takes_the_tool_off_the_list() {
    let world = World::new();
    let package = tool(wat::KV, "\"kv\"", KV);
    let given = granted(&package);
    world.load(package, given).await.unwrap();
    let catalog = world.host.catalog();
    assert_eq!(catalog.len(), 1);
    assert!(world.host.set_revoked(&id(), true));
    assert!(world.host.catalog().is_empty());
    world.host.set_revoked(&id(), false);
    world.call(json!({"key": "x"})).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_optional_capability_is_answered_with_a_denial_and_the_rest_works() {
    let world = World::new();
    let package = tool(wat::KV, "\"kv\"", "[kv]\noptional = true\n");
    let narrow = package.capabilities().without_optional(&["kv".to_owned()]);
    let given = grant(&package, narrow);
    world.load(package, given).await.unwrap();
    let failure = world.call(json!({"key": "x"})).await.unwrap_err();
    assert_eq!(failure.kind, "denied");
    assert!(failure.message.contains("carapace plugin grant local/fixture/main kv"), "{failure}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_optional_capability_that_is_taken_back_is_refused_at_the_next_host_call_and_the_rest_works() {
    let world = World::new();
    let package = tool(wat::KV, "\"kv\"", "[kv]\noptional = true\n");
    let given = granted(&package);
    world.load(package, given).await.unwrap();
    world.call(json!({"key": "x"})).await.unwrap();
    let kv = BTreeSet::from(["kv".to_owned()]);
    assert!(world.host.refuse(&id(), &kv));
    let failure = world.call(json!({"key": "x"})).await.unwrap_err();
    assert!(failure.message.contains("carapace plugin grant local/fixture/main kv"), "{failure}");
    assert_eq!(world.host.catalog().len(), 1, "the tool stays on offer");
    // What it cannot do without is not taken alone.
    let package = tool(wat::KV, "\"kv\"", KV);
    let given = granted(&package);
    world.load(package, given).await.unwrap();
    world.host.refuse(&id(), &kv);
    world.call(json!({"key": "x"})).await.unwrap();
    assert!(!world.host.refuse(&"local/nobody".parse().unwrap(), &kv));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_capability_is_lent_for_one_call_or_for_a_while_and_a_revocation_ends_that() {
    let world = World::new();
    let package = tool(wat::KV, "\"kv\"", "[kv]\noptional = true\n");
    let kv = BTreeSet::from(["kv".to_owned()]);
    let mut given = grant(&package, package.capabilities().without_optional(&kv));
    given.refused = kv.clone();
    world.load(package, given).await.unwrap();
    let is_refused = async || world.call(json!({"key": "x"})).await.is_err_and(|e| e.kind == "denied");
    assert!(is_refused().await);

    world.host.lend(&id(), &kv, Lending::Once).unwrap();
    assert_eq!(world.host.lent(&id()), Some((kv.clone(), None)));
    assert!(!is_refused().await && is_refused().await, "one call, and no second one");
    assert_eq!(world.host.lent(&id()), None);

    world.host.lend(&id(), &kv, Lending::For(Duration::from_secs(3_600))).unwrap();
    assert!(!is_refused().await && !is_refused().await);
    world.host.lend(&id(), &kv, Lending::For(Duration::ZERO)).unwrap();
    assert!(is_refused().await, "its time is over");

    world.host.lend(&id(), &kv, Lending::For(Duration::from_secs(3_600))).unwrap();
    world.host.refuse(&id(), &kv);
    assert!(is_refused().await, "what was taken back since is not had by what was lent before");
    world.host.set_revoked(&id(), true);
    assert_eq!(world.host.lend(&id(), &kv, Lending::Once).unwrap_err().code, "E-GRANT-001");
}
