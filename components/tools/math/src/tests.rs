//! What the tool answers, against a small oracle of machine fractions.

use super::*;
use proptest::prelude::*;

fn ok(text: &str) -> String {
    evaluate(text).unwrap_or_else(|e| panic!("{text}: {e}"))
}
fn wrong(text: &str) -> String {
    evaluate(text).map_or_else(|e| e, |v| panic!("{text} = {v}"))
}

#[test]
fn decimals_are_exact() {
    assert_eq!(ok("0.1+0.2"), "0.3");
    assert_eq!(ok("0.1*3 - 0.3"), "0");
    assert_eq!(ok("1e-3 + 2.5E2"), "250.001");
    assert_eq!(ok("-.5 * 1_000"), "-500");
    assert_eq!(ok("1/8"), "0.125");
    assert_eq!(ok("2^100"), "1267650600228229401496703205376");
    assert_eq!(ok("99999999999999999999 + 1"), "100000000000000000000");
}

#[test]
fn a_fraction_without_an_end_is_shown_as_fraction_and_decimal() {
    assert_eq!(
        ok("1/3"),
        "1/3 ≈ 0.33333333333333333333333333333333333333333333333333 (exact fraction; the decimal is rounded to 50 significant digits)"
    );
    assert!(ok("-2/3").starts_with("-2/3 ≈ -0.66666666666666666666666666666666666666666666666667 "));
    assert!(
        ok("10^30/7")
            .starts_with("1000000000000000000000000000000/7 ≈ 142857142857142857142857142857.14285714285714285714 ")
    );
    assert_eq!(ok("1/3*3"), "1");
    assert!(ok("1/3^200").starts_with("≈ 3.76"), "{}", ok("1/3^200"));
    assert!(ok("1/3^200").contains("e-96 (rounded"));
}

#[test]
fn precedence_is_the_usual_one() {
    assert_eq!(ok("2+3*4"), "14");
    assert_eq!(ok("-2^2"), "-4");
    assert_eq!(ok("(-2)^2"), "4");
    assert_eq!(ok("2^3^2"), "512");
    assert_eq!(ok("2^-1"), "0.5");
    assert_eq!(ok("10-4-3"), "3");
    assert_eq!(ok("100/10/5"), "2");
    assert_eq!(ok("--3"), "3");
    assert_eq!(ok("2**10"), "1024");
    assert_eq!(ok("6×7÷2−1"), "20");
    assert_eq!(ok("2*-3"), "-6");
}

#[test]
fn the_remainder_has_the_divisors_sign() {
    assert_eq!([ok("7%3"), ok("-7%3"), ok("7%-3"), ok("5.5%2")], ["1", "2", "-2", "1.5"]);
}

#[test]
fn functions_do_what_they_are_called() {
    assert_eq!(ok("abs(-3)+min(2,1,5)+max(2, 7)"), "11");
    assert_eq!(
        [ok("round(2.5)"), ok("round(-2.5)"), ok("round(2.345, 2)"), ok("round(1234, -2)")],
        ["3", "-3", "2.35", "1200"]
    );
    assert_eq!([ok("floor(-1.5)"), ok("ceil(-1.5)")], ["-2", "-1"]);
    assert_eq!([ok("sqrt(9/4)"), ok("sqrt(0)"), ok("sqrt(10^40)")], ["1.5", "0", "100000000000000000000"]);
    assert_eq!(ok("SQRT(4)"), "2");
}

#[test]
fn what_has_to_be_rounded_says_so_and_is_right_to_its_last_digit() {
    // OEIS A002193, A000796, A001113.
    let said = |digits: &str| {
        format!("≈ {digits} (approximate: roots, pi and e are taken to 70 digits, the result is rounded to 50)")
    };
    assert_eq!(ok("sqrt(2)"), said("1.4142135623730950488016887242096980785696718753769"));
    assert_eq!(ok("pi"), said("3.1415926535897932384626433832795028841971693993751"));
    assert_eq!(ok("e"), said("2.7182818284590452353602874713526624977572470937"));
    assert_eq!(ok("sqrt(2)^2"), said("2"));
    assert!(ok("sqrt(2*10^-400)").starts_with("≈ 1.4142135623730950488016887242096980785696718753769e-200 "));
    assert!(ok("sqrt(2*10^400)").starts_with("≈ 1.4142135623730950488016887242096980785696718753769e200 "));
    assert_eq!(ok("π*0"), said("0"));
}

