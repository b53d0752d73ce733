//! The runtime's façade against the bare engine, in this process; compiling; stopping what does not stop.

use crate::fixtures::{self, wat};
use crate::report::{Report, Samples, timed};
use crate::support::{Subject, engines, provider, request, tool};
use carapace_registry::testing;
use carapace_runtime::bindings::tools;
use carapace_runtime::{
    Admission, AotCache, Class, Engines, Entry, Loaded, Loader, TrapKind, Warm, Worker, WorkerOptions,
};
use std::fmt::Write as _;
use std::sync::Arc;
use wasmtime::component::{Component, InstancePre, Linker};
use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store};

const CALLS: usize = 3_000;
const EXPRESSION: &str = r#"{"expression":"6*7"}"#;
/// Host calls of one guest call.
const CROSSINGS: u32 = 10_000;

pub(crate) async fn measure(report: &mut Report) {
    let engines = engines();
    fresh(report, &engines).await;
    warm(report, &engines).await;
    crossings(report, &engines).await;
    runaway(report, &engines).await;
    install(report, &engines).await;
}

/// The bundled `math` tool: what the manifest says stays, the component is the one that ships.
fn math() -> (Vec<u8>, String) {
    let package = std::fs::read(carapace_tests::bundle().join("math.wasm")).unwrap();
    let (_, manifest) = carapace_registry::package::read_manifest(&package).unwrap();
    (package, manifest)
}

/// A component on the engine alone: pooled, asynchronous, nothing metered, nothing interrupted, no limit.
struct Bare {
    engine: Engine,
    pre: InstancePre<()>,
    indices: tools::GuestIndices,
}

impl Bare {
    fn new(component: &[u8]) -> Self {
        let mut pool = PoolingAllocationConfig::new();
        pool.total_component_instances(64)
            .total_memories(64)
            .total_tables(256)
            .max_unused_warm_slots(32)
            .linear_memory_keep_resident(256 << 10)
            .table_keep_resident(64 << 10);
        let mut config = Config::new();
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool)).memory_init_cow(true);
        let engine = Engine::new(&config).unwrap();
        let component = Component::new(&engine, component).unwrap();
        let mut linker = Linker::new(&engine);
        linker.define_unknown_imports_as_traps(&component).unwrap();
        let pre = linker.instantiate_pre(&component).unwrap();
        let indices = tools::GuestIndices::new(&pre).unwrap();
        Self { engine, pre, indices }
    }

    async fn call(&self, tool: &str, arguments: &str) -> Vec<tools::Content> {
        let mut store = Store::new(&self.engine, ());
        let instance = self.pre.instantiate_async(&mut store).await.unwrap();
        let guest = self.indices.load(&mut store, &instance).unwrap();
        guest.call_call(&mut store, tool, arguments, &context()).await.unwrap().unwrap()
    }
}

fn context() -> tools::Context {
    tools::Context { call_id: "1".into(), session: "bench".into(), timezone: None, extra: Vec::new() }
}

