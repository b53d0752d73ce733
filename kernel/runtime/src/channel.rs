//! The calls of a channel, each in a fresh store.

use crate::bindings::channel::{
    Attachment, Content, Conversation, Description, Event, Failure, Item, Outcome, Outgoing, Part, PollResponse,
    Receipt,
};
use crate::call::CallError;
use crate::instance::Loaded;
use crate::permits::Admission;
use crate::size::{bytes_of, failed_or, inbound_size, pairs_size};
use crate::state::Imports;

fn outcome_size(o: &Outcome) -> u64 {
    let inbound: u64 = o.inbound.iter().map(inbound_size).sum();
    let response = o.response.as_ref().map_or(0, |r| pairs_size(&r.headers) + bytes_of(&r.body));
    bytes_of(&o.state) + inbound + response + pairs_size(&o.extra)
}

impl<T: Imports> Loaded<T> {
    /// `channel.describe`.
    ///
    /// # Errors
    /// [`CallError`]: a limit, a trap, a cancellation.
    pub async fn describe_channel(&self, state: T, admission: Admission) -> Result<Description, CallError> {
        self.fresh(
            state,
            admission,
            |d: &Description| pairs_size(&d.extra),
            |store, exports| Box::pin(async move { exports.channel(store, "describe", ()).await }),
        )
        .await
    }

    /// `channel.start`.
    ///
    /// # Errors
    /// [`CallError`]: a limit, a trap, a cancellation. The channel's own errors are in the inner result.
    pub async fn start_channel(
        &self,
        state: T,
        admission: Admission,
        kept: Vec<u8>,
    ) -> Result<Result<Outcome, Failure>, CallError> {
        self.fresh(
            state,
            admission,
            |r| failed_or(r, outcome_size),
            move |store, exports| Box::pin(async move { exports.channel(store, "start", (&kept,)).await }),
        )
        .await
    }

    /// `channel.on-event`.
    ///
    /// # Errors
    /// As [`Self::start_channel`].
    pub async fn channel_event(
        &self,
        state: T,
        admission: Admission,
        kept: Vec<u8>,
        event: Event,
        attempt: u32,
    ) -> Result<Result<Outcome, Failure>, CallError> {
        self.fresh(
            state,
            admission,
            |r| failed_or(r, outcome_size),
            move |store, exports| {
                Box::pin(async move { exports.channel(store, "on-event", (&kept, &event, attempt)).await })
            },
        )
        .await
    }

    /// `channel.split`.
    ///
    /// # Errors
    /// As [`Self::start_channel`].
    pub async fn split_poll(
        &self,
        state: T,
        admission: Admission,
        response: PollResponse,
    ) -> Result<Result<Vec<Item>, Failure>, CallError> {
        self.fresh(
            state,
            admission,
            |r| failed_or(r, |items: &Vec<Item>| items.iter().map(|i| i.cursor.len() as u64 + bytes_of(&i.data)).sum()),
            move |store, exports| Box::pin(async move { exports.channel(store, "split", (&response,)).await }),
        )
        .await
    }

    /// `channel.render`.
    ///
    /// # Errors
    /// As [`Self::start_channel`].
    pub async fn render_content(
        &self,
        state: T,
        admission: Admission,
        conversation: Conversation,
        content: Content,
    ) -> Result<Result<Vec<Part>, Failure>, CallError> {
        self.fresh(
            state,
            admission,
            |r| failed_or(r, |parts: &Vec<Part>| parts.iter().map(|p| p.text.len() as u64 + bytes_of(&p.data)).sum()),
            move |store, exports| {
                Box::pin(async move { exports.channel(store, "render", (&conversation, &content)).await })
            },
        )
        .await
    }

    /// `channel.send`.
    ///
    /// # Errors
    /// As [`Self::start_channel`].
    pub async fn send_part(
        &self,
        state: T,
        admission: Admission,
        outgoing: Outgoing,
    ) -> Result<Result<Receipt, Failure>, CallError> {
        self.fresh(
            state,
            admission,
            |r| failed_or(r, |receipt: &Receipt| receipt.id.len() as u64 + pairs_size(&receipt.extra)),
            move |store, exports| Box::pin(async move { exports.channel(store, "send", (&outgoing,)).await }),
        )
        .await
    }

    /// `channel.edit`.
    ///
    /// # Errors
    /// As [`Self::start_channel`].
    pub async fn edit_part(
        &self,
        state: T,
        admission: Admission,
        outgoing: Outgoing,
        id: String,
    ) -> Result<Result<(), Failure>, CallError> {
        self.fresh(
            state,
            admission,
            |r| failed_or(r, |()| 0),
            move |store, exports| Box::pin(async move { exports.channel(store, "edit", (&outgoing, &id)).await }),
        )
        .await
    }

    /// `channel.typing`.
    ///
    /// # Errors
    /// As [`Self::start_channel`].
    pub async fn show_typing(
        &self,
        state: T,
        admission: Admission,
        conversation: Conversation,
        on: bool,
    ) -> Result<Result<(), Failure>, CallError> {
        self.fresh(
            state,
            admission,
            |r| failed_or(r, |()| 0),
            move |store, exports| Box::pin(async move { exports.channel(store, "typing", (&conversation, on)).await }),
        )
        .await
    }

    /// `channel.fetch-media`.
    ///
    /// # Errors
    /// As [`Self::start_channel`].
    pub async fn fetch_media(
        &self,
        state: T,
        admission: Admission,
        attachment: Attachment,
    ) -> Result<Result<String, Failure>, CallError> {
        self.fresh(
            state,
            admission,
            |r| failed_or(r, |id: &String| id.len() as u64),
            move |store, exports| Box::pin(async move { exports.channel(store, "fetch-media", (&attachment,)).await }),
        )
        .await
    }
}
