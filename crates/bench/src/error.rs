//! The one error type of the load generator.
//!
//! Invariant: every message names what was tried and what came back, so that a failed run can be understood
//! without a trace; a close by the broker keeps its code and text.

use std::fmt;
use std::io;

#[derive(Debug, Clone)]
pub enum Error {
    /// The operating system said no: what was tried, and its answer.
    Io { what: String, text: String },
    /// The broker sent connection.close or channel.close.
    Closed { scope: Scope, code: u16, text: String, class: u16, method: u16 },
    /// The peer does not speak the protocol as expected.
    Protocol(String),
    /// Nothing moved for longer than the time-out.
    Stalled(String),
    /// The operator asked for something that cannot be done.
    Input(String),
    /// SIGINT or SIGTERM came.
    Interrupted,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    Connection,
    Channel,
}

impl Error {
    pub fn io(what: impl Into<String>, source: &io::Error) -> Self {
        Self::Io { what: what.into(), text: source.to_string() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { what, text } => write!(f, "{what}: {text}"),
            Self::Closed { scope, code, text, class, method } => {
                let scope = match scope {
                    Scope::Connection => "connection",
                    Scope::Channel => "channel",
                };
                write!(f, "the broker closed the {scope}: {code} {text} (method {class}.{method})")
            }
            Self::Protocol(text) => write!(f, "protocol: {text}"),
            Self::Stalled(text) => write!(f, "stalled: {text}"),
            Self::Input(text) => f.write_str(text),
            Self::Interrupted => f.write_str("interrupted"),
        }
    }
}

impl std::error::Error for Error {}

pub type Result<T> = std::result::Result<T, Error>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_close_shows_code_text_and_method() {
        let error = Error::Closed {
            scope: Scope::Channel,
            code: 404,
            text: "NOT_FOUND - no queue 'q'".into(),
            class: 60,
            method: 20,
        };
        assert_eq!(
            error.to_string(),
            "the broker closed the channel: 404 NOT_FOUND - no queue 'q' (method 60.20)"
        );
    }
}
