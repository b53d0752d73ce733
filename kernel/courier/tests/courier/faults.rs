//! The plug is pulled at every point at which the kernel waits for somebody else.

use crate::platform::{Update, from_owner};
use crate::world::{Died, Life, World};
use carapace_contract::control::ChannelRequest;
use std::collections::{BTreeMap, BTreeSet};

/// Messages by poll, 1 to 8, and by webhook, 101 to 104: three conversations, some answers of two parts.
fn story(policy: &str, window_s: u32) -> World {
    let config = format!(
        "{{ instances: {{ chat: {{ channel: {{ owner: ['1'], allow: ['2', '3'], uncertain: '{policy}' }} }} }} }}"
    );
    let world = World::new(&config);
    *world.platform.key_window_s.lock().unwrap() = window_s;
    for n in 1..=8 {
        world.platform.push(message(n));
    }
    world
}

fn message(n: u64) -> Update {
    let text = if n.is_multiple_of(4) { format!("{n}\n\nmore of {n}") } else { n.to_string() };
    let sender = (n % 3 + 1).to_string();
    let does = if n == 3 { "effect" } else { "" };
    Update { sender, does: does.into(), ..from_owner(n, &format!("c{}", n % 3), &text) }
}

fn hooks() -> impl Iterator<Item = u64> {
    101..=104
}

/// One life, until everything is said or the plug is pulled. Webhooks come again until they are answered with 200.
async fn go_on(world: &World, life: &Life, acknowledged: &mut BTreeSet<u64>) -> Result<(), Died> {
    for n in hooks() {
        let update = message(n);
        while !acknowledged.contains(&n) {
            life.until("a moment", || true).await?;
            let dies = life.until("the kernel dies", || false);
            let status = tokio::select! {
                biased;
                answer = life.hook(&update) => answer.status,
                died = dies => return died,
            };
            if status == 200 {
                acknowledged.insert(n);
            } else {
                life.idle().await;
                world.clock.advance();
            }
        }
    }
    life.until("all turns", || world.parrot.texts().len() >= 12).await?;
    for _ in 0..1_000 {
        life.until("time", || true).await?;
        life.idle().await;
        if world.plug.pulled.load(std::sync::atomic::Ordering::SeqCst) {
            return Err(Died);
        }
        let status = &life.courier.statuses().await.unwrap()[0];
        if status.waiting == 0 && status.outbox_pending == 0 && world.parrot.texts().len() >= 12 {
            return Ok(());
        }
        world.clock.advance();
    }
    panic!("it never comes to an end");
}

/// What must hold however often the kernel died.
fn check(world: &World, uncertain: &BTreeSet<String>, resend: bool) {
    // No message lost, none answered twice, the order kept.
    let mut turns: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for (session, _, text) in world.parrot.turns.lock().unwrap().iter() {
        turns.entry(session.clone()).or_default().push(text.split_whitespace().next().unwrap().parse().unwrap());
    }
    for sender in 1..=3_u64 {
        let of = |n: &u64| n % 3 + 1 == sender;
        let found = &turns[&format!("local/chat/main/direct/{sender}")];
        let polled: Vec<u64> = found.iter().copied().filter(|n| *n < 100).collect();
        assert_eq!(polled, (1..=8).filter(of).collect::<Vec<_>>());
        let hooked: Vec<u64> = found.iter().copied().filter(|n| *n > 100).collect();
        assert_eq!(hooked, hooks().filter(of).collect::<Vec<_>>());
    }
    // Every part arrived once, but for those of which nobody can know.
    let mut arrived: BTreeMap<String, usize> = BTreeMap::new();
    for d in world.platform.delivered() {
        *arrived.entry(d.text).or_default() += 1;
    }
    for n in (1..=8).chain(hooks()) {
        let mut parts = vec![format!("re: {n}")];
        parts.extend((n % 4 == 0).then(|| format!("more of {n}")));
        for part in parts {
            let times = arrived.get(&part).copied().unwrap_or(0);
            if uncertain.contains(&part) {
                assert!(times <= 1, "{part} is uncertain and arrived {times} times");
            } else if resend {
                assert!((1..=2).contains(&times), "{part} arrived {times} times");
            } else {
                assert_eq!(times, 1, "{part} arrived {times} times and is not uncertain: {uncertain:?}");
            }
        }
    }
}

/// Lives until the end; in each the plug is pulled after so many points.
fn survive(world: &World, mut next: impl FnMut(u32) -> i64) -> (u32, BTreeSet<String>) {
    let mut acknowledged = BTreeSet::new();
    for lives in 1..200 {
        world.plug.pull_at(next(lives));
        let over = world.live(async |life| {
            go_on(world, life, &mut acknowledged).await?;
            let list = life.ask(ChannelRequest::OutboxList { instance: None }).await;
            let open = list.as_array().unwrap().iter();
            Ok::<_, Died>(open.map(|p| p["text"].as_str().unwrap().to_owned()).collect::<BTreeSet<_>>())
        });
        if let Ok(uncertain) = over {
            return (lives, uncertain);
        }
    }
    panic!("it never comes to an end");
}

#[test]
fn a_kernel_that_dies_once_anywhere_loses_nothing_and_repeats_nothing() {
    let points = {
        let world = story("ask", 0);
        let (lives, uncertain) = survive(&world, |_| i64::MAX);
        assert_eq!((lives, uncertain.len()), (1, 0));
        check(&world, &uncertain, false);
        i64::try_from(world.plug.passed.load(std::sync::atomic::Ordering::SeqCst)).unwrap()
    };
    assert!(points > 60, "{points}");
    let mut doubted = 0;
    for at in 1..=points {
        let world = story("ask", 0);
        let (_, uncertain) = survive(&world, |life| if life == 1 { at } else { i64::MAX });
        check(&world, &uncertain, false);
        // At most one for each conversation that was being written to.
        assert!(uncertain.len() <= 3, "{uncertain:?}");
        doubted += uncertain.len();
    }
    assert!(doubted > 0, "no send was ever interrupted");
}

#[test]
fn a_kernel_that_dies_again_and_again_comes_to_an_end() {
    for step in [9, 10, 11, 13, 17, 23] {
        let world = story("ask", 0);
        let (lives, uncertain) = survive(&world, |_| step);
        assert!(lives > 2, "{lives}");
        check(&world, &uncertain, false);
    }
}

#[test]
fn where_the_platform_drops_the_second_one_nothing_is_uncertain() {
    for at in (1..=80).step_by(3) {
        let world = story("ask", 86_400);
        let (_, uncertain) = survive(&world, |life| if life % 2 == 1 { at } else { at + 5 });
        assert!(uncertain.is_empty(), "{uncertain:?}");
        check(&world, &uncertain, false);
    }
}

#[test]
fn who_would_rather_read_twice_than_not_at_all_can_say_so() {
    for at in (1..=80).step_by(7) {
        let world = story("resend", 0);
        let (_, uncertain) = survive(&world, |life| if life == 1 { at } else { i64::MAX });
        assert!(uncertain.is_empty(), "{uncertain:?}");
        check(&world, &uncertain, true);
    }
}
