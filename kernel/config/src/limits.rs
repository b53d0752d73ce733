//! Limits in the file: any of them, the rest as it was.

use carapace_contract::limits::Limits;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize};
use std::borrow::Cow;
use std::str::FromStr;

/// Bytes: a number, or text with a unit (`"64MiB"`, `"500kB"`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct ByteSize(pub u64);

impl FromStr for ByteSize {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        let s = s.trim();
        let split = s.find(|c: char| !c.is_ascii_digit()).unwrap_or(s.len());
        let (digits, unit) = s.split_at(split);
        let scale: u64 = match unit.trim() {
            "" | "B" => 1,
            "kB" | "KB" => 1_000,
            "MB" => 1_000_000,
            "GB" => 1_000_000_000,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            _ => return Err("a size is a number of bytes or text like \"64MiB\" (B, kB, MB, GB, KiB, MiB, GiB)".into()),
        };
        let number: u64 = digits.parse().map_err(|_| "a size starts with a whole number".to_owned())?;
        number.checked_mul(scale).map(Self).ok_or_else(|| "the size is too large".to_owned())
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Number(u64),
            Text(String),
        }
        match Form::deserialize(d)? {
            Form::Number(n) => Ok(Self(n)),
            Form::Text(t) => t.parse().map_err(serde::de::Error::custom),
        }
    }
}

impl JsonSchema for ByteSize {
    fn schema_name() -> Cow<'static, str> {
        "ByteSize".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["integer", "string"],
            "minimum": 0,
            "maximum": u64::MAX,
            "pattern": "^[0-9]{1,15} ?(B|kB|KB|MB|GB|KiB|MiB|GiB)?$"
        })
    }
}

macro_rules! overrides {
    ($($(#[$doc:meta])* $field:ident: $kind:ty,)*) => {
        /// Any of the limits; what is absent stays as it was.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        #[serde(default, deny_unknown_fields, rename_all = "camelCase")]
        pub struct LimitOverrides {
            $(
                $(#[$doc])*
                #[serde(skip_serializing_if = "Option::is_none")]
                pub $field: Option<$kind>,
            )*
        }

        impl LimitOverrides {
            /// `base` with what is given here put in its place.
            pub fn over(&self, base: Limits) -> Limits {
                Limits { $($field: self.$field.map_or(base.$field, Into::into),)* }
            }
        }
    };
}

impl From<ByteSize> for u64 {
    fn from(b: ByteSize) -> Self {
        b.0
    }
}

overrides! {
    /// Bytes, all linear memories and tables of a store together.
    memory: ByteSize,
    /// Fuel per call.
    fuel_per_call: u64,
    /// CPU milliseconds per call.
    cpu_ms_per_call: u64,
    /// Wall-clock milliseconds per call, host waits included.
    wall_ms_per_call: u64,
    /// Host calls per call.
    host_calls_per_call: u64,
    /// Bytes a guest may hand to the host in one host call.
    host_call_bytes: ByteSize,
    /// Live handles per store.
    handles: u32,
    /// Calls in flight at once.
    concurrency: u32,
    /// Bytes of a call's result.
    result_bytes: ByteSize,
    /// Bytes in the key-value namespace.
    kv_bytes: ByteSize,
    /// Bytes of notes in one namespace of the memory.
    notes_bytes: ByteSize,
    /// Log lines per minute.
    log_lines_per_minute: u32,
    /// HTTP requests per minute.
    http_requests_per_minute: u32,
    /// Bytes of one HTTP request body.
    http_request_bytes: ByteSize,
    /// Bytes of one HTTP response body, after decompression.
    http_response_bytes: ByteSize,
    /// Milliseconds a kept (warm) instance may stand idle before it is unloaded.
    warm_idle_ms: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_numbers_or_text_with_a_unit() {
        assert_eq!("64MiB".parse(), Ok(ByteSize(64 << 20)));
        assert_eq!("500 kB".parse(), Ok(ByteSize(500_000)));
        assert_eq!(serde_json::from_str::<ByteSize>("12").unwrap(), ByteSize(12));
        assert!("64 apples".parse::<ByteSize>().is_err());
        assert!("99999999999999999GiB".parse::<ByteSize>().is_err());
    }

    #[test]
    fn an_override_touches_only_what_it_names() {
        let o = LimitOverrides { memory: Some(ByteSize(1)), ..LimitOverrides::default() };
        let l = o.over(Limits::default());
        assert_eq!(l, Limits { memory: 1, ..Limits::default() });
    }
}
