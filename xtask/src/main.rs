//! The task runner behind the README's two commands: `cargo xtask run` and `cargo xtask test`.
//!
//! Each task says what it does before it does it, and how many minutes it took. Nothing here is needed at run time.
#![allow(
    clippy::disallowed_methods,
    reason = "a task runner reads the environment, starts compilers and writes the bundle directory"
)]

mod args;
mod authors;
mod bundle;
mod cargo;
mod components;
mod docs;
mod foreign;
mod fuzz;
mod step;
mod summary;
mod tasks;
mod typescript;
mod wasm;
mod weights;

use std::process::ExitCode;

fn main() -> ExitCode {
    let task = match args::parse(std::env::args().skip(1)) {
        Ok(task) => task,
        Err(text) => {
            eprintln!("{text}");
            return ExitCode::from(2);
        }
    };
    let mut steps = step::Steps::default();
    let outcome = tasks::perform(task, &mut steps);
    steps.report();
    match outcome {
        Ok(closing) => {
            if let Some(line) = closing {
                println!("{line}");
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
