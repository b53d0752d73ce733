//! Notices a model that calls the same tool with the same arguments again and again.

use serde_json::Value;

/// What to do with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// Make it.
    Fine,
    /// Answer with an error instead.
    Refuse,
    /// End the run.
    Stop,
}

/// From this repetition on a call is answered with an error.
pub(crate) const REFUSED_AT: u32 = 3;
/// At this repetition the run ends.
pub(crate) const STOPPED_AT: u32 = 5;

/// Counts equal calls in a row.
#[derive(Debug, Default)]
pub(crate) struct Repeats {
    last: Option<(String, String)>,
    count: u32,
}

impl Repeats {
    /// Counts one call. The order of object keys does not matter.
    pub(crate) fn note(&mut self, tool: &str, arguments: &str) -> Repeat {
        let call = (tool.to_owned(), canonical(arguments));
        if self.last.as_ref() == Some(&call) {
            self.count += 1;
        } else {
            self.last = Some(call);
            self.count = 1;
        }
        match self.count {
            n if n >= STOPPED_AT => Repeat::Stop,
            n if n >= REFUSED_AT => Repeat::Refuse,
            _ => Repeat::Fine,
        }
    }
}

fn canonical(arguments: &str) -> String {
    match serde_json::from_str::<Value>(arguments) {
        Ok(value) => sorted(value).to_string(),
        Err(_) => arguments.trim().to_owned(),
    }
}

fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut fields: Vec<_> = map.into_iter().map(|(k, v)| (k, sorted(v))).collect();
            fields.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(fields.into_iter().collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_third_equal_call_in_a_row_is_refused_and_the_fifth_ends_the_run() {
        let mut r = Repeats::default();
        let all: Vec<_> = (0..5).map(|_| r.note("t", r#"{"a":1,"b":[2]}"#)).collect();
        assert_eq!(all, [Repeat::Fine, Repeat::Fine, Repeat::Refuse, Repeat::Refuse, Repeat::Stop]);
    }

    #[test]
    fn another_call_between_starts_the_count_again_and_key_order_does_not() {
        let mut r = Repeats::default();
        r.note("t", r#"{"a":1,"b":2}"#);
        r.note("t", r#"{"b":2, "a":1}"#);
        assert_eq!(r.note("t", r#"{"a":1,"b":2}"#), Repeat::Refuse);
        assert_eq!(r.note("u", r#"{"a":1,"b":2}"#), Repeat::Fine);
        assert_eq!(r.note("t", r#"{"a":1,"b":2}"#), Repeat::Fine);
    }
}
