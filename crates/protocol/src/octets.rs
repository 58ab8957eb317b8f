//! Peer's bytes and Erlang's terms as RabbitMQ prints them in its error texts.
//!
//! Invariant: what is printed is bounded: at most 16 octets of a payload, as RabbitMQ does.

use std::fmt::{self, Write};

/// `all octets = <<…>>` or `first 16 octets = <<…>>` of a payload.
pub(crate) struct Snippet<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Snippet<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.get(..16) {
            Some(first) if self.0.len() > 16 => write!(f, "first 16 octets = {}", Binary(first)),
            _ => write!(f, "all octets = {}", Binary(self.0)),
        }
    }
}

/// A binary as Erlang writes it: `<<"text">>` when printable, `<<1,2,3>>` when not.
pub(crate) struct Binary<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Binary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<<")?;
        if !self.0.is_empty() && self.0.iter().all(|&octet| is_printable(octet)) {
            f.write_char('"')?;
            for &octet in self.0 {
                match octet {
                    b'"' | b'\\' => write!(f, "\\{}", char::from(octet))?,
                    b'\n' => f.write_str("\\n")?,
                    b'\r' => f.write_str("\\r")?,
                    b'\t' => f.write_str("\\t")?,
                    _ => f.write_char(char::from(octet))?,
                }
            }
            f.write_char('"')?;
        } else {
            for (place, octet) in self.0.iter().enumerate() {
                let comma = if place == 0 { "" } else { "," };
                write!(f, "{comma}{octet}")?;
            }
        }
        f.write_str(">>")
    }
}

fn is_printable(octet: u8) -> bool {
    matches!(octet, b' '..=b'~' | b'\n' | b'\r' | b'\t')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binaries_look_like_erlangs() {
        for (bytes, text) in [
            (&b""[..], "all octets = <<>>"),
            (b"abc", "all octets = <<\"abc\">>"),
            (b"a\"\\\n", "all octets = <<\"a\\\"\\\\\\n\">>"),
            (&[0, 60, 255], "all octets = <<0,60,255>>"),
            (&[7; 16], "all octets = <<7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7>>"),
            (b"0123456789abcdefg", "first 16 octets = <<\"0123456789abcdef\">>"),
        ] {
            assert_eq!(Snippet(bytes).to_string(), text);
        }
    }
}
