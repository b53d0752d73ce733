//! A Sigstore instance of a test's own: a certificate authority, a certificate log and a transparency log, with the
//! trusted root that names them. What it makes is what the public instance makes, as far as verifiers look.
//!
//! Sources: RFC 5280 (certificates), RFC 6962 (both logs), Rekor's `dsse` entries and signed entry timestamps
//! (<https://github.com/sigstore/rekor>), signed notes (<https://c2sp.org/tlog-checkpoint>), bundles
//! (<https://github.com/sigstore/protobuf-specs>).

use crate::bundle::{IN_TOTO, MEDIA_TYPE};
use crate::dsse::pae;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::str::FromStr;
use std::time::{Duration, SystemTime};
use x509_cert::certificate::{Certificate, TbsCertificate, Version};
use x509_cert::der::asn1::{BitString, Ia5String, ObjectIdentifier, OctetString, UtcTime};
use x509_cert::der::{Any, Encode, EncodePem as _};
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{
    AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, KeyUsages, SubjectAltName,
    SubjectKeyIdentifier,
};
use x509_cert::name::Name;
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};
use x509_cert::time::{Time, Validity};

const EC_PUBLIC_KEY: &str = "1.2.840.10045.2.1";
const P256: &str = "1.2.840.10045.3.1.7";
const ECDSA_WITH_SHA256: &str = "1.2.840.10045.4.3.2";
const CODE_SIGNING: &str = "1.3.6.1.5.5.7.3.3";
const SCT_LIST: &str = "1.3.6.1.4.1.11129.2.4.2";
const FULCIO: &str = "1.3.6.1.4.1.57264.1";
const YEAR: Duration = Duration::from_secs(365 * 86_400);
/// How long a signing certificate lives.
const LIFE: Duration = Duration::from_secs(600);

fn oid(text: &str) -> ObjectIdentifier {
    text.parse().expect("an object identifier")
}

fn sha256(data: &[u8]) -> [u8; 32] {
    Sha256::digest(data).into()
}

/// A P-256 key.
struct Key(EcdsaKeyPair);

impl Key {
    fn new() -> Self {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).expect("a key");
        Self(EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8.as_ref(), &random).expect("a key"))
    }
    fn sign(&self, data: &[u8]) -> Vec<u8> {
        self.0.sign(&SystemRandom::new(), data).expect("a signature").as_ref().to_vec()
    }
    fn spki(&self) -> SubjectPublicKeyInfoOwned {
        SubjectPublicKeyInfoOwned {
            algorithm: AlgorithmIdentifierOwned { oid: oid(EC_PUBLIC_KEY), parameters: Some(Any::from(oid(P256))) },
            subject_public_key: BitString::from_bytes(self.0.public_key().as_ref()).expect("a bit string"),
        }
    }
    fn der(&self) -> Vec<u8> {
        self.spki().to_der().expect("a public key")
    }
    /// A log's name: the digest of its key.
    fn id(&self) -> [u8; 32] {
        sha256(&self.der())
    }
    /// How certificates name it.
    fn short_id(&self) -> OctetString {
        OctetString::new(&self.id()[..20]).expect("short")
    }
    fn is_subject(&self) -> Extension {
        extension("2.5.29.14", false, SubjectKeyIdentifier(self.short_id()).to_der().expect("der"))
    }
    fn is_issuer(&self) -> Extension {
        let id = AuthorityKeyIdentifier { key_identifier: Some(self.short_id()), ..Default::default() };
        extension("2.5.29.35", false, id.to_der().expect("der"))
    }
    fn in_root(&self, url: &str, since: SystemTime) -> Value {
        json!({ "baseUrl": url, "hashAlgorithm": "SHA2_256", "logId": { "keyId": BASE64.encode(self.id()) },
            "publicKey": { "rawBytes": BASE64.encode(self.der()), "keyDetails": "PKIX_ECDSA_P256_SHA_256",
                "validFor": { "start": utc(since) } } })
    }
}

/// RFC 3339.
fn utc(time: SystemTime) -> String {
    x509_cert::der::DateTime::from_system_time(time).expect("a date").to_string()
}

/// RFC 5280 wants the short form before 2050.
fn date(time: SystemTime) -> Time {
    Time::UtcTime(UtcTime::from_system_time(time).expect("before 2050"))
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs()
}

fn extension(id: &str, critical: bool, value: Vec<u8>) -> Extension {
    Extension { extn_id: oid(id), critical, extn_value: OctetString::new(value).expect("short") }
}

