//! The front door, and who works: one ingress session and one outbox worker for each channel that is loaded.

use crate::clock::Clock;
use crate::ingress;
use crate::lanes::Lanes;
use crate::outbox;
use crate::pairing::Pairing;
use crate::slot::Slot;
use carapace_config::{ChannelPolicy, ConfigHandle, Instance};
use carapace_contract::channel::{ChannelInfo, ChannelState};
use carapace_contract::media;
use carapace_contract::ports::{Assistant, Channels};
use carapace_contract::{Digest, InstanceId};
use carapace_store::{Batch, Store, StoreError, Ulid};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Who holds the leases of this state directory. Whoever opens the directory is its only kernel, and takes over at once what the one before
/// it held; the fencing token tells the two apart.
pub(crate) const HOLDER: &str = "kernel";
/// How long messages that are done stay known, ms.
const KNOWN_MS: u64 = 30 * 86_400_000;
/// How long parts that were sent or given up are kept, ms.
const KEPT_MS: u64 = 7 * 86_400_000;
/// Between two rounds of forgetting, ms.
const FORGET_EVERY_MS: u64 = 6 * 3_600_000;

/// What a courier stands on.
pub struct Deps {
    /// Durable state.
    pub store: Store,
    /// The operator's configuration; who may talk is read anew for every event.
    pub config: Arc<ConfigHandle>,
    /// Channels.
    pub channels: Arc<dyn Channels>,
    /// Who answers.
    pub assistant: Arc<dyn Assistant>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// Takes messages in and answers out. Cheap to share; [`drain`](Self::drain) stops it, dropping it does not.
pub struct Courier {
    pub(crate) inner: Arc<Inner>,
}

impl std::fmt::Debug for Courier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Courier").field("channels", &self.inner.slots().len()).finish_non_exhaustive()
    }
}

pub(crate) struct Inner {
    pub(crate) store: Store,
    pub(crate) config: Arc<ConfigHandle>,
    pub(crate) channels: Arc<dyn Channels>,
    pub(crate) assistant: Arc<dyn Assistant>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) pairing: Pairing,
    pub(crate) lanes: Lanes,
    slots: Mutex<BTreeMap<InstanceId, Arc<Slot>>>,
    ids: Mutex<ulid::Generator>,
    tasks: TaskTracker,
    /// Nothing new is begun.
    pub(crate) stopping: CancellationToken,
    /// Nothing is waited for any more.
    halted: CancellationToken,
}

impl Courier {
    /// A courier that does nothing yet.
    pub fn new(deps: Deps) -> Arc<Self> {
        let inner = Inner {
            store: deps.store,
            config: deps.config,
            channels: deps.channels,
            assistant: deps.assistant,
            clock: deps.clock,
            pairing: Pairing::default(),
            lanes: Lanes::default(),
            slots: Mutex::default(),
            ids: Mutex::new(ulid::Generator::new()),
            tasks: TaskTracker::new(),
            stopping: CancellationToken::new(),
            halted: CancellationToken::new(),
        };
        Arc::new(Self { inner: Arc::new(inner) })
    }

    /// Takes up what an earlier life of the kernel accepted, and begins to work. Call it once, after the assistant has recovered its runs.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn start(&self) -> Result<(), StoreError> {
        let inner = &self.inner;
        inner.pairing.load(&inner.store).await?;
        for (id, source, session) in inner.store.inbox_open().await? {
            // Other rooms keep rows of their own.
            if let Ok(instance) = source.parse() {
                inner.enqueue(id, instance, session);
            }
        }
        inner.spawn(supervise(Arc::clone(inner)));
        inner.spawn(forget(Arc::clone(inner)));
        Ok(())
    }

    /// Takes nothing more in, waits for what is being answered and sent at most `grace`, then leaves it to the next start.
    pub async fn drain(&self, grace: Duration) {
        let inner = &self.inner;
        inner.stopping.cancel();
        inner.tasks.close();
        if tokio::time::timeout(grace, inner.tasks.wait()).await.is_err() {
            inner.halted.cancel();
            inner.tasks.wait().await;
        }
    }
}

impl Inner {
    fn slots(&self) -> MutexGuard<'_, BTreeMap<InstanceId, Arc<Slot>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every instance that is loaded.
    pub(crate) fn all_slots(&self) -> Vec<Arc<Slot>> {
        self.slots().values().cloned().collect()
    }

    /// An instance that is loaded.
    pub(crate) fn slot(&self, instance: &InstanceId) -> Option<Arc<Slot>> {
        self.slots().get(instance).cloned()
    }

    /// What the component says about itself, as long as it is loaded.
    pub(crate) fn channel(&self, instance: &InstanceId) -> Option<ChannelInfo> {
        self.channels.channels().into_iter().find(|c| &c.instance == instance)
    }

    /// Who may talk through it.
    pub(crate) fn policy(&self, instance: &InstanceId) -> ChannelPolicy {
        self.config.current().instance(instance).map(|i| i.channel.clone()).unwrap_or_default()
    }

