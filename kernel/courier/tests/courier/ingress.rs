//! What comes in: polls, timers, poison, swaps.

use crate::platform::{Update, chat, failure, from_owner};
use crate::world::{OWNER, World};
use carapace_contract::Digest;
use carapace_contract::channel::{ChannelFailure, ChannelFailureKind, ChannelState, MAX_ATTEMPTS};
use carapace_contract::control::ChannelRequest;
use carapace_store::{Batch, ChannelRow};
use std::time::Duration;

fn does(n: u64, what: &str) -> Update {
    Update { does: what.into(), ..from_owner(n, "home", &format!("m{n}")) }
}

#[test]
fn a_message_is_answered_in_its_conversation() {
    let world = World::new(OWNER);
    world.platform.push(from_owner(1, "home", "hello"));
    world.live(async |life| {
        life.until("an answer", || !world.platform.delivered().is_empty()).await.unwrap();
        life.idle().await;
        let status = life.courier.statuses().await.unwrap();
        assert_eq!((status.len(), status[0].state, status[0].waiting), (1, ChannelState::Running, 0));
        assert!(life.courier.not_ready().is_empty());
    });
    let delivered = world.platform.delivered();
    assert_eq!((delivered[0].conversation.as_str(), delivered[0].text.as_str()), ("home", "re: hello"));
    assert_eq!(world.platform.lines("start"), ["start 0"]);
}

#[test]
fn many_events_share_one_commit_and_each_keeps_its_place() {
    let world = World::new(OWNER);
    for n in 1..=200 {
        world.platform.push(from_owner(n, "home", &n.to_string()));
    }
    let (go, slow) = tokio::sync::watch::channel(false);
    *world.parrot.slow.lock().unwrap() = Some(slow);
    world.live(async |life| {
        life.until("all items", || world.platform.lines("item").len() >= 200).await.unwrap();
        assert!(life.commits() < 40, "{}", life.commits());
        go.send_replace(true);
        life.until("all answers", || world.platform.delivered().len() >= 200).await.unwrap();
    });
    let wanted: Vec<String> = (1..=200).map(|n| format!("re: {n}")).collect();
    assert_eq!(world.platform.texts(), wanted);
}

#[test]
fn a_slow_event_puts_off_the_commit_of_those_before_it_only_so_long() {
    let world = World::new(OWNER);
    for n in 1..=5 {
        world.platform.push(does(n, "slow:60"));
    }
    world.live(async |life| {
        life.until("all answers", || world.platform.delivered().len() >= 5).await.unwrap();
    });
    let delivered = world.platform.delivered();
    let texts: Vec<&str> = delivered.iter().map(|d| d.text.as_str()).collect();
    assert_eq!(texts, ["re: m1", "re: m2", "re: m3", "re: m4", "re: m5"]);
    // Two at a time: 120 ms, 240 ms, 300 ms.
    let since = |n: usize| delivered[n].at_ms - delivered[0].at_ms;
    assert!(since(1) < 60 && since(2) >= 100 && since(4) > since(3), "{delivered:?}");
    assert!(world.platform.lines("item").iter().all(|l| l.ends_with("attempt 1")));
}

