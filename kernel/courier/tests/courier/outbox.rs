//! What goes out: order, retries, what nobody can know, what nobody waits for any more.

use crate::platform::{Update, failure, from_owner};
use crate::world::{Life, OWNER, World};
use carapace_contract::channel::{ChannelFailure, ChannelFailureKind, FailureScope};
use carapace_contract::control::ChannelRequest;
use serde_json::Value;

fn uncertain() -> ChannelFailure {
    ChannelFailure { uncertain: true, ..failure(ChannelFailureKind::Retryable) }
}

fn others(n: u64, sender: &str, text: &str) -> Update {
    Update { sender: sender.into(), ..from_owner(n, &format!("c{sender}"), text) }
}

async fn outbox(life: &Life) -> Vec<Value> {
    life.ask(ChannelRequest::OutboxList { instance: None }).await.as_array().unwrap().clone()
}

#[test]
fn a_part_that_fails_holds_its_conversation_in_order_and_no_other() {
    let world = World::new(OWNER);
    let later = ChannelFailure { retry_after_ms: Some(120_000), ..failure(ChannelFailureKind::Retryable) };
    world.platform.sends.lock().unwrap().push_back(later);
    world.platform.push(from_owner(1, "home", "a\n\nb\n\nc"));
    world.live(async |life| {
        life.until("the first failed", || world.platform.sends.lock().unwrap().is_empty()).await.unwrap();
        world.platform.push(others(2, "2", "x"));
        life.until("all", || world.platform.delivered().len() == 4).await.unwrap();
        life.idle().await;
        assert!(outbox(life).await.is_empty());
    });
    assert_eq!(world.platform.texts(), ["re: x", "re: a", "b", "c"]);
    assert!(world.platform.delivered()[1].at_ms >= 120_000);
}

#[test]
fn a_storm_of_refusals_for_the_whole_account_is_waited_out() {
    let world = World::new(OWNER);
    let storm = ChannelFailure {
        retry_after_ms: Some(30_000),
        scope: FailureScope::Account,
        ..failure(ChannelFailureKind::Retryable)
    };
    world.platform.sends.lock().unwrap().extend((0..40).map(|_| storm.clone()));
    for n in 1..=30 {
        world.platform.push(others(n, &(n % 3 + 1).to_string(), &n.to_string()));
    }
    world.live(async |life| life.until("all", || world.platform.delivered().len() == 30).await.unwrap());
    let all = world.platform.delivered();
    // At most three were on their way when the account was first refused, and each pause is waited out.
    assert!(all[0].at_ms >= 10 * 30_000, "{}", all[0].at_ms);
    for c in 1..=3_u64 {
        let texts: Vec<String> =
            all.iter().filter(|d| d.conversation == format!("c{c}")).map(|d| d.text.clone()).collect();
        assert_eq!(texts, (1..=30).filter(|n| n % 3 + 1 == c).map(|n| format!("re: {n}")).collect::<Vec<_>>());
    }
}

#[test]
fn what_fails_for_good_is_given_up_and_can_be_sent_again_or_dropped() {
    let world = World::new(OWNER);
    let broken = || failure(ChannelFailureKind::Broken);
    world.platform.sends.lock().unwrap().extend([failure(ChannelFailureKind::Final), broken(), broken(), broken()]);
    for n in 1..=3 {
        world.platform.push(from_owner(n, "home", &n.to_string()));
    }
    world.live(async |life| {
        life.until("the third", || world.platform.delivered().len() == 1).await.unwrap();
        life.idle().await;
        let list = outbox(life).await;
        let shown: Vec<_> = list
            .iter()
            .map(|p| (p["text"].as_str().unwrap(), p["state"].as_str().unwrap(), p["attempts"].as_u64().unwrap()))
            .collect();
        assert_eq!(shown, [("re: 1", "dead", 1), ("re: 2", "dead", 3)]);
        assert_eq!(life.courier.statuses().await.unwrap()[0].outbox_dead, 2);
        let id = |n: usize| list[n]["id"].as_str().unwrap().parse().unwrap();
        life.ask(ChannelRequest::OutboxDrop { id: id(0) }).await;
        life.ask(ChannelRequest::OutboxRetry { id: id(1) }).await;
        life.until("sent again", || world.platform.delivered().len() == 2).await.unwrap();
        life.idle().await;
        assert!(outbox(life).await.is_empty());
        for request in [ChannelRequest::OutboxDrop { id: id(0) }, ChannelRequest::OutboxRetry { id: id(1) }] {
            assert_eq!(life.courier.control(request).await.unwrap_err().code, "E-CHANNEL-004");
        }
    });
    assert_eq!(world.platform.texts(), ["re: 3", "re: 2"]);
}

