//! A cable between the kernel and a peer: bytes go through as they are, in pieces of any size, and it is seen who hangs up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
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
}

impl Cable {
    /// To the server at `base`; its answers come in pieces of at most `piece` bytes.
    pub async fn to(base: &str, piece: usize) -> Self {
        let upstream = base.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let (tell, hung_up) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let Ok(far) = TcpStream::connect(&upstream).await else { continue };
                near.set_nodelay(true).unwrap();
                let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
                let over = Arc::new(AtomicBool::new(false));
                tokio::spawn(questions(near_in, far_out, Arc::clone(&over), tell.clone()));
                tokio::spawn(answers(far_in, near_out, over, piece));
            }
        });
        Self { base, hung_up }
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
) {
    let (mut bytes, mut asked) = ([0; 8 << 10], false);
    while let Ok(n @ 1..) = near.read(&mut bytes).await {
        if String::from_utf8_lossy(&bytes[..n]).contains("/chat/completions") {
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
        if bytes[..n].windows(6).any(|w| w == b"[DONE]") {
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
