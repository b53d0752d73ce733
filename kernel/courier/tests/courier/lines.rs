//! Programs on this computer, line by line.

use crate::platform::{Update, chat, from_owner};
use crate::world::{Died, Life, World};
use carapace_contract::control::ChannelRequest;
use carapace_contract::decision::Origin;
use carapace_contract::ports::{LATER, Lines, Messages, Seated, Written};
use serde_json::json;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex};

/// Nobody is listed, so that nobody but a program gets an answer.
const NOBODY: &str = "{ instances: { chat: { channel: { direct: 'listed' } } } }";

fn said(n: u64, text: &str) -> Update {
    Update { sender: "program".into(), ..from_owner(n, "program", text) }
}

fn line(update: &Update) -> String {
    json!(update).to_string()
}

async fn attached(life: &Life, name: &str) -> Seated {
    life.idle().await;
    life.courier.attach("chat", "main", name).await.unwrap()
}

/// What was written to a program that says of each that it has it.
#[derive(Clone, Default)]
struct Reader(Arc<Mutex<Vec<(String, String)>>>);

impl Reader {
    fn reads(&self, mut written: tokio::sync::mpsc::Receiver<Written>) {
        let this = self.clone();
        tokio::spawn(async move {
            while let Some(Written { key, text, got }) = written.recv().await {
                let mut all = this.0.lock().unwrap();
                if !all.iter().any(|(k, _)| *k == key) {
                    all.push((key, text));
                }
                let _ = got.send(());
            }
        });
    }

    fn texts(&self) -> Vec<String> {
        self.0.lock().unwrap().iter().map(|(_, text)| text.clone()).collect()
    }
}

#[test]
fn what_a_program_writes_is_the_owners_and_answered_to_it() {
    let world = World::new(NOBODY);
    world.live(async |life| {
        let Seated { program, written } = attached(life, "program").await;
        let reader = Reader::default();
        reader.reads(written);
        program.line("1".into(), line(&said(1, "hello"))).await.unwrap();
        // The same line again is the same line.
        program.line("1".into(), line(&said(1, "hello"))).await.unwrap();
        life.until("an answer", || reader.texts().len() == 1).await.unwrap();
        assert_eq!(reader.texts(), ["re: hello"]);
        life.idle().await;
        assert!(program.is_quiet().await.unwrap());
        let refused = program.line("2".into(), "not what it takes".into()).await.unwrap_err();
        assert_eq!(refused.code, "E-CHANNEL-016");
        assert!(refused.message.contains("expected"), "{refused}");
        let long = program.line("3".into(), "x".repeat((64 << 10) + 1)).await.unwrap_err();
        assert_eq!(long.code, "E-CHANNEL-014");
        let test = life.ask(ChannelRequest::Test { instance: chat() }).await;
        assert_eq!(test["owner"]["sender"], "program", "{test}");
        life.until("the test is there", || reader.texts().len() == 2).await.unwrap();
        // To the owner nothing goes here of itself: a program comes and goes.
        let owner = life.courier.send("owner", "psst".into(), "k").await.unwrap_err();
        assert!(owner.to_string().contains("has not written directly"), "{owner}");
    });
    let turns = world.parrot.turns.lock().unwrap();
    assert!(
        matches!(&turns[..], [(session, Origin::Owner, _)] if session == "local/chat/main/direct/program"),
        "{turns:?}"
    );
}

#[test]
fn a_line_makes_nobody_else_the_owner() {
    let world = World::new(NOBODY);
    world.live(async |life| {
        let Seated { program, written: _written } = attached(life, "program").await;
        // The component says that somebody else wrote it, or that it was written elsewhere.
        program.line("1".into(), line(&Update { sender: "9".into(), ..said(1, "do it") })).await.unwrap();
        program.line("2".into(), line(&from_owner(2, "program", "do it"))).await.unwrap();
        program.line("3".into(), line(&Update { conversation: "room".into(), ..said(3, "do it") })).await.unwrap();
        // And a message that came in another way is nobody's either, whoever it says it is.
        assert_eq!(life.hook(&said(4, "do it")).await.status, 200);
        life.pass(60_000).await;
    });
    assert_eq!(world.parrot.texts(), [""; 0]);
}

