//! What goes wrong between a name and a package. Each has a stable code and, where something would help, the command.

use carapace_contract::manifest::deceives;
use carapace_contract::{ComponentId, Contracts, Denial, Digest, Name};
use semver::Version;
use std::fmt;
use std::path::PathBuf;

/// One version of one component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// Which component.
    pub id: ComponentId,
    /// Its version.
    pub version: Version,
}

impl Release {
    /// That version of that component, on the heap: errors are small.
    pub fn boxed(id: &ComponentId, version: &Version) -> Box<Self> {
        Box::new(Self { id: id.clone(), version: version.clone() })
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.id, self.version)
    }
}

/// Why a registry, an index, a name or a package was refused.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// `E-REG-001`
    #[error("`{location}` is not a place for a registry or a package: {why}")]
    Location {
        /// As given.
        location: String,
        /// What is wrong with it.
        why: String,
    },
    /// `E-REG-002`
    #[error("cannot read {what}: {why}")]
    Unreachable {
        /// Path or URL.
        what: String,
        /// What the system or the other side said.
        why: String,
    },
    /// `E-REG-003`
    #[error("there is no {0}")]
    Missing(String),
    /// `E-REG-004`
    #[error("{what} is larger than {max} bytes, the most that is read")]
    TooLarge {
        /// Path or URL.
        what: String,
        /// The cap.
        max: usize,
    },
    /// `E-REG-005`
    #[error("{} is not an ordinary file; a registry holds no links", .0.display())]
    NotAFile(PathBuf),
    /// `E-REG-006`
    #[error("the index of `{registry}` is not signed by a key that is pinned for it: {why}")]
    NotSigned {
        /// Which registry.
        registry: Name,
        /// What the envelope lacks.
        why: String,
    },
    /// `E-REG-007`
    #[error("the index of `{registry}` is signed, but is not one: {why}")]
    NotAnIndex {
        /// Which registry.
        registry: Name,
        /// What is wrong.
        why: String,
    },
    /// `E-REG-008`
    #[error("this is the index of the registry `{found}`, and `{wanted}` is pinned at this place")]
    OtherRegistry {
        /// Pinned.
        wanted: Name,
        /// In the index.
        found: String,
    },
    /// `E-REG-009`
    #[error(
        "the index of `{registry}` (version {version}) has expired, so newer versions and withdrawals may be hidden"
    )]
    Expired {
        /// Which registry.
        registry: Name,
        /// Its version.
        version: u64,
    },
    /// `E-REG-010`
    #[error(
        "the index of `{registry}` has version {offered}, and version {seen} was seen before; it only moves forward"
    )]
    Rollback {
        /// Which registry.
        registry: Name,
        /// The highest seen.
        seen: u64,
        /// This one's.
        offered: u64,
    },
    /// `E-REG-011`
    #[error(
        "`{registry}` serves two different indexes with version {version}: somebody answers this machine with another one"
    )]
    Forked {
        /// Which registry.
        registry: Name,
        /// The version of both.
        version: u64,
    },
    /// `E-REG-012`
    #[error("`{registry}` sent another file for {package}: {why}")]
    Swapped {
        /// Which registry.
        registry: Name,
        /// Which.
        package: Box<Release>,
        /// Size or digest.
        why: String,
    },
    /// `E-REG-013`
    #[error("the index of `{registry}` says of {package} {what} `{index}`, and the package itself `{found}`")]
    Misdescribed {
        /// Which registry.
        registry: Name,
        /// Which.
        package: Box<Release>,
        /// Which field.
        what: &'static str,
        /// In the index.
        index: String,
        /// In the package.
        found: String,
    },
    /// `E-REG-014`
    #[error("{0}")]
    Book(String),
    /// `E-REG-015`
    #[error("{what} cannot stand in an index: {why}")]
    NotIndexed {
        /// Which file.
        what: String,
        /// Why.
        why: String,
    },
    /// `E-REG-020`
    #[error("no registry here has {wanted}{near}")]
    NotFound {
        /// As asked for.
        wanted: String,
        /// What is called almost like it.
        near: String,
    },
    /// `E-REG-021`
    #[error("`{name}` is published by {}; these are different components", and(.publishers))]
    Ambiguous {
        /// As asked for.
        name: Name,
        /// By whom.
        publishers: Vec<String>,
    },
    /// `E-REG-022`
    #[error("no version of {id} fits `{requirement}`; there are {}", and(.versions))]
    NoVersion {
        /// Which component.
        id: ComponentId,
        /// As asked for.
        requirement: String,
        /// The newest few.
        versions: Vec<String>,
    },
    /// `E-REG-023`
    #[error("{package}: {}; nothing was fetched", .speaks.unspoken(.needs))]
    Contract {
        /// Which.
        package: Box<Release>,
        /// What it is built for.
        needs: String,
        /// What this is.
        speaks: Contracts,
    },
    /// `E-REG-024`
    #[error("{package} is withdrawn: {why}")]
    Withdrawn {
        /// Which.
        package: Box<Release>,
        /// By whom, and what for.
        why: String,
    },
    /// `E-REG-029`
    #[error("{package} must not run: the deny-list names {what}")]
    Denied {
        /// Which.
        package: Box<Release>,
        /// The entry.
        what: String,
    },
    /// `E-REG-025`
    #[error("`{asked}` looks like `{known}`, which is {standing}, and is another one")]
    LookAlike {
        /// What was found.
        asked: ComponentId,
        /// What is known here.
        known: String,
        /// `installed here`, `by a publisher you pinned`, …
        standing: &'static str,
    },
    /// `E-REG-026`
    #[error("`{registry}` says that {id} is by `{}`, but it is signed with another key than those pinned for `{}` here", id.publisher, id.publisher)]
    Impersonation {
        /// Which registry.
        registry: Name,
        /// Which component.
        id: ComponentId,
    },
    /// `E-REG-027`
    #[error("`{0}` is not NAME, PUBLISHER/NAME, or one of these with @VERSION: {1}")]
    Request(String, String),
    /// `E-REG-028`
    #[error("{package} is {one} in `{first}` and {other} in `{second}`")]
    Disagree {
        /// Which.
        package: Box<Release>,
        /// One registry…
        first: Name,
        /// …has this package…
        one: Digest,
        /// …and another registry…
        second: Name,
        /// …has that one.
        other: Digest,
    },
    /// `E-REG-035`
    #[error("`plugins.lock` names {locked} as {package}, and what came is {found}")]
    Unlocked {
        /// Which.
        package: Box<Release>,
        /// In the lock.
        locked: Digest,
        /// What came.
        found: Digest,
    },
    /// `E-REG-036`
    #[error("{package} came from a file where `plugins.lock` was written, so it cannot be brought from here")]
    FromFile {
        /// Which.
        package: Box<Release>,
        /// The file's digest.
        digest: Digest,
    },
    /// `E-REG-030`
    #[error("`{0}` is not oci://HOST/REPOSITORY[:TAG][@sha256:DIGEST]: {1}")]
    OciReference(String, String),
    /// `E-REG-031`
    #[error("the OCI registry answered {what} with {status}{detail}")]
    OciStatus {
        /// `the upload of a blob`, …
        what: String,
        /// HTTP status.
        status: u16,
        /// Its own words.
        detail: String,
    },
    /// `E-REG-032`
    #[error("{what} is not a WebAssembly artifact of this kind: {why}")]
    OciArtifact {
        /// The reference.
        what: String,
        /// What was found instead.
        why: String,
    },
    /// `E-REG-033`
    #[error("no signature is attached to {0}")]
    OciUnsigned(String),
    /// `E-REG-034`
    #[error("{0} wants to know who you are")]
    OciAuth(String),
}

