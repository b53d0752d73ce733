//! Grants, usage, the audit log, secrets' names, approvals, leases.

use crate::error::{Attempt, StoreError};
use crate::reader::{Reader, all, one};
use crate::rows::{
    ApprovalEntry, ApprovalRow, ApprovalState, AuditEntry, AuditRow, Lease, SecretId, SecretInfo, UsageRow,
};
use crate::sql::{Columns, size};
use carapace_contract::InstanceId;
use carapace_contract::grant::Grant;
use rusqlite::{Row, params};
use serde_json::Value;
use ulid::Ulid;

const APPROVAL: &str = "SELECT id, session, run, call_id, tool, instance, digest, arguments, reason, at_ms, expires_ms, state, scope, \
                        decided_by, decided_ms FROM approval";

fn approval(r: &Row<'_>) -> rusqlite::Result<ApprovalEntry> {
    Ok(ApprovalEntry {
        row: ApprovalRow {
            id: r.ulid(0)?,
            session: r.get(1)?,
            run: r.ulid(2)?,
            call_id: r.get(3)?,
            tool: r.get(4)?,
            instance: r.parsed(5)?,
            digest: r.parsed(6)?,
            arguments: r.json(7)?,
            reason: r.get(8)?,
            at_ms: r.u64(9)?,
            expires_ms: r.opt_u64(10)?,
        },
        state: r.word(11, ApprovalState::parse)?,
        scope: r.get(12)?,
        decided_by: r.get(13)?,
        decided_ms: r.opt_u64(14)?,
    })
}

fn usage(r: &Row<'_>) -> rusqlite::Result<UsageRow> {
    Ok(UsageRow {
        day: r.get(0)?,
        instance: r.get(1)?,
        model: r.get(2)?,
        input: r.u64(3)?,
        output: r.u64(4)?,
        cached: r.u64(5)?,
        reasoning: r.u64(6)?,
        cost_micros: r.u64(7)?,
        requests: r.u64(8)?,
    })
}

fn audit(r: &Row<'_>) -> rusqlite::Result<AuditEntry> {
    let body: Option<Vec<u8>> = r.get(5)?;
    let detail = body.map_or(Ok(Value::Null), |b| {
        serde_json::from_slice(&b)
            .map_err(|e| rusqlite::Error::FromSqlConversionFailure(5, rusqlite::types::Type::Blob, Box::new(e)))
    })?;
    Ok(AuditEntry {
        id: r.ulid(0)?,
        seq: r.u64(1)?,
        row: AuditRow { kind: r.get(2)?, subject: r.get(3)?, detail, at_ms: r.u64(4)? },
    })
}

fn secret_id(name: &str) -> Result<SecretId, StoreError> {
    let bad = || StoreError::corrupt(format!("secret name `{name}`"));
    let (instance, secret) = name.rsplit_once('/').ok_or_else(bad)?;
    Ok(SecretId { instance: instance.parse().map_err(|_| bad())?, name: secret.parse().map_err(|_| bad())? })
}

impl Reader {
    /// All grants, revoked ones included.
    pub async fn grants(&self) -> Result<Vec<Grant>, StoreError> {
        self.read(|c| {
            let sql = "SELECT body FROM granted ORDER BY instance";
            let bodies: Vec<String> = all(c, "list the grants", sql, [], |r| r.get(0))?;
            bodies.iter().map(|b| serde_json::from_str(b).attempt("a grant")).collect()
        })
        .await
    }

    /// An instance's grant, even if revoked.
    pub async fn grant(&self, instance: &InstanceId) -> Result<Option<Grant>, StoreError> {
        let instance = instance.to_string();
        self.read(move |c| {
            let sql = "SELECT body FROM granted WHERE instance = ?1";
            let body: Option<String> = one(c, "read a grant", sql, [instance], |r| r.get(0))?;
            body.map(|b| serde_json::from_str(&b).attempt("a grant")).transpose()
        })
        .await
    }