#[test]
fn every_mistake_is_named_with_its_place() {
    let cases = [
        ("1/0", "position 2: division by zero"),
        ("1 + 5 % (2-2)", "position 7: division by zero"),
        ("0^-1", "position 2: division by zero"),
        ("2 3", "position 3: an operator is missing"),
        ("2(3)", "position 2: an operator is missing"),
        ("2pi", "position 2: an operator is missing"),
        ("1,000", "position 2: a comma"),
        ("(1+2", "position 1: this `(` is never closed"),
        ("1+2)", "position 4: there is no `(`"),
        ("1+", "position 3: the expression ends"),
        ("", "position 1: the expression ends"),
        ("1.2.3", "position 4: a number has one point"),
        (".", "position 1: a point alone"),
        ("2^0.5", "position 2: the exponent must be a whole number"),
        ("1 + sqrt(-1)", "position 5: a negative number"),
        ("foo(1)", "position 1: unknown name `foo`"),
        ("1+x", "position 3: unknown name `x`"),
        ("abs(1,2)", "position 1: abs takes one argument, not 2"),
        ("min()", "position 1: min takes at least one argument, not 0"),
        ("round(1, 0.5)", "position 1: round takes a whole number"),
        ("5!", "position 2: there are no factorials"),
        ("x=1", "position 1: unknown name"),
        ("1=1", "position 2: `=` is not an operator"),
        ("1 $ 2", "position 3: `$` is not part"),
        ("*2", "position 1: `*` stands where a number should"),
        ("1e99999", "position 1: the exponent is larger"),
        ("max(1 2)", "position 7: `2` stands where an operator"),
    ];
    for (text, expected) in cases {
        assert!(wrong(text).starts_with(expected), "{text}: {}", wrong(text));
    }
}

#[test]
fn size_depth_and_work_have_limits() {
    assert!(wrong("10^10001").contains("more than 10000 digits"));
    assert!(wrong("9^9^9^9").contains("more than 10000 digits"));
    assert!(wrong("2^(2^40)").contains("more than 10000 digits"));
    assert_eq!(ok("10^9999").len(), 10_000);
    assert_eq!(ok("2^33000").len(), 9_934);
    assert!(ok("sqrt(10^9998)").starts_with("10000"));
    assert!(ok("3^20000 % (7^11000+2)").starts_with("170534"));
    assert_eq!(ok("(-1)^(10^30+1)"), "-1");
    assert_eq!(ok("0^(10^30)"), "0");
    assert!(wrong(&format!("{}1{}", "(".repeat(65), ")".repeat(65))).contains("nested more than 64"));
    assert_eq!(ok(&format!("{}1{}", "(".repeat(64), ")".repeat(64))), "1");
    assert!(wrong(&"-".repeat(500)).contains("nested more than 64"));
    assert!(wrong(&"1+".repeat(2049)).contains("longer than 4096"));
    let heavy = (0..400).map(|i| format!("1/7^{}", 3000 + i)).collect::<Vec<_>>().join("+");
    assert!(wrong(&heavy).contains("too much work"), "{}", wrong(&heavy));
    assert!(ok(&vec!["1/3"; 1000].join("+")).starts_with("1000/3 "), "many small steps are fine");
}

#[carapace_sdk::test]
fn arguments_are_read_strictly(host: &mut TestHost) {
    assert_eq!(host.call_tool("math_eval", json!({ "expression": "1+1" })).unwrap().text(), "2");
    for (bad, says) in [
        (json!({}), "missing field `expression`"),
        (json!({ "expression": 1 }), "string"),
        (json!({ "expression": "1", "expr": "1" }), "`expr`"),
        (json!(["1"]), "object"),
        (json!("x"), "object"),
    ] {
        match host.call_tool("math_eval", bad.clone()) {
            Err(ToolError::InvalidArguments(e)) => assert!(e.contains(says), "{bad}: {e}"),
            other => panic!("{bad}: {other:?}"),
        }
    }
    assert!(matches!(host.call_tool("sum", json!({})), Err(ToolError::NotFound(_))));
}

