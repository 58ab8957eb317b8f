//! AMQP field tables, in the order and with the types that were sent.
//!
//! Invariant: what was decoded encodes to the same bytes again. The type letters follow RabbitMQ's
//! errata to AMQP 0-9-1 section 4.2.1.

use crate::limits::TABLE_DEPTH_MAX;
use bytes::Bytes;

/// One value of a table or array.
#[derive(Clone, Debug, PartialEq)]
pub enum FieldValue {
    /// `t`
    Bool(bool),
    /// `b`
    I8(i8),
    /// `B`
    U8(u8),
    /// `s`
    I16(i16),
    /// `u`
    U16(u16),
    /// `I`
    I32(i32),
    /// `i`
    U32(u32),
    /// `l` (and `L`, which RabbitMQ reads as the same)
    I64(i64),
    /// `f`
    F32(f32),
    /// `d`
    F64(f64),
    /// `D`: digits behind the point, and the number without it
    Decimal(u8, u32),
    /// `S`
    LongString(Bytes),
    /// `x`
    Binary(Bytes),
    /// `A`
    Array(Vec<FieldValue>),
    /// `T`: seconds since 1970
    Timestamp(u64),
    /// `F`
    Table(FieldTable),
    /// `V`
    Void,
}

impl FieldValue {
    /// A long string with `text`.
    pub fn text(text: &str) -> FieldValue {
        FieldValue::LongString(Bytes::copy_from_slice(text.as_bytes()))
    }

    /// The value as a number, if it is an integer of any width.
    pub fn as_integer(&self) -> Option<i64> {
        Some(match *self {
            FieldValue::I8(n) => n.into(),
            FieldValue::U8(n) => n.into(),
            FieldValue::I16(n) => n.into(),
            FieldValue::U16(n) => n.into(),
            FieldValue::I32(n) => n.into(),
            FieldValue::U32(n) => n.into(),
            FieldValue::I64(n) => n,
            _ => return None,
        })
    }

    /// The value as text, if it is a long string of UTF-8.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            FieldValue::LongString(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    /// The value as a boolean, if it is one.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            FieldValue::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// The type's name in RabbitMQ's error texts.
    pub fn type_name(&self) -> &'static str {
        match self {
            FieldValue::Bool(_) => "bool",
            FieldValue::I8(_) => "byte",
            FieldValue::U8(_) => "unsignedbyte",
            FieldValue::I16(_) => "short",
            FieldValue::U16(_) => "unsignedshort",
            FieldValue::I32(_) => "signedint",
            FieldValue::U32(_) => "unsignedint",
            FieldValue::I64(_) => "long",
            FieldValue::F32(_) => "float",
            FieldValue::F64(_) => "double",
            FieldValue::Decimal(..) => "decimal",
            FieldValue::LongString(_) => "longstr",
            FieldValue::Binary(_) => "binary",
            FieldValue::Array(_) => "array",
            FieldValue::Timestamp(_) => "timestamp",
            FieldValue::Table(_) => "table",
            FieldValue::Void => "void",
        }
    }

    /// Appends the type letter and the value.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            FieldValue::Bool(v) => out.extend_from_slice(&[b't', u8::from(*v)]),
            FieldValue::I8(v) => out.extend_from_slice(&[b'b', v.to_be_bytes()[0]]),
            FieldValue::U8(v) => out.extend_from_slice(&[b'B', *v]),
            FieldValue::I16(v) => put(out, b's', &v.to_be_bytes()),
            FieldValue::U16(v) => put(out, b'u', &v.to_be_bytes()),
            FieldValue::I32(v) => put(out, b'I', &v.to_be_bytes()),
            FieldValue::U32(v) => put(out, b'i', &v.to_be_bytes()),
            FieldValue::I64(v) => put(out, b'l', &v.to_be_bytes()),
            FieldValue::F32(v) => put(out, b'f', &v.to_be_bytes()),
            FieldValue::F64(v) => put(out, b'd', &v.to_be_bytes()),
            FieldValue::Decimal(scale, v) => {
                out.extend_from_slice(&[b'D', *scale]);
                out.extend_from_slice(&v.to_be_bytes());
            }
            FieldValue::LongString(v) => put_long(out, b'S', v),
            FieldValue::Binary(v) => put_long(out, b'x', v),
            FieldValue::Timestamp(v) => put(out, b'T', &v.to_be_bytes()),
            FieldValue::Array(values) => {
                out.push(b'A');
                with_length(out, |out| values.iter().for_each(|value| value.encode(out)));
            }
            FieldValue::Table(table) => {
                out.push(b'F');
                table.encode(out);
            }
            FieldValue::Void => out.push(b'V'),
        }
    }
}