#[test]
fn one_poisonous_message_among_thousands_stops_nothing_and_can_be_looked_at() {
    let world = World::new(OWNER);
    for n in 1..=2_000 {
        world.platform.push(if n == 777 {
            does(n, "trap")
        } else {
            from_owner(n, &(n % 7).to_string(), &n.to_string())
        });
    }
    world.live(async |life| {
        life.until("all others", || world.platform.delivered().len() >= 1_999).await.unwrap();
        assert_eq!(world.platform.lines("item 777 "), [1, 2, 3].map(|n| format!("item 777 attempt {n}")));
        assert_eq!(world.platform.lines("passed"), ["passed 777"]);
        let dead = life.ask(ChannelRequest::EventList).await;
        assert_eq!((dead.as_array().unwrap().len(), &dead[0]["what"]), (1, &"event".into()));
        assert!(dead[0]["why"].as_str().unwrap().contains("3 times"), "{dead}");
        // The component was mended: the event is given again, as it came.
        world.platform.attempts.lock().unwrap().clear();
        world.platform.updates.lock().unwrap().clear();
        let id = dead[0]["id"].as_str().unwrap().parse().unwrap();
        life.ask(ChannelRequest::EventReplay { id }).await;
        life.until("dead again", || world.platform.lines("item 777 ").len() >= 6).await.unwrap();
        life.idle().await;
        let dead = life.ask(ChannelRequest::EventList).await;
        assert_eq!(dead.as_array().unwrap().len(), 1, "{dead}");
        life.ask(ChannelRequest::EventDrop { id }).await;
        assert_eq!(life.ask(ChannelRequest::EventList).await, serde_json::json!([]));
        assert!(life.courier.control(ChannelRequest::EventReplay { id }).await.unwrap_err().code == "E-CHANNEL-005");
    });
    assert_eq!(MAX_ATTEMPTS, 3);
}

#[test]
fn a_component_that_breaks_now_and_then_loses_nothing() {
    let world = World::new(OWNER);
    for n in 1..=100 {
        world.platform.push(if n % 5 == 0 { does(n, "trap-twice") } else { does(n, "") });
    }
    world.live(async |life| {
        life.until("all answers", || world.platform.delivered().len() >= 100).await.unwrap();
        assert_eq!(life.ask(ChannelRequest::EventList).await, serde_json::json!([]));
    });
    assert_eq!(world.parrot.texts(), (1..=100).map(|n| format!("m{n}")).collect::<Vec<_>>());
}

#[test]
fn what_says_nothing_about_an_event_counts_as_no_attempt() {
    let world = World::new(OWNER);
    for (n, what) in [(1, "retry"), (2, "not-now"), (3, "")] {
        world.platform.push(does(n, what));
    }
    world.live(async |life| {
        life.until("all answers", || world.platform.delivered().len() >= 3).await.unwrap();
        assert_eq!(life.ask(ChannelRequest::EventList).await, serde_json::json!([]));
    });
    assert_eq!(world.platform.lines("item 1 attempt 1").len(), 11);
    assert_eq!(world.platform.lines("item 2 attempt 1").len(), 51);
    assert_eq!(world.parrot.texts(), ["m1", "m2", "m3"], "and the order is kept");
}

#[test]
fn a_component_that_is_not_there_for_a_moment_is_found_again() {
    let world = World::new(OWNER);
    world.platform.push(does(1, "gone"));
    world.platform.sends.lock().unwrap().push_back(failure(ChannelFailureKind::Gone));
    world.live(async |life| {
        life.until("not there", || !world.platform.lines("item").is_empty()).await.unwrap();
        life.idle().await;
        assert_eq!(life.courier.statuses().await.unwrap()[0].state, ChannelState::Degraded);
        life.until("an answer", || world.platform.delivered().len() == 1).await.unwrap();
        life.idle().await;
        assert_eq!(life.courier.statuses().await.unwrap()[0].state, ChannelState::Running);
    });
    assert_eq!(world.platform.lines("item 1 attempt 1").len(), 21, "and what is not there breaks on nothing");
}

#[test]
fn an_event_that_the_component_refuses_for_good_is_put_aside_at_once() {
    let world = World::new(OWNER);
    world.platform.push(does(1, "final"));
    world.platform.push(does(2, ""));
    world.live(async |life| {
        life.until("the other", || world.platform.delivered().len() == 1).await.unwrap();
        assert_eq!(life.ask(ChannelRequest::EventList).await.as_array().unwrap().len(), 1);
    });
    assert_eq!(world.platform.lines("item 1 ").len(), 1);
}

