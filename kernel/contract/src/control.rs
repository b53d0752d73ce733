//! What an owner may tell a running kernel: the CLI's door to it, behind the owner's token.

use crate::digest::Digest;
use crate::name::{ComponentId, InstanceId, SecretName};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;

/// The longest that a request waits for something new, milliseconds.
pub const MAX_WAIT_MS: u64 = 20_000;

/// Text that is never shown by `Debug`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sensitive(pub String);

impl fmt::Debug for Sensitive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// A package that lies beside the installed ones until its owner has agreed to it: 32 lower-case hex digits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StageId(String);

impl StageId {
    /// From random bytes.
    pub fn from_bytes(random: [u8; 16]) -> Self {
        Self(hex::encode(random))
    }
}

impl TryFrom<String> for StageId {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        // It becomes part of a path.
        let is_hex = text.len() == 32 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if is_hex { Ok(Self(text)) } else { Err("a stage is 32 lower-case hex digits".to_owned()) }
    }
}

impl From<StageId> for String {
    fn from(stage: StageId) -> Self {
        stage.0
    }
}

impl fmt::Display for StageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One request; the answer is JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub enum ControlRequest {
    /// Stores a secret. Answer: `{}`.
    SecretSet {
        /// Whose.
        instance: InstanceId,
        /// Its name in the manifest.
        name: SecretName,
        /// Its value.
        value: Sensitive,
    },
    /// Removes a secret. Answer: `{"removed": bool}`.
    SecretRemove {
        /// Whose.
        instance: InstanceId,
        /// Its name in the manifest.
        name: SecretName,
    },
    /// Files that installed packages ask for. Answer: `[{"component", "name", "sha256", "size", "sources", "license", "here"}]`.
    AssetList,
    /// Names, never values. Answer: `[{"name", "updated_ms"}]`.
    SecretList,
    /// Takes an instance's grant away, or optional capabilities of it; bites on its next host call. Answer: `{}`.
    GrantRevoke {
        /// Whose.
        instance: InstanceId,
        /// Only these, each of them optional; all of the grant without any.
        #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
        capabilities: BTreeSet<String>,
    },
    /// What granting would mean now, for a person to read. Answer: `{"component", "version", "publisher", "digest",
    /// "standing": "none" | "revoked" | "granted", "lines": [text], "grown": [text], "optional": [capability], "refused": [capability],
    /// "warnings": [text], "shown": digest}`.
    GrantShow {
        /// Whose.
        instance: InstanceId,
        /// Optional capabilities that were refused, and shall be granted, too.
        #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
        capabilities: BTreeSet<String>,
    },
    /// Gives back what was revoked, or grants what [`Self::GrantShow`] showed. Answer: `{}`.
    GrantRestore {
        /// Whose.
        instance: InstanceId,
        /// See [`Self::GrantShow`].
        #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
        capabilities: BTreeSet<String>,
        /// Optional capabilities that are refused.
        #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
        without: BTreeSet<String>,
        /// `shown` of what was shown; if anything of it has changed since, nothing is granted. Without it nothing is granted that was
        /// not granted before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        shown: Option<Digest>,
    },
    /// Grants refused optional capabilities for a while, in a running kernel only. Answer: `{}`.
    GrantLend {
        /// To whom.
        instance: InstanceId,
        /// Which.
        capabilities: BTreeSet<String>,
        /// `shown` of what [`Self::GrantShow`] showed for them.
        shown: Digest,
        /// For so long, at most a day; none: for the next call that uses any of them.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seconds: Option<u64>,
    },
    /// Publishers, the deny-list or the trusted root changed on the disk: what they no longer allow is stopped and unloaded at once,
    /// code that was replaced and still runs included. Answer: `{"unloaded": [{"instance", "digest", "why", "replaced": bool}]}`.
    TrustChanged,
    /// What bringing in a staged package would mean, for a person to read. Nothing changes. Answer: `{"component", "version", "digest",
    /// "publisher", "description", "installed": version | null, "same": bool, "lines": [text], "grown": [text], "data": text | null,
    /// "optional": [{"capability", "text"}], "warnings": [text], "shown": digest}`; `optional` is what of it can be refused alone,
    /// and is not refused already; `data` says that what is kept is in a newer form than this version knows.
    PackageShow {
        /// Where it lies.
        stage: StageId,
        /// What it must be.
        digest: Digest,
        /// Whose it becomes if its component is not installed yet: `main` without it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        instance: Option<crate::name::Name>,
        /// Although it is older than a version that was here before.
        #[serde(default)]
        allow_downgrade: bool,
    },
    /// Installs a staged package that [`Self::PackageShow`] showed, or lets it follow what is installed. Answer: as there.
    PackageBring {
        /// See [`Self::PackageShow`].
        stage: StageId,
        /// See [`Self::PackageShow`].
        digest: Digest,
        /// `shown` of what the owner was shown and agreed to; if anything of it has changed since, nothing is installed. Without it
        /// nothing is granted that was not granted before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        shown: Option<Digest>,
        /// Optional capabilities that are refused.
        #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
        without: BTreeSet<String>,
        /// See [`Self::PackageShow`].
        #[serde(default, skip_serializing_if = "Option::is_none")]
        instance: Option<crate::name::Name>,
        /// See [`Self::PackageShow`].
        #[serde(default)]
        allow_downgrade: bool,
    },
    /// What going back to the version before would mean, for a person to read. Answer: `{"component", "from", "to", "digest",
    /// "grown": [text], "data": text | null, "shown": digest}`; `grown` is what comes back with it that the owner does not allow now,
    /// `data` as in [`Self::PackageShow`].
    PackageRollbackShow {
        /// Of what.
        component: ComponentId,
    },
    /// Goes back to the version before. Answer: `{"from", "to"}`.
    PackageRollback {
        /// Of what.
        component: ComponentId,
        /// `shown` of what the owner was shown and agreed to. Without it nothing comes back that the owner does not allow now.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        shown: Option<Digest>,
    },
    /// Uninstalls a component with all its instances and their grants. Answer: `{"removed": [instance], "configured": [key]}`;
    /// `configured` are the sections of the configuration that name instances of it.
    PackageUninstall {
        /// Which.
        component: ComponentId,
        /// Also what its instances kept: kv, memory, secrets.
        delete_data: bool,
    },
    /// What the instances of a component keep. Answer: `{"kv_bytes", "notes", "secrets"}`.
    PackageData {
        /// Which.
        component: ComponentId,
    },
    /// Loads an installed instance again, or keeps it from being loaded. Answer: `{"loaded": bool}`: the configuration may keep one from
    /// being loaded that is enabled.
    InstanceEnable {
        /// Which.
        instance: InstanceId,
        /// Or not.
        enabled: bool,
    },
    /// What components propose to install, and waits for the owner. Answer: `[{"id", "name", "reason", "instance", "session", "tainted",
    /// "at_ms", "expires_ms"}]`; `name` and `reason` are the asking component's words.
    RequestList,
    /// Ends a request. Installing is [`Self::PackageBring`], as for anything else. Answer: `{"ended": bool}`.
    RequestEnd {
        /// Which.
        id: ulid::Ulid,
        /// The owner has installed it. False: they said no.
        approved: bool,
    },
    /// The secrets that an instance was granted. Answer: `[{"name", "from": "store" | "environment" | null, "optional": bool}]`; never a value.
    SecretsOf {
        /// Whose.
        instance: InstanceId,
    },
    /// All grants. Answer: `[{"instance", "by", "at_ms", "revoked", "digest", "lines": [text], "optional": [capability],
    /// "refused": [capability], "lent": [capability], "lent_seconds": number | null}]`; lent without a time: for the next call.
    GrantList,
    /// The last refusals of an instance, oldest first; in memory, since it was loaded. Answer: `[{"at_ms", "code", "message", "fix"}]`.
    Denials {
        /// Which.
        instance: InstanceId,
    },
    /// What an instance logged after the line of that number, oldest first; waits so long for something new. Answer: `[{"n", "at_ms",
    /// "level", "kernel", "message", "fields"}]`.
    Logs {
        /// Whose.
        instance: InstanceId,
        /// 0: all that is kept.
        after: u64,
        /// At most [`MAX_WAIT_MS`].
        wait_ms: u64,
    },
    /// Writes down the next calls of an instance. Answer: `{}`.
    Record {
        /// Whose.
        instance: InstanceId,
        /// How many calls of tools and completions.
        calls: u64,
    },
    /// What is new in its recording; waits so long for something new. Answer: `{"lines": [text], "next", "begun", "over", "done": bool}`.
    Recorded {
        /// Whose.
        instance: InstanceId,
        /// The `next` of the answer before; 0 at the beginning.
        from: usize,
        /// At most [`MAX_WAIT_MS`].
        wait_ms: u64,
    },
    /// Records no further calls. Answer: `{}`.
    RecordStop {
        /// Whose.
        instance: InstanceId,
    },
    /// Walks every chain. Answer: the report.
    AuditVerify,
    /// About channels: who may talk, what goes out, what went wrong.
    Channel(ChannelRequest),
    /// Stops the kernel as a signal would. Answer: `{}`.
    Shutdown,
}

