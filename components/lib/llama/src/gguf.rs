//! The header of a GGUF file: metadata and where each tensor lies.
//!
//! Source: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>. Versions 2 and 3, little-endian. Nothing in a file is believed
//! before it is checked: counts are bounded by the bytes that are left, so that memory grows only with the file itself.

use crate::source::{Cursor, LoadError, Source, malformed, unsupported};
use std::collections::HashMap;

/// More than any model has; what is above is damage.
const MAX_PAIRS: u64 = 10_000;
const MAX_TENSORS: u64 = 10_000;
/// Keys and tensor names.
const MAX_NAME: u64 = 4096;
/// One text value; a chat template is some kilobytes.
const MAX_TEXT: u64 = 1 << 20;
/// An array of tokens or merges.
const MAX_ARRAY: u64 = 1 << 21;

/// Many texts in one allocation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Texts {
    bytes: Vec<u8>,
    ends: Vec<u32>,
}

impl Texts {
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn get(&self, index: usize) -> Option<&[u8]> {
        let end = *self.ends.get(index)?;
        let begin = index.checked_sub(1).and_then(|i| self.ends.get(i)).copied().unwrap_or(0);
        self.bytes.get(begin as usize..end as usize)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len()).filter_map(|i| self.get(i))
    }

    /// False when it is full (4 GiB).
    pub(crate) fn push(&mut self, text: &[u8]) -> bool {
        self.bytes.extend_from_slice(text);
        let end = u32::try_from(self.bytes.len());
        self.ends.extend(end.ok());
        end.is_ok()
    }
}

/// A metadata value. Arrays of arrays, and what else nobody here asks for, are skipped.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Bool(bool),
    Text(Vec<u8>),
    Texts(Texts),
    Numbers(Vec<i64>),
    Skipped,
}

/// How a tensor's numbers are written. <https://github.com/ggml-org/ggml/blob/master/include/ggml.h>, `enum ggml_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    F32,
    F16,
    /// 32 numbers in 18 bytes: scale (f16), then nibbles offset by 8.
    Q4_0,
    /// 32 numbers in 20 bytes: scale and minimum (f16), then nibbles.
    Q4_1,
    /// 32 numbers in 34 bytes: scale (f16), then signed bytes.
    Q8_0,
}

impl Encoding {
    fn from_code(code: u32, tensor: &str) -> Result<Self, LoadError> {
        Ok(match code {
            0 => Self::F32,
            1 => Self::F16,
            2 => Self::Q4_0,
            3 => Self::Q4_1,
            8 => Self::Q8_0,
            other => {
                return unsupported(format!(
                    "tensor `{tensor}` has the encoding number {other}; F32, F16, Q4_0, Q4_1 and Q8_0 are read"
                ));
            }
        })
    }

    /// Numbers per block.
    pub(crate) fn block(self) -> usize {
        match self {
            Self::F32 | Self::F16 => 1,
            Self::Q4_0 | Self::Q4_1 | Self::Q8_0 => 32,
        }
    }

    /// Bytes per block.
    pub(crate) fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 => 2,
            Self::Q4_0 => 18,
            Self::Q4_1 => 20,
            Self::Q8_0 => 34,
        }
    }
}

/// A tensor's place. Rows are contiguous; a vector has one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tensor {
    pub(crate) columns: usize,
    pub(crate) rows: usize,
    pub(crate) encoding: Encoding,
    /// From the file's beginning.
    pub(crate) offset: u64,
}

impl Tensor {
    /// Bytes of one row.
    pub(crate) fn row_bytes(&self) -> usize {
        self.columns / self.encoding.block() * self.encoding.bytes()
    }
}

/// What stands before the numbers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Header {
    values: HashMap<String, Value>,
    tensors: HashMap<String, Tensor>,
}

impl Header {
    pub(crate) fn read<S: Source>(cursor: &mut Cursor<'_, S>) -> Result<Self, LoadError> {
        if cursor.left() < 24 || cursor.array()? != *b"GGUF" {
            return malformed("it does not begin with `GGUF`");
        }
        let version = cursor.u32()?;
        if !(2..=3).contains(&version) {
            return unsupported(format!("GGUF version {version}; 2 and 3 are read"));
        }
        let (tensors, pairs) = (cursor.u64()?, cursor.u64()?);
        if tensors > MAX_TENSORS || pairs > MAX_PAIRS {
            return malformed(format!("it claims {tensors} tensors and {pairs} metadata values"));
        }
        let mut header = Self::default();
        for _ in 0..pairs {
            let key = name(cursor)?;
            let kind = cursor.u32()?;
            let value = value(cursor, kind, &key)?;
            header.values.insert(key, value);
        }
        let mut places = Vec::new();
        for _ in 0..tensors {
            places.push(place(cursor)?);
        }
        let alignment = header.number("general.alignment").unwrap_or(32);
        if !alignment.is_power_of_two() || alignment > 1 << 16 {
            return malformed(format!("its alignment is {alignment}"));
        }
        let data = cursor.position().next_multiple_of(alignment);
        let end = cursor.position() + cursor.left();
        for (name, mut tensor) in places {
            let size = (tensor.row_bytes() as u64).checked_mul(tensor.rows as u64);
            tensor.offset = tensor.offset.saturating_add(data);
            if size.and_then(|size| tensor.offset.checked_add(size)).is_none_or(|last| last > end) {
                return malformed(format!("tensor `{name}` lies beyond its end"));
            }
            header.tensors.insert(name, tensor);
        }
        Ok(header)
    }