    /// Usage of the days `from` to `to` (`YYYY-MM-DD`, both included), by day, instance, model.
    pub async fn usage(&self, from: &str, to: &str) -> Result<Vec<UsageRow>, StoreError> {
        let (from, to) = (from.to_owned(), to.to_owned());
        self.read(move |c| {
            let sql = "SELECT day, instance, model, input, output, cached, reasoning, cost_micros, requests FROM usage \
                       WHERE day >= ?1 AND day <= ?2 ORDER BY day, instance, model";
            all(c, "read the usage", sql, params![from, to], usage)
        })
        .await
    }

    /// What a day (`YYYY-MM-DD`) has cost so far, millionths.
    pub async fn cost_on(&self, day: &str) -> Result<u64, StoreError> {
        let day = day.to_owned();
        self.read(move |c| {
            let sql = "SELECT coalesce(sum(cost_micros), 0) FROM usage WHERE day = ?1";
            Ok(one(c, "sum the cost", sql, [day], |r| r.u64(0))?.unwrap_or(0))
        })
        .await
    }

    /// The last `limit` facts of the audit log, oldest first.
    pub async fn audit_tail(&self, limit: usize) -> Result<Vec<AuditEntry>, StoreError> {
        self.read(move |c| {
            let sql = "SELECT a.id, a.seq, a.kind, a.subject, a.at_ms, c.body FROM audit a LEFT JOIN content c ON c.id = a.id \
                       ORDER BY a.seq DESC LIMIT ?1";
            let mut rows = all(c, "read the audit log", sql, [size(limit)], audit)?;
            rows.reverse();
            Ok(rows)
        })
        .await
    }

    /// The names of all secrets; never a value.
    pub async fn secret_names(&self) -> Result<Vec<SecretInfo>, StoreError> {
        self.read(|c| {
            let sql = "SELECT name, updated_ms FROM secret ORDER BY name";
            let rows: Vec<(String, u64)> = all(c, "list the secrets", sql, [], |r| Ok((r.get(0)?, r.u64(1)?)))?;
            rows.into_iter().map(|(name, updated_ms)| Ok(SecretInfo { id: secret_id(&name)?, updated_ms })).collect()
        })
        .await
    }

    /// Whether a secret is stored. Needs no key.
    pub async fn secret_exists(&self, id: &SecretId) -> Result<bool, StoreError> {
        let name = id.to_string();
        self.read(move |c| {
            Ok(one(c, "look for a secret", "SELECT 1 FROM secret WHERE name = ?1", [name], |_| Ok(()))?.is_some())
        })
        .await
    }

    /// Questions in a state, oldest first.
    pub async fn approvals(&self, state: ApprovalState, limit: usize) -> Result<Vec<ApprovalEntry>, StoreError> {
        self.read(move |c| {
            let sql = format!("{APPROVAL} WHERE state = ?1 ORDER BY at_ms, id LIMIT ?2");
            all(c, "list the approvals", &sql, params![state.as_str(), size(limit)], approval)
        })
        .await
    }

    /// One question.
    pub async fn approval(&self, id: Ulid) -> Result<Option<ApprovalEntry>, StoreError> {
        self.read(move |c| one(c, "read an approval", &format!("{APPROVAL} WHERE id = ?1"), [id.to_bytes()], approval))
            .await
    }

    /// Who holds a lease, expired or not.
    pub async fn lease(&self, name: &str) -> Result<Option<Lease>, StoreError> {
        let name = name.to_owned();
        self.read(move |c| {
            let sql = "SELECT name, holder, token, expires_ms FROM lease WHERE name = ?1 AND holder <> ''";
            one(c, "read a lease", sql, [name], |r| {
                Ok(Lease { name: r.get(0)?, holder: r.get(1)?, token: r.u64(2)?, expires_ms: r.u64(3)? })
            })
        })
        .await
    }
}
