//! `carapace publisher …`: whom to trust.

use super::plugin::print_json;
use crate::failure::{Exit, Failure, OrFail, Outcome};
use crate::trust;
use carapace_config::StatePaths;
use carapace_contract::Name;
use carapace_registry::{PublicKey, PublisherBook};

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
    }
    Ok(())
}

/// Pins one.
pub(crate) fn add(paths: &StatePaths, name: &str, key: &str) -> Outcome {
    trust::make_state_dir(paths)?;
    let key: PublicKey = key.parse().map_err(|e| Failure::new(Exit::Usage, format!("{e}")))?;
    let mut book = book(paths)?;
    book.pin(id(name)?, key, trust::now_ms()).map_err(|e| Failure::new(Exit::Refused, e.to_string()))?;
    book.save(&paths.publishers()).or_fail("cannot save the publishers")?;
    println!("{name} is pinned: what {key} signs may be installed. A running assistant sees it after its next start.");
    Ok(())
}

/// Forgets one.
pub(crate) fn remove(paths: &StatePaths, name: &str) -> Outcome {
    let mut book = book(paths)?;
    book.remove(&id(name)?).map_err(|e| Failure::new(Exit::Refused, e.to_string()))?;
    book.save(&paths.publishers()).or_fail("cannot save the publishers")?;
    println!("{name} is forgotten: what it signed no longer loads at the next start.");
    Ok(())
}
