//! Fractions, and how much work they may be.

use num_bigint::{BigInt, Sign};
use num_integer::Integer;
use num_rational::BigRational;
use num_traits::{One, Signed, Zero};
use std::cmp::Ordering;

/// Digits a numerator or denominator may have.
pub(crate) const MAX_DIGITS: u64 = 10_000;
/// The same in bits: 10,000 × log2(10), rounded up.
const MAX_BITS: u64 = 33_220;
/// Significant digits of what has to be rounded.
pub(crate) const DIGITS: u32 = 50;
/// Digits it is computed with, so that a few operations do not show.
pub(crate) const GUARD: u32 = 70;
/// Work one expression may be, in pairs of 32-bit words. One pair is up to 370 units of fuel (measured), so this ends before the fuel does.
const MAX_WORK: u64 = 15_000_000;

/// A number.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Value {
    pub(crate) number: BigRational,
    /// No rounding went into it.
    pub(crate) exact: bool,
}

impl Value {
    pub(crate) fn exact(number: BigRational) -> Self {
        Self { number, exact: true }
    }
    pub(crate) fn bits(&self) -> u64 {
        self.number.numer().bits().max(self.number.denom().bits())
    }
}

/// Counts work, so that a short text cannot ask for a long computation.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    work: u64,
}

type Outcome = Result<Value, String>;

impl Meter {
    /// A step on two numbers of these sizes; reducing a fraction is quadratic.
    fn spend(&mut self, a: u64, b: u64) -> Result<(), String> {
        let (a, b) = (a / 32 + 1, b / 32 + 1);
        self.work = self.work.saturating_add((a + b).saturating_mul(a + b));
        if self.work > MAX_WORK {
            Err("this is too much work; use smaller numbers or fewer steps".into())
        } else {
            Ok(())
        }
    }

    fn done(number: BigRational, exact: bool) -> Outcome {
        let v = Value { number, exact };
        if v.bits() > MAX_BITS {
            return Err(format!("the result has more than {MAX_DIGITS} digits"));
        }
        Ok(v)
    }

    pub(crate) fn binary(&mut self, op: char, a: &Value, b: &Value) -> Outcome {
        self.spend(a.bits(), b.bits())?;
        let exact = a.exact && b.exact;
        let (x, y) = (&a.number, &b.number);
        match op {
            '+' => Self::done(x + y, exact),
            '-' => Self::done(x - y, exact),
            '*' => Self::done(x * y, exact),
            '/' | '%' if y.is_zero() => Err("division by zero".into()),
            '/' => Self::done(x / y, exact),
            '%' => {
                let whole = (x / y).floor();
                Self::done(x - y * whole, exact)
            }
            '^' => self.power(a, b),
            _ => Err(format!("unknown operator `{op}`")),
        }
    }

    fn power(&mut self, a: &Value, b: &Value) -> Outcome {
        if !b.number.is_integer() {
            return Err("the exponent must be a whole number; for roots there is sqrt(x)".into());
        }
        let one = BigInt::one();
        // Without growth any exponent will do.
        if a.number.numer().magnitude().is_one() && a.number.denom().is_one() {
            let odd = b.number.numer().is_odd() && a.number.is_negative();
            return Ok(Value { number: BigRational::from(if odd { -one } else { one }), exact: a.exact && b.exact });
        }
        if a.number.is_zero() {
            return match b.number.numer().sign() {
                Sign::Minus => Err("division by zero (zero to a negative power)".into()),
                Sign::NoSign => Ok(Value { number: BigRational::one(), exact: a.exact && b.exact }),
                Sign::Plus => Ok(a.clone()),
            };
        }
        let n = i32::try_from(b.number.numer()).ok().filter(|n| u64::from(n.unsigned_abs()) <= 2 * MAX_BITS);
        let n = n.ok_or_else(|| format!("the result has more than {MAX_DIGITS} digits"))?;
        // A number of b bits to the n has at least (b - 1) · n bits.
        if a.bits().saturating_sub(1).saturating_mul(u64::from(n.unsigned_abs())) > MAX_BITS {
            return Err(format!("the result has more than {MAX_DIGITS} digits"));
        }
        let size = a.bits() * u64::from(n.unsigned_abs());
        // Multiplications only: there is nothing to reduce.
        self.spend(size / 2, 0)?;
        Self::done(num_traits::Pow::pow(&a.number, n), a.exact && b.exact)
    }

