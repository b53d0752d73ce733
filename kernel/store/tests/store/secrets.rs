//! Secrets at rest.

use crate::{open, options, raw};
use carapace_store::secrets::KeyStore;
use carapace_store::{Batch, Reader, SecretId, Store, StoreError, StoreOptions, Unlocker};
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const VALUE: &str = "sk-a-secret-of-some-length";

#[derive(Default)]
struct FakeKeyring(Mutex<BTreeMap<String, Vec<u8>>>);

impl KeyStore for FakeKeyring {
    fn get(&self, account: &str) -> Result<Option<Zeroizing<Vec<u8>>>, String> {
        Ok(self.0.lock().unwrap().get(account).cloned().map(Zeroizing::new))
    }
    fn set(&self, account: &str, key: &[u8]) -> Result<(), String> {
        self.0.lock().unwrap().insert(account.into(), key.to_vec());
        Ok(())
    }
}

struct NoKeyring;

impl KeyStore for NoKeyring {
    fn get(&self, _: &str) -> Result<Option<Zeroizing<Vec<u8>>>, String> {
        Err("no Secret Service on this bus".into())
    }
    fn set(&self, _: &str, _: &[u8]) -> Result<(), String> {
        Err("no Secret Service on this bus".into())
    }
}

/// Answers when the test lets it, which is never.
struct SilentKeyring(Mutex<Receiver<()>>);

impl KeyStore for SilentKeyring {
    fn get(&self, _: &str) -> Result<Option<Zeroizing<Vec<u8>>>, String> {
        let _ = self.0.lock().unwrap().recv();
        Ok(None)
    }
    fn set(&self, _: &str, _: &[u8]) -> Result<(), String> {
        let _ = self.0.lock().unwrap().recv();
        Ok(())
    }
    fn patience(&self) -> Duration {
        Duration::from_millis(1)
    }
}

fn with(dir: &Path, unlocker: Unlocker, keyring: Arc<dyn KeyStore>) -> Store {
    Store::open(dir, StoreOptions { unlocker, keyring, ..options() }).unwrap()
}

fn password(text: &str) -> Unlocker {
    Unlocker::Password(SecretString::from(text))
}

fn id(text: &str) -> SecretId {
    let (instance, name) = text.rsplit_once('/').unwrap();
    SecretId::new(instance.parse().unwrap(), name.parse().unwrap())
}

async fn put(store: &Store, name: &str, value: &str) -> Result<(), StoreError> {
    store.commit(Batch::new().secret_put(id(name), SecretString::from(value))).await.map(|_| ())
}

async fn get(store: &Reader, name: &str) -> Result<Option<String>, StoreError> {
    Ok(store.secret_get(&id(name)).await?.map(|s| s.expose_secret().to_owned()))
}

fn code(e: &StoreError) -> &str {
    e.denial().map_or("no denial", |d| &d.code)
}

#[tokio::test]
async fn a_secret_comes_back_with_the_same_password_and_only_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = with(dir.path(), password("correct horse"), Arc::new(NoKeyring));
    put(&store, "local/openai/main/api-key", VALUE).await.unwrap();
    assert_eq!(get(&store, "local/openai/main/api-key").await.unwrap().as_deref(), Some(VALUE));
    assert_eq!(get(&store, "local/openai/main/other").await.unwrap(), None);
    store.close().await;
    let store = with(dir.path(), password("correct horse"), Arc::new(NoKeyring));
    assert_eq!(get(&store, "local/openai/main/api-key").await.unwrap().as_deref(), Some(VALUE));
    store.close().await;
    let store = with(dir.path(), password("wrong horse"), Arc::new(NoKeyring));
    assert_eq!(code(&get(&store, "local/openai/main/api-key").await.unwrap_err()), "E-STORE-004");
    assert_eq!(code(&put(&store, "local/openai/main/second", VALUE).await.unwrap_err()), "E-STORE-004");
    assert_eq!(store.secret_names().await.unwrap().len(), 1, "names need no key");
    store.unlock(password("correct horse")).await.unwrap();
    assert_eq!(get(&store, "local/openai/main/api-key").await.unwrap().as_deref(), Some(VALUE));
    let reader =
        Store::open_reader(dir.path(), StoreOptions { unlocker: password("correct horse"), ..options() }).unwrap();
    assert_eq!(get(&reader, "local/openai/main/api-key").await.unwrap().as_deref(), Some(VALUE));
}

#[tokio::test]
async fn the_keyring_holds_the_key_and_not_the_secret() {
    let dir = tempfile::tempdir().unwrap();
    let keyring = Arc::new(FakeKeyring::default());
    let store = with(dir.path(), Unlocker::Keyring, Arc::clone(&keyring) as _);
    put(&store, "local/openai/main/api-key", VALUE).await.unwrap();
    store.close().await;
    let keys: Vec<_> = keyring.0.lock().unwrap().values().cloned().collect();
    assert_eq!(keys.iter().map(Vec::len).collect::<Vec<_>>(), [32]);
    let store = with(dir.path(), password("unused: only the keyring opens this"), Arc::clone(&keyring) as _);
    assert_eq!(get(&store, "local/openai/main/api-key").await.unwrap().as_deref(), Some(VALUE));
    store.close().await;
    keyring.0.lock().unwrap().clear();
    let store = with(dir.path(), Unlocker::Keyring, keyring);
    assert_eq!(code(&get(&store, "local/openai/main/api-key").await.unwrap_err()), "E-STORE-006");
    store.forget_secrets().await.unwrap();
    put(&store, "local/openai/main/api-key", "a new beginning").await.unwrap();
    assert_eq!(get(&store, "local/openai/main/api-key").await.unwrap().as_deref(), Some("a new beginning"));
}

