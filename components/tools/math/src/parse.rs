//! The language: a recursive-descent parser that evaluates as it reads.
//!
//! ```text
//! sum     = product (("+" | "-") product)*
//! product = unary (("*" | "/" | "%") unary)*
//! unary   = ("-" | "+") unary | power
//! power   = atom ("^" unary)?              -2^2 = -4, 2^3^2 = 2^9, 2^-1 = 1/2
//! atom    = number | name | name "(" sum ("," sum)* ")" | "(" sum ")"
//! ```

use crate::value::{MAX_DIGITS, Meter, Value, constant, ten_to};
use num_bigint::BigInt;
use num_rational::BigRational;

/// Longest expression, bytes.
const MAX_TEXT: usize = 4096;
/// How deeply it may be nested.
const MAX_DEPTH: usize = 64;

/// Where (counted in characters from one; zero = the whole), and what.
pub(crate) type Error = (usize, String);

pub(crate) fn evaluate(text: &str) -> Result<Value, Error> {
    if text.len() > MAX_TEXT {
        return Err((0, format!("the expression is longer than {MAX_TEXT} bytes")));
    }
    let mut p = Parser { chars: text.chars().collect(), at: 0, depth: 0, meter: Meter::default() };
    let v = p.sum()?;
    p.space();
    match p.peek() {
        None => Ok(v),
        Some(')') => Err(p.wrong("there is no `(` for this `)`")),
        Some(',') => {
            Err(p.wrong("a comma stands only between arguments; write numbers without separators (1000, not 1,000)"))
        }
        Some('=') => Err(p.wrong("`=` is not an operator here; this evaluates, it does not solve")),
        Some('!') => Err(p.wrong("there are no factorials here")),
        Some(c) if c.is_alphanumeric() || c == '(' => {
            Err(p.wrong(&format!("an operator is missing before `{c}` (write `*` for a product)")))
        }
        Some(c) => Err(p.wrong(&format!("`{c}` is not part of an expression"))),
    }
}

struct Parser {
    chars: Vec<char>,
    at: usize,
    depth: usize,
    meter: Meter,
}

