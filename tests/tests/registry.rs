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
use carapace_tests::keeper::{Keeper, Reader, copy, said};
use carapace_tests::owner::{self, error};
use carapace_tests::registries;
use std::path::Path;

#[test]
fn a_component_is_found_installed_and_followed_from_a_stick() {
    let keeper = Keeper::house().with(&[("gadget", "0.1.0"), ("widget", "1.0.0")]);
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
    let keeper = Keeper::house().with(&[("gadget", "0.1.0")]);
    let digest = keeper.put("gadget", "0.1.0");
    let reader = keeper.reader(&registries::http(&keeper.dir).await);
    let out = reader.install("acme/gadget@0.1", &digest);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stdout));

    let (base, pem) = registries::https(&keeper.dir).await;
    let certificate = keeper.state.path().join("ca.pem");
    std::fs::write(&certificate, pem).unwrap();
    let mut reader = Reader::nobody();
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
    let keeper = Keeper::house().with(&[("gadget", "0.1.0")]);
    let inner = registries::http(&keeper.dir).await;
    let outer = registries::redirecting(&inner).await;
    let reader = Reader::nobody();
    let out = reader.cli(&["registry", "add", "house", &outer, &keeper.public]);
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(said.contains("E-REG-002") && said.contains("E-EGRESS-007"), "{said}");
    reader.done(&["registry", "add", "house", &inner, &keeper.public]);
}

#[test]
fn an_old_a_forked_and_a_strangers_index_are_refused() {
    let keeper = Keeper::house().with(&[("gadget", "0.1.0")]);
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
    let keeper = Keeper::house().with(&[("gadget", "0.1.0")]);
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
    let keeper = Keeper::house().with(&[("gadget", "0.1.0"), ("widget", "1.0.0")]);
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
    let keeper = Keeper::house().with(&[("gadget", "0.1.0")]);
    let reader = Reader::nobody();
    reader.done(&["registry", "add", "house", keeper.dir.to_str().unwrap(), &keeper.public]);
    let refused = error(&reader.cli(&["plugin", "install", "gadget", "--json"]));
    assert_eq!(refused["code"], "E-TRUST-003");
    assert!(refused["help"].as_str().unwrap().contains(&keeper.publisher()), "{refused}");
}

#[test]
fn a_new_key_of_the_index_is_followed_by_a_statement_of_the_old_one() {
    let keeper = Keeper::house().with(&[("gadget", "0.1.0")]);
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

#[cfg(unix)]
#[test]
fn no_link_and_no_pipe_of_a_registrys_directory_is_followed() {
    use std::os::unix::fs::symlink;
    let keeper = Keeper::house().with(&[("gadget", "0.1.0")]);
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
    let keeper = Keeper::house().with(&[("weather", "1.0.0")]);
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
fn two_gigabytes_are_refused_unread_wherever_a_file_is_taken() {
    let keeper = Keeper::house().with(&[("gadget", "0.1.0")]);
    let digest = keeper.put("gadget", "0.1.0");
    let reader = keeper.reader(keeper.dir.to_str().unwrap());
    // That nobody could keep in memory: they are not there.
    let grown = |file: &Path| std::fs::File::create(file).unwrap().set_len(2 << 30).unwrap();
    let huge = keeper.state.path().join("huge.wasm");
    grown(&huge);
    std::fs::copy(keeper.state.path().join("gadget.sigstore.json"), huge.with_extension("sigstore.json")).unwrap();
    let (huge, key, out) = (huge.to_str().unwrap(), keeper.key.to_str().unwrap(), "out");
    let rule = ["issuer=https://forge.example", "repository-id=1", "workflow=release.yml"];
    let lines: [&[&str]; 12] = [
        &["registry", "rotate", huge],
        &["publisher", "rotate", huge],
        &["publisher", "deny", huge],
        &["publisher", "trusted-root", huge],
        &["plugin", "trusted-root", huge, "--key", key, "--root-version", "1", "--out", out],
        &["plugin", "build", "--core", huge, "--manifest", huge, "--out", out],
        &["plugin", "verify", huge],
        &["plugin", "inspect", huge],
        &["plugin", "sign", huge],
        &["plugin", "publish", huge, "--to", keeper.dir.to_str().unwrap()],
        &["plugin", "install", huge],
        &["plugin", "sync", huge],
    ];
    let release = [&["verify-release", huge, "--signature", huge, "--keyless"][..], &rule].concat();
    for args in lines.into_iter().chain([&release[..]]) {
        let out = reader.cli(args);
        assert!(!out.status.success() && said(&out).contains("larger than"), "{args:?}: {}", said(&out));
    }
    let (component, signature) = package_files(&digest);
    for file in [component.as_str(), &signature, "index.json"] {
        let file = keeper.dir.join(file);
        let kept = std::fs::read(&file).unwrap();
        grown(&file);
        assert_eq!(reader.code("gadget"), "E-REG-004", "{}", file.display());
        std::fs::write(&file, kept).unwrap();
    }
    assert!(reader.install("gadget", &digest).status.success());
}
