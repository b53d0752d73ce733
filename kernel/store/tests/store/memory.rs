//! What is remembered: found by its words, within a quota.

use crate::fresh;
use carapace_store::{Batch, MemoryRow, Store, StoreError};
use proptest::prelude::*;
use std::collections::BTreeMap;

const QUOTA: u64 = 4 << 20;

fn memory(namespace: &str, key: &str, text: &str) -> MemoryRow {
    MemoryRow { namespace: namespace.into(), key: key.into(), text: text.into(), tainted: false, at_ms: 1 }
}

async fn found(store: &Store, query: &str) -> Vec<String> {
    store.memory_search("me", query, 10).await.unwrap().into_iter().map(|r| r.key).collect()
}

#[tokio::test]
async fn memory_is_found_by_its_words_best_match_first() {
    let (_dir, store) = fresh();
    let tainted = MemoryRow { tainted: true, ..memory("me", "web", "a page about Zürich") };
    let batch = Batch::new()
        .memory_put(memory("me", "dog", "the dog is called Rex, a good dog"), QUOTA)
        .memory_put(memory("me", "house", "the house has a garden for the dog and for many other things"), QUOTA)
        .memory_put(memory("you", "dog", "the dog of someone else"), QUOTA)
        .memory_put(tainted.clone(), QUOTA);
    store.commit(batch).await.unwrap();
    assert_eq!(found(&store, "what is my dog called").await, ["dog", "house"]);
    assert_eq!(store.memory_search("me", "zurich", 10).await.unwrap(), [tainted]);
    store.commit(Batch::new().memory_put(memory("me", "dog", "the cat is called Tom"), QUOTA)).await.unwrap();
    assert_eq!(found(&store, "Rex").await, Vec::<String>::new(), "what was replaced is not found any more");
    assert_eq!(found(&store, "tom").await, ["dog"]);
    let receipt = store.commit(Batch::new().memory_delete("me", "dog").memory_delete("me", "dog")).await.unwrap();
    assert_eq!(receipt.deleted, [true, false]);
    assert!(found(&store, "tom").await.is_empty());
    assert_eq!(store.memory_list("me", 10).await.unwrap().len(), 2);
    assert_eq!(store.memory_get("you", "dog").await.unwrap().unwrap().text, "the dog of someone else");
}

#[tokio::test]
async fn nothing_in_a_search_is_syntax() {
    let (_dir, store) = fresh();
    store.commit(Batch::new().memory_put(memory("me", "k", "plain \"quoted\" AND near text*"), QUOTA)).await.unwrap();
    for hostile in
        ["\"", "*", "AND", "NEAR(", "text:", "^x", "a\"b", "key:k OR", "(", "--", "\0", "", "{x y}: z", "-text +x"]
    {
        store.memory_search("me", hostile, 10).await.unwrap_or_else(|e| panic!("{hostile:?}: {e}"));
    }
    assert_eq!(found(&store, "\"quoted\"").await, ["k"]);
    assert_eq!(found(&store, "AND").await, ["k"]);
}

#[tokio::test]
async fn a_memory_has_a_quota_of_its_own_and_says_what_to_do() {
    let (_dir, store) = fresh();
    let put = |namespace: &str, key: &str, text: &str| {
        store.commit(Batch::new().memory_put(memory(namespace, key, text), 20))
    };
    put("me", "a", "123456789").await.unwrap();
    put("me", "b", "12345678").await.unwrap();
    let refused = put("me", "c", "1").await.unwrap_err();
    assert!(refused.is_quota() && matches!(refused, StoreError::QuotaExceeded { quota: 20, needed: 21, .. }));
    let text = refused.to_string();
    assert!(text.contains("delete notes") && text.contains("limits.notesBytes"), "{text}");
    put("you", "c", "1").await.unwrap();
    put("me", "a", "1").await.expect("what is replaced is given back");
    put("me", "c", "1").await.unwrap();
    store.commit(Batch::new().memory_delete("me", "b")).await.unwrap();
    assert_eq!(store.memory_bytes("me").await.unwrap(), 4);
}

#[tokio::test]
async fn a_note_that_is_too_long_is_not_kept() {
    let (_dir, store) = fresh();
    let put = |key: String, length: usize| {
        store.commit(Batch::new().memory_put(memory("me", &key, &"x".repeat(length)), QUOTA))
    };
    put("k".into(), 64 << 10).await.unwrap();
    assert!(put("k".into(), (64 << 10) + 1).await.unwrap_err().to_string().contains("at most 65536 bytes"));
    assert!(put("k".repeat(513), 1).await.is_err() && put(String::new(), 1).await.is_err());
}

#[derive(Debug, Clone)]
enum Step {
    Put(usize, String),
    Delete(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let one =
        prop_oneof![(0..4usize, "[a-zä]{0,12}").prop_map(|(k, t)| Step::Put(k, t)), (0..4usize).prop_map(Step::Delete)];
    prop::collection::vec(one, 0..24)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn what_a_memory_is_said_to_hold_is_what_it_holds(steps in steps()) {
        const KEYS: [&str; 4] = ["a", "bb", "ü", "long key"];
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (_dir, store) = fresh();
            let mut model: BTreeMap<&str, String> = BTreeMap::new();
            for step in steps {
                match step {
                    Step::Put(k, text) => {
                        let mut after = model.clone();
                        after.insert(KEYS[k], text.clone());
                        let bytes: usize = after.iter().map(|(k, t)| k.len() + t.len()).sum();
                        let done = store.commit(Batch::new().memory_put(memory("me", KEYS[k], &text), 32)).await;
                        assert_eq!(done.is_ok(), bytes <= 32, "{done:?}");
                        if done.is_ok() {
                            model = after;
                        }
                    }
                    Step::Delete(k) => {
                        let receipt = store.commit(Batch::new().memory_delete("me", KEYS[k])).await.unwrap();
                        assert_eq!(receipt.deleted, [model.remove(KEYS[k]).is_some()]);
                    }
                }
                let bytes: usize = model.iter().map(|(k, t)| k.len() + t.len()).sum();
                assert_eq!(store.memory_bytes("me").await.unwrap(), bytes as u64);
            }
            store.close().await;
        });
    }
}
