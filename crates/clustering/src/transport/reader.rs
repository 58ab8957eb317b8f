//! The reading end of a link.
//!
//! Invariant: frames go out whole and in order, and none after an error.

use super::inflow::Inflow;
use super::record::Opener;
use super::wire::Wire;
use bytes::Bytes;
use std::io::{self, ErrorKind};
use std::sync::Arc;

/// The reading end of a link. The link closes when it is dropped.
pub struct LinkReader {
    wire: Arc<Wire>,
    /// None: TLS opens.
    opener: Option<Opener>,
    inflow: Inflow,
    /// The TLS session may have opened something already, with the end of the handshake.
    may_have_more: bool,
}

impl LinkReader {
    pub(super) fn new(wire: Arc<Wire>, opener: Option<Opener>, inflow: Inflow) -> LinkReader {
        let may_have_more = opener.is_none();
        LinkReader { wire, opener, inflow, may_have_more }
    }

    /// Waits until something comes, reads once and calls `each` for the whole frames that have come by then,
    /// which may be none. They are slices of a buffer of some 500 KiB: who keeps a small one for long should
    /// copy it. Nothing is lost when the future is dropped.
    ///
    /// False: the link is closed, by the other side or by this one.
    ///
    /// # Errors
    /// The connection broke, or what came does not open or is no frame; the link is over then.
    pub async fn read(&mut self, each: &mut (dyn FnMut(Bytes) + Send)) -> io::Result<bool> {
        if std::mem::take(&mut self.may_have_more) {
            self.open(each)?;
        }
        loop {
            if self.wire.is_closed() {
                return Ok(false);
            }
            self.wire.socket.readable().await?;
            match self.wire.socket.try_read(self.inflow.space()) {
                Ok(0) => return self.ended(),
                Ok(count) => {
                    self.inflow.came(count);
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
        if self.wire.is_closed() || self.inflow.is_empty() {
            return Ok(false);
        }
        Err(io::Error::new(ErrorKind::UnexpectedEof, "it was closed in the middle of a frame"))
    }

    fn open(&mut self, each: &mut (dyn FnMut(Bytes) + Send)) -> io::Result<()> {
        if let Some(opener) = &mut self.opener {
            return self.inflow.open(opener, each);
        }
        let Some(tls) = &self.wire.tls else { return Ok(()) };
        let mut session = tls.lock();
        let opened = self.inflow.open_tls(&mut session);
        let owes = session.wants_write();
        drop(session);
        if owes {
            self.wire.tls_owes();
            self.wire.flush();
        }
        self.inflow.frames(each)?;
        opened
    }
}

impl Drop for LinkReader {
    fn drop(&mut self) {
        self.wire.close();
    }
}
