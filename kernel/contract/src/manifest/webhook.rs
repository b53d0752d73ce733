//! `[channel]` and `[[webhook]]`: how a platform reaches a component, and how the kernel knows that it is the platform.

use super::reader::{Problems, Section, Span, Spanned, nearest};
use super::values;
use crate::name::{Name, SecretName};
use serde::{Deserialize, Serialize};
use toml_edit::Item;

/// `[channel]`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelDecl {
    /// Events are durable before the component sees them: the platform sends each only once.
    pub spool: bool,
}

/// `[[webhook]]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookDecl {
    /// Its name: the last part of its address.
    pub webhook: Name,
    /// Upper-case methods; default `POST`.
    pub methods: Vec<String>,
    /// How the kernel knows that a request is authentic.
    pub verify: Verify,
}

/// A recipe by which a request proves where it comes from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "scheme", rename_all = "kebab-case")]
pub enum Verify {
    /// A header holds the secret, after a prefix.
    Header {
        /// Header name.
        name: String,
        /// Text before the secret.
        prefix: String,
        /// The secret.
        secret: SecretName,
        /// Status of a refusal.
        on_failure: u16,
    },
    /// HMAC-SHA256 over some of the request.
    HmacSha256 {
        /// The secret.
        secret: SecretName,
        /// How the secret is written: `text`, or `base64` after a prefix such as `whsec_`.
        key: KeyForm,
        /// What is signed.
        signed: Vec<Piece>,
        /// Where the signature stands.
        signature: SignatureAt,
        /// The time it was sent.
        timestamp: Option<TimestampAt>,
        /// Status of a refusal.
        on_failure: u16,
    },
    /// Ed25519 over some of the request, by a public key in the instance's own configuration (hex, 32 bytes).
    Ed25519 {
        /// Where the key stands in the instance's configuration.
        config: String,
        /// What is signed.
        signed: Vec<Piece>,
        /// Where the signature stands.
        signature: SignatureAt,
        /// The time it was sent.
        timestamp: Option<TimestampAt>,
        /// Status of a refusal.
        on_failure: u16,
    },
}

impl Verify {
    /// The secret it compares with.
    pub fn secret(&self) -> Option<&SecretName> {
        match self {
            Self::Header { secret, .. } | Self::HmacSha256 { secret, .. } => Some(secret),
            Self::Ed25519 { .. } => None,
        }
    }

    /// Status of a refusal.
    pub fn on_failure(&self) -> u16 {
        match self {
            Self::Header { on_failure, .. }
            | Self::HmacSha256 { on_failure, .. }
            | Self::Ed25519 { on_failure, .. } => *on_failure,
        }
    }
}

/// How an HMAC key is written in the secret.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyForm {
    /// Its bytes are the key.
    #[default]
    Text,
    /// Base64, after this prefix if it is there.
    Base64(String),
}

/// A piece of what is signed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Piece {
    /// This text.
    Text(String),
    /// A header's value; a request without it is refused.
    Header(String),
    /// The body.
    Body,
}

/// Where a signature stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SignatureAt {
    /// Header name.
    pub header: String,
    /// Text before it.
    pub prefix: String,
    /// Hex or base64.
    pub encoding: Encoding,
    /// The header holds several, separated by spaces; one must fit.
    pub several: bool,
}

/// See [`SignatureAt`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// Either case.
    Hex,
    /// Standard, padded.
    Base64,
}

/// Where the time of sending stands: seconds since the epoch, part of what is signed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TimestampAt {
    /// Header name.
    pub header: String,
    /// Older or newer than this is refused, ms.
    pub window_ms: u64,
}

/// A webhook as far as it was readable.
pub(super) struct Draft {
    pub(super) name: Option<Spanned<Name>>,
    pub(super) decl: Option<WebhookDecl>,
    /// The secrets it mentions, even if the rest has mistakes.
    pub(super) secrets: Vec<Spanned<SecretName>>,
}

