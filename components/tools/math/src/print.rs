//! A number in words: exactly where that can be read, rounded where not, and never silently.

use crate::value::{DIGITS, GUARD, MAX_DIGITS, Value, ten_to};
use num_bigint::BigInt;
use num_integer::Integer;
use num_rational::BigRational;
use num_traits::{One, Signed, ToPrimitive, Zero};

/// A fraction is shown if neither side is longer than this.
const FRACTION: usize = 60;
/// Decimals that end are shown whole up to this many places.
const PLACES: u32 = 1_000;

pub(crate) fn print(v: &Value) -> Result<String, String> {
    let x = &v.number;
    if !v.exact {
        return Ok(format!(
            "≈ {} (approximate: roots, pi and e are taken to {GUARD} digits, the result is rounded to {DIGITS})",
            significant(x)?
        ));
    }
    if x.is_integer() {
        return Ok(x.numer().to_string());
    }
    if let Some(places) = places(x.denom()).filter(|p| *p <= PLACES) {
        return Ok(fixed(&(x * BigRational::from(ten_to(places))).to_integer(), places));
    }
    let near = significant(x)?;
    let (n, d) = (x.numer().to_string(), x.denom().to_string());
    if n.len() <= FRACTION && d.len() <= FRACTION {
        return Ok(format!("{n}/{d} ≈ {near} (exact fraction; the decimal is rounded to {DIGITS} significant digits)"));
    }
    Ok(format!(
        "≈ {near} (rounded to {DIGITS} significant digits; the exact fraction has {} and {} digits)",
        n.trim_start_matches('-').len(),
        d.len()
    ))
}

/// How many decimal places 1/`d` has, if they end: `d` = 2^a · 5^b, and the larger of the two.
fn places(d: &BigInt) -> Option<u32> {
    let twos = d.trailing_zeros().unwrap_or(0);
    let (mut rest, mut fives) = (d >> twos, 0u64);
    let five = BigInt::from(5);
    while !rest.is_one() {
        let (q, r) = rest.div_rem(&five);
        if !r.is_zero() || fives > u64::from(PLACES) {
            return None;
        }
        rest = q;
        fives += 1;
    }
    u32::try_from(twos.max(fives)).ok()
}

/// `n` / 10^`places`, written out.
fn fixed(n: &BigInt, places: u32) -> String {
    let digits = n.abs().to_string();
    let places = places as usize;
    let digits = format!("{digits:0>width$}", width = places + 1);
    let (whole, fraction) = digits.split_at(digits.len() - places);
    let fraction = fraction.trim_end_matches('0');
    let sign = if n.is_negative() { "-" } else { "" };
    if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

/// Rounded to [`DIGITS`] significant digits, halves away from zero; with an exponent where it would be long.
fn significant(x: &BigRational) -> Result<String, String> {
    if x.is_zero() {
        return Ok("0".into());
    }
    // The decimal exponent, from the bits, corrected by at most two steps.
    let bits = |n: &BigInt| i64::try_from(n.bits()).unwrap_or(i64::MAX);
    let guess = (bits(x.numer()) - bits(x.denom())).to_f64().unwrap_or(0.0) * std::f64::consts::LOG10_2;
    let mut exponent = guess.floor().to_i64().ok_or("the number is too large to print")?;
    let scaled = |exponent: i64| -> BigInt {
        let shift = i64::from(DIGITS) - 1 - exponent;
        let scale = BigRational::from(ten_to(
            u32::try_from(shift.unsigned_abs()).unwrap_or(u32::MAX).min(2 * MAX_DIGITS as u32),
        ));
        let scaled = if shift >= 0 { x.abs() * scale } else { x.abs() / scale };
        scaled.round().to_integer()
    };
    let (low, high) = (ten_to(DIGITS - 1), ten_to(DIGITS));
    let mut digits = scaled(exponent);
    for _ in 0..4 {
        if digits >= high {
            exponent += 1;
        } else if digits < low {
            exponent -= 1;
        } else {
            break;
        }
        digits = scaled(exponent);
    }
    let sign = if x.is_negative() { "-" } else { "" };
    let text = digits.to_string();
    if (-20..i64::from(DIGITS)).contains(&exponent) {
        let places = u32::try_from(i64::from(DIGITS) - 1 - exponent).unwrap_or(0);
        return Ok(format!("{sign}{}", fixed(&digits, places)));
    }
    let (first, rest) = text.split_at(1);
    let rest = rest.trim_end_matches('0');
    let point = if rest.is_empty() { "" } else { "." };
    Ok(format!("{sign}{first}{point}{rest}e{exponent}"))
}
