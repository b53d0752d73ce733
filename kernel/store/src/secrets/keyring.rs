//! The operating system's keyring, which may ask a person, or never answer.

use carapace_contract::Denial;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use zeroize::Zeroizing;

const SERVICE: &str = "carapace";
/// A person may have to type a password into the keyring's dialogue.
const PATIENCE: Duration = Duration::from_secs(20);

/// Where the operating system keeps keys. Calls may block; the store makes them on a thread of their own and waits for a bounded time.
pub trait KeyStore: Send + Sync {
    /// The key of an account, if there is one.
    fn get(&self, account: &str) -> Result<Option<Zeroizing<Vec<u8>>>, String>;
    /// Sets it.
    fn set(&self, account: &str, key: &[u8]) -> Result<(), String>;
    /// How long to wait for an answer.
    fn patience(&self) -> Duration {
        PATIENCE
    }
}

/// Secret Service, Keychain, or Credential Manager.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsKeyring;

impl KeyStore for OsKeyring {
    fn get(&self, account: &str) -> Result<Option<Zeroizing<Vec<u8>>>, String> {
        match keyring::Entry::new(SERVICE, account).and_then(|e| e.get_secret()) {
            Ok(key) => Ok(Some(Zeroizing::new(key))),
            Err(keyring::Error::NoEntry) => Ok(None),
            Err(e) => Err(e.to_string()),
        }
    }
    fn set(&self, account: &str, key: &[u8]) -> Result<(), String> {
        keyring::Entry::new(SERVICE, account).and_then(|e| e.set_secret(key)).map_err(|e| e.to_string())
    }
}

/// One question at a time: a keyring that hangs costs one thread, not one per question.
#[derive(Clone)]
pub(super) struct Asker {
    store: Arc<dyn KeyStore>,
    busy: Arc<AtomicBool>,
}

impl Asker {
    pub(super) fn new(store: Arc<dyn KeyStore>) -> Self {
        Self { store, busy: Arc::default() }
    }

    /// Runs `question` on a thread that nobody has to wait for.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&dyn KeyStore) -> Result<T, String> + Send + 'static,
    ) -> Result<T, Denial> {
        if self.busy.swap(true, Ordering::SeqCst) {
            return Err(silent("it has not answered an earlier question yet"));
        }
        let (answer, result) = tokio::sync::oneshot::channel();
        let (store, busy) = (Arc::clone(&self.store), Arc::clone(&self.busy));
        let started = std::thread::Builder::new().name("keyring".into()).spawn(move || {
            let outcome = question(&*store);
            busy.store(false, Ordering::SeqCst);
            let _ = answer.send(outcome);
        });
        if let Err(e) = started {
            self.busy.store(false, Ordering::SeqCst);
            return Err(silent(&e.to_string()));
        }
        match tokio::time::timeout(self.store.patience(), result).await {
            Ok(Ok(outcome)) => outcome.map_err(|e| silent(&e)),
            Ok(Err(_)) => {
                self.busy.store(false, Ordering::SeqCst);
                Err(silent("asking it failed"))
            }
            Err(_) => Err(silent(&format!("no answer within {} s", self.store.patience().as_secs()))),
        }
    }
}

fn silent(problem: &str) -> Denial {
    Denial::new(
        "E-STORE-005",
        format!("the operating system's keyring cannot be used: {problem}"),
        super::vault::BOTH_FIXES,
    )
}