/// As much of a stranger's text as fits into an error, without what could make a line lie.
pub(crate) fn shown(text: &str) -> String {
    text.chars().filter(|c| !deceives(*c)).take(120).collect()
}

/// `a`, `a and b`, `a, b and c`.
fn and(all: &[String]) -> String {
    match all {
        [] => "none".to_owned(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

impl RegistryError {
    /// Stable: `E-REG-<NNN>`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Location { .. } => "E-REG-001",
            Self::Unreachable { .. } => "E-REG-002",
            Self::Missing(_) => "E-REG-003",
            Self::TooLarge { .. } => "E-REG-004",
            Self::NotAFile(_) => "E-REG-005",
            Self::NotSigned { .. } => "E-REG-006",
            Self::NotAnIndex { .. } => "E-REG-007",
            Self::OtherRegistry { .. } => "E-REG-008",
            Self::Expired { .. } => "E-REG-009",
            Self::Rollback { .. } => "E-REG-010",
            Self::Forked { .. } => "E-REG-011",
            Self::Swapped { .. } => "E-REG-012",
            Self::Misdescribed { .. } => "E-REG-013",
            Self::Book(_) => "E-REG-014",
            Self::NotIndexed { .. } => "E-REG-015",
            Self::NotFound { .. } => "E-REG-020",
            Self::Ambiguous { .. } => "E-REG-021",
            Self::NoVersion { .. } => "E-REG-022",
            Self::Contract { .. } => "E-REG-023",
            Self::Withdrawn { .. } => "E-REG-024",
            Self::Denied { .. } => "E-REG-029",
            Self::LookAlike { .. } => "E-REG-025",
            Self::Impersonation { .. } => "E-REG-026",
            Self::Request(..) => "E-REG-027",
            Self::Disagree { .. } => "E-REG-028",
            Self::Unlocked { .. } => "E-REG-035",
            Self::FromFile { .. } => "E-REG-036",
            Self::OciReference(..) => "E-REG-030",
            Self::OciStatus { .. } => "E-REG-031",
            Self::OciArtifact { .. } => "E-REG-032",
            Self::OciUnsigned(_) => "E-REG-033",
            Self::OciAuth(_) => "E-REG-034",
        }
    }

    /// What to do; empty where nothing should be done.
    pub fn fix(&self) -> String {
        match self {
            Self::NotSigned { registry, .. } => format!(
                "if it signs with a new key, get its statement and `carapace registry rotate FILE`; to trust another key instead: \
                 `carapace registry remove {registry}`, then `carapace registry add {registry} LOCATION KEY`"
            ),
            Self::OtherRegistry { wanted, found } => {
                format!("`carapace registry remove {wanted}`, then `carapace registry add {found} LOCATION KEY`")
            }
            Self::Expired { registry, .. } => format!(
                "whoever keeps `{registry}` renews it with `carapace registry index`; to use this one as it is: --accept-expired"
            ),
            Self::Rollback { registry, .. } | Self::Forked { registry, .. } => format!(
                "if its keeper began anew: `carapace registry remove {registry}`, then `carapace registry add {registry} LOCATION KEY`"
            ),
            Self::NotFound { .. } => "`carapace plugin search WORDS` looks in all registries".to_owned(),
            Self::Ambiguous { name, publishers } => {
                let first = publishers.first().map_or("PUBLISHER", String::as_str);
                format!("name the publisher: `{first}/{name}`")
            }
            Self::Withdrawn { package, .. } => format!("`{}@={}` names it nevertheless", package.id, package.version),
            Self::LookAlike { asked, .. } => format!("if it is the one you mean, name it in full: `{asked}`"),
            Self::Unlocked { .. } => {
                "what was locked is no longer there; if the other one is meant, `carapace plugin install` asks about it"
                    .to_owned()
            }
            Self::FromFile { digest, .. } => {
                format!(
                    "get the file from there; `carapace plugin install FILE --accept {digest}` takes these bytes and no others"
                )
            }
            Self::OciUnsigned(_) => {
                "`carapace plugin publish` attaches the signature that lies beside a package".to_owned()
            }
            Self::OciAuth(host) => {
                format!(
                    "CARAPACE_OCI_REGISTRY={host}, with CARAPACE_OCI_USERNAME and CARAPACE_OCI_PASSWORD of your account there"
                )
            }
            _ => String::new(),
        }
    }

    /// For people, in one piece.
    pub fn denial(&self) -> Denial {
        Denial::new(self.code(), self.to_string(), self.fix())
    }
}
