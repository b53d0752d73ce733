//! `kill -9` at random moments while messages flow in by poll, by webhook and through two sockets at once: none is lost, none is a turn
//! twice, each conversation keeps its order in both directions, and an answer that may not have arrived, or arrives a second time when the
//! owner has it sent again, is one that was listed as uncertain.
//!
//! `CARAPACE_CRASH_MESSAGES` and `CARAPACE_CRASH_KILLS` say how much (default 240, and one for every hundred messages, but eight),
//! `CARAPACE_CRASH_SEED` repeats a run's choices.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test: its functions fail by panicking, its size is the environment's"
)]

use carapace_store::{RunPhase, Store, StoreOptions};
use carapace_tests::crowd::{self, Crowd, IN_ORDER, KEYED, PEOPLE, PLATFORMS, by_person, reached};
use carapace_tests::model::{Model, Piece};
use carapace_tests::{Kernel, owner, peer};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::Mutex;
use std::time::{Duration, Instant};
use tokio::sync::watch;

const PATIENCE: Duration = Duration::from_secs(180);

fn number(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|e| panic!("{name}={text}: {e}")))
}

/// Chance that can be repeated.
struct Dice(usize);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }

    fn ms(&mut self, most: usize) -> Duration {
        Duration::from_millis(u64::try_from(self.below(most)).unwrap())
    }
}

/// A model that says back what it was told; and how many different messages it was told, however often it was told them.
async fn parrot() -> (Model, watch::Receiver<usize>) {
    let (sender, turns) = watch::channel(0);
    let told = Mutex::new(HashSet::new());
    let repeat = move |request: &Value| {
        let last = request["messages"].as_array().unwrap().last().unwrap();
        let text = last["content"].as_str().unwrap().to_owned();
        let mut told = told.lock().unwrap();
        if told.insert(text.clone()) {
            sender.send_replace(told.len());
        }
        vec![Piece::Text(text)]
    };
    (Model::start(repeat, Duration::from_millis(1)).await, turns)
}

