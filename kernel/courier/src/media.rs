//! Files that came with a message: fetched before its turn begins, for a while and not for ever.

use crate::chance::back_off;
use crate::clock::Moment;
use crate::courier::Inner;
use carapace_contract::InstanceId;
use carapace_contract::channel::{Attachment, ChannelFailureKind, ChannelMessage};
use carapace_contract::media::{MAX_BLOB, Media};

/// How long a message waits for its files, ms.
const PATIENCE_MS: u64 = 30_000;
/// Files of one message that are fetched.
const MOST: usize = 4;
/// The first wait after a failure, and the longest, ms.
const FIRST_MS: u64 = 500;
const LONGEST_MS: u64 = 8_000;

/// What became of a file.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum File {
    /// It is an image that can be shown.
    Image(Media),
    /// It is something else: said in words, with what the kernel saw it to be.
    Seen(Media),
    /// It was not fetched: only what its sender's platform says is known.
    Told,
    /// It could not be had.
    Missing,
}

/// Whether it may be an image. Only whether it is fetched depends on what is said of it.
fn may_be_an_image(file: &Attachment) -> bool {
    file.mime.as_ref().is_none_or(|mime| mime.starts_with("image/")) && file.size.is_none_or(|size| size <= MAX_BLOB)
}

impl Inner {
    /// The files of a message, in their order.
    pub(crate) async fn files(&self, instance: &InstanceId, message: &ChannelMessage) -> Vec<File> {
        let fetches = self.channel(instance).is_some_and(|c| c.media);
        let until = Moment::after(self.clock.as_ref(), PATIENCE_MS);
        let mut files = Vec::new();
        let mut left = MOST;
        for file in &message.attachments {
            if !fetches || left == 0 || !may_be_an_image(file) {
                files.push(File::Told);
                continue;
            }
            left -= 1;
            files.push(self.file(instance, file, &until).await);
        }
        files
    }

    async fn file(&self, instance: &InstanceId, file: &Attachment, until: &Moment) -> File {
        let mut failures = 0;
        loop {
            let over = self.clock.sleep_ms(until.left(self.clock.as_ref()));
            let fetched = tokio::select! {
                biased;
                fetched = self.channels.fetch_media(instance, file.clone()) => fetched,
                () = over => return File::Missing,
            };
            let failure = match fetched {
                Ok(media) if media.is_showable() => return File::Image(media),
                Ok(media) => return File::Seen(media),
                Err(failure) => failure,
            };
            failures += 1;
            tracing::info!(%instance, %failure, failures, "a file was not fetched");
            let again = matches!(failure.kind, ChannelFailureKind::Retryable | ChannelFailureKind::NotNow);
            let wait = back_off(failures, FIRST_MS, LONGEST_MS).max(failure.retry_after_ms.unwrap_or(0));
            if !again || wait >= until.left(self.clock.as_ref()) || !self.pause(wait).await {
                return File::Missing;
            }
        }
    }
}
