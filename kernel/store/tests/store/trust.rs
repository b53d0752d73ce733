//! Grants, usage, the audit log, approvals.

use crate::{fresh, open};
use carapace_contract::Digest;
use carapace_contract::capability::CapabilitySet;
use carapace_contract::grant::Grant;
use carapace_store::{ApprovalChange, ApprovalRow, ApprovalState, AuditRow, Batch, StoreError, Ulid, UsageRow};
use serde_json::json;

fn grant(instance: &str) -> Grant {
    Grant {
        instance: instance.parse().unwrap(),
        digest: Digest::of(instance.as_bytes()),
        capabilities: CapabilitySet { kv: true, ..CapabilitySet::none() },
        by: "owner, first run".into(),
        at_ms: 12,
        revoked: false,
        refused: Default::default(),
    }
}

#[tokio::test]
async fn a_revoked_grant_stays_on_record() {
    let (dir, store) = fresh();
    let (a, b) = (grant("local/a"), grant("local/b/work"));
    store.commit(Batch::new().grant_put(b.clone()).grant_put(a.clone())).await.unwrap();
    store.commit(Batch::new().grant_revoke(a.instance.clone())).await.unwrap();
    store.close().await;
    let store = open(dir.path());
    assert_eq!(store.grants().await.unwrap(), [Grant { revoked: true, ..a }, b.clone()]);
    assert_eq!(store.grant(&b.instance).await.unwrap(), Some(b));
    let unknown = Batch::new().grant_revoke("local/none".parse().unwrap());
    assert!(store.commit(unknown).await.unwrap_err().is_missing());
}

#[tokio::test]
async fn usage_adds_up_by_day() {
    let (_dir, store) = fresh();
    let row = |day: &str, model: &str| UsageRow {
        day: day.into(),
        instance: "local/openai/main".into(),
        model: model.into(),
        input: 10,
        output: 5,
        cached: 2,
        reasoning: 1,
        cost_micros: 1_500,
        requests: 1,
    };
    let batch = Batch::relaxed().usage_add(row("2026-01-01", "m")).usage_add(row("2026-01-02", "m"));
    store.commit(batch.usage_add(row("2026-01-02", "n")).usage_add(row("2026-01-02", "m"))).await.unwrap();
    assert_eq!(store.cost_on("2026-01-02").await.unwrap(), 4_500);
    assert_eq!(store.cost_on("2026-01-03").await.unwrap(), 0);
    let days = store.usage("2026-01-02", "2026-01-31").await.unwrap();
    assert_eq!(
        days.iter().map(|u| (u.model.as_str(), u.input, u.requests)).collect::<Vec<_>>(),
        [("m", 20, 2), ("n", 10, 1)]
    );
}

#[tokio::test]
async fn the_audit_log_is_read_from_its_end() {
    let (_dir, store) = fresh();
    let fact =
        |n: u64| AuditRow { kind: "denied".into(), subject: format!("s{n}"), detail: json!({ "n": n }), at_ms: n };
    store.commit((1..=5).map(fact).fold(Batch::new(), Batch::audit)).await.unwrap();
    let tail = store.audit_tail(2).await.unwrap();
    assert_eq!(tail.iter().map(|e| (e.seq, e.row.clone())).collect::<Vec<_>>(), [(4, fact(4)), (5, fact(5))]);
}

fn question() -> ApprovalRow {
    ApprovalRow {
        id: Ulid::generate(),
        session: "main".into(),
        run: Ulid::generate(),
        call_id: "c1".into(),
        tool: "mail_send".into(),
        instance: "local/mail".parse().unwrap(),
        digest: Digest::of(b"mail"),
        arguments: json!({ "to": "someone" }),
        reason: "the turn is tainted".into(),
        at_ms: 3,
        expires_ms: Some(99),
    }
}

fn answer(state: ApprovalState, by: &str) -> ApprovalChange {
    ApprovalChange { state, scope: Some("once".into()), by: by.into(), at_ms: 8 }
}

#[tokio::test]
async fn an_approval_is_answered_once_and_spent_once() {
    let (_dir, store) = fresh();
    let row = question();
    store.commit(Batch::new().approval_put(row.clone())).await.unwrap();
    assert_eq!(store.approvals(ApprovalState::Pending, 9).await.unwrap()[0].row, row);
    let change = |state, by: &str| store.commit(Batch::new().approval_state(row.id, answer(state, by)));
    assert!(change(ApprovalState::Used, "nobody").await.unwrap_err().is_conflict(), "not before a yes");
    change(ApprovalState::Approved, "owner, page").await.unwrap();
    assert!(change(ApprovalState::Denied, "owner, cli").await.unwrap_err().is_conflict());
    change(ApprovalState::Used, "agent").await.unwrap();
    assert!(change(ApprovalState::Used, "agent").await.unwrap_err().is_conflict());
    let found = store.approval(row.id).await.unwrap().unwrap();
    assert_eq!(
        (found.state, found.decided_by.as_deref(), found.scope.as_deref()),
        (ApprovalState::Used, Some("owner, page"), Some("once"))
    );
    assert!(store.commit(Batch::new().approval_put(row)).await.unwrap_err().is_conflict());
    let refused = store.commit(Batch::new().approval_state(Ulid::generate(), answer(ApprovalState::Denied, "x"))).await;
    assert!(matches!(refused, Err(StoreError::Missing { .. })));
}
