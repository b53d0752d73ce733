//! Who answers when nobody is named: who was configured, and the fall-back if nobody was.

use crate::fixtures::{self, wat};
use crate::world::World;
use carapace_contract::InstanceId;
use carapace_contract::grant::Grant;
use carapace_contract::ports::Models;
use carapace_registry::testing;
use carapace_store::{Batch, SecretId};
use serde_json::{Value, json};

/// Needs a key or a server.
const CLOUD: &str = r#"default-model = "large"
[secrets.api-key]
prompt = "a key"
env = "CLOUD_API_KEY"
optional = true
[[http]]
endpoint = "api"
url = "https://api.cloud.example"
url-env = "CLOUD_BASE_URL"
auth = { scheme = "bearer", secret = "api-key" }
"#;
/// Needs nothing.
const SMALL: &str = "default-model = \"small\"\nfallback = true\n";

async fn add(world: &World, id: &str, more: &str, config: Value, endpoints: &[(&str, String)]) {
    let instance: InstanceId = id.parse().unwrap();
    let manifest = fixtures::provider_manifest(instance.name().as_str(), more);
    let package = testing::verified(fixtures::provider(wat::EMIT), &manifest);
    let grant = Grant {
        instance,
        digest: package.digest(),
        capabilities: package.capabilities().clone(),
        by: "owner, test".into(),
        at_ms: 0,
        revoked: false,
        refused: Default::default(),
    };
    world.load_with(package, grant, config, endpoints).await.unwrap();
}

/// A world with `cloud` and, as `afterwards`, the fall-back.
async fn filled(world: World) -> World {
    add(&world, "local/afterwards", SMALL, json!({}), &[]).await;
    add(&world, "local/cloud", CLOUD, json!({}), &[]).await;
    world
}

async fn route(world: &World) -> Vec<String> {
    world.host.route(None).await.unwrap().iter().map(ToString::to_string).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fall_back_answers_only_until_somebody_is_configured() {
    let world = filled(World::new()).await;
    assert_eq!(route(&world).await, ["afterwards/small"]);
    let key = SecretId::new("local/cloud".parse().unwrap(), "api-key".parse().unwrap());
    world.store.commit(Batch::new().secret_put(key, "a value long enough".into())).await.unwrap();
    assert_eq!(route(&world).await, ["cloud/large"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_or_a_server_in_the_environment_or_the_configuration_is_configuration() {
    let world = filled(World::with_environment(|name| (name == "CLOUD_API_KEY").then(|| "from outside".into()))).await;
    assert_eq!(route(&world).await, ["cloud/large"]);
    let here = |name: &str| (name == "CLOUD_BASE_URL").then(|| "http://127.0.0.1:9".into());
    let world = filled(World::with_environment(here)).await;
    assert_eq!(route(&world).await, ["cloud/large"]);

    let world = filled(World::new()).await;
    let pointed = [("api", "http://127.0.0.1:9".to_owned())];
    add(&world, "local/cloud/second", CLOUD, json!({}), &pointed).await;
    assert_eq!(route(&world).await, ["cloud:second/large"]);
    add(&world, "local/cloud", CLOUD, json!({"model": "own"}), &[]).await;
    assert_eq!(route(&world).await, ["cloud/own"], "in the order of their names");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_needs_neither_key_nor_server_is_always_ready_and_comes_before_the_fall_back() {
    let world = filled(World::new()).await;
    add(&world, "local/zero", "default-model = \"m\"\n", json!({}), &[]).await;
    assert_eq!(route(&world).await, ["zero/m"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configured_provider_that_fails_is_told_and_not_covered_by_a_weaker_model() {
    let world = World::with_environment(|name| (name == "CLOUD_API_KEY").then(|| "from outside".into()));
    add(&world, "local/afterwards", SMALL, json!({}), &[]).await;
    // It lists nothing and has no default.
    let unable = CLOUD.replace("default-model = \"large\"\n", "");
    add(&world, "local/cloud", &unable, json!({}), &[]).await;
    let denial = world.host.route(None).await.unwrap_err();
    assert_eq!(denial.code, "E-ROUTE-001");
    assert!(denial.message.contains("`local/cloud/main` lists no model"), "{denial}");
    assert_eq!(world.host.route(Some("afterwards/small")).await.unwrap().len(), 1, "who is named is asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_configured_is_told_with_what_would_configure_each() {
    let world = World::new();
    add(&world, "local/cloud", CLOUD, json!({}), &[]).await;
    let denial = world.host.route(None).await.unwrap_err();
    assert_eq!(
        (denial.code.as_str(), denial.message.as_str()),
        ("E-ROUTE-001", "no model can answer (no provider is configured)")
    );
    assert!(denial.fix.starts_with("set CLOUD_API_KEY or CLOUD_BASE_URL (for `cloud`)"), "{denial}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_configured_is_not_asked_what_there_is_unless_a_route_names_it() {
    let calls = |world: &World| {
        let of =
            |name: &str| world.host.statuses().iter().find(|s| s.instance.name().as_str() == name).unwrap().meter.calls;
        [of("afterwards"), of("cloud")]
    };
    let world = filled(World::new()).await;
    world.host.list().await;
    assert!(world.host.route(Some("large")).await.is_err());
    assert_eq!(calls(&world), [1, 0]);
    let world = filled(World::with_route(|_| None, vec!["cloud/other".into()])).await;
    world.host.list().await;
    assert_eq!(calls(&world), [1, 1]);
}
