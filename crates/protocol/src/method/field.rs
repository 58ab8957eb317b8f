//! Fields of methods: one trait, one impl for each type the specification knows.
//!
//! ```text
//! octet, short, long, longlong   u8, u16, u32, u64
//! short string                   String: length octet, UTF-8
//! long string                    Bytes: length (32), octets
//! table                          FieldTable: length (32), entries
//! bit                            bool: up to 8 in a row share one octet, the first is the lowest
//! ```
//! Invariant: what `put` writes, `take` reads back as the same value. Source: AMQP 0-9-1 section 4.2.5.

use crate::fields::{cut_short, put_short, take_short, take_u8, take_u16, take_u32, take_u64};
use bytes::Bytes;
use types::FieldTable;

/// Why a field cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The payload ends too early, or goes on too long.
    Length,
    /// A short string is not UTF-8.
    Text,
    /// A table is broken inside.
    Table(&'static str),
}

/// Reads fields from the front of a payload.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    bits: u8,
    /// The next bit of `bits`; 0 when a new octet must be begun.
    mask: u8,
}

impl<'a> Reader<'a> {
    /// Reads from `payload`, ids already gone.
    pub(super) fn new(payload: &'a [u8]) -> Reader<'a> {
        Reader { rest: payload, bits: 0, mask: 0 }
    }

    /// Nothing may be left.
    pub(super) fn finish(self) -> Result<(), Fault> {
        if self.rest.is_empty() { Ok(()) } else { Err(Fault::Length) }
    }

    /// Runs one of the `take_*` functions; a field that is no bit ends a row of bits.
    fn step<T>(&mut self, take: impl FnOnce(&'a [u8]) -> Option<(T, &'a [u8])>) -> Result<T, Fault> {
        let (value, rest) = take(self.rest).ok_or(Fault::Length)?;
        self.rest = rest;
        self.mask = 0;
        Ok(value)
    }
}

/// Appends fields.
pub(super) struct Writer<'a> {
    out: &'a mut Vec<u8>,
    /// The next free bit of the last octet; 0 when a new octet must be begun.
    mask: u8,
}

impl<'a> Writer<'a> {
    /// Appends to `out`.
    pub(super) fn new(out: &'a mut Vec<u8>) -> Writer<'a> {
        Writer { out, mask: 0 }
    }

    fn step(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
        self.mask = 0;
    }
}

/// A value that methods have as a field.
pub(super) trait Field: Sized {
    /// Reads one from the front.
    fn take(from: &mut Reader<'_>) -> Result<Self, Fault>;
    /// Appends one.
    fn put(&self, to: &mut Writer<'_>);
}

macro_rules! numbers {
    ($($type:ty, $take:ident;)*) => {$(
        impl Field for $type {
            fn take(from: &mut Reader<'_>) -> Result<Self, Fault> {
                from.step($take)
            }

            fn put(&self, to: &mut Writer<'_>) {
                to.step(&self.to_be_bytes());
            }
        }
    )*};
}

numbers! {
    u8, take_u8;
    u16, take_u16;
    u32, take_u32;
    u64, take_u64;
}

impl Field for bool {
    fn take(from: &mut Reader<'_>) -> Result<Self, Fault> {
        // Section 4.2.5.2: bits are accumulated into whole octets, the first bit being the lowest.
        if from.mask == 0 {
            from.bits = from.step(take_u8)?;
            from.mask = 1;
        }
        let value = from.bits & from.mask != 0;
        from.mask <<= 1;
        Ok(value)
    }

    fn put(&self, to: &mut Writer<'_>) {
        if to.mask == 0 {
            to.out.push(0);
            to.mask = 1;
        }
        if let Some(bits) = to.out.last_mut()
            && *self
        {
            *bits |= to.mask;
        }
        to.mask <<= 1;
    }
}

impl Field for String {
    fn take(from: &mut Reader<'_>) -> Result<Self, Fault> {
        let text = from.step(take_short)?;
        // Section 4.2.5.3: short strings are UTF-8. RabbitMQ refuses others too, but for contents.
        std::str::from_utf8(text).map(String::from).map_err(|_| Fault::Text)
    }

    fn put(&self, to: &mut Writer<'_>) {
        let mut text = cut_short(self.as_bytes());
        while std::str::from_utf8(text).is_err() {
            text = &text[..text.len().saturating_sub(1)];
        }
        put_short(to.out, text);
        to.mask = 0;
    }
}

impl Field for Bytes {
    fn take(from: &mut Reader<'_>) -> Result<Self, Fault> {
        let length = from.step(take_u32)?;
        from.step(|rest| rest.split_at_checked(length as usize)).map(Bytes::copy_from_slice)
    }

    fn put(&self, to: &mut Writer<'_>) {
        to.step(&(self.len() as u32).to_be_bytes());
        to.step(self);
    }
}

impl Field for FieldTable {
    fn take(from: &mut Reader<'_>) -> Result<Self, Fault> {
        let (table, rest) = FieldTable::decode(from.rest).map_err(|error| Fault::Table(error.reason))?;
        from.rest = rest;
        from.mask = 0;
        Ok(table)
    }

    fn put(&self, to: &mut Writer<'_>) {
        self.encode(to.out);
        to.mask = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nine_bits_take_two_octets_and_other_fields_end_a_row() {
        let mut out = Vec::new();
        let mut to = Writer::new(&mut out);
        for place in 0..9 {
            (place % 8 == 0).put(&mut to);
        }
        7u8.put(&mut to);
        true.put(&mut to);
        String::from("é").put(&mut to);
        false.put(&mut to);
        assert_eq!(out, [1, 1, 7, 1, 2, 0xC3, 0xA9, 0]);
        let mut from = Reader::new(&out);
        for place in 0..9 {
            assert_eq!(bool::take(&mut from), Ok(place % 8 == 0));
        }
        assert_eq!(u8::take(&mut from), Ok(7));
        assert_eq!(bool::take(&mut from), Ok(true));
        assert_eq!(String::take(&mut from).as_deref(), Ok("é"));
        assert_eq!(bool::take(&mut from), Ok(false));
        assert_eq!(from.finish(), Ok(()));
    }

    #[test]
    fn a_long_text_is_cut_at_a_character() {
        let mut out = Vec::new();
        "é".repeat(200).put(&mut Writer::new(&mut out));
        assert_eq!(String::take(&mut Reader::new(&out)), Ok("é".repeat(127)));
    }

    #[test]
    fn broken_fields_say_why() {
        assert_eq!(String::take(&mut Reader::new(&[1, 0xFF])), Err(Fault::Text));
        assert_eq!(String::take(&mut Reader::new(&[2, b'a'])), Err(Fault::Length));
        assert_eq!(Bytes::take(&mut Reader::new(&[255, 255, 255, 255, 1])), Err(Fault::Length));
        let table = FieldTable::take(&mut Reader::new(&[0, 0, 0, 3, 1, b'k', b'?']));
        assert_eq!(table, Err(Fault::Table("unknown field type")));
        assert_eq!(Reader::new(&[0]).finish(), Err(Fault::Length));
    }
}
