//! Small conversions between rows and columns.

use crate::error::StoreError;
use rusqlite::types::Type;
use serde_json::Value;
use std::str::FromStr;
use ulid::Ulid;

/// SQLite holds signed 64-bit integers; what does not fit is stored as the largest.
pub(crate) fn int(v: u64) -> i64 {
    i64::try_from(v).unwrap_or(i64::MAX)
}

pub(crate) fn uint(v: i64) -> u64 {
    u64::try_from(v).unwrap_or(0)
}

pub(crate) fn size(v: usize) -> i64 {
    i64::try_from(v).unwrap_or(i64::MAX)
}

pub(crate) fn text(v: &Value) -> String {
    v.to_string()
}

/// Typed columns; damage is an engine error that names the column.
pub(crate) trait Columns {
    fn ulid(&self, i: usize) -> rusqlite::Result<Ulid>;
    fn opt_ulid(&self, i: usize) -> rusqlite::Result<Option<Ulid>>;
    fn u64(&self, i: usize) -> rusqlite::Result<u64>;
    fn opt_u64(&self, i: usize) -> rusqlite::Result<Option<u64>>;
    fn json(&self, i: usize) -> rusqlite::Result<Value>;
    fn opt_json(&self, i: usize) -> rusqlite::Result<Option<Value>>;
    fn parsed<T: FromStr>(&self, i: usize) -> rusqlite::Result<T>
    where
        T::Err: std::error::Error + Send + Sync + 'static;
    fn word<T>(&self, i: usize, parse: fn(&str) -> Result<T, StoreError>) -> rusqlite::Result<T>;
}

fn damaged(i: usize, e: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(i, Type::Blob, Box::new(e))
}

impl Columns for rusqlite::Row<'_> {
    fn ulid(&self, i: usize) -> rusqlite::Result<Ulid> {
        Ok(Ulid::from_bytes(self.get(i)?))
    }
    fn opt_ulid(&self, i: usize) -> rusqlite::Result<Option<Ulid>> {
        Ok(self.get::<_, Option<[u8; 16]>>(i)?.map(Ulid::from_bytes))
    }
    fn u64(&self, i: usize) -> rusqlite::Result<u64> {
        Ok(uint(self.get(i)?))
    }
    fn opt_u64(&self, i: usize) -> rusqlite::Result<Option<u64>> {
        Ok(self.get::<_, Option<i64>>(i)?.map(uint))
    }
    fn json(&self, i: usize) -> rusqlite::Result<Value> {
        Ok(self.opt_json(i)?.unwrap_or(Value::Null))
    }
    fn opt_json(&self, i: usize) -> rusqlite::Result<Option<Value>> {
        let text: Option<String> = self.get(i)?;
        text.map(|t| serde_json::from_str(&t).map_err(|e| damaged(i, e))).transpose()
    }
    fn parsed<T: FromStr>(&self, i: usize) -> rusqlite::Result<T>
    where
        T::Err: std::error::Error + Send + Sync + 'static,
    {
        self.get_ref(i)?.as_str()?.parse().map_err(|e| damaged(i, e))
    }
    fn word<T>(&self, i: usize, parse: fn(&str) -> Result<T, StoreError>) -> rusqlite::Result<T> {
        parse(self.get_ref(i)?.as_str()?).map_err(|e| damaged(i, e))
    }
}
