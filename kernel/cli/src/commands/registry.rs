//! `carapace registry …`, and what `carapace plugin …` does with registries.

use super::plugin::print_json;
use crate::args::RegistryCommand;
use crate::failure::{Exit, Failure, OrFail, Outcome};
use crate::network::Network;
use crate::sources::{self, Indexes, Reading};
use crate::trust;
use carapace_config::StatePaths;
use carapace_contract::Name;
use carapace_registry::index::{self, Entry, INDEX_FILE, Index, Making};
use carapace_registry::oci::{self, Reference};
use carapace_registry::publisher::KeyState;
use carapace_registry::resolve::{Known, outdated as newer};
use carapace_registry::source::read_index;
use carapace_registry::{Location, PublicKey, PublisherBook, RegistryBook, SigningKey, registries};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::str::FromStr;

/// Carries out `carapace registry …`.
pub(crate) async fn run(paths: &StatePaths, command: RegistryCommand) -> Outcome {
    match command {
        RegistryCommand::List(output) => list(paths, output.json),
        RegistryCommand::Add { id, location, key, accept_expired } => {
            add(paths, parsed(&id)?, &location, parsed(&key)?, accept_expired).await
        }
        RegistryCommand::Remove { id } => {
            let id = parsed(&id)?;
            let gone = RegistryBook::change(&paths.registries(), |book| book.remove(&id))?;
            println!("{} is forgotten. What was installed from it stays.", gone.id);
            Ok(())
        }
        RegistryCommand::Rotate { file } => rotate(paths, &file),
        RegistryCommand::Index { dir, id, key, days, yank, reason, unyank, earlier_key } => {
            let key = key.map_or_else(|| Ok(trust::local_key(paths)?.0), |key| load_key(&key))?;
            let earlier_key = earlier_key.as_deref().map(parsed).transpose()?;
            let trust = trust::load(paths)?;
            let mut how = Making {
                registry: parsed(&id)?,
                key: &key,
                earlier_key,
                trust: &trust,
                days,
                yank: BTreeMap::new(),
                unyank: BTreeSet::new(),
            };
            withdrawn(&dir, &mut how, &yank, &reason, &unyank)?;
            make(&dir, &how)
        }
        RegistryCommand::RotateKey { id, how } => {
            let key = load_key(&how.old)?;
            let statement = registries::rotation(&parsed(&id)?, &key, &parsed(&how.new)?, how.retire_old)
                .or_fail("cannot make the statement")?;
            trust::write_whole(&how.out, &statement)?;
            println!("{}: those who added `{id}` follow with `carapace registry rotate`.", how.out.display());
            Ok(())
        }
    }
}

fn parsed<T: FromStr<Err: std::fmt::Display>>(text: &str) -> Outcome<T> {
    text.parse().map_err(|e: T::Err| Failure::new(Exit::Usage, e.to_string()))
}

fn load_key(file: &Path) -> Outcome<SigningKey> {
    SigningKey::load(file).or_fail(format!("cannot read the key {}", file.display()))
}

fn list(paths: &StatePaths, as_json: bool) -> Outcome {
    let book = sources::book(paths)?;
    if as_json {
        print_json(&serde_json::to_value(book.iter().collect::<Vec<_>>()).or_fail("cannot print")?);
        return Ok(());
    }
    if book.is_empty() {
        println!("There is no registry here. `carapace registry add ID LOCATION KEY` adds one.");
    }
    for registry in book.iter() {
        let seen = registry.seen.as_ref().map_or("never read".to_owned(), |s| format!("version {}", s.version));
        println!("{:<16} {} ({seen})", registry.id, registry.location);
        for key in registry.keys.iter().filter(|k| k.state == KeyState::Active) {
            println!("{:<16} {}", "", key.key);
        }
    }
    Ok(())
}

