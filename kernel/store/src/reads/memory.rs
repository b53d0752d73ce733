//! What is remembered, and searching in it.

use crate::error::StoreError;
use crate::reader::{Reader, all, one};
use crate::rows::MemoryRow;
use crate::sql::{Columns, size};
use rusqlite::{Row, params};

const MEMORY: &str = "SELECT m.namespace, m.key, m.text, m.tainted, m.at_ms FROM memory m";
const MAX_TERMS: usize = 32;

fn memory(r: &Row<'_>) -> rusqlite::Result<MemoryRow> {
    Ok(MemoryRow { namespace: r.get(0)?, key: r.get(1)?, text: r.get(2)?, tainted: r.get(3)?, at_ms: r.u64(4)? })
}

/// Words become quoted strings, any of which may match: nothing a person writes is query syntax.
fn quoted(query: &str) -> Option<String> {
    let terms: Vec<String> = query
        .split(|c: char| c.is_whitespace() || c == '\0')
        .filter(|t| t.chars().any(char::is_alphanumeric))
        .take(MAX_TERMS)
        .map(|t| format!("\"{}\"", t.replace('"', "\"\"")))
        .collect();
    (!terms.is_empty()).then(|| terms.join(" OR "))
}

impl Reader {
    /// Bytes (keys and texts) a namespace holds.
    pub async fn memory_bytes(&self, namespace: &str) -> Result<u64, StoreError> {
        let namespace = namespace.to_owned();
        self.read(move |c| {
            let sql = "SELECT bytes FROM memory_space WHERE namespace = ?1";
            Ok(one(c, "measure a memory", sql, [namespace], |r| r.u64(0))?.unwrap_or(0))
        })
        .await
    }

    /// What a key holds.
    pub async fn memory_get(&self, namespace: &str, key: &str) -> Result<Option<MemoryRow>, StoreError> {
        let (namespace, key) = (namespace.to_owned(), key.to_owned());
        self.read(move |c| {
            let sql = format!("{MEMORY} WHERE m.namespace = ?1 AND m.key = ?2");
            one(c, "read the memory", &sql, params![namespace, key], memory)
        })
        .await
    }

    /// Everything in a namespace, newest first.
    pub async fn memory_list(&self, namespace: &str, limit: usize) -> Result<Vec<MemoryRow>, StoreError> {
        let namespace = namespace.to_owned();
        self.read(move |c| {
            let sql = format!("{MEMORY} WHERE m.namespace = ?1 ORDER BY m.at_ms DESC, m.key LIMIT ?2");
            all(c, "list the memory", &sql, params![namespace, size(limit)], memory)
        })
        .await
    }

    /// Rows of a namespace that hold any of the words, best match (BM25) first. Nothing in `query` is syntax.
    pub async fn memory_search(
        &self,
        namespace: &str,
        query: &str,
        limit: usize,
    ) -> Result<Vec<MemoryRow>, StoreError> {
        let Some(query) = quoted(query) else { return Ok(Vec::new()) };
        let namespace = namespace.to_owned();
        self.read(move |c| {
            let sql = format!(
                "{MEMORY} JOIN memory_text t ON t.rowid = m.place WHERE t.memory_text MATCH ?1 AND m.namespace = ?2 \
                 ORDER BY bm25(memory_text), m.at_ms DESC LIMIT ?3"
            );
            all(c, "search the memory", &sql, params![query, namespace, size(limit)], memory)
        })
        .await
    }
}
