//! Content assembly: a publish whose content comes in several frames. One for each channel.
//!
//! ```text
//!                start              header, size > 0            last octet of the body
//!      +------+         +--------+                  +------+
//!      | Idle |-------->| Header |----------------->| Body |----> Content, back to Idle
//!      +------+         +--------+                  +------+
//!         ^                 | header, size 0           | |  ^
//!         |                 +-------> Content          | +--+ body frame, more to come
//!         +--------------- any error, reset -----------+
//!
//! Content::buffer   | headroom, zeros | properties | body |
//! ```
//! Invariant: the buffer grows with the octets that came, to at most twice as many, never by what a header
//! announces; a body never gets longer than announced. Source: AMQP 0-9-1 section 4.2.6, RabbitMQ's
//! `rabbit_command_assembler`.

use crate::frame::{FrameKind, unexpected_frame};
use crate::publish::{ContentHeader, NO_HEADER, PublishHead};
use types::AmqpError;
use types::limits::MESSAGE_SIZE_MAX_BYTES;

/// A message that has come completely.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// Exchange and routing key as two short strings.
    pub route: Box<[u8]>,
    /// Give the message back when no queue takes it.
    pub mandatory: bool,
    /// Give the message back when no consumer takes it at once.
    pub immediate: bool,
    /// Zero octets at the front of `buffer`.
    pub headroom: usize,
    /// Octets of properties behind them.
    pub properties_len: usize,
    /// Headroom, properties, body.
    pub buffer: Vec<u8>,
}

impl Content {
    /// Property flags and fields.
    pub fn properties(&self) -> &[u8] {
        let end = self.headroom.saturating_add(self.properties_len);
        self.buffer.get(self.headroom..end).unwrap_or_default()
    }

    /// The body.
    pub fn body(&self) -> &[u8] {
        let start = self.headroom.saturating_add(self.properties_len);
        self.buffer.get(start..).unwrap_or_default()
    }
}

/// What a channel waits for.
#[derive(Debug, Default)]
enum State {
    /// A method.
    #[default]
    Idle,
    /// The content header of this publish.
    Header { route: Box<[u8]>, mandatory: bool, immediate: bool },
    /// `remaining` octets of body.
    Body { content: Content, remaining: u64 },
}

/// The content of a channel, as far as it has come.
#[derive(Debug, Default)]
pub struct Assembly {
    state: State,
}

impl Assembly {
    /// Whether the channel waits for a method, not for the rest of a content.
    #[inline]
    pub fn is_idle(&self) -> bool {
        matches!(self.state, State::Idle)
    }

    /// After basic.publish: a content header must follow.
    pub fn start(&mut self, head: PublishHead<'_>) -> Result<(), AmqpError> {
        self.refuse_method()?;
        let PublishHead { route, mandatory, immediate } = head;
        self.state = State::Header { route: route.into(), mandatory, immediate };
        Ok(())
    }

    /// A method frame may only come when no content is being received.
    pub fn refuse_method(&mut self) -> Result<(), AmqpError> {
        if self.is_idle() { Ok(()) } else { self.frame(FrameKind::Method, &[], 0, 0).map(|_| ()) }
    }

    /// Takes a header or body frame; gives the message when this was its last one.
    ///
    /// A body announced larger than `size_max` is refused at its header. `headroom` zero octets are put in
    /// front of the properties. After an error the channel waits for a method again.
    pub fn frame(
        &mut self,
        kind: FrameKind,
        payload: &[u8],
        size_max: u64,
        headroom: usize,
    ) -> Result<Option<Content>, AmqpError> {
        let state = std::mem::take(&mut self.state);
        // Section 4.2.7: heartbeats belong to channel 0.
        if kind == FrameKind::Heartbeat {
            return Err(unexpected_frame(kind, payload));
        }
        match state {
            // Section 4.2.6: content frames follow a method that carries content, on the same channel.
            State::Idle => {
                Err(AmqpError::unexpected_frame("expected method frame, got non method frame instead"))
            }
            State::Header { .. } if kind != FrameKind::Header => Err(AmqpError::unexpected_frame(NO_HEADER)),
            State::Header { route, mandatory, immediate } => {
                let header = ContentHeader::parse(payload)?;
                check_size(header.body_size, size_max)?;
                let properties_len = header.properties.len();
                let mut buffer = Vec::with_capacity(headroom.saturating_add(properties_len));
                buffer.resize(headroom, 0);
                buffer.extend_from_slice(header.properties);
                let content = Content { route, mandatory, immediate, headroom, properties_len, buffer };
                Ok(self.continue_with(content, header.body_size))
            }
            State::Body { .. } if kind != FrameKind::Body => {
                Err(AmqpError::unexpected_frame("expected content body, got non content body frame instead"))
            }
            State::Body { mut content, remaining } => {
                // Section 4.2.6.2: the body frames together hold exactly the announced size.
                let Some(left) = remaining.checked_sub(payload.len() as u64) else {
                    return Err(AmqpError::frame_error("content body frame exceeds remaining content size"));
                };
                grow(&mut content.buffer, payload.len(), left);
                content.buffer.extend_from_slice(payload);
                Ok(self.continue_with(content, left))
            }
        }
    }

    /// Forgets what has come, after channel.close.
    pub fn reset(&mut self) {
        self.state = State::Idle;
    }

    fn continue_with(&mut self, content: Content, remaining: u64) -> Option<Content> {
        if remaining == 0 {
            return Some(content);
        }
        self.state = State::Body { content, remaining };
        None
    }
}

