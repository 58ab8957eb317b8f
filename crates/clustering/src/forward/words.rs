//! Numbers and texts in frames between nodes: little-endian, lengths first.
//!
//! Invariant: reading never goes beyond the frame and never panics; what does not fit is malformed.

use broker::queue::Range;
use types::FieldTable;

/// A frame that cannot be what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed(pub(super) &'static str);

/// What is left of a frame.
pub(super) struct Words<'a>(pub(super) &'a [u8]);

impl<'a> Words<'a> {
    pub(super) fn bytes(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Malformed("frame too short"))?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn u8(&mut self) -> Result<u8, Malformed> {
        self.bytes(1).map(|bytes| bytes[0])
    }

    pub(super) fn bool(&mut self) -> Result<bool, Malformed> {
        self.u8().map(|byte| byte != 0)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Malformed> {
        let bytes = self.bytes(4)?;
        bytes.try_into().map(u32::from_le_bytes).map_err(|_| Malformed("number"))
    }

    pub(super) fn u64(&mut self) -> Result<u64, Malformed> {
        let bytes = self.bytes(8)?;
        bytes.try_into().map(u64::from_le_bytes).map_err(|_| Malformed("number"))
    }

    /// How many rows of `each` bytes follow; they must be there.
    fn count(&mut self, each: usize) -> Result<usize, Malformed> {
        let count = self.u32()? as usize;
        if count > self.0.len() / each { Err(Malformed("more rows than bytes")) } else { Ok(count) }
    }

    pub(super) fn text(&mut self) -> Result<String, Malformed> {
        let length = self.count(1)?;
        std::str::from_utf8(self.bytes(length)?)
            .map(str::to_owned)
            .map_err(|_| Malformed("text is not UTF-8"))
    }

    pub(super) fn table(&mut self) -> Result<FieldTable, Malformed> {
        let (table, rest) = FieldTable::decode(self.0).map_err(|_| Malformed("field table"))?;
        self.0 = rest;
        Ok(table)
    }

    pub(super) fn rows<T>(
        &mut self,
        each: usize,
        read: impl Fn(&mut Words<'a>) -> Result<T, Malformed>,
    ) -> Result<Vec<T>, Malformed> {
        let count = self.count(each)?;
        (0..count).map(|_| read(self)).collect()
    }

    pub(super) fn ranges(&mut self) -> Result<Vec<Range>, Malformed> {
        self.rows(16, |words| {
            let range = (words.u64()?, words.u64()?);
            if range.0 < range.1 { Ok(range) } else { Err(Malformed("range is empty")) }
        })
    }

    /// All that is left.
    pub(super) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    pub(super) fn end(&self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed("bytes behind the frame's end")) }
    }
}

pub(super) fn put_u32(out: &mut Vec<u8>, number: u32) {
    out.extend_from_slice(&number.to_le_bytes());
}

pub(super) fn put_u64(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(&number.to_le_bytes());
}

pub(super) fn put_text(out: &mut Vec<u8>, text: &str) {
    put_u32(out, text.len() as u32);
    out.extend_from_slice(text.as_bytes());
}

pub(super) fn put_ranges(out: &mut Vec<u8>, ranges: &[Range]) {
    put_u32(out, ranges.len() as u32);
    for (start, end) in ranges {
        put_u64(out, *start);
        put_u64(out, *end);
    }
}