#[test]
fn an_item_that_takes_the_kernel_down_is_put_aside_after_some_lives() {
    let world = World::new(OWNER);
    for (n, what) in [(1, ""), (2, "dies"), (3, "")] {
        world.platform.push(does(n, what));
    }
    let mut lives = 0;
    loop {
        world.plug.pull_at(i64::MAX);
        let died = world.live(async |life| life.until("the others", || world.parrot.texts().len() == 2).await);
        lives += 1;
        if died == Ok(()) {
            break;
        }
        assert!(lives < 20, "it is given again and again");
    }
    assert_eq!(lives, 9);
    assert_eq!(world.parrot.texts(), ["m1", "m3"]);
    world.live(async |life| {
        let dead = life.ask(ChannelRequest::EventList).await;
        assert!(dead[0]["why"].as_str().unwrap().contains("the kernel stopped 8 times"), "{dead}");
    });
}

#[test]
fn a_poll_that_fails_backs_off_and_does_what_the_platform_asks() {
    let world = World::new(OWNER);
    let asks = ChannelFailure { retry_after_ms: Some(90_000), ..failure(ChannelFailureKind::Retryable) };
    world.platform.polls.lock().unwrap().extend([failure(ChannelFailureKind::Retryable), asks]);
    world.platform.push(does(1, ""));
    world.live(async |life| {
        life.idle().await;
        let status = &life.courier.statuses().await.unwrap()[0];
        assert_eq!((status.state, status.why.as_deref()), (ChannelState::Degraded, Some("polling: Retryable")));
        life.until("an answer", || !world.platform.delivered().is_empty()).await.unwrap();
        let at = world.platform.delivered()[0].at_ms;
        assert!((90_500..130_000).contains(&at), "{at}");
        assert_eq!(life.courier.statuses().await.unwrap()[0].state, ChannelState::Running);
    });
}

#[test]
fn what_cannot_go_on_stops_until_something_changes() {
    let world = World::new(OWNER);
    world.platform.polls.lock().unwrap().push_back(failure(ChannelFailureKind::Final));
    world.live(async |life| {
        let stopped = async |why: &str| {
            life.idle().await;
            let status = &life.courier.statuses().await.unwrap()[0];
            assert_eq!((status.state, status.why.as_deref()), (ChannelState::Stopped, Some(why)));
            assert!(life.courier.not_ready()[0].1.contains(why));
            let requests = world.plug.passed.load(std::sync::atomic::Ordering::SeqCst);
            life.pass(1_000_000).await;
            assert_eq!(world.plug.passed.load(std::sync::atomic::Ordering::SeqCst), requests, "nothing is asked");
        };
        stopped("Final").await;
        world.platform.push(does(1, "fatal"));
        world.platform.tell_change();
        life.until("taken in", || world.platform.delivered().len() == 1).await.unwrap();
        stopped("the token was revoked; set another").await;
        for _ in 0..3 {
            world.platform.starts.lock().unwrap().push_back(failure(ChannelFailureKind::Broken));
        }
        world.platform.tell_change();
        life.until("three starts", || world.platform.lines("start").len() == 5).await.unwrap();
        stopped("its component breaks when it is started: Broken").await;
    });
}

#[test]
fn effects_leave_after_the_commit_in_order() {
    let world = World::new(OWNER);
    for n in 1..=20 {
        world.platform.push(does(n, "effect"));
    }
    world.live(async |life| {
        life.until("all effects", || world.platform.lines("effect").len() == 20).await.unwrap();
        let row = life.store.channel(&chat()).await.unwrap().unwrap();
        assert_eq!(
            row,
            ChannelRow { instance: chat(), digest: Digest::of(b"1"), state: 21_u64.to_be_bytes().to_vec() }
        );
    });
    let wanted: Vec<String> = (1..=20).map(|n| format!("effect ack/{n}")).collect();
    assert_eq!(world.platform.lines("effect"), wanted);
}

