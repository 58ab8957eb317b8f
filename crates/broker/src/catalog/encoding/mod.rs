//! The on-disk forms of commands and of the whole catalog, drawn in `docs/internals/catalog-format.md`.
//!
//! Invariant: bytes that were not written by this module, or by an older one, are refused with the place
//! and the reason, and never panic. What does not follow from other rows is written; what does is not.

mod command;
mod copies;
mod field;
mod restore;
mod snapshot;

use crate::codec::{DecodeError, Reader};

/// Refuses a format that this module does not know; `what` says of what.
fn check_format(reader: &mut Reader<'_>, format: u8, what: &str) -> Result<(), DecodeError> {
    match reader.u8()? {
        found if found == format => Ok(()),
        found => reader.refuse(0, format!("{what} of format {found}, known is format {format}")),
    }
}