/// Makes room for `more` octets: at most double of what there is then, and no more than the message needs.
fn grow(buffer: &mut Vec<u8>, more: usize, left: u64) {
    let needed = buffer.len().saturating_add(more);
    if needed > buffer.capacity() {
        let still = usize::try_from(left).unwrap_or(usize::MAX).min(needed);
        buffer.reserve_exact(more.saturating_add(still));
    }
}

/// RabbitMQ's limit of a message, in its words, but told before the body has come.
fn check_size(body_size: u64, size_max: u64) -> Result<(), AmqpError> {
    if body_size <= size_max {
        return Ok(());
    }
    let which = if size_max == MESSAGE_SIZE_MAX_BYTES { "max size" } else { "configured max size" };
    Err(AmqpError::precondition_failed(format!("message size {body_size} is larger than {which} {size_max}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use FrameKind::{Body, Header, Heartbeat, Method};

    const HEAD: PublishHead<'_> = PublishHead { route: b"\x01e\x01k", mandatory: true, immediate: false };
    const PROPERTIES: &[u8] = &[0x10, 0, 2];

    fn header(body_size: u64) -> Vec<u8> {
        [&[0, 60, 0, 0][..], &body_size.to_be_bytes(), PROPERTIES].concat()
    }

    fn started() -> Assembly {
        let mut assembly = Assembly::default();
        assembly.start(HEAD).unwrap();
        assembly
    }

    #[test]
    fn a_body_in_pieces_comes_together() {
        let mut assembly = started();
        assert!(!assembly.is_idle());
        assert_eq!(assembly.frame(Header, &header(5), 100, 4), Ok(None));
        assert_eq!(assembly.frame(Body, b"he", 100, 4), Ok(None));
        assert_eq!(assembly.frame(Body, b"", 100, 4), Ok(None));
        let content = assembly.frame(Body, b"llo", 100, 4).unwrap().unwrap();
        assert_eq!(content.buffer, b"\0\0\0\0\x10\0\x02hello");
        assert_eq!((content.properties(), content.body()), (PROPERTIES, &b"hello"[..]));
        assert_eq!((&*content.route, content.mandatory, content.immediate), (HEAD.route, true, false));
        assert!(assembly.is_idle());
    }

    #[test]
    fn an_empty_body_ends_with_its_header() {
        let content = started().frame(Header, &header(0), 0, 0).unwrap().unwrap();
        assert_eq!((content.properties(), content.body()), (PROPERTIES, &b""[..]));
    }

    #[test]
    fn an_announcement_allocates_nothing() {
        let mut assembly = started();
        assembly.frame(Header, &header(1 << 60), u64::MAX, 0).unwrap();
        let mut came = PROPERTIES.len();
        for size in [1, 1, 1000, 50_000, 3, 100_000] {
            assembly.frame(Body, &vec![1; size], u64::MAX, 0).unwrap();
            came += size;
            let State::Body { content, .. } = &assembly.state else { panic!("body expected") };
            assert!(content.buffer.capacity() <= 2 * came, "{} for {came}", content.buffer.capacity());
        }
    }

    #[test]
    fn a_message_of_two_frames_is_allocated_once_for_its_body() {
        let mut assembly = started();
        assembly.frame(Header, &header(150), 1000, 0).unwrap();
        assembly.frame(Body, &[1; 100], 1000, 0).unwrap();
        let content = assembly.frame(Body, &[1; 50], 1000, 0).unwrap().unwrap();
        assert_eq!(content.buffer.capacity(), 153);
    }

    #[test]
    fn errors_are_in_rabbitmqs_words() {
        let at_header = |kind, payload: &[u8], size_max| {
            let mut assembly = started();
            let error = assembly.frame(kind, payload, size_max, 0).unwrap_err();
            assert!(assembly.is_idle());
            error.reply_text()
        };
        let at_body = |kind, payload: &[u8]| {
            let mut assembly = started();
            assembly.frame(Header, &header(3), 100, 0).unwrap();
            assembly.frame(kind, payload, 100, 0).unwrap_err().reply_text()
        };
        let idle = Assembly::default().frame(Body, b"x", 100, 0).unwrap_err().reply_text();
        assert_eq!(idle, "UNEXPECTED_FRAME - expected method frame, got non method frame instead");
        let non_header =
            "UNEXPECTED_FRAME - expected content header for class 60, got non content header frame instead";
        assert_eq!(at_header(Body, b"x", 100), non_header);
        assert_eq!(at_header(Method, b"x", 100), non_header);
        assert_eq!(started().start(HEAD).unwrap_err().reply_text(), non_header);
        assert_eq!(
            at_header(Header, &header(101), 100),
            "PRECONDITION_FAILED - message size 101 is larger than configured max size 100"
        );
        assert_eq!(
            at_header(Header, &header(u64::MAX), MESSAGE_SIZE_MAX_BYTES),
            "PRECONDITION_FAILED - message size 18446744073709551615 is larger than max size 536870912"
        );
        let non_body = "UNEXPECTED_FRAME - expected content body, got non content body frame instead";
        assert_eq!(at_body(Header, &header(3)), non_body);
        assert_eq!(at_body(Method, b""), non_body);
        assert_eq!(at_body(Body, b"abcd"), "FRAME_ERROR - content body frame exceeds remaining content size");
        assert_eq!(at_body(Heartbeat, b""), "UNEXPECTED_FRAME - type 8, all octets = <<>>");
        assert!(Assembly::default().refuse_method().is_ok() && started().refuse_method().is_err());
    }

    #[test]
    fn a_reset_forgets() {
        let mut assembly = started();
        assembly.reset();
        assert!(assembly.is_idle());
    }
}
