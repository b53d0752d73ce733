//! "… is typing": shown while a turn runs, repeated before it lapses, taken back where that can be. Nobody waits for it.

use crate::courier::Inner;
use carapace_contract::InstanceId;
use carapace_contract::channel::Conversation;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Between two repetitions, at least, ms.
const LEAST_MS: u64 = 1_000;
/// So many failures in a row end it.
const PATIENCE: u32 = 2;

/// Shown until it is dropped.
pub(crate) struct Typing {
    over: CancellationToken,
}

impl Typing {
    pub(crate) fn begin(inner: &Arc<Inner>, instance: &InstanceId, conversation: &Conversation) -> Self {
        let over = CancellationToken::new();
        if let Some(support) = inner.channel(instance).and_then(|info| info.description.typing) {
            let (inner_, instance, conversation) = (Arc::clone(inner), instance.clone(), conversation.clone());
            let ended = over.clone();
            inner.spawn(async move {
                let every = (u64::from(support.lasts_ms) * 4 / 5).max(LEAST_MS);
                let mut failures = 0;
                while failures < PATIENCE {
                    let shown = tokio::select! {
                        biased;
                        () = ended.cancelled() => break,
                        shown = inner_.channels.typing(&instance, &conversation, true) => shown,
                    };
                    failures = if shown.is_ok() { 0 } else { failures + 1 };
                    tokio::select! {
                        biased;
                        () = ended.cancelled() => break,
                        () = inner_.clock.sleep_ms(every) => {}
                    }
                }
                if support.stops && failures < PATIENCE {
                    // It lapses by itself if this fails.
                    let _ = inner_.channels.typing(&instance, &conversation, false).await;
                }
            });
        }
        Self { over }
    }
}

impl Drop for Typing {
    fn drop(&mut self) {
        self.over.cancel();
    }
}
