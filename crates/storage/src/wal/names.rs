//! Names of the log's files: sixteen hex digits and what the file is.
//!
//! Invariant: a name that `of` gives is the name it was made from.

use super::format::counts;
use std::fmt;

/// What a file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Part of the log, or made to be its next part.
    Log,
    /// Written through and ready to become part of the log.
    Spare,
    /// Not written through yet.
    New,
}

/// Number and role of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileName {
    pub number: u64,
    pub role: Role,
}

const DIGITS: usize = 16;

impl FileName {
    pub fn log(number: u64) -> Self {
        Self { number, role: Role::Log }
    }

    /// What `name` means, if it is one of the log's.
    pub fn of(name: &str) -> Option<Self> {
        let (digits, ending) = name.split_once('.')?;
        let lower = |digit: u8| digit.is_ascii_digit() || (b'a'..=b'f').contains(&digit);
        if digits.len() != DIGITS || !digits.bytes().all(lower) {
            return None;
        }
        let role = match ending {
            "wal" => Role::Log,
            "spare" => Role::Spare,
            "new" => Role::New,
            _ => return None,
        };
        let number = u64::from_str_radix(digits, 16).ok().filter(|number| counts(*number))?;
        Some(Self { number, role })
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ending = match self.role {
            Role::Log => "wal",
            Role::Spare => "spare",
            Role::New => "new",
        };
        write!(formatter, "{:016x}.{ending}", self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for role in [Role::Log, Role::Spare, Role::New] {
            let name = FileName { number: 0xab, role };
            assert_eq!(FileName::of(&name.to_string()), Some(name));
        }
        for name in
            ["1.wal", "00000000000000AB.wal", "00000000000000ab.wal.old", "lock", "", "ffffffffffffffff.wal"]
        {
            assert_eq!(FileName::of(name), None, "{name}");
        }
    }
}
