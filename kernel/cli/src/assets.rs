//! Files that packages ask for: which, whether they are here, and bringing those that lie beside a bundle.

use crate::failure::{OrFail, Outcome};
use carapace_config::StatePaths;
use carapace_contract::manifest::AssetDecl;
use carapace_contract::{InstanceId, Name};
use carapace_registry::{AssetFiles, VerifiedPackage};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// One package's files, as `assets list` shows them.
pub(crate) fn of(package: &VerifiedPackage, files: &AssetFiles) -> Vec<Value> {
    let one = |a: &AssetDecl| {
        json!({
            "component": package.id(), "name": a.name, "sha256": a.sha256, "size": a.size, "sources": a.sources,
            "license": a.license, "here": files.has(&a.sha256, a.size),
        })
    };
    package.manifest().assets.iter().map(one).collect()
}

/// Takes what is missing from the bundle's own `assets` directory, if it is there; a file that is another one is told and left.
/// Answers with what is still missing.
pub(crate) async fn bring(
    paths: &StatePaths,
    packages: impl IntoIterator<Item = (InstanceId, Arc<VerifiedPackage>)>,
    bundle: Option<&Path>,
) -> Outcome<Vec<(InstanceId, AssetDecl)>> {
    let files = Arc::new(AssetFiles::new(paths.assets()));
    let mut missing = BTreeMap::new();
    for (id, package) in packages {
        for asset in package.manifest().assets.iter().filter(|a| !files.has(&a.sha256, a.size)) {
            missing.entry(asset.sha256).or_insert((id.clone(), asset.clone()));
        }
    }
    let mut still = Vec::new();
    for (id, asset) in missing.into_values() {
        let beside = bundle.map(|b| b.join("assets").join(asset.name.as_str())).filter(|p| p.is_file());
        let Some(file) = beside else {
            still.push((id, asset));
            continue;
        };
        tracing::info!(file = %file.display(), "taking a file from the bundle");
        let (files, digest, size, from) = (files.clone(), asset.sha256, asset.size, file.clone());
        let added = tokio::task::spawn_blocking(move || files.add(&from, &digest, size, &mut |_| {}));
        if let Err(why) = added.await.or_fail("a file of the bundle could not be taken")? {
            tracing::warn!(file = %file.display(), %why, "a file of the bundle is not the one that was signed");
            still.push((id, asset));
        }
    }
    Ok(still)
}

/// For the person who starts it.
pub(crate) fn how_to_bring(id: &InstanceId, asset: &AssetDecl) -> String {
    let shown = if *id.id() == Name::main() { id.name().to_string() } else { id.to_string() };
    format!(
        "`{shown}` cannot answer yet: its file {} ({} MB) is not here. What brings it: {}.",
        asset.name,
        asset.size / 1_000_000,
        AssetDecl::how_to_bring(&asset.sources)
    )
}
