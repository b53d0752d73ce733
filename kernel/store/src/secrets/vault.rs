//! The data key: made once, wrapped in slots, opened when first needed.

use super::Unlocker;
use super::keyring::{Asker, KeyStore};
use super::seal::{DataKey, Kdf, Key, random_key, seal, unseal};
use crate::batch::Durability;
use crate::error::{Attempt, StoreError};
use crate::reader::{Reader, all};
use crate::writer::{Task, Writer};
use carapace_contract::Denial;
use secrecy::SecretString;
use std::sync::{Arc, Mutex, PoisonError};
use zeroize::Zeroizing;

pub(super) const BOTH_FIXES: &str = "set CARAPACE_PASSWORD in the environment of the kernel; or unlock (or start) the keyring of the operating system \
                                     (on Linux a Secret Service, for example gnome-keyring or KeePassXC) and try again";
const REOPEN: &str =
    "unlock (or start) the keyring of the operating system, or restore its entry `carapace` from a backup";
const KEYRING: &str = "keyring";
const PASSWORD: &str = "password";
/// How long a refusal is remembered: each provider call asking a dead keyring again would stop everything.
const REMEMBER_REFUSAL_MS: u64 = 15_000;

/// One way to open the data key.
#[derive(Debug, Clone)]
pub(crate) struct Slot {
    pub(crate) kind: String,
    pub(crate) kdf: Option<String>,
    pub(crate) nonce: [u8; 12],
    pub(crate) wrapped: Vec<u8>,
}

#[derive(Default)]
struct State {
    key: Option<Arc<DataKey>>,
    refused: Option<(u64, StoreError)>,
}

#[derive(Clone)]
pub(crate) struct Vault(Arc<Inner>);

struct Inner {
    unlocker: Mutex<Unlocker>,
    keyring: Asker,
    state: tokio::sync::Mutex<State>,
}

fn aad(kind: &str) -> String {
    format!("carapace data key, {kind}")
}

fn wrap(kind: &str, kdf: Option<&Kdf>, kek: &Key, key: &DataKey) -> Result<Slot, StoreError> {
    let (nonce, wrapped) = seal(kek, aad(kind).as_bytes(), key.0.as_slice())?;
    let kdf = kdf.map(serde_json::to_string).transpose().attempt("the parameters of a password")?;
    Ok(Slot { kind: kind.to_owned(), kdf, nonce, wrapped })
}

fn unwrap(slot: &Slot, kek: &Key) -> Result<Option<DataKey>, StoreError> {
    let Some(plain) = unseal(kek, &slot.nonce, aad(&slot.kind).as_bytes(), &slot.wrapped)? else { return Ok(None) };
    let key = <[u8; 32]>::try_from(plain.as_slice()).map_err(|_| StoreError::corrupt("the data key"))?;
    Ok(Some(DataKey(Zeroizing::new(key))))
}

fn denied(code: &str, message: &str, fix: &str) -> StoreError {
    StoreError::Denied(Denial::new(code, message, fix))
}

async fn derive(kdf: Kdf, password: SecretString) -> Result<Key, StoreError> {
    // Bounded work (about 0.1 s), so the blocking pool is the place for it.
    tokio::task::spawn_blocking(move || kdf.derive(&password)).await.map_err(|_| StoreError::Closed)?
}

async fn slots(reader: &Reader) -> Result<(String, Vec<Slot>), StoreError> {
    reader
        .read(|c| {
            let sql = "SELECT kind, kdf, nonce, wrapped FROM vault_slot";
            let slots = all(c, "read the key slots", sql, [], |r| {
                Ok(Slot { kind: r.get(0)?, kdf: r.get(1)?, nonce: r.get(2)?, wrapped: r.get(3)? })
            })?;
            let account: Vec<u8> = c
                .query_row("SELECT value FROM meta WHERE key = 'store-id'", [], |r| r.get(0))
                .attempt("read the store's id")?;
            Ok((hex::encode(account), slots))
        })
        .await
}

impl Vault {
    pub(crate) fn new(unlocker: Unlocker, keyring: Arc<dyn KeyStore>) -> Self {
        Self(Arc::new(Inner {
            unlocker: Mutex::new(unlocker),
            keyring: Asker::new(keyring),
            state: tokio::sync::Mutex::default(),
        }))
    }

    pub(crate) async fn set_unlocker(&self, unlocker: Unlocker) {
        let mut state = self.0.state.lock().await;
        *self.0.unlocker.lock().unwrap_or_else(PoisonError::into_inner) = unlocker;
        state.refused = None;
    }

