use super::*;
use crate::address;
use proptest::prelude::*;

fn origin(text: &str) -> Origin {
    Origin::of(&parse_url(text).unwrap()).unwrap()
}

#[test]
fn spellings_of_one_origin_are_equal() {
    for (a, b) in [
        ("https://Example.COM/a", "https://example.com:443/b?c"),
        ("https://example.com./", "https://example.com"),
        ("http://example.com:80", "http://example.com"),
        ("https://bücher.example", "https://xn--bcher-kva.example"),
        ("http://127.0.0.1:8000", "http://0x7f.1:8000"),
        ("https://[2001:DB8::0:1]", "https://[2001:db8::1]:443"),
    ] {
        assert_eq!(origin(a), origin(b), "{a} {b}");
    }
}

#[test]
fn another_scheme_host_or_port_is_another_origin() {
    let all =
        ["https://a.example", "http://a.example", "https://b.example", "https://a.example:8443", "https://1.2.3.4"];
    for (i, a) in all.iter().enumerate() {
        for (j, b) in all.iter().enumerate() {
            assert_eq!(origin(a) == origin(b), i == j, "{a} {b}");
        }
    }
}

#[test]
fn an_address_in_any_spelling_is_judged_as_an_address() {
    let loopback = [
        "http://127.0.0.1",
        "http://2130706433",
        "http://0x7f000001",
        "http://0x7F.0x0.0x0.0x1",
        "http://0177.0.0.1",
        "http://017700000001",
        "http://127.1",
        "http://127.0.1",
        "http://127.0.0.1.",
        "http://%31%32%37.0.0.1",
        "http://１２７.０.０.１",
        "http://127。0。0。1",
        "http://[::1]",
        "http://[::ffff:127.0.0.1]",
        "http://[::ffff:7f00:1]",
        "http://[::127.0.0.1]",
        "http://[0:0:0:0:0:0:0:1]",
        "http://[64:ff9b::127.0.0.1]",
        "http://[2002:7f00:1::]",
        "http://0",
        "http://0.0.0.0",
        "http://[::]",
    ];
    for text in loopback {
        let ip = origin(text).ip().unwrap_or_else(|| panic!("{text} was not read as an address"));
        address::check_ip(ip).expect_err(text);
    }
}

#[test]
fn what_the_url_parser_is_lenient_about_is_refused_naming_the_value() {
    let bad = [
        "example.com",
        "//example.com/",
        "https:/example.com",
        "https:example.com",
        "https://",
        "https:///example.com",
        "ftp://example.com",
        "file:///etc/passwd",
        "javascript://x",
        "https://user@example.com",
        "https://user:pw@example.com",
        "https://example.com\\@evil.example",
        "https://exam\tple.com",
        "https://example.com/\n",
        " https://example.com",
        "https://a..b",
        "https://example.com..",
        "http://[fe80::1%25eth0]/",
        "http://[fe80::1%eth0]/",
        "http://[::1",
        "http://256.1.1.1",
        "http://1.2.3.4.5",
        "https://exa mple.com",
        "https://example.com:99999",
    ];
    for text in bad {
        let error = parse_url(text).expect_err(text);
        assert!(error.to_string().contains("is not a usable URL"), "{error}");
        assert!(!error.to_string().contains("pw@"), "{error}");
    }
    assert!(parse_url("ftp://example.com/x").unwrap_err().to_string().contains("`ftp://example.com/x`"));
}

#[test]
fn fragments_and_trailing_dots_are_dropped() {
    assert_eq!(parse_url("https://example.com./a?b#c").unwrap().as_str(), "https://example.com/a?b");
}

#[test]
fn a_wildcard_matches_names_below_and_never_the_apex() {
    let cases = [
        ("cdn.example.com", "cdn.example.com", true),
        ("cdn.example.com", "a.cdn.example.com", false),
        ("CDN.Example.com", "cdn.example.com", true),
        ("*.example.com", "a.example.com", true),
        ("*.example.com", "a.b.example.com", true),
        ("*.example.com", "example.com", false),
        ("*.example.com", "evilexample.com", false),
        ("*.example.com", "example.com.evil.org", false),
        ("*.example.com", ".example.com", false),
        ("*.bücher.example", "a.xn--bcher-kva.example", true),
    ];
    for (pattern, name, expected) in cases {
        assert_eq!(pattern.parse::<HostPattern>().unwrap().matches(name), expected, "{pattern} {name}");
    }
}

#[test]
fn a_pattern_covers_https_on_443_only() {
    let pattern: HostPattern = "*.example.com".parse().unwrap();
    assert!(pattern.covers(&origin("https://a.example.com/x")));
    for other in ["http://a.example.com", "https://a.example.com:8443", "https://example.com", "https://1.2.3.4"] {
        assert!(!pattern.covers(&origin(other)), "{other}");
    }
}

#[test]
fn malformed_host_patterns_are_refused() {
    for text in [
        "*",
        "*.",
        "*.com",
        "com",
        "a.*.com",
        "https://a.com",
        "a.com/x",
        "a.com:443",
        "1.2.3.4",
        "[::1]",
        "",
        "a@b.com",
        "0x7f.1",
    ] {
        let error = text.parse::<HostPattern>().expect_err(text);
        assert!(
            error.to_string().contains(&format!("`{text}`"))
                || text.is_empty()
                || error.to_string().contains("host name"),
            "{error}"
        );
    }
}

proptest! {
    #[test]
    fn a_pattern_matches_exactly_the_names_that_end_in_its_labels(label in "[a-z0-9]{1,8}(\\.[a-z0-9]{1,8}){0,2}", glue in "[a-z.]{0,3}") {
        let pattern: HostPattern = "*.example.com".parse().unwrap();
        let name = format!("{label}{glue}example.com");
        let expected = name.strip_suffix(".example.com").is_some_and(|rest| !rest.is_empty());
        prop_assert_eq!(pattern.matches(&name), expected);
    }

    #[test]
    fn parsing_never_panics_and_what_parses_is_plain(text in "(https?|ftp)?:?/{0,3}[ -~]{0,40}") {
        if let Ok(url) = parse_url(&text) {
            prop_assert!(url.username().is_empty() && url.password().is_none() && url.fragment().is_none());
            prop_assert!(matches!(url.scheme(), "http" | "https"));
            prop_assert!(url.host_str().is_some_and(|h| !h.ends_with('.') && !h.is_empty()));
        }
    }
}