#[test]
fn a_part_of_unknown_fate_is_shown_holds_nobody_up_and_is_the_owners_to_decide() {
    let world = World::new(OWNER);
    world.platform.sends.lock().unwrap().push_back(uncertain());
    for n in 1..=2 {
        world.platform.push(from_owner(n, "home", &n.to_string()));
    }
    world.live(async |life| {
        life.until("the second", || world.platform.texts().contains(&"re: 2".to_owned())).await.unwrap();
        life.idle().await;
        let list = outbox(life).await;
        assert_eq!((list.len(), &list[0]["state"]), (1, &"uncertain".into()));
        life.pass(100_000).await;
        assert_eq!(world.platform.delivered().len(), 2, "it is not repeated");
        life.ask(ChannelRequest::OutboxRetry { id: list[0]["id"].as_str().unwrap().parse().unwrap() }).await;
        life.until("repeated", || world.platform.delivered().len() == 3).await.unwrap();
    });
    assert_eq!(world.platform.texts(), ["re: 1", "re: 2", "re: 1"]);
}

#[test]
fn what_nobody_waits_for_any_more_is_not_sent() {
    let world = World::new(OWNER);
    world.platform.sends.lock().unwrap().push_back(failure(ChannelFailureKind::Gone));
    world.platform.push(from_owner(1, "home", "a"));
    world.live(async |life| {
        life.until("refused", || world.platform.sends.lock().unwrap().is_empty()).await.unwrap();
        life.idle().await;
        world.clock.jump(86_400_001);
        world.platform.tell_change();
        life.idle().await;
        let list = outbox(life).await;
        assert_eq!(list[0]["state"], "dead", "{list:?}");
        assert!(list[0]["detail"]["error"].as_str().unwrap().contains("its time was over"), "{list:?}");
        life.ask(ChannelRequest::OutboxRetry { id: list[0]["id"].as_str().unwrap().parse().unwrap() }).await;
        life.until("sent all the same", || world.platform.delivered().len() == 1).await.unwrap();
    });
}

/// By how much, ms, and whether the kernel is started anew then.
const PUT_BACK: [(i64, bool); 6] = [
    (30 * 86_400_000, false),
    (30 * 86_400_000, true),
    (1_800_000, false),
    (1_800_000, true),
    (60_000, false),
    (60_000, true),
];

#[test]
fn a_clock_that_is_put_back_keeps_no_part_waiting_longer_than_it_was_put_off() {
    for (by_ms, anew) in PUT_BACK {
        let world = World::new(OWNER);
        let later = ChannelFailure { retry_after_ms: Some(20_000), ..failure(ChannelFailureKind::Retryable) };
        world.platform.sends.lock().unwrap().push_back(later);
        world.platform.push(from_owner(1, "home", "a\n\nb"));
        let sent = async |life: &Life| {
            life.until("sent", || world.platform.delivered().len() == 2).await.unwrap();
        };
        world.live(async |life| {
            life.until("failed", || world.platform.sends.lock().unwrap().is_empty()).await.unwrap();
            life.idle().await;
            world.clock.jump(-by_ms);
            if !anew {
                sent(life).await;
            }
        });
        if anew {
            world.live(async |life| sent(life).await);
        }
        let all = world.platform.delivered();
        assert_eq!(world.platform.texts(), ["re: a", "b"]);
        // A while may pass until it is noticed; then it waits once more.
        assert!((20_000..60_000).contains(&all[0].at_ms) && all[1].at_ms < 60_000, "{by_ms} {anew}: {all:?}");
    }
}

#[test]
fn a_clock_that_is_put_forward_and_back_again_makes_nothing_late() {
    let world = World::new(OWNER);
    world.platform.sends.lock().unwrap().push_back(failure(ChannelFailureKind::Retryable));
    world.live(async |life| {
        life.idle().await;
        world.clock.jump(1_800_000);
        world.platform.push(from_owner(1, "home", "a"));
        life.until("failed", || world.platform.sends.lock().unwrap().is_empty()).await.unwrap();
        life.idle().await;
        world.clock.jump(-1_800_000);
        life.until("sent", || world.platform.delivered().len() == 1).await.unwrap();
    });
    assert!(world.platform.delivered()[0].at_ms < 60_000, "{:?}", world.platform.delivered());
}
