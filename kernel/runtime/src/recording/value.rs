//! Values of the contract as JSON, by the contract's own names: the bindings' types are in Rust's.
//!
//! `Note { updated_ms, .. }` is `{"updated-ms": …}`, `Error::NotFound("x")` is `{"not-found": "x"}`, bytes are `{"text": …}` or, if they are
//! no text, `{"base64": …}`, and no bytes at all are `[]`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, VariantAccess, Visitor,
};
use serde::ser::{
    SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple, SerializeTupleStruct,
    SerializeTupleVariant, Serializer,
};
use serde_json::{Error, Map, Number, Value};

/// A value as JSON.
pub(crate) fn of<T: Serialize + ?Sized>(value: &T) -> Value {
    // The contract's types have no map with other keys than texts, and nothing else can fail.
    value.serialize(Json).map_or(Value::Null, Out::value)
}

/// A value back from JSON.
pub(crate) fn from<T: DeserializeOwned>(value: &Value) -> Result<T, Error> {
    T::deserialize(Read(value))
}

/// `updated_ms` and `NotFound` as the contract has them.
pub(crate) fn kebab(rust: &str) -> String {
    let mut name = String::with_capacity(rust.len() + 4);
    for c in rust.chars() {
        match c {
            '_' => name.push('-'),
            c if c.is_ascii_uppercase() => {
                if !name.is_empty() {
                    name.push('-');
                }
                name.push(c.to_ascii_lowercase());
            }
            c => name.push(c),
        }
    }
    name
}

/// Bytes as text where they are one.
pub(crate) fn bytes(bytes: &[u8]) -> Value {
    if bytes.is_empty() {
        return Value::Array(Vec::new());
    }
    let (key, text) = match std::str::from_utf8(bytes) {
        Ok(text) => ("text", text.to_owned()),
        Err(_) => ("base64", STANDARD.encode(bytes)),
    };
    one(key, Value::String(text))
}

fn wrong(text: impl std::fmt::Display) -> Error {
    <Error as serde::de::Error>::custom(text)
}

fn one(key: &str, value: Value) -> Value {
    Value::Object(Map::from_iter([(key.to_owned(), value)]))
}

struct Json;

/// A byte is a number only if it does not stand in a list.
enum Out {
    Byte(u8),
    Other(Value),
}

impl Out {
    fn value(self) -> Value {
        match self {
            Self::Byte(byte) => Value::Number(byte.into()),
            Self::Other(value) => value,
        }
    }
}

/// A list while it is written.
#[derive(Default)]
struct List {
    bytes: Vec<u8>,
    values: Vec<Value>,
    /// Whose payload it is.
    case: Option<String>,
}

/// A record while it is written.
#[derive(Default)]
struct Record {
    fields: Map<String, Value>,
    case: Option<String>,
    key: String,
}

impl List {
    fn add<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        match value.serialize(Json)? {
            Out::Byte(byte) if self.values.is_empty() => self.bytes.push(byte),
            other => self.values.push(other.value()),
        }
        Ok(())
    }
    fn done(self) -> Result<Out, Error> {
        let list = if self.values.is_empty() { bytes(&self.bytes) } else { Value::Array(self.values) };
        Ok(Out::Other(wrapped(self.case, list)))
    }
}

impl Record {
    fn add<T: Serialize + ?Sized>(&mut self, key: &str, value: &T) -> Result<(), Error> {
        self.fields.insert(kebab(key), value.serialize(Json)?.value());
        Ok(())
    }
    fn done(self) -> Result<Out, Error> {
        Ok(Out::Other(wrapped(self.case, Value::Object(self.fields))))
    }
}

fn wrapped(case: Option<String>, value: Value) -> Value {
    match case {
        Some(case) => one(&case, value),
        None => value,
    }
}

macro_rules! scalars {
    ($($name:ident: $ty:ty),*) => {$(
        fn $name(self, v: $ty) -> Result<Out, Error> {
            Ok(Out::Other(v.into()))
        }
    )*};
}

impl Serializer for Json {
    type Ok = Out;
    type Error = Error;
    type SerializeSeq = List;
    type SerializeTuple = List;
    type SerializeTupleStruct = List;
    type SerializeTupleVariant = List;
    type SerializeMap = Record;
    type SerializeStruct = Record;
    type SerializeStructVariant = Record;