impl Parser {
    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }
    fn space(&mut self) {
        while self.peek().is_some_and(char::is_whitespace) {
            self.at += 1;
        }
    }
    fn wrong(&self, what: &str) -> Error {
        (self.at + 1, what.to_owned())
    }

    /// The operator at hand, if it is one of `wanted`, and its place. Typographic signs and `**` count.
    fn operator(&mut self, wanted: &str) -> Option<(char, usize)> {
        self.space();
        let mut length = 1;
        let op = match self.peek()? {
            '×' | '·' | '⋅' => '*',
            '÷' | '∕' => '/',
            '−' => '-',
            '*' if self.chars.get(self.at + 1) == Some(&'*') => {
                length = 2;
                '^'
            }
            c => c,
        };
        let at = self.at;
        wanted.contains(op).then(|| {
            self.at += length;
            (op, at + 1)
        })
    }

    fn deeper<T>(&mut self, f: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        if self.depth >= MAX_DEPTH {
            return Err(self.wrong(&format!("nested more than {MAX_DEPTH} deep")));
        }
        self.depth += 1;
        let r = f(self);
        self.depth -= 1;
        r
    }

    fn sum(&mut self) -> Result<Value, Error> {
        let mut left = self.product()?;
        while let Some((op, at)) = self.operator("+-") {
            let right = self.product()?;
            left = self.meter.binary(op, &left, &right).map_err(|e| (at, e))?;
        }
        Ok(left)
    }

    fn product(&mut self) -> Result<Value, Error> {
        let mut left = self.unary()?;
        while let Some((op, at)) = self.operator("*/%") {
            let right = self.unary()?;
            left = self.meter.binary(op, &left, &right).map_err(|e| (at, e))?;
        }
        Ok(left)
    }

    fn unary(&mut self) -> Result<Value, Error> {
        match self.operator("+-") {
            Some(('-', _)) => self.deeper(Self::unary).map(Meter::negate),
            Some(_) => self.deeper(Self::unary),
            None => self.power(),
        }
    }

    fn power(&mut self) -> Result<Value, Error> {
        let base = self.atom()?;
        match self.operator("^") {
            Some((op, at)) => {
                let exponent = self.deeper(Self::unary)?;
                self.meter.binary(op, &base, &exponent).map_err(|e| (at, e))
            }
            None => Ok(base),
        }
    }

    fn atom(&mut self) -> Result<Value, Error> {
        self.space();
        let start = self.at;
        match self.peek() {
            None => Err(self.wrong("the expression ends where a number should stand")),
            Some('(') => {
                self.at += 1;
                let v = self.deeper(Self::sum)?;
                self.close(start)?;
                Ok(v)
            }
            Some(c) if c.is_ascii_digit() || c == '.' => self.number(),
            Some('π') => {
                self.at += 1;
                constant("pi").ok_or_else(|| (start + 1, "unknown name `π`".to_owned()))
            }
            Some(c) if c.is_alphabetic() || c == '_' => self.name(),
            Some(c) => Err(self.wrong(&format!("`{c}` stands where a number should"))),
        }
    }

    fn close(&mut self, opened: usize) -> Result<(), Error> {
        self.space();
        if self.peek() == Some(')') {
            self.at += 1;
            return Ok(());
        }
        match self.peek() {
            None => Err((opened + 1, "this `(` is never closed".into())),
            Some(c) => Err(self.wrong(&format!("`{c}` stands where an operator or `)` should"))),
        }
    }

    /// Digits with `_` between them, a point, an exponent: `1_000.5e-3`.
    fn number(&mut self) -> Result<Value, Error> {
        let start = self.at;
        let whole = self.digits();
        let mut fraction = String::new();
        if self.peek() == Some('.') {
            self.at += 1;
            fraction = self.digits();
        }
        if whole.is_empty() && fraction.is_empty() {
            return Err((start + 1, "a point alone is not a number".into()));
        }
        if self.peek() == Some('.') {
            return Err(self.wrong("a number has one point at most"));
        }
        let mut exponent = 0i64;
        // `2e` and `2e+x` are no exponents: `e` is also a constant.
        if matches!(self.peek(), Some('e' | 'E')) {
            let sign = usize::from(matches!(self.chars.get(self.at + 1), Some('+' | '-')));
            if self.chars.get(self.at + 1 + sign).is_some_and(char::is_ascii_digit) {
                let negative = self.chars.get(self.at + 1) == Some(&'-');
                self.at += 1 + sign;
                let limit = i64::try_from(MAX_DIGITS).unwrap_or(i64::MAX);
                let n = self.digits().parse::<i64>().ok().filter(|n| *n <= limit);
                let n = n.ok_or_else(|| (start + 1, format!("the exponent is larger than {MAX_DIGITS}")))?;
                exponent = if negative { -n } else { n };
            }
        }
        let places = exponent - i64::try_from(fraction.len()).unwrap_or(i64::MAX);
        let digits = BigInt::parse_bytes(format!("0{whole}{fraction}").as_bytes(), 10);
        let digits = digits.ok_or_else(|| (start + 1, "not a number".to_owned()))?;
        let scale = ten_to(u32::try_from(places.unsigned_abs()).unwrap_or(u32::MAX).min(20_000));
        let v =
            Value::exact(if places < 0 { BigRational::new(digits, scale) } else { BigRational::from(digits * scale) });
        // Through the meter, for its limits.
        self.meter.binary('+', &v, &Value::exact(BigRational::from(BigInt::from(0)))).map_err(|e| (start + 1, e))
    }

    fn digits(&mut self) -> String {
        let mut out = String::new();
        while let Some(c) = self.peek() {
            let between = c == '_' && !out.is_empty() && self.chars.get(self.at + 1).is_some_and(char::is_ascii_digit);
            if c.is_ascii_digit() {
                out.push(c);
            } else if !between {
                break;
            }
            self.at += 1;
        }
        out
    }

    fn name(&mut self) -> Result<Value, Error> {
        let start = self.at;
        let mut name = String::new();
        while let Some(c) = self.peek().filter(|c| c.is_alphanumeric() || *c == '_') {
            name.extend(c.to_lowercase());
            self.at += 1;
        }
        self.space();
        if self.peek() != Some('(') {
            return constant(&name).ok_or_else(|| (start + 1, unknown(&name)));
        }
        let opened = self.at;
        self.at += 1;
        let mut arguments = Vec::new();
        self.space();
        if self.peek() != Some(')') {
            loop {
                arguments.push(self.deeper(Self::sum)?);
                self.space();
                if self.peek() != Some(',') {
                    break;
                }
                self.at += 1;
            }
        }
        self.close(opened)?;
        self.meter.function(&name, &arguments).ok_or_else(|| (start + 1, unknown(&name)))?.map_err(|e| (start + 1, e))
    }
}

fn unknown(name: &str) -> String {
    let shown: String = name.chars().take(32).collect();
    format!("unknown name `{shown}`; there are abs, min, max, round, floor, ceil, sqrt, pi and e")
}