/// A fraction of machine integers: the oracle.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Small(i128, i128);

fn gcd(a: i128, b: i128) -> i128 {
    if b == 0 { a.abs() } else { gcd(b, a % b) }
}
impl Small {
    fn new(n: i128, d: i128) -> Option<Self> {
        let g = gcd(n, d).max(1) * if d < 0 { -1 } else { 1 };
        (d != 0).then(|| Self(n / g, d / g))
    }
    fn apply(op: char, a: Self, b: Self) -> Option<Self> {
        let (x, y) = (a.0.checked_mul(b.1)?, b.0.checked_mul(a.1)?);
        match op {
            '+' => Self::new(x.checked_add(y)?, a.1.checked_mul(b.1)?),
            '-' => Self::new(x.checked_sub(y)?, a.1.checked_mul(b.1)?),
            '*' => Self::new(a.0.checked_mul(b.0)?, a.1.checked_mul(b.1)?),
            '/' => Self::new(x, y),
            '%' if b.0 != 0 => {
                let whole = x.div_euclid(y) - i128::from(y < 0 && x.rem_euclid(y) != 0);
                let whole = Self::new(if y < 0 { whole } else { x.div_euclid(y) }, 1)?;
                Self::apply('-', a, Self::apply('*', b, whole)?)
            }
            _ => None,
        }
    }
}

#[derive(Clone, Debug)]
enum Tree {
    Leaf(i32, u32),
    Node(char, Box<Tree>, Box<Tree>),
}
impl Tree {
    fn text(&self) -> String {
        match self {
            Self::Leaf(n, 0) => format!("({n})"),
            Self::Leaf(n, places) => format!("({n}e-{places})"),
            Self::Node(op, a, b) => format!("({} {op} {})", a.text(), b.text()),
        }
    }
    fn small(&self) -> Option<Small> {
        match self {
            Self::Leaf(n, places) => Small::new(i128::from(*n), 10i128.pow(*places)),
            Self::Node(op, a, b) => Small::apply(*op, a.small()?, b.small()?),
        }
    }
}

fn tree() -> impl Strategy<Value = Tree> {
    let leaf = (-999i32..999, 0u32..3).prop_map(|(n, p)| Tree::Leaf(n, p));
    leaf.prop_recursive(4, 24, 2, |inner| {
        (prop::sample::select(vec!['+', '-', '*', '/', '%']), inner.clone(), inner)
            .prop_map(|(op, a, b)| Tree::Node(op, Box::new(a), Box::new(b)))
    })
}

proptest! {
    #[test]
    fn it_agrees_with_machine_fractions(t in tree()) {
        if let Some(Small(n, d)) = t.small() {
            let got = parse::evaluate(&t.text()).map_err(|e| TestCaseError::fail(format!("{e:?}")))?;
            prop_assert!(got.exact);
            prop_assert_eq!((got.number.numer().to_string(), got.number.denom().to_string()), (n.to_string(), d.to_string()));
        }
    }

    #[test]
    fn an_exact_decimal_reads_back_as_itself(n in any::<i64>(), places in 0u32..30) {
        let text = ok(&format!("{n} / 10^{places}"));
        prop_assert_eq!(ok(&format!("({text}) * 10^{places}")), n.to_string());
    }

    #[test]
    fn the_root_of_a_square_is_the_number(n in 0u64..u64::MAX, d in 1u64..u64::MAX) {
        let v = parse::evaluate(&format!("sqrt(({n}/{d})^2) - {n}/{d}")).unwrap();
        prop_assert!(v.exact && v.number.numer().to_string() == "0");
    }

    #[test]
    fn any_text_ends_in_a_result(text in r"[-0-9.+*/%^(), eπabsqrtminxfloor_]{0,60}", other in ".{0,60}") {
        let _ = evaluate(&text);
        let _ = evaluate(&other);
    }
}
