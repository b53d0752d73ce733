//! One version follows another while calls come in.

use crate::fixtures::wat;
use crate::world::{World, granted, id, tool};
use carapace_contract::decision::{Circumstances, Origin, PlannedCall, Verdict, authorize};
use carapace_contract::ports::{ToolFailure, ToolOutput, Tools};
use carapace_contract::turn::ToolInfo;
use carapace_host::{InstanceSpec, PROBATION, PROBATION_BROKEN};
use carapace_registry::VerifiedPackage;
use serde_json::json;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

fn spec(package: VerifiedPackage) -> InstanceSpec {
    let grant = granted(&package);
    InstanceSpec {
        id: id(),
        limits: grant.capabilities.limits,
        package: Arc::new(package),
        grant,
        endpoints: Default::default(),
        public_allow: Default::default(),
        directories: Default::default(),
        config: json!({}),
    }
}

/// Calls a tool as it was on offer when the call was planned.
async fn call(world: &World, tool: &ToolInfo) -> Result<ToolOutput, ToolFailure> {
    let call = PlannedCall {
        run: ulid::Ulid::nil(),
        session: "s".into(),
        call_id: "c".into(),
        instance: tool.instance.clone(),
        digest: tool.digest,
        tool: tool.name.clone(),
        arguments: json!({"said": "hello"}),
        effects: tool.effects,
        origin: Origin::Owner,
        tainted: false,
        place: None,
        elsewhere: false,
    };
    let Verdict::Allow(call) = authorize(call, &Circumstances { trusted_text: Vec::new() }) else {
        panic!("the checkpoint lets this pass")
    };
    Tools::call(&*world.host, &call, CancellationToken::new()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_was_planned_for_the_old_code_is_answered_by_it_unless_it_was_revoked() {
    let world = World::new();
    world.host.load(spec(tool(wat::ECHO, "", ""))).await.unwrap();
    let before = world.host.catalog()[0].clone();
    call(&world, &before).await.unwrap();
    world.host.load(spec(tool(wat::PANIC, "", ""))).await.unwrap();
    let after = world.host.catalog()[0].clone();
    assert_ne!(before.digest, after.digest);
    call(&world, &before).await.expect("the old code answers what was planned for it");
    assert_eq!(call(&world, &after).await.unwrap_err().kind, "trap");
    assert_eq!(world.host.statuses()[0].meter.calls, 5, "two lists, three calls: one instance, one meter");
    world.host.set_revoked(&id(), true);
    assert_eq!(call(&world, &before).await.unwrap_err().kind, "denied");
    world.host.set_revoked(&id(), false);
    assert_eq!(call(&world, &before).await.unwrap_err().kind, "denied", "what was replaced gets nothing back");
    assert_eq!(call(&world, &after).await.unwrap_err().kind, "trap");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_come_up_leaves_what_runs_as_it_was() {
    let world = World::new();
    world.host.load(spec(tool(wat::ECHO, "", ""))).await.unwrap();
    let before = world.host.catalog();
    // It lists no tool that its manifest has.
    let broken = tool(wat::ECHO, "", "[[tool]]\nname = \"other\"\n");
    let prepared = world.host.prepare(vec![spec(broken)], None).await.unwrap();
    drop(prepared);
    assert_eq!((world.host.catalog(), world.host.packages().len()), (before.clone(), 1));
    call(&world, &before[0]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_on_probation_that_breaks_is_told_of_once_and_one_that_is_not_never() {
    let world = World::new();
    let mut relapses = world.host.relapses().unwrap();
    assert!(world.host.relapses().is_none());
    world.host.load(spec(tool(wat::PANIC, "", ""))).await.unwrap();
    let plain = world.host.catalog()[0].clone();
    for _ in 0..=PROBATION_BROKEN {
        call(&world, &plain).await.unwrap_err();
    }
    let package = tool(wat::PANIC, "", "[limits]\nmemory = \"2MiB\"\n");
    let prepared = world.host.prepare(vec![spec(package)], Some(PROBATION)).await.unwrap();
    world.host.swap(prepared);
    let watched = world.host.catalog()[0].clone();
    for _ in 0..PROBATION_BROKEN + 2 {
        call(&world, &watched).await.unwrap_err();
    }
    let relapse = relapses.try_recv().unwrap();
    assert_eq!((relapse.instance, relapse.digest, relapse.broken), (id(), watched.digest, true));
    assert!(relapse.why.contains("[E-RUNTIME-001]"), "{}", relapse.why);
    assert!(relapses.try_recv().is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_runs_into_its_limits_is_not_taken_for_a_broken_one() {
    let world = World::new();
    let mut relapses = world.host.relapses().unwrap();
    let package = tool(wat::LOOP, "", "[limits]\nfuel-per-call = 100_000\n");
    let prepared = world.host.prepare(vec![spec(package)], Some(PROBATION)).await.unwrap();
    world.host.swap(prepared);
    let watched = world.host.catalog()[0].clone();
    for _ in 0..PROBATION_BROKEN + 2 {
        call(&world, &watched).await.unwrap_err();
    }
    let relapse = relapses.try_recv().unwrap();
    assert!(!relapse.broken && relapse.why.contains("[E-RUNTIME-002]"), "{relapse:?}");
    assert!(relapses.try_recv().is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_replaced_is_ended_too_when_it_must_not_run_and_the_instance_goes_on() {
    let world = World::new();
    let limits = "[limits]\nfuel-per-call = 50_000_000_000\ncpu-per-call = \"120s\"\nwall-per-call = \"900s\"\n";
    world.host.load(spec(tool(wat::LOOP, "", limits))).await.unwrap();
    let before = world.host.catalog()[0].clone();
    let running = call(&world, &before);
    let denied = async {
        while world.host.statuses()[0].meter.calls < 2 {
            tokio::task::yield_now().await;
        }
        world.host.load(spec(tool(wat::ECHO, "", limits))).await.unwrap();
        let list = |package: &VerifiedPackage| match package.digest() == before.digest {
            true => Err(carapace_contract::Denial::new("E-TRUST-011", "the deny-list names it", "")),
            false => Ok(()),
        };
        let ended = world.host.recheck(list);
        assert_eq!(ended.len(), 1);
        assert!(ended[0].replaced && ended[0].digest == before.digest, "{ended:?}");
        assert_eq!(world.host.recheck(list), [], "it is gone");
    };
    let (answer, ()) = tokio::join!(running, denied);
    let failure = answer.unwrap_err();
    assert!(failure.kind == "denied" && failure.message.contains("the deny-list names it"), "{failure}");
    let after = world.host.catalog()[0].clone();
    call(&world, &after).await.expect("the version that replaced it goes on");
    assert_eq!(
        call(&world, &before).await.unwrap_err().kind,
        "unavailable",
        "nothing planned for it is answered by it"
    );
}
