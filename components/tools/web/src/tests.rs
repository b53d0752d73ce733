use super::*;
use crate::fetch::{MAX_BODY, PART};
use carapace_sdk::Error;
use carapace_sdk::testing::Answer;
use carapace_sdk::tools::Content;

const URL: &str = "https://example.com/a/b";

fn answer(status: u16, kind: &str) -> Answer {
    let answer = Answer::new(status);
    if kind.is_empty() { answer } else { answer.header("Content-Type", kind) }
}

/// What is told of this answer.
fn told(host: &mut TestHost, answer: Answer) -> Result<String, ToolError> {
    host.on_public(URL, answer).call_tool("web_fetch", json!({ "url": URL })).map(|o| o.text())
}

fn fetch(host: &mut TestHost, kind: &str, body: &[u8]) -> String {
    told(host, answer(200, kind).chunk(body)).unwrap()
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

#[carapace_sdk::test]
fn a_page_tells_its_address_status_type_and_title(host: &mut TestHost) {
    let text = fetch(host, "text/html; charset=utf-8", b"<title>A &lt; B\n C</title><p>Hello");
    assert_eq!(text, "https://example.com/a/b\nstatus: 200\ntype: text/html\ntitle: A < B C\n\nHello");
    let text = told(host, answer(404, "text/html").chunk("<p>Not here")).unwrap();
    assert!(text.contains("status: 404") && text.ends_with("Not here"), "{text}");
    assert!(fetch(host, "text/html", b"<script>all</script>").ends_with("(no text)"));
}

#[carapace_sdk::test]
fn text_and_json_are_given_as_they_are(host: &mut TestHost) {
    for kind in ["application/json", "application/feed+json", "text/plain", "application/atom+xml", "text/markdown", ""]
    {
        assert!(fetch(host, kind, b"{\"a\":  \"<b>\"}").ends_with("\n\n{\"a\":  \"<b>\"}"), "{kind}");
    }
    assert!(fetch(host, "", b"  <!DOCTYPE html><p>x</p>").ends_with("\n\nx"));
}

#[carapace_sdk::test]
fn files_are_named_and_not_read(host: &mut TestHost) {
    for kind in ["application/pdf", "image/png", "video/mp4", "image/svg+xml", "application/zip"] {
        let text = told(host, answer(200, kind).breaks(Error::Other("read all the same".into()))).unwrap();
        assert!(text.contains(kind) && text.contains("does not read"), "{text}");
    }
    for body in [&b"%PDF-1.7 x"[..], b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", b"GIF89a"] {
        let text = fetch(host, "application/octet-stream", body);
        assert!(text.ends_with("This is a file, not text; web_fetch does not read it; web_file brings it."), "{text}");
        assert!(
            fetch(host, "text/html", body)
                .ends_with("This is a file, not text; web_fetch does not read it; web_file brings it.")
        );
    }
    assert!(fetch(host, "text/plain; charset=utf-16le", b"h\0i\0").ends_with("\n\nhi"));
    assert!(fetch(host, "", b"\xff\xfeh\0i\0").ends_with("\n\nhi"));
}

#[carapace_sdk::test]
fn the_character_set_is_found_in_mark_header_or_page_and_guessed_last(host: &mut TestHost) {
    let latin = b"<meta charset=iso-8859-1><p>caf\xe9";
    assert!(fetch(host, "text/html", latin).ends_with("charset: windows-1252\n\ncafé"));
    let equiv = b"<meta http-equiv=Content-Type content='text/html; charset=Shift_JIS'>\x93\xfa\x96\x7b";
    assert!(fetch(host, "text/html", equiv).ends_with("charset: Shift_JIS\n\n日本"));
    // The header is stronger than the page, and the mark than both.
    assert!(fetch(host, "text/html; charset=\"KOI8-R\"", b"<meta charset=utf-8>\xd0\xd2\xc9").ends_with("при"));
    assert!(fetch(host, "text/html; charset=koi8-r", "\u{feff}<p>caf\u{e9}".as_bytes()).ends_with("\n\ncafé"));
    assert!(fetch(host, "text/plain", b"\xff\xfeh\0i\0").ends_with("charset: UTF-16LE\n\nhi"));
    assert!(fetch(host, "text/plain", b"caf\xe9 noir").ends_with("café noir"));
    assert!(fetch(host, "text/plain; charset=martian", "café".as_bytes()).ends_with("\n\ncafé"));
}

#[carapace_sdk::test]
fn a_long_page_comes_in_parts_that_say_how_to_go_on(host: &mut TestHost) {
    let body = "ä".repeat(PART) + "end";
    let mut ask = |from: usize| {
        host.on_public(URL, answer(200, "text/plain").chunk(&body));
        host.call_tool("web_fetch", json!({ "url": URL, "from": from })).map(|o| o.text())
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

#[carapace_sdk::test]
fn an_endless_body_is_cut_and_a_broken_one_shown_as_far_as_it_came(host: &mut TestHost) {
    host.on_public(URL, answer(200, "text/plain").chunks((0..24).map(|_| vec![b'x'; 1 << 18])));
    let text = host.call_tool("web_fetch", json!({ "url": URL, "from": MAX_BODY - 5 })).unwrap().text();
    assert!(text.ends_with("\n\nxxxxx\n\n[the page did not come whole: this is as much of it as was read]"), "{text}");
    assert_eq!(host.unread(), 24 - 17, "nothing more was read than is needed");
    for error in [Error::Limit as fn(String) -> Error, Error::Timeout, Error::Unavailable] {
        let broken = || answer(200, "text/html").breaks(error("gone".into()));
        let text = told(host, broken().chunk("<p>begin")).unwrap();
        assert!(text.contains("begin") && text.contains("did not come whole"), "{text}");
        assert!(told(host, broken()).is_err());
    }
}

#[carapace_sdk::test]
fn addresses_that_are_none_are_refused_before_anything_is_sent(host: &mut TestHost) {
    let invalid = |host: &mut TestHost, arguments| {
        matches!(host.call_tool("web_fetch", arguments), Err(ToolError::InvalidArguments(_)))
    };
    for url in ["example.com", "/a", "ftp://example.com", "javascript:alert(1)", "file:///etc/passwd", ""] {
        assert!(invalid(host, json!({ "url": url })), "{url}");
    }
    let url = "https://a.example";
    for arguments in [json!({}), json!({ "url": url, "depth": 2 }), json!({ "url": url, "from": -1 }), json!("x")] {
        assert!(invalid(host, arguments.clone()), "{arguments}");
    }
    assert!(host.sent().is_empty());
    assert!(host.answer(Answer::new(200)).call_tool("web_fetch", json!({ "url": " HTTPS://Example.com/ " })).is_ok());
    assert_eq!(host.sent()[0].path(), "HTTPS://Example.com/");
}

#[carapace_sdk::test]
fn a_redirect_is_told_by_where_it_led_and_links_are_read_from_there(host: &mut TestHost) {
    let page = answer(200, "text/html").redirected("https://example.org/c/").chunk("<a href=d>there</a>");
    let text = told(host, page).unwrap();
    assert!(text.starts_with("https://example.org/c/\n"), "{text}");
    assert!(text.ends_with("[there](https://example.org/c/d)"), "{text}");
}

#[carapace_sdk::test]
fn a_refusal_of_the_kernel_keeps_its_kind_and_its_words(host: &mut TestHost) {
    let mut with = |error: Error| told(host, Answer::failing(error, false));
    assert!(matches!(with(Error::Denied("E-EGRESS-007".into())), Err(ToolError::Denied(w)) if w == "E-EGRESS-007"));
    assert!(matches!(with(Error::Timeout("slow".into())), Err(ToolError::Unavailable(_))));
    assert!(matches!(with(Error::Limit("rate".into())), Err(ToolError::Failed(_))));
    assert!(matches!(with(Error::Invalid("no host".into())), Err(ToolError::InvalidArguments(_))));
}

#[carapace_sdk::test]
fn a_picture_or_a_file_is_brought_as_it_is(host: &mut TestHost) {
    let mut bring = |kind: &str, body: &[u8]| {
        host.on_public(URL, answer(200, kind).chunk(body));
        host.call_tool("web_file", json!({ "url": URL }))
    };
    let brought = bring("image/png", b"\x89PNG").unwrap();
    assert!(matches!(brought.content(), [Content::Image(i)] if i.mime == "image/png" && i.data == b"\x89PNG"));
    let brought = bring("application/pdf; x=y", b"%PDF-").unwrap();
    assert!(matches!(brought.content(), [Content::File(f)] if f.mime == "application/pdf" && f.data == b"%PDF-"));
    assert!(matches!(bring("text/html", b"<p>"), Err(ToolError::InvalidArguments(why)) if why.contains("web_fetch")));
    assert!(matches!(bring("image/png", b""), Err(ToolError::NotFound(_))));
    host.on_public(URL, answer(404, "text/html").chunk("gone"));
    assert!(matches!(host.call_tool("web_file", json!({ "url": URL })), Err(ToolError::NotFound(_))));
}