fn put(out: &mut Vec<u8>, letter: u8, bytes: &[u8]) {
    out.push(letter);
    out.extend_from_slice(bytes);
}

fn put_long(out: &mut Vec<u8>, letter: u8, bytes: &[u8]) {
    out.push(letter);
    out.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
    out.extend_from_slice(bytes);
}

/// Appends what `fill` writes, with its length in four bytes before it.
fn with_length(out: &mut Vec<u8>, fill: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    fill(out);
    let length = (out.len() - at - 4) as u32;
    out[at..at + 4].copy_from_slice(&length.to_be_bytes());
}

/// A table: keys with values, in order; a key may stand twice and the first one counts.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct FieldTable {
    entries: Vec<(Box<str>, FieldValue)>,
}

/// A table that cannot be read: where and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableError {
    /// What was wrong.
    pub reason: &'static str,
}

impl FieldTable {
    /// An empty table.
    pub fn new() -> FieldTable {
        FieldTable::default()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// The first value under `key`.
    pub fn get(&self, key: &str) -> Option<&FieldValue> {
        self.entries.iter().find(|(k, _)| &**k == key).map(|(_, value)| value)
    }

    /// Puts `value` under `key`: in the old place if there was one, else at the end.
    pub fn insert(&mut self, key: &str, value: FieldValue) {
        match self.entries.iter_mut().find(|(k, _)| &**k == key) {
            Some(entry) => entry.1 = value,
            None => self.entries.push((key.into(), value)),
        }
    }

    /// Takes the first value under `key` out.
    pub fn remove(&mut self, key: &str) -> Option<FieldValue> {
        let at = self.entries.iter().position(|(k, _)| &**k == key)?;
        Some(self.entries.remove(at).1)
    }

    /// Entries in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &FieldValue)> {
        self.entries.iter().map(|(key, value)| (&**key, value))
    }

    /// Appends the table with its length in front.
    pub fn encode(&self, out: &mut Vec<u8>) {
        with_length(out, |out| {
            for (key, value) in &self.entries {
                out.push(key.len() as u8);
                out.extend_from_slice(key.as_bytes());
                value.encode(out);
            }
        });
    }

    /// Reads a table with its length in front; gives the rest of `bytes` too.
    pub fn decode(bytes: &[u8]) -> Result<(FieldTable, &[u8]), TableError> {
        decode_table(bytes, 0)
    }
}

impl<'a> FromIterator<(&'a str, FieldValue)> for FieldTable {
    fn from_iter<I: IntoIterator<Item = (&'a str, FieldValue)>>(entries: I) -> FieldTable {
        FieldTable { entries: entries.into_iter().map(|(key, value)| (key.into(), value)).collect() }
    }
}

fn decode_table(bytes: &[u8], depth: usize) -> Result<(FieldTable, &[u8]), TableError> {
    if depth > TABLE_DEPTH_MAX {
        return Err(TableError { reason: "table nested too deep" });
    }
    let (mut inner, rest) = take_long(bytes)?;
    let mut table = FieldTable::new();
    while let Some((&length, tail)) = inner.split_first() {
        let (key, tail) = take(tail, length.into())?;
        let key = std::str::from_utf8(key).map_err(|_| TableError { reason: "table key is not UTF-8" })?;
        let (value, tail) = decode_value(tail, depth)?;
        table.entries.push((key.into(), value));
        inner = tail;
    }
    Ok((table, rest))
}

fn take(bytes: &[u8], count: usize) -> Result<(&[u8], &[u8]), TableError> {
    bytes.split_at_checked(count).ok_or(TableError { reason: "table is cut short" })
}

fn take_array<const N: usize>(bytes: &[u8]) -> Result<([u8; N], &[u8]), TableError> {
    let (head, rest) = bytes.split_first_chunk::<N>().ok_or(TableError { reason: "table is cut short" })?;
    Ok((*head, rest))
}

fn take_long(bytes: &[u8]) -> Result<(&[u8], &[u8]), TableError> {
    let (length, rest) = take_array::<4>(bytes)?;
    take(rest, u32::from_be_bytes(length) as usize)
}

