//! Every way to run away ends in an error that names the limit, and the next component still answers.

use crate::fixtures::wat;
use crate::support::{Subject, engines, tool};
use carapace_contract::limits::Limits;
use carapace_runtime::{CallError, EngineOptions, Engines, Ticks, TrapKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

/// Runs a hostile tool, then a plain one beside it, and gives back how the first ended.
async fn hostile(fields: &str, uses: &str, more: &str, limits: Limits) -> (CallError, Subject) {
    let engines = engines();
    let bad = Subject::limited(&engines, &tool(fields, uses, more), limits).await;
    let good = Subject::new(&engines, &tool(wat::ECHO, "", "")).await;
    let error = bad.run("{}").await.expect_err("it ran away");
    assert_eq!(good.run("still here").await.unwrap().unwrap(), "still here");
    assert_eq!(bad.instance.meter().snapshot().traps.get(error.kind.as_str()), Some(&1));
    assert!(error.message.contains("local/fixture/main"), "{error}");
    (error, bad)
}

#[tokio::test]
async fn an_endless_loop_runs_out_of_fuel() {
    let limits = Limits { fuel_per_call: 1_000_000, ..Limits::default() };
    let (error, bad) = hostile(wat::LOOP, "", "", limits).await;
    assert_eq!(error.kind, TrapKind::OutOfFuel);
    assert!(error.to_string().contains("fuel limit 1000000 per call used up [E-RUNTIME-002]"), "{error}");
    assert!(error.fix.contains("fuelPerCall: 2000000"), "{error}");
    assert!(bad.instance.meter().snapshot().fuel >= 1_000_000);
}

#[tokio::test]
async fn an_endless_loop_without_fuel_runs_out_of_cpu_time() {
    let limits = Limits { cpu_ms_per_call: 50, ..Limits::default() };
    let (error, bad) = hostile(wat::LOOP, "", "[instance]\nprofile = \"cpu\"\n", limits).await;
    assert_eq!(error.kind, TrapKind::Cpu);
    assert!(error.to_string().contains("CPU limit 50 ms per call exceeded [E-RUNTIME-003]"), "{error}");
    assert_eq!(bad.instance.meter().snapshot().cpu_ticks, 6);
}

#[tokio::test]
async fn an_endless_loop_with_cpu_time_to_spare_ends_with_the_wall_clock() {
    let limits = Limits { cpu_ms_per_call: 600_000, wall_ms_per_call: 60, ..Limits::default() };
    let (error, _) = hostile(wat::LOOP, "", "[instance]\nprofile = \"cpu\"\n", limits).await;
    assert_eq!(error.kind, TrapKind::Wall);
    assert!(error.to_string().contains("wall time limit 60 ms per call exceeded"), "{error}");
    assert!(error.kind.is_temporary());
}

#[tokio::test]
async fn a_host_call_that_never_answers_ends_with_the_wall_clock() {
    let limits = Limits { wall_ms_per_call: 40, ..Limits::default() };
    let (error, bad) = hostile(wat::WAIT_FOR_EVER, "", "", limits).await;
    assert_eq!(error.kind, TrapKind::Wall);
    assert_eq!(bad.instance.meter().snapshot().host_calls, 1);
}

#[tokio::test]
async fn a_memory_bomb_is_stopped_at_its_limit() {
    let (error, bad) = hostile(wat::MEMORY_BOMB, "", "", Limits::default()).await;
    assert_eq!(error.kind, TrapKind::Memory);
    assert!(error.to_string().contains("memory limit 32 MiB exceeded [E-RUNTIME-005]"), "{error}");
    assert!(error.fix.contains("memory: 67108864"), "{error}");
    assert!(bad.instance.meter().snapshot().peak_memory <= 32 << 20);
}

#[tokio::test]
async fn a_table_bomb_counts_as_memory() {
    let limits = Limits { memory: 1 << 20, ..Limits::default() };
    let (error, _) = hostile(wat::TABLE_BOMB, "", "[instance]\nprofile = \"cpu\"\n", limits).await;
    assert_eq!(error.kind, TrapKind::Memory);
    let (error, _) = hostile(wat::TABLE_BOMB, "", "", Limits { memory: 256 << 10, ..Limits::default() }).await;
    assert_eq!(error.kind, TrapKind::Memory);
}

#[tokio::test]
async fn deep_recursion_overflows_the_guests_stack_and_nothing_else() {
    let (error, _) = hostile(wat::RECURSION, "", "", Limits::default()).await;
    assert_eq!(error.kind, TrapKind::StackOverflow);
}

#[tokio::test]
async fn a_panic_is_named() {
    let (error, _) = hostile(wat::PANIC, "", "", Limits::default()).await;
    assert_eq!(error.kind, TrapKind::Unreachable);
    assert!(error.message.contains("tool `run` of local/fixture/main: the component gave up"), "{error}");
}

#[tokio::test]
async fn reading_outside_of_memory_is_a_fault() {
    let (error, _) = hostile(wat::OUT_OF_BOUNDS, "", "", Limits::default()).await;
    assert_eq!(error.kind, TrapKind::Fault);
}

#[tokio::test]
async fn a_flood_of_handles_is_stopped_at_its_limit() {
    let endpoint = "[[http]]\nendpoint = \"api\"\nurl = \"https://example.com\"\n";
    let (error, bad) = hostile(wat::HANDLE_FLOOD, "\"http:api\"", endpoint, Limits::default()).await;
    assert_eq!(error.kind, TrapKind::Handles);
    assert!(error.to_string().contains("handle limit 256 exceeded"), "{error}");
    assert!(bad.instance.meter().snapshot().host_calls <= 257);
}

#[tokio::test]
async fn a_giant_result_is_not_even_copied() {
    let (error, _) = hostile(wat::GIANT_RESULT, "", "", Limits::default()).await;
    assert_eq!(error.kind, TrapKind::HostCallBytes);
}

#[tokio::test]
async fn a_large_result_is_refused_by_size() {
    let limits = Limits { result_bytes: 999_999, ..Limits::default() };
    let (error, _) = hostile(wat::LARGE_RESULT, "", "", limits).await;
    assert_eq!(error.kind, TrapKind::ResultBytes);
    assert!(error.fix.contains("resultBytes: 1999998"), "{error}");
    let engines = engines();
    let allowed = Subject::new(&engines, &tool(wat::LARGE_RESULT, "", "")).await;
    assert_eq!(allowed.run("").await.unwrap().unwrap().len(), 1_000_000);
}

#[tokio::test]
async fn a_giant_host_call_argument_is_not_even_copied() {
    let (error, bad) = hostile(wat::GIANT_ARGUMENT, "", "", Limits::default()).await;
    assert_eq!(error.kind, TrapKind::HostCallBytes);
    assert!(error.to_string().contains("8 MiB"), "{error}");
    assert!(bad.watch.logged.lock().unwrap().is_empty());
}

#[tokio::test]
async fn host_calls_are_counted() {
    let limits = Limits { host_calls_per_call: 100, ..Limits::default() };
    let (error, bad) = hostile(wat::CHATTER, "", "", limits).await;
    assert_eq!(error.kind, TrapKind::HostCalls);
    assert_eq!(bad.watch.logged.lock().unwrap().len(), 100);
}

/// Engines whose ticks come from a thread that ticks without pause until it is dropped: time without a clock.
struct Ticking(Arc<AtomicBool>, Option<std::thread::JoinHandle<()>>);

impl Ticking {
    fn start(engines: &Engines) -> Self {
        let (stop, engines) = (Arc::new(AtomicBool::new(false)), engines.clone());
        let inner = stop.clone();
        let thread = std::thread::spawn(move || {
            while !inner.load(SeqCst) {
                engines.tick();
                std::thread::yield_now();
            }
        });
        Self(stop, Some(thread))
    }
}

impl Drop for Ticking {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
        self.1.take().unwrap().join().unwrap();
    }
}

