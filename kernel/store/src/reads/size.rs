//! How much there is.

use crate::error::StoreError;
use crate::reader::{Reader, all, one};
use crate::sql::Columns;
use std::collections::BTreeMap;

impl Reader {
    /// Rows of each table.
    pub async fn table_rows(&self) -> Result<BTreeMap<String, u64>, StoreError> {
        self.read(|c| {
            // Shadow tables of the full-text index are its own affair.
            let sql = "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table' AND name NOT LIKE 'sqlite_%'";
            let names: Vec<String> = all(c, "list the tables", sql, [], |r| r.get(0))?;
            let mut rows = BTreeMap::new();
            for name in names {
                let sql = format!("SELECT count(*) FROM \"{name}\"");
                let count: Option<u64> = one(c, "count rows", &sql, [], |r| r.u64(0))?;
                rows.insert(name, count.unwrap_or_default());
            }
            Ok(rows)
        })
        .await
    }
}
