//! `carapace plugin sync`: the set of another machine, by its `plugins.lock`.

use super::packages::{self, Bring};
use crate::args::{BringArgs, ReadingArgs, SyncArgs, WithoutArgs};
use crate::assembly::store_options;
use crate::failure::{Exit, Failure, OrFail, Outcome};
use carapace_config::{ConfigHandle, StatePaths};
use carapace_contract::{ComponentId, Digest};
use carapace_registry::error::Release;
use carapace_registry::lock::{self, Lock, Locked};
use carapace_registry::{RegistryError, oci};
use carapace_store::Store;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Brings in what is not here as it is locked, each with the owner's consent. Nothing is taken out.
pub(crate) async fn run(paths: &StatePaths, config: Arc<ConfigHandle>, args: &SyncArgs) -> Outcome {
    if !args.file.is_file() {
        return Err(Failure::new(Exit::Usage, format!("there is no {}", args.file.display()))
            .help("copy plugins.lock out of the state directory of the machine that has the set"));
    }
    // The file in this state directory changes with each package: it is read once, before.
    let lock = Lock::load(&args.file)?;
    let before = installed(paths).await?;
    let mut failed: Vec<Failure> = Vec::new();
    for locked in lock.iter() {
        let name = format!("{} {}", locked.id, locked.version);
        match before.get(&locked.id) {
            Some((digest, _)) if *digest == locked.digest => println!("{name} is here as it is locked."),
            here => {
                if let Err(why) = bring(paths, config.clone(), args, locked, here.is_some()).await {
                    eprintln!("error: {name}: {}", why.line());
                    failed.push(why);
                }
            }
        }
    }
    // The bundle is no lock's affair.
    for (other, _) in before.iter().filter(|(id, (_, by_hand))| *by_hand && lock.get(id).is_none()) {
        println!("{other} is installed, and not locked there.");
    }
    for locked in differently_granted(paths, &lock)? {
        println!("{} is granted other things here than where the lock was written.", locked.id);
    }
    match failed.first() {
        None => Ok(()),
        Some(first) => {
            let all = lock.iter().count();
            Err(Failure::new(first.exit, format!("{} of {all} packages are not here as they are locked", failed.len())))
        }
    }
}

async fn bring(
    paths: &StatePaths,
    config: Arc<ConfigHandle>,
    args: &SyncArgs,
    locked: &Locked,
    is_here: bool,
) -> Outcome {
    let Locked { id, version, digest, source, .. } = locked;
    if source == lock::FROM_FILE {
        return Err(RegistryError::FromFile { package: Release::boxed(id, version), digest: *digest }.into());
    }
    let registry = match source.starts_with(oci::SCHEME) || source.contains("://") {
        true => None,
        false => Some(source.parse().or_fail(format!("`{source}` is no source of a package"))?),
    };
    let from = if registry.is_some() { format!("{id}@={version}") } else { source.clone() };
    let what = match is_here {
        true => Bring::Update(id.clone()),
        false => Bring::Install { instance: None, publisher: Some(id.publisher.clone()) },
    };
    let how = BringArgs {
        signature: None,
        accept: args.accept.contains(digest).then_some(*digest),
        without: WithoutArgs::default(),
        allow_downgrade: args.allow_downgrade,
        reading: ReadingArgs { registry, accept_expired: args.accept_expired },
        json: false,
        locked: Some(*digest),
    };
    packages::bring(paths, config, &from, &how, what).await
}

/// What is installed here, by component, and whether the owner brought it.
async fn installed(paths: &StatePaths) -> Outcome<BTreeMap<ComponentId, (Digest, bool)>> {
    if !paths.database().exists() {
        return Ok(BTreeMap::new());
    }
    let reader = Store::open_reader(paths.root(), store_options()).or_fail("cannot read the state")?;
    let rows = reader.packages().await.or_fail("cannot read the installed packages")?;
    Ok(rows.into_iter().map(|row| (row.instance.component().clone(), (row.digest, row.by_hand))).collect())
}

/// Packages that are here as locked, under another grant.
fn differently_granted<'l>(paths: &StatePaths, lock: &'l Lock) -> Outcome<Vec<&'l Locked>> {
    let here = Lock::load(&paths.root().join(lock::FILE))?;
    let differs = |locked: &&Locked| {
        here.get(&locked.id).is_some_and(|own| own.digest == locked.digest && own.grants != locked.grants)
    };
    Ok(lock.iter().filter(differs).collect())
}