#[test]
fn a_timer_runs_down_once_whatever_the_kernel_and_the_clock_do() {
    let world = World::new(OWNER);
    world.platform.push(does(1, "timer:60000"));
    world.live(async |life| {
        life.until("taken in", || world.platform.delivered().len() == 1).await.unwrap();
        life.clock_jumps(-86_400_000);
        life.pass(30_000).await;
        assert!(world.platform.lines("timer").is_empty());
    });
    world.clock.jump(-3_600_000);
    world.live(async |life| {
        life.until("the timer", || !world.platform.lines("timer").is_empty()).await.unwrap();
        life.pass(1_000_000).await;
    });
    world.live(async |life| life.pass(1_000_000).await);
    assert_eq!(world.platform.lines("timer").len(), 1);
}

#[test]
fn a_timer_that_ran_down_while_nothing_ran_is_due_at_once() {
    let world = World::new(OWNER);
    world.platform.push(does(1, "timer:60000"));
    world.live(async |life| life.until("taken in", || world.platform.delivered().len() == 1).await.unwrap());
    world.clock.jump(86_400_000);
    let before = world.clock.passed();
    world.live(async |life| life.until("the timer", || !world.platform.lines("timer").is_empty()).await.unwrap());
    assert_eq!(world.platform.lines("timer"), [format!("timer t1 at {before}")]);
}

#[test]
fn another_version_is_started_with_the_state_of_the_one_before() {
    let world = World::new(OWNER);
    world.live(async |life| {
        for version in 2..8_u8 {
            let seen = world.platform.lines("item").len();
            for n in 1..=80 {
                world.platform.push(does(u64::from(version) * 80 + n, ""));
            }
            life.until("some items", || world.platform.lines("item").len() > seen + 20).await.unwrap();
            *world.platform.digest.lock().unwrap() = Some(Digest::of(&[version]));
            world.platform.tell_change();
        }
        life.until("all answers", || world.platform.delivered().len() >= 480).await.unwrap();
        assert_eq!(life.store.channel(&chat()).await.unwrap().unwrap().digest, Digest::of(&[7]));
    });
    let starts = world.platform.lines("start");
    assert_eq!(starts[0], "start 0");
    assert!(starts.len() >= 2 && starts[1] != "start 0", "{starts:?}");
    assert_eq!(world.parrot.texts(), (161..=640).map(|n| format!("m{n}")).collect::<Vec<_>>());
}

#[test]
fn who_lost_the_lease_writes_nothing_more() {
    let world = World::new(OWNER);
    world.live(async |life| {
        life.idle().await;
        let other =
            life.store.lease_acquire("channel:local/chat/main", "kernel", Duration::from_secs(60)).await.unwrap();
        world.platform.push(does(1, ""));
        life.pass(100_000).await;
        let status = &life.courier.statuses().await.unwrap()[0];
        assert_eq!(status.state, ChannelState::Stopped);
        assert!(status.why.as_ref().unwrap().contains("taken over"), "{status:?}");
        assert!(life.store.inbox_open().await.unwrap().is_empty());
        assert!(life.store.commit(Batch::new().lease(other.name, other.token)).await.is_ok());
    });
    assert!(world.parrot.texts().is_empty() && world.platform.lines("item").is_empty());
}

#[test]
fn a_backlog_pauses_the_polls_and_not_the_answers() {
    let world = World::new(OWNER);
    let (go, slow) = tokio::sync::watch::channel(false);
    *world.parrot.slow.lock().unwrap() = Some(slow);
    for n in 1..=1_300 {
        world.platform.push(does(n, ""));
    }
    world.live(async |life| {
        life.pass(100_000).await;
        let taken = world.platform.lines("item").len();
        assert!((1_000..=1_100).contains(&taken), "{taken}");
        assert_eq!(life.hook(&from_owner(9_999, "away", "hook")).await.status, 503);
        go.send_replace(true);
        life.until("all answers", || world.platform.delivered().len() >= 1_300).await.unwrap();
    });
    assert_eq!(world.parrot.texts(), (1..=1_300).map(|n| format!("m{n}")).collect::<Vec<_>>());
}

