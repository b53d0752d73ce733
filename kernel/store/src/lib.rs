//! Durable state: one SQLite file, one writer with group commit, readers beside it, an HMAC chain over what proves things,
//! and secrets that are never stored in the clear.
//!
//! Start at [`Store::open`], put changes into a [`Batch`], and [`Store::commit`] it: all of it happens, or nothing. Reads are methods of
//! [`Reader`], which a [`Store`] derefs to. Nothing outside the given directory is ever written, no SQL and no row id leaves this room,
//! and SQLite never runs on an async thread.
//!
//! ```
//! use carapace_store::{Batch, LogRow, Store, StoreOptions, Ulid};
//! # let dir = tempfile::tempdir()?;
//! # let dir = dir.path();
//! let store = Store::open(dir, StoreOptions::default())?;
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
//! # runtime.block_on(async {
//! let row = LogRow {
//!     id: Ulid::generate(),
//!     session: "main".into(),
//!     run: None,
//!     kind: "user".into(),
//!     content: serde_json::json!({ "text": "hello" }),
//!     tainted: false,
//!     at_ms: 1_700_000_000_000,
//! };
//! store.commit(Batch::new().append(row.clone())).await?;
//! assert_eq!(store.session_rows("main", 10).await?, [row]);
//! assert!(store.verify().await?.first_broken.is_none());
//! store.close().await;
//! # Ok::<(), carapace_store::StoreError>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![allow(clippy::disallowed_methods, reason = "the state directory's files belong to this room")]

mod apply;
mod batch;
mod chain;
mod clock;
mod error;
mod files;
pub mod legacy;
mod reader;
mod reads;
mod rows;
mod schema;
pub mod secrets;
mod sql;
mod store;
mod verify;
mod writer;

pub use batch::{Batch, Durability, Receipt};
pub use clock::Clock;
pub use error::{Space, StoreError};
pub use files::Holder;
pub use reader::Reader;
pub use rows::{
    ApprovalChange, ApprovalEntry, ApprovalRow, ApprovalState, AuditEntry, AuditRow, BlobRow, CallEntry, CallRow,
    ChannelEventRow, ChannelEventState, ChannelRow, ComponentData, DeliveryCounts, EarlierPackage, InboxEntry,
    InboxMessage, InboxRow, InboxState, InboxTaken, KvEntry, KvKey, KvWrite, Lease, LogRow, MemoryRow, OutboxChange,
    OutboxEntry, OutboxRow, OutboxState, PackageRow, PairedRow, PairingRow, PassedOver, PlaceRow, RequestRow, RunPhase,
    RunRow, SecretId, SecretInfo, SessionRow, SessionSummary, StoreStats, TimerRow, UsageRow,
};
pub use secrets::Unlocker;
pub use store::{Store, StoreOptions};
pub use ulid::Ulid;
pub use verify::{Broken, VerifyReport};
