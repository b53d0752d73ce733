//! A component learns whether a secret is there, and nothing more.

use crate::world::{World, grant, granted, id, tool};
use carapace_contract::capability::SecretCapability;
use carapace_contract::message::Part;
use carapace_registry::VerifiedPackage;
use carapace_store::{Batch, SecretId};
use serde_json::json;

/// Says whether the secret `key` exists, or hands on the refusal.
const EXISTS: &str = r#"
(import "carapace:plugin/secrets@0.1.0-dev" "exists" (func $exists (param i32 i32 i32)))
(func $main (result i32)
  (call $exists (i32.const 1024) (i32.const 3) (i32.const 0))
  (if (i32.load8_u (i32.const 0))
    (then (return (call $denied (i32.load (i32.const 8)) (i32.load (i32.const 12))))))
  (if (i32.load8_u (i32.const 4)) (then (return (call $text (i32.const 1027) (i32.const 3)))))
  (call $text (i32.const 1030) (i32.const 2)))
(data (i32.const 1024) "keyyesno")"#;

fn package() -> VerifiedPackage {
    tool(
        EXISTS,
        "\"secrets\"",
        "[secrets.key]\nprompt = \"a key\"\nenv = \"FIXTURE_KEY\"\nhmac = true\noptional = true\n",
    )
}

async fn answer(world: &World) -> Result<String, String> {
    let output = world.call(json!({})).await.map_err(|e| format!("{}: {}", e.kind, e.message))?;
    match output.content.as_slice() {
        [Part::Text { text }] => Ok(text.clone()),
        other => panic!("not one text: {other:?}"),
    }
}

async fn store_key(world: &World) {
    let batch = Batch::new().secret_put(SecretId::new(id(), "key".parse().unwrap()), "a value long enough".into());
    world.store.commit(batch).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_there_when_it_is_stored_or_in_the_variable_that_was_granted() {
    let world = World::new();
    world.load(package(), granted(&package())).await.unwrap();
    assert_eq!(answer(&world).await.unwrap(), "no");
    store_key(&world).await;
    assert_eq!(answer(&world).await.unwrap(), "yes");

    let world = World::with_environment(|name| (name == "FIXTURE_KEY").then(|| "from outside".to_owned()));
    world.load(package(), granted(&package())).await.unwrap();
    assert_eq!(answer(&world).await.unwrap(), "yes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_granted_variable_speaks_for_the_instance_main_and_for_no_other() {
    let world = World::with_environment(|_| Some("from outside".to_owned()));
    let mut second = granted(&package());
    second.instance = "local/fixture/second".parse().unwrap();
    world.load(package(), second).await.unwrap();
    assert_eq!(answer(&world).await.unwrap(), "no");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_variable_that_was_not_granted_is_not_read() {
    let world = World::with_environment(|name| panic!("{name} was read"));
    let mut narrow = package().capabilities().clone();
    narrow.secrets.insert("key".parse().unwrap(), SecretCapability { env: None, hmac: true });
    world.load(package(), grant(&package(), narrow)).await.unwrap();
    assert_eq!(answer(&world).await.unwrap(), "no");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_secret_is_denied_even_if_it_is_stored() {
    let world = World::new();
    store_key(&world).await;
    let narrow = package().capabilities().without_optional(&["secret:key".to_owned()]);
    world.load(package(), grant(&package(), narrow)).await.unwrap();
    let refusal = answer(&world).await.unwrap_err();
    assert!(refusal.starts_with("denied:") && refusal.contains("carapace plugin grant"), "{refusal}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_cannot_be_opened_is_not_called_missing() {
    let world = World::new();
    store_key(&world).await;
    let world = world.reopened("another password").await;
    world.load(package(), granted(&package())).await.unwrap();
    let refusal = answer(&world).await.unwrap_err();
    assert!(refusal.starts_with("denied:") && refusal.contains("CARAPACE_PASSWORD"), "{refusal}");
}
