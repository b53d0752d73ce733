//! `carapace plugin dev`: build on every change, sign, and bring it into the running assistant.

use super::build;
use super::folder::{Folder, Profile};
use crate::args::{BringArgs, DevArgs, ReadingArgs, WithoutArgs};
use crate::client::Client;
use crate::commands::packages::{self, Bring};
use crate::commands::plugin;
use crate::failure::{Exit, Failure, OrFail, Outcome};
use crate::{question, trust};
use carapace_config::{ConfigHandle, StatePaths};
use carapace_contract::control::ControlRequest;
use carapace_contract::{ComponentId, Digest};
use carapace_registry::package;
use notify::{EventKind, RecursiveMode, Watcher as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// An editor writes a file in several steps; what changes within so long is one change.
const SETTLES: Duration = Duration::from_millis(60);

pub(crate) async fn run(paths: &StatePaths, config: Arc<ConfigHandle>, args: DevArgs) -> Outcome {
    let folder = Folder::at(&args.folder)?;
    let client = Client::needed(paths).await?;
    let mut session = Session { paths, config, args, folder, component: None, was_here: true };
    let (changes, mut changed) = mpsc::unbounded_channel();
    // Watched before the first build: what changes meanwhile is built next.
    let _watcher = watch(session.folder.clone(), changes)?;
    if session.args.once {
        return session.round(&client).await;
    }
    // One for all rounds: a Ctrl-C while something is built, or while a question stands, is not lost.
    let mut interrupted = std::pin::pin!(tokio::signal::ctrl_c());
    let mut begun = false;
    let mut next = None;
    loop {
        let ended = tokio::select! {
            _ = &mut interrupted => End::Interrupted,
            ended = session.until_changed(&client, &mut changed, &mut next) => ended,
        };
        match ended {
            End::Interrupted => return session.end().await,
            End::Unwatched => return Err(Failure::new(Exit::Failed, "the folder is not watched any more")),
            End::Round(Err(failure)) => session.failed(failure)?,
            End::Round(Ok(())) => {}
            End::Overtaken => eprintln!("\nNot asked any more: what the question was about has changed."),
        }
        if !std::mem::replace(&mut begun, true) {
            eprintln!("Watching {}; Ctrl-C ends.", session.folder.path.display());
        }
        let change = match next.take() {
            Some(change) => Some(change),
            None => tokio::select! {
                _ = &mut interrupted => return session.end().await,
                change = changed.recv() => change,
            },
        };
        let Some(change) = change else {
            return Err(Failure::new(Exit::Failed, "the folder is not watched any more"));
        };
        settle(&mut changed).await;
        eprintln!("\n{} has changed.", change.strip_prefix(&session.folder.path).unwrap_or(&change).display());
    }
}

/// How a round ended.
enum End {
    Round(Outcome),
    /// While a question stood, or before it could be asked, something changed that it would have been about.
    Overtaken,
    Interrupted,
    Unwatched,
}

struct Session<'a> {
    paths: &'a StatePaths,
    config: Arc<ConfigHandle>,
    args: DevArgs,
    folder: Folder,
    /// What was brought in.
    component: Option<ComponentId>,
    /// It was installed before this command.
    was_here: bool,
}

