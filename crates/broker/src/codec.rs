//! Fields of on-disk forms: numbers little-endian, lengths and counts as varints (LEB128).
//!
//! Invariant: reading never panics and never sets memory aside for more than the bytes that are there. A
//! field has one encoding only (values within a field table aside), so what was read encodes to the same
//! bytes.

use std::borrow::Cow;
use std::fmt;
use types::FieldTable;

/// Most bytes of a varint: 64 bits in groups of seven.
const VARINT_BYTES_MAX: usize = 10;
/// Marks a varint's byte that is not its last.
const MORE: u8 = 0x80;

/// Bytes that are not what they should be: where and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodeError {
    /// Where the refused field begins, in bytes from the start.
    pub at: usize,
    /// What is wrong with it.
    pub reason: Cow<'static, str>,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.reason, self.at)
    }
}

impl std::error::Error for DecodeError {}

/// Reads fields one after the other.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes, at: 0 }
    }

    /// How many bytes were read.
    pub(crate) fn position(&self) -> usize {
        self.at
    }

    fn left(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// An error about the field that began at `at`.
    pub(crate) fn refuse<T>(
        &self,
        at: usize,
        reason: impl Into<Cow<'static, str>>,
    ) -> Result<T, DecodeError> {
        Err(DecodeError { at, reason: reason.into() })
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let Some((head, _)) = self.left().split_first_chunk::<N>() else {
            return self.refuse(self.at, "cut short");
        };
        self.at += N;
        Ok(*head)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_le_bytes)
    }

    pub(crate) fn i64(&mut self) -> Result<i64, DecodeError> {
        self.array().map(i64::from_le_bytes)
    }

    pub(crate) fn varint(&mut self) -> Result<u64, DecodeError> {
        let start = self.at;
        let mut value = 0u64;
        for place in 0..VARINT_BYTES_MAX {
            let byte = self.u8()?;
            let group = u64::from(byte & !MORE);
            let shift = 7 * place as u32;
            if group.leading_zeros() < shift {
                return self.refuse(start, "number above 64 bits");
            }
            value |= group << shift;
            if byte & MORE == 0 {
                if byte == 0 && place > 0 {
                    return self.refuse(start, "number longer than need be");
                }
                return Ok(value);
            }
        }
        self.refuse(start, "number above 64 bits")
    }

    /// A number of things that take at least `each` bytes, so there is room for that many.
    pub(crate) fn count(&mut self, each: usize) -> Result<usize, DecodeError> {
        let start = self.at;
        let count = self.varint()?;
        let most = self.left().len() / each.max(1);
        match usize::try_from(count).ok().filter(|&count| count <= most) {
            Some(count) => Ok(count),
            None => self.refuse(start, format!("{count} things announced, room for {most}")),
        }
    }

    /// The next `length` bytes.
    pub(crate) fn bytes(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        self.announced(self.at, length as u64)
    }

    /// The next `length` bytes, as many as the field at `start` says.
    fn announced(&mut self, start: usize, length: u64) -> Result<&'a [u8], DecodeError> {
        let left = self.left();
        match usize::try_from(length).ok().and_then(|length| left.get(..length)) {
            Some(bytes) => {
                self.at += bytes.len();
                Ok(bytes)
            }
            None => self.refuse(start, format!("{length} bytes announced, {} there", left.len())),
        }
    }

    /// Bytes with their length in front.
    pub(crate) fn sized(&mut self) -> Result<&'a [u8], DecodeError> {
        let start = self.at;
        let length = self.varint()?;
        self.announced(start, length)
    }

    /// UTF-8 with its length in front.
    pub(crate) fn text(&mut self) -> Result<&'a str, DecodeError> {
        let start = self.at;
        let bytes = self.sized()?;
        std::str::from_utf8(bytes).or_else(|_| self.refuse(start, "text is not UTF-8"))
    }

    pub(crate) fn bool(&mut self) -> Result<bool, DecodeError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            other => self.refuse(self.at - 1, format!("{other} is neither yes nor no")),
        }
    }

    /// A value that may be missing: whether it is there, then it.
    pub(crate) fn option<T>(
        &mut self,
        read: impl FnOnce(&mut Reader<'a>) -> Result<T, DecodeError>,
    ) -> Result<Option<T>, DecodeError> {
        if self.bool()? { read(self).map(Some) } else { Ok(None) }
    }

    /// A field table in its AMQP encoding.
    pub(crate) fn table(&mut self) -> Result<FieldTable, DecodeError> {
        let left = self.left();
        match FieldTable::decode(left) {
            Ok((table, rest)) => {
                self.at += left.len() - rest.len();
                Ok(table)
            }
            Err(error) => self.refuse(self.at, error.reason),
        }
    }

    /// Refuses what is left.
    pub(crate) fn finish(self) -> Result<(), DecodeError> {
        match self.left().len() {
            0 => Ok(()),
            left => self.refuse(self.at, format!("{left} bytes too many")),
        }
    }
}

pub(crate) fn put_u16(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_le_bytes());
}

pub(crate) fn put_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_le_bytes());
}

pub(crate) fn put_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_le_bytes());
}

pub(crate) fn put_i64(out: &mut Vec<u8>, value: i64) {
    out.extend_from_slice(&value.to_le_bytes());
}

pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= u64::from(MORE) {
        out.push(value as u8 | MORE);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A count of things that follow.
pub(crate) fn put_count(out: &mut Vec<u8>, count: usize) {
    put_varint(out, count as u64);
}

/// Bytes with their length in front.
pub(crate) fn put_sized(out: &mut Vec<u8>, bytes: &[u8]) {
    put_count(out, bytes.len());
    out.extend_from_slice(bytes);
}

pub(crate) fn put_text(out: &mut Vec<u8>, text: &str) {
    put_sized(out, text.as_bytes());
}

pub(crate) fn put_bool(out: &mut Vec<u8>, value: bool) {
    out.push(value.into());
}

/// Whether the value is there, then it.
pub(crate) fn put_option<T>(out: &mut Vec<u8>, value: Option<T>, put: impl FnOnce(&mut Vec<u8>, T)) {
    put_bool(out, value.is_some());
    if let Some(value) = value {
        put(out, value);
    }
}

pub(crate) fn put_table(out: &mut Vec<u8>, table: &FieldTable) {
    table.encode(out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use types::FieldValue;

    fn table() -> FieldTable {
        [("a", FieldValue::I32(-1)), ("b", FieldValue::text("x"))].into_iter().collect()
    }

    fn all_fields() -> Vec<u8> {
        let mut out = vec![7];
        put_u16(&mut out, 0x0102);
        put_u32(&mut out, 0x0102_0304);
        put_u64(&mut out, u64::MAX - 1);
        put_i64(&mut out, -5);
        put_varint(&mut out, 300);
        put_text(&mut out, "héllo");
        put_bool(&mut out, true);
        put_option(&mut out, Some("y"), put_text);
        put_option(&mut out, None, put_text);
        put_table(&mut out, &table());
        out
    }

    fn read_all(bytes: &[u8]) -> Result<(), DecodeError> {
        let mut reader = Reader::new(bytes);
        assert_eq!(reader.u8()?, 7);
        assert_eq!(reader.u16()?, 0x0102);
        assert_eq!(reader.u32()?, 0x0102_0304);
        assert_eq!(reader.u64()?, u64::MAX - 1);
        assert_eq!(reader.i64()?, -5);
        assert_eq!(reader.varint()?, 300);
        assert_eq!(reader.text()?, "héllo");
        assert!(reader.bool()?);
        assert_eq!(reader.option(Reader::text)?, Some("y"));
        assert_eq!(reader.option(Reader::text)?, None);
        assert_eq!(reader.table()?, table());
        assert_eq!(reader.position(), bytes.len());
        reader.finish()
    }

    #[test]
    fn every_field_comes_back_and_every_cut_is_an_error() {
        let bytes = all_fields();
        assert_eq!(bytes[1..3], [2, 1]);
        read_all(&bytes).unwrap();
        for end in 0..bytes.len() {
            assert!(read_all(&bytes[..end]).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn refusals_say_what_and_where() {
        let told = |bytes: &[u8], read: fn(&mut Reader<'_>) -> Result<(), DecodeError>| {
            let mut reader = Reader::new(bytes);
            read(&mut reader).unwrap_err().to_string()
        };
        let text = |reader: &mut Reader<'_>| reader.u8().and_then(|_| reader.text()).map(|_| ());
        assert_eq!(told(&[0, 1, 0xff], text), "text is not UTF-8 at byte 1");
        assert_eq!(told(&[0, 9, b'a'], text), "9 bytes announced, 1 there at byte 1");
        assert_eq!(told(&[2], |reader| reader.bool().map(|_| ())), "2 is neither yes nor no at byte 0");
        assert_eq!(told(&[1, 2, 3], |reader| reader.u32().map(|_| ())), "cut short at byte 0");
        assert_eq!(told(&[1, 2], |reader| reader.clone().finish()), "2 bytes too many at byte 0");
        assert_eq!(
            told(&[4, 0], |reader| reader.bytes(3).map(|_| ())),
            "3 bytes announced, 2 there at byte 0"
        );
        assert_eq!(told(&[0, 0, 0, 9], |reader| reader.table().map(|_| ())), "table is cut short at byte 0");
        assert_eq!(
            told(&[0x80, 0], |reader| reader.varint().map(|_| ())),
            "number longer than need be at byte 0"
        );
        let above = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2];
        assert_eq!(told(&above, |reader| reader.varint().map(|_| ())), "number above 64 bits at byte 0");
        assert_eq!(told(&[0xff; 20], |reader| reader.varint().map(|_| ())), "number above 64 bits at byte 0");
        assert_eq!(
            told(&[3, 0, 0], |reader| reader.count(1).map(|_| ())),
            "3 things announced, room for 2 at byte 0"
        );
    }

    proptest! {
        #[test]
        fn varints_come_back(value in any::<u64>(), shift in 0..64u32) {
            for value in [value >> shift, u64::MAX >> shift, 1 << shift] {
                let mut out = Vec::new();
                put_varint(&mut out, value);
                prop_assert!(out.len() <= VARINT_BYTES_MAX);
                let mut reader = Reader::new(&out);
                prop_assert_eq!(reader.varint().unwrap(), value);
                reader.finish().unwrap();
            }
        }

        #[test]
        fn a_varint_has_one_encoding(bytes in prop::collection::vec(any::<u8>(), 0..12)) {
            let mut reader = Reader::new(&bytes);
            if let Ok(value) = reader.varint() {
                let mut out = Vec::new();
                put_varint(&mut out, value);
                prop_assert_eq!(&out[..], &bytes[..reader.position()]);
            }
        }
    }
}
