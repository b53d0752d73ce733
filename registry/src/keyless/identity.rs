//! Who signed without a key: what the certificate says, and the rules by which a publisher is recognised.
//!
//! A rule never rests on a name that somebody else can register later: a repository is its forge's number, not its
//! owner's name. The certificate's fields: <https://github.com/sigstore/fulcio/blob/main/docs/oid-info.md>.

use carapace_contract::manifest::deceives;
use serde::{Deserialize, Serialize};
use sigstore_verify::SubjectAltName;
use sigstore_verify::crypto::CertificateInfo;
use std::fmt;
use std::str::FromStr;

/// The longest text of a certificate or a rule, bytes.
const MAX_TEXT: usize = 512;

/// What a verified certificate says about its holder. Text of strangers: only [`Rule::matches`] makes it trusted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Identity {
    /// Who vouched for the holder: the identity provider's URL.
    pub issuer: String,
    /// The certificate's subject: an e-mail address, or the URI of a workflow.
    pub subject: Subject,
    /// Where a build ran, if a build signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub build: Option<Build>,
}

/// A certificate's subject.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Subject {
    /// A person's, or a service account's, address.
    Email(String),
    /// A workload.
    Uri(String),
}

/// A build that signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Build {
    /// The source repository's number at its forge (`1.3.6.1.4.1.57264.1.15`). It survives renames and is never given
    /// to another repository.
    pub repository_id: u64,
    /// What the repository was called then (`.1.12`).
    pub repository: String,
    /// The workflow's file within the repository (`.1.18`, without the ref).
    pub workflow: String,
    /// The ref that the workflow was taken from (`.1.18`).
    pub workflow_ref: String,
    /// Whether the file that held the signing job (`.1.9`) lies in the same repository.
    pub own_signer: bool,
}

impl Identity {
    /// What the certificate says, if it says whose it is.
    pub(super) fn of(certificate: &CertificateInfo) -> Option<Self> {
        let subject = match certificate.identity.as_ref()? {
            SubjectAltName::Email(email) => Subject::Email(email.clone()),
            SubjectAltName::Uri(uri) => Subject::Uri(uri.clone()),
            _ => return None,
        };
        let issuer = certificate.issuer.clone()?;
        (presentable(&issuer) && presentable(subject.text())).then(|| Self {
            issuer,
            subject,
            build: Build::of(certificate),
        })
    }
}

impl Identity {
    /// The rule that would let it in, for whoever decides to pin it. There is none for a workload that is no build, nor
    /// for a job that a file of another repository describes.
    pub fn rule(&self) -> Option<Rule> {
        let issuer = Some(self.issuer.clone());
        let written = match (&self.build, &self.subject) {
            (Some(build), Subject::Uri(_)) if build.own_signer => Written {
                issuer,
                repository_id: Some(build.repository_id),
                workflow: Some(build.workflow.clone()),
                email: None,
            },
            (None, Subject::Email(email)) => Written { issuer, email: Some(email.clone()), ..Written::default() },
            _ => return None,
        };
        written.try_into().ok()
    }
}

impl Build {
    fn of(certificate: &CertificateInfo) -> Option<Self> {
        let claims = &certificate.ci_claims;
        let repository = claims.source_repository_uri.as_ref()?;
        // GitLab writes two slashes before a path.
        let within = |uri: &str| {
            let path = uri.strip_prefix(repository.as_str())?.strip_prefix('/')?;
            Some(path.strip_prefix('/').unwrap_or(path).to_owned())
        };
        // A file's name cannot hold a slash, so the first `@refs/` is where the ref begins.
        let config = within(claims.build_config_uri.as_ref()?)?;
        let (workflow, rest) = config.split_once("@refs/")?;
        (presentable(repository) && presentable(&config)).then_some(())?;
        Some(Self {
            repository_id: claims.source_repository_identifier.as_ref()?.parse().ok()?,
            repository: repository.clone(),
            workflow: workflow.to_owned(),
            workflow_ref: format!("refs/{rest}"),
            own_signer: claims.build_signer_uri.as_deref().and_then(within).is_some(),
        })
    }
}

impl Subject {
    fn text(&self) -> &str {
        match self {
            Self::Email(text) | Self::Uri(text) => text,
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.build {
            Some(build) => write!(
                f,
                "the workflow `{}` at {} of repository number {} ({}), vouched for by {}",
                build.workflow, build.workflow_ref, build.repository_id, build.repository, self.issuer
            ),
            None => write!(f, "`{}`, vouched for by {}", self.subject, self.issuer),
        }
    }
}

/// Whether a stranger's text fits on a line that people read.
fn presentable(text: &str) -> bool {
    !text.is_empty() && text.len() <= MAX_TEXT && !text.chars().any(|c| deceives(c) || c.is_whitespace())
}

/// As much as is presentable of what is not.
fn plain(text: &str) -> String {
    text.chars().filter(|c| !deceives(*c)).take(MAX_TEXT).collect()
}

/// How a publisher who signs without a key is recognised.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Rule {
    issuer: String,
    holder: Holder,
}