const SCHEMES: [&str; 3] = ["header", "hmac-sha256", "ed25519"];

pub(super) fn read(s: &Section<'_>, problems: &Problems) -> Draft {
    s.only(&["webhook", "methods", "verify"], problems);
    let name = s.required("webhook", "webhook = \"events\"", problems, values::name::<Name>);
    let methods = s.list("methods", problems, values::method);
    let mut secrets = Vec::new();
    let verify = match s.get("verify") {
        Some((item, span)) => {
            Section::of(item, "`verify`", span, problems).and_then(|v| recipe(&v, &mut secrets, problems))
        }
        None => {
            problems.at(
                &s.span,
                "`verify` is missing: without it anybody could speak for the platform; write e.g. \
                 verify = { scheme = \"header\", name = \"X-Token\", secret = \"webhook-token\" }",
            );
            None
        }
    };
    let decl = name.clone().zip(verify).map(|(name, verify)| WebhookDecl {
        webhook: name.value,
        methods: methods.map_or_else(|| vec!["POST".to_owned()], |l| l.into_iter().map(|m| m.value).collect()),
        verify,
    });
    Draft { name, decl, secrets }
}

fn recipe(s: &Section<'_>, secrets: &mut Vec<Spanned<SecretName>>, problems: &Problems) -> Option<Verify> {
    let scheme = s.required("scheme", "scheme = \"hmac-sha256\"", problems, |v| {
        let known = SCHEMES.into_iter().find(|k| *k == v);
        known.ok_or_else(|| format!("is a scheme this kernel does not check; {}", nearest(v, &SCHEMES)))
    })?;
    let mut secret = || {
        let secret = s.required("secret", "secret = \"signing-secret\"", problems, values::name::<SecretName>)?;
        secrets.push(secret.clone());
        Some(secret.value)
    };
    let on_failure = s.count("on-failure", 499, problems).unwrap_or(401);
    let on_failure = u16::try_from(on_failure).ok().filter(|n| *n >= 400).unwrap_or_else(|| {
        problems.at(&s.span, "`on-failure` is a status from 400 to 499");
        401
    });
    match scheme.value {
        "header" => {
            s.only(&["scheme", "name", "prefix", "secret", "on-failure"], problems);
            let name = s.required("name", "name = \"X-Token\"", problems, values::header_name);
            let prefix = s.with("prefix", problems, values::header_prefix).map(|p| p.value).unwrap_or_default();
            Some(Verify::Header { name: name?.value, prefix, secret: secret()?, on_failure })
        }
        "hmac-sha256" => {
            s.only(&["scheme", "secret", "key", "signed", "signature", "timestamp", "on-failure"], problems);
            let secret = secret();
            let key = s.with("key", problems, key_form).map_or(KeyForm::Text, |k| k.value);
            let (signed, signature) = (signed(s, problems), signature(s, problems));
            let timestamp = timestamp(s, signed.as_deref(), problems);
            Some(Verify::HmacSha256 {
                secret: secret?,
                key,
                signed: signed?,
                signature: signature?,
                timestamp,
                on_failure,
            })
        }
        _ => {
            s.only(&["scheme", "config", "signed", "signature", "timestamp", "on-failure"], problems);
            let config = s.required("config", "config = \"/public-key\"", problems, values::pointer);
            let (signed, signature) = (signed(s, problems), signature(s, problems));
            let timestamp = timestamp(s, signed.as_deref(), problems);
            Some(Verify::Ed25519 {
                config: config?.value,
                signed: signed?,
                signature: signature?,
                timestamp,
                on_failure,
            })
        }
    }
}

pub(super) fn key_form(text: &str) -> Result<KeyForm, String> {
    match text.split_once(':') {
        None if text == "text" => Ok(KeyForm::Text),
        None if text == "base64" => Ok(KeyForm::Base64(String::new())),
        Some(("base64", prefix)) => Ok(KeyForm::Base64(prefix.to_owned())),
        _ => Err("is no form of a key; write \"text\", \"base64\", or \"base64:whsec_\" where that stands before it"
            .to_owned()),
    }
}

