//! From the inbox to the outbox: lanes, edits, failures, typing, the real assistant.

use crate::platform::{Update, chat, failure, from_owner};
use crate::world::{OWNER, World};
use carapace_agent::{Agent, Patience, SystemClock};
use carapace_contract::Denial;
use carapace_contract::channel::{ChannelFailureKind, TypingSupport};
use carapace_contract::completion::*;
use carapace_contract::control::ChannelRequest;
use carapace_contract::decision::{Authorized, PlannedCall};
use carapace_contract::ports::{Models, ToolFailure, ToolOutput, Tools};
use carapace_contract::turn::{ToolInfo, TurnError};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;
use tokio::sync::mpsc::Sender;
use tokio_util::sync::CancellationToken;

#[test]
fn conversations_do_not_wait_for_each_other_and_each_is_in_order() {
    let world = World::new(OWNER);
    for n in 1..=60 {
        world
            .platform
            .push(Update { sender: (n % 3 + 1).to_string(), ..from_owner(n, &format!("c{}", n % 3), &n.to_string()) });
    }
    world.live(async |life| life.until("all", || world.platform.delivered().len() == 60).await.unwrap());
    for c in 0..3_u64 {
        let texts: Vec<String> = world
            .platform
            .delivered()
            .into_iter()
            .filter(|d| d.conversation == format!("c{c}"))
            .map(|d| d.text)
            .collect();
        assert_eq!(texts, (1..=60).filter(|n| n % 3 == c).map(|n| format!("re: {n}")).collect::<Vec<_>>());
    }
    let at_most = world.platform.at_once.lock().unwrap().1;
    assert!((1..=4).contains(&at_most), "{at_most}");
}

#[test]
fn an_edit_replaces_what_has_not_been_begun_and_is_a_message_of_its_own_later() {
    let world = World::new(OWNER);
    let (go, slow) = tokio::sync::watch::channel(false);
    *world.parrot.slow.lock().unwrap() = Some(slow);
    let say =
        |n, of: &str, text: &str, edited| Update { message_id: Some(of.into()), edited, ..from_owner(n, "home", text) };
    for update in [say(1, "a", "first", false), say(2, "b", "secnd", false), say(3, "b", "second", true)] {
        world.platform.push(update);
    }
    world.live(async |life| {
        life.until("the first is begun", || world.parrot.texts().len() == 1).await.unwrap();
        world.platform.push(say(4, "a", "first!", true));
        life.pass(20_000).await;
        go.send_replace(true);
        life.until("all", || world.platform.delivered().len() == 3).await.unwrap();
    });
    assert_eq!(world.parrot.texts(), ["first", "second", "[An earlier message was edited; it now says this.]\nfirst!"]);
}

#[test]
fn a_run_that_fails_says_so_without_internals_and_one_that_says_nothing_is_done() {
    let world = World::new(OWNER);
    for (n, text) in [(1, "fail"), (2, "say nothing"), (3, "x")] {
        world.platform.push(from_owner(n, "home", text));
    }
    world.live(async |life| {
        life.until("all", || world.platform.delivered().len() == 2).await.unwrap();
        life.idle().await;
        assert!(life.store.inbox_open().await.unwrap().is_empty());
    });
    let texts = world.platform.texts();
    assert_eq!(texts[0], "Sorry, I cannot answer this: the model cannot be reached or refused (E-MODEL-006).");
    assert_eq!(texts[1], "re: x");
}

#[test]
fn an_answer_says_which_message_it_is_about_and_what_a_stranger_reads_is_about_none() {
    let world = World::new(OWNER);
    world.platform.push(from_owner(1, "home", "a"));
    world.platform.push(Update { sender: "9".into(), ..from_owner(2, "away", "let me in") });
    world.live(async |life| life.until("both", || world.platform.delivered().len() == 2).await.unwrap());
    assert_eq!(world.platform.lines("about Some"), ["about Some(\"1\"): re: a"]);
    assert_eq!(world.platform.lines("about None").len(), 1);
}

