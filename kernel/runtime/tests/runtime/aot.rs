//! The cache maps what was compiled, or nothing.

use crate::fixtures::wat;
use crate::support::{State, Subject, engines, loader, tool};
use carapace_registry::VerifiedPackage;
use carapace_runtime::{AotCache, CacheStats, Engines, Entry};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

struct World {
    state: tempfile::TempDir,
    engines: Engines,
    cache: Arc<AotCache>,
}

impl World {
    fn new() -> Self {
        let state = tempfile::tempdir().unwrap();
        let cache = Arc::new(AotCache::open(state.path()).unwrap());
        Self { state, engines: engines(), cache }
    }

    /// Loads through the cache and makes sure that it runs.
    async fn answers(&self, package: &VerifiedPackage) {
        let loaded = loader(&self.engines, Some(self.cache.clone())).load::<State>(package).await.unwrap();
        let mut subject = Subject::new(&self.engines, package).await;
        subject.loaded = loaded;
        assert_eq!(subject.run("hi").await.unwrap().unwrap(), "hi");
    }

    fn files(&self, extension: &str) -> Vec<PathBuf> {
        let dir = std::fs::read_dir(self.state.path().join("aot")).unwrap();
        let mut files: Vec<_> = dir.map(|e| e.unwrap().path()).collect();
        files.retain(|p| p.extension().is_some_and(|e| e == extension));
        files.sort();
        files
    }

    fn stats(&self, hits: u64, misses: u64, rejected: u64) {
        assert_eq!(self.cache.stats(), CacheStats { hits, misses, rejected });
    }
}

