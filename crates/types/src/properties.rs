//! Basic properties, as they came: flags and fields, looked into only where somebody needs a field.
//!
//! ```text
//! +-------+-------+-----------------------------------------------+
//! | flags (16 bits, lowest = one more word) | present fields in order |
//! +-------+-------+-----------------------------------------------+
//! ```
//! Invariant: a `Properties` was walked once to its end, so its fields are all inside the bytes.
//! Source: AMQP 0-9-1 section 4.2.6.1 and class basic (60).

use crate::table::{FieldTable, TableError};

const CONTENT_TYPE: usize = 0;
const CONTENT_ENCODING: usize = 1;
const HEADERS: usize = 2;
const DELIVERY_MODE: usize = 3;
const PRIORITY: usize = 4;
const CORRELATION_ID: usize = 5;
const REPLY_TO: usize = 6;
const EXPIRATION: usize = 7;
const MESSAGE_ID: usize = 8;
const TIMESTAMP: usize = 9;
const TYPE: usize = 10;
const USER_ID: usize = 11;
const APP_ID: usize = 12;
const CLUSTER_ID: usize = 13;
const FIELD_COUNT: usize = 14;

/// Where each present field's bytes are.
#[derive(Clone, Copy, Debug)]
pub struct Properties<'a> {
    raw: &'a [u8],
    /// Start and end of each field with its length prefix; 0..0 when absent.
    fields: [(u32, u32); FIELD_COUNT],
}

/// Raw bytes of no properties at all.
pub const NONE: &[u8] = &[0, 0];

fn cut() -> TableError {
    TableError { reason: "properties are cut short" }
}

impl<'a> Properties<'a> {
    /// Walks the fields of `raw`, which must hold nothing more.
    pub fn parse(raw: &'a [u8]) -> Result<Properties<'a>, TableError> {
        let flags = u16::from_be_bytes(*raw.first_chunk::<2>().ok_or_else(cut)?);
        if flags & 0b11 != 0 {
            return Err(TableError { reason: "unknown property flags" });
        }
        let mut fields = [(0, 0); FIELD_COUNT];
        let mut at = 2usize;
        for (field, place) in fields.iter_mut().enumerate() {
            if flags & (0x8000 >> field) == 0 {
                continue;
            }
            let rest = raw.get(at..).ok_or_else(cut)?;
            let length = match field {
                HEADERS => 4 + u32::from_be_bytes(*rest.first_chunk::<4>().ok_or_else(cut)?) as usize,
                DELIVERY_MODE | PRIORITY => 1,
                TIMESTAMP => 8,
                _ => 1 + usize::from(*rest.first().ok_or_else(cut)?),
            };
            if rest.len() < length {
                return Err(cut());
            }
            *place = (at as u32, (at + length) as u32);
            at += length;
        }
        if at != raw.len() {
            return Err(TableError { reason: "bytes after the properties" });
        }
        Ok(Properties { raw, fields })
    }

    fn bytes(&self, field: usize) -> Option<&'a [u8]> {
        let (start, end) = self.fields[field];
        (end != 0).then(|| &self.raw[start as usize..end as usize])
    }

    fn short(&self, field: usize) -> Option<&'a [u8]> {
        self.bytes(field).map(|bytes| &bytes[1..])
    }

    /// Raw bytes, flags first.
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// 2 for persistent, 1 or absent for transient.
    pub fn delivery_mode(&self) -> Option<u8> {
        self.bytes(DELIVERY_MODE).map(|bytes| bytes[0])
    }

    /// The priority.
    pub fn priority(&self) -> Option<u8> {
        self.bytes(PRIORITY).map(|bytes| bytes[0])
    }

    /// The per-message time to live, as sent.
    pub fn expiration(&self) -> Option<&'a [u8]> {
        self.short(EXPIRATION)
    }

    /// Where an answer should go.
    pub fn reply_to(&self) -> Option<&'a [u8]> {
        self.short(REPLY_TO)
    }

    /// The correlation id.
    pub fn correlation_id(&self) -> Option<&'a [u8]> {
        self.short(CORRELATION_ID)
    }

    /// The message id.
    pub fn message_id(&self) -> Option<&'a [u8]> {
        self.short(MESSAGE_ID)
    }

    /// The user who says to have published it.
    pub fn user_id(&self) -> Option<&'a [u8]> {
        self.short(USER_ID)
    }

    /// Seconds since 1970.
    pub fn timestamp(&self) -> Option<u64> {
        self.bytes(TIMESTAMP).and_then(|bytes| bytes.first_chunk::<8>()).map(|raw| u64::from_be_bytes(*raw))
    }

    /// The headers table with its length in front, undecoded.
    pub fn headers_raw(&self) -> Option<&'a [u8]> {
        self.bytes(HEADERS)
    }

    /// The headers, decoded; an empty table when there are none.
    pub fn headers(&self) -> Result<FieldTable, TableError> {
        match self.bytes(HEADERS) {
            Some(bytes) => FieldTable::decode(bytes).map(|(table, _)| table),
            None => Ok(FieldTable::new()),
        }
    }

    /// The properties as owned fields, for places where they are changed or shown.
    pub fn to_owned(&self) -> Result<OwnedProperties, TableError> {
        let text = |field| self.short(field).map(Box::<[u8]>::from);
        Ok(OwnedProperties {
            content_type: text(CONTENT_TYPE),
            content_encoding: text(CONTENT_ENCODING),
            headers: match self.bytes(HEADERS) {
                Some(bytes) => Some(FieldTable::decode(bytes)?.0),
                None => None,
            },
            delivery_mode: self.delivery_mode(),
            priority: self.priority(),
            correlation_id: text(CORRELATION_ID),
            reply_to: text(REPLY_TO),
            expiration: text(EXPIRATION),
            message_id: text(MESSAGE_ID),
            timestamp: self.timestamp(),
            kind: text(TYPE),
            user_id: text(USER_ID),
            app_id: text(APP_ID),
            cluster_id: text(CLUSTER_ID),
        })
    }
}

