//! HTTP statuses and vendors' error objects as the contract's failures.

use carapace_sdk::provider::{Failure, FailureKind};
use serde_json::Value;
use std::time::SystemTime;

/// Longest text of a server's that is passed on.
const MAX_TEXT: usize = 600;

/// An answer that is no success.
pub fn of_status(status: u16, header: impl Fn(&str) -> Option<String>, body: &[u8], now_ms: u64) -> Failure {
    let value: Option<Value> = serde_json::from_slice(body).ok();
    let text = value.as_ref().and_then(said).unwrap_or_else(|| plain(body));
    let code = value.as_ref().map(codes).unwrap_or_default();
    let mut f = classified(status, &code, &text);
    f.retry_after_ms = retry_after(&header, now_ms).filter(|_| f.retryable);
    with_request_id(f, header)
}

/// The failure with the name under which the server's operator finds the request, if there is one.
pub fn with_request_id(mut f: Failure, header: impl Fn(&str) -> Option<String>) -> Failure {
    let plain = |id: &String| {
        (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    if let Some(id) = ["request-id", "x-request-id"].iter().find_map(|name| header(name)).filter(plain) {
        f.message.push_str(&format!(" (request {id})"));
    }
    f
}

/// An answer, or a piece of one, that makes no sense. Another one may.
pub fn malformed(why: &str, data: &str) -> Failure {
    let excerpt: String = data.chars().take(200).collect();
    let more = if excerpt.len() < data.len() { "…" } else { "" };
    Failure::malformed(format!("the server sent a chunk that cannot be read ({why}): {excerpt}{more}"))
}

/// Whether a server's text refuses the field itself, and not its value (`max_tokens is too large` must reach the caller).
pub fn refuses(text: &str, field: &str) -> bool {
    const WORDS: [&str; 9] = [
        "unsupported",
        "not supported",
        "does not support",
        "unrecognized",
        "unknown",
        "extra inputs",
        "extra_forbidden",
        "not permitted",
        "deprecated",
    ];
    let lower = text.to_ascii_lowercase();
    lower.contains(field) && WORDS.iter().any(|w| lower.contains(w))
}

/// An error object inside a stream that began well. `None` if the value is none.
pub fn of_stream(value: &Value) -> Option<Failure> {
    let error = value.get("error").filter(|e| !e.is_null())?;
    let text = said(value).unwrap_or_else(|| error.to_string());
    let code = codes(value);
    let status =
        error.get("code").or_else(|| error.get("status")).and_then(Value::as_u64).and_then(|s| u16::try_from(s).ok());
    let status = status.filter(|s| (400..600).contains(s)).unwrap_or_else(|| status_of(&code));
    Some(classified(status, &code, &text))
}

/// The status that an error of this name has where it comes as an answer of its own.
fn status_of(code: &str) -> u16 {
    const NAMES: [(&str, u16); 10] = [
        ("rate_limit", 429),
        ("overloaded", 529),
        ("authentication", 401),
        ("permission", 403),
        ("billing", 402),
        ("request_too_large", 413),
        ("timeout", 504),
        ("invalid_request", 400),
        ("context", 400),
        ("not_found", 404),
    ];
    NAMES.iter().find(|(name, _)| code.contains(name)).map_or(500, |(_, status)| *status)
}

fn classified(status: u16, code: &str, text: &str) -> Failure {
    let lower = text.to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|w| lower.contains(w) || code.contains(w));
    let too_long = has(&[
        "context_length",
        "context length",
        "context window",
        "context size",
        "exceed_context",
        "exceed context",
        "prompt is too long",
        "too many tokens",
        "input is too long",
        "maximum number of tokens",
        "reduce the length",
    ]);
    let no_model = code.contains("model_not_found")
        || (lower.contains("model")
            && has(&[
                "not found",
                "does not exist",
                "not exist",
                "unknown model",
                "no such model",
                "not a valid model",
                "not supported by any",
            ]));
    let kind = match status {
        401 | 403 => FailureKind::Authentication,
        402 | 429 => FailureKind::RateLimited,
        400 | 404 | 413 | 422 if too_long => FailureKind::ContextLength,
        400 | 404 | 422 if no_model => FailureKind::UnknownModel,
        408 | 425 | 500..=599 => FailureKind::Unavailable,
        300..=499 => FailureKind::InvalidRequest,
        _ => FailureKind::Unavailable,
    };
    let hint = match status {
        401 => "the server refuses the credential, or wants one: ",
        403 => "the credential does not allow this: ",
        402 => "the account is out of credit: ",
        429 => "too many requests, or out of quota: ",
        404 if !no_model => "there is nothing at this address (is the endpoint's base URL right?): ",
        _ => "",
    };
    Failure::new(kind, format!("HTTP {status}: {hint}{}", scrubbed(text, matches!(status, 401 | 403))))
}

/// What the server says, in whichever of the usual places.
fn said(v: &Value) -> Option<String> {
    let text = |v: &Value| v.as_str().map(str::trim).filter(|s| !s.is_empty()).map(str::to_owned);
    let error = v.get("error");
    error
        .and_then(|e| e.get("message").and_then(text).or_else(|| text(e)))
        .or_else(|| v.get("message").and_then(text))
        .or_else(|| {
            v.get("detail").and_then(|d| text(d).or_else(|| (d.is_array() || d.is_object()).then(|| d.to_string())))
        })
        .or_else(|| v.get(0).and_then(said))
}

/// The machine-readable names of an error, in one string.
fn codes(v: &Value) -> String {
    let error = v.get("error").unwrap_or(v);
    ["code", "type", "status"]
        .iter()
        .filter_map(|k| error.get(k).and_then(Value::as_str))
        .collect::<Vec<_>>()
        .join(" ")
        .to_ascii_lowercase()
}

fn plain(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let text = text.trim();
    if text.is_empty() {
        "the answer is empty".to_owned()
    } else if text.starts_with('<') {
        "the answer is a web page".to_owned()
    } else {
        text.to_owned()
    }
}

/// Cut to a readable length, with whatever looks like a credential taken out: some servers repeat the one they refuse.
fn scrubbed(text: &str, refused: bool) -> String {
    const PREFIXES: [&str; 9] = ["sk-", "sk_", "pk-", "gsk_", "xai-", "aiza", "hf_", "eyj", "r8_"];
    let mut out = String::new();
    let mut bearer = false;
    for (i, word) in text.split_whitespace().enumerate() {
        if i > 0 {
            out.push(' ');
        }
        let bare = word.trim_matches(|c: char| !c.is_alphanumeric() && c != '*');
        let lower = bare.to_ascii_lowercase();
        let long =
            bare.len() >= 20 && bare.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '*' | '.'));
        let masked = bare.contains("***");
        // A URL or `key=…` may carry one in the middle.
        let inside = PREFIXES.iter().any(|p| {
            lower.find(p).is_some_and(|at| {
                bare.len() - at >= 12
                    && (at == 0 || !lower.as_bytes().get(at - 1).is_some_and(u8::is_ascii_alphanumeric))
            })
        });
        if inside || masked || (bearer && bare.len() >= 8) || (refused && long) {
            out.push('…');
        } else {
            out.push_str(word);
        }
        bearer = lower == "bearer";
        if out.len() > MAX_TEXT {
            let end = out.char_indices().map(|(i, _)| i).take_while(|i| *i <= MAX_TEXT).last().unwrap_or(0);
            out.truncate(end);
            out.push('…');
            break;
        }
    }
    out
}

