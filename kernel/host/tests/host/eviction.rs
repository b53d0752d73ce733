//! What is thrown out stops at once; what nobody listens to stops, too.

use crate::fixtures::wat;
use crate::world::{World, granted, id, provider, tool};
use carapace_contract::Denial;
use carapace_contract::completion::FailureKind;
use carapace_contract::ports::Tools;
use serde_json::json;

/// Emits text for ever, whatever it is told.
const TALKS: &str = include_str!("../../../../tests/fixtures/talks.wat");
/// Enough for the guest never to meet a limit of its own within the test.
const PLENTY: &str = "[limits]\nfuel-per-call = 50_000_000_000\ncpu-per-call = \"120s\"\nwall-per-call = \"900s\"\nhost-calls-per-call = 10_000_000\n";

fn why() -> Denial {
    Denial::new("E-TRUST-011", "the deny-list names it", "")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_running_ends_when_its_instance_is_thrown_out() {
    let world = World::new();
    let package = tool(wat::LOOP, "", PLENTY);
    let given = granted(&package);
    world.load(package, given).await.unwrap();
    let call = world.call(json!({}));
    let evicted = async {
        // The call has begun when its meter says so.
        while world.host.statuses()[0].meter.calls < 2 {
            tokio::task::yield_now().await;
        }
        assert!(world.host.evict(&id(), why()));
    };
    let (answer, ()) = tokio::join!(call, evicted);
    let failure = answer.unwrap_err();
    assert_eq!(failure.kind, "denied");
    assert!(failure.message.contains("the deny-list names it"), "{failure}");
    assert!(world.host.packages().is_empty() && world.host.catalog().is_empty());
    assert!(!world.host.evict(&id(), why()), "it is gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_thrown_out_stops_talking() {
    let world = World::new();
    let package = provider(TALKS);
    let given = granted(&package);
    world.load(package, given).await.unwrap();
    let (mut source, running) = world.complete(1);
    source.recv().await.expect("it talks");
    world.host.evict(&id(), why());
    let failure = running.await.unwrap().unwrap_err();
    assert!(failure.message.contains("the deny-list names it") && !failure.retryable, "{failure}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_takes_no_notice_is_stopped_when_nobody_reads_any_more() {
    let world = World::new();
    let package = provider(TALKS);
    let given = granted(&package);
    world.load(package, given).await.unwrap();
    let (mut source, running) = world.complete(1);
    source.recv().await.expect("it talks");
    drop(source);
    assert_eq!(running.await.unwrap().unwrap_err().kind, FailureKind::Cancelled);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_provider_is_refused_in_mid_sentence() {
    let world = World::new();
    let package = provider(TALKS);
    let given = granted(&package);
    world.load(package, given).await.unwrap();
    let (mut source, running) = world.complete(1);
    source.recv().await.expect("it talks");
    world.host.set_revoked(&id(), true);
    // What was on its way arrives; then only refusals, which the guest counts against its own limits.
    while !world.host.statuses()[0].meter.denials.contains_key("E-GRANT-001") {
        if source.try_recv().is_err() {
            tokio::task::yield_now().await;
        }
    }
    running.abort();
}