impl Session<'_> {
    /// A round. A change while it builds is the next round's; no question is asked, or left standing, about what is not there any more.
    async fn until_changed(
        &mut self,
        client: &Client,
        changed: &mut mpsc::UnboundedReceiver<PathBuf>,
        next: &mut Option<PathBuf>,
    ) -> End {
        let mut round = std::pin::pin!(self.round(client));
        loop {
            tokio::select! {
                biased;
                () = question::stands(), if next.is_some() => return End::Overtaken,
                outcome = &mut round => return End::Round(outcome),
                change = changed.recv(), if next.is_none() => match change {
                    Some(change) => *next = Some(change),
                    None => return End::Unwatched,
                },
            }
        }
    }

    /// Builds, signs and brings in what stands in the folder now. What runs stays until all of it is done.
    async fn round(&mut self, client: &Client) -> Outcome {
        let begin = Instant::now();
        let (folder, arguments) = (self.folder.clone(), self.args.arguments.clone());
        let build = move || build::of_folder(&folder, None, Profile::Quick, &arguments);
        let bytes = tokio::task::spawn_blocking(build).await.or_fail("the build")??;
        let built = begin.elapsed();
        let digest = Digest::of(&bytes);
        let (manifest, _) = package::read_manifest(&bytes).or_fail("the package")?;
        let staged = tempfile::tempdir()?;
        let file = staged.path().join(format!("{}.wasm", manifest.component.name));
        trust::write_whole(&file, &bytes)?;
        plugin::sign_quietly(self.paths, &file, self.args.key.as_deref())?;
        let component = trust::verify_file(&file, None, &trust::load(self.paths)?)?.id().clone();

        let status = client.get("/api/status").await?;
        let prefix = format!("{component}/");
        let instances = status.get("instances").and_then(serde_json::Value::as_array).into_iter().flatten();
        let field =
            |i: &serde_json::Value, key: &str| i.get(key).and_then(|v| v.as_str()).unwrap_or_default().to_owned();
        let here: Vec<String> =
            instances.filter(|i| field(i, "instance").starts_with(&prefix)).map(|i| field(i, "digest")).collect();
        if here.iter().any(|d| *d == digest.to_string()) {
            eprintln!("{component} is as it was.");
            self.component = Some(component);
            return Ok(());
        }
        if self.component.is_none() {
            self.was_here = !here.is_empty();
        }
        let what = if here.is_empty() {
            Bring::Install { instance: None, publisher: None }
        } else {
            Bring::Update(component.clone())
        };
        let bring = BringArgs {
            signature: None,
            accept: self.args.yes.then_some(digest),
            without: WithoutArgs::default(),
            // Whoever works on a component may go back in its numbers.
            allow_downgrade: true,
            reading: ReadingArgs::default(),
            json: false,
            locked: None,
        };
        packages::bring(self.paths, self.config.clone(), &file.display().to_string(), &bring, what).await?;
        self.component = Some(component);
        eprintln!("Built in {:.1} s, running after {:.1} s.", built.as_secs_f64(), begin.elapsed().as_secs_f64());
        Ok(())
    }

    /// What was running still is; the next change may mend it. Without an assistant there is nothing to go on for.
    fn failed(&self, failure: Failure) -> Outcome {
        if failure.exit == Exit::Unreachable {
            return Err(failure);
        }
        eprintln!("{}", failure.line());
        if let Some(component) = &self.component {
            eprintln!("{component} runs on as it was before this change.");
        }
        Ok(())
    }

    /// The last version that worked stays, unless its author wants it away.
    async fn end(self) -> Outcome {
        let Some(component) = self.component else { return Ok(()) };
        if !self.args.remove || self.was_here {
            eprintln!(
                "\n{component} stays installed as it was built last. `carapace plugin uninstall {component}` takes it away."
            );
            return Ok(());
        }
        let request = ControlRequest::PackageUninstall { component: component.clone(), delete_data: true };
        crate::owner::carry_out(self.paths, self.config, request).await?;
        eprintln!("\n{component} is uninstalled, with what it kept.");
        Ok(())
    }
}

/// Tells of every change of a source file below a folder.
fn watch(folder: Folder, changes: mpsc::UnboundedSender<PathBuf>) -> Outcome<notify::RecommendedWatcher> {
    let path = folder.path.clone();
    let tell = move |event: notify::Result<notify::Event>| {
        let Ok(event) = event else { return };
        if matches!(event.kind, EventKind::Access(_)) {
            return;
        }
        if let Some(path) = event.paths.into_iter().find(|path| is_source(&folder, path)) {
            // Nobody listens any more only when the command ends.
            let _ = changes.send(path);
        }
    };
    let failed = |e: notify::Error| Failure::new(Exit::Failed, format!("cannot watch {}: {e}", path.display()));
    let mut watcher = notify::recommended_watcher(tell).map_err(failed)?;
    watcher.watch(&path, RecursiveMode::Recursive).map_err(failed)?;
    Ok(watcher)
}

fn is_source(folder: &Folder, path: &Path) -> bool {
    let Ok(below) = path.strip_prefix(&folder.path) else { return false };
    let Some(first) = below.components().next() else { return false };
    if folder.is_built(first.as_os_str()) {
        return false;
    }
    let file = below.file_name().unwrap_or_default().to_string_lossy();
    // What editors put beside a file while they write it.
    let passing = file.starts_with(".#") || file.ends_with('~') || file.ends_with(".swp") || file.ends_with(".tmp");
    // Any file may be included in the code; folders have no extension, and recordings are for tests.
    let source = below.extension().is_some_and(|e| e != "jsonl" && e != "wasm");
    source && !passing
}

/// Waits until nothing changes any more.
async fn settle(changed: &mut mpsc::UnboundedReceiver<PathBuf>) {
    while let Ok(Some(_)) = tokio::time::timeout(SETTLES, changed.recv()).await {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Language;

    #[test]
    fn a_build_is_no_change_and_a_source_file_is() {
        let folder = |language| Folder { path: "/c".into(), language };
        let is = |path: &str| is_source(&folder(Language::Rust), &Path::new("/c").join(path));
        for path in [
            "src/lib.rs",
            "carapace.toml",
            "Cargo.toml",
            "vendor/carapace/sdk/rust/src/kv.rs",
            "src/page.html",
            "src/data.bin",
        ] {
            assert!(is(path), "{path}");
        }
        for path in [
            "target/x.rs",
            "bundle/a.json",
            "Cargo.lock",
            "src/.#lib.rs",
            "src/lib.rs~",
            "tests/recordings/a.jsonl",
            "src",
            "/else/lib.rs",
        ] {
            assert!(!is(path), "{path}");
        }
        let is = |path: &str| is_source(&folder(Language::TypeScript), &Path::new("/c").join(path));
        for path in ["src/index.ts", "package.json", "vendor/carapace-sdk/src/kv.ts", "carapace.toml"] {
            assert!(is(path), "{path}");
        }
        for path in ["build/component.js", "node_modules/esbuild/a.js", "package-lock.json", "bundle/a.json"] {
            assert!(!is(path), "{path}");
        }
    }
}