/// `retry-after-ms`, or `Retry-After` as seconds or as a date (RFC 9110, 10.2.3), in milliseconds from now.
pub fn retry_after(header: impl Fn(&str) -> Option<String>, now_ms: u64) -> Option<u64> {
    let number = |s: &str| s.trim().parse::<f64>().ok().filter(|n| n.is_finite() && *n >= 0.0);
    if let Some(ms) = header("retry-after-ms").and_then(|v| number(&v)) {
        return Some(ms.ceil() as u64);
    }
    let value = header("retry-after")?;
    if let Some(seconds) = number(&value) {
        return Some((seconds * 1000.0).ceil() as u64);
    }
    let at = httpdate::parse_http_date(value.trim()).ok()?.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    u64::try_from(at.as_millis()).ok().map(|at| at.saturating_sub(now_ms))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn status(status: u16, body: Value) -> Failure {
        of_status(status, |_| None, body.to_string().as_bytes(), 0)
    }

    #[test]
    fn statuses_and_codes_become_kinds() {
        let cases = [
            (401, json!({"error": {"message": "Incorrect API key"}}), FailureKind::Authentication, false),
            (403, json!({"message": "no"}), FailureKind::Authentication, false),
            (
                429,
                json!({"error": {"code": "rate_limit_exceeded", "message": "slow down"}}),
                FailureKind::RateLimited,
                true,
            ),
            (402, json!({"error": {"message": "Insufficient Balance"}}), FailureKind::RateLimited, true),
            (
                400,
                json!({"error": {"code": "context_length_exceeded", "message": "x"}}),
                FailureKind::ContextLength,
                false,
            ),
            (
                400,
                json!({"error": {"type": "exceed_context_size_error", "message": "the request exceeds the available context size"}}),
                FailureKind::ContextLength,
                false,
            ),
            (
                400,
                json!({"object": "error", "message": "This model's maximum context length is 4096 tokens."}),
                FailureKind::ContextLength,
                false,
            ),
            (404, json!({"error": {"code": "model_not_found", "message": "x"}}), FailureKind::UnknownModel, false),
            (404, json!({"error": "model 'foo' not found"}), FailureKind::UnknownModel, false),
            (404, json!({"detail": "Not Found"}), FailureKind::InvalidRequest, false),
            (422, json!({"detail": [{"loc": ["body"], "msg": "bad"}]}), FailureKind::InvalidRequest, false),
            (500, json!({}), FailureKind::Unavailable, true),
            (503, json!([{"error": {"message": "overloaded"}}]), FailureKind::Unavailable, true),
            (301, json!({}), FailureKind::InvalidRequest, false),
        ];
        for (code, body, kind, retryable) in cases {
            let f = status(code, body.clone());
            assert_eq!((&f.kind, f.retryable), (&kind, retryable), "{code} {body}");
            assert!(f.message.starts_with(&format!("HTTP {code}")), "{}", f.message);
        }
    }

    #[test]
    fn a_credential_that_the_server_repeats_is_taken_out() {
        for text in [
            "Incorrect API key provided: sk-proj-abcdefgh1234. See https://x",
            "Incorrect API key provided: abcd********wxyz.",
            "bad header Bearer hunter2hunter2 here",
            "no access for 0123456789abcdef0123456789abcdef",
            "bad url https://h/v1?key=AIzaSyA1234567890",
        ] {
            let m = status(401, json!({"error": {"message": text}})).message;
            for part in ["abcdefgh", "wxyz", "hunter2", "0123456789", "SyA12"] {
                assert!(!m.contains(part), "{m}");
            }
        }
        assert!(
            status(404, json!({"error": {"message": "model claude-3-5-sonnet-20241022-v2 not found"}}))
                .message
                .contains("claude-3-5")
        );
    }

    #[test]
    fn a_long_answer_is_cut_and_a_web_page_is_called_one() {
        assert!(of_status(500, |_| None, "ä ".repeat(5000).as_bytes(), 0).message.len() < 800);
        assert!(of_status(502, |_| None, b"<html><body>Bad Gateway", 0).message.contains("web page"));
        assert!(of_status(502, |_| None, b"", 0).message.contains("empty"));
    }

    #[test]
    fn retry_after_is_seconds_a_date_or_milliseconds() {
        let with = |name: &'static str, value: &'static str| {
            retry_after(move |n| (n == name).then(|| value.to_owned()), 784_111_776_500)
        };
        assert_eq!(with("retry-after", "2"), Some(2000));
        assert_eq!(with("retry-after", "0.25"), Some(250));
        assert_eq!(with("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT"), Some(500));
        assert_eq!(with("retry-after", "Sun, 06 Nov 1994 08:00:00 GMT"), Some(0));
        assert_eq!(with("retry-after-ms", "12.5"), Some(13));
        assert_eq!(with("retry-after", "-1"), None);
        assert_eq!(with("retry-after", "soon"), None);
    }

    #[test]
    fn the_servers_name_for_the_request_is_told_if_it_is_one() {
        let told = |name: &'static str, id: &'static str| {
            of_status(500, move |n| (n == name).then(|| id.to_owned()), b"{}", 0).message
        };
        assert!(told("request-id", "req_011CSHoEeqs5").ends_with(" (request req_011CSHoEeqs5)"));
        assert!(told("x-request-id", "a-b").ends_with(" (request a-b)"));
        for id in ["", "two words", "a\nb"] {
            assert!(!told("request-id", id).contains("(request"), "{id}");
        }
    }

    #[test]
    fn a_field_is_refused_by_name_and_a_value_is_not_a_field() {
        assert!(refuses("temperature: Extra inputs are not permitted", "temperature"));
        assert!(refuses("`temperature` is deprecated for this model", "temperature"));
        assert!(!refuses("temperature must be at most 1", "temperature"));
        assert!(!refuses("Unknown field: top_p", "temperature"));
    }

    #[test]
    fn an_error_inside_a_stream_is_classified_like_an_answer() {
        let kind = |v: Value| of_stream(&v).unwrap().kind;
        assert_eq!(kind(json!({"error": {"message": "overloaded", "type": "server_error"}})), FailureKind::Unavailable);
        assert_eq!(kind(json!({"error": {"message": "slow", "code": 429}})), FailureKind::RateLimited);
        assert_eq!(
            kind(
                json!({"error": {"message": "x", "type": "invalid_request_error", "code": "context_length_exceeded"}})
            ),
            FailureKind::ContextLength
        );
        assert_eq!(kind(json!({"error": "boom"})), FailureKind::Unavailable);
        for (name, expected) in [
            ("overloaded_error", FailureKind::Unavailable),
            ("api_error", FailureKind::Unavailable),
            ("timeout_error", FailureKind::Unavailable),
            ("rate_limit_error", FailureKind::RateLimited),
            ("billing_error", FailureKind::RateLimited),
            ("authentication_error", FailureKind::Authentication),
            ("permission_error", FailureKind::Authentication),
            ("invalid_request_error", FailureKind::InvalidRequest),
            ("request_too_large", FailureKind::InvalidRequest),
        ] {
            assert_eq!(kind(json!({"type": "error", "error": {"type": name, "message": "x"}})), expected, "{name}");
        }
        let unknown =
            json!({"type": "error", "error": {"type": "not_found_error", "message": "model: claude-9 does not exist"}});
        assert_eq!(kind(unknown), FailureKind::UnknownModel);
        assert!(of_stream(&json!({"choices": []})).is_none());
        assert!(of_stream(&json!({"error": null})).is_none());
    }
}
