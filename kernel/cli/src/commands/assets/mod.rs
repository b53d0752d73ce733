//! `carapace assets …`: files that belong to packages, such as a model's weights.

#![allow(clippy::indexing_slicing, reason = "only JSON is indexed, and that gives null where there is nothing")]

mod fetch;

use super::plugin::print_json;
use crate::failure::{Exit, Failure, OrFail, Outcome};
use crate::owner::carry_out;
use carapace_config::{ConfigHandle, StatePaths};
use carapace_contract::control::ControlRequest;
use carapace_contract::manifest::AssetDecl;
use carapace_contract::{AssetName, ComponentId, Digest};
use carapace_egress::Door;
use carapace_registry::AssetFiles;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Deserialize;
use std::path::Path;
use std::sync::Arc;

/// A file that an installed package asks for.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Wanted {
    /// Whose.
    pub component: ComponentId,
    /// Its name in the manifest.
    pub name: AssetName,
    /// What it is.
    pub sha256: Digest,
    /// Bytes.
    pub size: u64,
    /// Where it may be had.
    pub sources: Vec<url::Url>,
    /// SPDX expression.
    pub license: Option<String>,
    /// It is on this machine.
    pub here: bool,
}

impl Wanted {
    /// For people.
    pub(crate) fn megabytes(&self) -> u64 {
        self.size.div_ceil(1_000_000)
    }
}

async fn wanted(paths: &StatePaths, config: Arc<ConfigHandle>) -> Outcome<Vec<Wanted>> {
    let list = carry_out(paths, config, ControlRequest::AssetList).await?;
    serde_json::from_value(list).or_fail("the kernel's list of files cannot be read")
}

/// What packages ask for, and whether it is here.
pub(crate) async fn list(paths: &StatePaths, config: Arc<ConfigHandle>, as_json: bool) -> Outcome {
    if as_json {
        print_json(&carry_out(paths, config, ControlRequest::AssetList).await?);
        return Ok(());
    }
    let all = wanted(paths, config).await?;
    if all.is_empty() {
        println!("No installed component asks for a file.");
    }
    for w in all {
        let license = w.license.as_ref().map(|l| format!(", {l}")).unwrap_or_default();
        let standing =
            if w.here { "here".to_owned() } else { format!("missing: {}", AssetDecl::how_to_bring(&w.sources)) };
        println!("{} of {} ({} MB{license}): {standing}", w.name, w.component, w.megabytes());
    }
    Ok(())
}

/// Takes a file that is already on this machine.
pub(crate) async fn add(paths: &StatePaths, config: Arc<ConfigHandle>, file: &Path) -> Outcome {
    let all = wanted(paths, config).await?;
    let size = std::fs::metadata(file).or_fail(format!("cannot read {}", file.display()))?.len();
    // Only files of the right size can be the one; most often that is one, and it is hashed once.
    let mut fitting = all.iter().filter(|w| w.size == size).peekable();
    let what = || format!("{} is no file that an installed component asks for", file.display());
    if fitting.peek().is_none() {
        let known: Vec<String> = all.iter().map(|w| format!("{} ({} bytes)", w.name, w.size)).collect();
        let known = if known.is_empty() { "none asks for any".to_owned() } else { known.join(", ") };
        return Err(Failure::new(Exit::Refused, format!("{}: it has {size} bytes; asked for: {known}", what()))
            .help("carapace assets list --json"));
    }
    let files = AssetFiles::new(paths.assets());
    let mut refused = None;
    for w in fitting {
        let bar = progress(&format!("copying {}", w.name), w.size);
        match files.add(file, &w.sha256, w.size, &mut |n| bar.set_position(n)) {
            Ok(()) => {
                bar.finish_and_clear();
                println!("{} of {} is here.", w.name, w.component);
                return Ok(());
            }
            Err(e) => refused = Some(e),
        }
        bar.finish_and_clear();
    }
    let why = refused.map(|e| e.to_string()).unwrap_or_default();
    Err(Failure::new(Exit::Refused, format!("{}: {why}", what())).help("carapace assets list --json"))
}

/// Fetches what is missing, or the file named.
pub(crate) async fn fetch(
    paths: &StatePaths,
    config: Arc<ConfigHandle>,
    name: Option<&str>,
    from: Option<&url::Url>,
) -> Outcome {
    let mut all = wanted(paths, config).await?;
    if let Some(name) = name {
        let known: Vec<String> = all.iter().map(|w| w.name.to_string()).collect();
        all.retain(|w| w.name.as_str() == name);
        if all.is_empty() {
            let known = if known.is_empty() { "none asks for any".to_owned() } else { known.join(", ") };
            return Err(Failure::new(
                Exit::Usage,
                format!("no installed component asks for a file `{name}`; asked for: {known}"),
            )
            .help("carapace assets list"));
        }
    }
    all.retain(|w| !w.here);
    if all.is_empty() {
        println!("Every file that an installed component asks for is here.");
        return Ok(());
    }
    if from.is_some() && all.len() > 1 {
        return Err(Failure::new(Exit::Usage, "--from names one file, and several are missing")
            .help("carapace assets fetch NAME --from URL"));
    }
    let (door, files) = (Door::builder().build(), AssetFiles::new(paths.assets()));
    for w in &all {
        fetch::one(&door, &files, w, from).await?;
        println!("{} of {} is here.", w.name, w.component);
    }
    Ok(())
}

/// Removes a file; it can be brought again.
pub(crate) async fn remove(paths: &StatePaths, config: Arc<ConfigHandle>, name: &str) -> Outcome {
    let all = wanted(paths, config).await?;
    let files = AssetFiles::new(paths.assets());
    let mut removed = false;
    for w in all.iter().filter(|w| w.name.as_str() == name) {
        removed |= files.remove(&w.sha256).or_fail(format!("cannot remove {name}"))?;
    }
    if !removed {
        return Err(Failure::new(Exit::Failed, format!("there is no file `{name}` here")).help("carapace assets list"));
    }
    let sources = all.iter().find(|w| w.name.as_str() == name).map(|w| w.sources.as_slice()).unwrap_or_default();
    println!("{name} is removed. What brings it again: {}.", AssetDecl::how_to_bring(sources));
    Ok(())
}

/// A bar on the terminal; nothing where there is none.
fn progress(what: &str, size: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}");
    let bar = ProgressBar::new(size).with_message(what.to_owned());
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
