//! Methods: what peers ask of one another, decoded and encoded by one table.
//!
//! ```text
//! method payload   | class (16) | method (16) | fields of the method, in the table's order |
//! ```
//! Invariant: `decode` takes a payload to its last octet or gives an error; what `put` wrote, `decode` gives
//! back. Source: AMQP 0-9-1 section 4.2.4.

mod field;
mod table;

use crate::fields::take_u16;
use crate::frame::{FRAME_END, FrameKind, frame_head, unknown_frame};
use crate::publish::undecodable;
use field::{Fault, Reader, Writer};
#[cfg(test)]
pub(crate) use table::any_of_each;
pub use table::{Method, method_name};
use types::AmqpError;

/// Class and method id at the front of a method frame's payload.
#[inline]
pub fn method_ids(payload: &[u8]) -> Option<(u16, u16)> {
    let (class, rest) = take_u16(payload)?;
    let (method, _) = take_u16(rest)?;
    Some((class, method))
}

impl Method {
    /// Reads the payload of a method frame.
    pub fn decode(payload: &[u8]) -> Result<Method, AmqpError> {
        let (Some(ids), Some(fields)) = (method_ids(payload), payload.get(4..)) else {
            return Err(unknown_frame(FrameKind::Method.octet(), payload));
        };
        let mut from = Reader::new(fields);
        match Method::take(ids, &mut from) {
            // Section 4.2.4: the fields of a method are exactly those of its definition.
            Ok(Some(method)) => match from.finish() {
                Ok(()) => Ok(method),
                Err(fault) => Err(malformed(fault, payload)),
            },
            // RabbitMQ drops the connection without a word here ({unknown_method_id, Id}).
            Ok(None) => Err(AmqpError::not_implemented(format!("unknown method id {{{},{}}}", ids.0, ids.1))),
            Err(fault) => Err(malformed(fault, payload)),
        }
    }

    /// Appends a complete method frame. Short strings over 255 octets are cut.
    pub fn put(&self, out: &mut Vec<u8>, channel: u16) {
        let start = out.len();
        out.extend_from_slice(&frame_head(FrameKind::Method, channel, 0));
        let payload_start = out.len();
        let (class, method) = self.class_method();
        out.extend_from_slice(&class.to_be_bytes());
        out.extend_from_slice(&method.to_be_bytes());
        self.put_fields(&mut Writer::new(out));
        let size = (out.len() - payload_start) as u32;
        out[start..payload_start].copy_from_slice(&frame_head(FrameKind::Method, channel, size));
        out.push(FRAME_END);
    }
}

#[cold]
fn malformed(fault: Fault, payload: &[u8]) -> AmqpError {
    match fault {
        Fault::Length => undecodable(payload),
        Fault::Text => AmqpError::frame_error("Malformed UTF-8 in shortstr"),
        Fault::Table(reason) => AmqpError::frame_error(reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::next_frame;
    use types::FieldTable;

    #[test]
    fn a_declare_looks_like_the_specification_says() {
        let declare = Method::QueueDeclare {
            ticket: 0,
            queue: "q".into(),
            passive: false,
            durable: true,
            exclusive: false,
            auto_delete: true,
            nowait: false,
            arguments: FieldTable::new(),
        };
        let mut bytes = Vec::new();
        declare.put(&mut bytes, 1);
        assert_eq!(bytes, [1, 0, 1, 0, 0, 0, 13, 0, 50, 0, 10, 0, 0, 1, b'q', 0b1010, 0, 0, 0, 0, 0xCE]);
        let (frame, _) = next_frame(&bytes, 0).unwrap().unwrap();
        assert_eq!(Method::decode(frame.payload), Ok(declare));
        assert_eq!(method_ids(frame.payload), Some((50, 10)));
        assert_eq!(method_name(50, 10), Some("queue.declare"));
        assert_eq!(method_name(50, 12), None);
    }

    #[test]
    fn reserved_fields_are_read_over() {
        let open = [&[0, 10, 0, 40, 1, b'/', 3][..], b"abc", &[1]].concat();
        assert_eq!(Method::decode(&open), Ok(Method::ConnectionOpen { virtual_host: "/".into() }));
        let mut bytes = Vec::new();
        Method::ChannelOpenOk.put(&mut bytes, 1);
        assert_eq!(bytes[7..], [0, 20, 0, 11, 0, 0, 0, 0, 0xCE]);
    }

    #[test]
    fn errors_are_in_rabbitmqs_words() {
        let deep = |depth: usize| {
            let mut table = vec![0, 0, 0, 0];
            for _ in 0..depth {
                let size = (table.len() as u32 + 3).to_be_bytes();
                table = [&size[..], &[1, b'k', b'F'], &table].concat();
            }
            [&[0, 50, 0, 50, 0, 0, 1, b'q', 1, b'e', 1, b'k'][..], &table].concat()
        };
        for (payload, text) in [
            (vec![0, 10, 0], "FRAME_ERROR - type 1, all octets = <<0,10,0>>: unknown_frame"),
            (vec![0, 50, 0, 99], "NOT_IMPLEMENTED - unknown method id {50,99}"),
            (vec![0, 90, 0, 10, 1], "FRAME_ERROR - cannot decode <<1>>"),
            (vec![0, 20, 0, 20], "FRAME_ERROR - cannot decode <<>>"),
            (vec![0, 60, 0, 31, 1, 0xFF], "FRAME_ERROR - Malformed UTF-8 in shortstr"),
            (deep(1000), "FRAME_ERROR - table nested too deep"),
        ] {
            assert_eq!(Method::decode(&payload).unwrap_err().reply_text(), text);
        }
        assert!(Method::decode(&deep(10)).is_ok());
    }

    #[test]
    fn who_sends_what() {
        assert!(Method::TxCommit.from_client() && !Method::TxCommit.from_server());
        assert!(!Method::TxCommitOk.from_client() && Method::TxCommitOk.from_server());
        assert!(Method::ChannelCloseOk.from_client() && Method::ChannelCloseOk.from_server());
        assert_eq!(Method::ExchangeUnbindOk.class_method(), (40, 51));
        assert_eq!(Method::TxCommitOk.name(), "tx.commit-ok");
        let publish = Method::BasicPublish {
            ticket: 0,
            exchange: String::new(),
            routing_key: String::new(),
            mandatory: false,
            immediate: false,
        };
        assert!(publish.has_content() && !Method::TxCommit.has_content());
    }
}