fn decode_value(bytes: &[u8], depth: usize) -> Result<(FieldValue, &[u8]), TableError> {
    let ([letter], rest) = take_array::<1>(bytes)?;
    macro_rules! number {
        ($variant:ident, $type:ty) => {{
            let (raw, rest) = take_array(rest)?;
            (FieldValue::$variant(<$type>::from_be_bytes(raw)), rest)
        }};
    }
    Ok(match letter {
        b't' => {
            let ([value], rest) = take_array::<1>(rest)?;
            (FieldValue::Bool(value != 0), rest)
        }
        b'b' => number!(I8, i8),
        b'B' => number!(U8, u8),
        b's' => number!(I16, i16),
        b'u' => number!(U16, u16),
        b'I' => number!(I32, i32),
        b'i' => number!(U32, u32),
        b'l' | b'L' => number!(I64, i64),
        b'f' => number!(F32, f32),
        b'd' => number!(F64, f64),
        b'T' => number!(Timestamp, u64),
        b'D' => {
            let ([scale], rest) = take_array::<1>(rest)?;
            let (raw, rest) = take_array(rest)?;
            (FieldValue::Decimal(scale, u32::from_be_bytes(raw)), rest)
        }
        b'S' | b'x' => {
            let (value, rest) = take_long(rest)?;
            let value = Bytes::copy_from_slice(value);
            (if letter == b'S' { FieldValue::LongString(value) } else { FieldValue::Binary(value) }, rest)
        }
        b'A' => {
            if depth >= TABLE_DEPTH_MAX {
                return Err(TableError { reason: "table nested too deep" });
            }
            let (mut inner, rest) = take_long(rest)?;
            let mut values = Vec::new();
            while !inner.is_empty() {
                let (value, tail) = decode_value(inner, depth + 1)?;
                values.push(value);
                inner = tail;
            }
            (FieldValue::Array(values), rest)
        }
        b'F' => {
            let (table, rest) = decode_table(rest, depth + 1)?;
            (FieldValue::Table(table), rest)
        }
        b'V' => (FieldValue::Void, rest),
        _ => return Err(TableError { reason: "unknown field type" }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every_type() -> FieldTable {
        let inner: FieldTable = [("k", FieldValue::Void), ("z", FieldValue::I8(-3))].into_iter().collect();
        [
            ("bool", FieldValue::Bool(true)),
            ("i8", FieldValue::I8(-1)),
            ("u8", FieldValue::U8(200)),
            ("i16", FieldValue::I16(-300)),
            ("u16", FieldValue::U16(60_000)),
            ("i32", FieldValue::I32(-70_000)),
            ("u32", FieldValue::U32(4_000_000_000)),
            ("i64", FieldValue::I64(i64::MIN)),
            ("f32", FieldValue::F32(1.5)),
            ("f64", FieldValue::F64(-2.25)),
            ("decimal", FieldValue::Decimal(2, 12345)),
            ("text", FieldValue::text("héllo")),
            ("bytes", FieldValue::Binary(Bytes::from_static(&[0, 255]))),
            ("array", FieldValue::Array(vec![FieldValue::I32(1), FieldValue::Table(inner.clone())])),
            ("time", FieldValue::Timestamp(1_700_000_000)),
            ("table", FieldValue::Table(inner)),
            ("void", FieldValue::Void),
        ]
        .into_iter()
        .collect()
    }

    #[test]
    fn every_type_comes_back_byte_for_byte() {
        let mut bytes = Vec::new();
        every_type().encode(&mut bytes);
        bytes.push(77);
        let (table, rest) = FieldTable::decode(&bytes).unwrap();
        assert_eq!(table, every_type());
        assert_eq!(rest, [77]);
        let mut again = Vec::new();
        table.encode(&mut again);
        assert_eq!(again, bytes[..bytes.len() - 1]);
    }

    #[test]
    fn every_cut_of_a_table_is_an_error() {
        let mut bytes = Vec::new();
        every_type().encode(&mut bytes);
        for end in 0..bytes.len() {
            assert!(FieldTable::decode(&bytes[..end]).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let mut bytes = vec![0, 0, 0, 0];
        for _ in 0..TABLE_DEPTH_MAX + 2 {
            let mut outer = Vec::new();
            outer.extend_from_slice(&(bytes.len() as u32 + 3).to_be_bytes());
            outer.extend_from_slice(&[1, b'k', b'F']);
            outer.extend_from_slice(&bytes);
            bytes = outer;
        }
        assert_eq!(FieldTable::decode(&bytes).unwrap_err().reason, "table nested too deep");
    }
}