#[test]
fn webhooks_go_before_timers_and_timers_before_items() {
    let world = World::new(OWNER);
    world.platform.push(does(1, "timer:30000"));
    world.platform.push(does(2, "timer:20000"));
    world.live(async |life| {
        life.until("taken in", || world.platform.delivered().len() == 2).await.unwrap();
        // Both run down at once, while nobody looks; then a webhook comes, and an item.
        world.clock.jump(60_000);
        world.platform.push(does(3, ""));
        assert_eq!(life.hook(&does(100, "")).await.status, 200);
        life.until("the last", || world.parrot.texts().len() == 4).await.unwrap();
    });
    let log = world.platform.log.lock().unwrap().clone();
    let at = |line: &str| log.iter().position(|l| l.starts_with(line)).unwrap();
    let order = [at("hook 100"), at("timer t2"), at("timer t1"), at("item 3")];
    assert!(order.is_sorted(), "{log:?}");
}

#[test]
fn a_changed_configuration_starts_the_channel_anew_and_who_may_talk_is_read_at_once() {
    let world = World::new("{ instances: { chat: { channel: { direct: 'listed' } } } }");
    let file = world.dir.path().join("carapace.json5");
    world.live(async |life| {
        life.idle().await;
        world.platform.push(from_owner(1, "home", "a"));
        life.pass(20_000).await;
        assert!(world.parrot.texts().is_empty());
        std::fs::write(&file, "{ instances: { chat: { channel: { direct: 'listed', owner: ['1'] } } } }").unwrap();
        life.config.reload().unwrap();
        world.platform.push(from_owner(2, "home", "b"));
        life.until("a turn", || world.parrot.texts() == ["b"]).await.unwrap();
        assert_eq!(world.platform.lines("start").len(), 1);
        std::fs::write(&file, "{ instances: { chat: { config: { a: 1 }, channel: { owner: ['1'] } } } }").unwrap();
        life.config.reload().unwrap();
        life.until("another start", || world.platform.lines("start").len() == 2).await.unwrap();
    });
    assert_eq!(world.platform.lines("start")[1], "start 3");
}

#[test]
fn a_full_disk_acknowledges_nothing_and_loses_nothing() {
    let world = World::new(OWNER);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let last = runtime.block_on(async {
        let store = world.store_of(Some(400 << 10));
        let ears = crate::parrot::Ears {
            parrot: std::sync::Arc::clone(&world.parrot),
            plug: std::sync::Arc::clone(&world.plug),
        };
        let life = world.begin_with(store, std::sync::Arc::new(ears)).await;
        // The assistant is slow: what comes in piles up, until the disk is full.
        let (_go, slow) = tokio::sync::watch::channel(false);
        *world.parrot.slow.lock().unwrap() = Some(slow);
        life.idle().await;
        let mut last = 0;
        for n in 1..=200 {
            let update = from_owner(n, "home", &format!("{n} {}", "x".repeat(4_000)));
            let (answer, ()) = tokio::join!(life.hook(&update), async { life.pass(3_000).await });
            if answer.status != 200 {
                assert_eq!(answer.status, 503);
                break;
            }
            last = n;
        }
        let status = &life.courier.statuses().await.unwrap()[0];
        assert!(status.why.as_ref().unwrap().contains("the disk is full"), "{status:?}");
        last
    });
    drop(runtime);
    assert!((10..200).contains(&last), "{last}");
    *world.parrot.slow.lock().unwrap() = None;
    world.live(async |life| {
        life.until("all that was acknowledged", || world.parrot.texts().len() as u64 >= last).await.unwrap();
    });
    let heard: Vec<u64> = world.parrot.texts().iter().map(|t| t.split(' ').next().unwrap().parse().unwrap()).collect();
    assert_eq!(heard[..last as usize], (1..=last).collect::<Vec<_>>());
}
