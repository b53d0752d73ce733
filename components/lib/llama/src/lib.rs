//! Llama-family language models from GGUF files, in plain Rust.
//!
//! One thread, no I/O of its own, no `unsafe`. It is made for WebAssembly, whose 128-bit vectors it uses to the full: with relaxed SIMD
//! it is as fast as native engines on one core. It also runs without SIMD and on any host, which is how it is tested.
//!
//! Three things to start from: a [`Source`] gives the file's bytes, [`Model::load`] reads weights and tokeniser from it, and a
//! [`Context`] is one sequence of tokens being read and continued. [`generate`] puts them together:
//!
//! ```no_run
//! use carapace_llama::{Context, Model, Wish, generate};
//! use std::sync::Arc;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let model = Arc::new(Model::load(&mut std::fs::File::open("model.gguf")?)?);
//! let mut context = Context::new(Arc::clone(&model), 2048);
//! context.set(&model.tokeniser().encode("The capital of France is"), &mut || true)?;
//! generate(&mut context, Wish { most: 10, ..Wish::default() }, &mut |text| {
//!     print!("{text}");
//!     true
//! })?;
//! # Ok(())
//! # }
//! ```
//!
//! What follows from a sequence of tokens is the same to the last bit however the sequence came to be in the context, so a kept
//! beginning saves time and changes nothing.
//!
//! How it goes, for who wants to read on: `gguf` finds the tensors, `matrix` repacks and multiplies them, `attention` keeps keys and
//! values, `context` walks the layers, `vector` is the handful of operations on which all of it stands. `tokeniser`, `sampling` and
//! `text` are what lies between numbers and words.
#![forbid(unsafe_code)]
#![warn(missing_docs, unreachable_pub)]

mod attention;
mod context;
mod generate;
mod gguf;
mod layers;
mod matrix;
mod model;
mod rope;
mod sampling;
mod source;
mod text;
mod tokeniser;
mod vector;

pub use context::{Context, ReadError};
pub use generate::{Answer, End, Wish, generate};
pub use model::{Model, Shape};
pub use sampling::{Sampler, Sampling};
pub use source::{LoadError, Source};
pub use text::TextStream;
pub use tokeniser::{Token, Tokeniser};
