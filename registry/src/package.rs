//! A package is one component with its manifest as the last top-level custom section, hence inside the digest.

use crate::bundle::{self, BundleError, PackagePredicate};
use crate::imports;
use crate::key::SigningKey;
use carapace_contract::Contracts;
use carapace_contract::manifest::{MAX_BYTES as MAX_MANIFEST, Manifest, ManifestError, SECTION};
use wasmparser::{Encoding, Parser, Payload};

/// A package's largest size, bytes.
pub const MAX_BYTES: usize = 64 << 20;

/// Why a file is not a package.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// Above [`MAX_BYTES`].
    #[error("the package is {0} bytes long; at most {MAX_BYTES} are allowed")]
    TooBig(usize),
    /// Not wasm, or broken.
    #[error("the file is not a valid WebAssembly component: {0}")]
    Wasm(String),
    /// A core module.
    #[error("the file is a core module, not a component; build it with `carapace plugin build`")]
    Module,
    /// No manifest.
    #[error("the component has no `{SECTION}` section; build it with `carapace plugin build`")]
    Missing,
    /// More than one manifest.
    #[error("the component has more than one `{SECTION}` section; exactly one is allowed")]
    Twice,
    /// A manifest inside a nested module or component.
    #[error("a module or component nested in the package has a `{SECTION}` section; only the package itself may")]
    Nested,
    /// Something after the manifest.
    #[error("the `{SECTION}` section is not the last one; nothing may be appended to a package")]
    NotLast,
    /// Not text.
    #[error("the `{SECTION}` section is not UTF-8")]
    NotUtf8,
    /// Too long.
    #[error("the manifest is {0} bytes long; at most {MAX_MANIFEST} are allowed")]
    ManifestTooBig(usize),
    /// Its text.
    #[error("the manifest is not valid:\n{0}")]
    Manifest(#[from] ManifestError),
    /// What it asks for is not what the component imports and exports.
    #[error("the component and its manifest disagree:\n{}", .0.join("\n"))]
    Imports(Vec<String>),
    /// Signing.
    #[error("cannot sign the package: {0}")]
    Sign(#[from] BundleError),
}

/// Makes a package from a core module (as wit-bindgen leaves it) or a component, and its manifest.
///
/// # Errors
/// The wasm or the manifest is not valid, the two disagree, or the wasm carries a manifest already.
pub fn build(wasm: &[u8], manifest_text: &str) -> Result<Vec<u8>, PackageError> {
    let manifest = Manifest::parse(manifest_text)?;
    let component = componentize(wasm)?;
    match read_section(&component) {
        Err(PackageError::Missing) => {}
        Ok(_) | Err(PackageError::NotLast) => return Err(PackageError::Twice),
        Err(e) => return Err(e),
    }
    let package = append_manifest(component, manifest_text.as_bytes());
    read_section(&package)?;
    let report = imports::check(&package, &manifest)?;
    if report.problems.is_empty() { Ok(package) } else { Err(PackageError::Imports(report.problems)) }
}

/// Signs a package: the JSON of its `NAME.sigstore.json`.
///
/// # Errors
/// The package has no valid manifest.
pub fn sign(package: &[u8], key: &SigningKey) -> Result<Vec<u8>, PackageError> {
    let (manifest, _) = read_manifest(package)?;
    let c = manifest.component;
    let predicate = PackagePredicate { name: c.name.to_string(), version: c.version.to_string(), contract: c.contract };
    Ok(bundle::sign(package, &predicate, key)?)
}

/// The manifest of a package, parsed, and its text.
///
/// # Errors
/// See [`PackageError`]; each way to be wrong has its name.
pub fn read_manifest(package: &[u8]) -> Result<(Manifest, String), PackageError> {
    read_manifest_for(package, Contracts::SPOKEN)
}

/// [`read_manifest`] for a kernel that speaks these versions of the contract.
///
/// # Errors
/// As [`read_manifest`].
pub fn read_manifest_for(package: &[u8], contracts: Contracts) -> Result<(Manifest, String), PackageError> {
    let text = read_section(package)?;
    Ok((Manifest::parse_for(text, contracts)?, text.to_owned()))
}

/// The manifest's text.
///
/// # Errors
/// See [`PackageError`].
pub fn read_section(package: &[u8]) -> Result<&str, PackageError> {
    if package.len() > MAX_BYTES {
        return Err(PackageError::TooBig(package.len()));
    }
    let broken = |e: wasmparser::BinaryReaderError| PackageError::Wasm(e.to_string());
    let mut depth = 0usize;
    let mut found: Option<&[u8]> = None;
    let mut last = false;
    for payload in Parser::new(0).parse_all(package) {
        let payload = payload.map_err(broken)?;
        if depth == 0 && !matches!(payload, Payload::End(_)) {
            last = false;
        }
        match payload {
            Payload::Version { encoding: Encoding::Module, .. } if depth == 0 => return Err(PackageError::Module),
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::CustomSection(section) if section.name() == SECTION => {
                if depth > 0 {
                    return Err(PackageError::Nested);
                }
                if found.replace(section.data()).is_some() {
                    return Err(PackageError::Twice);
                }
                last = true;
            }
            _ => {}
        }
    }
    let data = found.ok_or(PackageError::Missing)?;
    if !last {
        return Err(PackageError::NotLast);
    }
    if data.len() > MAX_MANIFEST {
        return Err(PackageError::ManifestTooBig(data.len()));
    }
    std::str::from_utf8(data).map_err(|_| PackageError::NotUtf8)
}

fn componentize(wasm: &[u8]) -> Result<Vec<u8>, PackageError> {
    if wasm.len() > MAX_BYTES {
        return Err(PackageError::TooBig(wasm.len()));
    }
    // The encoder trusts its input: a cut module would end it.
    wasmparser::Validator::new().validate_all(wasm).map_err(|e| PackageError::Wasm(e.to_string()))?;
    if Parser::is_component(wasm) {
        return Ok(wasm.to_vec());
    }
    let encode = || wit_component::ComponentEncoder::default().validate(true).module(wasm)?.encode();
    encode().map_err(|e| PackageError::Wasm(format!("{e:#}")))
}

/// Appends the manifest's section, whatever is there already.
pub(crate) fn append_manifest(mut component: Vec<u8>, manifest: &[u8]) -> Vec<u8> {
    let mut body = Vec::with_capacity(manifest.len() + SECTION.len() + 5);
    leb128(&mut body, SECTION.len());
    body.extend_from_slice(SECTION.as_bytes());
    body.extend_from_slice(manifest);
    component.push(0);
    leb128(&mut component, body.len());
    component.extend_from_slice(&body);
    component
}

fn leb128(out: &mut Vec<u8>, mut value: usize) {
    loop {
        let low = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

#[cfg(test)]
mod tests;
