//! What is not granted is not there.

use crate::fixtures::{self, wat};
use crate::support::{Subject, engines, provider, tool};
use carapace_contract::InstanceId;
use carapace_contract::capability::CapabilitySet;
use carapace_registry::testing;
use carapace_runtime::{Entry, Interface, TrapKind};

fn id() -> InstanceId {
    "local/fixture/main".parse().unwrap()
}

#[tokio::test]
async fn a_granted_interface_answers() {
    let engines = engines();
    let subject = Subject::new(&engines, &tool(wat::KV, "\"kv\"", "[kv]\n")).await;
    assert!(subject.loaded.imports().contains(&Interface::Kv));
    assert_eq!(subject.run("key").await.unwrap().unwrap(), "ok");
}

#[tokio::test]
async fn a_required_interface_without_a_grant_is_not_linked_and_the_command_is_named() {
    let engines = engines();
    let package = tool(wat::KV, "\"kv\"", "[kv]\n");
    let subject = Subject::new(&engines, &package).await;
    let granted = CapabilitySet { kv: false, ..subject.granted.clone() };
    let denial = subject.loaded.plan(&id(), &granted, Entry::Tool("run")).unwrap_err();
    assert_eq!(denial.code, "E-RUNTIME-021");
    assert!(denial.message.contains("imports `kv`"), "{denial}");
    assert_eq!(denial.fix, "carapace plugin grant local/fixture/main");
}

#[tokio::test]
async fn a_refused_optional_interface_answers_denied_with_the_fix() {
    let engines = engines();
    let package = tool(wat::KV, "\"kv\"", "[kv]\noptional = true\n");
    let mut subject = Subject::new(&engines, &package).await;
    subject.granted.kv = false;
    let denied = subject.run("key").await.unwrap().unwrap_err();
    assert!(denied.contains("may not use `kv`: it was not granted [E-RUNTIME-023]"), "{denied}");
    assert!(denied.contains("carapace plugin grant local/fixture/main"), "{denied}");
    assert_eq!(subject.instance.meter().snapshot().denials.get("E-RUNTIME-023"), Some(&1));
    // The same component with the grant: the plan, not the component, decides.
    subject.granted.kv = true;
    assert_eq!(subject.run("key").await.unwrap().unwrap(), "ok");
}

#[tokio::test]
async fn a_tool_reaches_only_what_its_uses_name() {
    let engines = engines();
    let endpoint = "[[http]]\nendpoint = \"api\"\nurl = \"https://example.com\"\n";
    let subject = Subject::new(&engines, &tool(wat::FETCH, "\"http:api\"", endpoint)).await;
    assert_eq!(subject.run("").await.unwrap().unwrap(), "ok");
    let another = format!("{endpoint}[[tool]]\nname = \"another\"\nuses = [\"http:api\"]\n");
    let subject = Subject::new(&engines, &tool(wat::FETCH, "", &another)).await;
    let denied = subject.run("").await.unwrap().unwrap_err();
    assert!(denied.contains("tool `run` of local/fixture/main may not use `http`"), "{denied}");
    assert!(denied.contains("its `uses` in the manifest do not name it"), "{denied}");
}

#[tokio::test]
async fn a_tool_that_was_not_granted_is_not_run() {
    let engines = engines();
    let subject = Subject::new(&engines, &tool(wat::ECHO, "", "")).await;
    let denial = subject.loaded.plan(&id(), &subject.granted, Entry::Tool("other")).unwrap_err();
    assert_eq!(
        (denial.code.as_str(), denial.fix.as_str()),
        ("E-RUNTIME-024", "carapace plugin grant local/fixture/main")
    );
    let denial = subject.loaded.plan(&id(), &subject.granted, Entry::Provider).unwrap_err();
    assert!(denial.message.contains("asked to complete"), "{denial}");
}

#[tokio::test]
async fn listing_tools_reaches_nothing_but_the_baseline() {
    let engines = engines();
    let subject = Subject::new(&engines, &tool(wat::KV, "\"kv\"", "[kv]\n")).await;
    let plan = subject.loaded.plan(&id(), &subject.granted, Entry::ListTools).unwrap();
    assert!(!plan.links(Interface::Kv));
    assert!(subject.loaded.plan(&id(), &subject.granted, Entry::Tool("run")).unwrap().links(Interface::Kv));
}

#[tokio::test]
async fn only_a_providers_completion_may_emit() {
    let engines = engines();
    let subject = Subject::new(&engines, &provider(wat::EMIT, "")).await;
    assert!(subject.loaded.plan(&id(), &subject.granted, Entry::Provider).unwrap().links(Interface::Completion));
    assert!(!subject.loaded.plan(&id(), &subject.granted, Entry::ListTools).unwrap().links(Interface::Completion));
}

#[tokio::test]
async fn a_component_of_another_contract_is_refused_when_it_is_linked() {
    let engines = engines();
    let wasm = fixtures::foreign_tool(wat::SLEEP64, |wit| wit.replace("func(duration: u32)", "func(duration: u64)"));
    // The registry compares names, and these are right; the engine compares types.
    let package = testing::verified(wasm, &fixtures::tool_manifest("fixture", "", ""));
    let error = Subject::new(&engines, &package).await.run("").await.unwrap_err();
    assert_eq!(error.kind, TrapKind::Instantiate);
    assert!(error.message.contains("carapace:plugin/clock@0.1.0-dev"), "{error}");
    assert!(error.message.contains("type mismatch"), "{error}");
}
