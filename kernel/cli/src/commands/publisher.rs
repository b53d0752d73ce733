//! `carapace publisher …`: whom to trust.

#![allow(clippy::indexing_slicing, reason = "only JSON is indexed, and that gives null where there is nothing")]

use super::plugin::print_json;
use crate::args::RotateKeyArgs;
use crate::client::Client;
use crate::failure::{Exit, Failure, OrFail, Outcome};
use crate::trust;
use carapace_config::StatePaths;
use carapace_contract::control::ControlRequest;
use carapace_contract::{Digest, Name};
use carapace_registry::deny::{self, DenyContent};
use carapace_registry::keyless::{RootContent, Rule, TrustedRoot, root};
use carapace_registry::signed::SignedError;
use carapace_registry::{DenyList, PublicKey, PublisherBook, SigningKey, bundle, publisher};
use std::path::Path;
use std::str::FromStr;

fn book(paths: &StatePaths) -> Outcome<PublisherBook> {
    PublisherBook::load(&paths.publishers()).or_fail("cannot read the publishers")
}

fn id(text: &str) -> Outcome<Name> {
    text.parse().map_err(|e: carapace_contract::NameError| Failure::new(Exit::Usage, e.to_string()))
}

/// The pinned publishers.
pub(crate) fn list(paths: &StatePaths, as_json: bool) -> Outcome {
    let book = book(paths)?;
    if as_json {
        let all: Vec<_> = book.iter().collect();
        print_json(&serde_json::to_value(all).or_fail("cannot print")?);
        return Ok(());
    }
    if book.is_empty() {
        println!("No publisher is pinned, so nothing is trusted. `carapace publisher add ID KEY` pins one.");
    }
    for publisher in book.iter() {
        for key in &publisher.keys {
            println!("{:<16} {} ({:?})", publisher.id, key.key, key.state);
        }
        for pinned in &publisher.keyless {
            println!("{:<16} {}", publisher.id, pinned.rule);
        }
    }
    Ok(())
}

/// Pins one.
pub(crate) fn add(paths: &StatePaths, name: &str, key: &str) -> Outcome {
    trust::make_state_dir(paths)?;
    let key: PublicKey = key.parse().map_err(|e| Failure::new(Exit::Usage, format!("{e}")))?;
    let _alone = trust::hold(&paths.publishers())?;
    let mut book = book(paths)?;
    book.pin(id(name)?, key, trust::now_ms()).map_err(|e| Failure::new(Exit::Refused, e.to_string()))?;
    book.save(&paths.publishers()).or_fail("cannot save the publishers")?;
    println!("{name} is pinned: what {key} signs may be installed. A running assistant sees it after its next start.");
    Ok(())
}

/// Pins the rule by which one is recognised without a key.
pub(crate) fn add_rule(paths: &StatePaths, name: &str, parts: &[String]) -> Outcome {
    trust::make_state_dir(paths)?;
    let rule =
        Rule::from_parts(parts.iter().map(String::as_str)).map_err(|e| Failure::new(Exit::Usage, e.to_string()))?;
    let _alone = trust::hold(&paths.publishers())?;
    let mut book = book(paths)?;
    let pinned = book.pin_rule(id(name)?, rule.clone(), trust::now_ms());
    pinned.map_err(|e| Failure::new(Exit::Refused, e.to_string()))?;
    book.save(&paths.publishers()).or_fail("cannot save the publishers")?;
    println!(
        "{name} is pinned: what is signed by {rule} may be installed. A running assistant sees it after its next start."
    );
    Ok(())
}

/// Forgets one.
pub(crate) fn remove(paths: &StatePaths, name: &str) -> Outcome {
    let alone = trust::hold(&paths.publishers())?;
    let mut book = book(paths)?;
    book.remove(&id(name)?).map_err(|e| Failure::new(Exit::Refused, e.to_string()))?;
    book.save(&paths.publishers()).or_fail("cannot save the publishers")?;
    println!("{name} is forgotten: what it signed no longer runs.");
    drop(alone);
    tell(paths)
}

