//! Directory registries: on a stick, behind HTTP and behind HTTPS; and what becomes of those that lie.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test reads and writes files, and stops at the first thing that is not as it should be"
)]

use carapace_contract::Digest;
use carapace_registry::index::package_files;
use carapace_registry::testing;
use carapace_tests::components::{manifest, pack, tool, wat};
use carapace_tests::kernel::{command, signed_bundle};
use carapace_tests::owner::{self, error};
use carapace_tests::registries;
use carapace_tests::turns::script;
use carapace_tests::{Kernel, KernelOptions, peer, peers};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use tempfile::TempDir;

/// A keeper, who also signs the packages, and the directory of its registry.
struct Keeper {
    id: &'static str,
    state: TempDir,
    dir: PathBuf,
    key: PathBuf,
    public: String,
}

impl Keeper {
    fn new() -> Self {
        Self::called("house")
    }

    fn called(id: &'static str) -> Self {
        let state = tempfile::tempdir().unwrap();
        let (dir, key) = (state.path().join("registry"), state.path().join("index.pem"));
        let public = owner::done(state.path(), &["plugin", "keygen", "--out", key.to_str().unwrap()]);
        Self { id, state, dir, key, public: public.trim().to_owned() }
    }

    fn with(self, names: &[(&str, &str)]) -> Self {
        names.iter().for_each(|(name, version)| {
            self.put(name, version);
        });
        self.index(&[]);
        self
    }

    /// Signs and places a package.
    fn put(&self, name: &str, version: &str) -> Digest {
        let text = manifest(name, version, &format!("[[tool]]\nname = \"{name}\"\n"));
        let bytes = pack(&tool(wat::ECHO, &[name]), &text);
        let file = self.state.path().join(format!("{name}.wasm"));
        std::fs::write(&file, &bytes).unwrap();
        let file = file.to_str().unwrap();
        owner::done(self.state.path(), &["plugin", "sign", file]);
        owner::done(self.state.path(), &["plugin", "publish", file, "--to", self.dir.to_str().unwrap()]);
        Digest::of(&bytes)
    }

    fn index(&self, more: &[&str]) -> String {
        let (dir, key) = (self.dir.to_str().unwrap(), self.key.to_str().unwrap());
        let args: Vec<&str> =
            ["registry", "index", dir, "--id", self.id, "--key", key].into_iter().chain(more.iter().copied()).collect();
        owner::done(self.state.path(), &args)
    }

    fn publisher(&self) -> String {
        let listed: Value =
            serde_json::from_str(&owner::done(self.state.path(), &["publisher", "list", "--json"])).unwrap();
        listed[0]["keys"][0]["key"].as_str().unwrap().to_owned()
    }

    /// Another owner, who added this registry from `location` and pinned its publisher as `acme`.
    fn reader(&self, location: &str) -> Reader {
        let reader = Reader { state: tempfile::tempdir().unwrap(), env: Vec::new() };
        owner::done(reader.state.path(), &["publisher", "add", "acme", &self.publisher()]);
        reader.adds(self, location);
        reader
    }

    /// What its index is now.
    fn now(&self) -> Vec<u8> {
        std::fs::read(self.dir.join("index.json")).unwrap()
    }

    /// As if its index had never been renewed.
    fn back_to(&self, index: &[u8]) {
        std::fs::write(self.dir.join("index.json"), index).unwrap();
    }
}

struct Reader {
    state: TempDir,
    env: Vec<(String, String)>,
}

impl Reader {
    fn adds(&self, keeper: &Keeper, location: &str) {
        self.done(&["registry", "add", keeper.id, location, &keeper.public]);
    }

    /// Starts a command and does not wait for it.
    fn starts(&self, args: &[&str]) -> std::thread::JoinHandle<Output> {
        let mut command = command(self.state.path(), &self.env);
        command.args(args).stdin(Stdio::null());
        std::thread::spawn(move || command.output().unwrap())
    }

    fn cli(&self, args: &[&str]) -> Output {
        command(self.state.path(), &self.env).args(args).stdin(Stdio::null()).output().unwrap()
    }

    fn done(&self, args: &[&str]) -> String {
        let out = self.cli(args);
        let all = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        assert!(out.status.success(), "{args:?}: {all}");
        String::from_utf8(out.stdout).unwrap()
    }

    fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.done(args)).unwrap()
    }

    fn install(&self, what: &str, digest: &Digest) -> Output {
        self.cli(&["plugin", "install", what, "--accept", &digest.to_string(), "--json"])
    }

    fn code(&self, what: &str) -> String {
        let out = self.cli(&["plugin", "install", what, "--json"]);
        error(&out)["code"].as_str().unwrap_or_default().to_owned()
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to.join("packages")).unwrap();
    for dir in ["", "packages"] {
        for file in std::fs::read_dir(from.join(dir)).unwrap().map(|e| e.unwrap().path()).filter(|p| p.is_file()) {
            std::fs::copy(&file, to.join(dir).join(file.file_name().unwrap())).unwrap();
        }
    }
}

