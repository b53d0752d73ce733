//! What the owner may ask.

use crate::platform::{chat, failure, from_owner};
use crate::world::{OWNER, World};
use carapace_contract::channel::ChannelFailureKind;
use carapace_contract::control::ChannelRequest;
use carapace_store::Ulid;

#[test]
fn a_test_of_a_channel_that_cannot_say_its_words_says_so() {
    let world = World::new(OWNER);
    world.platform.push(from_owner(1, "home", "here I am"));
    world.live(async |life| {
        life.until("the owner is known here", || world.platform.delivered().len() == 1).await.unwrap();
        let test = ChannelRequest::Test { instance: chat() };
        for kind in [ChannelFailureKind::Final, ChannelFailureKind::Broken] {
            world.platform.renders.lock().unwrap().push_back(failure(kind));
            let denial = life.courier.control(test.clone()).await.unwrap_err();
            assert_eq!((denial.code.as_str(), denial.fix.as_str()), ("E-CHANNEL-007", "see `carapace channels list`"));
            assert!(denial.message.contains("through `local/chat/main`"), "{denial}");
        }
        assert!(life.ask(test).await["part"].is_string());
        life.until("the test is there", || world.platform.delivered().len() == 2).await.unwrap();
    });
}

#[test]
fn what_there_is_not_is_said_with_the_command_that_shows_what_there_is() {
    let world = World::new(OWNER);
    world.live(async |life| {
        life.idle().await;
        let id = Ulid::generate();
        for (request, code) in [
            (ChannelRequest::Status { instance: "local/other/main".parse().unwrap() }, "E-CHANNEL-001"),
            (ChannelRequest::PairingApprove { code: "AAAA-AAAA".into(), owner: false }, "E-CHANNEL-002"),
            (ChannelRequest::PairingReject { code: "x".repeat(1_000) }, "E-CHANNEL-002"),
            (ChannelRequest::PairingRemove { instance: chat(), sender: "7".into() }, "E-CHANNEL-003"),
            (ChannelRequest::Test { instance: "local/other/main".parse().unwrap() }, "E-CHANNEL-001"),
            (ChannelRequest::OutboxShow { id }, "E-CHANNEL-004"),
            (ChannelRequest::OutboxRetry { id }, "E-CHANNEL-004"),
            (ChannelRequest::OutboxDrop { id }, "E-CHANNEL-004"),
            (ChannelRequest::EventReplay { id }, "E-CHANNEL-005"),
            (ChannelRequest::EventDrop { id }, "E-CHANNEL-005"),
        ] {
            let denial = life.courier.control(request.clone()).await.unwrap_err();
            assert_eq!(denial.code, code, "{request:?}");
            assert!(denial.fix.contains("carapace ") && denial.message.len() < 300, "{denial}");
        }
        let list = life.ask(ChannelRequest::List).await;
        assert_eq!(list[0], life.ask(ChannelRequest::Status { instance: chat() }).await);
        assert_eq!((&list[0]["instance"], &list[0]["state"]), (&"local/chat/main".into(), &"running".into()));
    });
}