/// Follows a statement by an old key.
pub(crate) fn rotate(paths: &StatePaths, file: &Path) -> Outcome {
    let statement = trust::read(file, bundle::MAX_BYTES)?;
    let alone = trust::hold(&paths.publishers())?;
    let mut book = book(paths)?;
    let rotated = book.rotate(&statement, trust::now_ms()).map_err(|e| Failure::new(Exit::Refused, e.to_string()))?;
    book.save(&paths.publishers()).or_fail("cannot save the publishers")?;
    println!("{} signs with {} from now on.", rotated.publisher, rotated.new);
    if rotated.retired {
        println!("{} is retired: what it signed no longer runs until it is signed anew.", rotated.old);
    }
    drop(alone);
    tell(paths)
}

/// Pins who may sign deny-lists.
pub(crate) fn pin_deny_key(paths: &StatePaths, key: &str) -> Outcome {
    trust::make_state_dir(paths)?;
    let key: PublicKey = parsed(key)?;
    let _alone = trust::hold(&paths.deny_list())?;
    let mut list = deny_list(paths)?;
    list.pin(key).map_err(|e| Failure::new(Exit::Refused, e.to_string()))?;
    list.save(&paths.deny_list()).or_fail("cannot save the deny-list")?;
    println!("{key} may sign deny-lists.");
    Ok(())
}

/// Takes a newer deny-list.
pub(crate) fn deny(paths: &StatePaths, file: &Path) -> Outcome {
    let envelope = trust::read(file, deny::MAX_BYTES)?;
    let alone = trust::hold(&paths.deny_list())?;
    let mut list = deny_list(paths)?;
    let changed = list.update(&envelope).map_err(|e| {
        Failure::new(Exit::Refused, e.to_string()).help(match e {
            deny::DenyError::NoKey(_) => "get the key of those who sign it, then `carapace publisher pin-deny-key KEY`",
            _ => "",
        })
    })?;
    list.save(&paths.deny_list()).or_fail("cannot save the deny-list")?;
    let version = list.content().map_or(0, |c| c.version);
    println!("The deny-list is {} version {version}.", if changed { "now" } else { "still" });
    drop(alone);
    tell(paths)
}

/// Makes a statement for [`rotate`].
pub(crate) fn make_rotation(how: &RotateKeyArgs) -> Outcome {
    let key = SigningKey::load(&how.old).or_fail(format!("cannot read the key {}", how.old.display()))?;
    let statement =
        publisher::rotation(&key, &parsed(&how.new)?, how.retire_old).or_fail("cannot make the statement")?;
    trust::write_whole(&how.out, &statement)?;
    println!("{}: those who trust {} follow with `carapace publisher rotate`.", how.out.display(), key.public());
    Ok(())
}

/// Whose signatures a deny-list names.
pub(crate) struct Signers<'a> {
    /// Public keys.
    pub keys: &'a [String],
    /// Rules of those who sign without one.
    pub keyless: &'a [String],
}

/// What a deny-list shall say.
pub(crate) fn deny_content(
    version: u64,
    days: u64,
    digests: &[String],
    publishers: &[String],
    signers: &Signers<'_>,
) -> Outcome<DenyContent> {
    Ok(DenyContent {
        version,
        expires_ms: trust::now_ms().saturating_add(days.saturating_mul(86_400_000)),
        digests: digests.iter().map(|d| parsed::<Digest>(d)).collect::<Outcome<_>>()?,
        publishers: publishers.iter().map(|p| id(p)).collect::<Outcome<_>>()?,
        keys: signers.keys.iter().map(|k| parsed::<PublicKey>(k)).collect::<Outcome<_>>()?,
        keyless: signers.keyless.iter().map(|r| parsed::<Rule>(r)).collect::<Outcome<_>>()?,
    })
}

