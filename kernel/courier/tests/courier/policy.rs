//! Who may talk.

use crate::platform::{Update, chat, from_owner};
use crate::world::{OWNER, World};
use carapace_contract::channel::ConversationKind;
use carapace_contract::control::ChannelRequest;
use carapace_contract::decision::Origin;
use serde_json::Value;

fn by(n: u64, sender: &str, text: &str) -> Update {
    Update { sender: sender.into(), ..from_owner(n, &format!("dm-{sender}"), text) }
}

fn in_group(n: u64, sender: &str, mention: bool) -> Update {
    Update { kind: ConversationKind::Group, mention, ..Update { conversation: "g".into(), ..by(n, sender, "hi") } }
}

fn codes(list: &Value) -> Vec<String> {
    list["pending"].as_array().unwrap().iter().map(|r| r["code"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_stranger_gets_a_code_and_nothing_else_until_the_owner_lets_them_in() {
    let world = World::new(OWNER);
    for n in 1..=5 {
        world.platform.push(by(n, "99", "let me in"));
    }
    world.live(async |life| {
        life.until("a code", || world.platform.delivered().len() == 1).await.unwrap();
        life.pass(60_000).await;
        let list = life.ask(ChannelRequest::PairingList).await;
        let code = codes(&list).remove(0);
        let said = world.platform.texts().join("\n");
        assert!(said.contains(&format!("carapace pairing approve {code}")), "{said}");
        assert_eq!((code.len(), world.parrot.texts().len()), (9, 0), "one notice, no turn");
        assert_eq!(life.courier.statuses().await.unwrap()[0].pairing, 1);

        let typed = code.to_lowercase().replace('-', "");
        let who = life.ask(ChannelRequest::PairingApprove { code: typed.clone(), owner: false }).await;
        assert_eq!((&who["sender"], &who["name"]), (&"99".into(), &"N99".into()));
        let again = life.courier.control(ChannelRequest::PairingApprove { code: typed, owner: true }).await;
        assert_eq!(again.unwrap_err().code, "E-CHANNEL-002", "a code is spent");
    });
    let parts = world.platform.delivered().len();
    // It holds in the next life, too.
    world.live(async |life| {
        world.platform.push(by(6, "99", "hello"));
        life.until("an answer", || world.platform.delivered().len() > parts).await.unwrap();
        life.ask(ChannelRequest::PairingRemove { instance: chat(), sender: "99".into() }).await;
        let again = ChannelRequest::PairingRemove { instance: chat(), sender: "99".into() };
        assert_eq!(life.courier.control(again).await.unwrap_err().code, "E-CHANNEL-003");
        world.platform.push(by(7, "99", "still there?"));
        life.until("a new code", || world.platform.delivered().len() > parts + 1).await.unwrap();
    });
    let turns = world.parrot.turns.lock().unwrap().clone();
    assert_eq!(turns, [("local/chat/main/direct/99".to_owned(), Origin::PairedUser, "hello".to_owned())]);
}

#[test]
fn who_is_approved_as_the_owner_speaks_as_the_owner() {
    let world = World::new("{}");
    world.platform.push(by(1, "5", "it's me"));
    world.live(async |life| {
        life.until("a code", || !world.platform.delivered().is_empty()).await.unwrap();
        let code = codes(&life.ask(ChannelRequest::PairingList).await).remove(0);
        life.ask(ChannelRequest::PairingApprove { code, owner: true }).await;
        world.platform.push(by(2, "5", "hello"));
        life.until("a turn", || !world.parrot.texts().is_empty()).await.unwrap();
    });
    assert_eq!(world.parrot.turns.lock().unwrap()[0].1, Origin::Owner);
}

#[test]
fn ten_thousand_strangers_cost_three_notices_an_hour() {
    let world = World::new(OWNER);
    for n in 1..=10_000 {
        world.platform.push(by(n, &format!("s{n}"), "hi"));
    }
    world.platform.push(from_owner(10_001, "home", "hello"));
    world.live(async |life| {
        life.until("the owner's answer", || world.platform.texts().contains(&"re: hello".to_owned())).await.unwrap();
        life.until("three codes", || world.platform.delivered().len() == 4).await.unwrap();
        assert_eq!(codes(&life.ask(ChannelRequest::PairingList).await).len(), 3);
        assert!(life.store.inbox_open().await.unwrap().is_empty());
        assert_eq!(life.store.pairings().await.unwrap().len(), 3);
        life.ask(ChannelRequest::PairingReject { code: codes(&life.ask(ChannelRequest::PairingList).await).remove(0) })
            .await;
        // There is room for another one now; and for three when the hour is over.
        world.platform.push(by(10_002, "x", "hi"));
        life.until("another code", || world.platform.delivered().len() == 5).await.unwrap();
        world.clock.jump(3_600_001);
        assert_eq!(codes(&life.ask(ChannelRequest::PairingList).await).len(), 0);
        for n in 3..=9 {
            world.platform.push(by(10_000 + n, &format!("y{n}"), "hi"));
        }
        life.until("three more", || world.platform.delivered().len() == 8).await.unwrap();
        life.pass(30_000).await;
        assert_eq!((world.platform.delivered().len(), life.store.pairings().await.unwrap().len()), (8, 3));
    });
    assert_eq!(world.parrot.texts(), ["hello"]);
}

#[test]
fn a_group_is_answered_when_it_names_the_assistant_and_only_to_those_who_may() {
    let config = "{ instances: { chat: { channel: { owner: ['1'], allow: ['2'] } } } }";
    let world = World::new(config);
    let all =
        [("1", true), ("1", false), ("2", true), ("2", false), ("9", true), ("bot", true), ("me", true), ("", true)];
    for (n, (sender, mention)) in all.into_iter().enumerate() {
        world.platform.push(in_group(n as u64 + 1, sender, mention));
    }
    world.live(async |life| {
        life.until("two answers", || world.platform.delivered().len() == 2).await.unwrap();
        life.pass(60_000).await;
        assert_eq!(codes(&life.ask(ChannelRequest::PairingList).await).len(), 0, "no codes in a group");
    });
    let turns = world.parrot.turns.lock().unwrap().clone();
    let group = "local/chat/main/group/g".to_owned();
    let said = |origin, n| (group.clone(), origin, format!("N{n}: hi"));
    assert_eq!(turns, [said(Origin::Owner, 1), said(Origin::GroupMember, 2)]);
}

#[test]
fn two_people_never_share_a_conversation_even_in_a_place_that_is_said_to_be_private() {
    let world = World::new("{ instances: { chat: { channel: { owner: ['1'], allow: ['2'], session: 'main' } } } }");
    for (n, sender) in [(1, "1"), (2, "2")] {
        world.platform.push(Update { sender: sender.into(), ..from_owner(n, "same", "hi") });
    }
    world.live(async |life| life.until("two turns", || world.parrot.texts().len() == 2).await.unwrap());
    let mut sessions: Vec<String> = world.parrot.turns.lock().unwrap().iter().map(|t| t.0.clone()).collect();
    sessions.sort();
    assert_eq!(sessions, ["local/chat/main/direct/2", "main"]);
}

#[test]
fn who_was_forgotten_with_a_component_is_a_stranger_when_it_comes_back() {
    let world = World::new("{}");
    world.platform.push(by(1, "5", "hi"));
    world.live(async |life| {
        life.until("a code", || !world.platform.delivered().is_empty()).await.unwrap();
        let code = codes(&life.ask(ChannelRequest::PairingList).await).remove(0);
        life.ask(ChannelRequest::PairingApprove { code, owner: true }).await;
        *world.platform.loaded.lock().unwrap() = false;
        world.platform.tell_change();
        life.idle().await;
        life.store.commit(carapace_store::Batch::new().forget_data("local/chat".parse().unwrap())).await.unwrap();
        *world.platform.loaded.lock().unwrap() = true;
        world.platform.tell_change();
        world.platform.push(by(2, "5", "me again"));
        life.until("another code", || world.platform.delivered().len() == 2).await.unwrap();
    });
    assert!(world.parrot.texts().is_empty());
}