/// Adds a registry, if its index can be read and is signed by that key.
async fn add(paths: &StatePaths, id: Name, location: &str, key: PublicKey, accept_expired: bool) -> Outcome {
    trust::make_state_dir(paths)?;
    let location: Location = if location.contains("://") {
        location.parse()?
    } else {
        let path = std::path::absolute(location).or_fail(format!("cannot make {location} absolute"))?;
        Location::Directory(path)
    };
    let now_ms = trust::now_ms();
    // What cannot be added is told before anything is read.
    let mut alone = sources::book(paths)?;
    alone.add(id.clone(), location.clone(), key, now_ms)?;
    let bytes = read_index(&location, &sources::network(&alone)).await?;
    let index = RegistryBook::change(&paths.registries(), |book| {
        book.add(id.clone(), location, key, now_ms)?;
        book.accept(&id, &bytes, now_ms, accept_expired)
    })?;
    println!(
        "{id} is added: {} packages, version {} of its index. Who signed a package still decides whether it may run.",
        index.packages.len(),
        index.version
    );
    Ok(())
}

fn rotate(paths: &StatePaths, file: &Path) -> Outcome {
    let statement = trust::read(file, carapace_registry::bundle::MAX_BYTES)?;
    let rotated = RegistryBook::change(&paths.registries(), |book| book.rotate(&statement, trust::now_ms()))?;
    println!("the index of {} is signed with {} from now on.", rotated.registry, rotated.new);
    if rotated.retired {
        println!("{} is retired: what it signed is refused.", rotated.old);
    }
    Ok(())
}

/// Turns names of packages into digests, by the index that is there.
fn withdrawn(dir: &Path, how: &mut Making<'_>, yank: &[String], reason: &str, unyank: &[String]) -> Outcome {
    if yank.is_empty() && unyank.is_empty() {
        return Ok(());
    }
    let Some(index) = index::previous(dir, how)? else {
        let file = dir.join(INDEX_FILE);
        return Err(Failure::new(Exit::Usage, format!("nothing can be withdrawn: there is no {}", file.display())));
    };
    let why = |digest| (digest, reason.to_owned());
    how.yank = index::digests_of(&index, yank)?.into_iter().map(why).collect();
    how.unyank = index::digests_of(&index, unyank)?;
    Ok(())
}

fn make(dir: &Path, how: &Making<'_>) -> Outcome {
    let made = index::make(dir, how)?;
    let yanked = if made.yanked > 0 { format!(", {} of them withdrawn", made.yanked) } else { String::new() };
    println!(
        "{}: version {}, {} packages{yanked}, good for {} days",
        dir.join(INDEX_FILE).display(),
        made.version,
        made.packages,
        how.days
    );
    println!("`carapace registry add {} LOCATION {}` adds it elsewhere.", how.registry, how.key.public());
    Ok(())
}

/// Who signed an entry, as this machine calls it.
fn publisher<'a>(entry: &'a Entry, book: &'a PublisherBook) -> (&'a Name, &'static str) {
    match entry.signer.known(book) {
        Some((publisher, true)) => (&publisher.id, "pinned"),
        Some((_, false)) => (&entry.id.publisher, "its key is retired here"),
        None if book.get(&entry.id.publisher).is_some() => (&entry.id.publisher, "NOT the one you pinned"),
        None => (&entry.id.publisher, "not pinned"),
    }
}