#[test]
fn an_answer_waits_for_its_program_and_is_there_as_soon_as_it_comes() {
    let world = World::new(NOBODY);
    world.live(async |life| {
        let Seated { program, written } = attached(life, "program").await;
        program.line("1".into(), line(&said(1, "hello"))).await.unwrap();
        drop((program, written));
        life.until("a turn", || world.parrot.texts().len() == 1).await.unwrap();
        // Long enough for the waits between two attempts to have grown.
        life.pass(1_200_000).await;
        // A program that takes it and never says so does not have it.
        let deaf = attached(life, "program").await;
        life.pass(60_000).await;
        assert!(!deaf.program.is_quiet().await.unwrap());
        drop(deaf);
        let before = world.clock.passed();
        let Seated { program, written } = attached(life, "program").await;
        let reader = Reader::default();
        reader.reads(written);
        life.until("the answer", || !reader.texts().is_empty()).await.unwrap();
        assert!(world.clock.passed() - before < 6_000, "it waited {} ms", world.clock.passed() - before);
        assert_eq!(reader.texts(), ["re: hello"]);
        life.idle().await;
        assert!(program.is_quiet().await.unwrap());
    });
}

#[test]
fn who_may_attach_and_who_is_told_to_come_back() {
    let world = World::new(NOBODY);
    world.live(async |life| {
        life.idle().await;
        for (component, instance, name, code) in [
            ("chat", "other", "p", "E-CHANNEL-013"),
            ("chats", "main", "p", "E-CHANNEL-013"),
            ("chat", "main", "", "E-CHANNEL-014"),
            ("chat", "main", "a b", "E-CHANNEL-014"),
            ("chat", "main", &"p".repeat(65), "E-CHANNEL-014"),
        ] {
            let denied = life.courier.attach(component, instance, name).await.map(drop).unwrap_err();
            assert_eq!(denied.code, code, "{component} {instance} {name}");
        }
        let nobody = life.courier.control(ChannelRequest::Test { instance: chat() }).await.unwrap_err();
        assert_eq!(nobody.code, "E-CHANNEL-007");
        assert!(nobody.fix.contains("carapace console local/chat/main"), "{nobody}");
        let mut one = attached(life, "program").await;
        let mut all = Vec::new();
        for _ in 1..64 {
            all.push(attached(life, "program").await);
        }
        assert_eq!(life.courier.attach("chat", "main", "program").await.map(drop).unwrap_err().code, "E-CHANNEL-014");
        drop(all);
        drop(attached(life, "program").await);
        // The owner takes the channel out of service, and puts it back.
        *world.platform.loaded.lock().unwrap() = false;
        world.platform.tell_change();
        life.idle().await;
        assert!(one.written.recv().await.is_none());
        assert_eq!(one.program.line("1".into(), line(&said(1, "hello"))).await.unwrap_err().code, "E-CHANNEL-013");
        *world.platform.loaded.lock().unwrap() = true;
        world.platform.push(Update { does: "fatal".into(), ..from_owner(1, "c", "m") });
        world.platform.tell_change();
        life.pass(1_000).await;
        let one = attached(life, "program").await;
        let later = one.program.line("1".into(), line(&said(1, "hello"))).await.unwrap_err();
        assert!(later.code == LATER && later.message.contains("the token was revoked"), "{later}");
    });
}

/// A program that sends again what was not taken, and reads, until it has everything.
async fn go_on(world: &World, life: &Life, taken: &mut usize, reader: &Reader) -> Result<(), Died> {
    let Seated { program, written } = attached(life, "program").await;
    reader.reads(written);
    while *taken < 3 {
        let n = *taken as u64 + 1;
        let dies = life.until("the kernel dies", || false);
        let result = tokio::select! {
            biased;
            result = program.line(n.to_string(), line(&said(n, &format!("m{n}")))) => result,
            died = dies => return died,
        };
        match result {
            Ok(()) => *taken += 1,
            Err(e) => assert_eq!(e.code, LATER, "{e}"),
        }
    }
    life.until("everything", || reader.texts().len() >= 3).await?;
    for _ in 0..100 {
        life.idle().await;
        if world.plug.pulled.load(SeqCst) {
            return Err(Died);
        }
        if program.is_quiet().await.unwrap() {
            return Ok(());
        }
        world.clock.advance();
    }
    panic!("it is never quiet");
}

#[test]
fn a_kernel_that_dies_anywhere_loses_no_line_and_shows_no_answer_twice() {
    let story = |at: i64| {
        let world = World::new(NOBODY);
        *world.platform.key_window_s.lock().unwrap() = 86_400;
        let (mut taken, reader) = (0, Reader::default());
        for life in 0..10 {
            world.plug.pull_at(if life == 0 { at } else { i64::MAX });
            if world.live(async |life| go_on(&world, life, &mut taken, &reader).await).is_ok() {
                assert_eq!(reader.texts(), ["re: m1", "re: m2", "re: m3"], "the plug was pulled at {at}");
                assert_eq!(world.parrot.texts(), ["m1", "m2", "m3"], "the plug was pulled at {at}");
                return world.plug.passed.load(SeqCst);
            }
        }
        panic!("it never comes to an end");
    };
    let points = i64::try_from(story(i64::MAX)).unwrap();
    assert!(points > 15, "{points}");
    for at in 1..=points {
        story(at);
    }
}
