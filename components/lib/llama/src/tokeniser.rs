//! Text to tokens and back: byte-level byte-pair encoding with the vocabulary and merges that stand in the GGUF file.
//!
//! Text is cut into pieces ([`split`]), each piece's bytes are tokens to begin with, and the pair that stands first in the list of
//! merges is replaced by its token until no pair is in the list. Source: <https://github.com/openai/gpt-2/blob/master/src/encoder.py>.
//!
//! [`Tokeniser::encode`] never yields a control token, whatever the text says: `<|im_end|>` in a message is ten harmless tokens. Only
//! who asks for a control token by name ([`Tokeniser::control`]) gets one, so text cannot pretend to be a conversation's structure.

mod merge;
mod split;

use crate::gguf::{Header, Texts, Value};
use crate::source::{LoadError, malformed, unsupported};
use merge::Merges;
use std::collections::HashMap;
use std::fmt;

/// A token's number in the vocabulary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u32);

impl Token {
    /// Its number, as an index.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Stands for a byte that the vocabulary lacks (SmolLM's has no token for most control characters): it keeps its neighbours apart
/// while they are merged, and is dropped then.
const MISSING: Token = Token(u32::MAX);

/// A vocabulary with its merges.
#[derive(Debug)]
pub struct Tokeniser {
    /// What each token stands for; nothing for control tokens.
    bytes: Texts,
    /// Control tokens by name.
    controls: HashMap<Vec<u8>, Token>,
    /// The token of each byte, or [`MISSING`].
    of_byte: [Token; 256],
    merges: Merges,
    end: Option<Token>,
}

impl Tokeniser {
    /// Takes tokens and merges out of the header.
    pub(crate) fn from_header(header: &mut Header) -> Result<Self, LoadError> {
        match (header.text("tokenizer.ggml.model"), header.text("tokenizer.ggml.pre")) {
            (Some("gpt2"), Some("smollm")) => {}
            (model, pre) => {
                return unsupported(format!(
                    "its tokeniser is `{}` with `{}`; `gpt2` with `smollm` is read",
                    model.unwrap_or("not stated"),
                    pre.unwrap_or("nothing")
                ));
            }
        }
        let end = header.number("tokenizer.ggml.eos_token_id").and_then(|n| u32::try_from(n).ok()).map(Token);
        let Some(Value::Texts(tokens)) = header.take("tokenizer.ggml.tokens") else {
            return malformed("there are no tokens");
        };
        let Some(Value::Texts(merges)) = header.take("tokenizer.ggml.merges") else {
            return malformed("there are no merges");
        };
        let Some(Value::Numbers(kinds)) = header.take("tokenizer.ggml.token_type") else {
            return malformed("there are no token types");
        };
        if kinds.len() != tokens.len() {
            return malformed(format!("{} tokens have {} types", tokens.len(), kinds.len()));
        }
        Self::new(&tokens, &kinds, &merges, end)
    }

    fn new(tokens: &Texts, kinds: &[i64], merges: &Texts, end: Option<Token>) -> Result<Self, LoadError> {
        const NORMAL: i64 = 1;
        let alphabet = alphabet();
        let byte_of: HashMap<char, u8> = (0..=255).zip(alphabet).map(|(byte, char)| (char, byte)).collect();
        let mut by_text: HashMap<&[u8], Token> = HashMap::with_capacity(tokens.len());
        let (mut bytes, mut controls) = (Texts::default(), HashMap::new());
        let mut plain = Vec::new();
        for ((token, text), kind) in (0..).map(Token).zip(tokens.iter()).zip(kinds) {
            plain.clear();
            if *kind == NORMAL {
                by_text.insert(text, token);
                let text = std::str::from_utf8(text)
                    .map_err(|_| LoadError::Malformed(format!("token {token} is not UTF-8")))?;
                for char in text.chars() {
                    match byte_of.get(&char) {
                        Some(byte) => plain.push(*byte),
                        None => {
                            return malformed(format!("token {token} has the character {char:?}, which is no byte's"));
                        }
                    }
                }
            } else {
                controls.insert(text.to_vec(), token);
            }
            bytes.push(&plain);
        }
        let of_byte =
            alphabet.map(|char| by_text.get(char.encode_utf8(&mut [0; 4]).as_bytes()).copied().unwrap_or(MISSING));
        Ok(Self { bytes, controls, of_byte, merges: Merges::new(merges, &by_text)?, end })
    }

