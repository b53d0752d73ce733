//! What components have asked the owner for.

use crate::error::StoreError;
use crate::reader::{Reader, all};
use crate::rows::RequestRow;
use crate::sql::{Columns, int};

impl Reader {
    /// Requests that wait at `now_ms`, oldest first.
    pub async fn requests(&self, now_ms: u64) -> Result<Vec<RequestRow>, StoreError> {
        self.read(move |c| {
            let sql = "SELECT id, name, reason, instance, session, tainted, at_ms, expires_ms FROM request \
                       WHERE expires_ms > ?1 ORDER BY at_ms, id";
            all(c, "list the requests", sql, [int(now_ms)], |r| {
                Ok(RequestRow {
                    id: r.ulid(0)?,
                    name: r.get(1)?,
                    reason: r.get(2)?,
                    instance: r.parsed(3)?,
                    session: r.get(4)?,
                    tainted: r.get(5)?,
                    at_ms: r.u64(6)?,
                    expires_ms: r.u64(7)?,
                })
            })
        })
        .await
    }
}
