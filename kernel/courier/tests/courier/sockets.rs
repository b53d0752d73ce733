//! Sockets: dialled, held, handed over; what comes through them, and what may go.

use crate::platform::{Update, chat, failure, from_owner};
use crate::world::{Died, Life, OWNER, World};
use carapace_contract::Digest;
use carapace_contract::channel::*;
use carapace_contract::control::ChannelRequest;
use carapace_contract::ports::{ConnectFailure, SocketNews};
use carapace_store::ChannelEventState;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use tokio::sync::Notify;

const PLAIN: SocketInfo = SocketInfo { spool: false, logins_per_day: None, login_frames: false };

fn world(info: SocketInfo) -> World {
    let world = World::new(OWNER);
    world.platform.gateway.use_it(info);
    world
}

fn says(world: &World, n: u64) {
    world.platform.gateway.serves(&world.platform, from_owner(n, "home", &format!("m{n}")));
}

async fn connected(world: &World, life: &Life, n: usize) {
    let sent = || world.platform.lines("sent").iter().filter(|l| l.contains("hello")).count();
    life.until("a connection", || world.platform.gateway.connections() >= n && sent() >= n).await.unwrap();
    life.idle().await;
}

/// When each dial was given, ms.
fn dialled(world: &World) -> Vec<u64> {
    let at = |l: &String| l.rsplit_once(" at ").unwrap().1.parse().unwrap();
    world.platform.lines("dial").iter().map(at).collect()
}

async fn state(life: &Life) -> (ChannelState, Option<String>) {
    let status = life.courier.statuses().await.unwrap().remove(0);
    (status.state, status.why)
}

#[test]
fn what_comes_through_a_socket_is_durable_before_it_is_acknowledged_and_answered_in_order() {
    let world = world(PLAIN);
    world.live(async |life| {
        connected(&world, life, 1).await;
        for n in 1..=20 {
            says(&world, n);
        }
        life.until("all answers", || world.platform.delivered().len() >= 20).await.unwrap();
        life.idle().await;
        let status = life.courier.statuses().await.unwrap().remove(0);
        assert_eq!((status.state, status.sockets.len()), (ChannelState::Running, 1));
        let socket = &status.sockets[0];
        assert_eq!((socket.endpoint.as_str(), socket.socket), ("gateway", 1));
        assert!(socket.last_frame_ms.is_some_and(|at| at >= socket.since_ms));
    });
    assert_eq!(world.platform.texts(), (1..=20).map(|n| format!("re: m{n}")).collect::<Vec<_>>());
    assert_eq!(world.platform.gateway.acknowledged(), (1..=20).collect::<Vec<_>>());
    assert_eq!(world.platform.lines("dial").len(), 1);
    assert!(world.platform.lines("dial")[0].starts_with("dial start 0 []"));
    let log = world.platform.log.lock().unwrap();
    let at = |what: &str| log.iter().position(|l| l == what).unwrap();
    assert!(at("frame 1 attempt 1") < at("sent 0 ack 1"));
}

#[test]
fn a_platform_that_does_not_answer_is_asked_less_and_less_often() {
    let world = world(PLAIN);
    let refusal = |status| {
        let failure = ChannelFailure { message: "no WebSocket".into(), ..failure(ChannelFailureKind::Retryable) };
        ConnectFailure { failure, status }
    };
    world.platform.gateway.refusals.lock().unwrap().extend((0..9).map(|_| refusal(Some(503))));
    world.live(async |life| {
        life.until("three refusals", || world.platform.lines("refused").len() >= 3).await.unwrap();
        life.idle().await;
        let (state_, why) = state(life).await;
        assert_eq!(state_, ChannelState::Degraded);
        assert!(why.unwrap().contains("no socket could be opened: no WebSocket"));
        connected(&world, life, 1).await;
        assert_eq!(state(life).await, (ChannelState::Running, None));
    });
    let dialled = dialled(&world);
    assert_eq!(dialled.len(), 10);
    let waits: Vec<u64> = dialled.windows(2).map(|w| w[1] - w[0]).collect();
    for (n, wait) in waits.iter().enumerate() {
        let whole = (1_000 << n).min(120_000);
        assert!((whole / 2..=whole + 200).contains(wait), "{n}: {waits:?}");
    }
    assert!(world.platform.lines("dial")[4].starts_with("dial failed 4 []"));
}

