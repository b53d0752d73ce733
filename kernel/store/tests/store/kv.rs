//! Components' values: versions, lifetimes, quotas, and a model of all of it.

use crate::{fresh, timed};
use carapace_store::{Batch, KvWrite, Receipt, Store, StoreError};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

const QUOTA: u64 = 160;

fn write(key: &str, value: &[u8], ttl_ms: Option<u64>) -> KvWrite {
    KvWrite {
        instance: "local/x/main".into(),
        key: key.into(),
        value: value.to_vec(),
        ttl_ms,
        quota_bytes: QUOTA,
        tainted: false,
    }
}

async fn keys(store: &Store, prefix: &str, after: Option<&str>, limit: usize) -> Vec<String> {
    store.kv_keys("local/x/main", prefix, after, limit).await.unwrap().into_iter().map(|k| k.key).collect()
}

async fn get(store: &Store, key: &str) -> Option<(Vec<u8>, u64)> {
    store.kv_get("local/x/main", key).await.unwrap().map(|e| (e.value, e.version))
}

#[tokio::test]
async fn versions_grow_and_are_never_used_twice() {
    let (_dir, store) = fresh();
    let batch =
        Batch::new().kv_set(write("a", b"1", None)).kv_set(write("b", b"2", None)).kv_set(write("a", b"3", None));
    assert_eq!(store.commit(batch).await.unwrap().kv_versions, [1, 2, 3]);
    let batch =
        Batch::new().kv_delete("local/x/main", "a").kv_delete("local/x/main", "none").kv_set(write("a", b"", None));
    let receipt = store.commit(batch).await.unwrap();
    assert_eq!(receipt, Receipt { kv_versions: vec![4], deleted: vec![true, false], ..Receipt::default() });
    assert_eq!(get(&store, "a").await, Some((vec![], 4)));
    assert_eq!(store.kv_get("local/y/main", "a").await.unwrap(), None, "namespaces are apart");
}

#[tokio::test]
async fn a_swap_happens_only_from_the_expected_version() {
    let (_dir, store) = fresh();
    let swap = |expected| {
        store.commit(Batch::new().kv_set(write("other", b"x", None)).kv_swap(write("a", b"v", None), expected))
    };
    let refused = swap(Some(1)).await.unwrap_err();
    assert!(refused.is_conflict());
    assert_eq!(get(&store, "other").await, None, "the rest of the batch neither");
    assert_eq!(swap(None).await.unwrap().kv_versions, [1, 2]);
    assert!(swap(None).await.unwrap_err().is_conflict());
    assert_eq!(swap(Some(2)).await.unwrap().kv_versions, [3, 4]);
}

#[tokio::test]
async fn a_quota_is_checked_where_it_is_spent_and_says_what_to_do() {
    let (_dir, store) = fresh();
    store.commit(Batch::new().kv_set(write("a", &[0; 100], None))).await.unwrap();
    let batch = Batch::new().kv_set(write("b", &[0; 30], None)).kv_set(write("c", &[0; 40], None));
    let refused = store.commit(batch).await.unwrap_err();
    assert!(refused.is_quota());
    assert!(matches!(refused, StoreError::QuotaExceeded { quota: QUOTA, needed: 173, .. }), "{refused:?}");
    assert!(refused.to_string().contains("limits.kvBytes"));
    assert_eq!(store.kv_bytes("local/x/main").await.unwrap(), 101);
    store.commit(Batch::new().kv_set(write("a", &[0; 159], None))).await.expect("replacing counts once");
}

#[tokio::test]
async fn a_value_and_its_key_remember_whether_text_from_outside_had_a_hand_in_them() {
    let (_dir, store) = fresh();
    let tainted = KvWrite { tainted: true, ..write("b", b"2", None) };
    store.commit(Batch::new().kv_set(write("a", b"1", None)).kv_set(tainted)).await.unwrap();
    let found = store.kv_keys("local/x/main", "", None, 9).await.unwrap();
    assert_eq!(found.iter().map(|k| k.tainted).collect::<Vec<_>>(), [false, true]);
    assert!(store.kv_get("local/x/main", "b").await.unwrap().unwrap().tainted);
    store.commit(Batch::new().kv_set(write("b", b"3", None))).await.unwrap();
    assert!(!store.kv_get("local/x/main", "b").await.unwrap().unwrap().tainted, "what replaced it is somebody else's");
}

