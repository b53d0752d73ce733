//! Channels: state, timers, kept events, who may talk.

use crate::fresh;
use carapace_contract::{Digest, InstanceId};
use carapace_store::{
    Batch, ChannelEventRow, ChannelEventState, ChannelRow, DeliveryCounts, PairedRow, PairingRow, TimerRow, Ulid,
};
use serde_json::{Value, json};

fn chat() -> InstanceId {
    "local/chat/main".parse().unwrap()
}

fn kept(n: u64, state: ChannelEventState) -> ChannelEventRow {
    ChannelEventRow {
        id: Ulid::generate(),
        instance: chat(),
        fingerprint: n.to_string(),
        body: n.into(),
        state,
        why: None,
        at_ms: n,
    }
}

#[tokio::test]
async fn a_channel_finds_its_state_its_timers_and_its_attempts_again() {
    let (_dir, store) = fresh();
    assert_eq!(store.channel(&chat()).await.unwrap(), None);
    assert_eq!(store.channel_attempts(&chat()).await.unwrap(), Value::Null);
    let row = ChannelRow { instance: chat(), digest: Digest::of(b"1"), state: vec![0, 255] };
    let timer = |id: &str, due_ms| TimerRow { instance: chat(), id: id.into(), set_ms: 1, due_ms };
    let batch = Batch::new().channel_state(row.clone()).channel_attempts(chat(), json!({ "a": [0, 1] }));
    let batch = batch.timer_set(timer("late", 9)).timer_set(timer("soon", 20)).timer_set(timer("soon", 5));
    store.commit(batch).await.unwrap();
    assert_eq!(store.channel(&chat()).await.unwrap(), Some(row.clone()));
    assert_eq!(store.channel_attempts(&chat()).await.unwrap(), json!({ "a": [0, 1] }));
    assert_eq!(store.channel_timers(&chat()).await.unwrap(), [timer("soon", 5), timer("late", 9)]);
    store.commit(Batch::new().timer_clear(chat(), "soon").channel_attempts(chat(), Value::Null)).await.unwrap();
    assert_eq!(store.channel_timers(&chat()).await.unwrap(), [timer("late", 9)]);
    assert_eq!(store.channel_attempts(&chat()).await.unwrap(), Value::Null);
    assert_eq!(store.channel_logins(&chat()).await.unwrap(), Value::Null);
    store.commit(Batch::new().channel_logins(chat(), json!({ "gateway": { "7": 1 } }))).await.unwrap();
    assert_eq!(store.channel_logins(&chat()).await.unwrap(), json!({ "gateway": { "7": 1 } }));
    let large = ChannelRow { state: vec![0; (64 << 10) + 1], ..row };
    assert!(store.commit(Batch::new().channel_state(large)).await.unwrap_err().to_string().contains("65536"));
    store.commit(Batch::new().forget_data("local/chat".parse().unwrap())).await.unwrap();
    assert_eq!(store.channel(&chat()).await.unwrap(), None);
    assert_eq!(store.channel_logins(&chat()).await.unwrap(), Value::Null);
}

#[tokio::test]
async fn dead_events_are_bounded_and_waiting_ones_are_not_among_them() {
    let (_dir, store) = fresh();
    let waiting = kept(0, ChannelEventState::Waiting);
    let mut batch = Batch::new().event_put(waiting.clone());
    for n in 1..=ChannelEventRow::KEPT + 5 {
        batch = batch.event_put(kept(n, ChannelEventState::Dead));
    }
    store.commit(batch).await.unwrap();
    let dead = store.channel_events(Some(&chat()), ChannelEventState::Dead, 9_999).await.unwrap();
    assert_eq!((dead.len() as u64, dead[0].at_ms), (ChannelEventRow::KEPT, 6));
    assert_eq!(
        store.channel_events(None, ChannelEventState::Waiting, 9).await.unwrap(),
        std::slice::from_ref(&waiting)
    );
    assert_eq!(store.dead_fingerprints(&chat()).await.unwrap().len(), dead.len());
    let batch = Batch::new().event_state(dead[0].id, ChannelEventState::Waiting, None).event_delete(waiting.id);
    assert_eq!(store.commit(batch.event_delete(waiting.id)).await.unwrap().deleted, [true, false]);
    let counts = store.delivery_counts(&chat()).await.unwrap();
    assert_eq!(
        counts,
        DeliveryCounts { events: 1, events_dead: ChannelEventRow::KEPT - 1, ..DeliveryCounts::default() }
    );
}

#[tokio::test]
async fn a_stranger_has_one_code_and_a_code_one_stranger() {
    let (_dir, store) = fresh();
    let code = |code: &str, sender: &str| PairingRow {
        instance: chat(),
        code: code.into(),
        sender: sender.into(),
        name: "N".into(),
        at_ms: 1,
        expires_ms: 2,
    };
    store.commit(Batch::new().pairing_put(code("AAAA", "1")).pairing_put(code("BBBB", "1"))).await.unwrap();
    assert_eq!(store.pairings().await.unwrap(), [code("BBBB", "1")]);
    assert!(store.commit(Batch::new().pairing_put(code("BBBB", "2"))).await.unwrap_err().is_conflict());
    let known = PairedRow { instance: chat(), sender: "1".into(), name: "N".into(), owner: true, at_ms: 3 };
    let batch = Batch::new().pairing_delete("BBBB").paired_put(known.clone());
    assert_eq!(store.commit(batch).await.unwrap().deleted, [true]);
    assert_eq!((store.pairings().await.unwrap(), store.paired().await.unwrap()), (vec![], vec![known]));
    let gone = store.commit(Batch::new().paired_delete(chat(), "1").paired_delete(chat(), "1")).await.unwrap();
    assert_eq!(gone.deleted, [true, false]);
}
