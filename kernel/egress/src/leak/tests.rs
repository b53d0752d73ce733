use super::*;
use proptest::prelude::*;

const SECRET: &str = "sk-Te5t/9+\"q?&=é_Zz";

fn scanner(secrets: &[&str]) -> Arc<Scanner> {
    Arc::new(Scanner::new(secrets.iter().map(|s| SecretString::from(*s)).collect()).unwrap())
}

/// Through a stream, in pieces of `size`.
fn streamed(scanner: &Arc<Scanner>, bytes: &[u8], size: usize) -> (Vec<u8>, bool) {
    let mut scrubber = scanner.stream();
    let mut out = Vec::new();
    for chunk in bytes.chunks(size.max(1)) {
        out.extend(scrubber.push(chunk));
    }
    out.extend(scrubber.finish());
    (out, scrubber.found())
}

fn every_form(secret: &str) -> Vec<String> {
    let bytes = secret.as_bytes();
    let json = serde_json::to_string(secret).unwrap();
    let json = json.trim_matches('"').to_owned();
    let mut forms = vec![
        secret.to_owned(),
        secret.to_ascii_uppercase(),
        json.replace('/', "\\/"),
        json,
        url::form_urlencoded::byte_serialize(bytes).collect(),
        percent_encode(bytes, COMPONENT).to_string(),
        percent_encode(bytes, COMPONENT).to_string().to_lowercase(),
        bytes.iter().map(|b| format!("%{b:02X}")).collect(),
        bytes.iter().map(|b| format!("%{b:02x}")).collect(),
        hex::encode(bytes),
        hex::encode_upper(bytes),
    ];
    let mut with_key = url::Url::parse("https://a.example/").unwrap();
    with_key.query_pairs_mut().append_pair("k", secret);
    forms.push(with_key.query().unwrap().trim_start_matches("k=").to_owned());
    forms
}

#[test]
fn every_claimed_form_is_found_in_one_piece_and_byte_by_byte() {
    let scanner = scanner(&[SECRET]);
    for form in every_form(SECRET) {
        let text = format!("before {form} after");
        for size in [1, 2, 3, 7, text.len()] {
            let (out, found) = streamed(&scanner, text.as_bytes(), size);
            assert_eq!(String::from_utf8_lossy(&out), "before [redacted] after", "{form} in pieces of {size}");
            assert!(found);
        }
        assert_eq!(scanner.redact(&text), "before [redacted] after");
        assert!(scanner.finds(text.as_bytes()));
    }
}

#[test]
fn base64_is_found_at_every_alignment_and_in_both_alphabets() {
    let secret = "a-secret>>>of???some~~~length";
    let scanner = scanner(&[secret]);
    for before in ["", "x", "xy", "xyz", "user:"] {
        for after in ["", "1", "12"] {
            let whole = format!("{before}{secret}{after}");
            for coded in [STANDARD_NO_PAD.encode(&whole), URL_SAFE_NO_PAD.encode(&whole)] {
                let (out, found) = streamed(&scanner, coded.as_bytes(), 5);
                assert!(found, "{before:?} {after:?} {coded}");
                let out = String::from_utf8(out).unwrap();
                // Only characters shared with the neighbours may stay: fewer than 8 bits of the secret at each end.
                assert!(out.len() <= REDACTED.len() + (before.len() + after.len()) * 2 + 4, "{out}");
            }
        }
    }
}

#[test]
fn a_basic_credentials_password_is_found_alone() {
    let scanner = scanner(&["robot:correct-horse"]);
    assert_eq!(scanner.redact("it is correct-horse!"), "it is [redacted]!");
}

#[test]
fn short_secrets_are_not_scanned_and_no_secrets_change_nothing() {
    for set in [&["short"][..], &[]] {
        let scanner = scanner(set);
        assert_eq!(streamed(&scanner, b"short and sweet", 4), (b"short and sweet".to_vec(), false));
    }
}

