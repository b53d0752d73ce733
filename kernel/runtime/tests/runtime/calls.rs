//! Calls beside and after each other: permits, slots, stores, kept instances.

use crate::fixtures::wat;
use crate::support::{Subject, engines, provider, request, tool};
use carapace_contract::limits::Limits;
use carapace_runtime::bindings::provider::FailureKind;
use carapace_runtime::{
    Admission, Allocation, Class, EngineOptions, Engines, Entry, MAX_DEPTH, PermitOptions, PoolOptions, TrapKind, Warm,
};
use std::sync::Arc;
use std::time::Duration;

#[tokio::test]
async fn a_tool_answers_with_what_it_was_given() {
    let engines = engines();
    let subject = Subject::new(&engines, &tool(wat::ECHO, "", "")).await;
    assert_eq!(subject.run("{\"a\":1}").await.unwrap().unwrap(), "{\"a\":1}");
    let listed = subject.loaded.list_tools(subject.state(Entry::ListTools), Admission::new(Class::Tool)).await;
    assert!(listed.unwrap().is_empty());
    assert_eq!(subject.instance.meter().snapshot().calls, 2);
}

#[tokio::test]
async fn a_provider_speaks_through_the_kernel() {
    let engines = engines();
    let subject = Subject::new(&engines, &provider(wat::EMIT, "")).await;
    let admission = Admission::new(Class::Provider);
    let answer = subject.loaded.complete(subject.state(Entry::Provider), admission, request()).await;
    answer.unwrap().unwrap();
    assert_eq!(*subject.watch.emitted.lock().unwrap(), ["hello"]);
    let models = subject.loaded.models(subject.state(Entry::Provider), admission).await;
    assert!(models.unwrap().unwrap().is_empty());
}

#[tokio::test]
async fn what_is_not_exported_is_named() {
    let engines = engines();
    let subject = Subject::new(&engines, &provider(wat::EMIT, "")).await;
    let state = subject.state(Entry::Provider);
    let error = subject.loaded.list_tools(state, Admission::new(Class::Tool)).await.unwrap_err();
    assert_eq!(error.kind, TrapKind::NoExport);
    assert!(error.message.contains("does not export `tools`"), "{error}");
}

#[tokio::test]
async fn a_trap_poisons_only_its_own_store() {
    let engines = engines();
    let subject = Arc::new(Subject::new(&engines, &tool(wat::PANIC, "", "")).await);
    let echo = Arc::new(Subject::new(&engines, &tool(wat::ECHO, "", "")).await);
    let mut calls = tokio::task::JoinSet::new();
    for n in 0..40 {
        let (subject, echo) = (subject.clone(), echo.clone());
        calls.spawn(async move {
            if n % 2 == 0 {
                assert_eq!(subject.run("").await.unwrap_err().kind, TrapKind::Unreachable);
            } else {
                assert_eq!(echo.run("fine").await.unwrap().unwrap(), "fine");
            }
        });
    }
    while let Some(call) = calls.join_next().await {
        call.unwrap();
    }
    assert_eq!(subject.instance.meter().snapshot().traps.get("unreachable"), Some(&20));
}

#[tokio::test]
async fn an_import_that_panics_ends_only_the_call_that_made_it() {
    let engines = engines();
    let subject = Subject::new(&engines, &tool(wat::RANDOM, "", "")).await;
    let echo = Subject::new(&engines, &tool(wat::ECHO, "", "")).await;
    assert_eq!(subject.run("").await.unwrap_err().kind, TrapKind::Host);
    assert_eq!(echo.run("fine").await.unwrap().unwrap(), "fine");
}

#[tokio::test]
async fn calls_in_place_follow_each_other_in_one_task_and_have_the_limits_of_any_other() {
    let engines = tight();
    let echo = Subject::new(&engines, &tool(wat::ECHO, "", "")).await;
    let panics = Subject::new(&engines, &tool(wat::RANDOM, "", "")).await;
    let limits = Limits { cpu_ms_per_call: 600_000, wall_ms_per_call: 60, ..Limits::default() };
    let endless = Subject::limited(&engines, &tool(wat::LOOP, "", "[instance]\nprofile = \"cpu\"\n"), limits).await;
    let forever = Arc::new(Subject::new(&engines, &tool(wat::WAIT_FOR_EVER, "", "")).await);
    let in_place = Admission::new(Class::Tool).in_place();
    let waiting = Arc::clone(&forever);
    let task = engines.spawn(async move {
        let here = std::thread::current().name().map(str::to_owned);
        assert_eq!(here.as_deref(), Some("carapace-guest"));
        assert_eq!(echo.run_admitted("one", in_place).await.unwrap().unwrap(), "one");
        assert_eq!(panics.run_admitted("", in_place).await.unwrap_err().kind, TrapKind::Host);
        assert_eq!(endless.run_admitted("", in_place).await.unwrap_err().kind, TrapKind::Wall);
        assert_eq!(echo.run_admitted("two", in_place).await.unwrap().unwrap(), "two");
        let _ = waiting.run_admitted("", in_place).await;
    });
    forever.watch.entered.notified().await;
    assert_eq!(engines.pooled_memories(), Some(1));
    // Whoever gives the task up gives up the call in it.
    drop(task);
    let echo = Subject::new(&engines, &tool(wat::ECHO, "", "")).await;
    assert_eq!(echo.run("free again").await.unwrap().unwrap(), "free again");
}

