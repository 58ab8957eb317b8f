//! Why a command failed, as its exit code says it.
//!
//! Invariant: the codes are those of sysexits.h, which rabbitmqctl uses too.

use std::fmt;
use std::process::ExitCode;

/// A command's failure.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    text: String,
}

impl Failure {
    fn new(code: u8, text: impl Into<String>) -> Failure {
        Failure { code, text: text.into() }
    }

    /// The command line makes no sense.
    pub(crate) fn usage(text: impl Into<String>) -> Failure {
        Failure::new(64, text)
    }

    /// The node refused what was asked for.
    pub(crate) fn data(text: impl Into<String>) -> Failure {
        Failure::new(65, text)
    }

    /// There is no such user.
    pub(crate) fn no_user(name: &str) -> Failure {
        Failure::new(67, format!("User \"{name}\" does not exist"))
    }

    /// The node cannot be reached, or a check of it failed.
    pub(crate) fn unavailable(text: impl Into<String>) -> Failure {
        Failure::new(69, text)
    }

    /// Anything else.
    pub(crate) fn software(text: impl Into<String>) -> Failure {
        Failure::new(70, text)
    }

    /// Whether trying again changes nothing.
    pub(crate) fn is_usage(&self) -> bool {
        self.code == 64
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