#[test]
fn a_component_is_found_installed_and_followed_from_a_stick() {
    let keeper = Keeper::new().with(&[("gadget", "0.1.0"), ("widget", "1.0.0")]);
    let first = keeper.put("gadget", "0.1.0");
    let stick = tempfile::tempdir().unwrap();
    copy(&keeper.dir, stick.path());
    let reader = keeper.reader(stick.path().to_str().unwrap());

    let found = reader.json(&["plugin", "search", "gadg", "--json"]);
    assert_eq!((found[0]["name"].as_str(), found.as_array().unwrap().len()), (Some("acme/gadget"), 1), "{found}");
    assert_eq!(found[0]["publisher"], "pinned");
    assert_eq!(found[0]["kinds"], serde_json::json!(["tool"]));
    let out = reader.install("gadget", &first);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    assert!(reader.done(&["plugin", "list"]).contains("acme/gadget"));
    assert!(reader.done(&["plugin", "search"]).contains("0.1.0 is installed"));
    assert_eq!(reader.json(&["plugin", "outdated", "--json"]), serde_json::json!([]));

    // The stick comes back with a newer version.
    keeper.put("gadget", "0.2.0");
    keeper.index(&[]);
    copy(&keeper.dir, stick.path());
    let outdated = reader.json(&["plugin", "outdated", "--json"]);
    assert_eq!((outdated[0]["installed"].as_str(), outdated[0]["newest"].as_str()), (Some("0.1.0"), Some("0.2.0")));
    reader.done(&["plugin", "update", "acme/gadget"]);
    assert!(reader.done(&["plugin", "list"]).contains("0.2.0"));

    // Withdrawn versions are passed over, and offered again when the keeper says so.
    keeper.index(&["--yank", "local/gadget@0.2.0", "--reason", "loses things"]);
    copy(&keeper.dir, stick.path());
    let refused = error(&reader.cli(&["plugin", "install", "gadget@^0.2", "--json"]));
    assert_eq!(refused["code"], "E-REG-024");
    assert!(refused["message"].as_str().unwrap().contains("loses things"), "{refused}");
    assert!(keeper.index(&["--unyank", "local/gadget@0.2.0"]).contains("3 packages, good"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_directory_works_behind_http_here_and_behind_https_anywhere() {
    let keeper = Keeper::new().with(&[("gadget", "0.1.0")]);
    let digest = keeper.put("gadget", "0.1.0");
    let reader = keeper.reader(&registries::http(&keeper.dir).await);
    let out = reader.install("acme/gadget@0.1", &digest);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stdout));

    let (base, pem) = registries::https(&keeper.dir).await;
    let certificate = keeper.state.path().join("ca.pem");
    std::fs::write(&certificate, pem).unwrap();
    let mut reader = Reader { state: tempfile::tempdir().unwrap(), env: Vec::new() };
    reader.done(&["publisher", "add", "acme", &keeper.publisher()]);
    let untrusted = reader.cli(&["registry", "add", "house", &base, &keeper.public]);
    assert!(String::from_utf8_lossy(&untrusted.stderr).contains("E-REG-002"), "its certificate is not known");
    reader.env.push(("SSL_CERT_FILE".into(), certificate.display().to_string()));
    reader.done(&["registry", "add", "house", &base, &keeper.public]);
    let out = reader.install("gadget", &digest);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stdout));

    // A single file by its URL, its bundle beside it.
    let (component, _) = package_files(&digest);
    let mut other = Reader { state: tempfile::tempdir().unwrap(), env: reader.env.clone() };
    other.done(&["publisher", "add", "acme", &keeper.publisher()]);
    let out = other.install(&format!("{base}/{component}"), &digest);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stdout));
    other.env.clear();
    let plain = error(&other.cli(&["plugin", "install", "http://example.com/x.wasm", "--json"]));
    assert_eq!(plain["code"], "E-REG-001", "plain http is for this machine");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_cannot_steer_into_the_owners_network() {
    let keeper = Keeper::new().with(&[("gadget", "0.1.0")]);
    let inner = registries::http(&keeper.dir).await;
    let outer = registries::redirecting(&inner).await;
    let reader = Reader { state: tempfile::tempdir().unwrap(), env: Vec::new() };
    let out = reader.cli(&["registry", "add", "house", &outer, &keeper.public]);
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(said.contains("E-REG-002") && said.contains("E-EGRESS-007"), "{said}");
    reader.done(&["registry", "add", "house", &inner, &keeper.public]);
}

