//! What is known of models without asking, and whom the owner's own choice reaches.

use crate::fixtures::wat;
use crate::world::{World, granted, provider, provider_with};
use carapace_contract::ports::Models;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn the_owners_choice_of_a_model_is_taken_although_the_server_does_not_list_it() {
    let world = World::new();
    let package = provider(wat::EMIT);
    let given = granted(&package);
    world.load_with(package, given, json!({"model": "of-my-own"}), &[]).await.unwrap();
    let route = world.host.route(None).await.unwrap();
    assert_eq!(route[0].to_string(), "fixture/of-my-own");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_known_of_models_is_said_without_asking_anybody() {
    let world = World::new();
    let package = provider(wat::EMIT);
    let given = granted(&package);
    world.load(package, given).await.unwrap();
    assert_eq!(world.host.statuses()[0].meter.calls, 0);
    // No future: there is nothing in it that could wait.
    assert!(world.host.known_models().is_empty());
    // It is asked behind the answer.
    while world.host.statuses()[0].meter.calls == 0 {
        tokio::task::yield_now().await;
    }
}

/// What two completions after each other end with: the fixture fails the first time its memory is used.
async fn two_completions(world: &World) -> [bool; 2] {
    let mut good = [false; 2];
    for good in &mut good {
        let (_source, running) = world.complete(4);
        *good = running.await.unwrap().is_ok();
    }
    good
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_keeps_its_memory_only_if_warm_life_was_granted() {
    let world = World::new();
    let package = provider_with(wat::COUNT, "[instance]\nlife = \"warm\"\n");
    world.load(package.clone(), granted(&package)).await.unwrap();
    assert_eq!(two_completions(&world).await, [false, true]);

    let package = provider(wat::COUNT);
    world.load(package.clone(), granted(&package)).await.unwrap();
    assert_eq!(two_completions(&world).await, [false, false]);
}
