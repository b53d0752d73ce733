//! Installed packages, their history, versions seen.

use super::Context;
use crate::error::{Attempt, StoreError};
use crate::rows::{EarlierPackage, PackageRow, PassedOver};
use crate::sql::{Columns, int};
use carapace_contract::{ComponentId, InstanceId};
use rusqlite::params;

pub(super) fn put(c: &Context<'_>, row: &PackageRow) -> Result<(), StoreError> {
    let sql = "INSERT OR REPLACE INTO package (instance, digest, version, enabled, at_ms, older, by_hand, note) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    let (instance, digest, version) = (row.instance.to_string(), row.digest.to_string(), row.version.to_string());
    let params =
        params![instance, digest, version, row.enabled, int(row.at_ms), row.older, row.by_hand, row.note.as_deref()];
    c.run("write a package", sql, params).map(|_| ())
}

pub(super) fn state(c: &Context<'_>, instance: &InstanceId, enabled: bool) -> Result<(), StoreError> {
    let sql = "UPDATE package SET enabled = ?2, note = CASE WHEN ?2 THEN NULL ELSE note END WHERE instance = ?1";
    if c.run("change a package", sql, params![instance.to_string(), enabled])? == 0 {
        return Err(StoreError::missing(format!("package of {instance}")));
    }
    Ok(())
}

pub(super) fn delete(c: &mut Context<'_>, instance: &InstanceId) -> Result<(), StoreError> {
    let sql = "DELETE FROM package WHERE instance = ?1";
    let deleted = c.run("remove a package", sql, [instance.to_string()])? > 0;
    c.receipt.deleted.push(deleted);
    Ok(())
}

pub(super) fn before(c: &Context<'_>, earlier: &EarlierPackage) -> Result<(), StoreError> {
    let component = earlier.component.to_string();
    let body = serde_json::to_string(earlier).attempt("an earlier package")?;
    let sql = "INSERT INTO package_before (component, place, body) \
               SELECT ?1, coalesce(max(place), 0) + 1, ?2 FROM package_before WHERE component = ?1";
    c.run("keep an earlier package", sql, params![component, body])?;
    let sql = "DELETE FROM package_before WHERE component = ?1 \
               AND place <= (SELECT max(place) FROM package_before WHERE component = ?1) - ?2";
    c.run("drop the oldest package", sql, params![component, int(EarlierPackage::KEPT)]).map(|_| ())
}

pub(super) fn forget_before(c: &Context<'_>, component: &ComponentId, only_last: bool) -> Result<(), StoreError> {
    let sql = "DELETE FROM package_before WHERE component = ?1 \
               AND (NOT ?2 OR place = (SELECT max(place) FROM package_before WHERE component = ?1))";
    c.run("forget an earlier package", sql, params![component.to_string(), only_last]).map(|_| ())
}

pub(super) fn pass_over(c: &Context<'_>, row: &PassedOver) -> Result<(), StoreError> {
    let digest = row.digest.map(|d| d.to_string()).unwrap_or_default();
    let sql = "INSERT OR REPLACE INTO passed_over (component, digest, why, at_ms) VALUES (?1, ?2, ?3, ?4)";
    c.run("pass a package over", sql, params![row.component.to_string(), digest, row.why, int(row.at_ms)]).map(|_| ())
}

pub(super) fn take_again(c: &Context<'_>, component: &ComponentId) -> Result<(), StoreError> {
    let sql = "DELETE FROM passed_over WHERE component = ?1";
    c.run("take a package again", sql, [component.to_string()]).map(|_| ())
}

/// Everything that the component's instances kept. What they did stays on record.
pub(super) fn forget_data(c: &Context<'_>, component: &ComponentId) -> Result<(), StoreError> {
    // Names hold no `/`, so that a component is told from another whose name begins alike.
    let prefix = format!("{component}/");
    for (table, column) in [
        ("kv", "instance"),
        ("kv_space", "instance"),
        ("memory", "namespace"),
        ("memory_space", "namespace"),
        ("secret", "name"),
        ("channel", "instance"),
        ("channel_attempts", "instance"),
        ("channel_logins", "instance"),
        ("channel_timer", "instance"),
        ("channel_event", "instance"),
        ("pairing", "instance"),
        ("paired", "instance"),
        ("place", "instance"),
        ("blob_holder", "instance"),
    ] {
        let sql = format!("DELETE FROM {table} WHERE substr({column}, 1, length(?1)) = ?1");
        c.run("forget what a component kept", &sql, [&prefix])?;
    }
    super::blob::sweep(c)
}

pub(super) fn highest_version(c: &Context<'_>, id: &ComponentId, version: &semver::Version) -> Result<(), StoreError> {
    let component = id.to_string();
    let sql = "SELECT version FROM highest_version WHERE component = ?1";
    let found: Option<semver::Version> = c.one("read the highest version", sql, [&component], |r| r.parsed(0))?;
    if found.is_some_and(|found| found >= *version) {
        return Ok(());
    }
    let sql = "INSERT OR REPLACE INTO highest_version (component, version) VALUES (?1, ?2)";
    c.run("note a version", sql, params![component, version.to_string()]).map(|_| ())
}

pub(super) fn signed_by(c: &Context<'_>, component: &ComponentId, mark: &str) -> Result<(), StoreError> {
    let sql = "INSERT OR REPLACE INTO signed_by (component, mark) VALUES (?1, ?2)";
    c.run("note who signs", sql, params![component.to_string(), mark]).map(|_| ())
}
