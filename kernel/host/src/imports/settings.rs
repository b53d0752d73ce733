//! `settings`: the owner's configuration as it is in force, for the owner alone.

use super::ok;
use crate::behind::owners_only;
use crate::state::HostState;
use carapace_runtime::bindings::{settings, types};
use carapace_runtime::engine_types::Result;
use serde_json::Value;

impl settings::Host for HostState {
    async fn read(&mut self, path: String) -> Result<std::result::Result<Option<String>, types::Error>> {
        self.core.host_call()?;
        let (grant, id) = (self.granted(), self.instance.id.clone());
        let allowed = grant.settings(&id, self.uses.as_ref()).and_then(|()| {
            let what = "read the configuration";
            if self.behind(what)?.origin.is_owner() { Ok(()) } else { Err(owners_only(&id, what)) }
        });
        ok!(allowed.map_err(|denial| self.core.deny(&denial)));
        let all = (self.services.settings)();
        Ok(Ok(at(&all, &path).map(ToString::to_string)))
    }
}

/// What stands at a dotted path. Keys may hold dots themselves (`openai/gpt-4.1`), so each key is tried whole.
fn at<'v>(value: &'v Value, path: &str) -> Option<&'v Value> {
    if path.is_empty() {
        return Some(value);
    }
    match value {
        Value::Object(fields) => fields.iter().find_map(|(key, inner)| {
            let rest = path.strip_prefix(key.as_str())?;
            if rest.is_empty() { Some(inner) } else { at(inner, rest.strip_prefix('.').filter(|r| !r.is_empty())?) }
        }),
        Value::Array(items) => {
            let (index, rest) = path.split_once('.').unwrap_or((path, ""));
            at(items.get(index.parse::<usize>().ok()?)?, rest)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_path_leads_through_keys_with_dots_and_into_lists() {
        let all = json!({"agent": {"route": ["a/b", "c/d"]}, "budget": {"pricing": {"openai/gpt-4.1": {"in": 2}}}});
        assert_eq!(at(&all, ""), Some(&all));
        assert_eq!(at(&all, "agent.route.1"), Some(&json!("c/d")));
        assert_eq!(at(&all, "budget.pricing.openai/gpt-4.1.in"), Some(&json!(2)));
        for nowhere in [
            "agents",
            "agent.",
            "agent.route.2",
            "agent.route.x",
            "agent.route.0.1",
            ".",
            "budget.pricing.openai/gpt-4",
        ] {
            assert_eq!(at(&all, nowhere), None, "{nowhere}");
        }
    }
}