#[test]
fn a_component_that_cannot_dial_yet_is_asked_again_and_everything_else_goes_on() {
    let world = world(PLAIN);
    let later = ChannelFailure { retry_after_ms: Some(90_000), ..failure(ChannelFailureKind::Retryable) };
    world.platform.gateway.dials.lock().unwrap().extend([later, failure(ChannelFailureKind::Final)]);
    world.live(async |life| {
        life.until("a dial", || world.platform.lines("dial").len() == 1).await.unwrap();
        life.idle().await;
        let (state_, why) = state(life).await;
        assert_eq!(state_, ChannelState::Degraded);
        assert!(why.unwrap().contains("no socket could be asked for"));
        assert_eq!(life.hook(&from_owner(50, "home", "by webhook")).await.status, 200);
        connected(&world, life, 1).await;
        assert_eq!(state(life).await.0, ChannelState::Running);
        assert_eq!(life.courier.statuses().await.unwrap()[0].events_dead, 0);
    });
    let at = dialled(&world);
    assert!(at[1] - at[0] >= 90_000 && at.len() == 3, "{at:?}");
}

#[test]
fn after_a_good_life_the_next_socket_comes_at_once_and_nothing_is_lost_or_taken_twice() {
    let world = world(PLAIN);
    world.live(async |life| {
        connected(&world, life, 1).await;
        life.pass(61_000).await;
        says(&world, 1);
        says(&world, 2);
        let then = world.clock.passed();
        world.platform.gateway.hangs_up(0);
        connected(&world, life, 2).await;
        assert!(dialled(&world)[1] - then <= 1_000, "{then}");
        life.until("both", || world.platform.delivered().len() == 2).await.unwrap();
        life.idle().await;
    });
    assert!(world.platform.lines("dial")[1].starts_with("dial closed 0 []"), "{:?}", world.platform.lines("dial"));
    assert_eq!(world.platform.lines("closed"), ["closed 1 Some(1012)"]);
    assert_eq!(world.parrot.texts(), ["m1", "m2"]);
}

#[test]
fn a_socket_hands_over_to_another_and_its_end_is_no_reason_to_dial() {
    let world = world(PLAIN);
    world.live(async |life| {
        connected(&world, life, 1).await;
        says(&world, 1);
        world.platform.gateway.says("refresh");
        connected(&world, life, 2).await;
        life.until("the old one ends", || !world.platform.lines("closed").is_empty()).await.unwrap();
        says(&world, 2);
        life.until("both", || world.platform.delivered().len() == 2).await.unwrap();
        life.pass(300_000).await;
        assert_eq!(life.courier.statuses().await.unwrap()[0].sockets.len(), 1);
    });
    let dials = world.platform.lines("dial");
    assert_eq!(dials.len(), 2);
    assert!(dials[1].starts_with("dial asked 0 [1]"), "{dials:?}");
    assert_eq!(world.platform.lines("close 0"), ["close 0 1000"]);
    assert_eq!(world.platform.lines("closed"), ["closed 1 Some(1000)"]);
}

#[test]
fn a_second_socket_that_cannot_be_had_is_tried_again_while_the_first_one_works() {
    let world = world(PLAIN);
    world.live(async |life| {
        connected(&world, life, 1).await;
        let refusal = ConnectFailure { failure: failure(ChannelFailureKind::Retryable), status: None };
        world.platform.gateway.refusals.lock().unwrap().push_back(refusal);
        world.platform.gateway.says("refresh");
        life.until("a refusal", || world.platform.lines("refused").len() == 1).await.unwrap();
        life.idle().await;
        assert_eq!(state(life).await.0, ChannelState::Running);
        says(&world, 1);
        connected(&world, life, 2).await;
    });
    let dials = world.platform.lines("dial");
    assert!(dials[2].starts_with("dial failed 1 [1]"), "{dials:?}");
}

