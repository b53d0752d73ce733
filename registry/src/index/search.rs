//! Finding packages by words.

use super::{Entry, Index};
use carapace_contract::{ComponentId, Name};
use std::collections::BTreeMap;

/// A component that fits all words, in its newest version that is not withdrawn.
#[derive(Debug, Clone, Copy)]
pub struct Hit<'i> {
    /// Whose index it stands in.
    pub registry: &'i Name,
    /// Its newest version there.
    pub entry: &'i Entry,
    rank: u8,
}

/// What fits all `words`, best first: the name itself, names that begin so, names that hold it, then anything else.
/// Without words, everything.
pub fn search<'i>(indexes: impl IntoIterator<Item = &'i Index>, words: &[String]) -> Vec<Hit<'i>> {
    let words: Vec<String> = words.iter().map(|w| w.to_lowercase()).collect();
    let mut best: BTreeMap<(&ComponentId, &Name), Hit<'i>> = BTreeMap::new();
    for index in indexes {
        for entry in index.packages.iter().filter(|e| e.yanked.is_none()) {
            let Some(rank) = rank(entry, &words) else { continue };
            let hit = Hit { registry: &index.registry, entry, rank };
            let kept = best.entry((&entry.id, &index.registry)).or_insert(hit);
            if kept.entry.version <= entry.version {
                *kept = hit;
            }
        }
    }
    let mut hits: Vec<Hit<'i>> = best.into_values().collect();
    hits.sort_by_key(|hit| hit.rank);
    hits
}

/// Smaller is better; none if a word is nowhere.
fn rank(entry: &Entry, words: &[String]) -> Option<u8> {
    let (name, publisher) = (entry.id.name.as_str(), entry.id.publisher.as_str());
    let mut worst = 0;
    for word in words {
        let rank = if name == word {
            0
        } else if name.starts_with(word.as_str()) {
            1
        } else if name.contains(word.as_str()) {
            2
        } else if publisher.contains(word.as_str()) || entry.kinds.contains(word) {
            3
        } else if entry.description.to_lowercase().contains(word.as_str())
            || entry.asks.iter().any(|a| a.contains(word.as_str()))
        {
            4
        } else {
            return None;
        };
        worst = worst.max(rank);
    }
    Some(worst)
}