/// Whom a certificate is for.
#[derive(Debug, Clone)]
pub struct Holder {
    /// Who vouches for it.
    pub issuer: String,
    /// An address, or the URI of a workflow.
    pub subject: String,
    /// Fulcio's other fields: the last number of `1.3.6.1.4.1.57264.1.N`, and the text.
    pub claims: Vec<(u8, String)>,
}

impl Holder {
    /// A person.
    pub fn email(issuer: &str, address: &str) -> Self {
        Self { issuer: issuer.to_owned(), subject: address.to_owned(), claims: Vec::new() }
    }

    /// A workflow of a repository on GitHub, such as (`acme/tools`, 42, `.github/workflows/release.yml`,
    /// `refs/tags/v1`).
    pub fn workflow(repository: &str, id: u64, path: &str, reference: &str) -> Self {
        let uri = format!("https://github.com/{repository}");
        let workflow = format!("{uri}/{path}@{reference}");
        let claims = [
            (9, workflow.clone()),
            (11, "github-hosted".to_owned()),
            (12, uri),
            (14, reference.to_owned()),
            (15, id.to_string()),
            (18, workflow.clone()),
        ];
        let issuer = "https://token.actions.githubusercontent.com".to_owned();
        Self { issuer, subject: workflow, claims: claims.to_vec() }
    }

    /// The same with another text in a field, or without the field.
    #[must_use]
    pub fn with(mut self, field: u8, text: Option<&str>) -> Self {
        self.claims.retain(|(number, _)| *number != field);
        self.claims.extend(text.map(|text| (field, text.to_owned())));
        self
    }

    fn extensions(&self) -> Vec<Extension> {
        let subject = Ia5String::new(&self.subject).expect("ASCII");
        let name = match self.subject.contains("://") {
            true => GeneralName::UniformResourceIdentifier(subject),
            false => GeneralName::Rfc822Name(subject),
        };
        let mut all = vec![
            extension("2.5.29.15", true, KeyUsage(KeyUsages::DigitalSignature.into()).to_der().expect("der")),
            extension("2.5.29.37", false, ExtendedKeyUsage(vec![oid(CODE_SIGNING)]).to_der().expect("der")),
            extension("2.5.29.17", true, SubjectAltName(vec![name]).to_der().expect("der")),
            // The old form of the issuer is bare text, the new one DER.
            extension(&format!("{FULCIO}.1"), false, self.issuer.clone().into_bytes()),
        ];
        let fields = std::iter::once((8, self.issuer.clone())).chain(self.claims.clone());
        all.extend(fields.map(|(n, text)| extension(&format!("{FULCIO}.{n}"), false, text.to_der().expect("der"))));
        all
    }
}

/// What is done wrong while signing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrong {
    /// Nothing.
    Nothing,
    /// The certificate goes into no certificate log.
    NoSct,
    /// The signature is made after the certificate's time.
    Late,
    /// The envelope is signed with another key than the certificate's.
    OtherKey,
    /// The log's entry is about another statement.
    OtherEntry,
}

/// The instance.
pub struct Sigstore {
    since: SystemTime,
    authority: Key,
    /// The authority's certificate and its root's, DER.
    chain: [Vec<u8>; 2],
    certificates: Key,
    log: Key,
    /// Hashes of the log's leaves.
    leaves: Vec<[u8; 32]>,
}

impl Default for Sigstore {
    fn default() -> Self {
        Self::new()
    }
}

impl Sigstore {
    /// A new one, with keys of its own and a few entries of others in its log.
    pub fn new() -> Self {
        let since = SystemTime::now() - YEAR;
        let (root, authority) = (Key::new(), Key::new());
        let own = seal(body("test root", "test root", &root, (since, since + YEAR * 10), for_authority(&root)), &root);
        let usage = ExtendedKeyUsage(vec![oid(CODE_SIGNING)]).to_der().expect("der");
        let extensions =
            [for_authority(&authority), vec![root.is_issuer(), extension("2.5.29.37", false, usage)]].concat();
        let life = (since, since + YEAR * 9);
        let intermediate = seal(body("test root", "test authority", &authority, life, extensions), &root);
        Self {
            since,
            authority,
            chain: [intermediate, own].map(|certificate| certificate.to_der().expect("der")),
            certificates: Key::new(),
            log: Key::new(),
            leaves: (0..5u8).map(|n| leaf(&[n])).collect(),
        }
    }

