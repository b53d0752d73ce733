//! SmolLM's way to cut text into pieces, none of which a token ever crosses.
//!
//! Every numeric character is a piece of its own. What lies between goes through GPT-2's pattern,
//! `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`, as if it were a text by itself.
//! Source: `LLAMA_VOCAB_PRE_TYPE_SMOLLM` in <https://github.com/ggml-org/llama.cpp/blob/master/src/llama-vocab.cpp>.

use unicode_properties::{GeneralCategoryGroup, UnicodeGeneralCategory};

const CONTRACTIONS: [&str; 7] = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d"];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Letter,
    Number,
    Space,
    Other,
}

fn class(c: char) -> Class {
    if c.is_ascii() {
        return match c {
            'a'..='z' | 'A'..='Z' => Class::Letter,
            '0'..='9' => Class::Number,
            '\t'..='\r' | ' ' => Class::Space,
            _ => Class::Other,
        };
    }
    match c.general_category_group() {
        GeneralCategoryGroup::Letter => Class::Letter,
        GeneralCategoryGroup::Number => Class::Number,
        _ if c.is_whitespace() => Class::Space,
        _ => Class::Other,
    }
}

/// The pieces, in order; together they are the text.
pub(super) fn pieces(text: &str) -> impl Iterator<Item = &str> {
    // Numbers are single, so a stretch ends before and after each.
    let mut rest = text;
    let mut stretch = "";
    std::iter::from_fn(move || {
        if stretch.is_empty() {
            let first = rest.chars().next()?;
            let length = if class(first) == Class::Number {
                first.len_utf8()
            } else {
                rest.find(|c| class(c) == Class::Number).unwrap_or(rest.len())
            };
            (stretch, rest) = rest.split_at(length);
        }
        let (piece, after) = stretch.split_at(next(stretch));
        stretch = after;
        Some(piece)
    })
}

/// The length of a stretch's first piece.
fn next(stretch: &str) -> usize {
    if let Some(contraction) = CONTRACTIONS.iter().find(|c| stretch.starts_with(*c)) {
        return contraction.len();
    }
    let run = |from: &str, wanted: Class| from.find(|c| class(c) != wanted).unwrap_or(from.len());
    let body = stretch.strip_prefix(' ').unwrap_or(stretch);
    if let Some(kind) = body.chars().next().map(class)
        && kind != Class::Space
    {
        return stretch.len() - body.len() + run(body, kind);
    }
    // White space: the last of it goes with what follows, unless it is all there is.
    let spaces = run(stretch, Class::Space);
    match stretch.get(..spaces).and_then(|s| s.char_indices().next_back()) {
        Some((last, _)) if last > 0 && spaces < stretch.len() => last,
        _ => spaces.max(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_follow_the_pattern() {
        let cases: [(&str, &[&str]); 12] = [
            ("Hello world", &["Hello", " world"]),
            ("it's we'll 'quoted'", &["it", "'s", " we", "'ll", " '", "quoted", "'"]),
            ("abc123def", &["abc", "1", "2", "3", "def"]),
            ("in 2024", &["in", " ", "2", "0", "2", "4"]),
            ("a  b", &["a", " ", " b"]),
            ("a \n\n b", &["a", " \n\n", " b"]),
            ("a\n\nb", &["a", "\n", "\n", "b"]),
            ("end  ", &["end", "  "]),
            ("x  1", &["x", "  ", "1"]),
            ("x != y;", &["x", " !=", " y", ";"]),
            ("naïve 東京 ½", &["naïve", " 東京", " ", "½"]),
            ("🙂🙂 ok", &["🙂🙂", " ok"]),
        ];
        for (text, expected) in cases {
            assert_eq!(pieces(text).collect::<Vec<_>>(), expected, "{text:?}");
        }
    }
}
