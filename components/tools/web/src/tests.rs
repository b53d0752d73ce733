use super::*;
use crate::fetch::{MAX_BODY, PART};
use serde_json::json;

/// A server of one response, in pieces.
struct Served {
    head: Result<Head, Error>,
    pieces: Vec<Result<Vec<u8>, Error>>,
    asked: Vec<String>,
}

impl Door for Served {
    fn get(&mut self, url: &str) -> Result<Head, Error> {
        self.asked.push(url.into());
        self.head.clone()
    }
    fn read(&mut self) -> Result<Vec<u8>, Error> {
        if self.pieces.is_empty() { Ok(Vec::new()) } else { self.pieces.remove(0) }
    }
}

const URL: &str = "https://example.com/a/b";

fn served(status: u16, kind: &str, pieces: Vec<Result<Vec<u8>, Error>>) -> Served {
    let headers = if kind.is_empty() { vec![] } else { vec![("Content-Type".to_owned(), kind.to_owned())] };
    Served { head: Ok(Head { status, headers, url: URL.into() }), pieces, asked: Vec::new() }
}

fn fetch(kind: &str, body: &[u8]) -> String {
    fetch::answer(&json!({"url": URL}).to_string(), &mut served(200, kind, vec![Ok(body.to_vec())])).unwrap()
}

/// The text of a page.
fn page(html: &str) -> String {
    html::read(html, URL).text
}

#[test]
fn headings_lists_tables_and_links_keep_their_marks() {
    let text = page(
        "<h1>A  title</h1><p>First <b>bold</b>,\n second.<br>A line.</p><ul><li>one<li><p>two</p></ul>\
         <table><tr><th>k</th><th>v</th></tr><tr><td>1</td><td><a href='/x?y=1'>2</a></td></tr></table>\
         See <a href=\"c.html#d\">there</a>, <a href=\"#top\">here</a>, <a href='javascript:alert(1)'>not</a>.",
    );
    assert_eq!(
        text,
        "# A title\n\nFirst bold, second.\nA line.\n\n- one\n- two\n\nk | v\n1 | [2](https://example.com/x?y=1)\n\n\
         See [there](https://example.com/a/c.html#d), here, not."
    );
}

#[test]
fn what_is_not_for_readers_is_left_out() {
    let text = page(
        "<style>p { color: red }</style><nav>Home <nav>More</nav> Contact</nav><script>if (a < b) { '</p>' }</script>\
         <noscript>Turn it on</noscript><svg><title>Icon</title></svg><svg/>Body<!-- remark --><template>x</template> text",
    );
    assert_eq!(text, "Body text");
    assert_eq!(page("<p>before<script>never closed"), "before");
}

#[test]
fn what_is_never_closed_does_not_swallow_the_page() {
    assert_eq!(page("<nav><a href=/>Home</a><p>The text"), "[Home](https://example.com/)\n\nThe text");
    assert_eq!(page("<nav>Home<main>The <b>text</b></main></nav> end"), "The text\n\nend");
    assert_eq!(page("<nav>A<nav>B</nav><p>The text<select><option>1"), "A\n\nB\n\nThe text1");
    assert_eq!(page("<nav>Menu</nav><p>The text"), "The text");
    assert_eq!(page("<aside>Beside<p>The text"), "Beside\n\nThe text");
    let title = html::read(&format!("<title>{}", "a ".repeat(1 << 20)), URL).title;
    assert!((1..=300).contains(&title.len()), "{}", title.len());
}

#[test]
fn preformatted_text_stays_as_it_is() {
    assert_eq!(page("<p>Run:<pre>a\n  b &lt; c</pre>then"), "Run:\n\na\n  b < c\n\nthen");
}

#[test]
fn references_follow_the_pages_own_base_and_entities_are_undone() {
    let text = page("<base href='/other/'><a href='x'>Fish &amp; chips &eacute; &#x2014;</a>");
    assert_eq!(text, "[Fish & chips é —](https://example.com/other/x)");
}

#[test]
fn a_page_tells_its_address_status_type_and_title() {
    let text = fetch("text/html; charset=utf-8", b"<title>A &lt; B\n C</title><p>Hello");
    assert_eq!(text, "https://example.com/a/b\nstatus: 200\ntype: text/html\ntitle: A < B C\n\nHello");
    let mut gone = served(404, "text/html", vec![Ok(b"<p>Not here".to_vec())]);
    let text = fetch::answer(&json!({"url": URL}).to_string(), &mut gone).unwrap();
    assert!(text.contains("status: 404") && text.ends_with("Not here"), "{text}");
    assert!(fetch("text/html", b"<script>all</script>").ends_with("(no text)"));
}

#[test]
fn text_and_json_are_given_as_they_are() {
    for kind in ["application/json", "application/feed+json", "text/plain", "application/atom+xml", "text/markdown", ""]
    {
        assert!(fetch(kind, b"{\"a\":  \"<b>\"}").ends_with("\n\n{\"a\":  \"<b>\"}"), "{kind}");
    }
    assert!(fetch("", b"  <!DOCTYPE html><p>x</p>").ends_with("\n\nx"));
}

#[test]
fn files_are_named_and_not_read() {
    for kind in ["application/pdf", "image/png", "video/mp4", "image/svg+xml", "application/zip"] {
        let mut door = served(200, kind, vec![Err(Error::Other("read all the same".into()))]);
        let text = fetch::answer(&json!({"url": URL}).to_string(), &mut door).unwrap();
        assert!(text.contains(kind) && text.contains("does not read"), "{text}");
    }
    for body in [&b"%PDF-1.7 x"[..], b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", b"GIF89a"] {
        let text = fetch("application/octet-stream", body);
        assert!(text.ends_with("This is a file, not text; web_fetch does not read it."), "{text}");
        assert!(fetch("text/html", body).ends_with("This is a file, not text; web_fetch does not read it."));
    }
    assert!(fetch("text/plain; charset=utf-16le", b"h\0i\0").ends_with("\n\nhi"));
    assert!(fetch("", b"\xff\xfeh\0i\0").ends_with("\n\nhi"));
}