/// Whom a [`Rule`] lets in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Holder {
    /// A workflow, at whatever ref, of the repository with that number.
    Workflow { repository_id: u64, path: String },
    /// An e-mail address.
    Email(String),
}

/// A rule as it stands in a file.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written {
    issuer: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    repository_id: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    workflow: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    email: Option<String>,
}

/// Why a rule cannot be pinned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// A part that is none, or is empty, or twice there.
    #[error(
        "`{0}` is no part of a rule; write issuer=URL repository-id=NUMBER workflow=PATH, or issuer=URL email=ADDRESS"
    )]
    Part(String),
    /// No issuer.
    #[error("a rule needs the issuer, such as issuer=https://token.actions.githubusercontent.com")]
    Issuer,
    /// The issuer is not a URL.
    #[error("the issuer `{0}` is not an https URL; it is compared letter by letter")]
    IssuerUrl(String),
    /// Not a number.
    #[error(
        "`{0}` is not a repository's number; GitHub tells it at https://api.github.com/repos/OWNER/NAME under \"id\". A name is not enough: somebody else can register it later"
    )]
    RepositoryId(String),
    /// A ref, or a place outside the repository.
    #[error(
        "`{0}` is not a workflow's path within its repository, without a ref, such as .github/workflows/release.yml"
    )]
    Workflow(String),
    /// Not an address.
    #[error("`{0}` is not an e-mail address")]
    Email(String),
    /// Neither or both.
    #[error("a rule names either repository-id and workflow, or email")]
    Holder,
}

impl Rule {
    /// Whether the certificate's holder is the one.
    pub fn matches(&self, identity: &Identity) -> bool {
        self.issuer == identity.issuer
            && match (&self.holder, &identity.build, &identity.subject) {
                // A job that another repository's file describes could sign whatever that file says.
                (Holder::Workflow { repository_id, path }, Some(build), Subject::Uri(_)) => {
                    build.own_signer && build.repository_id == *repository_id && build.workflow == *path
                }
                (Holder::Email(wanted), None, Subject::Email(email)) => wanted == email,
                _ => false,
            }
    }

    /// The issuer that it names.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// From parts such as `issuer=https://…`, each at most once.
    ///
    /// # Errors
    /// The part that is missing or cannot be.
    pub fn from_parts<'a>(parts: impl IntoIterator<Item = &'a str>) -> Result<Self, RuleError> {
        let mut written = Written::default();
        for part in parts {
            let unknown = || RuleError::Part(plain(part));
            let (name, value) = part.split_once('=').ok_or_else(unknown)?;
            let value = value.to_owned();
            let repeated = match name {
                "issuer" => written.issuer.replace(value).is_some(),
                "workflow" => written.workflow.replace(value).is_some(),
                "email" => written.email.replace(value).is_some(),
                "repository-id" => {
                    let number = value.parse().map_err(|_| RuleError::RepositoryId(plain(&value)))?;
                    written.repository_id.replace(number).is_some()
                }
                _ => true,
            };
            if repeated {
                return Err(unknown());
            }
        }
        written.try_into()
    }
}

impl TryFrom<Written> for Rule {
    type Error = RuleError;

    fn try_from(written: Written) -> Result<Self, RuleError> {
        let issuer = written.issuer.ok_or(RuleError::Issuer)?;
        if !issuer.starts_with("https://") || !presentable(&issuer) {
            return Err(RuleError::IssuerUrl(plain(&issuer)));
        }
        let holder = match (written.repository_id, written.workflow, written.email) {
            (Some(0), ..) => return Err(RuleError::RepositoryId("0".to_owned())),
            (Some(repository_id), Some(path), None) => {
                if !presentable(&path) || path.starts_with('/') || path.contains('@') || path.contains("://") {
                    return Err(RuleError::Workflow(plain(&path)));
                }
                Holder::Workflow { repository_id, path }
            }
            (None, None, Some(email)) if presentable(&email) && email.contains('@') => Holder::Email(email),
            (None, None, Some(email)) => return Err(RuleError::Email(plain(&email))),
            _ => return Err(RuleError::Holder),
        };
        Ok(Self { issuer, holder })
    }
}

impl From<Rule> for Written {
    fn from(rule: Rule) -> Self {
        let issuer = Some(rule.issuer);
        match rule.holder {
            Holder::Workflow { repository_id, path } => {
                Self { issuer, repository_id: Some(repository_id), workflow: Some(path), email: None }
            }
            Holder::Email(email) => Self { issuer, email: Some(email), ..Self::default() },
        }
    }
}

impl FromStr for Rule {
    type Err = RuleError;

    /// As [`fmt::Display`] writes it: parts with a space between them.
    fn from_str(text: &str) -> Result<Self, RuleError> {
        Self::from_parts(text.split_whitespace())
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "issuer={} ", self.issuer)?;
        match &self.holder {
            Holder::Workflow { repository_id, path } => write!(f, "repository-id={repository_id} workflow={path}"),
            Holder::Email(email) => write!(f, "email={email}"),
        }
    }
}
