//! Files that come with messages.

use super::*;

fn picture(reference: &str) -> Attachment {
    Attachment {
        reference: reference.into(),
        name: Some("a.png".into()),
        mime: Some("image/png".into()),
        size: Some(9),
        extra: Vec::new(),
    }
}

#[carapace_sdk::test]
fn a_file_is_kept_and_a_page_to_log_in_is_none(host: &mut TestHost) {
    const PATH: &str = "/files-pri/T1-F1/download/a.png";
    host.on("GET", "files", PATH, Answer::new(200).header("content-type", "image/png").chunk("\u{fffd}").chunk("rest"));
    let id = host.fetch_media(picture(PATH)).unwrap();
    assert_eq!(host.kept(&id).unwrap(), "\u{fffd}rest".as_bytes());
    let page = Answer::new(200).header("content-type", "text/html; charset=utf-8").chunk("<!DOCTYPE html>");
    host.on("GET", "files", PATH, page.clone().redirected("https://acme.slack.com/"));
    let f = host.fetch_media(picture(PATH)).unwrap_err();
    assert!(
        !f.retryable && f.message.contains("files:read") && f.message.contains("install the app again"),
        "{}",
        f.message
    );
    // Somebody may have sent a page.
    host.on("GET", "files", PATH, page);
    host.fetch_media(Attachment { mime: Some("text/html".into()), ..picture(PATH) }).unwrap();
    for (answer, retryable, wait) in [
        (Answer::new(404), false, None),
        (Answer::new(500), true, None),
        (Answer::new(429).header("retry-after", "3"), true, Some(3_000)),
        (Answer::new(403), false, None),
        (Answer::unreachable(), true, None),
    ] {
        host.on("GET", "files", PATH, answer.clone());
        let f = host.fetch_media(picture(PATH)).unwrap_err();
        assert_eq!((f.retryable, f.retry_after_ms), (retryable, wait), "{answer:?}: {}", f.message);
    }
}

#[carapace_sdk::test]
fn of_a_file_without_an_address_slack_is_asked_for_one(host: &mut TestHost) {
    let info = |file: Value| Answer::new(200).json(json!({ "ok": true, "file": file }));
    let url = "https://files.slack.com/files-pri/T2-F9/download/b.png";
    host.on("POST", "api", "/files.info", info(json!({ "id": "F9", "url_private_download": url })));
    host.on("GET", "files", "/files-pri/T2-F9/download/b.png", Answer::new(200).chunk("x"));
    host.fetch_media(picture("F9")).unwrap();
    assert_eq!(host.sent()[0].body, b"file=F9");
    host.on("POST", "api", "/files.info", info(json!({ "id": "F9", "url_private": "https://docs.example.com/d/1" })));
    assert!(host.fetch_media(picture("F9")).unwrap_err().message.contains("not kept by Slack"));
    let gone = Answer::new(200).json(json!({ "ok": false, "error": "file_deleted" }));
    host.on("POST", "api", "/files.info", gone);
    assert!(!host.fetch_media(picture("F9")).unwrap_err().retryable);
}
