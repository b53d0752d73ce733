//! Whatever comes, in whatever order, with the plug pulled whenever: what must hold, holds.

use crate::platform::{Update, chat, from_owner};
use crate::world::{Died, World};
use carapace_contract::control::ChannelRequest;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Clone)]
struct Came {
    sender: &'static str,
    does: &'static str,
    /// The platform says it twice.
    twice: bool,
}

fn came() -> impl Strategy<Value = Came> {
    let sender = prop_oneof![4 => Just("1"), 4 => Just("2"), 1 => Just("9"), 1 => Just("bot"), 1 => Just("me")];
    let does = prop_oneof![
        8 => Just(""), 1 => Just("trap"), 1 => Just("trap-twice"), 1 => Just("final"), 1 => Just("retry"),
        1 => Just("not-now"), 1 => Just("effect"), 1 => Just("timer:5000"),
    ];
    (sender, does, any::<bool>()).prop_map(|(sender, does, twice)| Came { sender, does, twice })
}

fn tell(world: &World, all: &[Came]) -> u64 {
    let mut id = 0;
    for (n, came) in all.iter().enumerate() {
        for _ in 0..=usize::from(came.twice) {
            id += 1;
            let update = from_owner(id, &format!("c{}", came.sender), &n.to_string());
            let (sender, does) = (came.sender.into(), came.does.into());
            world.platform.push(Update { key: format!("k{n}"), sender, does, ..update });
        }
    }
    id
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 64, ..ProptestConfig::default() })]

    #[test]
    fn every_message_of_those_who_may_talk_is_one_turn_in_its_order(
        all in proptest::collection::vec(came(), 1..25),
        pulls in proptest::collection::vec(3_i64..150, 0..5),
        spool: bool,
    ) {
        let config = "{ instances: { chat: { channel: { owner: ['1'], allow: ['2'], uncertain: 'ask' } } } }";
        let world = World::new(config);
        let last = tell(&world, &all);
        // What a platform hands out once and the kernel loses before it is kept, nobody can have: there the plug stays in.
        *world.platform.spool.lock().unwrap() = spool;
        let pulls = if spool { Vec::new() } else { pulls };
        let mut pulls = pulls.into_iter();
        let (dead, uncertain) = loop {
            world.plug.pull_at(pulls.next().unwrap_or(i64::MAX));
            let over = world.live(async |life| {
                loop {
                    life.until("a moment", || true).await?;
                    life.idle().await;
                    if world.plug.pulled.load(std::sync::atomic::Ordering::SeqCst) {
                        return Err(Died);
                    }
                    let state = life.store.channel(&chat()).await.unwrap();
                    let cursor = state.map_or(0, |s| s.state.try_into().map_or(0, u64::from_be_bytes));
                    let status = &life.courier.statuses().await.unwrap()[0];
                    let counts = life.store.delivery_counts(&chat()).await.unwrap();
                    let read = if spool { world.platform.updates.lock().unwrap().is_empty() } else { cursor > last };
                    if read && status.waiting + status.outbox_pending + counts.events == 0 {
                        break;
                    }
                    world.clock.advance();
                }
                let outbox = life.ask(ChannelRequest::OutboxList { instance: None }).await;
                let uncertain: BTreeSet<String> =
                    outbox.as_array().unwrap().iter().map(|p| p["text"].as_str().unwrap().to_owned()).collect();
                Ok((life.ask(ChannelRequest::EventList).await.as_array().unwrap().len(), uncertain))
            });
            if let Ok(found) = over {
                break found;
            }
        };
        let taken = |c: &Came| !matches!(c.does, "trap" | "final");
        for sender in ["1", "2"] {
            let numbers = all.iter().enumerate().filter(|(_, c)| c.sender == sender && taken(c)).map(|(n, _)| n.to_string());
            let wanted: Vec<String> = numbers.collect();
            let turns = world.parrot.turns.lock().unwrap();
            let session = format!("local/chat/main/direct/{sender}");
            let found: Vec<String> = turns.iter().filter(|t| t.0 == session).map(|t| t.2.clone()).collect();
            prop_assert_eq!(&found, &wanted);
            let mut arrived: BTreeMap<String, usize> = BTreeMap::new();
            for d in world.platform.delivered() {
                *arrived.entry(d.text).or_default() += 1;
            }
            for n in wanted {
                let text = format!("re: {n}");
                let times = arrived.get(&text).copied().unwrap_or(0);
                prop_assert!(times == 1 || (times == 0 && uncertain.contains(&text)), "{} arrived {} times", text, times);
            }
        }
        prop_assert_eq!(world.parrot.texts().len(), all.iter().filter(|c| ["1", "2"].contains(&c.sender) && taken(c)).count());
        let given_up: usize = all.iter().filter(|c| !taken(c)).map(|c| 1 + usize::from(c.twice)).sum();
        prop_assert_eq!(dead, given_up, "what was put aside is listed");
    }
}
