//! Numbers and short strings at the front of a slice.
//!
//! ```text
//! short string: +--------+------------------+     numbers: most significant octet first
//!               | length | up to 255 octets |
//!               +--------+------------------+
//! ```
//! Invariant: nothing is read past the slice; a cut value is None. Source: AMQP 0-9-1 section 4.2.5.

/// One octet and what follows it.
#[inline]
pub(crate) fn take_u8(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let (&value, rest) = bytes.split_first()?;
    Some((value, rest))
}

/// Two octets and what follows them.
#[inline]
pub(crate) fn take_u16(bytes: &[u8]) -> Option<(u16, &[u8])> {
    let (raw, rest) = bytes.split_first_chunk()?;
    Some((u16::from_be_bytes(*raw), rest))
}

/// Four octets and what follows them.
#[inline]
pub(crate) fn take_u32(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (raw, rest) = bytes.split_first_chunk()?;
    Some((u32::from_be_bytes(*raw), rest))
}

/// Eight octets and what follows them.
#[inline]
pub(crate) fn take_u64(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (raw, rest) = bytes.split_first_chunk()?;
    Some((u64::from_be_bytes(*raw), rest))
}

/// A short string without its length octet, and what follows it.
#[inline]
pub(crate) fn take_short(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = take_u8(bytes)?;
    rest.split_at_checked(usize::from(length))
}

/// What fits of `bytes` into a short string.
#[inline]
pub(crate) fn cut_short(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.len().min(types::limits::SHORT_STRING_BYTES_MAX)]
}

/// Appends a short string with its length octet; what is over 255 octets is cut.
#[inline]
pub(crate) fn put_short(out: &mut Vec<u8>, bytes: &[u8]) {
    let bytes = cut_short(bytes);
    out.push(bytes.len() as u8);
    out.extend_from_slice(bytes);
}