    pub(crate) fn value(&self, key: &str) -> Option<&Value> {
        self.values.get(key)
    }

    /// Takes a large value out, so that it is not held twice.
    pub(crate) fn take(&mut self, key: &str) -> Option<Value> {
        self.values.remove(key)
    }

    pub(crate) fn number(&self, key: &str) -> Option<u64> {
        match self.values.get(key)? {
            Value::Unsigned(n) => Some(*n),
            Value::Signed(n) => u64::try_from(*n).ok(),
            _ => None,
        }
    }

    pub(crate) fn float(&self, key: &str) -> Option<f64> {
        match self.values.get(key)? {
            Value::Float(x) => Some(*x),
            _ => None,
        }
    }

    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        match self.values.get(key)? {
            Value::Text(text) => std::str::from_utf8(text).ok(),
            _ => None,
        }
    }

    pub(crate) fn tensor(&self, name: &str) -> Option<&Tensor> {
        self.tensors.get(name)
    }
}

/// A length-prefixed text of at most `limit` bytes.
fn text<'c, S: Source>(cursor: &'c mut Cursor<'_, S>, limit: u64, what: &str) -> Result<&'c [u8], LoadError> {
    let length = cursor.u64()?;
    match usize::try_from(length) {
        Ok(n) if length <= limit => cursor.take(n),
        _ => malformed(format!("{what} is {length} bytes long")),
    }
}

fn name<S: Source>(cursor: &mut Cursor<'_, S>) -> Result<String, LoadError> {
    let bytes = text(cursor, MAX_NAME, "a name")?;
    String::from_utf8(bytes.to_vec()).map_err(|_| LoadError::Malformed("a name is not UTF-8".into()))
}

fn value<S: Source>(cursor: &mut Cursor<'_, S>, kind: u32, key: &str) -> Result<Value, LoadError> {
    if kind == 8 {
        return Ok(Value::Text(text(cursor, MAX_TEXT, key)?.to_vec()));
    }
    if kind != 9 {
        return scalar(cursor, kind, key);
    }
    let (kind, count) = (cursor.u32()?, cursor.u64()?);
    if count > MAX_ARRAY {
        return malformed(format!("`{key}` claims {count} elements"));
    }
    match kind {
        8 => {
            let mut texts = Texts::default();
            for _ in 0..count {
                if !texts.push(text(cursor, MAX_TEXT, key)?) {
                    return malformed(format!("`{key}` is larger than 4 GiB"));
                }
            }
            Ok(Value::Texts(texts))
        }
        9 => unsupported(format!("`{key}` is an array of arrays")),
        _ => {
            let mut numbers = Vec::new();
            for _ in 0..count {
                match scalar(cursor, kind, key)? {
                    Value::Unsigned(n) => numbers.extend(i64::try_from(n).ok()),
                    Value::Signed(n) => numbers.push(n),
                    _ => {}
                }
            }
            Ok(if numbers.len() as u64 == count { Value::Numbers(numbers) } else { Value::Skipped })
        }
    }
}

fn scalar<S: Source>(cursor: &mut Cursor<'_, S>, kind: u32, key: &str) -> Result<Value, LoadError> {
    Ok(match kind {
        0 => Value::Unsigned(u8::from_le_bytes(cursor.array()?).into()),
        1 => Value::Signed(i8::from_le_bytes(cursor.array()?).into()),
        2 => Value::Unsigned(u16::from_le_bytes(cursor.array()?).into()),
        3 => Value::Signed(i16::from_le_bytes(cursor.array()?).into()),
        4 => Value::Unsigned(cursor.u32()?.into()),
        5 => Value::Signed(i32::from_le_bytes(cursor.array()?).into()),
        6 => Value::Float(f32::from_le_bytes(cursor.array()?).into()),
        7 => Value::Bool(cursor.array::<1>()? != [0]),
        10 => Value::Unsigned(cursor.u64()?),
        11 => Value::Signed(i64::from_le_bytes(cursor.array()?)),
        12 => Value::Float(f64::from_le_bytes(cursor.array()?)),
        other => return malformed(format!("`{key}` has the type number {other}, which does not exist")),
    })
}

/// A tensor's name and place, the offset still relative to the data's beginning.
fn place<S: Source>(cursor: &mut Cursor<'_, S>) -> Result<(String, Tensor), LoadError> {
    let name = name(cursor)?;
    let dimensions = cursor.u32()?;
    if !(1..=4).contains(&dimensions) {
        return malformed(format!("tensor `{name}` has {dimensions} dimensions"));
    }
    let columns = cursor.u64()?;
    let mut rows = Some(1u64);
    for _ in 1..dimensions {
        let n = cursor.u64()?;
        rows = rows.and_then(|rows| rows.checked_mul(n));
    }
    let encoding = Encoding::from_code(cursor.u32()?, &name)?;
    let offset = cursor.u64()?;
    let columns = usize::try_from(columns).ok().filter(|c| (1..=1 << 24).contains(c));
    let rows = rows.and_then(|rows| usize::try_from(rows).ok()).filter(|r| (1..=1 << 24).contains(r));
    let (Some(columns), Some(rows)) = (columns, rows) else {
        return malformed(format!("tensor `{name}` has an impossible shape"));
    };
    if columns % encoding.block() != 0 {
        return malformed(format!("tensor `{name}` has rows of {columns} numbers in blocks of {}", encoding.block()));
    }
    Ok((name, Tensor { columns, rows, encoding, offset }))
}
