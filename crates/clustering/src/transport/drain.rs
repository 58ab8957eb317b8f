//! What the one who writes to a link has in hand: frames, and the sealed records they become.
//!
//! Invariant: what is sealed leaves in that order and once; no more than `LINK_STAGE_BYTES` are sealed ahead of
//! the socket, so a long frame needs no second buffer of its size.

use super::record::{OVERHEAD_BYTES, Sealer};
use parking_lot::Mutex;
use std::io::Write;
use types::limits::LINK_STAGE_BYTES;

/// How a link's bytes are sealed.
pub(super) enum Seal {
    Own(Sealer),
    /// By the session in `Wire::tls`.
    Tls,
}

/// What the one who writes has in hand.
pub(super) struct Drain {
    seal: Seal,
    /// Frames, sealed up to `plain_from`.
    plain: Vec<u8>,
    plain_from: usize,
    staged: Vec<u8>,
    staged_from: usize,
    staged_end: usize,
    /// Bytes of frames in `staged`.
    staged_plain: usize,
    record_bytes: usize,
}

impl Drain {
    pub(super) fn new(seal: Seal, record_bytes: usize) -> Drain {
        Drain {
            seal,
            plain: Vec::new(),
            plain_from: 0,
            staged: Vec::new(),
            staged_from: 0,
            staged_end: 0,
            staged_plain: 0,
            record_bytes,
        }
    }

    /// Takes frames in hand, after the last ones were all sealed.
    pub(super) fn begin(&mut self, plain: Vec<u8>) {
        self.plain = plain;
        self.plain_from = 0;
    }

    /// Gives the buffer back when all of it is sealed and written.
    pub(super) fn end(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.plain)
    }

    /// Sealed bytes that are to be written.
    pub(super) fn sealed(&self) -> &[u8] {
        &self.staged[self.staged_from..self.staged_end]
    }

    /// So many of them are written.
    pub(super) fn written(&mut self, bytes: usize) {
        self.staged_from += bytes;
    }

    /// Bytes of frames, and bytes in all, that the last `stage` sealed.
    pub(super) fn stage_bytes(&self) -> (usize, usize) {
        (self.staged_plain, self.staged_end)
    }

    /// Seals the next records; None when that cannot be done.
    pub(super) fn stage(&mut self, tls: Option<&Mutex<rustls::Connection>>) -> Option<()> {
        (self.staged_from, self.staged_end, self.staged_plain) = (0, 0, 0);
        let from = self.plain_from;
        match (&mut self.seal, tls) {
            (Seal::Own(sealer), _) => {
                let rest = &self.plain[from..];
                let rest = &rest[..rest.len().min(LINK_STAGE_BYTES)];
                let wanted = rest.len() + rest.len().div_ceil(self.record_bytes) * OVERHEAD_BYTES;
                if self.staged.len() < wanted {
                    self.staged.resize(wanted, 0);
                }
                for record in rest.chunks(self.record_bytes) {
                    self.staged_end += sealer.seal(record, &mut self.staged[self.staged_end..]).ok()?;
                }
                self.plain_from += rest.len();
            }
            (Seal::Tls, Some(tls)) => {
                self.staged.clear();
                let mut session = tls.lock();
                loop {
                    while session.wants_write() {
                        session.write_tls(&mut self.staged).ok()?;
                    }
                    if self.plain_from == self.plain.len() || self.staged.len() >= LINK_STAGE_BYTES {
                        break;
                    }
                    let taken = session.writer().write(&self.plain[self.plain_from..]).ok()?;
                    if taken == 0 {
                        return None;
                    }
                    self.plain_from += taken;
                }
                self.staged_end = self.staged.len();
            }
            (Seal::Tls, None) => return None,
        }
        self.staged_plain = self.plain_from - from;
        Some(())
    }
}