/// One fresh store, instance and call, through the façade and on the engine alone, in turn.
async fn fresh(report: &mut Report, engines: &Engines) {
    let (package, manifest) = math();
    let bare = Arc::new(Bare::new(&package));
    let key = testing::key(0);
    let bundle = carapace_registry::package::sign(&package, &key).unwrap();
    assert!(manifest.contains("math_eval"));
    let verified = carapace_registry::verify(package, &bundle, &testing::trust("local", &key)).unwrap();
    let subject = Subject::new(engines, &verified).await;
    let sandboxed = async || {
        let state = subject.state(Entry::Tool("math_eval"));
        let admission = Admission::new(Class::Tool);
        subject
            .loaded
            .call_tool(state, admission, "math_eval".into(), EXPRESSION.into(), context())
            .await
            .unwrap()
            .unwrap()
    };
    let same = |a: &[tools::Content], b: &[tools::Content]| assert_eq!(format!("{a:?}"), format!("{b:?}"));
    same(&sandboxed().await, &bare.call("math_eval", EXPRESSION).await);
    let (mut ours, mut direct, mut spawned) = (Samples::default(), Samples::default(), Samples::default());
    for n in 0..CALLS + 200 {
        let (_, a) = timed(sandboxed()).await;
        let (_, b) = timed(bare.call("math_eval", EXPRESSION)).await;
        // The façade runs guests on threads of their own; so much of its price is the way there and back.
        let bare = bare.clone();
        // Inside the clock: the task begins when it is spawned, not when it is awaited.
        let (_, c) =
            timed(async { engines.spawn(async move { bare.call("math_eval", EXPRESSION).await }).await }).await;
        if n >= 200 {
            ours.add(a);
            direct.add(b);
            spawned.add(c);
        }
    }
    report.both("fresh tool call (math_eval), through the kernel", &ours, "us", None, None);
    report.both("fresh tool call (math_eval), bare engine on the same thread", &direct, "us", None, None);
    report.both("fresh tool call (math_eval), bare engine on a guest thread", &spawned, "us", None, None);
    report.put(
        "fresh tool call: kernel minus bare engine, median",
        ours.median() - direct.median(),
        "us",
        Some(60.0),
        CALLS,
    );
    report.put("fresh tool call: kernel minus bare engine, p99", ours.p99() - direct.p99(), "us", Some(300.0), CALLS);
    report.put("fresh tool call: kernel / bare engine, median", ours.median() / direct.median(), "x", None, CALLS);
}

/// A kept instance, called again.
async fn warm(report: &mut Report, engines: &Engines) {
    let subject = Subject::new(engines, &provider(wat::EMIT, "[instance]\nlife = \"warm\"\n")).await;
    let warm = Warm::new(subject.loaded.clone());
    let (mut kept, mut fresh) = (Samples::default(), Samples::default());
    for _ in 0..CALLS {
        let admission = Admission::new(Class::Provider);
        let (answer, took) =
            timed(async { warm.complete(subject.state(Entry::Provider), admission, request()).await }).await;
        answer.unwrap().unwrap();
        kept.add(took);
        let (answer, took) =
            timed(async { subject.loaded.complete(subject.state(Entry::Provider), admission, request()).await }).await;
        answer.unwrap().unwrap();
        fresh.add(took);
    }
    assert!(warm.is_warm().await);
    report.both("completion of one token, kept instance", &kept, "us", None, None);
    report.both("completion of one token, fresh instance", &fresh, "us", None, None);
}

/// What one call from the guest into the kernel costs.
async fn crossings(report: &mut Report, engines: &Engines) {
    let fields = |calls: u32| {
        format!(
            "(import \"carapace:plugin/clock@0.1.0-dev\" \"monotonic-ms\" (func $now (result i64)))
             (func $main (result i32)
               (local $n i32)
               (local.set $n (i32.const {calls}))
               (loop $again
                 (drop (call $now))
                 (local.set $n (i32.sub (local.get $n) (i32.const 1)))
                 (br_if $again (i32.gt_s (local.get $n) (i32.const 0))))
               (call $text (i32.const 1024) (i32.const 0)))"
        )
    };
    let once = Subject::new(engines, &tool(&fields(1), "", "")).await;
    let often = Subject::new(engines, &tool(&fields(CROSSINGS + 1), "", "")).await;
    let mut samples = Samples::default();
    for _ in 0..200 {
        let (_, one) = timed(once.run("")).await;
        let (answer, many) = timed(often.run("")).await;
        answer.unwrap().unwrap();
        samples.add_us((many.as_secs_f64() - one.as_secs_f64()) * 1e6 / f64::from(CROSSINGS));
    }
    report.put("one call from the guest into the kernel, median", samples.median(), "us", None, samples.n());
}

/// How long after its deadline something that never ends is over.
async fn runaway(report: &mut Report, engines: &Engines) {
    const WALL_MS: f64 = 100.0;
    let plenty = "[limits]\nfuel-per-call = 50_000_000_000\ncpu-per-call = \"60s\"\nwall-per-call = \"100ms\"\n";
    let subject = Subject::new(engines, &tool(wat::LOOP, "", plenty)).await;
    let mut late = Samples::default();
    for _ in 0..30 {
        let (answer, took) = timed(subject.run("")).await;
        assert_eq!(answer.unwrap_err().kind, TrapKind::Wall);
        late.add_us(took.as_secs_f64() * 1e6 - WALL_MS * 1e3);
    }
    report.both("a runaway is stopped after its deadline within", &late, "ms", None, Some(20.0));
}

