//! Takes AMQP values out of a method's arguments.
//!
//! Invariant: a short or lying payload becomes an error, never a panic.

use crate::error::{Error, Result};

#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// What is not read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    pub fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (head, rest) = self
            .bytes
            .split_at_checked(count)
            .ok_or_else(|| Error::Protocol("a method's arguments end too early".into()))?;
        self.bytes = rest;
        Ok(head)
    }

    pub fn u8(&mut self) -> Result<u8> {
        Ok(self.take(1)?[0])
    }

    pub fn u16(&mut self) -> Result<u16> {
        Ok(self.take(2)?.iter().fold(0, |sum, byte| sum << 8 | u16::from(*byte)))
    }

    pub fn u32(&mut self) -> Result<u32> {
        Ok(self.take(4)?.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte)))
    }

    pub fn u64(&mut self) -> Result<u64> {
        Ok(self.take(8)?.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
    }

    pub fn short(&mut self) -> Result<String> {
        let length = usize::from(self.u8()?);
        Ok(String::from_utf8_lossy(self.take(length)?).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_in_order_and_the_end_is_an_error() {
        let mut reader = Reader::new(&[1, 0, 2, 0, 0, 0, 3, 2, b'h', b'i', 0, 0, 0, 0, 0, 0, 1, 0, 9]);
        assert_eq!(reader.u8().ok(), Some(1));
        assert_eq!(reader.u16().ok(), Some(2));
        assert_eq!(reader.u32().ok(), Some(3));
        assert_eq!(reader.short().ok().as_deref(), Some("hi"));
        assert_eq!(reader.u64().ok(), Some(256));
        assert!(reader.short().is_err(), "nine bytes are announced, none is there");
    }
}
