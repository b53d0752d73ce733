//! A cable between the kernel and a peer: bytes go through as they are, in pieces of any size; what was asked is kept, and it is seen who
//! hangs up.

use serde_json::Value;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// See the module. Connections end with the test's runtime.
#[derive(Debug)]
pub struct Cable {
    /// `http://127.0.0.1:<port>`
    pub base: String,
    hung_up: mpsc::UnboundedReceiver<()>,
    /// What the kernel wrote, a connection each.
    wrote: Arc<Mutex<Vec<Vec<u8>>>>,
}

/// A request as it went over the cable.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Path and query.
    pub path: String,
    /// Headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Body; null if it has none.
    pub body: Value,
}

impl Asked {
    /// The first header of that name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
}

/// The paths of completions, and what their answers end with.
const COMPLETIONS: [&str; 3] = ["/chat/completions", "/v1/messages ", "/api/chat "];
const ENDS: [&str; 3] = ["[DONE]", "message_stop", "\"done\":true"];

impl Cable {
    /// To the server at `base`; its answers come in pieces of at most `piece` bytes.
    pub async fn to(base: &str, piece: usize) -> Self {
        let upstream = base.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let (tell, hung_up) = mpsc::unbounded_channel();
        let wrote: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
        let kept = Arc::clone(&wrote);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let Ok(far) = TcpStream::connect(&upstream).await else { continue };
                near.set_nodelay(true).unwrap();
                let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
                let over = Arc::new(AtomicBool::new(false));
                let keep = {
                    let mut connections = kept.lock().unwrap();
                    connections.push(Vec::new());
                    let (kept, at) = (Arc::clone(&kept), connections.len() - 1);
                    move |bytes: &[u8]| kept.lock().unwrap()[at].extend_from_slice(bytes)
                };
                tokio::spawn(questions(near_in, far_out, Arc::clone(&over), tell.clone(), keep));
                tokio::spawn(answers(far_in, near_out, over, piece));
            }
        });
        Self { base, hung_up, wrote }
    }

    /// The requests to this path (without a query), in order; those of one connection together.
    pub fn asked(&self, path: &str) -> Vec<Asked> {
        let all = self.wrote.lock().unwrap();
        let asked = all.iter().flat_map(|bytes| requests(bytes));
        asked.filter(|a| a.path.split('?').next() == Some(path)).collect()
    }

    /// Waits until the kernel hangs up on a completion before the peer has ended its answer.
    pub async fn hung_up(&mut self) {
        let waited = tokio::time::timeout(Duration::from_secs(60), self.hung_up.recv()).await;
        waited.expect("the kernel keeps the request to the model open").unwrap();
    }
}

async fn questions(
    mut near: OwnedReadHalf,
    mut far: OwnedWriteHalf,
    over: Arc<AtomicBool>,
    tell: mpsc::UnboundedSender<()>,
    keep: impl Fn(&[u8]),
) {
    let (mut bytes, mut asked) = ([0; 8 << 10], false);
    while let Ok(n @ 1..) = near.read(&mut bytes).await {
        keep(&bytes[..n]);
        let text = String::from_utf8_lossy(&bytes[..n]);
        if COMPLETIONS.iter().any(|path| text.contains(path)) {
            asked = true;
            over.store(false, Ordering::SeqCst);
        }
        if far.write_all(&bytes[..n]).await.is_err() {
            return;
        }
    }
    if asked && !over.load(Ordering::SeqCst) {
        let _ = tell.send(());
    }
}

async fn answers(mut far: OwnedReadHalf, mut near: OwnedWriteHalf, over: Arc<AtomicBool>, piece: usize) {
    let mut bytes = [0; 8 << 10];
    while let Ok(n @ 1..) = far.read(&mut bytes).await {
        let text = String::from_utf8_lossy(&bytes[..n]);
        if ENDS.iter().any(|end| text.contains(end)) {
            over.store(true, Ordering::SeqCst);
        }
        for piece in bytes[..n].chunks(piece) {
            if near.write_all(piece).await.is_err() {
                return;
            }
        }
    }
    over.store(true, Ordering::SeqCst);
}

/// HTTP/1.1 requests after each other, with their lengths in their heads (RFC 9112).
fn requests(mut bytes: &[u8]) -> Vec<Asked> {
    let mut found = Vec::new();
    while let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let mut lines = head.lines();
        let path = lines.next().and_then(|l| l.split(' ').nth(1)).unwrap_or_default().to_owned();
        let headers: Vec<(String, String)> =
            lines.filter_map(|l| l.split_once(": ")).map(|(n, v)| (n.to_ascii_lowercase(), v.to_owned())).collect();
        let mut asked = Asked { path, headers, body: Value::Null };
        let length = asked.header("content-length").and_then(|l| l.parse().ok()).unwrap_or(0);
        let rest = &bytes[end + 4..];
        let body = &rest[..rest.len().min(length)];
        asked.body = serde_json::from_slice(body).unwrap_or_default();
        bytes = &rest[body.len()..];
        found.push(asked);
    }
    found
}