#[test]
fn the_old_socket_may_end_while_its_successor_is_on_its_way() {
    let world = world(PLAIN);
    world.live(async |life| {
        connected(&world, life, 1).await;
        world.platform.gateway.says("refresh");
        world.platform.gateway.hangs_up(0);
        connected(&world, life, 2).await;
        life.pass(300_000).await;
    });
    assert_eq!(world.platform.gateway.connections(), 2, "{:?}", world.platform.lines(""));
}

#[test]
fn a_socket_on_which_nobody_answers_is_given_up_after_two_pings() {
    let world = world(PLAIN);
    *world.platform.gateway.ping_ms.lock().unwrap() = Some(30_000);
    world.live(async |life| {
        connected(&world, life, 1).await;
        life.pass(200_000).await;
        assert_eq!(world.platform.gateway.connections(), 1, "answered pings keep it alive");
        assert!(world.platform.lines("ping 0").len() >= 6);
        *world.platform.gateway.deaf.lock().unwrap() = true;
        let then = world.clock.passed();
        life.until("it is given up", || !world.platform.lines("closed").is_empty()).await.unwrap();
        let waited = world.clock.passed() - then;
        assert!((30_000..=60_000).contains(&waited), "{waited}");
        connected(&world, life, 2).await;
    });
    assert_eq!(world.platform.lines("closed 1"), ["closed 1 None"]);
}

#[test]
fn a_flood_is_not_read_faster_than_it_is_dealt_with() {
    let world = world(PLAIN);
    let stuck = Arc::new(Notify::new());
    *world.platform.gateway.stuck.lock().unwrap() = Some(Arc::clone(&stuck));
    world.live(async |life| {
        connected(&world, life, 1).await;
        let large = "x".repeat(60_000);
        for n in 1..=300 {
            let update = from_owner(n, "home", &format!("{n} {large}"));
            world.platform.gateway.serves(&world.platform, update);
        }
        life.idle().await;
        let read = *world.platform.gateway.read.lock().unwrap();
        assert!((60..=80).contains(&read), "4 MiB are read, and no more: {read}");
        // What is sent is not held up by what is not read.
        life.pass(1_000).await;
        *world.platform.gateway.stuck.lock().unwrap() = None;
        stuck.notify_one();
        life.until("all", || world.platform.gateway.acknowledged().len() == 300).await.unwrap();
    });
    assert_eq!(world.platform.gateway.connections(), 1);
}

#[test]
fn a_message_on_which_the_component_breaks_is_put_aside_and_the_socket_stays() {
    let world = world(PLAIN);
    world.live(async |life| {
        connected(&world, life, 1).await;
        says(&world, 1);
        world.platform.gateway.says("trap");
        says(&world, 2);
        life.until("both", || world.platform.delivered().len() == 2).await.unwrap();
        life.idle().await;
        let dead = life.ask(ChannelRequest::EventList).await;
        assert_eq!(dead.as_array().unwrap().len(), 1);
        assert_eq!(dead[0]["body"]["type"], "frame");
        assert_eq!(state(life).await.0, ChannelState::Running);
    });
    assert_eq!(world.platform.gateway.connections(), 1);
}

#[test]
fn a_swap_keeps_the_socket_and_what_came_through_it() {
    let world = world(PLAIN);
    let stuck = Arc::new(Notify::new());
    world.live(async |life| {
        connected(&world, life, 1).await;
        *world.platform.gateway.stuck.lock().unwrap() = Some(Arc::clone(&stuck));
        for n in 1..=100 {
            says(&world, n);
        }
        // In the middle of a message the component is replaced, again and again.
        for version in 1..=3 {
            life.idle().await;
            *world.platform.digest.lock().unwrap() = Some(Digest::of(&[version]));
            world.platform.tell_change();
        }
        life.idle().await;
        *world.platform.gateway.stuck.lock().unwrap() = None;
        stuck.notify_waiters();
        life.until("all", || world.platform.delivered().len() >= 100).await.unwrap();
        assert_eq!(life.store.channel(&chat()).await.unwrap().unwrap().digest, Digest::of(&[3]));
        life.pass(200_000).await;
    });
    assert_eq!(world.parrot.texts(), (1..=100).map(|n| format!("m{n}")).collect::<Vec<_>>());
    assert_eq!(world.platform.gateway.acknowledged().len(), 100);
    assert_eq!((world.platform.gateway.connections(), world.platform.lines("dial").len()), (1, 1));
    assert!(world.platform.lines("start").len() >= 4);
}

