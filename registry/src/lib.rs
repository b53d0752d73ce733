//! Signed packages: built, signed, and verified before anything else may touch them.
//!
//! A package is one `.wasm` file with its manifest inside, and a Sigstore bundle beside it. [`verify::verify`] is the
//! only maker of a [`VerifiedPackage`]: the signature is by a pinned key of a publisher, or was made without a key by
//! whom a publisher's rule names ([`keyless`]), the statement names these bytes, the manifest's name and version are the signed ones, what the component imports is what the manifest asks,
//! no deny-list names it, and it is not older than what was seen before. Nothing here compiles or runs a component, and
//! nothing here grants.
//!
//! Packages are found through registries: a directory (or the same behind HTTPS) with a signed [`index::Index`], whose
//! keys the owner pinned in a [`RegistryBook`]; [`mod@resolve`] turns a name into one package, and [`source`] brings it. The
//! network is a port, [`Fetch`]: nothing here opens a socket.
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
pub mod error;
pub mod fetch;
pub mod files;
pub mod imports;
pub mod index;
pub mod key;
pub mod keyless;
pub mod location;
pub mod lock;
pub mod oci;
pub mod package;
pub mod publisher;
pub mod registries;
pub mod resolve;
pub mod signed;
pub mod source;
#[cfg(any(test, feature = "testing"))]
#[doc(hidden)]
#[allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "fixtures for tests")]
pub mod testing;
pub mod verify;

pub use assets::{Asset, AssetError, AssetFiles};
pub use deny::DenyList;
pub use error::RegistryError;
pub use fetch::{Fetch, FetchError, FetchRequest, FetchResponse};
pub use key::{Fingerprint, PublicKey, SigningKey};
pub use location::Location;
pub use publisher::PublisherBook;
pub use registries::RegistryBook;
pub use verify::{Signer, Trust, TrustError, VerifiedPackage, verify, verify_as};
