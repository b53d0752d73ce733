//! Names that are easily taken for one another.
//!
//! Names hold only `[a-z0-9-]`, so most of Unicode's confusables (UTS #39) cannot occur; what is left are digits that
//! look like letters, pairs that look like one letter, hyphens, and a slip of the finger.

/// Shorter names than this are too often one letter apart by right (`sql`, `ssl`).
const SHORTEST: usize = 5;

/// What a name looks like: without hyphens, with every look-alike written in one way.
pub fn skeleton(name: &str) -> String {
    let plain: String = name
        .chars()
        .filter(|c| *c != '-')
        .map(|c| match c {
            '0' => 'o',
            '1' | 'i' => 'l',
            '5' => 's',
            '8' => 'b',
            c => c,
        })
        .collect();
    plain.replace("rn", "m").replace("vv", "w").replace("cl", "d")
}

/// Whether two different names look the same, or are one slip apart: a letter more, less, changed, or two swapped.
pub fn alike(a: &str, b: &str) -> bool {
    if a == b {
        return false;
    }
    // The distance of long words is dear, and their lengths tell most of them apart.
    let long = a.len() >= SHORTEST && b.len() >= SHORTEST && a.len().abs_diff(b.len()) <= 1;
    skeleton(a) == skeleton(b) || (long && strsim::osa_distance(a, b) == 1)
}