fn piece(text: &str) -> Result<Piece, String> {
    if text == "{body}" {
        return Ok(Piece::Body);
    }
    if let Some(name) = text.strip_prefix("{header:").and_then(|t| t.strip_suffix('}')) {
        return values::header_name(name).map(|n| Piece::Header(n.to_ascii_lowercase()));
    }
    if text.is_empty() || text.contains(['{', '}']) {
        return Err(
            "is no piece of a request; write \"{header:NAME}\", \"{body}\", or the text that stands between them"
                .to_owned(),
        );
    }
    Ok(Piece::Text(text.to_owned()))
}

fn signed(s: &Section<'_>, problems: &Problems) -> Option<Vec<Piece>> {
    let Some(pieces) = s.sequence("signed", problems, true, piece) else {
        problems.at(&s.span, "`signed` is missing; write e.g. signed = [\"{header:X-Timestamp}\", \".\", \"{body}\"]");
        return None;
    };
    let pieces: Vec<Piece> = pieces.into_iter().map(|p| p.value).collect();
    if !pieces.contains(&Piece::Body) {
        problems.at(&s.span, "`signed` leaves the body out, so anybody could exchange it; add \"{body}\"");
        return None;
    }
    Some(pieces)
}

fn signature(s: &Section<'_>, problems: &Problems) -> Option<SignatureAt> {
    let Some((item, span)) = s.get("signature") else {
        problems.at(
            &s.span,
            "`signature` is missing; write e.g. signature = { header = \"X-Signature\", encoding = \"hex\" }",
        );
        return None;
    };
    let s = Section::of(item, "`signature`", span, problems)?;
    s.only(&["header", "prefix", "encoding", "several"], problems);
    let header = s.required("header", "header = \"X-Signature\"", problems, values::header_name);
    let prefix = s.with("prefix", problems, values::header_prefix).map(|p| p.value).unwrap_or_default();
    let encoding = s.required("encoding", "encoding = \"hex\"", problems, |v| match v {
        "hex" => Ok(Encoding::Hex),
        "base64" => Ok(Encoding::Base64),
        _ => Err("is not an encoding; write \"hex\" or \"base64\"".to_owned()),
    });
    let several = s.flag("several", problems);
    Some(SignatureAt { header: header?.value.to_ascii_lowercase(), prefix, encoding: encoding?.value, several })
}

fn timestamp(s: &Section<'_>, signed: Option<&[Piece]>, problems: &Problems) -> Option<TimestampAt> {
    let (item, span) = s.get("timestamp")?;
    let at = Section::of(item, "`timestamp`", span.clone(), problems)?;
    at.only(&["header", "window"], problems);
    let header = at.required("header", "header = \"X-Timestamp\"", problems, values::header_name)?;
    let header = header.value.to_ascii_lowercase();
    let window = at.with("window", problems, values::duration_ms).map_or(300_000, |w| w.value);
    if signed.is_some_and(|pieces| !pieces.contains(&Piece::Header(header.clone()))) {
        problems.at(&span, format!("`timestamp`: `{header}` is not among what is `signed`, so anybody could set it; add \"{{header:{header}}}\""));
    }
    Some(TimestampAt { header, window_ms: window })
}

/// `[channel]`
pub(super) fn channel(root: &Section<'_>, problems: &Problems) -> Option<Spanned<ChannelDecl>> {
    let section = root.section("channel", problems)?;
    section.only(&["spool"], problems);
    let spool = section.flag("spool", problems);
    Some(Spanned { value: ChannelDecl { spool }, span: section.span })
}

/// All of `[[webhook]]`.
pub(super) fn webhooks(item: &Item, span: Span, problems: &Problems) -> Vec<Draft> {
    super::reader::tables(item, "webhook", span, problems).iter().map(|s| read(s, problems)).collect()
}
