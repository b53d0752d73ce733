//! Sockets of channels: opened and kept through egress, under the grant as it stands at each message.

use crate::channels::{failure, gone, refused};
use crate::host::Host;
use crate::instance::Live;
use crate::services::Vault;
use async_trait::async_trait;
use carapace_contract::channel::{ChannelFailure, ChannelFailureKind, SocketAddress, SocketTarget};
use carapace_contract::ports::{ConnectFailure, Socket, SocketNews};
use carapace_contract::{Denial, InstanceId};
use carapace_egress::{Connect, EgressError, Incoming, Policy, SocketPlace};
use std::sync::{Arc, Weak};
use tokio_util::sync::CancellationToken;

pub(crate) async fn connect(
    host: &Host,
    instance: &InstanceId,
    target: SocketTarget,
) -> Result<Box<dyn Socket>, ConnectFailure> {
    let failed = |failure| ConnectFailure { failure, status: None };
    let live = host.instance(instance).map_err(|d| failed(gone(&d)))?;
    let policy = live.grant.load().policy.clone();
    let vault = Vault::new(host.services(), live.clone(), None);
    let place = match target.address {
        SocketAddress::Path(path) => SocketPlace::Path(path),
        SocketAddress::Url(url) => SocketPlace::Url(url),
        SocketAddress::Handle(handle) => SocketPlace::Handle(handle),
    };
    let connect = Connect { endpoint: target.endpoint, place, headers: target.headers };
    let services = host.services();
    let opening = services.door.connect(&policy, &vault, connect, CancellationToken::new());
    let opened = live.eviction.or(opening).await.map_err(|d| failed(gone(&d)))?;
    let socket = opened.map_err(|r| ConnectFailure { failure: refused(&live, &r.error), status: r.status })?;
    Ok(Box::new(Held { host: host.me.clone(), instance: instance.clone(), socket }))
}

/// A socket of an instance, whatever code that runs at the moment.
struct Held {
    host: Weak<Host>,
    instance: InstanceId,
    socket: carapace_egress::Socket,
}

/// What an instance may do now.
struct Now {
    live: Arc<Live>,
    policy: Arc<Policy>,
    vault: Vault,
}

impl Held {
    /// # Errors
    /// It is gone, revoked, or was not granted this socket again.
    fn now(&self) -> Result<Now, Denial> {
        let host = self.host.upgrade().ok_or_else(|| Denial::new("E-HOST-007", "the kernel stops", ""))?;
        let live = host.instance(&self.instance)?;
        let policy = live.grant.load().policy.clone();
        self.socket.check(&policy).inspect_err(|d| live.runtime.meter().denial(d))?;
        let vault = Vault::new(host.services(), live.clone(), None);
        Ok(Now { live, policy, vault })
    }
}

fn closed(denial: &Denial) -> SocketNews {
    SocketNews::Closed { code: None, reason: denial.to_string() }
}

#[async_trait]
impl Socket for Held {
    async fn next(&mut self) -> SocketNews {
        // Before the grant is looked at: no change of it goes unnoticed.
        let changes = self.host.upgrade().map(|host| host.channels_changed.subscribe());
        let now = match self.now() {
            Ok(now) => now,
            Err(denial) => return closed(&denial),
        };
        let changed = async {
            match changes {
                Some(mut changes) => changes.changed().await.unwrap_or_default(),
                None => std::future::pending().await,
            }
        };
        let incoming = tokio::select! {
            biased;
            incoming = now.live.eviction.or(self.socket.next(&now.policy, &now.vault)) => incoming,
            // Revoked, swapped, pointed elsewhere: it is looked at anew, and what was replaced is let go.
            () = changed => return SocketNews::Alive,
        };
        match incoming {
            // Thrown out, or replaced by a version that is at work already: then the next look finds that one.
            Err(denial) => match self.now() {
                Ok(_) => SocketNews::Alive,
                Err(_) => closed(&denial),
            },
            Ok(Incoming::Alive) => SocketNews::Alive,
            Ok(Incoming::Closed { code, reason }) => SocketNews::Closed { code, reason },
            Ok(Incoming::Message { text, data }) => {
                // What came while nobody looked is judged by what is granted now.
                if let Err(denial) = self.now() {
                    return closed(&denial);
                }
                now.live.runtime.meter().received(u64::try_from(data.len()).unwrap_or(u64::MAX));
                SocketNews::Message { text, data }
            }
        }
    }

    fn is_login(&self, text: bool, data: &[u8]) -> bool {
        self.now().is_ok_and(|now| self.socket.is_login(&now.policy, text, data))
    }

    async fn send(&mut self, text: bool, data: Vec<u8>) -> Result<(), ChannelFailure> {
        let now = self.now().map_err(|d| gone(&d))?;
        let outgoing = u64::try_from(data.len()).unwrap_or(u64::MAX);
        match self.socket.send(&now.policy, &now.vault, text, data).await {
            Ok(()) => {
                now.live.runtime.meter().sent(outgoing);
                Ok(())
            }
            // More than its manifest allows will not become less.
            Err(e @ EgressError::Limit(_)) => Err(failure(ChannelFailureKind::Final, e.to_string())),
            Err(e) => Err(refused(&now.live, &e)),
        }
    }

    async fn ping(&mut self) -> Result<(), ChannelFailure> {
        let now = self.now().map_err(|d| gone(&d))?;
        self.socket.ping().await.map_err(|e| refused(&now.live, &e))
    }

    async fn close(&mut self, code: u16, reason: &str) {
        self.socket.close(code, reason).await;
    }
}
