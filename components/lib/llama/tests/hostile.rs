//! Files that lie: loading one gives an error, or a model that works; never a panic, an overflow or an allocation that kills the process.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops at the first thing that is not as it should be"
)]

use carapace_llama::{Context, LoadError, Model, Token, Wish, generate};
use proptest::prelude::*;
use std::sync::Arc;

/// A sound file of a tiny model: one layer, 32 numbers wide, all bytes as tokens.
fn tiny() -> Vec<u8> {
    let mut pairs = Pairs::default();
    pairs.text("general.architecture", "llama");
    pairs.text("tokenizer.ggml.model", "gpt2");
    pairs.text("tokenizer.ggml.pre", "smollm");
    for (key, n) in [
        ("llama.block_count", 1u32),
        ("llama.embedding_length", 32),
        ("llama.feed_forward_length", 32),
        ("llama.attention.head_count", 2),
        ("llama.attention.head_count_kv", 1),
        ("llama.context_length", 64),
        ("tokenizer.ggml.eos_token_id", 0),
    ] {
        pairs.number(key, n);
    }
    let mut tokens = vec!["<|im_end|>".to_owned()];
    tokens.extend(('!'..='~').map(String::from));
    tokens.push("th".to_owned());
    pairs.texts("tokenizer.ggml.tokens", &tokens);
    pairs.texts("tokenizer.ggml.merges", &["t h".to_owned()]);
    let kinds: Vec<u32> = (0..tokens.len()).map(|i| if i == 0 { 3 } else { 1 }).collect();
    pairs.numbers("tokenizer.ggml.token_type", &kinds);
    let rows = tokens.len() as u64;
    let mut tensors =
        vec![("token_embd.weight".to_owned(), 32, Some(rows), 8), ("output_norm.weight".to_owned(), 32, None, 0)];
    let layer = [
        ("attn_norm", None),
        ("attn_q", Some(32)),
        ("attn_k", Some(16)),
        ("attn_v", Some(16)),
        ("attn_output", Some(32)),
    ];
    let feed_forward = [("ffn_norm", None), ("ffn_gate", Some(32)), ("ffn_up", Some(32)), ("ffn_down", Some(32))];
    for (name, rows) in layer.into_iter().chain(feed_forward) {
        let encoding = if rows.is_none() { 0 } else { 3 };
        tensors.push((format!("blk.0.{name}.weight"), 32u64, rows, encoding));
    }
    let mut file = b"GGUF".to_vec();
    file.extend(3u32.to_le_bytes());
    file.extend((tensors.len() as u64).to_le_bytes());
    file.extend(pairs.count.to_le_bytes());
    file.extend(pairs.bytes);
    let mut data = Vec::new();
    for (name, columns, rows, encoding) in &tensors {
        text(&mut file, name);
        file.extend((1 + u32::from(rows.is_some())).to_le_bytes());
        file.extend(columns.to_le_bytes());
        file.extend(rows.map_or(Vec::new(), |r| r.to_le_bytes().to_vec()));
        file.extend(u32::to_le_bytes(*encoding));
        file.extend((data.len() as u64).to_le_bytes());
        let block: Vec<u8> = match encoding {
            0 => [1.0f32; 32].iter().flat_map(|x| x.to_le_bytes()).collect(),
            3 => [[0, 0x2c, 0, 0xa8].as_slice(), &[0x5a; 16]].concat(),
            _ => [[0, 0x2c].as_slice(), &[3; 32]].concat(),
        };
        for row in 0..rows.unwrap_or(1) {
            let mut block = block.clone();
            let last = block.len() - 1;
            block[last] = block[last].wrapping_add(row as u8);
            data.extend(block);
        }
        data.resize(data.len().next_multiple_of(32), 0);
    }
    file.resize(file.len().next_multiple_of(32), 0);
    file.extend(data);
    file
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

#[derive(Default)]
struct Pairs {
    count: u64,
    bytes: Vec<u8>,
}

impl Pairs {
    fn key(&mut self, key: &str, kind: u32) {
        self.count += 1;
        text(&mut self.bytes, key);
        self.bytes.extend(kind.to_le_bytes());
    }
    fn number(&mut self, key: &str, n: u32) {
        self.key(key, 4);
        self.bytes.extend(n.to_le_bytes());
    }
    fn text(&mut self, key: &str, value: &str) {
        self.key(key, 8);
        text(&mut self.bytes, value);
    }
    fn array(&mut self, key: &str, kind: u32, count: usize) {
        self.key(key, 9);
        self.bytes.extend(kind.to_le_bytes());
        self.bytes.extend((count as u64).to_le_bytes());
    }
    fn texts(&mut self, key: &str, values: &[String]) {
        self.array(key, 8, values.len());
        values.iter().for_each(|value| text(&mut self.bytes, value));
    }
    fn numbers(&mut self, key: &str, values: &[u32]) {
        self.array(key, 4, values.len());
        self.bytes.extend(values.iter().flat_map(|n| n.to_le_bytes()));
    }
}

/// Loads it, and uses what was loaded: no error of the file may wait until then.
fn try_out(mut file: &[u8]) -> Result<Arc<Model>, LoadError> {
    let model = Arc::new(Model::load(&mut file)?);
    let mut context = Context::new(model.clone(), 16);
    let tokens = model.tokeniser().encode("the<|im_end|> thing");
    let tokens: Vec<Token> = tokens.into_iter().chain([Token(0)]).take(8).collect();
    // A file may say that its model is trained for fewer tokens than that.
    if context.read(&tokens, &mut || true).is_ok() {
        generate(&mut context, Wish { most: 4, ..Wish::default() }, &mut |_| true).unwrap();
    }
    Ok(model)
}

#[test]
fn the_tiny_file_is_sound() {
    let model = try_out(&tiny()).unwrap();
    assert_eq!((model.shape().layers, model.shape().width, model.shape().vocabulary), (1, 32, 96));
    assert_eq!(model.tokeniser().encode("thx").len(), 2);
}

#[test]
fn a_file_that_ends_early_is_an_error_wherever_it_ends() {
    let file = tiny();
    // The last tensor is padded.
    let sound = (0..file.len() - 32).filter(|&end| try_out(&file[..end]).is_ok()).count();
    assert_eq!(sound, 0);
}

/// Numbers that are likely to be believed, or to overflow.
fn numbers() -> impl Strategy<Value = u64> {
    prop_oneof![
        any::<u64>(),
        0u64..300,
        (0u32..64).prop_map(|n| 1 << n),
        (0u32..64).prop_map(|n| (1u64 << n).wrapping_sub(1)),
        (0u64..64).prop_map(|n| u64::MAX - n),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn changed_bytes_are_an_error_or_a_model(changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut file = tiny();
        for (at, byte) in changes {
            let at = at.index(file.len());
            file[at] = byte;
        }
        let _ = try_out(&file);
    }

    #[test]
    fn changed_numbers_are_an_error_or_a_model(at in any::<prop::sample::Index>(), number in numbers(), long in any::<bool>()) {
        let mut file = tiny();
        let number = number.to_le_bytes();
        let number = if long { &number[..] } else { &number[..4] };
        let at = at.index(file.len() - 8);
        file[at..at + number.len()].copy_from_slice(number);
        let _ = try_out(&file);
    }

    #[test]
    fn noise_is_an_error(noise in proptest::collection::vec(any::<u8>(), 0..400), begins in any::<bool>()) {
        let mut file = if begins { [b"GGUF".as_slice(), &3u32.to_le_bytes()].concat() } else { Vec::new() };
        file.extend(noise);
        prop_assert!(try_out(&file).is_err());
    }
}
