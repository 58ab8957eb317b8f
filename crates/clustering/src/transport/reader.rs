//! The reading end of a link.
//!
//! Invariant: only what was opened with the link's own key goes out, as whole frames, in order.

use super::intake::Intake;
use super::record::{OVERHEAD_BYTES, Opener, Record};
use super::wire::Wire;
use bytes::Bytes;
use std::io::{self, ErrorKind, Read};
use std::sync::Arc;
use types::limits::LINK_RECORD_MAX_BYTES;

/// What a TLS record holds at most.
const TLS_PLAIN_BYTES: usize = 16 * 1024;

/// The reading end of a link. The link closes when it is dropped.
pub struct LinkReader {
    wire: Arc<Wire>,
    /// None: TLS opens.
    opener: Option<Opener>,
    /// Bytes as they came, from `from` to `end`.
    raw: Box<[u8]>,
    from: usize,
    end: usize,
    intake: Intake,
    /// The TLS session may have opened something already, with the end of the handshake.
    may_have_more: bool,
}

impl LinkReader {
    pub(super) fn new(
        wire: Arc<Wire>,
        opener: Option<Opener>,
        read_bytes: usize,
        intake: Intake,
    ) -> LinkReader {
        let may_have_more = opener.is_none();
        let read_bytes = read_bytes.max(2 * (LINK_RECORD_MAX_BYTES + OVERHEAD_BYTES));
        let raw = vec![0; read_bytes].into_boxed_slice();
        LinkReader { wire, opener, raw, from: 0, end: 0, intake, may_have_more }
    }

    /// Waits until something comes, reads once and calls `each` for the whole frames that have come by then,
    /// which may be none. They are slices of a buffer of some 100 KiB: who keeps a small one for long should
    /// copy it. Nothing is lost when the future is dropped.
    ///
    /// False: the link is closed, by the other side or by this one.
    ///
    /// # Errors
    /// The connection broke, or what came does not open or is no frame; the link is over then.
    pub async fn read(&mut self, each: &mut (dyn FnMut(Bytes) + Send)) -> io::Result<bool> {
        if std::mem::take(&mut self.may_have_more) {
            self.open_tls(each)?;
        }
        loop {
            if self.wire.is_closed() {
                return Ok(false);
            }
            self.wire.socket.readable().await?;
            match self.wire.socket.try_read(&mut self.raw[self.end..]) {
                Ok(0) => return self.ended(),
                Ok(count) => {
                    self.end += count;
                    self.open(each)?;
                    return Ok(true);
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                Err(_) if self.wire.is_closed() => return Ok(false),
                Err(error) => return Err(error),
            }
        }
    }

    fn ended(&self) -> io::Result<bool> {
        if self.wire.is_closed() || (self.from == self.end && self.intake.is_empty()) {
            return Ok(false);
        }
        Err(io::Error::new(ErrorKind::UnexpectedEof, "it was closed in the middle of a frame"))
    }

    fn open(&mut self, each: &mut (dyn FnMut(Bytes) + Send)) -> io::Result<()> {
        let opened = match self.opener {
            Some(_) => self.open_records(),
            None => return self.open_tls(each),
        };
        // What came before a record that does not open is good.
        self.intake.frames(each)?;
        opened?;
        if self.from == self.end {
            (self.from, self.end) = (0, 0);
        } else if self.raw.len() - self.end < LINK_RECORD_MAX_BYTES + OVERHEAD_BYTES {
            self.raw.copy_within(self.from..self.end, 0);
            (self.from, self.end) = (0, self.end - self.from);
        }
        Ok(())
    }

    fn open_records(&mut self) -> io::Result<()> {
        let Some(opener) = &mut self.opener else { return Ok(()) };
        while let Some(record) = Record::first(&self.raw[self.from..self.end])? {
            let plain = self.intake.space(record.plain_bytes());
            if let Err(error) = opener.open(&record, plain) {
                self.intake.unfilled(record.plain_bytes());
                return Err(error.into());
            }
            self.from += record.bytes();
        }
        Ok(())
    }

    fn open_tls(&mut self, each: &mut (dyn FnMut(Bytes) + Send)) -> io::Result<()> {
        let Some(tls) = &self.wire.tls else { return Ok(()) };
        let mut session = tls.lock();
        let mut result = Ok(());
        loop {
            while result.is_ok() {
                let space = self.intake.space(TLS_PLAIN_BYTES);
                let read = session.reader().read(space);
                self.intake.unfilled(TLS_PLAIN_BYTES - *read.as_ref().unwrap_or(&0));
                match read {
                    // The other side said that it closes; the socket tells as well.
                    Ok(0) => break,
                    Ok(_) => {}
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => result = Err(error),
                }
            }
            let mut raw = &self.raw[self.from..self.end];
            if result.is_err() || raw.is_empty() {
                break;
            }
            result = match session.read_tls(&mut raw) {
                Ok(0) => break,
                Ok(count) => {
                    self.from += count;
                    session.process_new_packets().map(|_| ()).map_err(io::Error::other)
                }
                Err(error) => Err(error),
            };
        }
        (self.from, self.end) = (0, 0);
        let owes = session.wants_write();
        drop(session);
        if owes {
            self.wire.tls_owes();
            self.wire.flush();
        }
        self.intake.frames(each)?;
        result
    }
}

impl Drop for LinkReader {
    fn drop(&mut self) {
        self.wire.close();
    }
}
