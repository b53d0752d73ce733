//! Questions at the terminal that can be withdrawn: a thread of its own waits for the answer, and whoever asks may stop listening.

use crate::failure::Outcome;
use std::io::{BufRead as _, Write as _};
use std::sync::LazyLock;
use tokio::sync::{Mutex, mpsc, watch};

/// The lines of standard input, from the first question on.
static LINES: LazyLock<Mutex<mpsc::UnboundedReceiver<String>>> = LazyLock::new(|| {
    let (tell, lines) = mpsc::unbounded_channel();
    // It ends with the input, or with the process.
    std::thread::spawn(move || {
        std::io::stdin().lock().lines().map_while(Result::ok).try_for_each(|line| tell.send(line))
    });
    Mutex::new(lines)
});
static OPEN: LazyLock<watch::Sender<bool>> = LazyLock::new(|| watch::Sender::new(false));

/// While it lives, a question stands at the terminal.
struct Standing;

impl Drop for Standing {
    fn drop(&mut self) {
        OPEN.send_replace(false);
    }
}

/// The answer to a question, trimmed; none at the end of the input. What was typed before it was asked is no answer to it. Whoever drops
/// this withdraws the question.
pub(crate) async fn answer(question: &str) -> Outcome<Option<String>> {
    let mut lines = LINES.lock().await;
    while lines.try_recv().is_ok() {}
    eprint!("{question} ");
    std::io::stderr().flush()?;
    OPEN.send_replace(true);
    let _standing = Standing;
    Ok(lines.recv().await.map(|line| line.trim().to_owned()))
}

/// Returns once a question stands.
pub(crate) async fn stands() {
    // The sender is never gone.
    let _ = OPEN.subscribe().wait_for(|open| *open).await;
}