#[test]
fn a_long_secret_is_recognised_by_its_beginning() {
    let long = "0123456789abcdef".repeat(MAX_SECRET / 8);
    let scanner = scanner(&[&long]);
    assert!(scanner.finds(long.as_bytes()));
}

#[test]
fn nothing_is_held_back_that_cannot_begin_a_secret() {
    let scanner = scanner(&["sk-0123456789"]);
    let mut scrubber = scanner.stream();
    assert_eq!(scrubber.push(b"data: hello\n\n"), b"data: hello\n\n");
    assert_eq!(scrubber.push(b"data: sk-01"), b"data: ");
    assert_eq!(scrubber.push(b"x\n\n"), b"sk-01x\n\n");
    assert_eq!(scrubber.push(b"sk-012345678"), b"");
    assert_eq!(scrubber.push(b"9."), b"[redacted].");
    assert_eq!(scrubber.finish(), b"");
}

#[test]
fn a_secret_that_contains_another_is_replaced_once() {
    let scanner = scanner(&["inner-secret", "outer-inner-secret-outer"]);
    for size in 1..30 {
        let (out, _) = streamed(&scanner, b"<outer-inner-secret-outer> <inner-secret>", size);
        assert_eq!(String::from_utf8_lossy(&out), "<[redacted]> <[redacted]>", "pieces of {size}");
    }
}

#[test]
fn secrets_that_overlap_leave_nothing_of_either() {
    let scanner = scanner(&["abcdefgh-1234", "1234-ijklmnop"]);
    for size in 1..24 {
        let (out, _) = streamed(&scanner, b"<abcdefgh-1234-ijklmnop>", size);
        assert_eq!(String::from_utf8_lossy(&out), "<[redacted]>", "pieces of {size}");
    }
}

#[test]
fn its_debug_form_shows_no_secret() {
    let scanner = scanner(&["sk-0123456789"]);
    assert!(!format!("{scanner:?}").contains("sk-0123456789"));
}

proptest! {
    #[test]
    fn a_secret_never_gets_through_however_it_is_cut(
        before in "[a-c-]{0,20}",
        secret in "[a-c-]{8,14}",
        after in "[a-c-]{0,20}",
        cuts in prop::collection::vec(1usize..9, 1..12),
    ) {
        let scanner = scanner(&[&secret]);
        let text = format!("{before}{secret}{after}");
        let mut scrubber = scanner.stream();
        let (mut out, mut rest, mut turn) = (Vec::new(), text.as_bytes(), 0);
        while !rest.is_empty() {
            let (now, later) = rest.split_at(cuts[turn % cuts.len()].min(rest.len()));
            out.extend(scrubber.push(now));
            prop_assert!(!String::from_utf8_lossy(&out).contains(&secret));
            (rest, turn) = (later, turn + 1);
        }
        out.extend(scrubber.finish());
        let out = String::from_utf8(out).unwrap();
        prop_assert!(!out.contains(&secret), "{}", out);
        prop_assert!(scrubber.found());
    }

    #[test]
    fn text_without_a_secret_comes_through_unchanged(text in "[ -~\n]{0,300}", size in 1usize..40) {
        let scanner = scanner(&["a-secret-that-is-not-in-there", SECRET]);
        let (out, found) = streamed(&scanner, text.as_bytes(), size);
        prop_assert_eq!(out, text.as_bytes());
        prop_assert!(!found);
    }

    #[test]
    fn pieces_and_whole_agree(parts in prop::collection::vec(prop_oneof!["[a-z]{0,6}", Just("token-12345".to_owned()), Just("12345-token".to_owned())], 0..12), size in 1usize..20) {
        let scanner = scanner(&["token-12345", "12345-token"]);
        let text = parts.concat();
        let (out, _) = streamed(&scanner, text.as_bytes(), size);
        prop_assert_eq!(String::from_utf8(out).unwrap(), scanner.redact(&text));
    }
}
