//! The `Channels` port: calls into channel components, and the requests that the kernel sends for them.

use crate::convert::channel as convert;
use crate::host::Host;
use crate::imports::http::target;
use crate::instance::Live;
use crate::services::{SecretFrom, SecretStanding, Vault};
use crate::sockets;
use async_trait::async_trait;
use carapace_contract::capability::SocketCapability;
use carapace_contract::channel::{
    Attachment, ChannelFailure, ChannelFailureKind, ChannelInfo, Content, Conversation, Description, Event,
    FailureScope, HttpAnswer, Item, KernelRequest, Outcome, Outgoing, Progress, RenderedPart, SocketInfo, SocketTarget,
    WebhookRequest,
};
use carapace_contract::manifest::Verify;
use carapace_contract::media::Media;
use carapace_contract::ports::{Channels, ConnectFailure, Socket};
use carapace_contract::{Denial, InstanceId};
use carapace_egress::{EgressError, Request};
use carapace_runtime::bindings::channel as wit;
use carapace_runtime::{Admission, CallError, Class, Entry, TrapKind};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinError;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The longest a request may take that the kernel sends for a component: a long poll, and room to answer it.
const LONGEST: Duration = Duration::from_secs(120);
/// How long it may take when the component does not say.
const USUAL: Duration = Duration::from_secs(30);
const PIECE: u32 = 64 << 10;

pub(crate) fn failure(kind: ChannelFailureKind, message: impl Into<String>) -> ChannelFailure {
    ChannelFailure {
        kind,
        message: message.into(),
        retry_after_ms: None,
        scope: FailureScope::Conversation,
        uncertain: false,
    }
}

pub(crate) fn gone(denial: &Denial) -> ChannelFailure {
    failure(ChannelFailureKind::Gone, denial.to_string())
}

/// A call that gave no answer. A trap may come after a request had left, so what it was about may have been done.
fn ended(e: &CallError) -> ChannelFailure {
    let kind = match e.kind {
        TrapKind::Revoked => ChannelFailureKind::Gone,
        TrapKind::Cancelled | TrapKind::Busy | TrapKind::Depth | TrapKind::Host => ChannelFailureKind::NotNow,
        _ => ChannelFailureKind::Broken,
    };
    let uncertain = !matches!(e.kind, TrapKind::Busy | TrapKind::Depth | TrapKind::Instantiate | TrapKind::NoExport);
    ChannelFailure { uncertain, ..failure(kind, e.to_string()) }
}

/// What egress refused, or could not do.
pub(crate) fn refused(live: &Live, error: &EgressError) -> ChannelFailure {
    let kind = match error {
        EgressError::Denied(denial) => {
            live.runtime.meter().denial(denial);
            ChannelFailureKind::Final
        }
        EgressError::Invalid(_) => ChannelFailureKind::Final,
        // A limit is usually one of rate: it passes.
        EgressError::Limit(_) | EgressError::Unavailable(_) | EgressError::Timeout(_) | EgressError::Cancelled => {
            ChannelFailureKind::Retryable
        }
    };
    failure(kind, error.to_string())
}

impl Host {
    pub(crate) async fn describe_channel(&self, live: &Arc<Live>) -> Result<Description, Denial> {
        let state = self.state(live, Entry::ChannelPure("describe"), CancellationToken::new())?;
        let described = live.loaded.describe_channel(state, Admission::new(Class::Ingress)).await;
        let described = described.map_err(|e| Denial::new(e.kind.code(), e.message, e.fix))?;
        convert::description(described)
            .map_err(|e| Denial::new("E-HOST-011", format!("`{}` does not describe its platform: {e}", live.id), ""))
    }

    /// Whether nobody has set the instance up yet: a secret that it cannot do without is not set, or it has none at all, and the configuration
    /// says nothing to it.
    pub async fn is_unset(&self, id: &InstanceId) -> bool {
        let all = self.secrets(id).await.unwrap_or_default();
        let nowhere = |s: &SecretStanding| s.from == SecretFrom::Nowhere;
        let silent = || {
            let said = self.instance(id).is_ok_and(|live| live.config.as_object().is_some_and(|c| !c.is_empty()));
            !said && all.iter().all(nowhere)
        };
        all.iter().any(|s| nowhere(s) && !s.optional) || silent()
    }

