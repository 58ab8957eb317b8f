//! The properties of a message, taken apart so that two can be compared whatever the order of their headers.
//!
//! Invariant: values stay the bytes they are on the wire; bytes that are no properties become an error.

use super::read::Reader;
use crate::error::{Error, Result};

/// Bits of the flags word.
pub const CONTENT_TYPE: u16 = 1 << 15;
pub const HEADERS: u16 = 1 << 13;
pub const DELIVERY_MODE: u16 = 1 << 12;
pub const PRIORITY: u16 = 1 << 11;
pub const CORRELATION_ID: u16 = 1 << 10;
pub const EXPIRATION: u16 = 1 << 8;
pub const MESSAGE_ID: u16 = 1 << 7;
pub const TIMESTAMP: u16 = 1 << 6;
pub const APP_ID: u16 = 1 << 3;

/// One field of a header table: its name, its type and its value's bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Field {
    pub name: String,
    pub kind: u8,
    pub value: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Properties {
    /// Flag and value of each property but the headers.
    pub values: Vec<(u16, Vec<u8>)>,
    /// Sorted by name.
    pub headers: Vec<Field>,
}

impl Properties {
    /// From the flags word on to the end of the content header.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(bytes);
        let flags = reader.u16()?;
        if flags & 0b11 != 0 {
            return Err(Error::Protocol(format!("property flags {flags:#06x}, of which none are known")));
        }
        let mut properties = Self::default();
        for bit in (2..16).rev().map(|shift| 1_u16 << shift).filter(|bit| flags & bit != 0) {
            match bit {
                HEADERS => properties.headers = table(&mut reader)?,
                DELIVERY_MODE | PRIORITY => properties.values.push((bit, reader.take(1)?.to_vec())),
                TIMESTAMP => properties.values.push((bit, reader.take(8)?.to_vec())),
                _ => {
                    let length = usize::from(reader.u8()?);
                    properties.values.push((bit, reader.take(length)?.to_vec()));
                }
            }
        }
        properties.headers.sort();
        if reader.rest().is_empty() {
            Ok(properties)
        } else {
            Err(Error::Protocol("bytes behind the last property".into()))
        }
    }

    pub fn value(&self, bit: u16) -> Option<&[u8]> {
        self.values.iter().find(|(at, _)| *at == bit).map(|(_, value)| value.as_slice())
    }

    /// Takes a header out; gives it as a number when it is one.
    pub fn take_number(&mut self, name: &str) -> Option<u64> {
        let at = self.headers.iter().position(|field| field.name == name)?;
        let field = self.headers.remove(at);
        Some(field.value.iter().fold(0, |sum: u64, byte| sum << 8 | u64::from(*byte)))
    }
}

fn table(reader: &mut Reader<'_>) -> Result<Vec<Field>> {
    let bytes = reader.u32()? as usize;
    let mut inner = Reader::new(reader.take(bytes)?);
    let mut fields = Vec::new();
    while !inner.rest().is_empty() {
        let name = inner.short()?;
        let kind = inner.u8()?;
        let length = value_bytes(kind, &inner)?;
        fields.push(Field { name, kind, value: inner.take(length)?.to_vec() });
    }
    Ok(fields)
}

/// How many bytes the value takes that the reader stands at.
fn value_bytes(kind: u8, reader: &Reader<'_>) -> Result<usize> {
    Ok(match kind {
        b'V' => 0,
        b't' | b'b' | b'B' => 1,
        b's' | b'u' => 2,
        b'I' | b'i' | b'f' => 4,
        b'D' => 5,
        b'l' | b'd' | b'T' | b'L' => 8,
        b'S' | b'F' | b'A' | b'x' => 4 + Reader::new(reader.rest()).u32()? as usize,
        other => return Err(Error::Protocol(format!("a header of the unknown type {other}"))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::encode::Args;

    fn properties(names: [&str; 2]) -> Vec<u8> {
        let mut bytes = Vec::new();
        Args::to(&mut bytes).u16(CONTENT_TYPE | HEADERS | DELIVERY_MODE | TIMESTAMP).short("a/b").table(
            |table| {
                for name in names {
                    table.long(name, 7);
                }
                table.nothing("nothing").table("inner", |inner| {
                    inner.flag("f", true);
                });
            },
        );
        Args::to(&mut bytes).u8(2).u64(99);
        bytes
    }

    #[test]
    fn the_order_of_headers_does_not_matter() {
        let parse = |names| Properties::parse(&properties(names)).expect("correct properties");
        assert_eq!(parse(["x", "y"]), parse(["y", "x"]));
        assert_ne!(parse(["x", "y"]), parse(["x", "z"]));
        let mut one = parse(["x", "y"]);
        assert_eq!(one.value(CONTENT_TYPE), Some(b"a/b".as_slice()));
        assert_eq!(one.value(MESSAGE_ID), None);
        assert_eq!((one.take_number("y"), one.take_number("y")), (Some(7), None));
        assert_eq!(one.headers.len(), 3);
    }

    #[test]
    fn cut_or_longer_properties_are_errors() {
        let bytes = properties(["x", "y"]);
        for length in 0..bytes.len() {
            assert!(Properties::parse(&bytes[..length]).is_err(), "{length}");
        }
        assert!(Properties::parse(&[bytes, vec![0]].concat()).is_err());
    }
}