#[test]
fn an_assistant_that_has_no_room_is_asked_again_and_one_that_refuses_is_not() {
    let world = World::new(OWNER);
    let refusal = |code: &str, retryable| TurnError { code: code.into(), message: "m".into(), retryable };
    world.parrot.refusals.lock().unwrap().extend([
        refusal("E-TURN-003", true),
        refusal("E-TURN-003", true),
        refusal("E-TURN-001", false),
    ]);
    for n in 1..=2 {
        world.platform.push(from_owner(n, "home", &n.to_string()));
    }
    world.live(async |life| life.until("both", || world.platform.delivered().len() == 2).await.unwrap());
    assert_eq!(world.platform.texts(), ["Sorry, I cannot answer this: something went wrong (E-TURN-001).", "re: 2"]);
}

#[test]
fn an_answer_waits_for_its_channel_and_is_given_up_only_where_the_component_breaks_on_it() {
    let world = World::new(OWNER);
    use ChannelFailureKind::{Broken, Gone, NotNow};
    let renders = [NotNow, Gone, Broken, Broken].into_iter().chain([Gone; 20]);
    world.platform.renders.lock().unwrap().extend(renders.map(failure));
    world.platform.push(from_owner(1, "home", "a"));
    world.live(async |life| {
        life.until("an answer", || world.platform.delivered().len() == 1).await.unwrap();
        world.platform.renders.lock().unwrap().extend([Broken; 3].map(failure));
        world.platform.push(from_owner(2, "home", "b"));
        world.platform.push(from_owner(3, "home", "c"));
        life.until("the next", || world.platform.delivered().len() == 2).await.unwrap();
        let dead = life.ask(ChannelRequest::EventList).await;
        assert_eq!((&dead[0]["what"], &dead[0]["body"]["message"]["text"]), (&"message".into(), &"b".into()));
        assert_eq!(dead[0]["why"], "the channel broke on its answer: Broken");
        let id = dead[0]["id"].as_str().unwrap().parse().unwrap();
        life.ask(ChannelRequest::EventReplay { id }).await;
        life.until("the replayed", || world.platform.delivered().len() == 3).await.unwrap();
    });
    assert_eq!(world.parrot.texts(), ["a", "b", "c"], "no turn is run twice");
}

#[test]
fn typing_is_shown_while_a_turn_runs_and_taken_back() {
    let world = World::new(OWNER);
    *world.platform.typing.lock().unwrap() = Some(TypingSupport { lasts_ms: 5_000, stops: true });
    let (go, slow) = tokio::sync::watch::channel(false);
    *world.parrot.slow.lock().unwrap() = Some(slow);
    world.platform.push(from_owner(1, "home", "a"));
    world.live(async |life| {
        life.until("typing", || world.platform.lines("typing").len() == 3).await.unwrap();
        go.send_replace(true);
        life.until("an answer", || world.platform.delivered().len() == 1).await.unwrap();
        life.pass(60_000).await;
    });
    let lines = world.platform.lines("typing");
    assert_eq!((lines.len(), lines.last().unwrap().contains("home false")), (4, true), "{lines:?}");
    let at = |line: &str| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap();
    assert_eq!((at(&lines[1]) - at(&lines[0]), at(&lines[2]) - at(&lines[1])), (4_000, 4_000));
}

#[test]
fn the_messages_of_a_channel_that_is_not_loaded_wait_for_it() {
    let world = World::new(OWNER);
    let (go, slow) = tokio::sync::watch::channel(false);
    *world.parrot.slow.lock().unwrap() = Some(slow);
    world.platform.push(from_owner(1, "home", "a"));
    world.live(async |life| {
        life.until("a turn", || world.parrot.texts().len() == 1).await.unwrap();
        *world.platform.loaded.lock().unwrap() = false;
        world.platform.tell_change();
        life.idle().await;
        assert!(life.courier.statuses().await.unwrap().is_empty());
        go.send_replace(true);
        life.pass(50_000).await;
        assert!(world.platform.delivered().is_empty());
        *world.platform.loaded.lock().unwrap() = true;
        world.platform.tell_change();
        life.until("an answer", || world.platform.delivered().len() == 1).await.unwrap();
    });
}