    /// How the secrets stand that a loaded instance was granted.
    ///
    /// # Errors
    /// It is not loaded, its grant was taken away, or the secret store cannot be read.
    pub async fn secrets(&self, id: &InstanceId) -> Result<Vec<SecretStanding>, Denial> {
        let live = self.instance(id)?;
        let vault = Vault::new(self.services(), live.clone(), None);
        let granted = live.grant.load();
        let capabilities = &granted.grant.capabilities;
        let mut all = Vec::new();
        for name in capabilities.secrets.keys() {
            let from = vault.find_with_source(name).await?.map_or(SecretFrom::Nowhere, |(_, from)| from);
            let optional = capabilities.optional.contains(&format!("secret:{name}"));
            all.push(SecretStanding { name: name.clone(), from, optional });
        }
        Ok(all)
    }

    /// Whether any webhook of any channel could take a request: what proves where it comes from is set.
    pub async fn takes_webhooks(&self) -> bool {
        let slots: Vec<Arc<Live>> = self.instances.load().values().map(|slot| slot.now.clone()).collect();
        for live in slots.into_iter().filter(|l| l.description.is_some()) {
            let vault = Vault::new(self.services(), live.clone(), None);
            let granted = live.grant.load();
            for verify in granted.grant.capabilities.webhooks.values() {
                let open = match verify {
                    Verify::Ed25519 { config, .. } => live.config.pointer(config).is_some(),
                    Verify::Header { secret, .. } | Verify::HmacSha256 { secret, .. } => {
                        matches!(vault.find(secret).await, Ok(Some(_)))
                    }
                };
                if open {
                    return true;
                }
            }
        }
        false
    }

    /// One call of a channel, from its state to what it says.
    async fn of_channel<'a, R, F>(
        &'a self,
        id: &InstanceId,
        entry: Entry<'static>,
        call: impl FnOnce(Arc<Live>, crate::state::HostState) -> F + Send,
    ) -> Result<R, ChannelFailure>
    where
        F: Future<Output = Result<Result<R, wit::Failure>, CallError>> + Send + 'a,
        R: Send,
    {
        let live = self.instance(id).map_err(|d| gone(&d))?;
        let state = self.state(&live, entry, CancellationToken::new());
        let state = state.inspect_err(|d| live.runtime.meter().denial(d)).map_err(|d| gone(&d))?;
        let answer = live.eviction.or(call(live.clone(), state)).await.map_err(|d| gone(&d))?;
        self.watch(&live, answer.as_ref().err());
        answer.map_err(|e| ended(&e))?.map_err(convert::failure)
    }

    /// `on-event`, on a guests' thread.
    async fn event(
        &self,
        instance: &InstanceId,
        state: Vec<u8>,
        event: wit::Event,
        attempt: u32,
    ) -> Result<Outcome, ChannelFailure> {
        let admission = ingress().in_place();
        let call =
            |live: Arc<Live>, s| async move { live.loaded.channel_event(s, admission, state, event, attempt).await };
        convert::outcome(self.of_channel(instance, Entry::Channel, call).await?)
    }

    /// Something changed about what is loaded.
    pub(crate) fn changed_channels(&self) {
        self.channels_changed.send_modify(|n| *n = n.wrapping_add(1));
    }
}

fn socket(s: &SocketCapability) -> SocketInfo {
    SocketInfo { spool: s.spool, logins_per_day: s.logins_per_day, login_frames: s.inject.iter().any(|i| i.login) }
}

fn ingress() -> Admission {
    Admission::new(Class::Ingress)
}

#[async_trait]
impl Channels for Host {
    fn channels(&self) -> Vec<ChannelInfo> {
        let info = |live: &Arc<Live>| {
            let granted = live.grant.load();
            let open = granted.grant.capabilities.channel && !granted.grant.revoked;
            Some(ChannelInfo {
                instance: live.id.clone(),
                digest: live.package.digest(),
                description: live.description.clone().filter(|_| open)?,
                webhooks: granted.grant.capabilities.webhooks.keys().map(ToString::to_string).collect(),
                spool: live.package.manifest().channel.is_some_and(|c| c.spool),
                sockets: granted.grant.capabilities.sockets.iter().map(|(name, s)| (name.clone(), socket(s))).collect(),
                media: granted.grant.capabilities.blob,
                lines: granted.grant.capabilities.lines,
            })
        };
        self.instances.load().values().filter_map(|slot| info(&slot.now)).collect()
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.channels_changed.subscribe()
    }