#[test]
fn a_version_with_another_socket_gets_one_of_its_own() {
    let world = world(PLAIN);
    world.live(async |life| {
        connected(&world, life, 1).await;
        world.platform.gateway.use_it(SocketInfo { logins_per_day: Some(5), ..PLAIN });
        *world.platform.digest.lock().unwrap() = Some(Digest::of(b"2"));
        world.platform.tell_change();
        connected(&world, life, 2).await;
    });
    assert_eq!(world.platform.lines("cut 0"), ["cut 0"]);
}

#[test]
fn a_channel_that_cannot_go_on_or_is_gone_has_no_socket() {
    let world = world(PLAIN);
    world.live(async |life| {
        connected(&world, life, 1).await;
        let fatal = Update { does: "fatal".into(), ..from_owner(1, "home", "x") };
        world.platform.gateway.serves(&world.platform, fatal);
        life.until("it stops", || !world.platform.lines("cut 0").is_empty()).await.unwrap();
        life.idle().await;
        assert_eq!(state(life).await.0, ChannelState::Stopped);
        assert_eq!(life.courier.statuses().await.unwrap()[0].sockets.len(), 0);
    });
    let world = self::world(PLAIN);
    world.live(async |life| {
        connected(&world, life, 1).await;
        *world.platform.loaded.lock().unwrap() = false;
        world.platform.tell_change();
        life.until("it is cut", || !world.platform.lines("cut 0").is_empty()).await.unwrap();
    });
    assert_eq!(world.platform.gateway.connections(), 1);
}

#[test]
fn logins_are_counted_over_a_day_whatever_dies_meanwhile() {
    for login_frames in [true, false] {
        let world = world(SocketInfo { logins_per_day: Some(3), login_frames, ..PLAIN });
        for n in 1..=2 {
            world.live(async |life| connected(&world, life, n).await);
        }
        world.live(async |life| {
            connected(&world, life, 3).await;
            life.pass(61_000).await;
            world.platform.gateway.hangs_up(2);
            life.until("it is refused", || world.platform.lines("dial").len() >= 4).await.unwrap();
            life.idle().await;
            let (state_, why) = state(life).await;
            let why = why.unwrap_or_default();
            assert_eq!(state_, ChannelState::Degraded);
            assert!(why.contains("the 3 logins in 24 hours of its socket `gateway` are used up"), "{why}");
            let sent = || world.platform.lines("sent").iter().filter(|l| l.contains("hello")).count();
            assert_eq!(sent(), 3);
            life.pass(1_200_000).await;
            assert_eq!(sent(), 3);
            life.clock_jumps(25 * 3_600_000);
            life.until("the day is over", || sent() == 4).await.unwrap();
            life.idle().await;
            assert_eq!(state(life).await, (ChannelState::Running, None));
        });
        assert!(world.platform.lines("dial").len() <= 6, "{:?}", world.platform.lines("dial"));
    }
}