/// A pool with hardly more slots than one call needs.
fn tight() -> Engines {
    let options = EngineOptions {
        pool: Some(PoolOptions { kept: 0, memories_per_store: 1, ..PoolOptions::default() }),
        permits: PermitOptions { ingress: 1, provider: 1, tool: 1, filter: 1, reserve: 1 },
        ..EngineOptions::default()
    };
    Engines::new(options).unwrap()
}

#[tokio::test]
async fn two_hundred_calls_leak_no_memory_slot() {
    let engines = tight();
    assert_eq!(*engines.allocation(), Allocation::Pooling);
    let echo = Subject::new(&engines, &tool(wat::ECHO, "", "")).await;
    let bomb = Subject::new(&engines, &tool(wat::MEMORY_BOMB, "", "")).await;
    for _ in 0..100 {
        assert_eq!(echo.run("x").await.unwrap().unwrap(), "x");
        assert_eq!(bomb.run("").await.unwrap_err().kind, TrapKind::Memory);
    }
    assert_eq!(engines.pooled_memories(), Some(0));
}

#[tokio::test]
async fn a_pool_that_does_not_fit_is_replaced_and_the_reason_is_named() {
    let pool = PoolOptions { kept: 1_000_000, ..PoolOptions::default() };
    let engines = Engines::new(EngineOptions { pool: Some(pool), ..EngineOptions::default() }).unwrap();
    let Allocation::OnDemand { reason } = engines.allocation() else { panic!("a pool of 8 PiB") };
    assert!(reason.contains("the pool could not be reserved"), "{reason}");
    let echo = Subject::new(&engines, &tool(wat::ECHO, "", "")).await;
    assert_eq!(echo.run("on demand").await.unwrap().unwrap(), "on demand");
}

#[tokio::test]
async fn waiting_for_a_permit_has_an_end() {
    let engines = tight();
    let waiting = Arc::new(Subject::new(&engines, &tool(wat::WAIT_FOR_EVER, "", "")).await);
    let holder = tokio::spawn({
        let waiting = waiting.clone();
        async move { waiting.run("").await }
    });
    waiting.watch.entered.notified().await;
    let echo = Subject::new(&engines, &tool(wat::ECHO, "", "")).await;
    let impatient = Admission::new(Class::Tool).waiting(Duration::ZERO);
    let error = echo.run_admitted("", impatient).await.unwrap_err();
    assert_eq!(error.kind, TrapKind::Busy);
    assert!(error.message.contains("class `tool`"), "{error}");
    // A nested call has a reserve of its own, and another class is not affected.
    assert_eq!(echo.run_admitted("nested", impatient.at_depth(1)).await.unwrap().unwrap(), "nested");
    let filter = Admission::new(Class::Filter).waiting(Duration::ZERO);
    assert_eq!(echo.run_admitted("filter", filter).await.unwrap().unwrap(), "filter");
    waiting.cancel.cancel();
    assert_eq!(holder.await.unwrap().unwrap_err().kind, TrapKind::Cancelled);
    assert_eq!(echo.run_admitted("free again", impatient).await.unwrap().unwrap(), "free again");
}

#[tokio::test]
async fn calls_nest_only_so_deep() {
    let engines = engines();
    let echo = Subject::new(&engines, &tool(wat::ECHO, "", "")).await;
    let deepest = Admission::new(Class::Tool).at_depth(MAX_DEPTH);
    assert!(echo.run_admitted("", deepest).await.is_ok());
    let error = echo.run_admitted("", deepest.at_depth(MAX_DEPTH + 1)).await.unwrap_err();
    assert_eq!(error.kind, TrapKind::Depth);
}