    async fn start(&self, instance: &InstanceId, state: Vec<u8>) -> Result<Outcome, ChannelFailure> {
        let call = |live: Arc<Live>, s| async move { live.loaded.start_channel(s, ingress(), state).await };
        convert::outcome(self.of_channel(instance, Entry::Channel, call).await?)
    }

    async fn events(
        &self,
        instance: &InstanceId,
        state: Vec<u8>,
        events: &[(&Event, u32)],
        within: Duration,
    ) -> Progress {
        let (me, id) = (self.me.clone(), instance.clone());
        let events: Vec<_> = events.iter().map(|(event, attempt)| (convert::event(event), *attempt)).collect();
        // All of them where guests run: a thread is woken twice for a group, and not for each event.
        let given = self.loader.engines().spawn(async move {
            let (until, mut state, mut progress) = (Instant::now() + within, state, Progress::default());
            for (event, attempt) in events {
                let outcome = match me.upgrade() {
                    Some(me) => me.event(&id, state, event, attempt).await,
                    None => Err(failure(ChannelFailureKind::Gone, "the kernel stops")),
                };
                match outcome {
                    Ok(outcome) => {
                        state = outcome.state.clone();
                        progress.outcomes.push(outcome);
                    }
                    Err(f) => {
                        progress.failure = Some(f);
                        break;
                    }
                }
                if Instant::now() >= until {
                    break;
                }
                // Others have calls to make on this thread.
                tokio::task::yield_now().await;
            }
            progress
        });
        let stopped = |e: JoinError| failure(ChannelFailureKind::NotNow, format!("events were not given: {e}"));
        given.await.unwrap_or_else(|e| Progress { failure: Some(stopped(e)), ..Progress::default() })
    }

    async fn request(&self, instance: &InstanceId, request: KernelRequest) -> Result<HttpAnswer, ChannelFailure> {
        let live = self.instance(instance).map_err(|d| gone(&d))?;
        let granted = live.grant.load();
        let target = target(&granted, instance, None, convert::target(request.target));
        let target = target.inspect_err(|d| live.runtime.meter().denial(d)).map_err(|d| gone(&d))?;
        let body = bytes::Bytes::from(request.body.unwrap_or_default());
        let outgoing = u64::try_from(body.len()).unwrap_or(u64::MAX);
        let timeout = request.timeout_ms.map_or(USUAL, |ms| Duration::from_millis(ms.into()).min(LONGEST));
        let request =
            Request { method: request.method, target, headers: request.headers, body, timeout: Some(timeout) };
        let vault = Vault::new(self.services(), live.clone(), None);
        let services = self.services();
        let exchange = async {
            let mut response = services.door.send(&granted.policy, &vault, request, CancellationToken::new()).await?;
            live.runtime.meter().sent(outgoing);
            let mut answer =
                HttpAnswer { status: response.status, headers: response.headers.clone(), body: Vec::new() };
            loop {
                let piece = response.read(usize::try_from(PIECE).unwrap_or(1)).await?;
                if piece.is_empty() {
                    return Ok(answer);
                }
                live.runtime.meter().received(u64::try_from(piece.len()).unwrap_or(u64::MAX));
                answer.body.extend_from_slice(&piece);
            }
        };
        // The head within its time, and the body within as much again.
        let whole = tokio::time::timeout(timeout * 2, live.eviction.or(exchange));
        let Ok(answer) = whole.await else {
            return Err(failure(ChannelFailureKind::Retryable, "the answer took too long"));
        };
        answer
            .map_err(|d| gone(&d))?
            .map_err(|f: carapace_egress::Failure| ChannelFailure { uncertain: f.sent, ..refused(&live, &f.error) })
    }

    async fn connect(&self, instance: &InstanceId, target: SocketTarget) -> Result<Box<dyn Socket>, ConnectFailure> {
        sockets::connect(self, instance, target).await
    }