fn engines_by_hand() -> Engines {
    Engines::new(EngineOptions { ticks: Ticks::ByHand, ..EngineOptions::default() }).unwrap()
}

#[tokio::test]
async fn time_waited_in_the_kernel_is_not_cpu_time_and_spinning_afterwards_is() {
    let engines = engines_by_hand();
    let package = tool(wat::WAIT_THEN_LOOP, "", "[instance]\nprofile = \"cpu\"\n");
    let limits = Limits { cpu_ms_per_call: 100, ..Limits::default() };
    let subject = Arc::new(Subject::limited(&engines, &package, limits).await);
    let call = tokio::spawn({
        let subject = subject.clone();
        async move { subject.run("").await }
    });
    subject.watch.entered.notified().await;
    for _ in 0..10_000 {
        engines.tick();
    }
    assert_eq!(subject.instance.meter().snapshot().cpu_ticks, 0);
    subject.watch.release.notify_one();
    let ticking = Ticking::start(&engines);
    let error = call.await.unwrap().unwrap_err();
    drop(ticking);
    assert_eq!(error.kind, TrapKind::Cpu);
    assert_eq!(subject.instance.meter().snapshot().cpu_ticks, 11);
}

#[tokio::test]
async fn many_waits_in_a_row_cost_no_cpu_time() {
    let engines = engines_by_hand();
    let package = tool(wat::MANY_WAITS, "", "[instance]\nprofile = \"cpu\"\n");
    let limits = Limits { cpu_ms_per_call: 10, ..Limits::default() };
    let subject = Arc::new(Subject::limited(&engines, &package, limits).await);
    let call = tokio::spawn({
        let subject = subject.clone();
        async move { subject.run("done").await }
    });
    for _ in 0..100 {
        subject.watch.entered.notified().await;
        engines.tick();
        engines.tick();
        subject.watch.release.notify_one();
    }
    assert_eq!(call.await.unwrap().unwrap().unwrap(), "done");
    assert_eq!(subject.instance.meter().snapshot().cpu_ticks, 0);
}

#[tokio::test]
async fn a_cancelled_loop_ends_at_the_next_tick() {
    let engines = engines_by_hand();
    let package = tool(wat::ANNOUNCED_LOOP, "", "[instance]\nprofile = \"cpu\"\n");
    let subject = Arc::new(Subject::new(&engines, &package).await);
    let call = tokio::spawn({
        let subject = subject.clone();
        async move { subject.run("").await }
    });
    subject.watch.entered.notified().await;
    subject.cancel.cancel();
    engines.tick();
    let error = call.await.unwrap().unwrap_err();
    assert_eq!(error.kind, TrapKind::Cancelled);
    assert!(subject.instance.meter().snapshot().cpu_ticks <= 1);
}

#[tokio::test]
async fn a_cancelled_wait_ends_without_a_tick() {
    let engines = engines_by_hand();
    let subject = Arc::new(Subject::new(&engines, &tool(wat::WAIT_FOR_EVER, "", "")).await);
    let call = tokio::spawn({
        let subject = subject.clone();
        async move { subject.run("").await }
    });
    subject.watch.entered.notified().await;
    subject.cancel.cancel();
    assert_eq!(call.await.unwrap().unwrap_err().kind, TrapKind::Cancelled);
}
