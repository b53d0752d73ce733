//! Signatures without a key: a certificate for ten minutes, given to whoever an identity provider vouches for, and a
//! public log that shows when it was used. Verified offline, against a [`TrustedRoot`].
//!
//! Of a bundle is checked, by `sigstore-verify`: the certificate's chain at every time that something vouches for
//! (a log's signed entry time, RFC 3161 timestamps), its certificate log's promise (SCT), the transparency log's
//! inclusion proof, checkpoint and signed entry, that the entry is about this signature, and the DSSE signature over
//! the statement. Who signed is then compared with the [`Rule`]s of publishers, and the statement with the package, by
//! [`crate::verify()`]. What is missing is refused like what is wrong; nothing of an unverified statement gets out.
//!
//! Format: <https://docs.sigstore.dev/about/bundle/>; how a client verifies:
//! <https://docs.sigstore.dev/about/client-spec/>.

mod crypto;
mod identity;
mod open;
mod problem;
pub mod release;
pub mod root;

pub use identity::{Build, Identity, Rule, RuleError, Subject};
pub use open::{Bundle, Opened};
pub use problem::KeylessProblem as Problem;
pub use root::{RootContent, TrustedRoot};

#[cfg(test)]
mod public_tests;
#[cfg(test)]
mod tests;
