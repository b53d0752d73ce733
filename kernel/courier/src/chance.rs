//! Chance: jitter, back-off, pairing codes.

/// What a person can read aloud and type: no I, L, O, 0, 1.
const LETTERS: &[u8] = b"ABCDEFGHJKMNPQRSTUVWXYZ23456789";
/// Letters of a code.
const CODE: usize = 8;

/// A number below `bound`, evenly; 0 if that is 0, or if the system has no randomness left to give.
pub(crate) fn below(bound: u64) -> u64 {
    if bound <= 1 {
        return 0;
    }
    // What would favour the small ones is drawn again.
    let fair = u64::MAX - u64::MAX % bound;
    for _ in 0..64 {
        match getrandom::u64() {
            Ok(n) if n < fair => return n % bound,
            Ok(_) => {}
            Err(_) => return 0,
        }
    }
    0
}

/// A pairing code; none if the system has no randomness to give.
pub(crate) fn code() -> Option<String> {
    let mut code = String::with_capacity(CODE);
    while code.len() < CODE {
        let n = getrandom::u64().ok()?;
        // 31 letters: the last value of five bits is drawn again.
        for shift in 0..12 {
            if let Some(letter) = LETTERS.get(usize::try_from(n >> (shift * 5) & 31).unwrap_or(31))
                && code.len() < CODE
            {
                code.push(char::from(*letter));
            }
        }
    }
    Some(code)
}

/// How long to wait after `failures` in a row: doubled each time, from `first` up to `most`, half of it by chance.
pub(crate) fn back_off(failures: u32, first_ms: u64, most_ms: u64) -> u64 {
    let whole = first_ms.saturating_mul(1 << failures.saturating_sub(1).min(20)).min(most_ms);
    whole / 2 + below(whole / 2 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn a_code_is_eight_letters_that_nobody_mistakes() {
        let codes: HashSet<String> = (0..1_000).map(|_| code().unwrap()).collect();
        assert_eq!(codes.len(), 1_000);
        assert!(codes.iter().all(|c| c.len() == 8 && c.bytes().all(|b| LETTERS.contains(&b))));
        let used: HashSet<u8> = codes.iter().flat_map(|c| c.bytes()).collect();
        assert_eq!(used.len(), LETTERS.len(), "each letter comes up");
    }

    #[test]
    fn waiting_grows_up_to_its_limit() {
        for failures in 1..200 {
            let wait = back_off(failures, 1_000, 60_000);
            let whole = 1_000_u64.saturating_mul(1 << (failures - 1).min(20)).min(60_000);
            assert!((whole / 2..=whole).contains(&wait), "{failures}: {wait}");
        }
        assert!((0..100).all(|_| below(3) < 3));
        assert_eq!((below(0), below(1)), (0, 0));
    }
}
