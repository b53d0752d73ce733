//! `[channel]` and `[[webhook]]`.

use super::{problems_with, with};
use crate::capability::CapabilitySet;
use crate::manifest::{KeyForm, Manifest, Piece, Verify};

const SECRET: &str = "[channel]\n[secrets.s]\nprompt = \"Signing secret\"\n";

fn webhook(verify: &str) -> String {
    format!("{SECRET}[[webhook]]\nwebhook = \"events\"\nverify = {verify}\n")
}

#[test]
fn a_recipe_is_read_whole() {
    let text = webhook(
        "{ scheme = \"hmac-sha256\", secret = \"s\", key = \"base64:whsec_\", signed = [\"v0:\", \"{header:X-Time}\", \":\", \"{body}\"], \
         signature = { header = \"X-Signature\", prefix = \"v0=\", encoding = \"hex\" }, timestamp = { header = \"X-Time\", window = \"60s\" }, \
         on-failure = 403 }",
    );
    let m = Manifest::parse(&with(&text)).unwrap();
    assert_eq!(m.webhooks[0].methods, ["POST"]);
    let Verify::HmacSha256 { key, signed, signature, timestamp, on_failure, .. } = &m.webhooks[0].verify else {
        panic!("{:?}", m.webhooks)
    };
    assert_eq!(key, &KeyForm::Base64("whsec_".into()));
    assert_eq!(signed[1], Piece::Header("x-time".into()));
    assert_eq!(
        (signature.header.as_str(), signature.prefix.as_str(), signature.several),
        ("x-signature", "v0=", false)
    );
    assert_eq!(timestamp.as_ref().map(|t| t.window_ms), Some(60_000));
    assert_eq!(*on_failure, 403);
}

#[test]
fn a_webhook_that_anybody_could_speak_through_is_a_mistake() {
    let body_left_out = webhook(
        "{ scheme = \"hmac-sha256\", secret = \"s\", signed = [\"{header:x-id}\"], signature = { header = \"x-s\", encoding = \"hex\" } }",
    );
    let time_not_signed = webhook(
        "{ scheme = \"hmac-sha256\", secret = \"s\", signed = [\"{body}\"], signature = { header = \"x-s\", encoding = \"hex\" }, \
         timestamp = { header = \"x-time\" } }",
    );
    let unchecked = format!("{SECRET}[[webhook]]\nwebhook = \"events\"\n");
    let unknown = webhook("{ scheme = \"sha1\", secret = \"s\" }");
    let no_such_secret = webhook("{ scheme = \"header\", name = \"X-Token\", secret = \"other\" }");
    let no_channel = "[provider]\n[secrets.s]\nprompt = \"p\"\n[[webhook]]\nwebhook = \"w\"\n\
                      verify = { scheme = \"header\", name = \"X-Token\", secret = \"s\" }\n";
    for (what, text) in [
        ("leaves the body out", body_left_out.as_str()),
        ("not among what is `signed`", &time_not_signed),
        ("`verify` is missing", &unchecked),
        ("is a scheme this kernel does not check", &unknown),
        ("the secret `other` is not declared", &no_such_secret),
        ("add [channel]", no_channel),
    ] {
        let found = problems_with(text);
        assert!(found.contains(what), "{what}:\n{found}");
    }
}

#[test]
fn an_owner_is_told_who_can_claim_to_be_whom() {
    let text = webhook("{ scheme = \"header\", name = \"X-Token\", secret = \"s\" }");
    let asks = CapabilitySet::from(&Manifest::parse(&with(&text)).unwrap());
    let lines: Vec<String> =
        asks.sentences(None).into_iter().map(|s| format!("{}: {}", s.capability, s.text)).collect();
    insta::assert_snapshot!(lines[..3].join("\n"), @r"
    secret:s: compares what is sent with the secret `s` (from `carapace secrets set`) at the webhook `events`, in the kernel
    channel: speaks with people as your assistant, and reads what they write; it can claim that anyone, you included, wrote something
    webhook:events: takes requests at its address `…/events` on the webhook port, whose header `X-Token` holds the secret
    ");
    // A refused secret takes the webhook that needs it along; nothing unchecked is left.
    let optional = text.replace("prompt = \"Signing secret\"", "prompt = \"Signing secret\"\noptional = true");
    let asks = CapabilitySet::from(&Manifest::parse(&with(&optional)).unwrap());
    assert_eq!(asks.webhooks.len(), 1);
    assert!(asks.without_optional(&["secret:s".into()]).webhooks.is_empty());
}

#[test]
fn a_key_form_without_hmac_says_what_to_do() {
    let text = "[provider]\n[secrets.s]\nprompt = \"p\"\nkey = \"base64\"\n";
    assert!(problems_with(text).contains("add hmac = true"));
}
