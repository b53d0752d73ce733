//! Answers that are shown while they grow.

use crate::platform::{failure, from_owner};
use crate::world::{Died, Life, OWNER, World};
use carapace_contract::channel::{ChannelFailureKind, EditSupport};
use carapace_contract::control::ChannelRequest;
use std::sync::atomic::Ordering::SeqCst;
use tokio::sync::watch;

const EVERY: EditSupport = EditSupport { direct_ms: 2_000, group_ms: 9_000 };

/// A platform that lets messages be changed, and how many words the assistant may say.
fn growing(config: &str) -> (World, watch::Sender<u32>) {
    let world = World::new(config);
    *world.platform.edits.lock().unwrap() = Some(EVERY);
    let (words, paced) = watch::channel(0);
    *world.parrot.pace.lock().unwrap() = Some(paced);
    (world, words)
}

async fn finished(world: &World, life: &Life) {
    life.until("the answer is done", || true).await.unwrap();
    for _ in 0..200 {
        life.idle().await;
        let status = &life.courier.statuses().await.unwrap()[0];
        if status.waiting == 0 && status.outbox_pending == 0 {
            return;
        }
        world.clock.advance();
    }
    panic!("it never comes to an end");
}

#[test]
fn an_answer_grows_in_one_message_no_faster_than_the_platform_bears() {
    let (world, words) = growing(OWNER);
    world.platform.push(from_owner(1, "home", "one two three"));
    world.live(async |life| {
        words.send_replace(2);
        life.until("the draft is there", || world.platform.texts() == ["re: one "]).await.unwrap();
        words.send_replace(3);
        life.until("it grows", || world.platform.texts() == ["re: one two "]).await.unwrap();
        words.send_replace(u32::MAX);
        finished(&world, life).await;
        assert!(life.ask(ChannelRequest::OutboxList { instance: None }).await.as_array().unwrap().is_empty());
    });
    assert_eq!(world.platform.texts(), ["re: one two three"]);
    let times: Vec<u64> =
        world.platform.lines("edit at ").iter().map(|l| l["edit at ".len()..].parse().unwrap()).collect();
    // The last one is the answer itself.
    assert_eq!(times.len(), 2);
    assert!(times[0] >= 4_000, "{times:?}");
}

#[test]
fn a_quick_answer_and_one_whose_owner_wants_none_have_no_draft() {
    let (world, words) = growing(OWNER);
    words.send_replace(u32::MAX);
    world.platform.push(from_owner(1, "home", "a"));
    world.live(async |life| finished(&world, life).await);
    assert!(world.platform.lines("edit at ").is_empty());

    let (world, words) = growing("{ instances: { chat: { channel: { owner: ['1'], drafts: false } } } }");
    world.platform.push(from_owner(1, "home", "a b"));
    world.live(async |life| {
        words.send_replace(2);
        life.pass(60_000).await;
        assert!(world.platform.texts().is_empty());
        words.send_replace(u32::MAX);
        finished(&world, life).await;
    });
    assert_eq!(world.platform.texts(), ["re: a b"]);
}

#[test]
fn what_does_not_fit_into_the_first_message_comes_with_the_whole() {
    let (world, words) = growing(OWNER);
    world.platform.push(from_owner(1, "home", "a\n\nb c"));
    world.live(async |life| {
        words.send_replace(2);
        life.until("the draft is there", || world.platform.texts().len() == 1).await.unwrap();
        assert_eq!(world.platform.texts(), ["re: a"]);
        words.send_replace(u32::MAX);
        finished(&world, life).await;
    });
    assert_eq!(world.platform.texts(), ["re: a", "b c"]);
}