#[test]
fn the_character_set_is_found_in_mark_header_or_page_and_guessed_last() {
    let latin = b"<meta charset=iso-8859-1><p>caf\xe9";
    assert!(fetch("text/html", latin).ends_with("charset: windows-1252\n\ncafé"));
    let equiv = b"<meta http-equiv=Content-Type content='text/html; charset=Shift_JIS'>\x93\xfa\x96\x7b";
    assert!(fetch("text/html", equiv).ends_with("charset: Shift_JIS\n\n日本"));
    // The header is stronger than the page, and the mark than both.
    assert!(fetch("text/html; charset=\"KOI8-R\"", b"<meta charset=utf-8>\xd0\xd2\xc9").ends_with("при"));
    assert!(fetch("text/html; charset=koi8-r", "\u{feff}<p>caf\u{e9}".as_bytes()).ends_with("\n\ncafé"));
    assert!(fetch("text/plain", b"\xff\xfeh\0i\0").ends_with("charset: UTF-16LE\n\nhi"));
    assert!(fetch("text/plain", b"caf\xe9 noir").ends_with("café noir"));
    assert!(fetch("text/plain; charset=martian", "café".as_bytes()).ends_with("\n\ncafé"));
}

#[test]
fn a_long_page_comes_in_parts_that_say_how_to_go_on() {
    let body = "ä".repeat(PART) + "end";
    let ask = |from: usize| {
        let mut door = served(200, "text/plain", vec![Ok(body.clone().into_bytes())]);
        fetch::answer(&json!({"url": URL, "from": from}).to_string(), &mut door)
    };
    let first = ask(0).unwrap();
    assert!(
        first.ends_with("ä\n\n[cut: 24003 characters in all; go on with \"from\": 24000]"),
        "{}",
        &first[first.len() - 90..]
    );
    assert!(ask(PART).unwrap().ends_with("\n\nend"));
    assert!(matches!(ask(PART + 3), Err(ToolError::InvalidArguments(why)) if why.contains("24003")));
}

#[test]
fn an_endless_body_is_cut_and_a_broken_one_shown_as_far_as_it_came() {
    let piece = || Ok(vec![b'x'; 1 << 20]);
    let mut door = served(200, "text/plain", (0..64).map(|_| piece()).collect());
    let from = MAX_BODY - 5;
    let text = fetch::answer(&json!({"url": URL, "from": from}).to_string(), &mut door).unwrap();
    assert!(text.ends_with("\n\nxxxxx\n\n[the page did not come whole: this is as much of it as was read]"), "{text}");
    assert_eq!(door.pieces.len(), 64 - 5, "nothing more was read than is needed");
    for error in [Error::Limit as fn(String) -> Error, Error::Timeout, Error::Unavailable] {
        let mut door = served(200, "text/html", vec![Ok(b"<p>begin".to_vec()), Err(error("gone".into()))]);
        let text = fetch::answer(&json!({"url": URL}).to_string(), &mut door).unwrap();
        assert!(text.contains("begin") && text.contains("did not come whole"), "{text}");
        let mut door = served(200, "text/html", vec![Err(error("gone".into()))]);
        assert!(fetch::answer(&json!({"url": URL}).to_string(), &mut door).is_err());
    }
}

#[test]
fn addresses_that_are_none_are_refused_before_anything_is_sent() {
    let mut door = served(200, "text/plain", vec![]);
    for url in ["example.com", "/a", "ftp://example.com", "javascript:alert(1)", "file:///etc/passwd", ""] {
        let refused = fetch::answer(&json!({"url": url}).to_string(), &mut door);
        assert!(matches!(refused, Err(ToolError::InvalidArguments(_))), "{url}");
    }
    for arguments in ["{}", r#"{"url":"https://a.example","depth":2}"#, r#"{"url":"https://a.example","from":-1}"#, "x"]
    {
        assert!(matches!(fetch::answer(arguments, &mut door), Err(ToolError::InvalidArguments(_))), "{arguments}");
    }
    assert!(door.asked.is_empty());
    assert!(fetch::answer(r#"{"url":" HTTPS://Example.com/ "}"#, &mut door).is_ok());
    assert_eq!(door.asked, ["HTTPS://Example.com/"]);
}

#[test]
fn a_refusal_of_the_kernel_keeps_its_kind_and_its_words() {
    let with = |error: Error| {
        let mut door = Served { head: Err(error), pieces: vec![], asked: vec![] };
        fetch::answer(&json!({"url": URL}).to_string(), &mut door)
    };
    assert!(matches!(with(Error::Denied("E-EGRESS-007".into())), Err(ToolError::Denied(w)) if w == "E-EGRESS-007"));
    assert!(matches!(with(Error::Timeout("slow".into())), Err(ToolError::Unavailable(_))));
    assert!(matches!(with(Error::Limit("rate".into())), Err(ToolError::Failed(_))));
}

#[test]
fn the_tool_stands_in_the_manifest_and_its_schema_is_json() {
    let manifest = include_str!("../carapace.toml");
    for tool in Web::list() {
        assert!(manifest.contains(&format!("name = \"{}\"", tool.name)), "{}", tool.name);
        let schema: serde_json::Value = serde_json::from_str(&tool.parameters).unwrap();
        assert!(schema["properties"]["url"].is_object());
    }
}