/// Properties taken apart, to be changed and encoded again.
#[derive(Clone, Debug, PartialEq, Default)]
#[allow(missing_docs)] // the fields are the specification's own
pub struct OwnedProperties {
    pub content_type: Option<Box<[u8]>>,
    pub content_encoding: Option<Box<[u8]>>,
    pub headers: Option<FieldTable>,
    pub delivery_mode: Option<u8>,
    pub priority: Option<u8>,
    pub correlation_id: Option<Box<[u8]>>,
    pub reply_to: Option<Box<[u8]>>,
    pub expiration: Option<Box<[u8]>>,
    pub message_id: Option<Box<[u8]>>,
    pub timestamp: Option<u64>,
    pub kind: Option<Box<[u8]>>,
    pub user_id: Option<Box<[u8]>>,
    pub app_id: Option<Box<[u8]>>,
    pub cluster_id: Option<Box<[u8]>>,
}

impl OwnedProperties {
    /// Flags and fields, as a content header carries them.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![0, 0];
        let mut flags = 0u16;
        fn short(out: &mut Vec<u8>, flags: &mut u16, field: usize, value: &Option<Box<[u8]>>) {
            if let Some(value) = value {
                let value = &value[..value.len().min(crate::limits::SHORT_STRING_BYTES_MAX)];
                *flags |= 0x8000 >> field;
                out.push(value.len() as u8);
                out.extend_from_slice(value);
            }
        }
        short(&mut out, &mut flags, CONTENT_TYPE, &self.content_type);
        short(&mut out, &mut flags, CONTENT_ENCODING, &self.content_encoding);
        if let Some(headers) = &self.headers {
            flags |= 0x8000 >> HEADERS;
            headers.encode(&mut out);
        }
        for (field, value) in [(DELIVERY_MODE, self.delivery_mode), (PRIORITY, self.priority)] {
            if let Some(value) = value {
                flags |= 0x8000 >> field;
                out.push(value);
            }
        }
        short(&mut out, &mut flags, CORRELATION_ID, &self.correlation_id);
        short(&mut out, &mut flags, REPLY_TO, &self.reply_to);
        short(&mut out, &mut flags, EXPIRATION, &self.expiration);
        short(&mut out, &mut flags, MESSAGE_ID, &self.message_id);
        if let Some(seconds) = self.timestamp {
            flags |= 0x8000 >> TIMESTAMP;
            out.extend_from_slice(&seconds.to_be_bytes());
        }
        short(&mut out, &mut flags, TYPE, &self.kind);
        short(&mut out, &mut flags, USER_ID, &self.user_id);
        short(&mut out, &mut flags, APP_ID, &self.app_id);
        short(&mut out, &mut flags, CLUSTER_ID, &self.cluster_id);
        out[..2].copy_from_slice(&flags.to_be_bytes());
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FieldValue;

    fn full() -> OwnedProperties {
        let text = |text: &str| Some(Box::<[u8]>::from(text.as_bytes()));
        OwnedProperties {
            content_type: text("application/json"),
            content_encoding: text("utf-8"),
            headers: Some([("a", FieldValue::I32(1))].into_iter().collect()),
            delivery_mode: Some(2),
            priority: Some(9),
            correlation_id: text("c"),
            reply_to: text("r"),
            expiration: text("1000"),
            message_id: text("m"),
            timestamp: Some(1_700_000_000),
            kind: text("t"),
            user_id: text("guest"),
            app_id: text("app"),
            cluster_id: text(""),
        }
    }

    #[test]
    fn all_fields_come_back() {
        let raw = full().encode();
        let view = Properties::parse(&raw).unwrap();
        assert_eq!(view.to_owned().unwrap(), full());
        assert_eq!(view.expiration(), Some(&b"1000"[..]));
        assert_eq!(view.to_owned().unwrap().encode(), raw);
    }

    #[test]
    fn absent_fields_stay_absent_and_cuts_are_errors() {
        let view = Properties::parse(NONE).unwrap();
        assert_eq!(view.to_owned().unwrap(), OwnedProperties::default());
        let raw = full().encode();
        for end in 0..raw.len() {
            assert!(Properties::parse(&raw[..end]).is_err(), "cut at {end}");
        }
        assert!(Properties::parse(&[0, 1, 0, 0]).is_err());
        assert!(Properties::parse(&[0, 0, 9]).is_err());
    }
}
