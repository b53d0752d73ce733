//! Sockets of channels.

use super::serde_base64;
use crate::name::EndpointName;
use serde::{Deserialize, Serialize};

/// Sockets of an instance that are open at once: the second is there to take over.
pub const MAX_SOCKETS: usize = 2;

/// What the kernel holds a socket to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SocketInfo {
    /// Frames are durable before the component sees them.
    pub spool: bool,
    /// Logins in 24 hours.
    pub logins_per_day: Option<u32>,
    /// A login is a frame that one of its `inject` rules says is one; else each connection is.
    pub login_frames: bool,
}

/// Why a connection is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DialReason {
    /// The component, or the kernel, has just been started.
    Start,
    /// None is left.
    Closed,
    /// The last one did not come about.
    Failed,
    /// The component asked for it.
    Asked,
}

impl DialReason {
    /// Its word in the contract.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Closed => "closed",
            Self::Failed => "failed",
            Self::Asked => "asked",
        }
    }
}

/// A connection is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dial {
    /// Why.
    pub reason: DialReason,
    /// Attempts in a row that did not come about.
    pub failures: u32,
    /// Status of the answer to the last one, if that was no WebSocket.
    pub status: Option<u16>,
    /// The sockets that are open.
    pub open: Vec<u32>,
}

/// Where a socket leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SocketAddress {
    /// A path with query under the manifest's URL.
    Path(String),
    /// A URL that the manifest's hosts cover.
    Url(String),
    /// A handle that a `capture` rule made.
    Handle(String),
}

/// A socket that a component wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketTarget {
    /// A `[[socket]]` of its manifest.
    pub endpoint: String,
    /// Where to.
    pub address: SocketAddress,
    /// Of the handshake.
    pub headers: Vec<(String, String)>,
    /// The kernel pings as often, ms.
    pub ping_ms: Option<u32>,
}

/// What came through a socket, or shall.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frame {
    /// Its number.
    pub socket: u32,
    /// Else binary.
    pub text: bool,
    /// What.
    #[serde(with = "serde_base64")]
    pub data: Vec<u8>,
}

/// A socket has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closed {
    /// Its number.
    pub socket: u32,
    /// The other side's.
    pub code: Option<u16>,
    /// Why.
    pub reason: String,
}

/// A socket that a component ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closing {
    /// Its number.
    pub socket: u32,
    /// 1000, or from 3000 to 4999.
    pub code: u16,
    /// Why, at most 123 bytes.
    pub reason: String,
}

/// A socket that is open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketStatus {
    /// Which `[[socket]]` of the manifest's.
    pub endpoint: EndpointName,
    /// Its number.
    pub socket: u32,
    /// Since when, ms since the epoch.
    pub since_ms: u64,
    /// When something last came through it, ms since the epoch.
    pub last_frame_ms: Option<u64>,
}