#[tokio::test]
async fn without_password_or_keyring_storing_is_refused_with_both_fixes() {
    let dir = tempfile::tempdir().unwrap();
    let store = with(dir.path(), Unlocker::Keyring, Arc::new(NoKeyring));
    let refused = put(&store, "local/openai/main/api-key", VALUE).await.unwrap_err();
    let denial = refused.denial().unwrap();
    assert_eq!(denial.code, "E-STORE-001");
    assert!(denial.fix.contains("CARAPACE_PASSWORD") && denial.fix.contains("keyring"), "{denial}");
    assert!(denial.message.contains("no Secret Service"), "{denial}");
    assert!(store.secret_names().await.unwrap().is_empty());
    store.close().await;
    let store = open(dir.path());
    assert_eq!(code(&put(&store, "local/openai/main/api-key", VALUE).await.unwrap_err()), "E-STORE-001");
}

#[tokio::test]
async fn a_keyring_that_never_answers_is_given_up_and_asked_once() {
    let dir = tempfile::tempdir().unwrap();
    let (_keep, receiver) = channel();
    let store = with(dir.path(), Unlocker::Keyring, Arc::new(SilentKeyring(Mutex::new(receiver))));
    let refused = put(&store, "local/openai/main/api-key", VALUE).await.unwrap_err();
    assert!(refused.to_string().contains("no answer within"), "{refused}");
    let refused = store.unlock(Unlocker::Keyring).await.unwrap_err();
    assert!(refused.to_string().contains("has not answered an earlier question"), "{refused}");
    store.unlock(password("the other way")).await.unwrap();
    put(&store, "local/openai/main/api-key", VALUE).await.unwrap();
}

#[tokio::test]
async fn a_password_locked_directory_asks_for_the_password() {
    let dir = tempfile::tempdir().unwrap();
    let store = with(dir.path(), password("correct horse"), Arc::new(NoKeyring));
    put(&store, "local/openai/main/api-key", VALUE).await.unwrap();
    store.close().await;
    let store = with(dir.path(), Unlocker::Keyring, Arc::new(FakeKeyring::default()));
    let refused = get(&store, "local/openai/main/api-key").await.unwrap_err();
    assert_eq!(code(&refused), "E-STORE-002");
    assert!(refused.to_string().contains("CARAPACE_PASSWORD"));
}

#[tokio::test]
async fn a_second_way_to_open_the_secrets_can_be_added() {
    let dir = tempfile::tempdir().unwrap();
    let keyring = Arc::new(FakeKeyring::default());
    let store = with(dir.path(), Unlocker::Keyring, Arc::clone(&keyring) as _);
    put(&store, "local/openai/main/api-key", VALUE).await.unwrap();
    store.add_unlocker(password("first")).await.unwrap();
    store.add_unlocker(password("second")).await.unwrap();
    store.close().await;
    for (unlocker, opens) in [(password("second"), true), (password("first"), false), (Unlocker::Keyring, true)] {
        let store = with(dir.path(), unlocker, Arc::clone(&keyring) as _);
        assert_eq!(get(&store, "local/openai/main/api-key").await.is_ok(), opens);
        store.close().await;
    }
}

#[tokio::test]
async fn a_short_secret_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = with(dir.path(), Unlocker::Keyring, Arc::new(FakeKeyring::default()));
    let refused = put(&store, "local/openai/main/pin", "1234567").await.unwrap_err();
    assert_eq!(code(&refused), "E-STORE-003");
    assert!(!refused.to_string().contains("1234567"));
    put(&store, "local/openai/main/pin", "12345678").await.unwrap();
}

#[tokio::test]
async fn a_sealed_value_opens_only_under_its_own_name() {
    let dir = tempfile::tempdir().unwrap();
    let store = with(dir.path(), Unlocker::Keyring, Arc::new(FakeKeyring::default()));
    put(&store, "local/openai/main/api-key", VALUE).await.unwrap();
    put(&store, "local/evil/main/mine", "an-own-secret-value").await.unwrap();
    raw(dir.path())
        .execute(
            "UPDATE secret SET (nonce, sealed) = (SELECT nonce, sealed FROM secret WHERE name = ?1) WHERE name = ?2",
            ["local/openai/main/api-key", "local/evil/main/mine"],
        )
        .unwrap();
    let refused = get(&store, "local/evil/main/mine").await.unwrap_err();
    assert!(matches!(refused, StoreError::Crypto { .. }), "{refused}");
    assert_eq!(get(&store, "local/openai/main/api-key").await.unwrap().as_deref(), Some(VALUE));
}

#[tokio::test]
async fn no_file_and_no_debug_output_holds_a_secret() {
    let dir = tempfile::tempdir().unwrap();
    let store = with(dir.path(), password("correct horse battery"), Arc::new(NoKeyring));
    let batch = Batch::new().secret_put(id("local/openai/main/api-key"), SecretString::from(VALUE));
    assert!(!format!("{batch:?}").contains(VALUE));
    store.commit(batch).await.unwrap();
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        for needle in [VALUE, "correct horse battery"] {
            assert!(!bytes.windows(needle.len()).any(|w| w == needle.as_bytes()), "{}", path.display());
        }
    }
    assert!(store.secret_exists(&id("local/openai/main/api-key")).await.unwrap());
    let receipt = store.commit(Batch::new().secret_delete(id("local/openai/main/api-key"))).await.unwrap();
    assert_eq!(receipt.deleted, [true]);
    assert_eq!(get(&store, "local/openai/main/api-key").await.unwrap(), None);
}
