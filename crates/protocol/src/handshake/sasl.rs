//! What clients answer to be let in: the SASL mechanisms PLAIN and AMQPLAIN.
//!
//! ```text
//! PLAIN      | authzid, mostly empty | 0 | user | 0 | password |
//! AMQPLAIN   field table without its length: LOGIN and PASSWORD as long strings
//! ```
//! Invariant: user and password are told from one another without doubt, or there are none.
//! Source: RFC 4616, RabbitMQ's `rabbit_auth_mechanism_plain` and `rabbit_auth_mechanism_amqplain`.

use types::{FieldTable, FieldValue};

/// User and password of a PLAIN response.
pub fn parse_plain(response: &[u8]) -> Option<(String, String)> {
    let mut parts = response.split(|&octet| octet == 0);
    let (_authzid, user, password) = (parts.next()?, parts.next()?, parts.next()?);
    // RFC 4616 section 2: message = [authzid] UTF8NUL authcid UTF8NUL passwd, none of them with a NUL inside.
    if parts.next().is_some() {
        return None;
    }
    Some((text(user)?, text(password)?))
}

/// User and password of an AMQPLAIN response.
pub fn parse_amqplain(response: &[u8]) -> Option<(String, String)> {
    let length = u32::try_from(response.len()).ok()?;
    let table = [&length.to_be_bytes(), response].concat();
    let (table, _) = FieldTable::decode(&table).ok()?;
    let field = |key| match table.get(key)? {
        FieldValue::LongString(value) => text(value),
        _ => None,
    };
    Some((field("LOGIN")?, field("PASSWORD")?))
}

fn text(bytes: &[u8]) -> Option<String> {
    std::str::from_utf8(bytes).ok().map(String::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(user: &str, password: &str) -> Option<(String, String)> {
        Some((user.into(), password.into()))
    }

    #[test]
    fn plain_has_two_nuls() {
        for (response, parsed) in [
            (&b"\0guest\0secret"[..], pair("guest", "secret")),
            (b"other\0guest\0secret", pair("guest", "secret")),
            (b"\0guest\0", pair("guest", "")),
            (b"\0\0", pair("", "")),
            (b"\0guest", None),
            (b"", None),
            (b"\0guest\0sec\0ret", None),
            (b"\0\xFF\0secret", None),
        ] {
            assert_eq!(parse_plain(response), parsed, "{response:?}");
        }
    }

    #[test]
    fn amqplain_is_a_table_without_length() {
        let table: FieldTable =
            [("LOGIN", FieldValue::text("guest")), ("PASSWORD", FieldValue::text("secret"))]
                .into_iter()
                .collect();
        let mut bytes = Vec::new();
        table.encode(&mut bytes);
        assert_eq!(parse_amqplain(&bytes[4..]), pair("guest", "secret"));
        for end in 0..bytes.len() - 4 {
            assert_eq!(parse_amqplain(&bytes[4..4 + end]), None);
        }
        let wrong: FieldTable =
            [("LOGIN", FieldValue::I32(1)), ("PASSWORD", FieldValue::text(""))].into_iter().collect();
        bytes.clear();
        wrong.encode(&mut bytes);
        assert_eq!(parse_amqplain(&bytes[4..]), None);
    }
}