    scalars! {
        serialize_bool: bool, serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64,
        serialize_u16: u16, serialize_u32: u32, serialize_u64: u64, serialize_str: &str
    }
    fn serialize_u8(self, v: u8) -> Result<Out, Error> {
        Ok(Out::Byte(v))
    }
    fn serialize_f32(self, v: f32) -> Result<Out, Error> {
        self.serialize_f64(v.into())
    }
    fn serialize_f64(self, v: f64) -> Result<Out, Error> {
        // Neither infinity nor what is no number has a form in JSON.
        Ok(Out::Other(Number::from_f64(v).map_or_else(|| Value::String(v.to_string()), Value::Number)))
    }
    fn serialize_char(self, v: char) -> Result<Out, Error> {
        Ok(Out::Other(v.to_string().into()))
    }
    fn serialize_bytes(self, v: &[u8]) -> Result<Out, Error> {
        Ok(Out::Other(bytes(v)))
    }
    fn serialize_none(self) -> Result<Out, Error> {
        Ok(Out::Other(Value::Null))
    }
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Out, Error> {
        value.serialize(self)
    }
    fn serialize_unit(self) -> Result<Out, Error> {
        Ok(Out::Other(Value::Null))
    }
    fn serialize_unit_struct(self, _: &'static str) -> Result<Out, Error> {
        Ok(Out::Other(Value::Null))
    }
    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<Out, Error> {
        Ok(Out::Other(kebab(variant).into()))
    }
    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<Out, Error> {
        value.serialize(self)
    }
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<Out, Error> {
        Ok(Out::Other(one(&kebab(variant), value.serialize(Self)?.value())))
    }
    fn serialize_seq(self, _: Option<usize>) -> Result<List, Error> {
        Ok(List::default())
    }
    fn serialize_tuple(self, _: usize) -> Result<List, Error> {
        Ok(List::default())
    }
    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<List, Error> {
        Ok(List::default())
    }
    fn serialize_tuple_variant(self, _: &'static str, _: u32, variant: &'static str, _: usize) -> Result<List, Error> {
        Ok(List { case: Some(kebab(variant)), ..List::default() })
    }
    fn serialize_map(self, _: Option<usize>) -> Result<Record, Error> {
        Ok(Record::default())
    }
    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Record, Error> {
        Ok(Record::default())
    }
    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Record, Error> {
        Ok(Record { case: Some(kebab(variant)), ..Record::default() })
    }
}

macro_rules! compound {
    ($($builder:ident: $trait:ident $add:ident($($key:ident)?);)*) => {$(
        impl $trait for $builder {
            type Ok = Out;
            type Error = Error;
            fn $add<T: Serialize + ?Sized>(&mut self, $($key: &'static str,)? value: &T) -> Result<(), Error> {
                self.add($($key,)? value)
            }
            fn end(self) -> Result<Out, Error> {
                self.done()
            }
        }
    )*};
}

compound! {
    List: SerializeSeq serialize_element();
    List: SerializeTuple serialize_element();
    List: SerializeTupleStruct serialize_field();
    List: SerializeTupleVariant serialize_field();
    Record: SerializeStruct serialize_field(key);
    Record: SerializeStructVariant serialize_field(key);
}

impl SerializeMap for Record {
    type Ok = Out;
    type Error = Error;
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Error> {
        match key.serialize(Json)?.value() {
            Value::String(key) => self.key = key,
            other => return Err(wrong(format!("`{other}` is not a name"))),
        }
        Ok(())
    }
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        self.fields.insert(std::mem::take(&mut self.key), value.serialize(Json)?.value());
        Ok(())
    }
    fn end(self) -> Result<Out, Error> {
        self.done()
    }
}

/// Reads the same.
struct Read<'de>(&'de Value);

impl<'de> IntoDeserializer<'de, Error> for Read<'de> {
    type Deserializer = Self;
    fn into_deserializer(self) -> Self {
        self
    }
}

/// The bytes of `{"text"}` or `{"base64"}`.
fn read_bytes(fields: &Map<String, Value>) -> Result<Vec<u8>, Error> {
    let text = |key: &str| fields.get(key).and_then(Value::as_str).filter(|_| fields.len() == 1);
    if let Some(text) = text("text") {
        return Ok(text.as_bytes().to_vec());
    }
    let coded = text("base64").ok_or_else(|| wrong("bytes are {\"text\": …} or {\"base64\": …}"))?;
    STANDARD.decode(coded).map_err(wrong)
}

impl<'de> Deserializer<'de> for Read<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Bool(v) => visitor.visit_bool(*v),
            Value::Number(n) => match (n.as_u64(), n.as_i64()) {
                (Some(n), _) => visitor.visit_u64(n),
                (None, Some(n)) => visitor.visit_i64(n),
                (None, None) => visitor.visit_f64(n.as_f64().unwrap_or_default()),
            },
            Value::String(text) => visitor.visit_borrowed_str(text),
            Value::Array(items) => visitor.visit_seq(SeqDeserializer::new(items.iter().map(Read))),
            Value::Object(fields) => {
                visitor.visit_map(MapDeserializer::new(fields.iter().map(|(k, v)| (k.as_str(), Read(v)))))
            }
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.0.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Object(fields) => {
                visitor.visit_seq(SeqDeserializer::<_, Error>::new(read_bytes(fields)?.into_iter()))
            }
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let number = self.0.as_f64().or_else(|| self.0.as_str()?.parse().ok());
        visitor.visit_f64(number.ok_or_else(|| wrong("a number is expected"))?)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let Value::Object(given) = self.0 else { return Err(wrong("a record is an object")) };
        let named = |(key, value): (&'de String, &'de Value)| {
            let field = fields.iter().find(|f| kebab(f) == *key);
            (field.map_or(key.as_str(), |f| *f), Read(value))
        };
        visitor.visit_map(MapDeserializer::new(given.iter().map(named)))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let (case, payload) = match self.0 {
            Value::String(case) => (case, &Value::Null),
            Value::Object(fields) if fields.len() == 1 => match fields.iter().next() {
                Some((case, payload)) => (case, payload),
                None => return Err(wrong("a case has a name")),
            },
            _ => return Err(wrong("a case is its name, or an object of its name and its payload")),
        };
        let known = variants.iter().find(|v| kebab(v) == *case);
        let known = known.ok_or_else(|| wrong(format!("there is no case `{case}`")))?;
        visitor.visit_enum(Case { name: known, payload })
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 char str string bytes byte_buf unit unit_struct tuple tuple_struct map
        identifier ignored_any
    }
}