#[test]
fn conversations_that_wait_for_their_channel_are_in_nobodys_way() {
    let people: Vec<String> = (1..=300).map(|n| n.to_string()).collect();
    let world = World::new(&format!("{{ instances: {{ chat: {{ channel: {{ allow: {people:?} }} }} }} }}"));
    *world.platform.gone.lock().unwrap() = Some("x".into());
    for n in 1..=300 {
        let conversation = if n == 300 { "home".to_owned() } else { format!("x{n}") };
        world.platform.push(Update { sender: n.to_string(), ..from_owner(n, &conversation, &n.to_string()) });
    }
    world.live(async |life| {
        life.until("the other", || world.platform.texts() == ["re: 300"]).await.unwrap();
        *world.platform.gone.lock().unwrap() = None;
        world.platform.tell_change();
        life.until("all", || world.platform.delivered().len() == 300).await.unwrap();
    });
    assert_eq!(world.parrot.texts().len(), 300);
}

#[test]
fn draining_lets_what_is_under_way_come_to_its_end() {
    let world = World::new(OWNER);
    let (go, slow) = tokio::sync::watch::channel(false);
    *world.parrot.slow.lock().unwrap() = Some(slow);
    for n in 1..=3 {
        world.platform.push(from_owner(n, "home", &n.to_string()));
    }
    world.live(async |life| {
        life.until("a turn", || world.parrot.texts().len() == 1).await.unwrap();
        let drained = life.courier.drain(Duration::from_secs(3_600));
        tokio::join!(drained, async {
            life.idle().await;
            go.send_replace(true);
        });
        assert_eq!(life.store.inbox_open().await.unwrap().len(), 2, "what was not begun is left to the next start");
        let answer = life.hook(&from_owner(9, "home", "late")).await;
        assert_eq!(answer.status, 503);
    });
    *world.parrot.slow.lock().unwrap() = None;
    world.live(async |life| life.until("all", || world.platform.delivered().len() == 3).await.unwrap());
    assert_eq!(world.platform.texts(), ["re: 1", "re: 2", "re: 3"]);
}