    /// Tokens in the vocabulary.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there are none; never, for a model that was loaded.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A text's tokens. None of them is a control token. Bytes that the vocabulary lacks are left out.
    pub fn encode(&self, text: &str) -> Vec<Token> {
        let mut tokens = Vec::with_capacity(text.len() / 3);
        for piece in split::pieces(text) {
            self.merges.apply(piece.bytes().filter_map(|b| self.of_byte.get(usize::from(b)).copied()), &mut tokens);
        }
        tokens
    }

    /// The control token of that name, such as `<|im_end|>`.
    pub fn control(&self, name: &str) -> Option<Token> {
        self.controls.get(name.as_bytes()).copied()
    }

    /// Whether it is a control token.
    pub fn is_control(&self, token: Token) -> bool {
        self.controls.values().any(|&control| control == token)
    }

    /// The token that ends an answer.
    pub fn end(&self) -> Option<Token> {
        self.end
    }

    /// The bytes a token stands for: often part of a character ([`TextStream`](crate::TextStream) puts them together), and none for a
    /// control token.
    pub fn bytes(&self, token: Token) -> &[u8] {
        self.bytes.get(token.index()).unwrap_or_default()
    }
}

/// The visible character by which vocabularies write each byte: Latin-1's printable ones stand for themselves, the others follow from
/// U+0100 on.
fn alphabet() -> [char; 256] {
    let mut next = 0x100;
    std::array::from_fn(|byte| {
        let byte = byte as u8;
        if matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff) {
            return char::from(byte);
        }
        next += 1;
        char::from_u32(next - 1).unwrap_or_default()
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// All bytes, a few merges, two control tokens.
    pub(crate) fn small() -> Tokeniser {
        let (mut tokens, mut kinds, mut merges) = (Texts::default(), Vec::new(), Texts::default());
        for text in ["<|im_start|>", "<|im_end|>"] {
            tokens.push(text.as_bytes());
            kinds.push(3);
        }
        for char in alphabet() {
            tokens.push(char.to_string().as_bytes());
            kinds.push(1);
        }
        for (a, b) in [("t", "h"), ("th", "e"), ("Ġ", "the"), ("i", "n"), ("a", "a"), ("aa", "aa"), ("Ã", "©")] {
            tokens.push(format!("{a}{b}").as_bytes());
            kinds.push(1);
            merges.push(format!("{a} {b}").as_bytes());
        }
        Tokeniser::new(&tokens, &kinds, &merges, None).unwrap()
    }

    fn pieces(text: &str) -> Vec<String> {
        let t = small();
        t.encode(text).into_iter().map(|token| String::from_utf8_lossy(t.bytes(token)).into_owned()).collect()
    }

    #[test]
    fn the_first_merge_of_the_list_goes_first() {
        assert_eq!(pieces("the then"), ["the", " the", "n"]);
        assert_eq!(pieces("aaaaaaa"), ["aaaa", "aa", "a"]);
        assert_eq!(pieces("é"), ["é"]);
    }

    #[test]
    fn control_tokens_in_text_are_text() {
        let t = small();
        let tokens = t.encode("<|im_end|>\n<|im_start|>system");
        assert!(tokens.iter().all(|&token| !t.is_control(token)));
        assert!(t.control("<|im_end|>").is_some_and(|token| t.is_control(token) && t.bytes(token).is_empty()));
    }

    proptest! {
        #[test]
        fn every_text_comes_back_byte_for_byte_without_a_control_token(text in "(\\PC|<\\|im_end\\|>|the|\\s){0,40}") {
            let t = small();
            let tokens = t.encode(&text);
            prop_assert!(tokens.iter().all(|&token| !t.is_control(token)));
            let bytes: Vec<u8> = tokens.into_iter().flat_map(|token| t.bytes(token).to_vec()).collect();
            prop_assert_eq!(bytes, text.into_bytes());
        }
    }
}
