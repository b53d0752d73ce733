//! Installed packages: versions, what was there before, what is passed over, what a component leaves behind.

use crate::{fresh, open};
use carapace_contract::capability::CapabilitySet;
use carapace_contract::grant::Grant;
use carapace_contract::{ComponentId, Digest};
use carapace_store::{
    Batch, ComponentData, EarlierPackage, KvWrite, MemoryRow, PackageRow, PassedOver, SecretId, Store, StoreOptions,
    Unlocker,
};

#[tokio::test]
async fn the_highest_version_never_goes_down_and_survives_an_uninstall() {
    let (_dir, store) = fresh();
    let row = PackageRow {
        instance: "local/a/main".parse().unwrap(),
        digest: Digest::of(b"a"),
        version: "1.10.0".parse().unwrap(),
        enabled: true,
        at_ms: 1,
        older: false,
        by_hand: false,
        note: None,
    };
    let component: carapace_contract::ComponentId = "local/a".parse().unwrap();
    let note = |v: &str| Batch::new().highest_version(component.clone(), v.parse().unwrap());
    store.commit(note("1.9.0").package_put(row.clone())).await.unwrap();
    store.commit(note("1.10.0")).await.unwrap();
    store.commit(note("1.10.0-rc.1")).await.unwrap();
    store.commit(Batch::new().package_state(row.instance.clone(), false)).await.unwrap();
    assert_eq!(store.packages().await.unwrap(), [PackageRow { enabled: false, ..row.clone() }]);
    let rows = store.table_rows().await.unwrap();
    assert_eq!((rows["package"], rows["highest_version"], rows["session"]), (1, 1, 0), "{rows:?}");
    let receipt = store.commit(Batch::new().package_delete(row.instance.clone())).await.unwrap();
    assert_eq!(receipt.deleted, [true]);
    assert_eq!(store.package(&row.instance).await.unwrap(), None);
    assert!(store.commit(Batch::new().package_state(row.instance, true)).await.unwrap_err().is_missing());
    assert_eq!(store.highest_version(&component).await.unwrap(), Some("1.10.0".parse().unwrap()));
}

#[tokio::test]
async fn who_signed_a_component_is_known_also_when_it_is_gone() {
    let (dir, store) = fresh();
    assert_eq!(store.signed_by(&component("a")).await.unwrap(), None);
    store.commit(Batch::new().signed_by(component("a"), "SHA256:one")).await.unwrap();
    store.commit(Batch::new().signed_by(component("a"), "SHA256:two").forget_data(component("a"))).await.unwrap();
    store.close().await;
    let store = open(dir.path());
    assert_eq!(store.signed_by(&component("a")).await.unwrap().as_deref(), Some("SHA256:two"));
    assert_eq!(store.signed_by(&component("ab")).await.unwrap(), None);
}

fn component(name: &str) -> ComponentId {
    format!("local/{name}").parse().unwrap()
}

fn earlier(name: &str, version: u64) -> EarlierPackage {
    let digest = Digest::of(format!("{name} {version}").as_bytes());
    let grant = Grant {
        instance: format!("local/{name}/main").parse().unwrap(),
        digest,
        capabilities: CapabilitySet::none(),
        by: "owner, test".into(),
        at_ms: version,
        revoked: false,
        refused: Default::default(),
    };
    let version = semver::Version::new(version, 0, 0);
    EarlierPackage { component: component(name), digest, version, older: false, replaced_ms: 7, grants: vec![grant] }
}

async fn versions(store: &Store, name: &str) -> Vec<u64> {
    let all = store.packages_before().await.unwrap();
    all.iter().filter(|e| e.component == component(name)).map(|e| e.version.major).collect()
}