/// See [`ControlRequest::Channel`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case", deny_unknown_fields)]
pub enum ChannelRequest {
    /// Every channel. Answer: a list of [`ChannelStatus`](crate::channel::ChannelStatus).
    List,
    /// One channel. Answer: its [`ChannelStatus`](crate::channel::ChannelStatus).
    Status {
        /// Which.
        instance: InstanceId,
    },
    /// Sends the owner a short message through this channel, to where they last wrote directly. It waits in the outbox like any other; for
    /// ten minutes. Answer: `{"owner": {"sender", "at_ms"} | null, "part": id | null}`; both are null if the owner has not written through it
    /// yet.
    Test {
        /// Which.
        instance: InstanceId,
    },
    /// Strangers who wait, and those who may talk. Answer: `{"pending": [{"instance", "code", "sender", "name", "at_ms", "expires_ms"}],
    /// "paired": [{"instance", "sender", "name", "owner", "at_ms"}]}`.
    PairingList,
    /// Lets a stranger talk. Answer: `{"instance", "sender", "name", "owner"}`.
    PairingApprove {
        /// The code they were given, in any case, with or without its hyphen.
        code: String,
        /// They are the owner, who writes from there.
        #[serde(default)]
        owner: bool,
    },
    /// Forgets a stranger and their code. Answer: `{"instance", "sender", "name"}`.
    PairingReject {
        /// The code.
        code: String,
    },
    /// Somebody may no longer talk. Answer: `{}`.
    PairingRemove {
        /// Through which channel.
        instance: InstanceId,
        /// By the platform's id.
        sender: String,
    },
    /// Parts that have not gone out: waiting, being sent, uncertain, given up. Answer: `[{"id", "instance", "conversation", "state", "text",
    /// "attempts", "not_before_ms", "expires_ms", "tried_ms", "detail"}]`.
    OutboxList {
        /// Of one channel only.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        instance: Option<InstanceId>,
    },
    /// Sends a part (again) now. Answer: `{}`.
    OutboxRetry {
        /// Which.
        id: ulid::Ulid,
    },
    /// One part, however it stands. Answer: `{"state", "attempts", "error": text | null, "receipt": text | null}`; the receipt is the
    /// platform's id of what was sent.
    OutboxShow {
        /// Which.
        id: ulid::Ulid,
    },
    /// Gives a part up. Answer: `{}`.
    OutboxDrop {
        /// Which.
        id: ulid::Ulid,
    },
    /// Events and messages that were put aside. Answer: `[{"id", "instance", "what": "event" | "message", "why", "at_ms", "body"}]`.
    EventList,
    /// Gives one to its channel again. Answer: `{}`.
    EventReplay {
        /// Which.
        id: ulid::Ulid,
    },
    /// Forgets one. Answer: `{}`.
    EventDrop {
        /// Which.
        id: ulid::Ulid,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_leads_nowhere_else() {
        let good = StageId::from_bytes([0xab; 16]);
        assert_eq!(StageId::try_from(good.to_string()), Ok(good));
        for bad in ["", "..", "../../../../../../../../etc/passwd", &"A".repeat(32), &"a".repeat(33), &"/".repeat(32)] {
            assert!(StageId::try_from((*bad).to_owned()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_request_about_channels_reads_as_it_was_written() {
        let id = ulid::Ulid::from_parts(1, 2);
        for request in [
            ChannelRequest::List,
            ChannelRequest::PairingApprove { code: "ABCD-EFGH".into(), owner: true },
            ChannelRequest::OutboxList { instance: None },
            ChannelRequest::EventReplay { id },
        ] {
            let request = ControlRequest::Channel(request);
            let text = serde_json::to_string(&request).unwrap();
            assert_eq!(serde_json::from_str::<ControlRequest>(&text).unwrap(), request, "{text}");
        }
        let text = r#"{"do":"channel","ask":"pairing-approve","code":"A","owner":true,"force":true}"#;
        assert!(serde_json::from_str::<ControlRequest>(text).unwrap_err().to_string().contains("force"));
    }
}
