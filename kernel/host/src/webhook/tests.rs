use super::*;
use carapace_contract::manifest::Manifest;
use serde_json::json;

/// The recipe of a manifest's only webhook.
fn recipe(verify: &str) -> Verify {
    let text = format!(
        "[component]\nname = \"x\"\nversion = \"1.0.0\"\ncontract = \"0.1\"\ndescription = \"d\"\n[channel]\n{}\
         [[webhook]]\nwebhook = \"w\"\nverify = {verify}\n",
        if verify.contains("secret") { "[secrets.s]\nprompt = \"p\"\n" } else { "" }
    );
    Manifest::parse(&text).unwrap().webhooks.remove(0).verify
}

fn request(headers: &[(&str, &str)], body: &str) -> WebhookRequest {
    WebhookRequest {
        webhook: "w".into(),
        method: "POST".into(),
        query: String::new(),
        headers: headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect(),
        body: body.into(),
    }
}

fn checked(verify: &Verify, secret: &str, now_s: u64, request: &WebhookRequest) -> Result<(), String> {
    let secret = SecretString::from(secret.to_owned());
    authentic(verify, request, &json!({}), Some(&secret), now_s * 1_000)
}

const STANDARD_WEBHOOKS: &str = r#"{ scheme = "hmac-sha256", secret = "s", key = "base64:whsec_",
    signed = ["{header:webhook-id}", ".", "{header:webhook-timestamp}", ".", "{body}"],
    signature = { header = "webhook-signature", prefix = "v1,", encoding = "base64", several = true },
    timestamp = { header = "webhook-timestamp", window = "300s" } }"#;

/// The values of the specification's own test vectors:
/// <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md#verifying-signatures>.
const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
const AT: &str = "1614265330";
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
const BODY: &str = "{\"test\": 2432232314}";

fn standard(id: &str, at: &str, signature: &str, body: &str) -> WebhookRequest {
    request(&[("webhook-id", id), ("webhook-timestamp", at), ("webhook-signature", signature)], body)
}

#[test]
fn the_standards_own_vector_is_authentic_and_nothing_beside_it() {
    let verify = recipe(&STANDARD_WEBHOOKS.replace('\n', " "));
    let now = 1_614_265_330;
    let good = |signature: &str| checked(&verify, SECRET, now, &standard(ID, AT, signature, BODY));
    assert_eq!(good(SIGNATURE), Ok(()));
    assert_eq!(good(&format!("v1,AAAA v1a,xx {SIGNATURE}")), Ok(()));
    // The prefix of the secret is optional.
    assert_eq!(checked(&verify, &SECRET["whsec_".len()..], now, &standard(ID, AT, SIGNATURE, BODY)), Ok(()));
    for (what, refused) in [
        ("another body", standard(ID, AT, SIGNATURE, "{\"test\": 2432232315}")),
        ("another id", standard("msg_x", AT, SIGNATURE, BODY)),
        ("another time", standard(ID, "1614265331", SIGNATURE, BODY)),
        ("no signature", request(&[("webhook-id", ID), ("webhook-timestamp", AT)], BODY)),
        ("an empty signature", standard(ID, AT, "v1,", BODY)),
        ("a short one", standard(ID, AT, "v1,g0hM9SsE", BODY)),
        ("another version", standard(ID, AT, &SIGNATURE.replace("v1,", "v2,"), BODY)),
        ("two of a header", {
            let mut twice = standard(ID, AT, SIGNATURE, BODY);
            twice.headers.push(("Webhook-Id".into(), ID.into()));
            twice
        }),
    ] {
        assert!(checked(&verify, SECRET, now, &refused).is_err(), "{what}");
    }
    assert!(
        checked(&verify, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSx", now, &standard(ID, AT, SIGNATURE, BODY)).is_err()
    );
    assert!(checked(&verify, "whsec_not base64", now, &standard(ID, AT, SIGNATURE, BODY)).is_err());
    // Nine wrong ones before the right one are too many to try.
    let many = format!("{}{SIGNATURE}", "v1,AAAA ".repeat(9));
    assert!(good(&many).is_err());
}

#[test]
fn what_is_too_old_or_too_new_is_a_replay() {
    let verify = recipe(&STANDARD_WEBHOOKS.replace('\n', " "));
    for (now, fits) in [(1_614_265_330 + 300, true), (1_614_265_330 + 301, false), (1_614_265_330 - 301, false)] {
        assert_eq!(checked(&verify, SECRET, now, &standard(ID, AT, SIGNATURE, BODY)).is_ok(), fits, "{now}");
    }
}

#[test]
fn a_header_must_hold_the_secret_whole() {
    let verify = recipe("{ scheme = \"header\", name = \"X-Token\", prefix = \"Bearer \", secret = \"s\" }");
    let with = |value: &str| checked(&verify, "a-long-secret", 0, &request(&[("x-token", value)], ""));
    assert_eq!(with("Bearer a-long-secret"), Ok(()));
    for wrong in
        ["a-long-secret", "Bearer a-long-secre", "Bearer a-long-secrets", "Bearer ", "bearer a-long-secret", ""]
    {
        assert!(with(wrong).is_err(), "{wrong}");
    }
}

/// GitHub's own example: <https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries>.
#[test]
fn githubs_own_example_is_authentic() {
    let verify = recipe(
        "{ scheme = \"hmac-sha256\", secret = \"s\", signed = [\"{body}\"], signature = { header = \"x-hub-signature-256\", prefix = \"sha256=\", encoding = \"hex\" } }",
    );
    let signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    let r = request(&[("x-hub-signature-256", signature)], "Hello, World!");
    assert_eq!(checked(&verify, "It's a Secret to Everybody", 0, &r), Ok(()));
    assert!(
        checked(
            &verify,
            "It's a Secret to Everybody",
            0,
            &request(&[("x-hub-signature-256", signature)], "Hello, World")
        )
        .is_err()
    );
}

/// RFC 8032, 7.1, test 3: the message is the body.
#[test]
fn an_ed25519_signature_is_checked_by_the_configured_key() {
    let verify = recipe(
        "{ scheme = \"ed25519\", config = \"/public-key\", signed = [\"{body}\"], signature = { header = \"x-signature\", encoding = \"hex\" } }",
    );
    let key = "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025";
    let signature = "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a";
    let mut r = request(&[("x-signature", signature)], "");
    r.body = vec![0xaf, 0x82];
    let config = |key: &str| json!({ "public-key": key });
    assert_eq!(authentic(&verify, &r, &config(key), None, 0), Ok(()));
    r.body.push(0);
    assert!(authentic(&verify, &r, &config(key), None, 0).is_err());
    r.body.pop();
    assert!(authentic(&verify, &r, &config(&"00".repeat(32)), None, 0).is_err());
    assert!(authentic(&verify, &r, &config("xyz"), None, 0).unwrap_err().contains("/public-key"));
    assert!(authentic(&verify, &r, &json!({}), None, 0).unwrap_err().contains("/public-key"));
}