    /// The `trusted_root.json` that trusts it.
    pub fn trusted_root(&self) -> Value {
        let chain: Vec<Value> = self.chain.iter().map(|der| json!({ "rawBytes": BASE64.encode(der) })).collect();
        json!({
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [self.log.in_root("https://log.test.invalid", self.since)],
            "certificateAuthorities": [{
                "subject": { "organization": "test.invalid", "commonName": "test" }, "uri": "https://ca.test.invalid",
                "certChain": { "certificates": chain }, "validFor": { "start": utc(self.since) } }],
            "ctlogs": [self.certificates.in_root("https://ct.test.invalid", self.since)],
            "timestampAuthorities": [],
        })
    }

    /// The trusted root without what is named: `tlogs`, `ctlogs` or `certificateAuthorities`, which are `of` another
    /// instance then.
    pub fn trusted_root_with(&self, part: &str, of: &Self) -> Value {
        let mut root = self.trusted_root();
        root[part] = of.trusted_root()[part].take();
        root
    }

    /// Signs an in-toto statement an hour ago: the bundle.
    pub fn sign(&mut self, holder: &Holder, statement: &[u8]) -> Value {
        self.sign_wrongly(holder, statement, Wrong::Nothing)
    }

    /// Signs, with one thing done wrong.
    pub fn sign_wrongly(&mut self, holder: &Holder, statement: &[u8], wrong: Wrong) -> Value {
        let issued = SystemTime::now() - Duration::from_secs(3600);
        let signed = issued + if wrong == Wrong::Late { LIFE * 2 } else { LIFE / 2 };
        let key = Key::new();
        let certificate = self.certificate(holder, &key, issued, wrong);
        let signer = if wrong == Wrong::OtherKey { Key::new() } else { key };
        let signature = BASE64.encode(signer.sign(&pae(IN_TOTO, statement)));
        let envelope = json!({ "payload": BASE64.encode(statement), "payloadType": IN_TOTO,
            "signatures": [{ "sig": signature }] });
        let logged: &[u8] = if wrong == Wrong::OtherEntry { b"another" } else { statement };
        let pem = certificate.to_pem(x509_cert::der::pem::LineEnding::LF).expect("pem");
        // The keys stand in alphabetical order: the entry is canonical JSON.
        let body = json!({ "apiVersion": "0.0.1", "kind": "dsse", "spec": {
            "envelopeHash": { "algorithm": "sha256", "value": hex::encode(sha256(envelope.to_string().as_bytes())) },
            "payloadHash": { "algorithm": "sha256", "value": hex::encode(sha256(logged)) },
            "signatures": [{ "signature": signature, "verifier": BASE64.encode(pem) }] } });
        json!({
            "mediaType": MEDIA_TYPE,
            "verificationMaterial": {
                "certificate": { "rawBytes": BASE64.encode(certificate.to_der().expect("der")) },
                "tlogEntries": [self.enter(body.to_string().as_bytes(), signed)],
                "timestampVerificationData": {} },
            "dsseEnvelope": envelope,
        })
    }

    /// Enters a body, and what others enter afterwards, into the transparency log.
    fn enter(&mut self, body: &[u8], time: SystemTime) -> Value {
        let index = self.leaves.len();
        self.leaves.push(leaf(body));
        self.leaves.extend((0..6u8).map(|n| leaf(&[n, index as u8])));
        let (id, root, body) = (self.log.id(), tree(&self.leaves), BASE64.encode(body));
        let promised =
            json!({ "body": body, "integratedTime": seconds(time), "logID": hex::encode(id), "logIndex": index });
        let note = format!("log.test.invalid\n{}\n{}\n", self.leaves.len(), BASE64.encode(root));
        let mut signature = id[..4].to_vec();
        signature.extend(self.log.sign(note.as_bytes()));
        let hashes: Vec<String> = path(index, &self.leaves).iter().map(|h| BASE64.encode(h)).collect();
        json!({
            "logIndex": index.to_string(), "logId": { "keyId": BASE64.encode(id) },
            "kindVersion": { "kind": "dsse", "version": "0.0.1" }, "integratedTime": seconds(time).to_string(),
            "inclusionPromise": {
                "signedEntryTimestamp": BASE64.encode(self.log.sign(promised.to_string().as_bytes())) },
            "inclusionProof": {
                "logIndex": index.to_string(), "rootHash": BASE64.encode(root), "treeSize": self.leaves.len().to_string(),
                "hashes": hashes, "checkpoint": {
                    "envelope": format!("{note}\n— log.test.invalid {}\n", BASE64.encode(signature)) } },
            "canonicalizedBody": body,
        })
    }

