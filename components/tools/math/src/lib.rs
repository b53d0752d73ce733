//! Exact arithmetic: the tool `math_eval`.
//!
//! Every value is a fraction of whole numbers of any size, so `0.1 + 0.2` is `0.3`. What no fraction can say (most roots, `pi`, `e`)
//! is rounded to 50 significant digits, and the answer says so.

#[allow(missing_docs, clippy::all, clippy::pedantic, clippy::restriction, reason = "generated")]
mod bindings {
    wit_bindgen::generate!({ path: "../../../wit", world: "tool", generate_all });
}
mod parse;
mod print;
mod value;

use bindings::exports::carapace::plugin::tools::{Content, Context, Guest, Tool, ToolError};
use serde_json::Value as Json;

const DESCRIPTION: &str = "Evaluates an arithmetic expression exactly: + - * / % ^ (whole exponents), parentheses, \
abs(x) min(a,b,…) max(a,b,…) round(x) round(x,digits) floor(x) ceil(x) sqrt(x), pi, e. Decimals are exact (0.1+0.2 is 0.3), numbers may be \
of any size up to 10,000 digits. % is the remainder, with the divisor's sign; round takes halves away from zero; sqrt, pi and e are rounded to 50 digits.";

/// The component.
#[derive(Debug)]
pub struct Math;

impl Guest for Math {
    fn list() -> Vec<Tool> {
        vec![Tool {
            name: "math_eval".into(),
            description: DESCRIPTION.into(),
            parameters: r#"{"type":"object","properties":{"expression":{"type":"string","maxLength":4096,"description":"e.g. (1.1 + 2.2) * 3 or sqrt(2)^2"}},"required":["expression"],"additionalProperties":false}"#.into(),
            extra: Vec::new(),
        }]
    }

    fn call(name: String, arguments: String, _context: Context) -> Result<Vec<Content>, ToolError> {
        if name != "math_eval" {
            return Err(ToolError::NotFound(format!("there is no tool `{name}` here; there is `math_eval`")));
        }
        let text = expression(&arguments).and_then(|e| evaluate(&e)).map_err(ToolError::InvalidArguments)?;
        Ok(vec![Content::Text(text)])
    }
}

fn expression(arguments: &str) -> Result<String, String> {
    let arguments: Json = serde_json::from_str(arguments).map_err(|e| format!("the arguments are not JSON: {e}"))?;
    let fields = arguments.as_object().ok_or("the arguments must be an object with `expression`")?;
    if let Some(key) = fields.keys().find(|k| *k != "expression") {
        return Err(format!("unknown argument `{key}`; math_eval takes `expression`"));
    }
    match fields.get("expression") {
        Some(Json::String(e)) => Ok(e.clone()),
        Some(_) => Err("`expression` must be text".into()),
        None => Err("`expression` is missing".into()),
    }
}

/// The value of an expression, in words; or what is wrong with it and where.
fn evaluate(text: &str) -> Result<String, String> {
    parse::evaluate(text)
        .and_then(|v| print::print(&v).map_err(|e| (0, e)))
        .map_err(|(at, e)| if at == 0 { e } else { format!("position {at}: {e}") })
}

// The exports' names are no names to a host's linker.
#[cfg(target_family = "wasm")]
bindings::export!(Math with_types_in bindings);

#[cfg(test)]
mod tests;
