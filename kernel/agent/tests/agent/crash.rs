//! The process "dies" at every step of a turn, and is started again.

use crate::world::*;
use carapace_contract::completion::{CompletionRequest, ModelRef};
use carapace_contract::message::{Message, Role};
use carapace_contract::ports::Assistant;
use carapace_contract::turn::{RunState, TurnEventKind, TurnRequest};
use serde_json::json;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What happened outside, whatever the kernel remembers of it.
type World = Arc<Mutex<Vec<String>>>;

/// Decides by what it sees, so that it says the same after a restart: looks and searches, then sends, then answers.
fn brain(_: &ModelRef, request: &CompletionRequest, _: usize) -> Vec<Say> {
    let answered = request.messages.iter().filter(|m: &&Message| m.role == Role::Tool).count();
    match answered {
        0 => vec![
            Say::Text("First a look."),
            Say::Call("a", "look", json!({"n": 1})),
            Say::Call("b", "compute", json!({"n": 1})),
            Say::Used(10, 1),
        ],
        1 => vec![Say::Call("c", "send", json!({"n": 1})), Say::Call("d", "write", json!({"n": 2})), Say::Used(20, 2)],
        _ => vec![Say::Text("All "), Say::Text("done."), Say::Used(30, 3)],
    }
}

fn plan(world: &World, fuse: &Arc<Fuse>) -> Plan {
    let world = Arc::clone(world);
    Plan::new(brain)
        .hands(move |c| {
            world.lock().unwrap().push(c.tool.clone());
            says(&format!("{} done", c.tool))
        })
        .fuse(fuse)
}

fn request() -> TurnRequest {
    let mut r = ask("s", "go");
    r.idempotency_key = Some("the one".into());
    r
}

/// One life of the process: ends when the run does, or when the fuse has burnt down. Says which.
fn live(dir: &Path, world: &World, fuse: &Arc<Fuse>, first: bool) -> Option<RunState> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let house = plan(world, fuse).build(dir);
    let state = runtime.block_on(async {
        let life = async {
            if !first {
                house.agent.recover().await.unwrap();
            }
            // The client does not know whether it was heard, and asks again.
            let submitted = house.agent.submit(request()).await.unwrap();
            let run = submitted.run;
            all(submitted).await;
            house.agent.wait(run, Duration::from_secs(60)).await.unwrap()
        };
        tokio::select! {
            biased;
            () = fuse.gone.notified() => None,
            state = life => Some(state),
        }
    });
    // Dropping the runtime drops every task where it stands.
    drop(runtime);
    drop(house);
    state
}

fn check(dir: &Path, world: &World, state: &RunState, at: &str) {
    let Some(TurnEventKind::Completed { text, .. }) = &state.last else { panic!("{at}: {state:?}") };
    assert_eq!(text, "First a look.\n\nAll done.", "{at}");
    let world = world.lock().unwrap().clone();
    for effect in ["send", "write"] {
        assert!(world.iter().filter(|t| *t == effect).count() <= 1, "{at}: {effect} happened twice: {world:?}");
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let house = plan(&World::default(), &Fuse::never()).build(dir);
    runtime.block_on(async {
        let rows = house.store.session_rows("s", 1_000).await.unwrap();
        let count = |kind: &str| rows.iter().filter(|r| r.kind == kind).count();
        assert_eq!(count("user"), 1, "{at}: the message is there once");
        assert_eq!(count("assistant"), 3, "{at}: {rows:#?}");
        assert_eq!(count("tool-result"), 4, "{at}: every call has one result");
        for effect in ["send", "write"] {
            let result = rows.iter().find(|r| r.content["tool-result"]["result"]["name"] == effect).unwrap();
            let content = result.content["tool-result"]["result"]["content"].as_str().unwrap();
            let happened = world.iter().any(|t| t == effect);
            if content == format!("{effect} done") {
                assert!(happened, "{at}");
            } else {
                assert!(content.starts_with("interrupted:"), "{at}: {content}");
            }
        }
        assert!(house.store.verify().await.unwrap().first_broken.is_none(), "{at}");
        assert!(house.agent.recover().await.unwrap().is_empty(), "{at}: nothing is left over");
    });
}

#[test]
fn a_crash_at_any_step_loses_nothing_and_repeats_no_side_effect() {
    let mut steps = 1;
    loop {
        let dir = tempfile::tempdir().unwrap();
        let world = World::default();
        let fuse = Fuse::of(steps);
        let at = format!("crash at step {steps}");
        match live(dir.path(), &world, &fuse, true) {
            Some(state) => {
                check(dir.path(), &world, &state, "no crash");
                assert_eq!(world.lock().unwrap().len(), 4);
                break;
            }
            None => {
                let state = live(dir.path(), &world, &Fuse::never(), false).unwrap();
                check(dir.path(), &world, &state, &at);
            }
        }
        steps += 1;
        assert!(steps < 500, "the turn never ends");
    }
    assert!(steps > 30, "only {steps} steps were tried");
}

#[test]
fn crashes_during_recovery_lose_nothing_either() {
    for (first, second) in [(12, 3), (16, 4), (20, 5), (24, 2), (24, 6), (28, 3)] {
        let dir = tempfile::tempdir().unwrap();
        let world = World::default();
        let at = format!("crashes at {first} and {second}");
        assert!(live(dir.path(), &world, &Fuse::of(first), true).is_none(), "{at}");
        assert!(live(dir.path(), &world, &Fuse::of(second), false).is_none(), "{at}");
        let state = live(dir.path(), &world, &Fuse::never(), false).unwrap();
        check(dir.path(), &world, &state, &at);
    }
}

#[test]
fn a_turn_that_keeps_killing_the_kernel_is_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::default();
    for life in 0..5 {
        // Six steps reach the first completion.
        assert!(live(dir.path(), &world, &Fuse::of(8), life == 0).is_none());
    }
    let state = live(dir.path(), &world, &Fuse::never(), false).unwrap();
    assert!(matches!(state.last, Some(TurnEventKind::Failed { ref code, .. }) if code == "E-TURN-011"), "{state:?}");
}

#[test]
fn what_was_interrupted_is_not_done_again_because_the_model_asks_again() {
    let dir = tempfile::tempdir().unwrap();
    {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let house = Plan::new(|_, _, _| vec![Say::Call("c", "hang_send", json!({"n": 1}))]).build(dir.path());
        runtime.block_on(async {
            house.agent.submit(request()).await.unwrap();
            house.tools.hanging.notified().await;
        });
        drop(runtime);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let house = Plan::new(|_, request, _| {
        if results(request).len() < 2 {
            vec![Say::Call("c", "hang_send", json!({"n": 1}))]
        } else {
            vec![Say::Text("I give up")]
        }
    })
    .build(dir.path());
    let state = runtime.block_on(async {
        let run = house.agent.recover().await.unwrap()[0];
        house.agent.wait(run, Duration::from_secs(60)).await.unwrap()
    });
    assert!(matches!(state.last, Some(TurnEventKind::Completed { ref text, .. }) if text == "I give up"), "{state:?}");
    assert!(house.made().is_empty(), "{:?}", house.made());
    let got = results(&house.request(1));
    assert!(got[0].content.starts_with("interrupted:") && got[1].content.contains("not done again"), "{got:?}");
}