struct Case<'de> {
    name: &'static str,
    payload: &'de Value,
}

impl<'de> EnumAccess<'de> for Case<'de> {
    type Error = Error;
    type Variant = Read<'de>;
    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Read<'de>), Error> {
        let name: serde::de::value::StrDeserializer<'_, Error> = self.name.into_deserializer();
        Ok((seed.deserialize(name)?, Read(self.payload)))
    }
}

impl<'de> VariantAccess<'de> for Read<'de> {
    type Error = Error;
    fn unit_variant(self) -> Result<(), Error> {
        Ok(())
    }
    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Error> {
        seed.deserialize(self)
    }
    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_any(visitor)
    }
    fn struct_variant<V: Visitor<'de>>(self, fields: &'static [&'static str], visitor: V) -> Result<V::Value, Error> {
        self.deserialize_struct("", fields, visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bindings::{completion, http, kv, provider, types};
    use serde_json::json;

    fn both<T: Serialize + DeserializeOwned>(value: T, written: Value) {
        assert_eq!(of(&value), written);
        let read: T = from(&written).unwrap();
        assert_eq!(of(&read), written);
    }

    #[test]
    fn names_are_the_contracts() {
        let error = types::Error::NotFound("x".into());
        both::<Result<Option<kv::Entry>, types::Error>>(Err(error), json!({ "err": { "not-found": "x" } }));
        both::<Result<(), types::Error>>(Err(types::Error::Cancelled), json!({ "err": "cancelled" }));
        both::<Result<(), types::Error>>(Ok(()), json!({ "ok": null }));
        let usage = completion::Usage { input: 9, output: u64::MAX, cached_input: 0, reasoning: 0, extra: Vec::new() };
        both(
            completion::Event::Usage(usage),
            json!({ "usage": { "input": 9, "output": u64::MAX, "cached-input": 0, "reasoning": 0, "extra": [] } }),
        );
        both(completion::Event::Other(("a".into(), "b".into())), json!({ "other": ["a", "b"] }));
        both(provider::ToolChoice::Named("t".into()), json!({ "named": "t" }));
        both(provider::FailureKind::RateLimited, json!("rate-limited"));
    }

    #[test]
    fn bytes_are_text_where_they_are_one() {
        let entry = |value: &[u8]| Some(kv::Entry { value: value.to_vec(), version: 2 });
        both(entry(b"h\xc3\xa9"), json!({ "value": { "text": "hé" }, "version": 2 }));
        both(entry(b"\xff\x00"), json!({ "value": { "base64": "/wA=" }, "version": 2 }));
        both(entry(b""), json!({ "value": [], "version": 2 }));
        both(None::<kv::Entry>, Value::Null);
    }

    #[test]
    fn a_request_is_read_back_as_it_was() {
        let request = http::Request {
            method: "POST".into(),
            target: http::Target::Endpoint(("api".into(), "/chat".into())),
            headers: vec![("accept".into(), "text/plain".into())],
            body: http::Body::Bytes(b"{}".to_vec()),
            timeout_ms: Some(5),
            extra: Vec::new(),
        };
        let written = json!({ "method": "POST", "target": { "endpoint": ["api", "/chat"] },
            "headers": [["accept", "text/plain"]], "body": { "bytes": { "text": "{}" } }, "timeout-ms": 5, "extra": [] });
        both(request, written);
        both(http::Body::None, json!("none"));
    }

    #[test]
    fn what_is_not_of_the_type_is_refused_by_name() {
        let wrong = |value: Value| from::<Result<kv::Entry, types::Error>>(&value).unwrap_err().to_string();
        assert!(wrong(json!({ "maybe": 1 })).contains("no case `maybe`"));
        assert!(wrong(json!({ "ok": { "value": [] } })).contains("version"));
        assert!(wrong(json!({ "ok": { "value": { "hex": "00" }, "version": 1 } })).contains("base64"));
    }
}
