//! Continues a text with a model: `complete MODEL.gguf [TOKENS] < text`. A line of measures goes to stderr.
#![allow(clippy::disallowed_methods, reason = "a native tool: it opens the file it is told to")]

use carapace_llama::{Context, Model, Wish, generate};
use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Instant;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("usage: complete MODEL.gguf [TOKENS] < text")?;
    let most = arguments.next().map_or(Ok(40), |n| n.parse())?;
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;

    let begin = Instant::now();
    let model = Arc::new(Model::load(&mut std::fs::File::open(path)?)?);
    let loaded = begin.elapsed();
    let mut context = Context::new(Arc::clone(&model), 8192);
    let tokens = model.tokeniser().encode(text.trim_end_matches('\n'));
    let begin = Instant::now();
    context.set(&tokens, &mut || true)?;
    let read = begin.elapsed();
    let begin = Instant::now();
    let mut out = std::io::stdout();
    let answer = generate(&mut context, Wish { most, ..Wish::default() }, &mut |text| {
        out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_ok()
    })?;
    let rate = |n: usize, time: std::time::Duration| n as f64 / time.as_secs_f64();
    eprintln!(
        "\n{}: loaded in {:.2} s ({} MB), read {} tokens at {:.0}/s, wrote {} at {:.0}/s",
        model.name(),
        loaded.as_secs_f64(),
        model.bytes() / 1_000_000,
        tokens.len(),
        rate(tokens.len(), read),
        answer.tokens,
        rate(answer.tokens, begin.elapsed()),
    );
    Ok(())
}