    fn certificate(&self, holder: &Holder, key: &Key, issued: SystemTime, wrong: Wrong) -> Certificate {
        let mut tbs = body("test authority", "", key, (issued, issued + LIFE), holder.extensions());
        tbs.extensions.get_or_insert_default().push(self.authority.is_issuer());
        if wrong != Wrong::NoSct {
            let list = self.promise(&tbs.to_der().expect("der"), issued);
            let inner = OctetString::new(list).expect("short").to_der().expect("der");
            tbs.extensions.get_or_insert_default().push(extension(SCT_LIST, false, inner));
        }
        seal(tbs, &self.authority)
    }

    /// The certificate log's promise (RFC 6962, 3.2 and 3.3), as a list of one.
    fn promise(&self, tbs: &[u8], time: SystemTime) -> Vec<u8> {
        let timestamp = (seconds(time) * 1000).to_be_bytes();
        let length = u32::try_from(tbs.len()).expect("short").to_be_bytes();
        let signed =
            [&[0, 0][..], &timestamp, &[0, 1], &sha256(&self.authority.der()), &length[1..], tbs, &[0, 0]].concat();
        let signature = self.certificates.sign(&signed);
        let sct = [
            &[0][..],
            &self.certificates.id(),
            &timestamp,
            &[0, 0, 4, 3],
            &u16::try_from(signature.len()).expect("short").to_be_bytes(),
            &signature,
        ]
        .concat();
        let length = u16::try_from(sct.len()).expect("short");
        [&(length + 2).to_be_bytes()[..], &length.to_be_bytes(), &sct].concat()
    }
}

fn for_authority(key: &Key) -> Vec<Extension> {
    let usage = KeyUsage(KeyUsages::KeyCertSign | KeyUsages::CRLSign).to_der().expect("der");
    let constraints = BasicConstraints { ca: true, path_len_constraint: None }.to_der().expect("der");
    vec![extension("2.5.29.15", true, usage), extension("2.5.29.19", true, constraints), key.is_subject()]
}

fn signature_algorithm() -> AlgorithmIdentifierOwned {
    AlgorithmIdentifierOwned { oid: oid(ECDSA_WITH_SHA256), parameters: None }
}

fn body(
    issuer: &str,
    subject: &str,
    key: &Key,
    (from, to): (SystemTime, SystemTime),
    extensions: Vec<Extension>,
) -> TbsCertificate {
    let name = |common: &str| match common {
        "" => Name::default(),
        common => Name::from_str(&format!("CN={common}")).expect("a name"),
    };
    let mut serial = [0; 16];
    getrandom::fill(&mut serial).expect("random bytes");
    serial[0] = serial[0] & 0x7f | 1;
    TbsCertificate {
        version: Version::V3,
        serial_number: SerialNumber::new(&serial).expect("a number"),
        signature: signature_algorithm(),
        issuer: name(issuer),
        validity: Validity { not_before: date(from), not_after: date(to) },
        subject: name(subject),
        subject_public_key_info: key.spki(),
        issuer_unique_id: None,
        subject_unique_id: None,
        extensions: Some(extensions),
    }
}

fn seal(tbs_certificate: TbsCertificate, key: &Key) -> Certificate {
    let signature = key.sign(&tbs_certificate.to_der().expect("der"));
    let signature = BitString::from_bytes(&signature).expect("short");
    Certificate { tbs_certificate, signature_algorithm: signature_algorithm(), signature }
}

// RFC 6962, 2.1: leaves and nodes are hashed apart; the left half is the largest power of two below the whole.

fn leaf(data: &[u8]) -> [u8; 32] {
    sha256(&[&[0], data].concat())
}

fn halves(leaves: &[[u8; 32]]) -> (&[[u8; 32]], &[[u8; 32]]) {
    leaves.split_at(leaves.len().next_power_of_two() / 2)
}

fn tree(leaves: &[[u8; 32]]) -> [u8; 32] {
    match leaves {
        [] => sha256(&[]),
        [one] => *one,
        _ => {
            let (left, right) = halves(leaves);
            sha256(&[&[1][..], &tree(left), &tree(right)].concat())
        }
    }
}

fn path(index: usize, leaves: &[[u8; 32]]) -> Vec<[u8; 32]> {
    if leaves.len() < 2 {
        return Vec::new();
    }
    let (left, right) = halves(leaves);
    let (mut within, other) = match index.checked_sub(left.len()) {
        None => (path(index, left), tree(right)),
        Some(index) => (path(index, right), tree(left)),
    };
    within.push(other);
    within
}