#[test]
fn an_old_a_forked_and_a_strangers_index_are_refused() {
    let keeper = Keeper::new().with(&[("gadget", "0.1.0")]);
    let place = tempfile::tempdir().unwrap();
    copy(&keeper.dir, place.path());
    let index = place.path().join("index.json");
    let first = std::fs::read(&index).unwrap();
    let reader = keeper.reader(place.path().to_str().unwrap());

    // Another index of the same version: the keeper's directory was copied, and grew in both places.
    let fork = keeper.state.path().join("fork");
    copy(&keeper.dir, &fork);
    keeper.put("widget", "1.0.0");
    keeper.index(&[]);
    let forked = keeper.state.path().join("registry").join("index.json");
    std::fs::copy(&forked, &index).unwrap();
    copy(&keeper.dir, place.path());
    reader.done(&["plugin", "search"]);
    let own = Keeper { dir: fork, ..keeper };
    own.index(&["--days", "3"]);
    std::fs::copy(own.dir.join("index.json"), &index).unwrap();
    assert_eq!(reader.code("gadget"), "E-REG-011");

    std::fs::write(&index, first).unwrap();
    assert_eq!(reader.code("gadget"), "E-REG-010");

    let stranger = own.state.path().join("stranger.pem");
    owner::done(own.state.path(), &["plugin", "keygen", "--out", stranger.to_str().unwrap()]);
    std::fs::remove_file(own.dir.join("index.json")).unwrap();
    let other = Keeper { key: stranger, ..own };
    other.index(&[]);
    std::fs::copy(other.dir.join("index.json"), &index).unwrap();
    assert_eq!(reader.code("gadget"), "E-REG-006");
}

#[test]
fn an_expired_index_says_who_renews_it_and_how_to_use_it_as_it_is() {
    let keeper = Keeper::new().with(&[("gadget", "0.1.0")]);
    let digest = keeper.put("gadget", "0.1.0");
    let reader = keeper.reader(keeper.dir.to_str().unwrap());
    // Good for no time at all.
    keeper.index(&["--days", "0"]);
    let refused = error(&reader.cli(&["plugin", "install", "gadget", "--json"]));
    assert_eq!(refused["code"], "E-REG-009");
    assert!(refused["help"].as_str().unwrap().contains("--accept-expired"), "{refused}");
    let accept = digest.to_string();
    reader.done(&["plugin", "install", "gadget", "--accept-expired", "--accept", &accept]);
}

#[test]
fn a_swapped_a_cut_and_a_linked_package_are_refused_by_name() {
    let keeper = Keeper::new().with(&[("gadget", "0.1.0"), ("widget", "1.0.0")]);
    let (gadget, widget) = (keeper.put("gadget", "0.1.0"), keeper.put("widget", "1.0.0"));
    let reader = keeper.reader(keeper.dir.to_str().unwrap());
    let file = |digest: &Digest| keeper.dir.join(package_files(digest).0);
    let honest = std::fs::read(file(&gadget)).unwrap();

    std::fs::copy(file(&widget), file(&gadget)).unwrap();
    let refused = error(&reader.cli(&["plugin", "install", "gadget", "--json"]));
    assert_eq!(refused["code"], "E-REG-012");
    assert!(
        refused["message"].as_str().unwrap().contains("acme/gadget")
            || refused["message"].as_str().unwrap().contains("local/gadget 0.1.0"),
        "{refused}"
    );
    std::fs::write(file(&gadget), &honest[..honest.len() - 1]).unwrap();
    assert_eq!(reader.code("gadget"), "E-REG-012");
    let longer = [honest.as_slice(), &[0; 64]].concat();
    std::fs::write(file(&gadget), longer).unwrap();
    assert_eq!(reader.code("gadget"), "E-REG-004");
    std::fs::remove_file(file(&gadget)).unwrap();
    assert_eq!(reader.code("gadget"), "E-REG-003");
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("/dev/zero", file(&gadget)).unwrap();
        assert_eq!(reader.code("gadget"), "E-REG-005");
    }
}

#[test]
fn an_unknown_publisher_is_not_installed_though_the_registry_is_trusted() {
    let keeper = Keeper::new().with(&[("gadget", "0.1.0")]);
    let reader = Reader { state: tempfile::tempdir().unwrap(), env: Vec::new() };
    reader.done(&["registry", "add", "house", keeper.dir.to_str().unwrap(), &keeper.public]);
    let refused = error(&reader.cli(&["plugin", "install", "gadget", "--json"]));
    assert_eq!(refused["code"], "E-TRUST-003");
    assert!(refused["help"].as_str().unwrap().contains(&keeper.publisher()), "{refused}");
}