#[test]
fn what_is_not_repeated_is_kept_before_the_component_sees_it() {
    let world = world(SocketInfo { spool: true, ..PLAIN });
    *world.platform.gateway.forgets.lock().unwrap() = true;
    let stuck = Arc::new(Notify::new());
    *world.platform.gateway.stuck.lock().unwrap() = Some(stuck);
    world.live(async |life| {
        connected(&world, life, 1).await;
        for n in 1..=5 {
            says(&world, n);
        }
        world.platform.gateway.hangs_up(0);
        life.idle().await;
        let waiting = life.store.channel_events(None, ChannelEventState::Waiting, 99).await.unwrap();
        assert_eq!(waiting.len(), 5, "kept, and not one of them dealt with");
    });
    // The power fails; nobody says it again.
    *world.platform.gateway.stuck.lock().unwrap() = None;
    world.live(async |life| {
        life.until("all", || world.platform.delivered().len() == 5).await.unwrap();
        connected(&world, life, 2).await;
        says(&world, 6);
        world.platform.gateway.hangs_up(1);
        life.until("its end", || !world.platform.lines("closed").is_empty()).await.unwrap();
        // Both came of one commit, and the turn after it.
        life.until("the last turn", || world.parrot.texts().len() == 6).await.unwrap();
    });
    assert_eq!(world.parrot.texts(), (1..=6).map(|n| format!("m{n}")).collect::<Vec<_>>());
    let log = world.platform.log.lock().unwrap();
    let at = |what: &str| log.iter().position(|l| l.starts_with(what)).unwrap();
    assert!(at("frame 6") < at("closed"), "what came before its end is given before it");
}

#[test]
fn a_farewell_that_is_not_answered_is_not_waited_for_long() {
    let world = world(PLAIN);
    world.live(async |life| {
        connected(&world, life, 1).await;
        *world.platform.gateway.deaf.lock().unwrap() = true;
        world.platform.gateway.says("refresh");
        connected(&world, life, 2).await;
        life.until("the old one is over", || !world.platform.lines("closed").is_empty()).await.unwrap();
    });
    assert_eq!(world.platform.lines("closed"), ["closed 1 None"]);
}

/// Twelve messages, a refresh, a broken line; one life after the other until all is said.
fn survive(world: &World, mut next: impl FnMut(u32) -> i64) -> u32 {
    let mut said = 0;
    for lives in 1..200 {
        world.plug.pull_at(next(lives));
        let over = world.live(async |life| {
            while said < 12 {
                let before = world.platform.gateway.connections();
                life.until("a line", || {
                    let hello = format!("sent {}", world.platform.gateway.connections().wrapping_sub(1));
                    world.platform.gateway.connections() > 0
                        && world.platform.lines(&hello).iter().any(|l| l.contains("hello"))
                })
                .await?;
                said += 1;
                says(world, said);
                match said {
                    4 => world.platform.gateway.says("refresh"),
                    8 if before > 0 => world.platform.gateway.hangs_up(before - 1),
                    _ => {}
                }
            }
            life.until("all answers", || world.platform.delivered().len() >= 12).await?;
            life.until("all acknowledged", || world.platform.gateway.acknowledged().len() == 12).await
        });
        if over != Err(Died) {
            return lives;
        }
        // Lines of the life that ended are dead.
        world.platform.gateway.lines.lock().unwrap().iter().for_each(|line| drop(line.send(SocketNews::Alive)));
    }
    panic!("it never comes to an end");
}

fn check(world: &World) {
    let mut turns: Vec<u64> = world.parrot.texts().iter().map(|t| t[1..].parse().unwrap()).collect();
    assert_eq!(turns, (1..=12).collect::<Vec<_>>(), "none lost, none twice, in order");
    turns.clear();
    let mut arrived: BTreeMap<String, usize> = BTreeMap::new();
    for text in world.platform.texts() {
        *arrived.entry(text).or_default() += 1;
    }
    assert!(arrived.len() == 12 && arrived.values().all(|n| *n == 1), "{arrived:?}");
}

#[test]
fn a_kernel_that_dies_once_anywhere_loses_nothing_that_came_through_a_socket() {
    let story = || {
        let world = World::new("{ instances: { chat: { channel: { owner: ['1'], uncertain: 'resend' } } } }");
        world.platform.gateway.use_it(PLAIN);
        *world.platform.key_window_s.lock().unwrap() = 86_400;
        world
    };
    let world = story();
    assert_eq!(survive(&world, |_| i64::MAX), 1);
    check(&world);
    let points = i64::try_from(world.plug.passed.load(SeqCst)).unwrap();
    assert!(points > 100, "{points}");
    for at in 1..=points {
        let world = story();
        survive(&world, |life| if life == 1 { at } else { i64::MAX });
        check(&world);
    }
}