#[tokio::test]
async fn what_was_replaced_is_kept_with_its_grants_and_only_the_last_of_it() {
    let (dir, store) = fresh();
    let batch = (1..=5).map(|v| earlier("a", v)).fold(Batch::new(), Batch::package_before);
    store.commit(batch.package_before(earlier("ab", 9))).await.unwrap();
    store.close().await;
    let store = open(dir.path());
    assert_eq!(versions(&store, "a").await, [5, 4, 3]);
    assert_eq!(store.packages_before().await.unwrap()[0], earlier("a", 5));
    store.commit(Batch::new().package_forget_last(component("a"))).await.unwrap();
    assert_eq!(versions(&store, "a").await, [4, 3]);
    store.commit(Batch::new().package_before(earlier("a", 6)).package_before(earlier("a", 7))).await.unwrap();
    assert_eq!(versions(&store, "a").await, [7, 6, 4]);
    store.commit(Batch::new().package_forget_before(component("a"))).await.unwrap();
    assert_eq!((versions(&store, "a").await, versions(&store, "ab").await), (vec![], vec![9]));
}

#[tokio::test]
async fn what_is_passed_over_is_taken_again_when_the_owner_says_so() {
    let (_dir, store) = fresh();
    let row = |name: &str, digest: Option<&[u8]>| PassedOver {
        component: component(name),
        digest: digest.map(Digest::of),
        why: "it broke".into(),
        at_ms: 3,
    };
    let batch = Batch::new().pass_over(row("a", Some(b"one"))).pass_over(row("a", None)).pass_over(row("b", None));
    store.commit(batch).await.unwrap();
    assert_eq!(store.passed_over().await.unwrap(), [row("a", None), row("a", Some(b"one")), row("b", None)]);
    store.commit(Batch::new().take_again(component("a"))).await.unwrap();
    assert_eq!(store.passed_over().await.unwrap(), [row("b", None)]);
}

#[tokio::test]
async fn a_note_stands_until_the_package_is_enabled_again() {
    let (_dir, store) = fresh();
    let row = PackageRow {
        instance: "local/a/main".parse().unwrap(),
        digest: Digest::of(b"a"),
        version: "1.0.0".parse().unwrap(),
        enabled: true,
        at_ms: 1,
        older: true,
        by_hand: true,
        note: Some("rolled back from 2.0.0".into()),
    };
    store.commit(Batch::new().package_put(row.clone())).await.unwrap();
    assert_eq!(store.package(&row.instance).await.unwrap(), Some(row.clone()));
    store.commit(Batch::new().package_state(row.instance.clone(), false)).await.unwrap();
    assert!(store.package(&row.instance).await.unwrap().unwrap().note.is_some());
    store.commit(Batch::new().package_state(row.instance.clone(), true)).await.unwrap();
    assert_eq!(store.package(&row.instance).await.unwrap(), Some(PackageRow { note: None, ..row }));
}

#[tokio::test]
async fn what_a_component_kept_goes_when_asked_and_nobody_elses() {
    let dir = tempfile::tempdir().unwrap();
    let options = StoreOptions { unlocker: Unlocker::Password("a password".into()), ..StoreOptions::default() };
    let store = Store::open(dir.path(), options).unwrap();
    let note = |namespace: &str| MemoryRow {
        namespace: namespace.into(),
        key: "dog".into(),
        text: "called Rex".into(),
        tainted: false,
        at_ms: 1,
    };
    let value = |instance: &str| KvWrite {
        instance: instance.into(),
        key: "k".into(),
        value: vec![1, 2],
        ttl_ms: None,
        quota_bytes: 100,
        tainted: false,
    };
    let secret = |instance: &str| SecretId::new(instance.parse().unwrap(), "token".parse().unwrap());
    let mut batch = Batch::new();
    for instance in ["local/a/main", "local/a/work", "local/ab/main"] {
        batch = batch
            .kv_set(value(instance))
            .memory_put(note(instance), 100)
            .memory_put(note(&format!("{instance}#a conversation")), 100)
            .secret_put(secret(instance), "a long secret".to_owned().into());
    }
    store.commit(batch).await.unwrap();
    let whole = ComponentData { kv_bytes: 6, notes: 4, secrets: 2 };
    assert_eq!(store.component_data(&component("a")).await.unwrap(), whole);
    store.commit(Batch::new().forget_data(component("a"))).await.unwrap();
    assert!(store.component_data(&component("a")).await.unwrap().is_empty());
    assert_eq!(store.memory_search("local/a/main", "rex", 9).await.unwrap(), [], "nor is it found by its text");
    let other = ComponentData { kv_bytes: 3, notes: 2, secrets: 1 };
    assert_eq!(store.component_data(&component("ab")).await.unwrap(), other);
}
