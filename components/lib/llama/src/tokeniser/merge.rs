//! Byte-pair merging.

use super::{MISSING, Token};
use crate::gguf::Texts;
use crate::source::{LoadError, malformed};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

/// Which pairs merge, into what, and in which order.
#[derive(Debug)]
pub(super) struct Merges(HashMap<(Token, Token), Merge>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Merge {
    rank: u32,
    result: Token,
}

/// A token in a piece, and its neighbours.
#[derive(Debug, Clone, Copy)]
struct Link {
    /// None: it was merged into the one before.
    token: Option<Token>,
    before: Option<u32>,
    after: Option<u32>,
}

impl Merges {
    /// Reads lines of two tokens with a space between.
    pub(super) fn new(lines: &Texts, by_text: &HashMap<&[u8], Token>) -> Result<Self, LoadError> {
        let mut merges = HashMap::with_capacity(lines.len());
        let mut joined = Vec::new();
        for (rank, line) in (0..).zip(lines.iter()) {
            let mut halves = line.splitn(2, |&b| b == b' ');
            let (left, right) = (halves.next().unwrap_or_default(), halves.next().unwrap_or_default());
            joined.clear();
            joined.extend_from_slice(left);
            joined.extend_from_slice(right);
            let found = (by_text.get(left), by_text.get(right), by_text.get(joined.as_slice()));
            let (Some(&left), Some(&right), Some(&result)) = found else {
                return malformed(format!("merge {rank}, `{}`, names what is no token", String::from_utf8_lossy(line)));
            };
            merges.entry((left, right)).or_insert(Merge { rank, result });
        }
        Ok(Self(merges))
    }

    /// Merges the tokens of one piece; long pieces cost no more than their length times its logarithm.
    pub(super) fn apply(&self, piece: impl Iterator<Item = Token>, out: &mut Vec<Token>) {
        let mut links: Vec<Link> = Vec::new();
        for (i, token) in (0u32..).zip(piece) {
            links.push(Link { token: Some(token), before: i.checked_sub(1), after: Some(i + 1) });
        }
        if let Some(last) = links.last_mut() {
            last.after = None;
        }
        let mut queue = BinaryHeap::new();
        for i in (0..).take(links.len()) {
            self.consider(&links, Some(i), &mut queue);
        }
        // The least rank first; of equal ranks the one further left.
        while let Some(Reverse((merge, at, left, right))) = queue.pop() {
            let Some(link) = links.get(at as usize).copied() else { continue };
            let Some(next) = link.after.and_then(|i| links.get(i as usize)).copied() else { continue };
            // One of the two may have been merged with another meanwhile.
            if link.token != Some(left) || next.token != Some(right) {
                continue;
            }
            if let Some(gone) = link.after.and_then(|i| links.get_mut(i as usize)) {
                gone.token = None;
            }
            if let Some(link) = links.get_mut(at as usize) {
                (link.token, link.after) = (Some(merge.result), next.after);
            }
            if let Some(following) = next.after.and_then(|i| links.get_mut(i as usize)) {
                following.before = Some(at);
            }
            self.consider(&links, Some(at), &mut queue);
            self.consider(&links, link.before, &mut queue);
        }
        out.extend(links.iter().filter_map(|link| link.token).filter(|&token| token != MISSING));
    }

    /// Queues the pair that begins at a place, if it can be merged.
    fn consider(&self, links: &[Link], at: Option<u32>, queue: &mut BinaryHeap<Reverse<(Merge, u32, Token, Token)>>) {
        let link = |i: Option<u32>| i.and_then(|i| links.get(i as usize));
        if let (Some(at), Some(first)) = (at, link(at))
            && let (Some(left), Some(right)) = (first.token, link(first.after).and_then(|l| l.token))
            && let Some(merge) = self.0.get(&(left, right))
        {
            queue.push(Reverse((*merge, at, left, right)));
        }
    }
}
