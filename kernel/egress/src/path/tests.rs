use super::*;
use proptest::prelude::*;

fn base(text: &str) -> Url {
    text.parse().unwrap()
}

#[test]
fn a_path_is_appended_to_the_base() {
    let cases = [
        ("https://a.example/v1", "/chat/completions", "https://a.example/v1/chat/completions"),
        ("https://a.example/v1/", "/chat?x=1&y=%2F", "https://a.example/v1/chat?x=1&y=%2F"),
        ("https://a.example", "/x", "https://a.example/x"),
        ("https://a.example/", "", "https://a.example/"),
        ("https://a.example/v1", "", "https://a.example/v1"),
        ("https://a.example/v1", "/", "https://a.example/v1/"),
        ("https://a.example/v1", "?q=1", "https://a.example/v1?q=1"),
        ("https://a.example/v1", "/models/x:generate", "https://a.example/v1/models/x:generate"),
        ("https://a.example/v1", "/ä b", "https://a.example/v1/%C3%A4%20b"),
        ("https://a.example/v1", "/a..b/...", "https://a.example/v1/a..b/..."),
        ("https://a.example:8443/v1", "/http://x", "refused"),
        ("https://a.example/v1", "/x?url=https://b.example/../", "https://a.example/v1/x?url=https://b.example/../"),
    ];
    for (on, path, expected) in cases {
        match Relative::parse(path).and_then(|r| r.join(&base(on), "")) {
            Ok(url) => assert_eq!(url.as_str(), expected, "{on} {path}"),
            Err(error) => assert_eq!(expected, "refused", "{error}"),
        }
    }
}

#[test]
fn what_might_leave_the_base_is_refused_naming_the_value() {
    let bad = [
        "/..",
        "/../x",
        "/a/../b",
        "/a/..",
        "/./a",
        "/%2e%2e/x",
        "/%2E%2e/x",
        "/.%2e/x",
        "/%252e%252e/x",
        "/%25252e%25252e/x",
        "/..;/x",
        "/..;a=b/x",
        "//evil.example/x",
        "///x",
        "/a//b",
        "/\\evil.example",
        "\\\\evil.example",
        "/a\\..\\b",
        "/a%2fb",
        "/a%2F..%2Fb",
        "/a%252fb",
        "/a%5cb",
        "/a%00b",
        "/a%0d%0aHost:%20x",
        "/a\nb",
        "/a\tb",
        "/a\u{7f}b",
        "/a?x=\r\n",
        "/a#b",
        "/a%",
        "/a%4",
        "/a%zz",
        "a",
        "https://evil.example/",
        "@evil.example/",
        ":8080/",
        ".evil.example/",
    ];
    for path in bad {
        let error = Relative::parse(path).expect_err(path);
        let first: String = path.split('?').next().unwrap().chars().take(3).filter(|c| !c.is_control()).collect();
        assert!(error.to_string().contains(&first), "{path:?}: {error}");
    }
}

#[test]
fn patterns_mean_what_the_contract_says() {
    let cases = [
        ("/chat/completions", "/chat/completions", true),
        ("/chat/completions", "/chat/completions?x=1", true),
        ("/chat/completions", "/chat/completions/", false),
        ("/chat/completions", "/chat", false),
        ("/chat/completions", "/chat/completions/x", false),
        ("/chat/completions", "/Chat/completions", false),
        ("/chat/completions", "/%63hat/completions", true),
        ("/files/*", "/files/a", true),
        ("/files/*", "/files/", false),
        ("/files/*", "/files", false),
        ("/files/*", "/files/a/b", false),
        ("/files/*/content", "/files/a/content", true),
        ("/models/*:generate", "/models/x-1:generate", true),
        ("/models/*:generate", "/models/:generate", false),
        ("/models/*:generate", "/models/x:stream", false),
        ("/a*b*c", "/a1bb2c", true),
        ("/a*b*c", "/abc", false),
        ("/v1/**", "/v1", true),
        ("/v1/**", "/v1/", true),
        ("/v1/**", "/v1/a/b/c", true),
        ("/v1/**", "/v2/a", false),
        ("/**/content", "/a/b/content", true),
        ("/**/content", "/content", true),
        ("/**/content", "/content/x", false),
        ("/**", "/anything/at/all", true),
        ("/", "/", true),
        ("/", "", true),
        ("/", "/a", false),
    ];
    for (pattern, path, expected) in cases {
        let pattern: PathPattern = pattern.parse().unwrap();
        assert_eq!(Relative::parse(path).unwrap().allowed_by([&pattern]), expected, "{pattern} {path}");
    }
    assert!(Relative::parse("/any").unwrap().allowed_by([]));
}

#[test]
fn malformed_path_patterns_are_refused() {
    for text in ["", "v1", "/a**", "/**/**/**/**", "/%zz"] {
        assert!(text.parse::<PathPattern>().is_err(), "{text}");
    }
}

#[test]
fn a_query_parameter_is_found_however_it_is_encoded() {
    let relative = Relative::parse("/x?a=1&%6bey=2").unwrap();
    assert!(relative.has_parameter("key") && relative.has_parameter("a") && !relative.has_parameter("b"));
}

proptest! {
    #[test]
    fn a_joined_url_always_has_the_bases_origin_and_path_prefix(
        prefix in "(/[a-z0-9]{1,5}){0,3}/?",
        path in "[/\\\\.%;@:#a-f0-9?\u{0}-\u{20}]{0,24}",
        slash in any::<bool>(),
    ) {
        let on = base(&format!("https://a.example:8443{prefix}"));
        let path = if slash { format!("/{path}") } else { path };
        if let Ok(url) = Relative::parse(&path).and_then(|r| r.join(&on, "")) {
            prop_assert_eq!(url.origin(), on.origin());
            let prefix = prefix.trim_end_matches('/');
            let rest = url.path().strip_prefix(prefix);
            prop_assert!(rest.is_some_and(|r| r.is_empty() || r.starts_with('/')), "{} {}", path, url);
            prop_assert!(!url.path().split('/').any(|s| s == ".." || s == "."));
            // Parsing it again, as a proxy would, changes nothing.
            prop_assert_eq!(Url::parse(url.as_str()).unwrap().to_string(), url.to_string());
        }
    }

    #[test]
    fn a_harmless_path_is_never_refused(segments in prop::collection::vec("[A-Za-z0-9_~:@!$&'()*+,=-][A-Za-z0-9_.~-]{0,8}", 1..6)) {
        let path = format!("/{}", segments.join("/"));
        let url = Relative::parse(&path).unwrap().join(&base("https://a.example/v1"), "").unwrap();
        let all: PathPattern = "/**".parse().unwrap();
        prop_assert!(Relative::parse(&path).unwrap().allowed_by([&all]));
        prop_assert!(url.path().starts_with("/v1/"));
    }
}
