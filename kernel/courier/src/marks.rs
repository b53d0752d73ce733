//! How often an event was given to a component: noted *before* it is given, so that an event which takes the whole kernel down counts, too.

use carapace_contract::channel::MAX_ATTEMPTS;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// So often an event may have been under way when the kernel died. More than the attempts a component gets: whoever pulls the plug at a
/// bad moment must not convict a message.
const MOST_BEGUN: u32 = 8;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Mark {
    /// The component broke on it.
    broken: u32,
    /// It was given to the component, and no answer was noted.
    begun: u32,
}

/// The events that are under way, or were when the kernel died.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    marks: BTreeMap<String, Mark>,
}

impl Marks {
    /// What an earlier life of the kernel left. Damage counts as nothing.
    pub(crate) fn load(body: &Value) -> Self {
        let number = |v: &Value, i: usize| v.get(i).and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok());
        let marks = body.as_object().into_iter().flatten();
        let marks = marks.map(|(fingerprint, v)| {
            (fingerprint.clone(), Mark { broken: number(v, 0).unwrap_or(0), begun: number(v, 1).unwrap_or(0) })
        });
        Self { marks: marks.collect() }
    }

    /// As it is stored.
    pub(crate) fn body(&self) -> Value {
        if self.marks.is_empty() {
            return Value::Null;
        }
        Value::Object(self.marks.iter().map(|(f, m)| (f.clone(), json!([m.broken, m.begun]))).collect::<Map<_, _>>())
    }

    /// It was given before, and not taken: it is given alone.
    pub(crate) fn is_suspect(&self, fingerprint: &str) -> bool {
        self.marks.contains_key(fingerprint)
    }

    /// It is about to be given.
    pub(crate) fn begin(&mut self, fingerprint: &str) {
        self.marks.entry(fingerprint.to_owned()).or_default().begun += 1;
    }

    /// It was not given after all, or nothing was found out about it.
    pub(crate) fn unbegin(&mut self, fingerprint: &str) {
        if let Some(mark) = self.marks.get_mut(fingerprint) {
            mark.begun = mark.begun.saturating_sub(1);
            if *mark == Mark::default() {
                self.marks.remove(fingerprint);
            }
        }
    }

    /// The component broke on it.
    pub(crate) fn broke(&mut self, fingerprint: &str) {
        let mark = self.marks.entry(fingerprint.to_owned()).or_default();
        mark.begun = mark.begun.saturating_sub(1);
        mark.broken += 1;
    }

    /// It is over.
    pub(crate) fn end(&mut self, fingerprint: &str) {
        self.marks.remove(fingerprint);
    }

    /// Which attempt the next one is, from 1.
    pub(crate) fn attempt(&self, fingerprint: &str) -> u32 {
        self.marks.get(fingerprint).map_or(1, |m| m.broken + 1)
    }

    /// It is not to be given again, and why.
    pub(crate) fn verdict(&self, fingerprint: &str) -> Option<String> {
        let mark = self.marks.get(fingerprint)?;
        if mark.broken >= MAX_ATTEMPTS {
            return Some(format!("the component broke on it {} times", mark.broken));
        }
        (mark.begun >= MOST_BEGUN).then(|| format!("the kernel stopped {} times while it was under way", mark.begun))
    }

    /// Forgets what was left by events that did not come again.
    pub(crate) fn keep_at_most(&mut self, most: usize) {
        while self.marks.len() > most {
            self.marks.pop_first();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_given_up_after_three_breaks_or_eight_deaths_of_the_kernel() {
        let mut marks = Marks::default();
        for attempt in 1..=MAX_ATTEMPTS {
            assert_eq!((marks.attempt("a"), marks.verdict("a")), (attempt, None));
            marks.begin("a");
            marks.broke("a");
        }
        assert!(marks.verdict("a").unwrap().contains("3 times"));
        for _ in 0..MOST_BEGUN {
            assert_eq!(marks.verdict("b"), None);
            marks.begin("b");
            // The kernel dies here; the next life reads what was noted.
            marks = Marks::load(&marks.body());
        }
        assert!(marks.verdict("b").unwrap().contains("the kernel stopped 8 times"));
        marks.end("a");
        marks.end("b");
        assert_eq!(marks.body(), Value::Null);
    }

    #[test]
    fn what_was_not_given_after_all_counts_for_nothing() {
        let mut marks = Marks::default();
        for _ in 0..100 {
            marks.begin("a");
            marks.unbegin("a");
        }
        assert!(!marks.is_suspect("a"));
        assert!(!Marks::load(&json!({ "x": "damaged", "y": [1] })).is_suspect("z"));
    }
}
