//! The host's own releases: provenance that the project's release workflow attested, checked by a rule that was compiled
//! in.

use super::{Bundle, Identity, Problem, Rule, TrustedRoot};

/// What GitHub's provenance attestations say.
pub const PROVENANCE: &str = "https://slsa.dev/provenance/v1";
/// Who vouches for GitHub's workflows.
pub const GITHUB: &str = "https://token.actions.githubusercontent.com";
/// The largest release that is read, bytes.
pub const MAX_BYTES: usize = 1 << 30;
/// The workflow that makes releases.
pub const WORKFLOW: &str = ".github/workflows/release.yml";
/// The number of the repository whose release workflow compiled this, if one did. The workflow sets the variable; a
/// kernel that was built anywhere else does not know of any repository that it should believe.
const REPOSITORY_ID: Option<&str> = option_env!("CARAPACE_RELEASE_REPOSITORY_ID");

/// Why a release was refused.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// The signature.
    #[error(transparent)]
    Keyless(#[from] Problem),
    /// Signed well, by somebody else.
    #[error("the release is signed by {0}, and not by {1}")]
    Signer(Box<Identity>, Box<Rule>),
    /// By the right workflow, at another ref.
    #[error("the release is signed by {0}, and not at {1}")]
    Ref(Box<Identity>, String),
    /// Not provenance.
    #[error("the signature is good, but what was signed is not a release's provenance: {0}")]
    Statement(String),
    /// Another file's.
    #[error(
        "the signature is good, but it is about other files: this one was changed, or the bundle is another release's"
    )]
    Digest,
}

impl ReleaseError {
    /// Stable: `E-TRUST-<NNN>`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Keyless(problem) => problem.code(),
            Self::Signer(..) => "E-TRUST-020",
            Self::Ref(..) => "E-TRUST-034",
            Self::Statement(_) => "E-TRUST-006",
            Self::Digest => "E-TRUST-007",
        }
    }
}

/// By which rule releases are checked, if this kernel was made by the release workflow.
pub fn rule() -> Option<Rule> {
    let id = REPOSITORY_ID?;
    Rule::from_parts([
        format!("issuer={GITHUB}").as_str(),
        format!("repository-id={id}").as_str(),
        format!("workflow={WORKFLOW}").as_str(),
    ])
    .ok()
}

/// Says who made a release, if the rule's workflow did, at a tag, and the bundle is about this file. With `reference`, not
/// any tag will do, but only this ref. A person has no ref.
///
/// # Errors
/// The first thing that is wrong.
pub fn verify(
    file: &[u8],
    bundle_json: &[u8],
    rule: &Rule,
    reference: Option<&str>,
    root: &TrustedRoot,
) -> Result<Identity, ReleaseError> {
    let opened = root.open(&Bundle::parse(bundle_json)?)?;
    if !rule.matches(&opened.identity) {
        return Err(ReleaseError::Signer(Box::new(opened.identity), Box::new(rule.clone())));
    }
    // Whoever may push may run the workflow from a branch of their own; who may tag, a repository can restrict.
    let at = opened.identity.build.as_ref().map(|build| build.workflow_ref.as_str());
    let fits = match (at, reference) {
        (Some(at), Some(wanted)) => at == wanted,
        (Some(at), None) => at.strip_prefix("refs/tags/").is_some_and(|tag| !tag.is_empty()),
        (None, wanted) => wanted.is_none(),
    };
    if !fits {
        let wanted = reference.map_or_else(|| "a tag".to_owned(), |wanted| format!("`{wanted}`"));
        return Err(ReleaseError::Ref(Box::new(opened.identity), wanted));
    }
    if !opened.names(file, PROVENANCE).map_err(ReleaseError::Statement)? {
        return Err(ReleaseError::Digest);
    }
    Ok(opened.identity)
}
