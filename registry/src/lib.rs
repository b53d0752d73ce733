//! Signed packages: built, signed, and verified before anything else may touch them.
//!
//! A package is one `.wasm` file with its manifest inside, and a Sigstore bundle beside it. [`verify::verify`] is the
//! only maker of a [`VerifiedPackage`]: the signature is by a pinned key of a publisher, or was made without a key by
//! whom a publisher's rule names ([`keyless`]), the statement names these bytes, the manifest's name and version are the signed ones, what the component imports is what the manifest asks,
//! no deny-list names it, and it is not older than what was seen before. Nothing here compiles or runs a component, and
//! nothing here grants.
//!
//! ```
//! use carapace_registry::{PublisherBook, SigningKey};
//! let key = SigningKey::generate()?;
//! let mut book = PublisherBook::empty();
//! book.pin("local".parse()?, key.public(), 0)?;
//! assert!(book.by_fingerprint(&key.public().fingerprint()).is_some());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![allow(clippy::disallowed_methods, reason = "this room owns package, key and publisher files")]

pub mod assets;
pub mod bundle;
pub mod deny;
pub mod dsse;
mod files;
pub mod imports;
pub mod key;
pub mod keyless;
pub mod package;
pub mod publisher;
pub mod signed;
#[cfg(any(test, feature = "testing"))]
#[doc(hidden)]
#[allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "fixtures for tests")]
pub mod testing;
pub mod verify;

pub use assets::{Asset, AssetError, AssetFiles};
pub use deny::DenyList;
pub use key::{Fingerprint, PublicKey, SigningKey};
pub use publisher::PublisherBook;
pub use verify::{Signer, Trust, TrustError, VerifiedPackage, verify, verify_as};
