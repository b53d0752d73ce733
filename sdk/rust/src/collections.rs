//! Maps and sets whose hashes an adversary cannot foresee.
//!
//! In a component, `std`'s hash seeds are the same in every instance: who chooses the keys can choose them so that they collide. These are
//! `std`'s types with a seed from [`random`](crate::random).

use crate::host;
use std::hash::{BuildHasher, DefaultHasher, Hasher as _};

/// `std`'s map, seeded. Made by [`HashMap::default`](std::collections::HashMap::default).
pub type HashMap<K, V> = std::collections::HashMap<K, V, RandomState>;
/// `std`'s set, seeded. Made by [`HashSet::default`](std::collections::HashSet::default).
pub type HashSet<T> = std::collections::HashSet<T, RandomState>;

/// A seed, drawn once per instance.
#[derive(Debug, Clone, Copy)]
pub struct RandomState([u64; 2]);

impl RandomState {
    /// The seed of this instance.
    pub fn new() -> Self {
        thread_local! {
            static SEED: [u64; 2] = draw();
        }
        Self(SEED.with(|s| *s))
    }
}

/// Without randomness (a limit was reached) the clock is better than nothing.
fn draw() -> [u64; 2] {
    let bytes = host::random(16).unwrap_or_default();
    let half = |b: &[u8]| b.iter().fold(0u64, |n, b| n << 8 | u64::from(*b));
    match bytes.split_at_checked(8) {
        Some((a, b)) => [half(a), half(b)],
        None => [host::monotonic_ms(), host::now_ms()],
    }
}

impl Default for RandomState {
    fn default() -> Self {
        Self::new()
    }
}

impl BuildHasher for RandomState {
    type Hasher = DefaultHasher;

    /// SipHash-1-3 that has read the seed first: its state is then as secret as a key.
    fn build_hasher(&self) -> DefaultHasher {
        let mut hasher = DefaultHasher::new();
        self.0.iter().for_each(|s| hasher.write_u64(*s));
        hasher
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_seed_gives_other_hashes_and_the_same_seed_the_same() {
        let hash = |seed| RandomState(seed).hash_one("a key");
        assert_eq!(hash([1, 2]), hash([1, 2]));
        assert_ne!(hash([1, 2]), hash([1, 3]));
        assert_ne!(hash([1, 2]), hash([2, 2]));
    }
}