#[test]
fn on_many_threads_and_by_the_machines_clock_nothing_is_lost_doubled_or_out_of_order() {
    let world = World::new(OWNER);
    for n in 1..=900 {
        world
            .platform
            .push(Update { sender: (n % 3 + 1).to_string(), ..from_owner(n, &format!("c{}", n % 3), &n.to_string()) });
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
    runtime.block_on(async {
        let ears = crate::parrot::Ears { parrot: Arc::clone(&world.parrot), plug: Arc::clone(&world.plug) };
        let clock = Arc::new(carapace_courier::SystemClock::default());
        let life = Arc::new(world.begin_by(world.store(), Arc::new(ears), clock).await);
        let hooks = (0..4_u64).map(|worker| {
            let life = Arc::clone(&life);
            tokio::spawn(async move {
                for n in 0..50 {
                    let update = Update {
                        does: String::new(),
                        ..from_owner(10_000 + worker * 1_000 + n, &format!("h{worker}"), "hook")
                    };
                    // As a platform does it: again until it is taken.
                    while life.hook(&update).await.status != 200 {
                        tokio::task::yield_now().await;
                    }
                }
            })
        });
        futures::future::join_all(hooks).await.into_iter().for_each(|done| done.unwrap());
        while world.platform.delivered().len() < 1_100 {
            world.platform.news.notified().await;
        }
        life.courier.drain(Duration::from_secs(3_600)).await;
        assert!(life.ask(ChannelRequest::OutboxList { instance: None }).await.as_array().unwrap().is_empty());
        assert!(life.store.inbox_open().await.unwrap().is_empty());
    });
    assert_eq!((world.parrot.texts().len(), world.platform.delivered().len()), (1_100, 1_100));
    for c in 0..3_u64 {
        let of_c = |d: &crate::platform::Delivered| d.conversation == format!("c{c}");
        let texts: Vec<String> = world.platform.delivered().into_iter().filter(of_c).map(|d| d.text).collect();
        assert_eq!(texts, (1..=900).filter(|n| n % 3 == c).map(|n| format!("re: {n}")).collect::<Vec<_>>());
    }
}

/// Answers with how many messages it saw.
struct Counting(AtomicU32);

#[async_trait::async_trait]
impl Models for Counting {
    async fn list(&self) -> Vec<ModelInfo> {
        vec![]
    }
    async fn route(&self, _: Option<&str>) -> Result<Vec<ModelRef>, Denial> {
        Ok(vec![ModelRef { instance: "local/parrot/main".parse().unwrap(), model: "m".into() }])
    }
    async fn complete(
        &self,
        _: &ModelRef,
        request: &CompletionRequest,
        sink: Sender<CompletionEvent>,
        _: CancellationToken,
    ) -> Result<(), CompletionFailure> {
        self.0.fetch_add(1, SeqCst);
        let heard = request.messages.last().map(|m| m.plain_text()).unwrap_or_default();
        let _ = sink.send(CompletionEvent::Text(format!("heard {heard}"))).await;
        Ok(())
    }
}

struct NoTools;

#[async_trait::async_trait]
impl Tools for NoTools {
    fn catalog(&self) -> Arc<Vec<ToolInfo>> {
        Arc::default()
    }
    async fn call(&self, _: &Authorized<PlannedCall>, _: CancellationToken) -> Result<ToolOutput, ToolFailure> {
        unreachable!("there are no tools")
    }
}

#[test]
fn the_real_assistant_answers_each_message_once_although_the_kernel_dies_again_and_again() {
    let world = World::new(OWNER);
    let models = Arc::new(Counting(AtomicU32::new(0)));
    for n in 1..=12 {
        world.platform.push(from_owner(n, &format!("c{}", n % 2), &n.to_string()));
    }
    *world.platform.key_window_s.lock().unwrap() = 86_400;
    for at in 1.. {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let over = runtime.block_on(async {
            world.plug.pull_at(at * 7);
            let store = world.store();
            let config =
                carapace_config::ConfigHandle::holding("c", Arc::new(carapace_config::NoEnv), Default::default());
            let agent = Agent::new(carapace_agent::Deps {
                store: store.clone(),
                config: Arc::new(config),
                tools: Arc::new(NoTools),
                models: Arc::clone(&models) as _,
                clock: Arc::new(SystemClock),
                patience: Patience::default(),
            });
            agent.recover().await.unwrap();
            let life = world.begin_with(store, agent).await;
            life.until("all", || world.platform.delivered().len() == 12).await.is_ok()
        });
        drop(runtime);
        if over {
            break;
        }
        assert!(at < 60);
    }
    for c in 0..2_u64 {
        let of_c = |d: &crate::platform::Delivered| d.conversation == format!("c{c}");
        let texts: Vec<String> = world.platform.delivered().into_iter().filter(of_c).map(|d| d.text).collect();
        assert_eq!(texts, (1..=12).filter(|n| n % 2 == c).map(|n| format!("heard {n}")).collect::<Vec<_>>());
    }
    let store = world.store();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let rows = runtime.block_on(store.session_rows("local/chat/main/direct/1", 100)).unwrap();
    assert_eq!(rows.iter().filter(|r| r.kind == "user").count(), 12, "each message stands in the log once");
    assert_eq!(chat().to_string(), "local/chat/main");
}
