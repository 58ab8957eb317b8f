//! An error as AMQP tells it: a code, a text, and how far it reaches.
//!
//! Invariant: the reach follows from the code (soft codes close the channel, hard codes the
//! connection) unless the place of the failure raises it: anything on channel 0 is hard.

use crate::ReplyCode;
use std::fmt;

/// Ends a reply text that was cut, as in RabbitMQ.
const ELLIPSIS: &str = "...";

/// How much of the client's session an error ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// `channel.close`: the connection's other channels go on.
    Channel,
    /// `connection.close`.
    Connection,
}

/// A refusal of what a client asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AmqpError {
    /// The reply code.
    pub code: ReplyCode,
    /// The explanation, without the code's name in front.
    pub explanation: String,
}

impl AmqpError {
    /// An error with `explanation` in RabbitMQ's words.
    pub fn new(code: ReplyCode, explanation: impl Into<String>) -> AmqpError {
        AmqpError { code, explanation: explanation.into() }
    }

    /// `NAME - explanation`, cut to the 255 bytes of a short string.
    pub fn reply_text(&self) -> String {
        let mut text = format!("{} - {}", self.code.name(), self.explanation);
        if text.len() > crate::limits::SHORT_STRING_BYTES_MAX {
            let mut end = crate::limits::SHORT_STRING_BYTES_MAX - ELLIPSIS.len();
            while !text.is_char_boundary(end) {
                end -= 1;
            }
            text.truncate(end);
            text.push_str(ELLIPSIS);
        }
        text
    }

    /// The reach that the code has by itself.
    pub fn reach(&self) -> Reach {
        if self.code.is_hard() { Reach::Connection } else { Reach::Channel }
    }
}

impl fmt::Display for AmqpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code.code(), self.reply_text())
    }
}

impl std::error::Error for AmqpError {}

macro_rules! shorthands {
    ($($(#[$doc:meta])* $name:ident => $code:ident;)*) => {
        impl AmqpError {
            $($(#[$doc])* pub fn $name(explanation: impl Into<String>) -> AmqpError {
                AmqpError::new(ReplyCode::$code, explanation)
            })*
        }
    };
}

shorthands! {
    /// 403, closes the channel.
    access_refused => AccessRefused;
    /// 404, closes the channel.
    not_found => NotFound;
    /// 405, closes the channel.
    resource_locked => ResourceLocked;
    /// 406, closes the channel.
    precondition_failed => PreconditionFailed;
    /// 501, closes the connection.
    frame_error => FrameError;
    /// 502, closes the connection.
    syntax_error => SyntaxError;
    /// 503, closes the connection.
    command_invalid => CommandInvalid;
    /// 504, closes the connection.
    channel_error => ChannelError;
    /// 505, closes the connection.
    unexpected_frame => UnexpectedFrame;
    /// 530, closes the connection.
    not_allowed => NotAllowed;
    /// 540, closes the connection.
    not_implemented => NotImplemented;
    /// 541, closes the connection.
    internal_error => InternalError;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reply_text_is_cut_at_a_character() {
        let error = AmqpError::not_found("é".repeat(300));
        let text = error.reply_text();
        assert!(text.len() <= 255 && text.len() >= 253 && text.ends_with("..."));
        assert!(text.starts_with("NOT_FOUND - é"));
        assert_eq!(error.reach(), Reach::Channel);
        assert_eq!(AmqpError::not_allowed("x").reach(), Reach::Connection);
    }
}
