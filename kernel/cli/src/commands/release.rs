//! `carapace verify-release`: is this download the project's?

use super::plugin::print_json;
use crate::args::VerifyReleaseArgs;
use crate::failure::{Exit, Failure, Outcome};
use crate::trust;
use carapace_config::StatePaths;
use carapace_registry::bundle;
use carapace_registry::files::read_ordinary;
use carapace_registry::keyless::Rule;
use carapace_registry::keyless::release::{self, ReleaseError};
use serde_json::json;
use std::path::PathBuf;

/// Checks a download against the bundle beside it.
pub(crate) fn verify(paths: &StatePaths, args: &VerifyReleaseArgs) -> Outcome {
    let rule = match args.keyless.as_slice() {
        [] => release::rule().ok_or_else(unknown)?,
        parts => {
            Rule::from_parts(parts.iter().map(String::as_str)).map_err(|e| Failure::new(Exit::Usage, e.to_string()))?
        }
    };
    let signature = args.signature.clone().unwrap_or_else(|| {
        let mut name = args.file.clone().into_os_string();
        name.push(".sigstore.json");
        PathBuf::from(name)
    });
    let file = trust::read(&args.file, release::MAX_BYTES)?;
    let bundle = read_ordinary(&signature, bundle::MAX_BYTES as u64).map_err(|e| {
        Failure::new(Exit::Refused, format!("there is no signature: {}: {e}", signature.display()))
            .help("download it beside the release, or name it with --signature")
    })?;
    let trust = trust::load(paths)?;
    let identity = release::verify(&file, &bundle, &rule, args.r#ref.as_deref(), &trust.root).map_err(|e| {
        let failure = Failure::coded(Exit::Refused, e.code(), e.to_string()).context(args.file.display());
        match e {
            ReleaseError::Ref(..) => failure.help("download what a tag was released as; --ref names another ref"),
            _ => failure,
        }
    })?;
    let warning = trust.root.warning(trust.now_ms);
    if args.output.json {
        print_json(&json!({ "verified": true, "file": args.file, "signer": identity, "warning": warning }));
    } else {
        println!("{}: good, made by {identity}", args.file.display());
        warning.iter().for_each(|w| println!("warning: {w}"));
    }
    Ok(())
}

fn unknown() -> Failure {
    Failure::new(
        Exit::Refused,
        "this carapace was not made by the project's release workflow, so it does not know which repository's releases to believe",
    )
    .help(format!(
        "name it: --keyless issuer={} repository-id=NUMBER workflow={}",
        release::GITHUB,
        release::WORKFLOW
    ))
}