#[tokio::test]
async fn what_has_expired_is_gone_for_every_reader() {
    let (_dir, store, clock) = timed();
    store.commit(Batch::new().kv_set(write("a", &[1; 150], Some(500))).kv_set(write("b", b"x", None))).await.unwrap();
    clock.fetch_add(499, Ordering::SeqCst);
    assert!(get(&store, "a").await.is_some());
    clock.fetch_add(1, Ordering::SeqCst);
    assert_eq!(get(&store, "a").await, None);
    assert_eq!(keys(&store, "", None, 10).await, ["b"]);
    store.commit(Batch::new().kv_set(write("c", &[1; 150], None))).await.expect("expired bytes are given back");
    assert_eq!(store.commit(Batch::new().kv_delete("local/x/main", "a")).await.unwrap().deleted, [false]);
}

#[tokio::test]
async fn keys_are_listed_by_prefix_in_byte_order_and_in_pages() {
    let (_dir, store) = fresh();
    let keys = ["a/1", "a/2", "a/3", "a", "b", "a%", "A/1", "é/1"];
    let batch = keys.iter().fold(Batch::new(), |b, k| b.kv_set(write(k, b"", None)));
    store.commit(batch).await.unwrap();
    let list = async |prefix, after, limit| self::keys(&store, prefix, after, limit).await;
    assert_eq!(list("a/", None, 2).await, ["a/1", "a/2"]);
    assert_eq!(list("a/", Some("a/2"), 2).await, ["a/3"]);
    assert_eq!(list("a%", None, 9).await, ["a%"]);
    assert_eq!(list("é", None, 9).await, ["é/1"]);
    assert_eq!(list("", None, 9).await, ["A/1", "a", "a%", "a/1", "a/2", "a/3", "b", "é/1"]);
}

#[tokio::test]
async fn keys_and_values_have_a_length() {
    let (_dir, store) = fresh();
    let free = |key: &str, len| KvWrite { quota_bytes: u64::MAX, ..write(key, &vec![0; len], None) };
    for (key, len) in [("", 1), (&*"k".repeat(513), 1), ("k", (1 << 20) + 1)] {
        let refused = store.commit(Batch::new().kv_set(free(key, len))).await.unwrap_err();
        assert!(matches!(refused, StoreError::Invalid { .. }), "{refused:?}");
    }
    store.commit(Batch::new().kv_set(free(&"k".repeat(512), 1 << 20))).await.unwrap();
}

#[derive(Debug, Clone)]
enum Step {
    Set { key: u8, len: usize, ttl: Option<u64> },
    Swap { key: u8, len: usize, expected: Expected },
    Delete { key: u8 },
}

#[derive(Debug, Clone, Copy)]
enum Expected {
    Right,
    Absent,
    Wrong,
}

#[derive(Debug, Clone, Default, PartialEq)]
struct Model {
    values: BTreeMap<String, (Vec<u8>, u64, Option<u64>)>,
    version: u64,
}

impl Model {
    fn live(&self, key: &str, now: u64) -> Option<&(Vec<u8>, u64, Option<u64>)> {
        self.values.get(key).filter(|v| v.2.is_none_or(|e| e > now))
    }

    fn set(&mut self, key: &str, value: &[u8], ttl: Option<u64>, now: u64) -> Result<u64, &'static str> {
        let others: usize = self
            .values
            .iter()
            .filter(|(k, _)| *k != key && self.live(k, now).is_some())
            .map(|(k, v)| k.len() + v.0.len())
            .sum();
        if (others + key.len() + value.len()) as u64 > QUOTA {
            return Err("quota");
        }
        self.version += 1;
        self.values.insert(key.into(), (value.to_vec(), self.version, ttl.map(|t| now + t)));
        Ok(self.version)
    }
}