#[tokio::test]
async fn an_instance_has_at_most_its_calls_in_flight() {
    let engines = engines();
    let package = tool(wat::WAIT_FOR_EVER, "", "");
    let limits = Limits { concurrency: 1, ..Limits::default() };
    let subject = Arc::new(Subject::limited(&engines, &package, limits).await);
    let first = tokio::spawn({
        let subject = subject.clone();
        async move { subject.run("").await }
    });
    subject.watch.entered.notified().await;
    let error = subject.run_admitted("", Admission::new(Class::Tool).waiting(Duration::ZERO)).await.unwrap_err();
    assert_eq!(error.kind, TrapKind::Busy);
    assert!(error.fix.contains("concurrency: 2"), "{error}");
    subject.cancel.cancel();
    first.await.unwrap().unwrap_err();
}

#[tokio::test]
async fn dropping_the_call_stops_the_guest_and_frees_its_permit() {
    let engines = tight();
    let subject = Subject::new(&engines, &tool(wat::WAIT_FOR_EVER, "", "")).await;
    tokio::select! {
        answer = subject.run("") => panic!("it answered: {answer:?}"),
        () = subject.watch.entered.notified() => {}
    }
    // The only permit comes back once the store is gone.
    let echo = Subject::new(&engines, &tool(wat::ECHO, "", "")).await;
    assert_eq!(echo.run("next").await.unwrap().unwrap(), "next");
}

#[tokio::test]
async fn a_fresh_store_knows_nothing_of_the_last_call() {
    let engines = engines();
    let subject = Subject::new(&engines, &provider(wat::COUNT, "")).await;
    for _ in 0..3 {
        let admission = Admission::new(Class::Provider);
        let answer = subject.loaded.complete(subject.state(Entry::Provider), admission, request()).await.unwrap();
        let failure = answer.unwrap_err();
        assert_eq!((failure.message.as_str(), failure.retryable), ("first", true));
        assert!(matches!(failure.kind, FailureKind::Unavailable), "{:?}", failure.kind);
    }
}

#[tokio::test]
async fn a_kept_instance_remembers_until_it_traps() {
    let engines = engines();
    let subject = Subject::new(&engines, &provider(wat::COUNT, "[instance]\nlife = \"warm\"\n")).await;
    let warm = Warm::new(subject.loaded.clone());
    let call = || warm.complete(subject.state(Entry::Provider), Admission::new(Class::Provider), request());
    assert_eq!(call().await.unwrap().unwrap_err().message, "first");
    assert!(warm.is_warm().await);
    call().await.unwrap().unwrap();
    assert_eq!(call().await.unwrap_err().kind, TrapKind::Unreachable);
    assert!(!warm.is_warm().await);
    assert_eq!(call().await.unwrap().unwrap_err().message, "first");
}

#[tokio::test]
async fn a_kept_instance_that_stands_idle_is_unloaded_and_made_anew() {
    // The clock stands, and jumps to the next timer when nothing else is to be done: no second of this is waited for.
    async fn pass(seconds: u64) {
        tokio::time::pause();
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        tokio::time::resume();
    }
    let engines = engines();
    let package = provider(wat::COUNT, "[instance]\nlife = \"warm\"\n[limits]\nwarm-idle = \"5m\"\n");
    let subject = Subject::new(&engines, &package).await;
    let warm = Warm::new(subject.loaded.clone());
    let call = || warm.complete(subject.state(Entry::Provider), Admission::new(Class::Provider), request());
    assert_eq!(call().await.unwrap().unwrap_err().message, "first");
    pass(200).await;
    call().await.unwrap().unwrap();
    // The first call's timer has come by now, and does not count any more.
    pass(200).await;
    assert!(warm.is_warm().await);
    pass(110).await;
    assert!(!warm.is_warm().await);
    assert_eq!(call().await.unwrap().unwrap_err().message, "first");
}

#[tokio::test]
async fn the_memory_of_a_kept_instance_still_counts() {
    let engines = engines();
    // Three pages, and a little for the tables that every component has.
    let limits = Limits { memory: (3 * 64 + 1) << 10, ..Limits::default() };
    let package = provider(wat::GROW, "[instance]\nlife = \"warm\"\n");
    let subject = Subject::limited(&engines, &package, limits).await;
    let warm = Warm::new(subject.loaded.clone());
    let call = || warm.complete(subject.state(Entry::Provider), Admission::new(Class::Provider), request());
    call().await.unwrap().unwrap();
    call().await.unwrap().unwrap();
    assert_eq!(call().await.unwrap_err().kind, TrapKind::Memory);
    call().await.unwrap().unwrap();
}
