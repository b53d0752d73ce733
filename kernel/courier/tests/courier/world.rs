//! Lives of a kernel between a platform and an assistant.

use crate::parrot::{Ears, Parrot};
use crate::platform::{Component, Platform, Update};
use crate::sim::{Plug, SimClock};
use carapace_config::{Config, ConfigHandle, NoEnv};
use carapace_contract::channel::{HttpAnswer, WebhookRequest};
use carapace_contract::control::ChannelRequest;
use carapace_contract::ports::{Assistant, Lines, Webhooks};
use carapace_courier::{Clock, Courier, Deps};
use carapace_store::{Batch, Clock as StoreClock, Store, StoreOptions, Unlocker};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use tokio::sync::watch;

/// Everything that outlives a kernel.
pub(crate) struct World {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) platform: Arc<Platform>,
    pub(crate) parrot: Arc<Parrot>,
    pub(crate) clock: Arc<SimClock>,
    pub(crate) plug: Arc<Plug>,
    pub(crate) config: String,
}

/// One life of a kernel.
pub(crate) struct Life {
    pub(crate) store: Store,
    pub(crate) courier: Arc<Courier>,
    pub(crate) config: Arc<ConfigHandle>,
    activity: Arc<AtomicU64>,
    /// Commits of the test's own.
    own: AtomicU64,
    clock: Arc<SimClock>,
    plug: Arc<Plug>,
}

/// The kernel died.
#[derive(Debug, PartialEq)]
pub(crate) struct Died;

pub(crate) const OWNER: &str = "{ instances: { chat: { channel: { owner: ['1'], allow: ['2', '3'] } } } }";

impl World {
    pub(crate) fn new(config: &str) -> Self {
        let activity = Arc::new(AtomicU64::new(0));
        let platform = Arc::new(Platform::default());
        *platform.loaded.lock().unwrap() = true;
        Self {
            dir: tempfile::tempdir().unwrap(),
            platform,
            parrot: Arc::default(),
            clock: SimClock::new(Arc::clone(&activity)),
            plug: Plug::new(activity),
            config: config.to_owned(),
        }
    }

    pub(crate) fn store(&self) -> Store {
        self.store_of(None)
    }

    pub(crate) fn store_of(&self, max_bytes: Option<u64>) -> Store {
        let options = StoreOptions {
            unlocker: Unlocker::None,
            readers: 1,
            max_bytes,
            clock: StoreClock::manual(Arc::clone(&self.clock.wall)),
            ..StoreOptions::default()
        };
        // The last life's threads may still be giving the directory back.
        for _ in 0..10_000 {
            match Store::open(self.dir.path(), options.clone()) {
                Err(e) if e.is_held() => std::thread::yield_now(),
                other => return other.unwrap(),
            }
        }
        panic!("the directory stays held");
    }

    pub(crate) async fn begin(&self) -> Life {
        self.begin_with(self.store(), Arc::new(Ears { parrot: Arc::clone(&self.parrot), plug: Arc::clone(&self.plug) }))
            .await
    }

    pub(crate) async fn begin_with(&self, store: Store, assistant: Arc<dyn Assistant>) -> Life {
        self.begin_by(store, assistant, Arc::clone(&self.clock) as _).await
    }

    pub(crate) async fn begin_by(&self, store: Store, assistant: Arc<dyn Assistant>, clock: Arc<dyn Clock>) -> Life {
        let config = Config::parse(&self.config, "carapace.json5".as_ref(), &NoEnv).unwrap();
        let config = Arc::new(ConfigHandle::holding(self.dir.path().join("carapace.json5"), Arc::new(NoEnv), config));
        let changed = watch::Sender::new(0);
        *self.platform.changed.lock().unwrap() = Some(changed.clone());
        let channels = Arc::new(Component {
            platform: Arc::clone(&self.platform),
            plug: Arc::clone(&self.plug),
            clock: Arc::clone(&self.clock),
            changed,
        });
        let courier =
            Courier::new(Deps { store: store.clone(), config: Arc::clone(&config), channels, assistant, clock });
        let programs: Arc<dyn Lines> = courier.clone();
        *self.platform.programs.lock().unwrap() = Some(Arc::downgrade(&programs));
        courier.start().await.unwrap();
        let activity = Arc::clone(&self.plug.activity);
        let own = AtomicU64::new(0);
        Life { store, courier, config, activity, own, clock: Arc::clone(&self.clock), plug: Arc::clone(&self.plug) }
    }

    /// A life in a runtime of its own: what is left of it when `story` ends is gone like after a power cut.
    pub(crate) fn live<T>(&self, story: impl AsyncFnOnce(&Life) -> T) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let out = runtime.block_on(async {
            let life = self.begin().await;
            story(&life).await
        });
        drop(runtime);
        out
    }
}

impl Life {
    /// Transactions of the kernel's, roughly.
    pub(crate) fn commits(&self) -> u64 {
        self.store.stats().commits.saturating_sub(self.own.load(SeqCst))
    }

    /// Waits until nothing happens any more, whatever time it is.
    pub(crate) async fn idle(&self) {
        self.idle_or(&mut || false).await;
    }

    async fn idle_or(&self, done: &mut impl FnMut() -> bool) {
        let mut quiet = 0;
        let mut seen = (0, 0);
        // Reads are not counted: as many as follow each other without a write between them must fit in.
        while quiet < 8 && !done() && !self.plug.pulled.load(SeqCst) {
            for _ in 0..50 {
                tokio::task::yield_now().await;
            }
            self.store.commit(Batch::relaxed()).await.unwrap();
            let own = self.own.fetch_add(1, SeqCst) + 1;
            self.store.pairings().await.unwrap();
            let stats = self.store.stats();
            let now = (self.activity.load(SeqCst), stats.batches + stats.refused - own);
            quiet = if now == seen { quiet + 1 } else { 0 };
            seen = now;
        }
    }

    /// Lets time pass until `done`.
    pub(crate) async fn until(&self, what: &str, mut done: impl FnMut() -> bool) -> Result<(), Died> {
        for _ in 0..5_000 {
            self.idle_or(&mut done).await;
            if self.plug.pulled.load(SeqCst) {
                return Err(Died);
            }
            if done() {
                return Ok(());
            }
            assert!(self.clock.advance(), "nobody waits for anything, and still not: {what}");
        }
        panic!("it never comes to: {what}");
    }

    pub(crate) fn clock_jumps(&self, by_ms: i64) {
        self.clock.jump(by_ms);
    }

    /// Lets so much time pass.
    pub(crate) async fn pass(&self, ms: u64) {
        let until = self.clock.passed() + ms;
        self.until("time passes", || self.clock.passed() >= until).await.unwrap();
    }

    pub(crate) async fn ask(&self, request: ChannelRequest) -> Value {
        self.courier.control(request).await.unwrap()
    }

    pub(crate) async fn hook(&self, update: &Update) -> HttpAnswer {
        self.courier.webhook("chat", "main", request(update)).await
    }
}

pub(crate) fn request(update: &Update) -> WebhookRequest {
    WebhookRequest {
        webhook: "hook".into(),
        method: "POST".into(),
        query: String::new(),
        headers: vec![],
        body: serde_json::to_vec(&json!(update)).unwrap(),
    }
}
