//! The state directory: who may read it, who owns it, and the files in it.

use crate::chain::ChainKey;
use crate::error::{Attempt, StoreError};
use crate::schema;
use crate::sql::int;
use crate::store::StoreOptions;
use rusqlite::{Connection, OpenFlags, OptionalExtension};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

const DATABASE: &str = "carapace.db";
const CHAIN_KEY: &str = "chain.key";
const LOCK: &str = "carapace.lock";
/// How long to wait for a store of this same process that was dropped a moment ago.
const OWN_CLOSING: Duration = Duration::from_secs(5);
/// How long to wait for anybody else: who only asks whether the directory is owned holds it for a moment.
const OTHERS_ASKING: Duration = Duration::from_millis(100);
const BUSY: Duration = Duration::from_secs(10);

/// A state directory that exists, by its canonical path.
#[derive(Debug, Clone)]
pub(crate) struct StateDir(PathBuf);

/// The ownership of a state directory; given back on drop, or by the operating system when the process dies.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

/// The process that owns a state directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holder {
    /// Its process id, if the system lets it be read.
    pub pid: Option<u32>,
}

impl StateDir {
    pub(crate) fn create(dir: &Path) -> Result<Self, StoreError> {
        let fail = |e| StoreError::io("make the state directory", dir, e);
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(dir).map_err(fail)?;
        let path = dir.canonicalize().map_err(fail)?;
        narrow(&path, 0o700)?;
        Ok(Self(path))
    }

    pub(crate) fn existing(dir: &Path) -> Result<Self, StoreError> {
        let missing = || StoreError::NoDatabase(dir.join(DATABASE));
        let this = Self(dir.canonicalize().map_err(|_| missing())?);
        if this.database().is_file() { Ok(this) } else { Err(missing()) }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.0.join(DATABASE)
    }

    /// Takes the directory for this process.
    pub(crate) fn lock(&self) -> Result<Lock, StoreError> {
        let path = self.0.join(LOCK);
        let fail = |e| StoreError::io("lock", &path, e);
        let mut file = private(OpenOptions::new().read(true).write(true).create(true).truncate(false), &path)?;
        let asked = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::Error(e)) => return Err(fail(e)),
                Err(TryLockError::WouldBlock) => {
                    let mut text = String::new();
                    file.rewind().and_then(|()| file.read_to_string(&mut text)).map_err(fail)?;
                    let pid = text.trim().parse().ok();
                    let patience = if pid == Some(std::process::id()) { OWN_CLOSING } else { OTHERS_ASKING };
                    if asked.elapsed() >= patience {
                        return Err(StoreError::Held { dir: self.0.clone(), pid });
                    }
                    // The last clone of an earlier store was dropped and its writer is still finishing.
                    std::thread::sleep(Duration::from_millis(2));
                }
            }
        }
        file.set_len(0).and_then(|()| file.rewind()).map_err(fail)?;
        file.write_all(std::process::id().to_string().as_bytes()).and_then(|()| file.flush()).map_err(fail)?;
        Ok(Lock { _file: file })
    }

    /// Who owns the directory now, without taking it.
    pub(crate) fn holder(&self) -> Result<Option<Holder>, StoreError> {
        let path = self.0.join(LOCK);
        let fail = |e| StoreError::io("look at", &path, e);
        let mut file = match OpenOptions::new().read(true).write(true).open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(fail(e)),
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(None),
            Err(TryLockError::Error(e)) => Err(fail(e)),
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                // Where a lock keeps readers out, too, the owner has no number.
                let read = file.read_to_string(&mut text);
                Ok(Some(Holder { pid: read.ok().and_then(|_| text.trim().parse().ok()) }))
            }
        }
    }

    /// The writer's connection, schema and chain key, ready to use. Needs the lock.
    pub(crate) fn prepare(&self, options: &StoreOptions) -> Result<(Connection, ChainKey), StoreError> {
        let path = self.database();
        // Made here and not by SQLite, which would use the process's umask; its other files copy these permissions.
        drop(private(OpenOptions::new().read(true).write(true).create(true).truncate(false), &path)?);
        let flags =
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
        let mut conn = Connection::open_with_flags(&path, flags).attempt("open the database")?;
        schema::version(&conn, &path)?;
        common(&conn)?;
        conn.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA fullfsync = ON; PRAGMA checkpoint_fullfsync = ON;
             PRAGMA wal_autocheckpoint = 4000; PRAGMA journal_size_limit = 67108864; PRAGMA secure_delete = ON;",
        )
        .attempt("prepare the database")?;
        conn.set_prepared_statement_cache_capacity(128);
        if let Some(max) = options.max_bytes {
            let page: i64 = conn.query_row("PRAGMA page_size", [], |r| r.get(0)).attempt("read the page size")?;
            conn.pragma_update(None, "max_page_count", int(max) / page.max(1)).attempt("bound the database")?;
        }
        schema::migrate(&mut conn, &path)?;
        let key = self.chain_key(&mut conn, options)?;
        recover(&mut conn, options.clock.now_ms())?;
        // New directory entries are durable before anything is acknowledged.
        #[cfg(unix)]
        File::open(&self.0).and_then(|d| d.sync_all()).map_err(|e| StoreError::io("sync", &self.0, e))?;
        Ok((conn, key))
    }

    pub(crate) fn connect_read_only(&self) -> Result<Connection, StoreError> {
        let flags =
            OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
        let conn = Connection::open_with_flags(self.database(), flags).attempt("open the database for reading")?;
        common(&conn)?;
        conn.execute_batch("PRAGMA query_only = ON; PRAGMA cache_size = -1024;").attempt("prepare a reader")?;
        conn.set_prepared_statement_cache_capacity(64);
        Ok(conn)
    }

    /// The key the rows of `conn` are chained with.
    pub(crate) fn read_chain_key(&self, conn: &Connection) -> Result<ChainKey, StoreError> {
        let path = self.0.join(CHAIN_KEY);
        let wrong = |problem: &str| StoreError::ChainKey { path: path.clone(), problem: problem.to_owned() };
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => Zeroizing::new(text),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Err(wrong("the chain key is missing")),
            Err(e) => return Err(StoreError::io("read", &path, e)),
        };
        let key = ChainKey::from_hex(text.trim()).ok_or_else(|| wrong("it is not a chain key"))?;
        let stored: Option<Vec<u8>> = conn
            .query_row("SELECT value FROM meta WHERE key = 'chain-key-check'", [], |r| r.get(0))
            .optional()
            .attempt("read the chain key's check")?;
        match stored {
            Some(check) if key.matches(&check) => Ok(key),
            Some(_) => Err(wrong("the rows were chained with another key")),
            None => Err(wrong("the database does not say which key its rows were chained with")),
        }
    }

    fn chain_key(&self, conn: &mut Connection, options: &StoreOptions) -> Result<ChainKey, StoreError> {
        let fresh: bool = conn
            .query_row("SELECT NOT EXISTS (SELECT 1 FROM meta WHERE key = 'chain-key-check')", [], |r| r.get(0))
            .attempt("read the chain key's check")?;
        if !fresh {
            match self.read_chain_key(conn) {
                Err(StoreError::ChainKey { .. }) if options.accept_new_chain_key => {}
                other => return other,
            }
        }
        // The key is on the disk before the first row is chained with it.
        let key = ChainKey::generate()?;
        let path = self.0.join(CHAIN_KEY);
        let mut file = private(OpenOptions::new().write(true).create(true).truncate(true), &path)?;
        let hex = key.to_hex();
        file.write_all(hex.as_bytes()).and_then(|()| file.sync_all()).map_err(|e| StoreError::io("write", &path, e))?;
        let tx = conn.transaction().attempt("record the chain key")?;
        crate::chain::adopt(&tx, &key, !fresh, options.clock.now_ms())?;
        tx.commit().attempt("record the chain key")?;
        Ok(key)
    }
}