/// A package of about this many bytes of code: loops, calls, memory, as compilers leave them.
fn large(bytes: usize) -> Vec<u8> {
    let mut fields = String::new();
    // One function is about 150 bytes in the binary format.
    let functions = bytes / 150;
    for f in 0..functions {
        let callee = if f == 0 {
            String::from("(local.get $a)")
        } else {
            format!("(call $f{} (local.get $a) (local.get $n))", f - 1)
        };
        writeln!(fields, "(func $f{f} (param $n i32) (param $a i32) (result i32) (local $i i32) (local $b i64)")
            .unwrap();
        write!(
            fields,
            "(if (i32.le_s (local.get $n) (i32.const {f})) (then (return (local.get $a))))
             (local.set $b (i64.extend_i32_u (i32.xor (local.get $a) (i32.const {}))))
             (loop $l
               (local.set $b (i64.add (i64.mul (local.get $b) (i64.const {})) (i64.rotl (local.get $b) (i64.const {}))))
               (i32.store offset=16384 (i32.and (i32.wrap_i64 (local.get $b)) (i32.const 4092)) (local.get $i))
               (local.set $a (i32.add (local.get $a) (i32.load offset=16384 (i32.and (local.get $a) (i32.const 4092)))))
               (local.set $i (i32.add (local.get $i) (i32.const 1)))
               (br_if $l (i32.lt_u (local.get $i) (i32.and (local.get $n) (i32.const 7)))))
             (if (i32.and (i32.wrap_i64 (local.get $b)) (i32.const 1))
               (then (local.set $a {callee})) (else (local.set $a (i32.sub (local.get $a) (i32.wrap_i64 (local.get $b))))))
             (i32.add (local.get $a) (i32.wrap_i64 (i64.shr_u (local.get $b) (i64.const {})))))\n",
            f.wrapping_mul(0x9e37_79b9) & 0x7fff_ffff,
            f * 7919 + 1,
            f % 63,
            f % 31,
        )
        .unwrap();
    }
    write!(fields, "(func $main (result i32) (drop (call $f{} (i32.const 1) (i32.const 2))) (call $text (i32.const 1024) (i32.const 0)))", functions - 1)
        .unwrap();
    fixtures::tool(&fields)
}

/// From the file to a component that can be called: verify, compile in the confined worker, keep, map.
async fn install(report: &mut Report, engines: &Engines) {
    let mut made = large(1_000_000);
    let per_byte = 1_000_000.0 / made.len() as f64;
    made = large((1_000_000.0 * per_byte) as usize);
    report.put("size of the large component", made.len() as f64 / 1e6, "MB", None, 1);
    let key = testing::key(0);
    let (package, bundle) = testing::package(made, &fixtures::tool_manifest("large", "", ""), &key);
    let trust = testing::trust("local", &key);
    let worker = Arc::new(Worker::new(carapace_tests::binary(), WorkerOptions::default()));
    let (mut whole, mut cached) = (Samples::default(), Samples::default());
    for _ in 0..5 {
        let state = tempfile::tempdir().unwrap();
        let cache = Arc::new(AotCache::open(state.path()).unwrap());
        let loader = Loader::new(engines, worker.clone(), Some(cache));
        let bytes = package.clone();
        let (verified, took) = timed(async {
            let verified = carapace_registry::verify(bytes, &bundle, &trust).unwrap();
            let _: Arc<Loaded<crate::support::State>> = loader.load(&verified).await.unwrap();
            verified
        })
        .await;
        whole.add(took);
        for _ in 0..10 {
            let (_, took) = timed(async {
                let _: Arc<Loaded<crate::support::State>> = loader.load(&verified).await.unwrap();
            })
            .await;
            cached.add(took);
        }
    }
    report.put(
        "verify, compile and load a component of 1 MB, median",
        whole.median() / 1e3,
        "ms",
        Some(1_000.0),
        whole.n(),
    );
    report.put("load it from the cache, median", cached.median() / 1e3, "ms", None, cached.n());
}