    async fn split(&self, instance: &InstanceId, response: HttpAnswer) -> Result<Vec<Item>, ChannelFailure> {
        let response = convert::poll_response(response);
        let call = |live: Arc<Live>, s| async move { live.loaded.split_poll(s, ingress(), response).await };
        convert::items(self.of_channel(instance, Entry::ChannelPure("split"), call).await?)
    }

    async fn render(
        &self,
        instance: &InstanceId,
        conversation: &Conversation,
        content: Content,
    ) -> Result<Vec<RenderedPart>, ChannelFailure> {
        let (conversation, content) = (convert::conversation(conversation), convert::said(content));
        let call =
            |live: Arc<Live>, s| async move { live.loaded.render_content(s, ingress(), conversation, content).await };
        convert::parts(self.of_channel(instance, Entry::ChannelPure("render"), call).await?)
    }

    async fn send(&self, instance: &InstanceId, outgoing: Outgoing) -> Result<String, ChannelFailure> {
        let outgoing = convert::outgoing(outgoing);
        let call = |live: Arc<Live>, s| async move { live.loaded.send_part(s, ingress(), outgoing).await };
        Ok(convert::receipt(&self.of_channel(instance, Entry::Channel, call).await?))
    }

    async fn edit(&self, instance: &InstanceId, outgoing: Outgoing, id: String) -> Result<(), ChannelFailure> {
        let outgoing = convert::outgoing(outgoing);
        let call = |live: Arc<Live>, s| async move { live.loaded.edit_part(s, ingress(), outgoing, id).await };
        self.of_channel(instance, Entry::Channel, call).await
    }

    async fn typing(&self, instance: &InstanceId, conversation: &Conversation, on: bool) -> Result<(), ChannelFailure> {
        let conversation = convert::conversation(conversation);
        let call = |live: Arc<Live>, s| async move { live.loaded.show_typing(s, ingress(), conversation, on).await };
        self.of_channel(instance, Entry::Channel, call).await
    }

    async fn fetch_media(&self, instance: &InstanceId, attachment: Attachment) -> Result<Media, ChannelFailure> {
        let attachment = convert::attachment(attachment);
        let call = |live: Arc<Live>, s| async move { live.loaded.fetch_media(s, ingress(), attachment).await };
        let id = self.of_channel(instance, Entry::Channel, call).await?;
        // Only what it brought itself: ids can be guessed by whoever has the bytes.
        match self.services().store.blob(&id, Some(instance)).await {
            Ok(Some(media)) => Ok(media),
            Ok(None) => Err(failure(ChannelFailureKind::Broken, "it gave an id of no blob that it brought")),
            Err(e) => Err(failure(ChannelFailureKind::Retryable, e.to_string())),
        }
    }

    async fn verify(&self, instance: &InstanceId, request: WebhookRequest) -> Result<WebhookRequest, HttpAnswer> {
        let status = |status| HttpAnswer { status, ..HttpAnswer::default() };
        let live = self.instance(instance).map_err(|_| status(404))?;
        let granted = live.grant.load();
        let declared = live.package.manifest().webhooks.iter().find(|w| w.webhook.as_str() == request.webhook);
        let (Some(declared), Some(verify)) =
            (declared, declared.and_then(|w| granted.grant.capabilities.webhooks.get(&w.webhook)))
        else {
            return Err(status(404));
        };
        if !declared.methods.contains(&request.method) {
            return Err(status(405));
        }
        let vault = Vault::new(self.services(), live.clone(), None);
        crate::webhook::check(verify, &request, &live.config, &vault, crate::services::now_ms()).await.map_err(|why| {
            tracing::warn!(instance = %live.id, webhook = %declared.webhook, %why, "a request to a webhook was refused");
            metrics::counter!("carapace_webhook_refused_total", "instance" => live.id.to_string()).increment(1);
            status(verify.on_failure())
        })?;
        // What proves where it comes from is the kernel's; a component that saw it could use it.
        let secret_header = match verify {
            Verify::Header { name, .. } => Some(name.to_ascii_lowercase()),
            _ => None,
        };
        let headers = request.headers.into_iter();
        let headers = headers.filter(|(name, _)| Some(name) != secret_header.as_ref()).collect();
        Ok(WebhookRequest { headers, ..request })
    }
}