/// What the last owner left under way when it died, and what has expired since.
fn recover(conn: &mut Connection, now_ms: u64) -> Result<(), StoreError> {
    let tx = conn.transaction().attempt("look for interrupted work")?;
    tx.execute("UPDATE outbox SET state = 'uncertain' WHERE state = 'in-flight'", [])
        .attempt("mark uncertain parts")?;
    tx.execute("UPDATE call SET interrupted = 1 WHERE ended_ms IS NULL", []).attempt("mark interrupted calls")?;
    crate::apply::kv::purge(&tx, None, int(now_ms))?;
    tx.commit().attempt("mark interrupted work")
}

fn common(conn: &Connection) -> Result<(), StoreError> {
    conn.busy_timeout(BUSY).attempt("set the busy timeout")?;
    // Nothing is spilled outside the directory, and nothing in the schema calls what the schema should not.
    conn.execute_batch("PRAGMA temp_store = MEMORY; PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON;")
        .attempt("prepare the connection")
}

/// Opens a file of ours: mode 0600, never through a symbolic link.
fn private(options: &mut OpenOptions, path: &Path) -> Result<File, StoreError> {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    if path.symlink_metadata().is_ok_and(|m| m.is_symlink()) {
        let e = std::io::Error::other("it is a symbolic link; put the file itself there");
        return Err(StoreError::io("open", path, e));
    }
    let file = options.open(path).map_err(|e| StoreError::io("open", path, e))?;
    narrow(path, 0o600)?;
    Ok(file)
}

/// Takes group and others off a path's permissions.
#[cfg(unix)]
fn narrow(path: &Path, mode: u32) -> Result<(), StoreError> {
    use std::os::unix::fs::PermissionsExt;
    let found = path.metadata().map_err(|e| StoreError::io("look at", path, e))?.permissions().mode();
    if found & 0o077 != 0 {
        tracing::warn!(path = %path.display(), mode = format!("{:o}", found & 0o7777), "was readable by others; narrowed");
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(path, permissions)
            .map_err(|e| StoreError::io("narrow the permissions of", path, e))?;
    }
    Ok(())
}

#[cfg(not(unix))]
fn narrow(_path: &Path, _mode: u32) -> Result<(), StoreError> {
    Ok(())
}