    pub(crate) fn negate(a: Value) -> Value {
        Value { number: -a.number, exact: a.exact }
    }

    /// A function of the language; `None` if there is none of that name.
    pub(crate) fn function(&mut self, name: &str, arguments: &[Value]) -> Option<Outcome> {
        let count = |want: &str| Err(format!("{name} takes {want}, not {}", arguments.len()));
        Some(match (name, arguments) {
            ("abs", [x]) => Ok(Value { number: x.number.abs(), exact: x.exact }),
            ("floor", [x]) => Ok(Value { number: x.number.floor(), exact: x.exact }),
            ("ceil", [x]) => Ok(Value { number: x.number.ceil(), exact: x.exact }),
            ("round", [x]) => Ok(Value { number: x.number.round(), exact: x.exact }),
            ("round", [x, digits]) => self.round(x, digits),
            ("sqrt", [x]) => self.sqrt(x),
            ("min" | "max", [first, rest @ ..]) => {
                let wanted = if name == "min" { Ordering::Less } else { Ordering::Greater };
                let mut best = first;
                for v in rest {
                    if let Err(e) = self.spend(best.bits(), v.bits()) {
                        return Some(Err(e));
                    }
                    if v.number.cmp(&best.number) == wanted {
                        best = v;
                    }
                }
                Ok(best.clone())
            }
            ("abs" | "floor" | "ceil" | "sqrt", _) => count("one argument"),
            ("round", _) => count("one or two arguments"),
            ("min" | "max", _) => count("at least one argument"),
            _ => return None,
        })
    }

    fn round(&mut self, x: &Value, digits: &Value) -> Outcome {
        let n = digits.number.is_integer().then(|| i32::try_from(digits.number.numer()).ok()).flatten();
        let n = n
            .filter(|n| n.unsigned_abs() <= 1_000)
            .ok_or("round takes a whole number of digits, from -1000 to 1000")?;
        self.spend(x.bits() + 3_400, 3_400)?;
        let scale = BigRational::from(ten_to(n.unsigned_abs()));
        let scale = if n < 0 { scale.recip() } else { scale };
        Self::done((&x.number * &scale).round() / scale, x.exact && digits.exact)
    }

    /// Exact where numerator and denominator are squares.
    fn sqrt(&mut self, x: &Value) -> Outcome {
        if x.number.is_negative() {
            return Err("a negative number has no real square root".into());
        }
        self.spend(x.bits(), 0)?;
        let (n, d) = (x.number.numer(), x.number.denom());
        let (rn, rd) = (n.sqrt(), d.sqrt());
        if &(&rn * &rn) == n && &(&rd * &rd) == d {
            return Ok(Value { number: BigRational::new(rn, rd), exact: x.exact });
        }
        // Scaled so that the root has the wanted digits whatever the size of the number.
        let shift = (d.bits().saturating_sub(n.bits()) * 3 / 10 / 2 + 1 + u64::from(GUARD)).min(MAX_DIGITS);
        let shift = u32::try_from(shift).unwrap_or(u32::MAX);
        self.spend(x.bits() + u64::from(shift) * 7, 0)?;
        let scaled = (n * ten_to(shift * 2)).div_floor(d).sqrt();
        Self::done(BigRational::new(scaled, ten_to(shift)), false)
    }
}

pub(crate) fn ten_to(n: u32) -> BigInt {
    num_traits::Pow::pow(BigInt::from(10), n)
}

/// `pi` and `e`, to 70 digits (OEIS A000796, A001113).
pub(crate) fn constant(name: &str) -> Option<Value> {
    let digits: &[u8] = match name {
        "pi" => b"31415926535897932384626433832795028841971693993751058209749445923078164",
        "e" => b"27182818284590452353602874713526624977572470936999595749669676277240766",
        _ => return None,
    };
    let whole = BigInt::parse_bytes(digits, 10)?;
    let places = u32::try_from(digits.len()).ok()?.checked_sub(1)?;
    Some(Value { number: BigRational::new(whole, ten_to(places)), exact: false })
}
