//! The front door.

use crate::batch::{Batch, Durability, Op, Receipt};
use crate::chain::ChainKey;
use crate::clock::Clock;
use crate::error::StoreError;
use crate::files::{Holder, StateDir};
use crate::reader::Reader;
use crate::rows::{Lease, StoreStats};
use crate::secrets::{KeyStore, OsKeyring, Unlocker, Vault};
use crate::verify::VerifyReport;
use crate::writer::{Reply, Task, Writer};
use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How a store is opened.
#[derive(Clone)]
pub struct StoreOptions {
    /// Threads that read, each with a connection of its own (default 2).
    pub readers: usize,
    /// Batches that may wait for the writer; more wait in `commit` (default 1,024).
    pub queue: usize,
    /// The most bytes the database may grow to; none = what the disk holds. Beyond it: [`StoreError::DiskFull`].
    pub max_bytes: Option<u64>,
    /// The clock for lifetimes and leases.
    pub clock: Clock,
    /// How the key of the secrets is found, when one is first needed.
    pub unlocker: Unlocker,
    /// The operating system's keyring.
    pub keyring: Arc<dyn KeyStore>,
    /// Make a new chain key if the old one is missing or wrong: all rows are chained anew *as they are*, and the audit log says so.
    pub accept_new_chain_key: bool,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            readers: 2,
            queue: 1_024,
            max_bytes: None,
            clock: Clock::system(),
            unlocker: Unlocker::Keyring,
            keyring: Arc::new(OsKeyring),
            accept_new_chain_key: false,
        }
    }
}

impl std::fmt::Debug for StoreOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoreOptions")
            .field("readers", &self.readers)
            .field("queue", &self.queue)
            .finish_non_exhaustive()
    }
}

/// The durable state of one kernel. Cheap to clone; every clone is the same store.
///
/// A directory belongs to one `Store` at a time, in whatever process ([`StoreError::Held`]).
#[derive(Clone)]
pub struct Store {
    reader: Reader,
    writer: Arc<Writer>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Store")
    }
}

impl Deref for Store {
    type Target = Reader;
    fn deref(&self) -> &Reader {
        &self.reader
    }
}

impl Store {
    /// Opens `dir/carapace.db`, making the directory (0700), the file (0600) and the chain key (`chain.key`, 0600) if they do not exist, and
    /// bringing an older schema up to date. What was under way when the last owner died is marked: outbox parts in flight become
    /// *uncertain*, calls begun and not ended *interrupted*.
    ///
    /// Blocks for some milliseconds: call it before serving, or on a blocking thread.
    ///
    /// **Threat model of the chain.** The key makes changes evident to whoever runs [`verify`](Reader::verify) when they were made by someone who
    /// could write the database but not read `chain.key` (a restored backup, a synced copy, an edited file). It proves nothing against
    /// someone who has both files, and nothing against putting back an older copy of the *whole* database.
    pub fn open(dir: &Path, options: StoreOptions) -> Result<Self, StoreError> {
        let dir = StateDir::create(dir)?;
        let lock = dir.lock()?;
        let (conn, chain_key) = dir.prepare(&options)?;
        let vault = Vault::new(options.unlocker, options.keyring);
        let reader = Reader::start(&dir, options.readers, chain_key.clone(), options.clock.clone(), vault)?;
        let writer = Writer::start(conn, lock, chain_key, options.clock, options.queue.max(1), dir.path())?;
        Ok(Self { reader, writer: Arc::new(writer) })
    }

