use super::*;
use crate::dsse::{Envelope, EnvelopeError};
use crate::testing::key;

fn content(version: u64) -> DenyContent {
    DenyContent { version, expires_ms: 100, digests: [Digest::of(b"bad")].into(), ..DenyContent::default() }
}

fn list(version: u64) -> DenyList {
    let mut list = DenyList::none();
    list.pin(key(1).public()).unwrap();
    assert!(list.update(&sign(&content(version), &key(1)).unwrap()).unwrap());
    list
}

#[test]
fn nobody_can_deny_before_a_key_is_pinned() {
    let e = DenyList::none().update(&sign(&content(1), &key(1)).unwrap()).unwrap_err();
    assert!(matches!(e, DenyError::NoKey(_)), "{e}");
    let mut list = list(1);
    assert!(matches!(list.pin(key(2).public()), Err(DenyError::Pinned { .. })));
    assert!(list.pin(key(1).public()).is_ok());
}

#[test]
fn only_the_pinned_key_may_sign() {
    let mut list = list(1);
    let e = list.update(&sign(&content(2), &key(2)).unwrap()).unwrap_err();
    assert!(matches!(e, DenyError::Envelope { source: EnvelopeError::Signature(_), .. }), "{e}");
    assert_eq!(list.content().unwrap().version, 1);
}

#[test]
fn a_list_only_moves_forward() {
    let mut list = list(5);
    assert!(!list.update(&sign(&content(5), &key(1)).unwrap()).unwrap(), "the same list again changes nothing");
    let other = DenyContent { digests: BTreeSet::new(), ..content(5) };
    for older in [content(4), other] {
        let e = list.update(&sign(&older, &key(1)).unwrap()).unwrap_err();
        assert!(matches!(e, DenyError::Rollback { current: 5, .. }), "{e}");
    }
    assert!(list.update(&sign(&content(6), &key(1)).unwrap()).unwrap());
}

#[test]
fn an_expired_list_warns_and_still_denies() {
    let list = list(1);
    assert_eq!(list.warning(100), None);
    assert!(list.warning(101).unwrap().contains("expired"));
    let acme: Name = "acme".parse().unwrap();
    let by = key(3).public().fingerprint();
    assert!(list.denies(&Digest::of(b"bad"), &acme, By::Key(&by)).is_some());
    assert_eq!(list.denies(&Digest::of(b"good"), &acme, By::Key(&by)), None);
}

#[test]
fn who_signs_without_a_key_is_denied_by_issuer_repository_and_workflow() {
    let rule = |id: u64| -> Rule {
        format!("issuer=https://forge.example repository-id={id} workflow=.ci/release.yml").parse().unwrap()
    };
    let mut list = list(1);
    let content = DenyContent { keyless: [rule(42)].into(), ..content(2) };
    assert!(list.update(&sign(&content, &key(1)).unwrap()).unwrap());
    let acme: Name = "acme".parse().unwrap();
    let why = list.denies(&Digest::of(b"good"), &acme, By::Rule(&rule(42))).unwrap();
    assert!(why.contains("repository-id=42"), "{why}");
    assert_eq!(list.denies(&Digest::of(b"good"), &acme, By::Rule(&rule(43))), None);
}

#[test]
fn a_list_is_kept_and_verified_again_when_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("deny-list.json");
    assert!(DenyList::load(&path).unwrap().content().is_none(), "no file yet");
    assert!(matches!(DenyList::none().save(&path), Err(DenyError::NoKey(_))));
    list(3).save(&path).unwrap();
    let read = DenyList::load(&path).unwrap();
    assert_eq!(read.content(), Some(&content(3)));
    let text = std::fs::read_to_string(&path).unwrap();
    let foreign = text.replace(&key(1).public().to_string(), &key(2).public().to_string());
    std::fs::write(&path, foreign).unwrap();
    assert!(matches!(DenyList::load(&path), Err(DenyError::Envelope { .. })));
    std::fs::write(&path, "").unwrap();
    assert!(matches!(DenyList::load(&path), Err(DenyError::Content { .. })), "a damaged list is never taken for none");
}

#[test]
fn what_is_signed_must_be_a_list() {
    let mut list = list(1);
    for bad in ["{}", r#"{"version":2,"expiresMs":1,"extra":1}"#, r#"{"version":-1,"expiresMs":1}"#, "[]"] {
        let envelope = serde_json::to_vec(&Envelope::sign(PAYLOAD_TYPE, bad.as_bytes(), &key(1))).unwrap();
        assert!(matches!(list.update(&envelope), Err(DenyError::Content { .. })), "{bad}");
    }
    let package = serde_json::to_vec(&Envelope::sign(crate::bundle::IN_TOTO, b"{}", &key(1))).unwrap();
    assert!(matches!(
        list.update(&package),
        Err(DenyError::Envelope { source: EnvelopeError::PayloadType { .. }, .. })
    ));
}
