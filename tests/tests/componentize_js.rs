//! A component of JavaScript that was not made with our SDK, nor with its engine: SpiderMonkey, under the parts of WASI that its manifest asks for.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test stops at the first thing that is not as it should be"
)]

use carapace_contract::Digest;
use carapace_registry::package;
use carapace_tests::author::root;
use carapace_tests::obedient::{call, obedient};
use carapace_tests::{Kernel, KernelOptions, foreign, owner, peer, peers};
use serde_json::json;

const FOLDER: &str = "tests/foreign/componentize-js";

#[tokio::test(flavor = "multi_thread")]
async fn what_componentize_js_makes_is_installed_and_answers_with_the_wasi_that_was_granted_and_no_other() {
    let component = std::fs::read(peer!("componentize-js", peers::componentize_js(&root().join(FOLDER)))).unwrap();
    // What is not asked for is not linked: such a package is not even made.
    let manifest = foreign::manifest(FOLDER);
    let refused = package::build(&component, &manifest.replace("stdio = true\n", "")).unwrap_err().to_string();
    assert!(refused.contains("wasi:cli/stdout"), "{refused}");
    let packed = package::build(&component, &manifest).unwrap_or_else(|e| panic!("{e}"));
    let digest = Digest::of(&packed).to_string();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("letters.wasm");
    std::fs::write(&file, packed).unwrap();

    let model = obedient().await;
    let options = KernelOptions::openai(&model.base).with_config("{ agent: { route: ['openai/mock'] } }");
    let mut kernel = Kernel::start(options.with_env("CARAPACE_LOG", "warn,guest=info"));
    let path = file.display().to_string();
    owner::done(kernel.state(), &["plugin", "sign", &path]);
    owner::done(kernel.state(), &["plugin", "install", &path, "--accept", &digest]);
    let count = |text: &str| call("letters_count", &json!({ "text": text }));
    assert_eq!(kernel.say("one", &count("Grüße 👋")).await, "7 letters, text 1, by chance true");
    assert!(kernel.log().contains("printed in 20") && kernel.log().contains("counted"), "{}", kernel.log());
    let empty = kernel.say("two", &count("")).await;
    assert!(empty.contains("`text` is empty"), "{empty}");
    kernel.restart();
    assert_eq!(kernel.say("three", &count("abc")).await, "3 letters, text 2, by chance true");
}
