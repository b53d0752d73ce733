//! What an owner's side of registries keeps: the list of them, what was seen of each, the lock of what came from them; and the
//! bundled set, which is one.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test reads and writes files, and stops at the first thing that is not as it should be"
)]

use carapace_contract::Digest;
use carapace_tests::components::{manifest, pack, tool, wat};
use carapace_tests::keeper::{Keeper, Reader, said};
use carapace_tests::kernel::signed_bundle;
use carapace_tests::owner::{self, error};
use carapace_tests::turns::script;
use carapace_tests::{Kernel, KernelOptions, peer, peers, registries};
use std::path::PathBuf;

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_registry_undoes_nothing_that_the_owner_did_meanwhile() {
    let gone = Keeper::called("gone").with(&[("gadget", "0.1.0")]);
    let other = Keeper::called("other").with(&[("widget", "1.0.0")]);
    let slow = Keeper::called("slow").with(&[("trinket", "1.0.0")]);
    let mut gate = registries::Gate::before(&slow.dir).await;
    let reader = gone.reader(gone.dir.to_str().unwrap());
    reader.adds(&other, other.dir.to_str().unwrap());
    reader.adds(&slow, &gate.base);
    let at_first = other.now();

    gate.shut();
    let waiting = reader.starts(&["plugin", "search"]);
    gate.arrived().await;
    reader.done(&["registry", "remove", "gone"]);
    other.index(&[]);
    reader.done(&["plugin", "search", "--registry", "other"]);
    gate.open();
    let out = waiting.join().unwrap();
    assert!(out.status.success() && said(&out).contains("trinket"), "{}", said(&out));

    let listed = reader.json(&["registry", "list", "--json"]);
    let seen: Vec<_> = listed.as_array().unwrap().iter().map(|r| (&r["id"], &r["seen"]["version"])).collect();
    let expected = serde_json::json!([["other", 2], ["slow", 1]]);
    assert_eq!(serde_json::json!(seen), expected, "{listed}");
    other.back_to(&at_first);
    let refused = error(&reader.cli(&["plugin", "install", "widget", "--registry", "other", "--json"]));
    assert_eq!(refused["code"], "E-REG-010", "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_was_retired_while_its_index_was_on_the_way_signs_nothing_any_more() {
    let keeper = Keeper::house().with(&[("gadget", "0.1.0")]);
    let mut gate = registries::Gate::before(&keeper.dir).await;
    let reader = keeper.reader(&gate.base);
    let at = |name: &str| keeper.state.path().join(name).to_str().unwrap().to_owned();
    let new = owner::done(keeper.state.path(), &["plugin", "keygen", "--out", &at("new.pem")]);
    let old = keeper.key.to_str().unwrap();
    let make = ["registry", "rotate-key", "--id", "house", "--old", old, "--new", new.trim(), "--retire-old", "--out"];
    owner::done(keeper.state.path(), &[make.as_slice(), &[&at("rotation.json")]].concat());

    gate.shut();
    let waiting = reader.starts(&["plugin", "install", "gadget", "--json"]);
    gate.arrived().await;
    reader.done(&["registry", "rotate", &at("rotation.json")]);
    gate.open();
    let out = waiting.join().unwrap();
    assert_eq!(error(&out)["code"], "E-REG-006", "{}", said(&out));
    let keys = reader.json(&["registry", "list", "--json"])[0]["keys"].clone();
    assert_eq!((keys[0]["state"].as_str(), keys[1]["state"].as_str()), (Some("retired"), Some("active")), "{keys}");
}

#[test]
fn what_was_seen_is_remembered_although_another_registry_failed() {
    let (keeper, gone) =
        (Keeper::house().with(&[("gadget", "0.1.0")]), Keeper::called("gone").with(&[("widget", "1.0.0")]));
    let reader = keeper.reader(keeper.dir.to_str().unwrap());
    reader.adds(&gone, gone.dir.to_str().unwrap());
    let at_first = keeper.now();
    keeper.index(&[]);
    std::fs::remove_dir_all(&gone.dir).unwrap();
    assert_eq!(reader.code("gadget"), "E-REG-003");
    keeper.back_to(&at_first);
    let refused = error(&reader.cli(&["plugin", "install", "gadget", "--registry", "house", "--json"]));
    assert_eq!(refused["code"], "E-REG-010", "{refused}");
}

#[test]
fn outdated_says_which_registry_it_could_not_ask() {
    let (keeper, gone) =
        (Keeper::house().with(&[("gadget", "0.1.0")]), Keeper::called("gone").with(&[("widget", "1.0.0")]));
    let reader = keeper.reader(keeper.dir.to_str().unwrap());
    reader.adds(&gone, gone.dir.to_str().unwrap());
    assert!(reader.done(&["plugin", "outdated"]).contains("Everything that is installed"));
    std::fs::remove_dir_all(&gone.dir).unwrap();
    let out = reader.cli(&["plugin", "outdated"]);
    assert_eq!(out.status.code(), Some(1), "{}", said(&out));
    assert!(said(&out).contains("`gone` could not be read") && !said(&out).contains("Everything"), "{}", said(&out));
    let out = reader.cli(&["plugin", "outdated", "--json"]);
    assert_eq!((out.status.code(), out.stdout.as_slice()), (Some(1), b"[]\n".as_slice()), "{}", said(&out));
    assert!(String::from_utf8_lossy(&out.stderr).contains("`gone` is left out"), "{}", said(&out));
    reader.done(&["plugin", "outdated", "--registry", "house"]);
}

#[test]
fn a_lock_brings_the_same_set_to_another_machine_and_nothing_else() {
    let keeper = Keeper::house().with(&[("gadget", "0.1.0"), ("widget", "1.0.0")]);
    let (gadget, widget) = (keeper.put("gadget", "0.1.0"), keeper.put("widget", "1.0.0"));
    let here = keeper.dir.to_str().unwrap();
    let one = keeper.reader(here);
    let lock = |reader: &Reader| std::fs::read_to_string(reader.state.path().join("plugins.lock")).unwrap();
    assert!(one.install("gadget", &gadget).status.success() && one.install("widget", &widget).status.success());
    let first = lock(&one);
    for text in ["id = \"acme/gadget\"", "id = \"acme/widget\"", "source = \"house\"", &gadget.to_string()] {
        assert!(first.contains(text), "{text}: {first}");
    }
    assert_eq!(first.matches("grants = ").count(), 2, "{first}");

    // It follows what is installed: forwards, back, and out.
    let newer = keeper.put("gadget", "0.2.0");
    keeper.index(&[]);
    one.done(&["plugin", "update", "acme/gadget"]);
    assert!(lock(&one).contains(&newer.to_string()) && lock(&one).contains("version = \"0.2.0\""), "{}", lock(&one));
    one.done(&["plugin", "rollback", "acme/gadget"]);
    assert_eq!(lock(&one), first);
    one.done(&["plugin", "revoke", "acme/widget"]);
    assert_eq!(lock(&one).matches("grants = ").count(), 1, "{}", lock(&one));
    one.done(&["plugin", "uninstall", "acme/widget", "--yes"]);
    assert!(!lock(&one).contains("widget"), "{}", lock(&one));

    // Another machine: nothing without consent, then the same to the letter, and a second time nothing.
    let copy = keeper.state.path().join("plugins.lock");
    std::fs::write(&copy, &first).unwrap();
    let copy = copy.to_str().unwrap();
    let two = keeper.reader(here);
    let out = two.cli(&["plugin", "sync", copy]);
    assert_eq!(out.status.code(), Some(5), "{}", said(&out));
    assert!(said(&out).contains("acme/gadget 0.1.0 — A fixture") && said(&out).contains(&format!("--accept {gadget}")));
    assert!(!two.state.path().join("plugins.lock").exists(), "{}", said(&out));
    let accept = [gadget.to_string(), widget.to_string()];
    let sync = |reader: &Reader, file: &str| {
        reader.cli(&["plugin", "sync", file, "--accept", &accept[0], "--accept", &accept[1]])
    };
    let out = sync(&two, copy);
    assert!(out.status.success(), "{}", said(&out));
    assert_eq!(lock(&two), first);
    let out = two.cli(&["plugin", "sync", copy]);
    assert!(out.status.success() && said(&out).matches("is here as it is locked").count() == 2, "{}", said(&out));

    // Another package than was locked is refused, whatever was accepted; the others come.
    let three = keeper.reader(here);
    let forged = keeper.state.path().join("forged.lock");
    std::fs::write(&forged, first.replace(&gadget.to_string(), &Digest::of(b"another").to_string())).unwrap();
    let out = sync(&three, forged.to_str().unwrap());
    assert!(!out.status.success() && said(&out).contains("E-REG-035"), "{}", said(&out));
    assert!(lock(&three).contains("widget") && !lock(&three).contains("gadget"), "{}", lock(&three));

    // What came from a file says so, and that no other machine can bring it.
    let file = keeper.state.path().join("gadget.wasm");
    let four = keeper.reader(here);
    four.done(&["plugin", "install", file.to_str().unwrap(), "--accept", &newer.to_string()]);
    assert!(lock(&four).contains("source = \"file\""), "{}", lock(&four));
    let moved = keeper.state.path().join("moved.lock");
    std::fs::write(&moved, lock(&four)).unwrap();
    let out = sync(&keeper.reader(here), moved.to_str().unwrap());
    assert!(!out.status.success() && said(&out).contains("E-REG-036"), "{}", said(&out));
    let out = two.cli(&["plugin", "sync", "/nowhere/plugins.lock"]);
    assert_eq!(out.status.code(), Some(2), "{}", said(&out));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bundled_set_is_a_registry_that_the_same_code_reads() {
    let state = tempfile::tempdir().unwrap();
    let bundle = signed_bundle(state.path(), &[]);
    let flat: Vec<PathBuf> = std::fs::read_dir(&bundle).unwrap().map(|e| e.unwrap().path()).collect();
    let dir = bundle.to_str().unwrap();
    for file in flat.iter().filter(|f| f.extension().is_some_and(|x| x == "wasm")) {
        owner::done(state.path(), &["plugin", "publish", file.to_str().unwrap(), "--to", dir]);
    }
    let said_by_index = owner::done(state.path(), &["registry", "index", dir, "--id", "bundled", "--days", "36500"]);
    let key = said_by_index.split_whitespace().find(|word| word.starts_with("ed25519:")).unwrap();
    let key = key.trim_end_matches('`').to_owned();
    flat.iter().for_each(|file| std::fs::remove_file(file).unwrap());

    let model = peer!("aimock", peers::aimock(&script(&[]), &[]));
    let mut kernel = Kernel::start_in(state, KernelOptions::openai(&format!("{}/v1", model.base)));
    kernel.still_answers().await;
    // It is looked in like any other, by whoever adds it.
    owner::done(kernel.state(), &["registry", "add", "bundled", dir, &key]);
    let found = owner::done(kernel.state(), &["plugin", "search", "math"]);
    assert!(found.contains("local/math") && found.contains("is installed"), "{found}");
    owner::done(kernel.state(), &["plugin", "uninstall", "math", "--yes"]);
    let math = kernel.cli(&["plugin", "install", "math", "--json"]);
    let help = error(&math)["help"].as_str().unwrap().to_owned();
    let digest = help.split("--accept ").nth(1).unwrap().split_whitespace().next().unwrap();
    owner::done(kernel.state(), &["plugin", "install", "math", "--accept", digest]);
    kernel.restart();
    kernel.still_answers().await;

    // One of its packages in the place of another: well signed, and not what the index names.
    let state = kernel.stop();
    let packages: Vec<PathBuf> =
        std::fs::read_dir(bundle.join("packages")).unwrap().map(|e| e.unwrap().path()).collect();
    let wasm: Vec<&PathBuf> = packages.iter().filter(|f| f.extension().is_some_and(|x| x == "wasm")).collect();
    let kept = std::fs::read(wasm[0]).unwrap();
    for of in ["wasm", "sigstore.json"] {
        std::fs::copy(wasm[1].with_extension(of), wasm[0].with_extension(of)).unwrap();
    }
    let out = owner::start_fails(state.path(), &["--accept-bundled"]);
    assert_eq!(error(&out)["code"], "E-TRUST-007", "{}", said(&out));
    std::fs::write(wasm[0], kept).unwrap();
    // An index of somebody who is not pinned here.
    let stranger = state.path().join("stranger.pem");
    owner::done(state.path(), &["plugin", "keygen", "--out", stranger.to_str().unwrap()]);
    let other = tempfile::tempdir().unwrap();
    let text = manifest("gadget", "0.1.0", "[[tool]]\nname = \"gadget\"\n");
    let file = other.path().join("gadget.wasm");
    std::fs::write(&file, pack(&tool(wat::ECHO, &["gadget"]), &text)).unwrap();
    let (file, place) = (file.to_str().unwrap(), other.path().to_str().unwrap());
    owner::done(state.path(), &["plugin", "sign", file]);
    owner::done(state.path(), &["plugin", "publish", file, "--to", place]);
    let stranger = stranger.to_str().unwrap();
    owner::done(state.path(), &["registry", "index", place, "--id", "bundled", "--key", stranger]);
    std::fs::copy(other.path().join("index.json"), bundle.join("index.json")).unwrap();
    let out = owner::start_fails(state.path(), &["--accept-bundled"]);
    assert_eq!(error(&out)["code"], "E-REG-006", "{}", said(&out));
}