    /// Ids sort in the order in which they were made, also within a millisecond.
    pub(crate) fn new_id(&self) -> Ulid {
        let mut ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        ids.generate().unwrap_or_else(|_| Ulid::generate())
    }

    /// A task that ends at the latest when the courier does.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
        let halted = self.halted.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                biased;
                () = halted.cancelled() => {}
                () = task => {}
            }
        })
    }

    /// Waits so long, or until the courier stops; whether it waited to the end.
    pub(crate) async fn pause(&self, ms: u64) -> bool {
        tokio::select! {
            biased;
            () = self.stopping.cancelled() => false,
            () = self.clock.sleep_ms(ms) => true,
        }
    }
}

/// What was started for an instance.
struct Running {
    digest: Digest,
    section: Option<Instance>,
    cancel: CancellationToken,
    session: JoinHandle<()>,
    outbox_cancel: CancellationToken,
}

/// Keeps what runs in step with what is loaded and configured.
async fn supervise(inner: Arc<Inner>) {
    let mut changed = inner.channels.changed();
    let mut config = inner.config.changes();
    let mut running: HashMap<InstanceId, Running> = HashMap::new();
    loop {
        changed.mark_unchanged();
        config.mark_unchanged();
        reconcile(&inner, &mut running).await;
        tokio::select! {
            () = inner.stopping.cancelled() => break,
            Ok(()) = changed.changed() => {}
            Ok(()) = config.changed() => {}
            else => inner.stopping.cancelled().await,
        }
    }
    for one in running.values() {
        one.cancel.cancel();
        one.outbox_cancel.cancel();
    }
}

async fn reconcile(inner: &Arc<Inner>, running: &mut HashMap<InstanceId, Running>) {
    let loaded = inner.channels.channels();
    let gone: Vec<InstanceId> =
        running.keys().filter(|i| !loaded.iter().any(|info| info.instance == **i)).cloned().collect();
    for instance in gone {
        if let Some(one) = running.remove(&instance) {
            one.outbox_cancel.cancel();
            end(one.cancel, one.session).await;
        }
        if let Some(slot) = inner.slots().remove(&instance) {
            slot.sockets.cut_all();
            slot.programs.leave();
        }
        metrics::gauge!("carapace_channel_ready", "instance" => instance.to_string()).set(0.0);
    }
    // What was forgotten with an uninstalled component must not be remembered here.
    if loaded.iter().any(|info| inner.slot(&info.instance).is_none())
        && let Err(error) = inner.pairing.load(&inner.store).await
    {
        tracing::error!(%error, "who is paired could not be read");
    }
    let config = inner.config.current();
    for info in loaded {
        // Who may talk is read for every event; everything else is the component's to look at anew.
        let section =
            config.instance(&info.instance).map(|i| Instance { channel: ChannelPolicy::default(), ..i.clone() });
        let slot = {
            let new = || Slot::new(info.instance.clone(), inner.clock.as_ref());
            Arc::clone(inner.slots().entry(info.instance.clone()).or_insert_with(new))
        };
        // It may have waited for just this.
        slot.outbox.notify_one();
        if let Some(one) = running.get(&info.instance)
            && one.digest == info.digest
            && one.section == section
            && !one.session.is_finished()
            && slot.standing().state != ChannelState::Stopped
        {
            continue;
        }
        let outbox_cancel = match running.remove(&info.instance) {
            Some(one) => {
                end(one.cancel, one.session).await;
                if one.section != section {
                    // It may point elsewhere now.
                    slot.sockets.cut_each();
                }
                one.outbox_cancel
            }
            None => {
                let cancel = inner.stopping.child_token();
                inner.spawn(outbox::work(Arc::clone(inner), Arc::clone(&slot), cancel.clone()));
                cancel
            }
        };
        let cancel = inner.stopping.child_token();
        let (instance, digest) = (info.instance.clone(), info.digest);
        let session = inner.spawn(ingress::run(Arc::clone(inner), slot, info, cancel.clone()));
        running.insert(instance, Running { digest, section, cancel, session, outbox_cancel });
    }
    inner.lanes.look_again();
}

async fn end(cancel: CancellationToken, session: JoinHandle<()>) {
    cancel.cancel();
    if session.await.is_err() {
        tracing::error!("an ingress session met a bug; it is started again");
    }
}

/// Forgets what is long over.
async fn forget(inner: Arc<Inner>) {
    loop {
        let now = inner.clock.now_ms();
        let batch = Batch::relaxed().prune(now.saturating_sub(KNOWN_MS), now.saturating_sub(KEPT_MS));
        let batch = batch.blob_prune(now.saturating_sub(media::KEPT_MS));
        if let Err(error) = inner.store.commit(batch).await {
            tracing::warn!(%error, "old messages could not be forgotten");
        }
        if !inner.pause(FORGET_EVERY_MS).await {
            return;
        }
    }
}