    fn unlocker(&self) -> Unlocker {
        self.0.unlocker.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The data key; with a writer, it is made if there is none yet.
    pub(crate) async fn open(&self, reader: &Reader, writer: Option<&Writer>) -> Result<Arc<DataKey>, StoreError> {
        let mut state = self.0.state.lock().await;
        if let Some(key) = &state.key {
            return Ok(Arc::clone(key));
        }
        let now = reader.inner.clock.now_ms();
        if let Some((at, refusal)) = &state.refused
            && now.saturating_sub(*at) < REMEMBER_REFUSAL_MS
        {
            return Err(refusal.clone());
        }
        match self.find(reader, writer).await {
            Ok(key) => {
                let key = Arc::new(key);
                *state = State { key: Some(Arc::clone(&key)), refused: None };
                Ok(key)
            }
            Err(e) => {
                state.refused = Some((now, e.clone()));
                Err(e)
            }
        }
    }

    async fn find(&self, reader: &Reader, writer: Option<&Writer>) -> Result<DataKey, StoreError> {
        let (account, slots) = slots(reader).await?;
        let slot = |kind: &str| slots.iter().find(|s| s.kind == kind);
        match (self.unlocker(), slot(PASSWORD), slot(KEYRING), writer) {
            (Unlocker::None, ..) => Err(denied(
                "E-STORE-001",
                "secrets can be neither stored nor read: no key was allowed for them",
                BOTH_FIXES,
            )),
            (Unlocker::Password(password), Some(slot), ..) => self.by_password(slot, password).await,
            (Unlocker::Password(_) | Unlocker::Keyring, _, Some(slot), _) => self.by_keyring(slot, account).await,
            (Unlocker::Keyring, Some(_), None, _) => Err(denied(
                "E-STORE-002",
                "the secrets of this directory are locked with a password, and none was given",
                "set CARAPACE_PASSWORD in the environment of the kernel to the password they were stored with",
            )),
            (unlocker, None, None, Some(writer)) => {
                let key = DataKey(random_key()?);
                let slot = self.new_slot(unlocker, &key, account).await?;
                writer.ask(Task::Slot { slot, first: true }, Durability::Full).await?;
                Ok(key)
            }
            (_, None, None, None) => Err(StoreError::missing("key of the secrets yet: none was ever stored")),
        }
    }

    async fn by_password(&self, slot: &Slot, password: SecretString) -> Result<DataKey, StoreError> {
        let kdf = slot.kdf.as_deref().ok_or_else(|| StoreError::corrupt("the password's key slot"))?;
        let kdf: Kdf = serde_json::from_str(kdf).attempt("the password's key slot")?;
        unwrap(slot, &derive(kdf, password).await?)?.ok_or_else(|| {
            denied(
                "E-STORE-004",
                "the password does not open the secrets of this directory",
                "set CARAPACE_PASSWORD to the password they were stored with",
            )
        })
    }

    async fn by_keyring(&self, slot: &Slot, account: String) -> Result<DataKey, StoreError> {
        let found =
            self.0.keyring.ask(move |k| k.get(&account)).await.map_err(|d| Denial { fix: REOPEN.into(), ..d })?;
        let kek = found.and_then(|k| <[u8; 32]>::try_from(k.as_slice()).ok()).map(Zeroizing::new);
        let key = kek.map(|kek| unwrap(slot, &kek)).transpose()?.flatten();
        key.ok_or_else(|| {
            denied(
                "E-STORE-006",
                "the operating system's keyring no longer holds the key of this directory's secrets",
                REOPEN,
            )
        })
    }

    async fn new_slot(&self, unlocker: Unlocker, key: &DataKey, account: String) -> Result<Slot, StoreError> {
        match unlocker {
            Unlocker::Password(password) => {
                let kdf = Kdf::fresh()?;
                wrap(PASSWORD, Some(&kdf), &derive(kdf.clone(), password).await?, key)
            }
            Unlocker::Keyring => {
                let kek = random_key()?;
                let copy = kek.clone();
                let stored = self.0.keyring.ask(move |k| k.set(&account, copy.as_slice())).await;
                stored.map_err(|d| {
                    denied(
                        "E-STORE-001",
                        &format!("no secret can be stored without a key to encrypt it: {}", d.message),
                        BOTH_FIXES,
                    )
                })?;
                wrap(KEYRING, None, &kek, key)
            }
            Unlocker::None => {
                Err(denied("E-STORE-001", "no secret can be stored without a key to encrypt it", BOTH_FIXES))
            }
        }
    }

    pub(crate) async fn forget(&self, writer: &Writer) -> Result<(), StoreError> {
        let mut state = self.0.state.lock().await;
        writer.ask(Task::ForgetSecrets, Durability::Full).await?;
        *state = State::default();
        Ok(())
    }

    pub(crate) async fn add(&self, unlocker: Unlocker, reader: &Reader, writer: &Writer) -> Result<(), StoreError> {
        let key = self.open(reader, Some(writer)).await?;
        let (account, _) = slots(reader).await?;
        let slot = self.new_slot(unlocker, &key, account).await?;
        writer.ask(Task::Slot { slot, first: false }, Durability::Full).await.map(|_| ())
    }
}
