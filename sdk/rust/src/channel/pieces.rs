//! Texts that are longer than a platform takes.

use super::TextUnit;

/// Cuts a text into pieces of at most `limit` units (at least a character each), which together are the text: after the last line's end
/// in a piece, else after its last space, else where the limit is. It knows nothing of markup.
pub fn pieces(text: &str, limit: u32, unit: TextUnit) -> Vec<&str> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let (mut pieces, mut rest) = (Vec::new(), text);
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(end(rest, limit, unit));
        pieces.push(piece);
        rest = after;
    }
    pieces
}

/// Where the first piece ends; a boundary of characters, and never 0.
fn end(text: &str, limit: usize, unit: TextUnit) -> usize {
    let mut units = 0;
    for (at, character) in text.char_indices() {
        units += match unit {
            TextUnit::Bytes => character.len_utf8(),
            TextUnit::Utf16 => character.len_utf16(),
            TextUnit::Scalars => 1,
        };
        if units > limit && at > 0 {
            let fits = text.get(..at).unwrap_or_default();
            return fits.rfind('\n').or_else(|| fits.rfind(' ')).map_or(at, |cut| cut + 1);
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_line_is_cut_before_a_word_and_a_word_before_a_letter() {
        assert_eq!(pieces("one\ntwo three", 9, TextUnit::Bytes), ["one\n", "two three"]);
        assert_eq!(pieces("two three", 6, TextUnit::Bytes), ["two ", "three"]);
        assert_eq!(pieces("three", 2, TextUnit::Bytes), ["th", "re", "e"]);
        assert!(pieces("", 9, TextUnit::Bytes).is_empty());
    }

    #[test]
    fn a_limit_counts_in_the_platforms_unit() {
        assert_eq!(pieces("üüü", 2, TextUnit::Scalars), ["üü", "ü"]);
        assert_eq!(pieces("üüü", 3, TextUnit::Bytes), ["ü", "ü", "ü"]);
        assert_eq!(pieces("👋👋", 3, TextUnit::Utf16), ["👋", "👋"]);
        // What does not fit at all goes out alone: a platform may refuse it, and nothing stands still.
        assert_eq!(pieces("👋👋", 1, TextUnit::Bytes), ["👋", "👋"]);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_nothing_is_too_long(text in "[a-c üß👋\n]{0,40}", limit in 4u32..12, unit in 0..3) {
            let unit = [TextUnit::Bytes, TextUnit::Utf16, TextUnit::Scalars][unit as usize];
            let cut = pieces(&text, limit, unit);
            prop_assert_eq!(cut.concat(), text.as_str());
            for piece in cut {
                let units = match unit {
                    TextUnit::Bytes => piece.len(),
                    TextUnit::Utf16 => piece.encode_utf16().count(),
                    TextUnit::Scalars => piece.chars().count(),
                };
                prop_assert!(units > 0 && units <= limit as usize, "{piece:?}");
            }
        }
    }
}
