//! Grants, usage, secrets, approvals.

use super::{Context, run};
use crate::error::{Attempt, StoreError};
use crate::rows::{ApprovalChange, ApprovalRow, ApprovalState, SealedSecret, SecretId, UsageRow};
use crate::secrets::Slot;
use crate::sql::{Columns, int, text};
use carapace_contract::InstanceId;
use carapace_contract::grant::Grant;
use rusqlite::{Connection, params};
use ulid::Ulid;

pub(super) fn grant(c: &Context<'_>, grant: &Grant) -> Result<(), StoreError> {
    let body = serde_json::to_string(grant).attempt("a grant")?;
    let sql = "INSERT OR REPLACE INTO granted (instance, body) VALUES (?1, ?2)";
    c.run("write a grant", sql, params![grant.instance.to_string(), body]).map(|_| ())
}

pub(super) fn grant_revoke(c: &Context<'_>, instance: &InstanceId) -> Result<(), StoreError> {
    let sql = "SELECT body FROM granted WHERE instance = ?1";
    let body: String = c
        .one("read a grant", sql, [instance.to_string()], |r| r.get(0))?
        .ok_or_else(|| StoreError::missing(format!("grant of {instance}")))?;
    let found: Grant = serde_json::from_str(&body).attempt("a grant")?;
    grant(c, &Grant { revoked: true, ..found })
}

/// Ends it for good, as when its component is uninstalled.
pub(super) fn grant_delete(c: &mut Context<'_>, instance: &InstanceId) -> Result<(), StoreError> {
    let deleted = c.run("remove a grant", "DELETE FROM granted WHERE instance = ?1", [instance.to_string()])? > 0;
    c.receipt.deleted.push(deleted);
    Ok(())
}

pub(super) fn usage(c: &Context<'_>, row: &UsageRow) -> Result<(), StoreError> {
    let sql = "INSERT INTO usage (day, instance, model, input, output, cached, reasoning, cost_micros, requests) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT (day, instance, model) DO UPDATE SET \
               input = input + ?4, output = output + ?5, cached = cached + ?6, reasoning = reasoning + ?7, \
               cost_micros = cost_micros + ?8, requests = requests + ?9";
    let params = params![
        row.day,
        row.instance,
        row.model,
        int(row.input),
        int(row.output),
        int(row.cached),
        int(row.reasoning),
        int(row.cost_micros),
        int(row.requests)
    ];
    c.run("book usage", sql, params).map(|_| ())
}

pub(super) fn secret(c: &Context<'_>, secret: &SealedSecret) -> Result<(), StoreError> {
    let sql = "INSERT OR REPLACE INTO secret (name, nonce, sealed, updated_ms) VALUES (?1, ?2, ?3, ?4)";
    c.run("store a secret", sql, params![secret.name, secret.nonce, secret.sealed, c.now()]).map(|_| ())
}

pub(super) fn secret_delete(c: &mut Context<'_>, id: &SecretId) -> Result<(), StoreError> {
    let deleted = c.run("delete a secret", "DELETE FROM secret WHERE name = ?1", [id.to_string()])? > 0;
    c.receipt.deleted.push(deleted);
    Ok(())
}

/// A key slot. The first one is written only if there is none: a second data key would orphan what the first one sealed.
pub(super) fn slot(conn: &Connection, slot: &Slot, first: bool) -> Result<(), StoreError> {
    let sql = "INSERT OR REPLACE INTO vault_slot (kind, kdf, nonce, wrapped) SELECT ?1, ?2, ?3, ?4 \
               WHERE NOT ?5 OR NOT EXISTS (SELECT 1 FROM vault_slot)";
    if run(conn, "write a key slot", sql, params![slot.kind, slot.kdf, slot.nonce, slot.wrapped, first])? == 0 {
        return Err(StoreError::conflict("the secrets of this directory have a key already"));
    }
    Ok(())
}

pub(super) fn approval(c: &Context<'_>, row: &ApprovalRow) -> Result<(), StoreError> {
    let sql = "INSERT INTO approval (id, session, run, call_id, tool, instance, digest, arguments, reason, at_ms, expires_ms, state) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, 'pending') ON CONFLICT (id) DO NOTHING";
    let params = params![
        row.id.to_bytes(),
        row.session,
        row.run.to_bytes(),
        row.call_id,
        row.tool,
        row.instance.to_string(),
        row.digest.to_string(),
        text(&row.arguments),
        row.reason,
        int(row.at_ms),
        row.expires_ms.map(int)
    ];
    if c.run("ask for approval", sql, params)? == 0 {
        return Err(StoreError::conflict(format!("an approval {} exists", row.id)));
    }
    Ok(())
}

pub(super) fn approval_state(c: &Context<'_>, id: Ulid, change: &ApprovalChange) -> Result<(), StoreError> {
    let sql = "SELECT state FROM approval WHERE id = ?1";
    let found = c
        .one("read an approval", sql, [id.to_bytes()], |r| r.word(0, ApprovalState::parse))?
        .ok_or_else(|| StoreError::missing(format!("approval {id}")))?;
    if !found.may_become(change.state) {
        let (was, is) = (found.as_str(), change.state.as_str());
        return Err(StoreError::conflict(format!("approval {id} is {was}, it cannot become {is}")));
    }
    // Spending a yes does not change who gave it.
    let sql = "UPDATE approval SET state = ?2, scope = coalesce(?3, scope), decided_by = CASE ?2 WHEN 'used' THEN decided_by ELSE ?4 END, \
               decided_ms = CASE ?2 WHEN 'used' THEN decided_ms ELSE ?5 END WHERE id = ?1";
    c.run(
        "answer an approval",
        sql,
        params![id.to_bytes(), change.state.as_str(), change.scope, change.by, int(change.at_ms)],
    )
    .map(|_| ())
}