/// Kills it so often, spread over all the turns there will be: as a rule in the midst of its work, now and then while it starts.
async fn kill(
    mut kernel: Kernel,
    kills: usize,
    all: usize,
    turns: &watch::Receiver<usize>,
    mut dice: Dice,
) -> (Kernel, usize) {
    let mut starting = 0;
    for n in 0..kills {
        // Not in the last few: there would be nothing left to lose.
        let share = (all - all / 10) / kills;
        reached(turns, share * n + dice.below(share)).await;
        tokio::time::sleep(dice.ms(60)).await;
        let early = (dice.below(4) == 0).then(|| dice.ms(600));
        starting += usize::from(early.is_some());
        let (verified, again) = tokio::task::spawn_blocking(move || {
            if let Some(after) = early {
                kernel.die_starting(after);
            }
            kernel.restart();
            (kernel.cli(&["audit", "verify"]), kernel)
        })
        .await
        .unwrap();
        kernel = again;
        assert!(verified.status.success(), "after kill {n}: {}", String::from_utf8_lossy(&verified.stderr));
    }
    (kernel, kills + starting)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn killed_while_messages_flow_by_poll_webhook_and_socket_nothing_is_lost_or_doubled() {
    let each = number("CARAPACE_CRASH_MESSAGES", 240) / PLATFORMS.len();
    let all = each * PLATFORMS.len();
    let kills = number("CARAPACE_CRASH_KILLS", (all / 100).max(8));
    let seed = number("CARAPACE_CRASH_SEED", usize::try_from(RandomState::new().hash_one("channels") >> 1).unwrap());
    eprintln!("{all} messages, {kills} kills, CARAPACE_CRASH_SEED={seed}");
    let begin = Instant::now();

    let crowd = peer!("the chat platforms", Crowd::start());
    let (model, turns) = parrot().await;
    let options = crowd.options(&model.base).await;
    let kernel = tokio::task::spawn_blocking(|| Kernel::start(options)).await.unwrap();
    // Before somebody has logged in, a platform has nobody to keep anything for.
    logged_in(&crowd, &kernel).await;
    crowd.say(0..1, &turns).await;
    reached(&turns, PLATFORMS.len()).await;

    let flow = crowd.say(1..each, &turns);
    let ((), (kernel, kills)) = tokio::join!(flow, kill(kernel, kills, all, &turns, Dice(seed)));
    reached(&turns, all).await;
    let uncertain = settled(&crowd, &kernel).await;

    let turns = of_runs(&kernel).await;
    for platform in PLATFORMS {
        for person in 0..PEOPLE {
            let said: Vec<usize> = (0..each).filter(|n| n % PEOPLE == person).map(|n| n / PEOPLE).collect();
            let mut found = turns.get(&format!("{platform} {person}")).cloned().unwrap_or_default();
            if !IN_ORDER.contains(&platform) {
                found.sort_unstable();
            }
            assert_eq!(found, said, "{platform}, person {person}");
        }
    }
    assert_eq!(turns.values().map(Vec::len).sum::<usize>(), all, "somebody else's turn");

    // Each answer came once and in order, or is listed.
    let mut missing = BTreeSet::new();
    for platform in PLATFORMS {
        let seen = by_person(crowd.seen(platform).await.iter().map(String::as_str));
        let listed = by_person(uncertain.iter().map(|(_, t)| t.as_str()).filter(|t| t.starts_with(platform)));
        assert!(!KEYED.contains(&platform) || listed.is_empty(), "{platform} drops a repetition: {listed:?}");
        for person in 0..PEOPLE {
            let who = format!("{platform} {person}");
            let (turns, seen) = (&turns[&who], seen.get(&who).cloned().unwrap_or_default());
            let listed = listed.get(&who).cloned().unwrap_or_default();
            let came: Vec<usize> = turns.iter().copied().filter(|n| seen.contains(n)).collect();
            assert_eq!(seen, came, "{who}: out of order, or twice");
            let gone: Vec<usize> = turns.iter().copied().filter(|n| !seen.contains(n)).collect();
            assert!(gone.iter().all(|n| listed.contains(n)), "{who}: {gone:?} did not arrive; {listed:?} are listed");
            assert!(listed.len() <= kills, "{who}: one send is in flight at each of {kills} kills: {listed:?}");
            missing.extend(gone.iter().map(|n| format!("{who} {n}")));
        }
    }
    let state = crowd.discord.state().await;
    assert_eq!(state["identifies"], 1, "a session that is begun anew has missed what came before it");

    // The owner has what is uncertain sent again: everything has arrived then, and what came twice was listed.
    for (id, _) in &uncertain {
        owner::done(kernel.state(), &["outbox", "retry", id]);
    }
    let left = settled(&crowd, &kernel).await;
    assert!(left.is_empty(), "{left:?}");
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    for platform in PLATFORMS {
        crowd.seen(platform).await.into_iter().for_each(|text| *times.entry(text).or_default() += 1);
    }
    let texts = PLATFORMS.iter().flat_map(|p| (0..each).map(|n| crowd::text(p, n)));
    assert_eq!(texts.filter(|t| !times.contains_key(t)).collect::<Vec<_>>(), [""; 0], "lost");
    let twice: BTreeSet<String> = times.iter().filter(|(_, n)| **n > 1).map(|(text, _)| text.clone()).collect();
    let listed: BTreeSet<String> = uncertain.into_iter().map(|(_, text)| text).collect();
    assert_eq!(
        twice,
        listed.difference(&missing).cloned().collect(),
        "twice are those that were listed and had arrived"
    );
    assert!(times.values().all(|n| *n <= 2), "{times:?}");
    assert_eq!(of_runs(&kernel).await, turns, "sending again is no turn");
    eprintln!(
        "{all} messages, {kills} kills, {:?}: each was one turn; {} answers were listed as uncertain, of which {} had arrived",
        begin.elapsed(),
        listed.len(),
        twice.len()
    );
}

/// Waits until both sockets stand.
async fn logged_in(crowd: &Crowd, kernel: &Kernel) {
    let begin = Instant::now();
    loop {
        let (discord, slack) = (crowd.discord.state().await, crowd.slack.state().await);
        let session = discord["sessions"].as_array().unwrap().iter().any(|s| s["connected"] == true);
        if session && slack["sockets"].as_u64() > Some(0) {
            return;
        }
        assert!(begin.elapsed() < PATIENCE, "{discord}, {slack}\n{}", kernel.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What each person's turns answered, in the order of their conversation; every turn must have come to a good end.
async fn of_runs(kernel: &Kernel) -> BTreeMap<String, Vec<usize>> {
    let store = Store::open_reader(kernel.state(), StoreOptions::default()).unwrap();
    for phase in [RunPhase::Accepted, RunPhase::Running] {
        assert_eq!(store.runs_by_phase(phase, 10).await.unwrap(), [], "a turn did not end");
    }
    let mut runs = store.runs_ended_before(i64::MAX as u64, usize::MAX).await.unwrap();
    runs.sort_by_key(|r| r.run);
    let last = |run: &carapace_store::RunRow| {
        let last = run.last.as_ref().unwrap();
        assert_eq!(last["type"], "completed", "{last}");
        last["text"].as_str().unwrap().to_owned()
    };
    let texts: Vec<String> = runs.iter().map(last).collect();
    by_person(texts.iter().map(String::as_str))
}

/// Waits until everything that was said has been taken, answered and sent; gives id and text of the parts whose fate nobody knows.
async fn settled(crowd: &Crowd, kernel: &Kernel) -> Vec<(String, String)> {
    let begin = Instant::now();
    let listed = |args: &[&str]| -> Vec<Value> { serde_json::from_str(&owner::done(kernel.state(), args)).unwrap() };
    loop {
        // In this order: what is taken has been accepted.
        let untaken = crowd.untaken().await;
        let channels = listed(&["channels", "list", "--json"]);
        let waiting: u64 = channels.iter().map(|c| c["waiting"].as_u64().unwrap()).sum();
        let parts = listed(&["outbox", "list", "--json"]);
        if untaken == 0 && waiting == 0 && parts.iter().all(|p| p["state"] == "uncertain") {
            let text = |key: &str, p: &Value| p[key].as_str().unwrap().to_owned();
            return parts.iter().map(|p| (text("id", p), text("text", p))).collect();
        }
        assert!(begin.elapsed() < PATIENCE, "{untaken} untaken, {waiting} waiting, {parts:?}\n{}", kernel.log());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