/// `carapace plugin search WORDS`
pub(crate) async fn search(paths: &StatePaths, words: &[String], reading: &Reading, as_json: bool) -> Outcome {
    let indexes = sources::indexes(paths, reading, true).await?.found;
    let trust = trust::load(paths)?;
    let installed = sources::installed(paths).await?;
    let hits = index::search(&indexes, words);
    if as_json {
        let hits = hits.iter().map(|hit| {
            let (publisher, standing) = publisher(hit.entry, &trust.publishers);
            json!({ "name": format!("{publisher}/{}", hit.entry.id.name), "registry": hit.registry, "publisher": standing,
                "version": hit.entry.version, "contract": hit.entry.contract, "digest": hit.entry.digest,
                "size": hit.entry.size, "description": hit.entry.description, "kinds": hit.entry.kinds,
                "asks": hit.entry.asks, "signer": hit.entry.signer })
        });
        print_json(&Value::Array(hits.collect()));
        return Ok(());
    }
    if hits.is_empty() {
        println!("Nothing here is called or described like that.");
    }
    for hit in &hits {
        let (publisher, standing) = publisher(hit.entry, &trust.publishers);
        let name = format!("{publisher}/{}", hit.entry.id.name);
        let here = installed.iter().find(|(id, _)| id.to_string() == name);
        let here = here.map(|(_, version)| format!(", {version} is installed")).unwrap_or_default();
        println!("{name} {} — {}", hit.entry.version, hit.entry.description);
        println!("  in {}; publisher {standing}{here}", hit.registry);
        if !hit.entry.asks.is_empty() {
            println!("  asks for {}", hit.entry.asks.iter().cloned().collect::<Vec<_>>().join(", "));
        }
    }
    Ok(())
}

/// `carapace plugin outdated`
pub(crate) async fn outdated(paths: &StatePaths, reading: &Reading, as_json: bool) -> Outcome {
    let Indexes { found: indexes, unread } = sources::indexes(paths, reading, true).await?;
    let indexes: Vec<&Index> = indexes.iter().collect();
    let (trust, installed) = (trust::load(paths)?, sources::installed(paths).await?);
    let known = Known { publishers: &trust.publishers, deny: &trust.deny, installed: &installed };
    let found = newer(&indexes, &known);
    if as_json {
        let found = found.iter().map(|(from, to)| {
            json!({ "name": to.id, "installed": from, "newest": to.entry.version, "registry": to.registry })
        });
        print_json(&Value::Array(found.collect()));
        if !unread.is_empty() {
            // The warnings above say which; the list is what it is.
            std::process::exit(Exit::Failed as i32);
        }
        return Ok(());
    }
    for (from, to) in &found {
        println!("{} {from} → {} (in {})", to.id, to.entry.version, to.registry);
        println!("  carapace plugin update {}", to.id);
    }
    if !unread.is_empty() {
        let names: Vec<String> = unread.iter().map(|(id, _)| format!("`{id}`")).collect();
        let why = format!("{} could not be read; what is new there is not in this list", names.join(", "));
        return Err(Failure::new(Exit::Failed, why).help("to look in another one only: --registry ID"));
    }
    if found.is_empty() {
        println!("Everything that is installed is as new as what the registries have.");
    }
    Ok(())
}

/// `carapace plugin publish FILE --to DIR|oci://…`
pub(crate) async fn publish(file: &Path, signature: Option<&Path>, to: &str) -> Outcome {
    let bundle = signature.map_or_else(|| trust::signature_path(file), Path::to_path_buf);
    let bytes = trust::read_package(file)?;
    let signature = trust::read_signature(file, &bundle)?;
    if to.starts_with(oci::SCHEME) {
        let reference: Reference = to.parse()?;
        let network = Network::new([reference.base()]);
        let pushed =
            oci::push(&reference, &bytes, &signature, sources::credentials(&reference).as_ref(), &network).await?;
        println!("{} is at {}", file.display(), pushed.reference);
        if !pushed.referrers_api {
            println!("That registry does not list referrers itself; the signature is listed under a tag.");
        }
        return Ok(());
    }
    if to.contains("://") {
        return Err(Failure::new(Exit::Usage, format!("`{to}` cannot be written to"))
            .help("--to DIR, then copy the directory to where it is served; or --to oci://…"));
    }
    let digest = index::place(Path::new(to), &bytes, &signature)?;
    println!("{} is in {to} as {digest}", file.display());
    println!("The index names it after: carapace registry index {to} --id ID --key PEM");
    Ok(())
}
