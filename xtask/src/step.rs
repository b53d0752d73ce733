//! What is being done, and how long it took.

use anyhow::Result;
use std::time::{Duration, Instant};

/// The steps of one task, in order.
#[derive(Default)]
pub(crate) struct Steps {
    done: Vec<Step>,
}

struct Step {
    name: String,
    took: Duration,
    good: bool,
}

impl Steps {
    /// Announces a step, performs it and notes the time it took.
    pub(crate) fn run<T>(&mut self, name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        eprintln!("── {name}");
        let begin = Instant::now();
        let result = work();
        self.done.push(Step { name: name.to_owned(), took: begin.elapsed(), good: result.is_ok() });
        result
    }

    /// Prints one line per step, with minutes.
    pub(crate) fn report(&self) {
        for step in &self.done {
            eprintln!("{}", line(step));
        }
    }
}

fn line(step: &Step) -> String {
    let mark = if step.good { "ok    " } else { "FAILED" };
    format!("{mark} {:>6.1} min  {}", step.took.as_secs_f64() / 60.0, step.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_step_is_marked_and_its_error_passed_on() {
        let mut steps = Steps::default();
        let result: Result<()> = steps.run("compile", || anyhow::bail!("no compiler"));
        assert_eq!(result.unwrap_err().to_string(), "no compiler");
        assert!(line(&steps.done[0]).starts_with("FAILED"));
    }

    #[test]
    fn minutes_stand_before_the_name() {
        let step = Step { name: "tests".into(), took: Duration::from_secs(90), good: true };
        assert_eq!(line(&step), "ok        1.5 min  tests");
    }
}
