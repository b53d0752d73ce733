//! A listening socket's connections: accepted up to a cap, served as HTTP/1.1, told to end, and ended.

use crate::state::Peer;
use axum::Router;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What connections get to close after the grace.
const FAREWELL: Duration = Duration::from_secs(3);

/// How a listener serves, and how it ends.
#[derive(Debug, Clone)]
pub(crate) struct Listening {
    /// Connections at once.
    pub(crate) connections: usize,
    /// Time to send a request's head.
    pub(crate) head_timeout: Duration,
    /// Accept nothing more; end after the request at hand.
    pub(crate) stopping: CancellationToken,
    /// End now.
    pub(crate) dead: CancellationToken,
    pub(crate) tracker: TaskTracker,
}

impl Listening {
    /// Lets requests finish within `grace`, then ends the rest.
    pub(crate) async fn shutdown(&self, grace: Duration) {
        self.stopping.cancel();
        self.tracker.close();
        if tokio::time::timeout(grace, self.tracker.wait()).await.is_err() {
            tracing::warn!(connections = self.tracker.len(), "the grace is over; ending what still runs");
        }
        self.dead.cancel();
        // What is left only says farewell.
        if tokio::time::timeout(FAREWELL, self.tracker.wait()).await.is_err() {
            tracing::warn!(tasks = self.tracker.len(), "some requests did not end");
        }
    }
}

pub(crate) async fn accept(listener: TcpListener, router: Router, by: Listening) {
    let permits = Arc::new(Semaphore::new(by.connections));
    loop {
        // The permit comes first: above the cap, clients wait in the system's backlog.
        let permit = tokio::select! {
            permit = Arc::clone(&permits).acquire_owned() => permit,
            () = by.stopping.cancelled() => return,
        };
        let Ok(permit) = permit else { return };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = by.stopping.cancelled() => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                let (router, of) = (router.clone(), by.clone());
                by.tracker.spawn(async move {
                    serve(stream, peer, router, of).await;
                    drop(permit);
                });
            }
            Err(e) => {
                // Out of descriptors, most likely: wait for some to come back instead of spinning.
                tracing::warn!(error = %e, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, peer: SocketAddr, router: Router, by: Listening) {
    if let Err(e) = stream.set_nodelay(true) {
        tracing::debug!(error = %e, "TCP_NODELAY could not be set");
    }
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(Peer(peer));
        let mut router = router.clone();
        async move { tower::Service::call(&mut router, request).await }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(by.head_timeout)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    tokio::pin!(connection);
    let mut told = false;
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(e) = ended {
                    tracing::debug!(error = %e, %peer, "a connection ended early");
                }
                return;
            }
            () = by.stopping.cancelled(), if !told => {
                told = true;
                connection.as_mut().graceful_shutdown();
            }
            () = by.dead.cancelled() => return,
        }
    }
}
