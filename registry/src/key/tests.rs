use super::*;

fn bytes<const N: usize>(text: &str) -> [u8; N] {
    let mut out = [0; N];
    hex::decode_to_slice(text, &mut out).unwrap();
    out
}

/// RFC 8032, section 7.1: seed, public key, message, signature.
const RFC8032: [(&str, &str, &str, &str); 3] = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
];

#[test]
fn the_vectors_of_rfc_8032_hold() {
    for (seed, public, message, signature) in RFC8032 {
        let key = SigningKey::from_seed(&bytes(seed));
        let message = hex::decode(message).unwrap();
        assert_eq!(key.public().as_bytes(), &bytes::<32>(public));
        assert_eq!(key.sign(&message), bytes::<64>(signature));
        assert!(key.public().verify(&message, &bytes(signature)));
        assert!(!key.public().verify(b"another message", &bytes(signature)));
    }
}

#[test]
fn a_signature_with_a_second_form_is_refused() {
    // S + L verifies with a careless implementation.
    let order = bytes::<32>("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
    let (_, public, _, signature) = RFC8032[0];
    let mut signature = bytes::<64>(signature);
    let mut carry = 0;
    for (byte, add) in signature[32..].iter_mut().zip(order) {
        let sum = u16::from(*byte) + u16::from(add) + carry;
        *byte = sum.to_le_bytes()[0];
        carry = sum >> 8;
    }
    assert_eq!(carry, 0);
    assert!(!PublicKey::from_bytes(&bytes(public)).unwrap().verify(b"", &signature));
}

#[test]
fn weak_and_non_canonical_keys_are_refused() {
    for weak in [
        // Small order, canonical.
        "0100000000000000000000000000000000000000000000000000000000000000",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000080",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        // Small order, not canonical.
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "0100000000000000000000000000000000000000000000000000000000000080",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        // y = p + 3 and y = p + 4: full-order points in a second spelling, where they are points at all.
        "f0ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "f1ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ] {
        let e = PublicKey::from_bytes(&bytes(weak)).expect_err(weak);
        assert!(matches!(e, KeyError::Weak(_)), "{e}");
    }
}

#[test]
fn a_public_key_has_one_text_form() {
    let key = SigningKey::from_seed(&[7; 32]).public();
    let text = key.to_string();
    assert_eq!(text.parse::<PublicKey>().unwrap(), key);
    assert_eq!(serde_json::from_str::<PublicKey>(&serde_json::to_string(&key).unwrap()).unwrap(), key);
    let body = text.strip_prefix("ed25519:").unwrap();
    for bad in [
        body.to_owned(),
        format!("rsa:{body}"),
        text.trim_end_matches('=').to_owned(),
        format!("{text} "),
        text.replace(':', ": "),
    ] {
        assert!(bad.parse::<PublicKey>().is_err(), "{bad}");
    }
    // The last character holds two bits that must be zero.
    let last = text.chars().rev().nth(1).unwrap();
    let other = char::from_u32(last as u32 + 1).unwrap();
    assert!(text.replace(&format!("{last}="), &format!("{other}=")).parse::<PublicKey>().is_err());
}

#[test]
fn the_fingerprint_is_the_one_other_tools_compute() {
    // openssl pkey -pubin -inform DER -pubout -outform DER | openssl dgst -sha256 -binary | base64
    let key = PublicKey::from_bytes(&bytes(RFC8032[0].1)).unwrap();
    assert_eq!(key.fingerprint().as_str(), "BuP9j9opu2CrWVV95h7bCuzbIxE0vjDnW0Vfjht5L6k=");
}

#[test]
fn the_private_key_of_rfc_8410_is_read_and_written() {
    let pem = "-----BEGIN PRIVATE KEY-----\n\
               MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
               -----END PRIVATE KEY-----\n";
    let directory = tempfile::tempdir().unwrap();
    let (given, written) = (directory.path().join("given.key"), directory.path().join("written.key"));
    crate::files::create(&given, pem.as_bytes()).unwrap();
    let key = SigningKey::load(&given).unwrap();
    let public = bytes::<32>("19bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1");
    assert_eq!(key.public().as_bytes(), &public);
    key.save(&written).unwrap();
    assert_eq!(std::fs::read_to_string(&written).unwrap(), pem);
}

#[test]
fn a_key_is_saved_once_and_read_back() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("local.key");
    let key = SigningKey::generate().unwrap();
    key.save(&path).unwrap();
    assert_eq!(SigningKey::load(&path).unwrap().public(), key.public());
    assert!(std::fs::read_to_string(&path).unwrap().starts_with("-----BEGIN PRIVATE KEY-----\n"));
    let e = SigningKey::generate().unwrap().save(&path).unwrap_err();
    assert!(e.to_string().contains("cannot write the key file"), "{e}");
    assert_eq!(SigningKey::load(&path).unwrap().public(), key.public(), "the old key stands");
    assert!(SigningKey::load(&directory.path().join("none.key")).is_err());
}

#[cfg(unix)]
#[test]
fn a_key_that_others_can_read_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("local.key");
    SigningKey::generate().unwrap().save(&path).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    let e = SigningKey::load(&path).unwrap_err();
    assert!(matches!(e, KeyError::Exposed(_)), "{e}");
    assert!(e.to_string().contains("chmod 600"), "{e}");
}

#[test]
fn a_file_that_holds_no_key_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in
        [("empty", ""), ("text", "hello"), ("pem", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")]
    {
        let path = directory.path().join(name);
        crate::files::create(&path, text.as_bytes()).unwrap();
        assert!(matches!(SigningKey::load(&path), Err(KeyError::Pem(_))), "{name}");
    }
}

#[test]
fn a_private_key_is_never_printed() {
    let seed = [0x42; 32];
    let shown = format!("{:?}", SigningKey::from_seed(&seed));
    assert!(!shown.contains("66, 66") && !shown.contains("4242"), "{shown}");
    assert!(shown.contains("ed25519:"), "{shown}");
}
