//! Exact arithmetic: the tool `math_eval`.
//!
//! Every value is a fraction of whole numbers of any size, so `0.1 + 0.2` is `0.3`. What no fraction can say (most roots, `pi`, `e`)
//! is rounded to 50 significant digits, and the answer says so.

mod parse;
mod print;
mod value;

use carapace_sdk::prelude::*;

const DESCRIPTION: &str = "Evaluates an arithmetic expression exactly: + - * / % ^ (whole exponents), parentheses, \
abs(x) min(a,b,…) max(a,b,…) round(x) round(x,digits) floor(x) ceil(x) sqrt(x), pi, e. Decimals are exact (0.1+0.2 is 0.3), numbers may be \
of any size up to 10,000 digits. % is the remainder, with the divisor's sign; round takes halves away from zero; sqrt, pi and e are rounded to 50 digits.";

/// The component.
#[derive(Debug)]
pub struct Math;

impl Tools for Math {
    fn tools(set: &mut ToolSet) {
        set.add("math_eval", DESCRIPTION, |args: Eval, _cx| evaluate(&args.expression).map_err(ToolError::invalid));
    }
}

carapace_sdk::component!(Math: Tools);

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Eval {
    /// e.g. (1.1 + 2.2) * 3 or sqrt(2)^2
    #[schemars(length(max = 4096))]
    expression: String,
}

/// The value of an expression, in words; or what is wrong with it and where.
fn evaluate(text: &str) -> Result<String, String> {
    parse::evaluate(text)
        .and_then(|v| print::print(&v).map_err(|e| (0, e)))
        .map_err(|(at, e)| if at == 0 { e } else { format!("position {at}: {e}") })
}

#[cfg(test)]
mod tests;
