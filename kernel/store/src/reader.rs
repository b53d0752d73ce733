//! Reads, on threads of their own: SQLite never blocks an async thread.

use crate::chain::ChainKey;
use crate::clock::Clock;
use crate::error::{Attempt, StoreError};
use crate::files::StateDir;
use crate::secrets::Vault;
use crossbeam_channel::{Receiver, Sender, unbounded};
use rusqlite::{Connection, OptionalExtension, Params, Row};
use std::sync::{Arc, PoisonError, RwLock};
use tokio::sync::oneshot;

type Job = Box<dyn FnOnce(Result<&Connection, StoreError>) + Send>;

/// The reading half of a store: everything that does not change anything. Cheap to clone.
///
/// [`Store`](crate::Store) derefs to it; [`Store::open_reader`](crate::Store::open_reader) opens one beside a running kernel.
/// Each read sees one consistent snapshot that holds every commit acknowledged before it was asked.
#[derive(Clone)]
pub struct Reader {
    pub(crate) inner: Arc<ReaderInner>,
}

pub(crate) struct ReaderInner {
    jobs: RwLock<Option<Sender<Job>>>,
    pub(crate) chain_key: ChainKey,
    pub(crate) clock: Clock,
    pub(crate) vault: Vault,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Reader")
    }
}

impl Reader {
    pub(crate) fn start(
        dir: &StateDir,
        threads: usize,
        chain_key: ChainKey,
        clock: Clock,
        vault: Vault,
    ) -> Result<Self, StoreError> {
        let (sender, receiver) = unbounded::<Job>();
        for n in 0..threads.max(1) {
            let (receiver, own_dir) = (receiver.clone(), dir.clone());
            std::thread::Builder::new()
                .name(format!("store-read-{n}"))
                .spawn(move || serve(&own_dir, &receiver))
                .map_err(|e| StoreError::io("start a reader thread for", dir.path(), e))?;
        }
        Ok(Self { inner: Arc::new(ReaderInner { jobs: RwLock::new(Some(sender)), chain_key, clock, vault }) })
    }

    /// Reads nothing more; the threads end when they have answered what was asked.
    pub(crate) fn stop(&self) {
        self.inner.jobs.write().unwrap_or_else(PoisonError::into_inner).take();
    }

    pub(crate) async fn read<T: Send + 'static>(
        &self,
        f: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, result) = oneshot::channel();
        let job: Job = Box::new(move |conn| {
            if answer.is_closed() {
                return;
            }
            let outcome = conn.and_then(|conn| {
                // One snapshot for all statements of a read.
                let snapshot = conn.unchecked_transaction().attempt("begin a read")?;
                let out = f(&snapshot)?;
                snapshot.finish().attempt("end a read")?;
                Ok(out)
            });
            let _ = answer.send(outcome);
        });
        {
            let jobs = self.inner.jobs.read().unwrap_or_else(PoisonError::into_inner);
            jobs.as_ref().ok_or(StoreError::Closed)?.send(job).map_err(|_| StoreError::Closed)?;
        }
        result.await.map_err(|_| StoreError::Closed)?
    }
}

/// Opens its connection at the first job: readers that are never used cost nothing at start.
fn serve(dir: &StateDir, jobs: &Receiver<Job>) {
    let mut conn = None;
    // A job wakes one thread; with a receiver behind a lock it would wake the other one, too, to wait in its place.
    for job in jobs {
        if conn.is_none() {
            match dir.connect_read_only() {
                Ok(opened) => conn = Some(opened),
                Err(e) => {
                    job(Err(e));
                    continue;
                }
            }
        }
        if let Some(conn) = &conn {
            job(Ok(conn));
        }
    }
}

/// Every row of a query.
pub(crate) fn all<T, P: Params>(
    conn: &Connection,
    what: &str,
    sql: &str,
    params: P,
    f: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Vec<T>, StoreError> {
    let mut statement = conn.prepare_cached(sql).attempt(what)?;
    statement.query_map(params, f).and_then(Iterator::collect).attempt(what)
}

/// The first row of a query, if there is one.
pub(crate) fn one<T, P: Params>(
    conn: &Connection,
    what: &str,
    sql: &str,
    params: P,
    f: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Option<T>, StoreError> {
    let mut statement = conn.prepare_cached(sql).attempt(what)?;
    statement.query_row(params, f).optional().attempt(what)
}
