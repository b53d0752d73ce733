//! Tool calls from fragments.
//!
//! The documented form numbers parallel calls by `index` and spells name and arguments out over many fragments. In the wild: ids that
//! are missing or repeated, one index for several whole calls, no index at all, arguments as an object.

use carapace_sdk::provider::ToolCall;
use carapace_sdk::{clock, random};
use serde_json::Value;

/// One fragment of one call.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Fragment {
    /// Which of the parallel calls.
    pub index: Option<u64>,
    /// The call's id.
    pub id: Option<String>,
    /// Name, or a piece of it.
    pub name: Option<String>,
    /// Arguments, or a piece of them.
    pub arguments: Option<String>,
}

/// Calls being assembled.
#[derive(Debug, Default)]
pub struct Assembler {
    calls: Vec<Open>,
}

#[derive(Debug, Default)]
struct Open {
    index: Option<u64>,
    id: String,
    name: String,
    arguments: String,
}

/// More parallel calls than any model makes: a broken server must not fill the memory.
const MAX_CALLS: usize = 256;

impl Assembler {
    /// Takes a fragment. Says no if there are too many calls.
    #[must_use]
    pub fn push(&mut self, f: Fragment) -> bool {
        let id = f.id.filter(|id| !id.is_empty());
        let named = f.name.as_deref().is_some_and(|n| !n.is_empty());
        // The newest with that index: a server that gives all calls the same one starts each with a new id.
        let known = match f.index {
            Some(_) => self.calls.iter().rposition(|c| c.index == f.index),
            None => match &id {
                Some(id) => self.calls.iter().rposition(|c| c.id == *id),
                // Neither: a continuation, unless it names a tool again.
                None if named => None,
                None => self.calls.len().checked_sub(1),
            },
        };
        let known = known.filter(|i| {
            let Some(call) = self.calls.get(*i) else { return false };
            let another = id.as_ref().is_some_and(|id| !call.id.is_empty() && call.id != *id);
            !(another && named)
        });
        let at = match known {
            Some(i) => i,
            None if self.calls.len() >= MAX_CALLS => return false,
            None => {
                self.calls.push(Open { index: f.index, ..Open::default() });
                self.calls.len() - 1
            }
        };
        let Some(call) = self.calls.get_mut(at) else { return false };
        if let Some(id) = id
            && call.id.is_empty()
        {
            call.id = id;
        }
        if let Some(name) = f.name
            // Some servers repeat the whole name in every fragment.
            && call.name != name
        {
            call.name.push_str(&name);
        }
        if let Some(arguments) = f.arguments {
            call.arguments.push_str(&arguments);
        }
        true
    }

    /// No call was begun.
    pub fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// The calls, in the order they began. `unique` makes an id where the server gave none; a call without a name is no call.
    /// With `cut` (the answer hit its length limit) calls whose arguments broke off are left out.
    pub fn finish(self, cut: bool, mut unique: impl FnMut() -> String) -> Vec<ToolCall> {
        let mut out: Vec<ToolCall> = Vec::new();
        for call in self.calls {
            let arguments = if call.arguments.trim().is_empty() { "{}".to_owned() } else { call.arguments };
            if call.name.is_empty() || (cut && serde_json::from_str::<Value>(&arguments).is_err()) {
                continue;
            }
            // Two calls of one id could not be told apart when their results go back.
            let id = if call.id.is_empty() || out.iter().any(|c| c.id == call.id) {
                format!("call_{}", unique())
            } else {
                call.id
            };
            out.push(ToolCall { id, name: call.name, arguments, extra: Vec::new() });
        }
        out
    }
}

/// Twelve random bytes in hexadecimal, for an id that a server left out.
pub fn unique() -> String {
    // Without randomness the clock still tells two calls of one session apart.
    let bytes = random::bytes(12).unwrap_or_else(|_| clock::monotonic_ms().to_be_bytes().to_vec());
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fragment(index: Option<u64>, id: &str, name: &str, arguments: &str) -> Fragment {
        let some = |s: &str| (!s.is_empty()).then(|| s.to_owned());
        Fragment { index, id: some(id), name: some(name), arguments: some(arguments) }
    }

    fn assemble(fragments: Vec<Fragment>) -> Vec<(String, String, String)> {
        let mut a = Assembler::default();
        for f in fragments {
            assert!(a.push(f));
        }
        let mut n = 0;
        a.finish(false, || {
            n += 1;
            format!("made{n}")
        })
        .into_iter()
        .map(|c| (c.id, c.name, c.arguments))
        .collect()
    }

    fn call(id: &str, name: &str, arguments: &str) -> (String, String, String) {
        (id.into(), name.into(), arguments.into())
    }

    #[test]
    fn interleaved_fragments_find_their_call_by_index() {
        let got = assemble(vec![
            fragment(Some(0), "a", "get_", ""),
            fragment(Some(1), "b", "other", "{"),
            fragment(Some(0), "", "weather", "{\"x\""),
            fragment(Some(1), "", "", "}"),
            fragment(Some(0), "", "", ":1}"),
        ]);
        assert_eq!(got, [call("a", "get_weather", "{\"x\":1}"), call("b", "other", "{}")]);
    }

    #[test]
    fn a_repeated_name_and_id_are_not_doubled() {
        let got = assemble(vec![fragment(Some(0), "a", "f", "{"), fragment(Some(0), "a", "f", "}")]);
        assert_eq!(got, [call("a", "f", "{}")]);
    }

    #[test]
    fn whole_calls_under_one_index_are_kept_apart_by_their_ids() {
        let got = assemble(vec![fragment(Some(0), "a", "f", "{\"n\":1}"), fragment(Some(0), "b", "f", "{\"n\":2}")]);
        assert_eq!(got, [call("a", "f", "{\"n\":1}"), call("b", "f", "{\"n\":2}")]);
    }

    #[test]
    fn calls_without_an_index_are_told_apart_by_id_or_name() {
        let got = assemble(vec![
            fragment(None, "a", "f", "{"),
            fragment(None, "", "", "}"),
            fragment(None, "", "g", ""),
            fragment(None, "c", "h", ""),
        ]);
        assert_eq!(got, [call("a", "f", "{}"), call("call_made1", "g", "{}"), call("c", "h", "{}")]);
    }

    #[test]
    fn a_missing_or_doubled_id_is_made_up() {
        let got = assemble(vec![
            fragment(Some(0), "", "f", ""),
            fragment(Some(1), "x", "g", ""),
            fragment(Some(2), "x", "h", ""),
        ]);
        assert_eq!(got, [call("call_made1", "f", "{}"), call("x", "g", "{}"), call("call_made2", "h", "{}")]);
    }

    #[test]
    fn a_call_cut_off_by_the_length_limit_is_left_out() {
        let mut a = Assembler::default();
        assert!(a.push(fragment(Some(0), "a", "f", "{\"x\":1}")));
        assert!(a.push(fragment(Some(1), "b", "f", "{\"x\":")));
        let got = a.finish(true, String::new);
        assert_eq!(got.iter().map(|c| c.id.as_str()).collect::<Vec<_>>(), ["a"]);
    }

    #[test]
    fn a_flood_of_calls_is_refused() {
        let mut a = Assembler::default();
        assert!((0..256).all(|i| a.push(fragment(Some(i), "", "f", ""))));
        assert!(!a.push(fragment(Some(256), "", "f", "")));
        assert!(a.push(fragment(Some(255), "", "", "{}")));
    }
}
