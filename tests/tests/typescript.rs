//! The TypeScript example: built as its author builds it, signed, installed into a running kernel, called in a conversation.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test stops at the first thing that is not as it should be"
)]

use carapace_contract::Digest;
use carapace_registry::{imports, package};
use carapace_tests::obedient::{call, obedient};
use carapace_tests::{Kernel, KernelOptions, foreign, owner, peer};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_typescript_tool_is_installed_into_a_running_kernel_and_answers_in_a_conversation() {
    let component = peer!("npm", foreign::component("todo"));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("todo.wasm");
    let packed =
        package::build(&component, &foreign::manifest("sdk/examples/typescript")).unwrap_or_else(|e| panic!("{e}"));
    let digest = Digest::of(&packed).to_string();
    std::fs::write(&file, packed).unwrap();

    let model = obedient().await;
    let mut kernel = Kernel::start(
        KernelOptions::openai(&model.base)
            .with_config("{ agent: { route: ['openai/mock'] } }")
            .with_env("CARAPACE_LOG", "warn,guest=debug"),
    );
    let path = file.display().to_string();
    owner::done(kernel.state(), &["plugin", "sign", &path]);
    owner::done(kernel.state(), &["plugin", "install", &path, "--accept", &digest]);

    let add = call("todo_add", &json!({"text": "Grüße an Anna 👋 schicken"}));
    let id = kernel.say("one", &add).await;
    assert_eq!(id.len(), 8, "{id}");
    let list = call("todo_list", &json!({}));
    let listed = kernel.say("two", &list).await;
    assert!(listed.starts_with(&format!("{id} 20")) && listed.ends_with("Grüße an Anna 👋 schicken"), "{listed}");
    assert!(kernel.log().contains("added"), "it logs through the kernel: {}", kernel.log());
    // The schema of the source is what the kernel holds the model's arguments to.
    let wrong = kernel.say("three", &call("todo_add", &json!({"text": 7}))).await;
    assert!(wrong.contains("text"), "{wrong}");
    let gone = kernel.say("four", &call("todo_done", &json!({"id": "ffffffff"}))).await;
    assert!(gone.contains("nothing has the id"), "{gone}");
    kernel.restart();
    assert_eq!(kernel.say("five", &list).await, listed, "it lasts");
    assert_eq!(kernel.say("six", &call("todo_done", &json!({"id": id}))).await, "done");
    assert_eq!(kernel.say("seven", &list).await, "nothing is to be done");
}

#[test]
fn a_typescript_component_imports_what_its_code_uses_of_the_contract_and_no_wasi() {
    let used = |name: &str| -> Vec<String> {
        let surface = imports::decode(&foreign::component(name).unwrap()).unwrap();
        let name = |i: &String| i.strip_prefix("carapace:plugin/").unwrap_or(i).split('@').next().unwrap().to_owned();
        surface.imports.iter().map(name).collect()
    };
    let _ = peer!("npm", foreign::component("todo"));
    assert_eq!(used("todo"), ["clock", "kv", "log", "random"]);
    assert_eq!(used("template-tool-ts"), ["clock", "http", "log", "random"]);
}
