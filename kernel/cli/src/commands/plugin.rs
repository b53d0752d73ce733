//! `carapace plugin …` on files: build, sign, inspect, verify.

use crate::failure::{Exit, Failure, OrFail, Outcome};
use crate::trust;
use carapace_config::StatePaths;
use carapace_contract::Digest;
use carapace_contract::capability::CapabilitySet;
use carapace_registry::{Signer, SigningKey, imports, package};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Makes a package from what the compiler made and its manifest.
pub(crate) fn build(core: &Path, manifest: &Path, out: &Path) -> Outcome {
    let wasm = std::fs::read(core).or_fail(format!("cannot read {}", core.display()))?;
    let text = std::fs::read_to_string(manifest).or_fail(format!("cannot read {}", manifest.display()))?;
    let bytes = package::build(&wasm, &text)
        .map_err(|e| Failure::new(Exit::Usage, e.to_string()).context(manifest.display()))?;
    let (parsed, _) = package::read_manifest(&bytes).or_fail(manifest.display())?;
    let report = imports::check(&bytes, &parsed).or_fail(core.display())?;
    for warning in &report.warnings {
        eprintln!("warning: {warning}");
    }
    if !report.problems.is_empty() {
        return Err(Failure::new(Exit::Usage, report.problems.join("\n")).context(manifest.display()));
    }
    trust::write_whole(out, &bytes)?;
    println!("{} {} ({} bytes, {})", parsed.component.name, parsed.component.version, bytes.len(), Digest::of(&bytes));
    Ok(())
}

/// Signs packages; with the local publisher's key unless another is named.
pub(crate) fn sign(paths: &StatePaths, files: &[PathBuf], bundle: Option<&Path>, key: Option<&Path>) -> Outcome {
    let key = match key {
        Some(file) => SigningKey::load(file).or_fail(format!("cannot read the key {}", file.display()))?,
        None => trust::local_key(paths)?.0,
    };
    let files = match bundle {
        Some(dir) => trust::packages_in(dir)?,
        None => files.to_vec(),
    };
    for file in files {
        let bytes = std::fs::read(&file).or_fail(format!("cannot read {}", file.display()))?;
        let signature = package::sign(&bytes, &key)
            .map_err(|e| Failure::new(Exit::Usage, e.to_string()).context(file.display()))?;
        trust::write_whole(&trust::signature_path(&file), &signature)?;
        println!("signed {} with {}", file.display(), key.public());
    }
    Ok(())
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
    let bytes = std::fs::read(file).or_fail(format!("cannot read {}", file.display()))?;
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
            "description": component.description, "capabilities": sentences, "limits": manifest.limits,
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