#[test]
fn a_new_key_of_the_index_is_followed_by_a_statement_of_the_old_one() {
    let keeper = Keeper::new().with(&[("gadget", "0.1.0")]);
    let reader = keeper.reader(keeper.dir.to_str().unwrap());
    let at = |name: &str| keeper.state.path().join(name).to_str().unwrap().to_owned();
    let new = owner::done(keeper.state.path(), &["plugin", "keygen", "--out", &at("new.pem")]);
    let old = keeper.key.to_str().unwrap();
    let make = ["registry", "rotate-key", "--id", "house", "--old", old, "--new", new.trim(), "--retire-old", "--out"];
    owner::done(keeper.state.path(), &[make.as_slice(), &[&at("rotation.json")]].concat());
    let renewed = Keeper { key: at("new.pem").into(), ..keeper };
    renewed.index(&["--earlier-key", &renewed.public]);
    assert_eq!(reader.code("gadget"), "E-REG-006");
    let rotation = renewed.state.path().join("rotation.json");
    reader.done(&["registry", "rotate", rotation.to_str().unwrap()]);
    assert!(reader.done(&["plugin", "search"]).contains("acme/gadget"));
}

fn said(out: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
}

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
    let keeper = Keeper::new().with(&[("gadget", "0.1.0")]);
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
        (Keeper::new().with(&[("gadget", "0.1.0")]), Keeper::called("gone").with(&[("widget", "1.0.0")]));
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
        (Keeper::new().with(&[("gadget", "0.1.0")]), Keeper::called("gone").with(&[("widget", "1.0.0")]));
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

#[cfg(unix)]
#[test]
fn no_link_and_no_pipe_of_a_registrys_directory_is_followed() {
    use std::os::unix::fs::symlink;
    let keeper = Keeper::new().with(&[("gadget", "0.1.0")]);
    let place = tempfile::tempdir().unwrap();
    copy(&keeper.dir, place.path());
    let reader = keeper.reader(place.path().to_str().unwrap());
    let (packages, index) = (place.path().join("packages"), place.path().join("index.json"));

    // The same files, by way of a link: in the middle of a path, and at its end.
    std::fs::remove_dir_all(&packages).unwrap();
    symlink(keeper.dir.join("packages"), &packages).unwrap();
    assert_eq!(reader.code("gadget"), "E-REG-005");
    std::fs::remove_file(&index).unwrap();
    symlink(keeper.dir.join("index.json"), &index).unwrap();
    assert_eq!(reader.code("gadget"), "E-REG-005");
    std::fs::remove_file(&index).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&index).status().unwrap().success());
    assert_eq!(reader.code("gadget"), "E-REG-005", "and nobody waits for a pipe");
    // The registry itself may be a link: its owner named it.
    let link = keeper.state.path().join("link");
    symlink(&keeper.dir, &link).unwrap();
    keeper.reader(link.to_str().unwrap()).done(&["plugin", "search", "gadget"]);
}

#[test]
fn a_strangers_look_alike_and_a_stranger_under_a_pinned_name_are_refused_before_they_are_fetched() {
    let keeper = Keeper::new().with(&[("weather", "1.0.0")]);
    let digest = keeper.put("weather", "1.0.0");
    let reader = keeper.reader(keeper.dir.to_str().unwrap());
    let out = reader.install("weather", &digest);
    assert!(out.status.success(), "{}", said(&out));

    // Another registry, whose keeper calls its packages as it likes: one letter off, and the pinned publisher's own name.
    let mallory = Keeper::called("bazaar").with(&[("wheather", "9.0.0")]);
    let shadow = mallory.put("wheather", "9.0.0");
    reader.adds(&mallory, mallory.dir.to_str().unwrap());
    std::fs::remove_dir_all(mallory.dir.join("packages")).unwrap();
    let refused = error(&reader.cli(&["plugin", "install", "wheather", "--accept", &shadow.to_string(), "--json"]));
    assert_eq!(refused["code"], "E-REG-025", "{refused}");
    assert!(refused["message"].as_str().unwrap().contains("acme/weather"), "{refused}");

    let stranger = Keeper::called("market").with(&[("radar", "1.0.0")]);
    reader.done(&["publisher", "add", "local", &testing::key(5).public().to_string()]);
    reader.adds(&stranger, stranger.dir.to_str().unwrap());
    assert_eq!(reader.code("radar"), "E-REG-026", "`local` is somebody else here");
}

#[test]
fn a_lock_brings_the_same_set_to_another_machine_and_nothing_else() {
    let keeper = Keeper::new().with(&[("gadget", "0.1.0"), ("widget", "1.0.0")]);
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