fn steps() -> impl Strategy<Value = Vec<(u64, Vec<Step>)>> {
    let key = 0..5u8;
    let expected = prop_oneof![3 => Just(Expected::Right), 1 => Just(Expected::Absent), 1 => Just(Expected::Wrong)];
    let step = prop_oneof![
        3 => (key.clone(), 0..70usize, proptest::option::of(1..60u64)).prop_map(|(key, len, ttl)| Step::Set { key, len, ttl }),
        2 => (key.clone(), 0..70usize, expected).prop_map(|(key, len, expected)| Step::Swap { key, len, expected }),
        1 => key.prop_map(|key| Step::Delete { key }),
    ];
    // Before each batch, some time passes.
    proptest::collection::vec((0..40u64, proptest::collection::vec(step, 1..5)), 1..20)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn kv_does_what_its_model_does(batches in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (_dir, store, clock) = timed();
            let mut model = Model::default();
            for (pause, steps) in batches {
                let now = clock.fetch_add(pause, Ordering::SeqCst) + pause;
                let mut next = model.clone();
                let (mut batch, mut versions, mut deleted, mut failure) = (Batch::relaxed(), vec![], vec![], None);
                for step in steps {
                    let outcome = match step {
                        Step::Set { key, len, ttl } => {
                            let (key, value) = (format!("key-{key}"), vec![key; len]);
                            batch = batch.kv_set(write(&key, &value, ttl));
                            next.set(&key, &value, ttl, now).map(|v| versions.push(v))
                        }
                        Step::Swap { key, len, expected } => {
                            let (key, value) = (format!("key-{key}"), vec![key; len]);
                            let found = next.live(&key, now).map(|v| v.1);
                            let expected = match expected {
                                Expected::Right => found,
                                Expected::Absent => None,
                                Expected::Wrong => Some(found.unwrap_or(0) + 1_000),
                            };
                            batch = batch.kv_swap(write(&key, &value, None), expected);
                            if found == expected {
                                next.set(&key, &value, None, now).map(|v| versions.push(v))
                            } else {
                                Err("conflict")
                            }
                        }
                        Step::Delete { key } => {
                            let key = format!("key-{key}");
                            batch = batch.kv_delete("local/x/main", &key);
                            deleted.push(next.live(&key, now).is_some());
                            next.values.remove(&key);
                            Ok(())
                        }
                    };
                    if let Err(e) = outcome {
                        failure = failure.or(Some(e));
                        break;
                    }
                }
                match (store.commit(batch).await, failure) {
                    (Ok(receipt), None) => {
                        assert_eq!(receipt, Receipt { kv_versions: versions, deleted, ..Receipt::default() });
                        model = next;
                    }
                    (Err(e), Some("quota")) => assert!(e.is_quota(), "{e}"),
                    (Err(e), Some(_)) => assert!(e.is_conflict(), "{e}"),
                    (outcome, expected) => panic!("{outcome:?}, the model says {expected:?}"),
                }
                let mut live = vec![];
                for n in 0..5 {
                    let key = format!("key-{n}");
                    let expected = model.live(&key, now).map(|v| (v.0.clone(), v.1));
                    if expected.is_some() {
                        live.push(key.clone());
                    }
                    assert_eq!(get(&store, &key).await, expected);
                }
                assert_eq!(keys(&store, "key-", None, 9).await, live);
            }
            store.close().await;
        });
    }
}

#[tokio::test]
async fn the_form_of_a_namespace_is_that_of_its_first_value_until_something_says_it_was_changed() {
    let (_dir, store) = fresh();
    let component: carapace_contract::ComponentId = "local/a".parse().unwrap();
    let write = |schema: u32| {
        let write = KvWrite {
            instance: "local/a/main".into(),
            key: "k".into(),
            value: vec![1],
            ttl_ms: None,
            quota_bytes: 100,
            tainted: false,
        };
        Batch::new().kv_first_schema("local/a/main", schema).kv_set(write)
    };
    assert_eq!(store.kv_schema("local/a/main").await.unwrap(), None);
    store.commit(write(2)).await.unwrap();
    store.commit(write(3)).await.unwrap();
    assert_eq!(store.kv_schema("local/a/main").await.unwrap(), Some(2), "there was something already");
    store.commit(Batch::new().kv_schema("local/a/main", 3)).await.unwrap();
    store.commit(write(9)).await.unwrap();
    assert_eq!(store.component_schema(&component).await.unwrap(), Some(3));
    store.commit(Batch::new().kv_delete("local/a/main", "k")).await.unwrap();
    assert_eq!(store.component_schema(&component).await.unwrap(), None, "nothing is kept");
    store.commit(write(1)).await.unwrap();
    assert_eq!(store.kv_schema("local/a/main").await.unwrap(), Some(1));
}
