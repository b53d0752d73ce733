//! Files that come with messages.

use super::*;

fn picture(reference: &str) -> Attachment {
    Attachment {
        reference: reference.into(),
        name: None,
        mime: Some("image/png".into()),
        size: None,
        extra: Vec::new(),
    }
}

#[carapace_sdk::test]
fn a_file_is_had_from_the_address_that_its_message_has_at_that_time(host: &mut TestHost) {
    let at = |query: &str| {
        let url = format!("https://cdn.discordapp.com/attachments/500/77/a%20b.png{query}");
        Answer::new(200).json(json!({ "id": "9", "attachments": [{ "id": "76", "url": "https://cdn.discordapp.com/x" }, { "id": "77", "url": url }] }))
    };
    host.on("GET", "api", "/channels/500/messages/9", at("?ex=65d903de&is=65c68ede&hm=24&"));
    host.on("GET", "cdn", "/attachments/500/77/a%20b.png", Answer::new(200).chunk("\u{fffd}").chunk("rest"));
    let id = host.fetch_media(picture("500/9/77")).unwrap();
    assert_eq!(host.kept(&id).unwrap(), "\u{fffd}rest".as_bytes());
    assert_eq!(host.sent()[1].target.to_string(), "cdn:/attachments/500/77/a%20b.png?ex=65d903de&is=65c68ede&hm=24&");
    // Expired, it is asked for anew by the next try.
    for (status, retryable) in [(404, true), (403, true), (500, true), (400, false)] {
        host.on("GET", "api", "/channels/500/messages/9", at("?ex=1"));
        host.on(
            "GET",
            "cdn",
            "/attachments/500/77/a%20b.png",
            Answer::new(status).chunk("This content is no longer available."),
        );
        let f = host.fetch_media(picture("500/9/77")).unwrap_err();
        assert_eq!(f.retryable, retryable, "{status}: {}", f.message);
    }
    let gone = Answer::new(404).json(json!({ "message": "Unknown Message", "code": 10_008 }));
    host.on("GET", "api", "/channels/500/messages/9", gone);
    let f = host.fetch_media(picture("500/9/77")).unwrap_err();
    assert!(!f.retryable && f.message.contains("deleted"), "{}", f.message);
    host.on("GET", "api", "/channels/500/messages/9", Answer::new(200).json(json!({ "id": "9", "attachments": [] })));
    assert!(!host.fetch_media(picture("500/9/77")).unwrap_err().retryable);
}

#[carapace_sdk::test]
fn a_file_of_a_message_that_was_forwarded_is_one(host: &mut TestHost) {
    let file = json!({ "id": "77", "filename": "a.png", "content_type": "image/png", "size": 9, "url": "https://cdn.discordapp.com/attachments/1/77/a.png?ex=1" });
    let mut forwarded = said("");
    forwarded["message_snapshots"] = json!([{ "message": { "content": "look", "attachments": [file] } }]);
    let m = host.channel_event(&state(), dispatch("MESSAGE_CREATE", 6, &forwarded)).unwrap().messages().remove(0);
    assert_eq!(m.attachments[0].reference, "500/175928847299117063/77");
    host.on("GET", "api", "/channels/500/messages/175928847299117063", Answer::new(200).json(forwarded));
    host.on("GET", "cdn", "/attachments/1/77/a.png", Answer::new(200).chunk("x"));
    host.fetch_media(m.attachments[0].clone()).unwrap();
}