fn flip(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

fn echo(more: &str) -> VerifiedPackage {
    tool(wat::ECHO, "", more)
}

#[tokio::test]
async fn the_second_load_comes_from_the_cache_even_for_another_kernel() {
    let world = World::new();
    world.answers(&echo("")).await;
    world.stats(0, 1, 0);
    world.answers(&echo("")).await;
    world.stats(1, 1, 0);
    let again = World { cache: Arc::new(AotCache::open(world.state.path()).unwrap()), engines: engines(), ..world };
    again.answers(&echo("")).await;
    again.stats(1, 0, 0);
}

#[tokio::test]
async fn profiles_have_artefacts_of_their_own() {
    let world = World::new();
    world.answers(&echo("")).await;
    world.answers(&echo("[instance]\nprofile = \"cpu\"\n")).await;
    world.stats(0, 2, 0);
    assert_eq!(world.files("cwasm").len(), 2);
}

#[tokio::test]
async fn a_tampered_artefact_is_never_mapped() {
    let world = World::new();
    world.answers(&echo("")).await;
    let cwasm = world.files("cwasm").remove(0);
    let middle = std::fs::metadata(&cwasm).unwrap().len() as usize / 2;
    flip(&cwasm, middle);
    world.answers(&echo("")).await;
    world.stats(0, 1, 1);
    // It was compiled again, and what is there now is good.
    world.answers(&echo("")).await;
    world.stats(1, 1, 1);
}

#[tokio::test]
async fn a_truncated_or_longer_artefact_is_never_mapped() {
    let world = World::new();
    world.answers(&echo("")).await;
    let cwasm = world.files("cwasm").remove(0);
    std::fs::write(&cwasm, &std::fs::read(&cwasm).unwrap()[1..]).unwrap();
    world.answers(&echo("")).await;
    let mut longer = std::fs::read(&cwasm).unwrap();
    longer.push(0);
    std::fs::write(&cwasm, longer).unwrap();
    world.answers(&echo("")).await;
    world.stats(0, 1, 2);
}

#[tokio::test]
async fn an_index_entry_that_fits_a_forged_artefact_lacks_the_mac() {
    let world = World::new();
    world.answers(&echo("")).await;
    let (cwasm, index) = (world.files("cwasm").remove(0), world.files("json").remove(0));
    flip(&cwasm, 100);
    let forged = carapace_contract::Digest::of(&std::fs::read(&cwasm).unwrap()).hex();
    let mut entry: serde_json::Value = serde_json::from_slice(&std::fs::read(&index).unwrap()).unwrap();
    entry["sha256"] = forged.into();
    std::fs::write(&index, entry.to_string()).unwrap();
    world.answers(&echo("")).await;
    world.stats(0, 1, 1);
}

#[tokio::test]
async fn a_damaged_index_entry_is_dropped() {
    let world = World::new();
    world.answers(&echo("")).await;
    for damage in ["", "{}", "not json"] {
        std::fs::write(world.files("json").remove(0), damage).unwrap();
        world.answers(&echo("")).await;
    }
    world.stats(0, 1, 3);
}

#[tokio::test]
async fn the_artefact_of_another_package_under_this_ones_name_is_dropped() {
    let world = World::new();
    world.answers(&echo("")).await;
    let first = (world.files("cwasm").remove(0), world.files("json").remove(0));
    let other = tool(wat::KV, "\"kv\"", "[kv]\n");
    loader(&world.engines, Some(world.cache.clone())).prepare(&other).await.unwrap();
    let find = |e: &str, not: &PathBuf| world.files(e).into_iter().find(|p| p != not).unwrap();
    let second = (find("cwasm", &first.0), find("json", &first.1));
    // Both halves, so that they fit each other.
    std::fs::copy(&second.0, &first.0).unwrap();
    std::fs::copy(&second.1, &first.1).unwrap();
    world.answers(&echo("")).await;
    world.stats(0, 2, 1);
}

#[tokio::test]
async fn another_key_makes_every_artefact_worthless() {
    let world = World::new();
    world.answers(&echo("")).await;
    std::fs::write(world.state.path().join("aot.key"), [7; 64]).unwrap();
    let world = World { cache: Arc::new(AotCache::open(world.state.path()).unwrap()), ..world };
    world.answers(&echo("")).await;
    world.stats(0, 0, 1);
}

#[cfg(unix)]
#[tokio::test]
async fn a_symbolic_link_is_not_followed() {
    let world = World::new();
    world.answers(&echo("")).await;
    let cwasm = world.files("cwasm").remove(0);
    let elsewhere = world.state.path().join("elsewhere");
    std::fs::rename(&cwasm, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &cwasm).unwrap();
    world.answers(&echo("")).await;
    world.stats(0, 1, 1);
}

#[cfg(unix)]
#[tokio::test]
async fn the_cache_and_its_key_are_the_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::new();
    world.answers(&echo("")).await;
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&world.state.path().join("aot")), 0o700);
    assert_eq!(mode(&world.state.path().join("aot.key")), 0o600);
    assert_eq!(mode(&world.files("cwasm")[0]), 0o600);
}

#[tokio::test]
async fn a_mapped_artefact_outlives_its_file() {
    let world = World::new();
    world.answers(&echo("")).await;
    let package = echo("");
    let loaded = loader(&world.engines, Some(world.cache.clone())).load::<State>(&package).await.unwrap();
    // Overwritten in place, which would change a plain mapping under the running code.
    let cwasm = world.files("cwasm").remove(0);
    let len = std::fs::metadata(&cwasm).unwrap().len() as usize;
    std::fs::write(&cwasm, vec![0xcc; len]).unwrap();
    let mut subject = Subject::new(&world.engines, &package).await;
    subject.loaded = loaded;
    assert_eq!(subject.run("unmoved").await.unwrap().unwrap(), "unmoved");
    drop(subject.state(Entry::ListTools));
}

#[tokio::test]
async fn removed_packages_leave_the_cache() {
    let world = World::new();
    world.answers(&echo("")).await;
    let other = tool(wat::KV, "\"kv\"", "[kv]\n");
    loader(&world.engines, Some(world.cache.clone())).prepare(&other).await.unwrap();
    assert_eq!(world.files("cwasm").len(), 2);
    world.cache.retain(&BTreeSet::from([other.digest()])).unwrap();
    assert_eq!((world.files("cwasm").len(), world.files("json").len()), (1, 1));
    world.answers(&echo("")).await;
    world.stats(0, 3, 0);
}
