//! What comes by itself, and what comes only once.

use crate::platform::{Update, failure, from_owner};
use crate::world::{Died, OWNER, World, request};
use carapace_contract::channel::ChannelFailureKind;
use carapace_contract::control::ChannelRequest;
use carapace_contract::ports::Webhooks;

fn does(n: u64, what: &str) -> Update {
    Update { does: what.into(), ..from_owner(n, "home", &format!("m{n}")) }
}

#[test]
fn a_webhook_is_answered_once_it_is_durable_and_counts_once_however_often_it_comes() {
    let world = World::new(OWNER);
    world.live(async |life| {
        life.idle().await;
        let update = from_owner(1, "home", "hello");
        for _ in 0..5 {
            let answer = life.hook(&update).await;
            assert_eq!((answer.status, answer.body.as_slice()), (200, b"taken".as_slice()));
        }
        life.until("an answer", || !world.platform.delivered().is_empty()).await.unwrap();
        life.pass(60_000).await;
        let mut forged = request(&update);
        forged.headers.push(("forged".into(), String::new()));
        assert_eq!(life.courier.webhook("chat", "main", forged).await.status, 401);
        for (component, instance, hook) in
            [("chat", "other", "hook"), ("other", "main", "hook"), ("chat", "main", "no")]
        {
            let request = carapace_contract::channel::WebhookRequest { webhook: hook.into(), ..request(&update) };
            assert_eq!(life.courier.webhook(component, instance, request).await.status, 404);
        }
    });
    assert_eq!((world.parrot.texts().len(), world.platform.delivered().len()), (1, 1));
}

#[test]
fn a_webhook_that_is_not_durable_in_time_is_to_come_again() {
    let world = World::new(OWNER);
    world.platform.push(does(1, "retry"));
    world.live(async |life| {
        life.until("held up", || world.platform.lines("item 1").len() >= 4).await.unwrap();
        let hook = from_owner(9, "away", "hook");
        let (answer, ()) = tokio::join!(life.hook(&hook), async { life.pass(3_000).await });
        assert_eq!(answer.status, 503);
        assert!(answer.headers.iter().any(|(name, _)| name == "retry-after"));
        life.until("the item", || world.platform.delivered().len() == 1).await.unwrap();
        assert_eq!(life.hook(&hook).await.status, 200);
        life.until("the hook", || world.platform.delivered().len() == 2).await.unwrap();
    });
    assert_eq!(world.platform.lines("hook 9").len(), 1, "what nobody waits for is not given");
}

#[test]
fn webhooks_that_wait_are_bounded() {
    let world = World::new(OWNER);
    world.platform.push(does(1, "not-now"));
    world.live(async |life| {
        life.until("held up", || world.platform.lines("item 1").len() >= 20).await.unwrap();
        let hooks: Vec<Update> = (0..100).map(|n| from_owner(100 + n, "away", "hook")).collect();
        let all = futures::future::join_all(hooks.iter().map(|u| life.hook(u)));
        let (answers, ()) = tokio::join!(all, async { life.pass(20_000).await });
        let with = |status| answers.iter().filter(|a| a.status == status).count();
        assert_eq!(with(429), 36);
        assert_eq!(with(200) + with(503), 64);
    });
}

#[test]
fn a_poisonous_webhook_is_kept_and_not_sent_for_ever() {
    let world = World::new(OWNER);
    world.live(async |life| {
        life.idle().await;
        assert_eq!(life.hook(&does(1, "trap")).await.status, 200);
        assert_eq!(world.platform.lines("hook 1").len(), 3);
        let dead = life.ask(ChannelRequest::EventList).await;
        assert_eq!(dead[0]["body"]["type"], "webhook", "{dead}");
    });
}

#[test]
fn what_a_platform_does_not_repeat_is_kept_before_the_component_sees_it() {
    let world = World::new(OWNER);
    *world.platform.spool.lock().unwrap() = true;
    for n in 1..=150 {
        world.platform.push(does(n, if n == 3 { "trap" } else { "" }));
    }
    world.live(async |life| {
        // Killed while the component works on what the platform has forgotten already.
        life.until("kept", || world.platform.updates.lock().unwrap().len() <= 50).await.unwrap();
        life.until("given", || world.platform.lines("item").len() > 30).await.unwrap();
        world.plug.pull_at(1);
        assert_eq!(life.until("dies", || false).await, Err(Died));
    });
    world.plug.pull_at(i64::MAX);
    world.live(async |life| {
        life.until("all others", || world.parrot.texts().len() >= 149).await.unwrap();
        assert_eq!(life.ask(ChannelRequest::EventList).await.as_array().unwrap().len(), 1);
        assert_eq!(life.hook(&does(900, "retry")).await.status, 200, "kept, although the component cannot take it now");
        life.until("the hook", || world.parrot.texts().len() >= 150).await.unwrap();
        life.pass(100_000).await;
    });
    assert_eq!(world.parrot.texts().len(), 150);
}

#[test]
fn what_comes_once_is_kept_although_the_channel_has_stopped() {
    for spool in [true, false] {
        let world = World::new(OWNER);
        *world.platform.spool.lock().unwrap() = spool;
        world.platform.polls.lock().unwrap().push_back(failure(ChannelFailureKind::Final));
        world.live(async |life| {
            life.idle().await;
            assert_eq!(life.hook(&does(1, "")).await.status, if spool { 200 } else { 503 });
            world.platform.tell_change();
            if spool {
                life.until("an answer", || world.platform.delivered().len() == 1).await.unwrap();
            }
        });
    }
}

#[test]
fn a_response_that_cannot_be_split_is_kept_where_the_platform_does_not_repeat_it() {
    let world = World::new(OWNER);
    *world.platform.spool.lock().unwrap() = true;
    *world.platform.splits.lock().unwrap() = 3;
    world.platform.push(does(1, ""));
    world.live(async |life| {
        life.idle().await;
        let dead = life.ask(ChannelRequest::EventList).await;
        assert_eq!(dead[0]["body"]["response"]["status"], 200, "{dead}");
        let id = dead[0]["id"].as_str().unwrap().parse().unwrap();
        life.ask(ChannelRequest::EventReplay { id }).await;
        life.until("an answer", || world.platform.delivered().len() == 1).await.unwrap();
    });
}