    /// The kernel (or command) that owns a state directory now; none if nobody does. Takes nothing and makes nothing.
    pub fn holder(dir: &Path) -> Result<Option<Holder>, StoreError> {
        match StateDir::existing(dir) {
            Ok(dir) => dir.holder(),
            Err(StoreError::NoDatabase(_)) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Opens an existing database for reading, beside a running kernel or without one. Takes no lock and changes nothing.
    pub fn open_reader(dir: &Path, options: StoreOptions) -> Result<Reader, StoreError> {
        let dir = StateDir::existing(dir)?;
        let conn = dir.connect_read_only()?;
        let found = crate::schema::version(&conn, &dir.database())?;
        if found != crate::schema::current() {
            return Err(StoreError::Invalid {
                what: format!("a read of {}", dir.database().display()),
                rule: format!(
                    "its schema is version {found}; start the kernel once to bring it to {}",
                    crate::schema::current()
                ),
            });
        }
        let chain_key: ChainKey = dir.read_chain_key(&conn)?;
        let vault = Vault::new(options.unlocker, options.keyring);
        Reader::start(&dir, options.readers, chain_key, options.clock, vault)
    }

    /// Applies a batch: all of it, or nothing. When it answers, the batch is as durable as it asks.
    ///
    /// Batches are applied in the order they were handed in; those that wait at the same time share one transaction and one fsync. A batch
    /// that fails takes nothing else with it. Dropping the future after it was first polled does not take the batch back.
    pub async fn commit(&self, mut batch: Batch) -> Result<Receipt, StoreError> {
        self.seal_secrets(&mut batch).await?;
        let durability = batch.durability;
        match self.writer.ask(Task::Batch(batch), durability).await? {
            Reply::Receipt(r) => Ok(r),
            Reply::Lease(_) | Reply::Done => Ok(Receipt::default()),
        }
    }

    /// Takes a lease if it is free, expired, or already `holder`'s; the token grows each time.
    pub async fn lease_acquire(&self, name: &str, holder: &str, ttl: Duration) -> Result<Lease, StoreError> {
        if holder.is_empty() {
            return Err(StoreError::Invalid {
                what: format!("the lease `{name}`"),
                rule: "a holder has a name".into(),
            });
        }
        let task = Task::LeaseAcquire { name: name.to_owned(), holder: holder.to_owned(), ttl_ms: millis(ttl) };
        self.lease_task(name, 0, task, Durability::Full).await
    }

    /// Prolongs a lease that is still ours; else [`StoreError::Fenced`].
    pub async fn lease_renew(&self, lease: &Lease, ttl: Duration) -> Result<Lease, StoreError> {
        let task = Task::LeaseRenew { name: lease.name.clone(), token: lease.token, ttl_ms: millis(ttl) };
        self.lease_task(&lease.name, lease.token, task, Durability::Relaxed).await
    }

    /// Gives a lease back; its token is no longer current then. Not ours any more: nothing happens.
    pub async fn lease_release(&self, lease: Lease) -> Result<(), StoreError> {
        self.writer.ask(Task::LeaseRelease { name: lease.name, token: lease.token }, Durability::Full).await.map(|_| ())
    }

    async fn lease_task(&self, name: &str, token: u64, task: Task, d: Durability) -> Result<Lease, StoreError> {
        match self.writer.ask(task, d).await? {
            Reply::Lease(lease) => Ok(lease),
            Reply::Receipt(_) | Reply::Done => Err(StoreError::Fenced { lease: name.to_owned(), token }),
        }
    }

    /// Finds the key of the secrets now, with `unlocker` from here on. Makes one at the first call on a new directory; asks nobody if the
    /// secrets are open already.
    pub async fn unlock(&self, unlocker: Unlocker) -> Result<(), StoreError> {
        let vault = &self.reader.inner.vault;
        vault.set_unlocker(unlocker).await;
        vault.open(&self.reader, Some(&self.writer)).await.map(|_| ())
    }

    /// Lets `unlocker` open the secrets from now on, beside what opens them today; a password replaces an earlier password.
    /// Needs them to be open, or openable.
    pub async fn add_unlocker(&self, unlocker: Unlocker) -> Result<(), StoreError> {
        self.reader.inner.vault.add(unlocker, &self.reader, &self.writer).await
    }

    /// Deletes all secrets and every way to open them: when password or keyring are lost for good. The next secret makes a new key.
    pub async fn forget_secrets(&self) -> Result<(), StoreError> {
        self.reader.inner.vault.forget(&self.writer).await
    }

    async fn seal_secrets(&self, batch: &mut Batch) -> Result<(), StoreError> {
        for op in &mut batch.ops {
            if let Op::SecretPut(write) = op {
                crate::secrets::check(&write.id, &write.value)?;
                let key = self.reader.inner.vault.open(&self.reader, Some(&self.writer)).await?;
                *op = Op::SecretSealed(key.seal_secret(&write.id, &write.value)?);
            }
        }
        Ok(())
    }

    /// What the writer has done since the store was opened.
    pub fn stats(&self) -> StoreStats {
        self.writer.stats()
    }

    /// Commits what was handed in, moves the write-ahead log into the file, and gives the directory back. Everything asked later answers
    /// [`StoreError::Closed`]. Dropping the last clone does the same, without anyone waiting for it.
    pub async fn close(&self) {
        self.reader.stop();
        self.writer.close().await;
    }
}

impl Reader {
    /// Checks every link of every chain: a changed, removed, inserted or reordered row, a cut tail, a removed stream, and contents that do not
    /// match or vanished without a tombstone.
    pub async fn verify(&self) -> Result<VerifyReport, StoreError> {
        let key = self.inner.chain_key.clone();
        self.read(move |c| crate::verify::verify(c, &key)).await
    }

    /// A secret's value. For whoever adds it to a request, and nobody else. `None` if there is none (that needs no key).
    pub async fn secret_get(&self, id: &crate::SecretId) -> Result<Option<secrecy::SecretString>, StoreError> {
        let Some(sealed) = crate::secrets::load(self, id).await? else { return Ok(None) };
        let key = self.inner.vault.open(self, None).await?;
        key.open_secret(id, &sealed).map(Some)
    }
}

fn millis(d: Duration) -> u64 {
    u64::try_from(d.as_millis()).unwrap_or(u64::MAX)
}
