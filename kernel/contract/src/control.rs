//! What an owner may tell a running kernel: the CLI's door to it, behind the owner's token.

use crate::digest::Digest;
use crate::name::{ComponentId, InstanceId, SecretName};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Text that is never shown by `Debug`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sensitive(pub String);

impl fmt::Debug for Sensitive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
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
    /// Takes an instance's grant away; bites on its next host call. Answer: `{}`.
    GrantRevoke {
        /// Whose.
        instance: InstanceId,
    },
    /// What granting would mean now, for a person to read. Answer: `{"component", "version", "publisher", "digest",
    /// "standing": "none" | "revoked" | "granted", "lines": [text], "grown": [text]}`.
    GrantShow {
        /// Whose.
        instance: InstanceId,
    },
    /// Gives back what was revoked, or grants what [`Self::GrantShow`] showed. Answer: `{}`.
    GrantRestore {
        /// Whose.
        instance: InstanceId,
        /// The package that was shown; without it nothing is granted that was not granted before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        digest: Option<Digest>,
    },
    /// Publishers or the deny-list changed on the disk: what they no longer allow is stopped and unloaded at once.
    /// Answer: `{"unloaded": [{"instance", "why"}]}`.
    TrustChanged,
    /// What bringing in a staged package would mean, for a person to read. Nothing changes. Answer: `{"component", "version", "digest",
    /// "publisher", "description", "installed": version | null, "same": bool, "lines": [text], "grown": [text]}`.
    PackageShow {
        /// Which file; it lies in the state directory already.
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
        /// Which file.
        digest: Digest,
        /// The owner agreed to what was shown. Without it nothing is granted that was not granted before.
        #[serde(default)]
        agreed: bool,
        /// See [`Self::PackageShow`].
        #[serde(default, skip_serializing_if = "Option::is_none")]
        instance: Option<crate::name::Name>,
        /// See [`Self::PackageShow`].
        #[serde(default)]
        allow_downgrade: bool,
    },
    /// Removes a staged package that nothing refers to. Answer: `{}`.
    PackageDiscard {
        /// Which file.
        digest: Digest,
    },
    /// Goes back to the version before. Answer: `{"from", "to"}`.
    PackageRollback {
        /// Of what.
        component: ComponentId,
    },
    /// Uninstalls a component with all its instances and their grants. Answer: `{"removed": [instance]}`.
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
    /// Loads an installed instance again, or keeps it from being loaded. Answer: `{}`.
    InstanceEnable {
        /// Which.
        instance: InstanceId,
        /// Or not.
        enabled: bool,
    },
    /// All grants. Answer: `[{"instance", "by", "at_ms", "revoked", "digest", "lines": [text]}]`.
    GrantList,
    /// The last refusals of an instance, oldest first; in memory, since it was loaded. Answer: `[{"at_ms", "code", "message", "fix"}]`.
    Denials {
        /// Which.
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