#[test]
fn a_draft_that_cannot_be_changed_any_more_is_followed_by_the_answer() {
    let (world, words) = growing(OWNER);
    world.platform.push(from_owner(1, "home", "a b c"));
    world.live(async |life| {
        words.send_replace(2);
        life.until("the draft is there", || world.platform.texts() == ["re: a "]).await.unwrap();
        // Somebody deleted it, say.
        world
            .platform
            .changes
            .lock()
            .unwrap()
            .extend([failure(ChannelFailureKind::Final), failure(ChannelFailureKind::Final)]);
        words.send_replace(3);
        life.pass(20_000).await;
        words.send_replace(u32::MAX);
        finished(&world, life).await;
    });
    assert_eq!(world.platform.texts(), ["re: a ", "re: a b c"]);
}

#[test]
fn a_failure_takes_the_place_of_the_draft() {
    let (world, words) = growing(OWNER);
    world.platform.push(from_owner(1, "home", "a b c"));
    world.live(async |life| {
        words.send_replace(2);
        life.until("the draft is there", || world.platform.texts() == ["re: a "]).await.unwrap();
        // For a while only: the answer waits, and comes.
        let busy = failure(ChannelFailureKind::Retryable);
        world.platform.changes.lock().unwrap().extend([busy.clone(), busy]);
        words.send_replace(u32::MAX);
        finished(&world, life).await;
    });
    assert_eq!(world.platform.texts(), ["re: a b c"]);
}

/// One life: the draft, a change of it, the answer.
async fn go_on(world: &World, life: &Life, words: &watch::Sender<u32>) -> Result<Vec<String>, Died> {
    life.until("the turn begins", || !world.parrot.texts().is_empty()).await?;
    for step in 1..200 {
        life.until("time", || true).await?;
        life.idle().await;
        if world.plug.pulled.load(SeqCst) {
            return Err(Died);
        }
        let seen = world.platform.texts().len();
        let said = if step > 40 {
            u32::MAX
        } else if seen > 0 && step > 20 {
            3
        } else {
            2
        };
        if *words.borrow() < said {
            words.send_replace(said);
        }
        let status = &life.courier.statuses().await.unwrap()[0];
        if step > 45 && status.waiting == 0 && status.outbox_pending == 0 {
            let list = life.ask(ChannelRequest::OutboxList { instance: None }).await;
            return Ok(list.as_array().unwrap().iter().map(|p| p["text"].as_str().unwrap().to_owned()).collect());
        }
        world.clock.advance();
    }
    panic!("it never comes to an end");
}

#[test]
fn a_kernel_that_dies_in_the_middle_of_a_draft_finishes_it() {
    let story = || {
        let (world, words) = growing(OWNER);
        world.platform.push(from_owner(1, "home", "a b c"));
        (world, words)
    };
    let points = {
        let (world, words) = story();
        world.plug.pull_at(i64::MAX);
        let uncertain = world.live(async |life| go_on(&world, life, &words).await).unwrap();
        assert!(uncertain.is_empty());
        assert_eq!(world.platform.texts(), ["re: a b c"]);
        assert!(world.platform.lines("edit at ").len() >= 2);
        i64::try_from(world.plug.passed.load(SeqCst)).unwrap()
    };
    let mut doubted = 0;
    for at in 1..=points {
        let (world, words) = story();
        world.plug.pull_at(at);
        let _ = world.live(async |life| go_on(&world, life, &words).await);
        world.plug.pull_at(i64::MAX);
        let uncertain = world.live(async |life| go_on(&world, life, &words).await).unwrap();
        let texts = world.platform.texts();
        let answers = texts.iter().filter(|t| *t == "re: a b c").count();
        if uncertain.is_empty() {
            assert_eq!(texts, ["re: a b c"], "point {at}");
        } else {
            // Only the first message can be in doubt; the answer comes all the same, unless it is that one itself.
            doubted += 1;
            assert!(uncertain.len() == 1 && texts.len() <= 2, "point {at}: {uncertain:?} {texts:?}");
            assert!(answers == 1 || uncertain == ["re: a b c"], "point {at}: {uncertain:?} {texts:?}");
        }
    }
    assert!(doubted > 0, "no send was ever interrupted");
}