/// Makes a list for [`deny()`].
pub(crate) fn make_deny_list(content: &DenyContent, key: &Path, out: &Path) -> Outcome {
    let key = SigningKey::load(key).or_fail(format!("cannot read the key {}", key.display()))?;
    trust::write_whole(out, &deny::sign(content, &key).or_fail("cannot sign the list")?)?;
    println!("{}: version {}, signed with {}", out.display(), content.version, key.public());
    Ok(())
}

/// Pins who may sign trusted roots.
pub(crate) fn pin_root_key(paths: &StatePaths, key: &str) -> Outcome {
    trust::make_state_dir(paths)?;
    let key: PublicKey = parsed(key)?;
    let _alone = trust::hold(&paths.trusted_root())?;
    let mut root = load_root(paths)?;
    root.pin(key).map_err(|e| Failure::new(Exit::Refused, e.to_string()))?;
    root.save(&paths.trusted_root()).or_fail("cannot save the trusted root")?;
    println!("{key} may sign trusted roots.");
    Ok(())
}

/// Takes a newer trusted root.
pub(crate) fn trusted_root(paths: &StatePaths, file: &Path) -> Outcome {
    let envelope = trust::read(file, root::MAX_BYTES)?;
    let alone = trust::hold(&paths.trusted_root())?;
    let mut root = load_root(paths)?;
    let changed = root.update(&envelope).map_err(|e| {
        Failure::new(Exit::Refused, e.to_string()).help(match e {
            SignedError::NoKey(_) => "get the key of those who sign it, then `carapace publisher pin-root-key KEY`",
            _ => "",
        })
    })?;
    root.save(&paths.trusted_root()).or_fail("cannot save the trusted root")?;
    let version = root.content().map_or(0, |c| c.version);
    println!("The trusted root is {} version {version}.", if changed { "now" } else { "still" });
    drop(alone);
    tell(paths)
}

/// Makes a root for [`trusted_root()`].
pub(crate) fn make_trusted_root(file: &Path, version: u64, key: &Path, out: &Path) -> Outcome {
    let text = trust::read(file, root::MAX_BYTES)?;
    let content =
        serde_json::from_slice(&text).map_err(|e| Failure::new(Exit::Usage, e.to_string()).context(file.display()))?;
    let key = SigningKey::load(key).or_fail(format!("cannot read the key {}", key.display()))?;
    let content = RootContent { version, fetched_ms: trust::now_ms(), root: content };
    let signed =
        root::sign(&content, &key).map_err(|e| Failure::new(Exit::Usage, e.to_string()).context(file.display()))?;
    trust::write_whole(out, &signed)?;
    println!("{}: version {version}, signed with {}", out.display(), key.public());
    Ok(())
}

fn load_root(paths: &StatePaths) -> Outcome<TrustedRoot> {
    TrustedRoot::load(&paths.trusted_root()).or_fail("cannot read the trusted root")
}

fn deny_list(paths: &StatePaths) -> Outcome<DenyList> {
    DenyList::load(&paths.deny_list()).or_fail("cannot read the deny-list")
}

fn parsed<T: FromStr<Err: std::fmt::Display>>(text: &str) -> Outcome<T> {
    text.parse().map_err(|e: T::Err| Failure::new(Exit::Usage, e.to_string()))
}

/// A running assistant looks again at what it runs.
fn tell(paths: &StatePaths) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let Some(client) = Client::running(paths).await? else { return Ok(()) };
        let answer = client.control(&ControlRequest::TrustChanged).await?;
        for gone in answer["unloaded"].as_array().into_iter().flatten() {
            let text = |key: &str| gone[key].as_str().unwrap_or("?").to_owned();
            // Another version had taken its place, and the instance goes on.
            let which = if gone["replaced"] == true { ", code that was replaced" } else { "" };
            println!("stopped: {}{which}: {}", text("instance"), text("why"));
        }
        Ok(())
    })
}
