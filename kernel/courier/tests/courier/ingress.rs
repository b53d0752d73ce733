//! What comes in: polls, webhooks, timers, poison, swaps.

use crate::world::{OWNER, Update, World, chat, failure, from_owner};
use carapace_contract::Digest;
use carapace_contract::channel::{ChannelFailureKind, ChannelState};
use carapace_contract::control::ChannelRequest;

#[test]
fn a_message_is_answered_in_its_conversation() {
    let world = World::new(OWNER);
    world.platform.push(from_owner(1, "home", "hello"));
    world.live(async |life| {
        life.until("an answer", || !world.platform.delivered().is_empty()).await.unwrap();
        life.idle().await;
        let status = life.courier.statuses().await.unwrap();
        assert_eq!((status.len(), status[0].state, status[0].waiting), (1, ChannelState::Running, 0));
        assert!(life.courier.not_ready().is_empty());
    });
    let delivered = world.platform.delivered();
    assert_eq!((delivered[0].conversation.as_str(), delivered[0].text.as_str()), ("home", "re: hello"));
    assert_eq!(world.platform.lines("start"), ["start 0"]);
}
