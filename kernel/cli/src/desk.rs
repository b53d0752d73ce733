//! What a running kernel answers to its owner: about channels the courier, about everything else the owner's desk; and the webhook port,
//! which is open while a channel has a webhook that could take a request.

use crate::owner::Owner;
use async_trait::async_trait;
use carapace_config::ConfigHandle;
use carapace_contract::Denial;
use carapace_contract::control::ControlRequest;
use carapace_contract::ports::{Channels, Control, Status, Webhooks};
use carapace_contract::turn::KernelStatus;
use carapace_courier::Courier;
use carapace_gateway::WebhookServer;
use carapace_host::Host;
use serde_json::Value;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The owner's desk of a kernel that has channels.
pub(crate) struct Desk {
    pub(crate) owner: Arc<Owner>,
    pub(crate) courier: Arc<Courier>,
    pub(crate) host: Arc<Host>,
    pub(crate) port: Arc<Port>,
}

#[async_trait]
impl Control for Desk {
    async fn control(&self, request: ControlRequest) -> Result<Value, Denial> {
        match request {
            ControlRequest::Channel(request) => self.courier.control(request).await,
            other => self.owner.control(other).await,
        }
    }
}

#[async_trait]
impl Status for Desk {
    async fn status(&self) -> KernelStatus {
        let mut status = self.owner.status().await;
        for (id, why) in self.courier.not_ready() {
            // One that nobody has set up is not missed: it came with the others.
            if !self.host.is_unset(&id).await {
                status.not_ready.push(why);
            }
        }
        status.not_ready.extend(self.port.problem());
        status
    }
}

/// The webhook port.
#[derive(Default)]
pub(crate) struct Port {
    problem: Mutex<Option<String>>,
}

impl Port {
    /// Why it is closed although it is needed.
    fn problem(&self) -> Option<String> {
        self.problem.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Opens the port when there is a webhook whose secret is set, and closes it when there is none any more. Ends with `stop`.
    pub(crate) async fn keep(
        self: Arc<Self>,
        host: Arc<Host>,
        webhooks: Arc<dyn Webhooks>,
        config: Arc<ConfigHandle>,
        stop: CancellationToken,
    ) {
        let mut changed = host.changed();
        let mut open: Option<WebhookServer> = None;
        loop {
            changed.mark_unchanged();
            let wanted = host.takes_webhooks().await;
            match open.take() {
                Some(server) if wanted => open = Some(server),
                Some(server) => server.shutdown(Duration::from_secs(1)).await,
                None if wanted => {
                    let at = &config.current().webhooks;
                    let started = WebhookServer::start(at.bind, at.port, webhooks.clone()).await;
                    let problem = started.as_ref().err().map(ToString::to_string);
                    if let Some(why) = &problem {
                        tracing::error!(%why, "the webhook port stays closed");
                    }
                    *self.problem.lock().unwrap_or_else(PoisonError::into_inner) = problem;
                    open = started.ok();
                }
                None => *self.problem.lock().unwrap_or_else(PoisonError::into_inner) = None,
            }
            tokio::select! {
                () = stop.cancelled() => break,
                change = changed.changed() => if change.is_err() { break },
            }
        }
        if let Some(server) = open {
            server.shutdown(Duration::from_secs(3)).await;
        }
    }
}
