//! What an owner may tell a running kernel: the CLI's door to it, behind the owner's token.

use crate::digest::Digest;
use crate::name::{InstanceId, SecretName};
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
    /// Walks every chain. Answer: the report.
    AuditVerify,
    /// Stops the kernel as a signal would. Answer: `{}`.
    Shutdown,
}
