//! `carapace plugin …` on files: sign, inspect, verify.

use crate::failure::{Exit, Failure, OrFail, Outcome};
use crate::trust;
use carapace_config::StatePaths;
use carapace_contract::Digest;
use carapace_contract::capability::CapabilitySet;
use carapace_registry::index::INDEX_FILE;
use carapace_registry::{Signer, SigningKey, imports, package};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Signs packages; with the local publisher's key unless another is named.
pub(crate) fn sign(paths: &StatePaths, files: &[PathBuf], bundle: Option<&Path>, key: Option<&Path>) -> Outcome {
    let key = signing_key(paths, key)?;
    let files = match bundle {
        Some(dir) => trust::packages_in(dir)?,
        None => files.to_vec(),
    };
    for file in files {
        sign_with(&file, &key)?;
        println!("signed {} with {}", file.display(), key.public());
    }
    if let Some(dir) = bundle.filter(|dir| dir.join(INDEX_FILE).exists()) {
        eprintln!(
            "note: a start takes what the index there names: `carapace plugin publish FILE --to {0}`, then `carapace registry index {0} --id {1}`",
            dir.display(),
            trust::BUNDLED
        );
    }
    Ok(())
}

/// Signs one package and says nothing.
pub(crate) fn sign_quietly(paths: &StatePaths, file: &Path, key: Option<&Path>) -> Outcome {
    sign_with(file, &signing_key(paths, key)?)
}

fn signing_key(paths: &StatePaths, key: Option<&Path>) -> Outcome<SigningKey> {
    match key {
        Some(file) => SigningKey::load(file).or_fail(format!("cannot read the key {}", file.display())),
        None => Ok(trust::local_key(paths)?.0),
    }
}

fn sign_with(file: &Path, key: &SigningKey) -> Outcome {
    let bytes = trust::read_package(file)?;
    let signature =
        package::sign(&bytes, key).map_err(|e| Failure::new(Exit::Usage, e.to_string()).context(file.display()))?;
    trust::write_whole(&trust::signature_path(file), &signature)
}

/// Makes a key.
pub(crate) fn keygen(out: &Path) -> Outcome {
    let key = SigningKey::generate().or_fail("cannot make a key")?;
    key.save(out).or_fail(format!("cannot save {}", out.display()))?;
    println!("{}", key.public());
    eprintln!("The private key is in {}. Give the line above to those who shall trust you.", out.display());
    Ok(())
}

/// Shows what a file is and could do, whether or not anyone trusts it.
pub(crate) fn inspect(paths: &StatePaths, file: &Path, as_json: bool) -> Outcome {
    let bytes = trust::read_package(file)?;
    let (manifest, _) = package::read_manifest(&bytes)
        .map_err(|e| Failure::new(Exit::Refused, e.to_string()).context(file.display()))?;
    let surface = imports::decode(&bytes).or_fail(file.display())?;
    let report = imports::check(&bytes, &manifest).or_fail(file.display())?;
    let capabilities = CapabilitySet::from(&manifest);
    let verified = trust::load(paths).and_then(|t| trust::verify_file(file, None, &t));
    let publisher = match &verified {
        Ok(p) => with_signer(json!({ "trusted": true, "id": p.id().publisher }), p.signer()),
        Err(e) => json!({ "trusted": false, "problem": e.to_string() }),
    };
    let component = &manifest.component;
    let sentences = capabilities.sentences(None);
    if as_json {
        print_json(&json!({
            "file": file, "publisher": publisher, "digest": Digest::of(&bytes), "bytes": bytes.len(),
            "name": component.name, "version": component.version, "contract": component.contract,
            "description": component.description, "capabilities": sentences, "limits": manifest.limits, "build": manifest.build,
            "imports": surface.imports, "exports": surface.exports,
            "problems": report.problems, "warnings": report.warnings,
        }));
        return Ok(());
    }
    println!("{} {} — {}", component.name, component.version, component.description);
    match &verified {
        Ok(p) => {
            println!("publisher  {}", p.id().publisher);
            show_signer(p.signer());
        }
        Err(e) => println!("publisher  NOT TRUSTED: {e}"),
    }
    println!("digest     {}", Digest::of(&bytes));
    println!("contract   {}", component.contract);
    println!("size       {} bytes", bytes.len());
    if let Some(build) = &manifest.build {
        println!("built by   {}", build.compiler);
    }
    println!("\nIt asks to:");
    for s in &sentences {
        println!("  - {}", crate::owner::said(s));
    }
    list("Imports", surface.imports.iter());
    list("Exports", surface.exports.iter());
    list("Problems", report.problems.iter());
    list("Warnings", report.warnings.iter());
    Ok(())
}

fn list<'a>(title: &str, items: impl ExactSizeIterator<Item = &'a String>) {
    if items.len() > 0 {
        println!("\n{title}:");
        items.for_each(|i| println!("  {i}"));
    }
}

/// Says whether a file would be accepted, without installing it.
pub(crate) fn verify(paths: &StatePaths, file: &Path, signature: Option<&Path>, as_json: bool) -> Outcome {
    let package = trust::verify_file(file, signature, &trust::load(paths)?)?;
    if as_json {
        let verified = json!({ "verified": true, "component": package.id(), "version": package.version(),
            "digest": package.digest(), "warnings": package.warnings() });
        print_json(&with_signer(verified, package.signer()));
    } else {
        println!("{} {} {}: good, signed by {}", package.id(), package.version(), package.digest(), package.signer());
        package.warnings().iter().for_each(|w| println!("warning: {w}"));
    }
    Ok(())
}

/// Who signed, for a person. What the certificate says of names is what they were when it was made.
fn show_signer(signer: &Signer) {
    match signer {
        Signer::Key(key) => println!("key        {key}"),
        Signer::Keyless(identity) => {
            println!("signed by  {}", identity.subject);
            println!("issuer     {}", identity.issuer);
            if let Some(build) = &identity.build {
                println!("repository number {}, called {} by the certificate", build.repository_id, build.repository);
                println!("workflow   {} at {}", build.workflow, build.workflow_ref);
            }
        }
    }
}

/// Who signed, for scripts: `key` or `keyless`.
fn with_signer(mut value: Value, signer: &Signer) -> Value {
    if let Some(fields) = value.as_object_mut() {
        match signer {
            Signer::Key(key) => fields.insert("key".to_owned(), key.to_string().into()),
            Signer::Keyless(identity) => fields.insert("keyless".to_owned(), json!(identity)),
        };
    }
    value
}

/// Prints JSON for scripts.
pub(crate) fn print_json(value: &Value) {
    println!("{value:#}");
}
