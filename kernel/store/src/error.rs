//! What can go wrong, in words for the person who meets it and predicates for the code that does.

use carapace_contract::Denial;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why the store refused or failed. Cheap to clone: one failed group commit answers many callers.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The store was closed while, or before, this was asked.
    #[error("the store is closed; open it again")]
    Closed,
    /// Another kernel owns the state directory.
    #[error("cannot open {}: {} is running on it; stop that kernel, or use another CARAPACE_STATE_DIR", dir.display(), holder(*pid))]
    Held {
        /// The directory.
        dir: PathBuf,
        /// The process that wrote the lock file, when it could be read.
        pid: Option<u32>,
    },
    /// The database was written by a later version.
    #[error("cannot open {}: its schema is version {found}, this program knows up to {known}; use the newer program, or restore a backup made before the upgrade", path.display())]
    NewerSchema {
        /// The file.
        path: PathBuf,
        /// Version in the file.
        found: i64,
        /// Version of this program.
        known: i64,
    },
    /// There is no database to read.
    #[error("there is no database at {}; start the kernel once, or check CARAPACE_STATE_DIR", .0.display())]
    NoDatabase(PathBuf),
    /// The chain key is missing or not the one the rows were chained with.
    #[error("cannot open {}: {problem}; restore the file from a backup of the state directory: without it nobody can tell whether rows were changed", path.display())]
    ChainKey {
        /// The key file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A batch carried a fencing token that is no longer current.
    #[error(
        "the lease `{lease}` was taken over (token {token} is no longer current); stop working under it and acquire it again"
    )]
    Fenced {
        /// The lease.
        lease: String,
        /// The token the batch carried.
        token: u64,
    },
    /// Someone else holds the lease.
    #[error("the lease `{lease}` is held by `{holder}` until {until_ms} ms; wait, or stop that holder")]
    LeaseHeld {
        /// The lease.
        lease: String,
        /// Who holds it.
        holder: String,
        /// Until when, ms since the epoch.
        until_ms: u64,
    },
    /// The state is not the one the batch expected.
    #[error("conflict: {what}")]
    Conflict {
        /// Which expectation failed.
        what: String,
    },
    /// A namespace would outgrow its quota.
    #[error(
        "the {} of {instance} would hold {needed} bytes, its quota is {quota}; delete {}, or raise its `limits.{}` in carapace.json5",
        space.name(), space.contents(), space.limit()
    )]
    QuotaExceeded {
        /// Which kind of namespace.
        space: Space,
        /// Whose.
        instance: String,
        /// Bytes it may hold.
        quota: u64,
        /// Bytes it would hold.
        needed: u64,
    },
    /// A row that the batch changes does not exist.
    #[error("there is no {what}")]
    Missing {
        /// Which row.
        what: String,
    },
    /// A value that cannot be stored.
    #[error("cannot store {what}: {rule}")]
    Invalid {
        /// What.
        what: String,
        /// The rule it breaks.
        rule: String,
    },
    /// Refused, with the way to allow it.
    #[error(transparent)]
    Denied(#[from] Denial),
    /// A secret could not be decrypted.
    #[error("cannot decrypt {what}: {problem}")]
    Crypto {
        /// What.
        what: String,
        /// Why; never holds a secret.
        problem: String,
    },
    /// The disk is full.
    #[error("cannot {attempted}: the disk is full; free some space, nothing of it was written")]
    DiskFull {
        /// What was attempted.
        attempted: String,
    },
    /// Stored data does not parse.
    #[error("stored data is damaged: {what}; run `carapace audit verify` and restore a backup")]
    Corrupt {
        /// What.
        what: String,
    },
    /// The file system failed.
    #[error("cannot {attempted}: {source}")]
    Io {
        /// What was attempted, with the path.
        attempted: String,
        /// Why.
        source: Arc<std::io::Error>,
    },
    /// The database engine failed.
    #[error("cannot {attempted}: {source}")]
    Engine {
        /// What was attempted.
        attempted: String,
        /// Why.
        source: Arc<dyn Error + Send + Sync>,
    },
}

/// What has a quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Space {
    /// A component's own values.
    Kv,
    /// Notes.
    Memory,
}

impl Space {
    fn name(self) -> &'static str {
        match self {
            Self::Kv => "kv namespace",
            Self::Memory => "memory",
        }
    }
    fn contents(self) -> &'static str {
        match self {
            Self::Kv => "keys",
            Self::Memory => "notes",
        }
    }
    fn limit(self) -> &'static str {
        match self {
            Self::Kv => "kvBytes",
            Self::Memory => "notesBytes",
        }
    }
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another kernel".to_owned(), |pid| format!("another kernel (pid {pid})"))
}

impl StoreError {
    /// A compare-and-swap, a state change or an idempotency rule met another state.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Conflict { .. })
    }
    /// The lease is no longer ours.
    pub fn is_fenced(&self) -> bool {
        matches!(self, Self::Fenced { .. })
    }
    /// The lease is someone else's.
    pub fn is_lease_held(&self) -> bool {
        matches!(self, Self::LeaseHeld { .. })
    }
    /// A quota.
    pub fn is_quota(&self) -> bool {
        matches!(self, Self::QuotaExceeded { .. })
    }
    /// The disk is full.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::DiskFull { .. })
    }
    /// The row to change does not exist.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Missing { .. })
    }
    /// The store is closed.
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::Closed)
    }
    /// Another kernel owns the directory.
    pub fn is_held(&self) -> bool {
        matches!(self, Self::Held { .. })
    }
    /// The refusal, if it is one.
    pub fn denial(&self) -> Option<&Denial> {
        match self {
            Self::Denied(d) => Some(d),
            _ => None,
        }
    }

    pub(crate) fn io(attempted: &str, path: &Path, e: std::io::Error) -> Self {
        let attempted = format!("{attempted} {}", path.display());
        if e.kind() == std::io::ErrorKind::StorageFull {
            return Self::DiskFull { attempted };
        }
        Self::Io { attempted, source: Arc::new(e) }
    }

    pub(crate) fn conflict(what: impl Into<String>) -> Self {
        Self::Conflict { what: what.into() }
    }

    pub(crate) fn missing(what: impl Into<String>) -> Self {
        Self::Missing { what: what.into() }
    }

    pub(crate) fn corrupt(what: impl Into<String>) -> Self {
        Self::Corrupt { what: what.into() }
    }
}

/// Engine errors carry what was attempted: `stmt.query(..).attempt("read the log")?`.
pub(crate) trait Attempt<T> {
    fn attempt(self, what: &str) -> Result<T, StoreError>;
}

impl<T> Attempt<T> for Result<T, rusqlite::Error> {
    fn attempt(self, what: &str) -> Result<T, StoreError> {
        self.map_err(|e| match e.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DiskFull) => StoreError::DiskFull { attempted: what.to_owned() },
            _ => StoreError::Engine { attempted: what.to_owned(), source: Arc::new(e) },
        })
    }
}

impl<T> Attempt<T> for Result<T, serde_json::Error> {
    fn attempt(self, what: &str) -> Result<T, StoreError> {
        self.map_err(|e| StoreError::corrupt(format!("{what}: {e}")))
    }
}
