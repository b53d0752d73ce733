//! Reading a JSON body within its limits.

use crate::http::error::ApiError;
use crate::options::GatewayLimits;
use ::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use ::http::{HeaderMap, StatusCode};
use axum::body::Body;
use futures::StreamExt as _;
use serde::de::DeserializeOwned;

/// Reads and parses; every failure says where.
pub(crate) async fn json<T: DeserializeOwned>(
    headers: &HeaderMap,
    body: Body,
    limits: &GatewayLimits,
) -> Result<T, ApiError> {
    let kind = headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if essence != "application/json" && !(essence.starts_with("application/") && essence.ends_with("+json")) {
        return Err(ApiError::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "invalid_request_error",
            format!("the body must be `Content-Type: application/json`, not {kind:?}"),
        )
        .code("unsupported_media_type"));
    }
    let bytes = tokio::time::timeout(limits.body_timeout, collect(headers, body, limits.body_bytes))
        .await
        .unwrap_or_else(|_| {
            Err(ApiError::new(
                StatusCode::REQUEST_TIMEOUT,
                "invalid_request_error",
                format!("the body did not come within {} s", limits.body_timeout.as_secs()),
            ))
        })?;
    if let Err(offset) = depth(&bytes, limits.body_depth) {
        return Err(malformed(format!("nested deeper than {} at byte {offset}", limits.body_depth)));
    }
    serde_json::from_slice(&bytes).map_err(|e| malformed(e.to_string()))
}

fn malformed(what: String) -> ApiError {
    ApiError::new(
        StatusCode::BAD_REQUEST,
        "invalid_request_error",
        format!("the body is not the JSON it should be: {what}"),
    )
    .code("invalid_json")
}

async fn collect(headers: &HeaderMap, body: Body, limit: usize) -> Result<Vec<u8>, ApiError> {
    let too_large = || {
        ApiError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "invalid_request_error",
            format!("the body is larger than {limit} bytes"),
        )
        .code("request_too_large")
    };
    let announced = headers.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()).and_then(|v| v.parse::<usize>().ok());
    if announced.is_some_and(|n| n > limit) {
        return Err(too_large());
    }
    let mut bytes = Vec::with_capacity(announced.unwrap_or(1024).min(limit));
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|e| malformed(format!("it broke off: {e}")))?;
        if bytes.len() + chunk.len() > limit {
            return Err(too_large());
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// Whether JSON text nests at most `max` deep; if not, the byte where it goes too deep.
pub(crate) fn depth(text: &[u8], max: usize) -> Result<(), usize> {
    let (mut deep, mut in_string, mut escaped) = (0_usize, false, false);
    for (offset, byte) in text.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                deep += 1;
                if deep > max {
                    return Err(offset);
                }
            }
            b'}' | b']' if !in_string => deep = deep.saturating_sub(1),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::depth;

    #[test]
    fn brackets_in_strings_are_not_depth() {
        assert_eq!(depth(br#"{"a":"[[[[\"[[[["}"#, 1), Ok(()));
        assert_eq!(depth(br#"[[1]]"#, 2), Ok(()));
        assert_eq!(depth(br#"[[[1]]]"#, 2), Err(2));
        assert_eq!(depth(br#"[[],[],[]]"#, 2), Ok(()));
    }
}
