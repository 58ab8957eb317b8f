//! From an open socket to an open channel.
//!
//! Invariant: heartbeats are off (an idle connection costs no traffic), and frame_max is never above what the
//! inbox holds.

use super::{CHANNEL, Connection, Target, write_fully};
use crate::error::{Error, Result};
use crate::wire::read::Reader;
use crate::wire::{self, FRAME_BYTES_MAX, PROTOCOL_HEADER};

/// The smallest frame_max the protocol allows.
const FRAME_BYTES_MIN: u32 = 4096;

impl Connection {
    pub(super) fn shake_hands(&mut self, target: &Target) -> Result<()> {
        write_fully(&self.stream, &PROTOCOL_HEADER, self.timeout, self.give_up())?;
        self.wait_for(wire::CONNECTION_START, 1).map_err(|error| self.explain_refusal(error))?;
        self.queue(0, wire::CONNECTION_START_OK, |args| {
            let answer = format!("\0{}\0{}", target.user, target.password);
            args.table(|properties| {
                properties.text("product", "bench").table("capabilities", |capabilities| {
                    for name in [
                        "publisher_confirms",
                        "basic.nack",
                        "connection.blocked",
                        "authentication_failure_close",
                    ] {
                        capabilities.flag(name, true);
                    }
                });
            });
            args.short("PLAIN").long(answer.as_bytes()).short("en_US");
        });
        let tune = self.wait_for(wire::CONNECTION_TUNE, 1)?;
        let mut tune = Reader::new(&tune);
        let channels_max = tune.u16()?;
        self.frame_bytes_max = agreed_frame_bytes(tune.u32()?);
        let frame_bytes_max = self.frame_bytes_max;
        self.queue(0, wire::CONNECTION_TUNE_OK, |args| {
            args.u16(channels_max).u32(frame_bytes_max).u16(0);
        });
        self.queue(0, wire::CONNECTION_OPEN, |args| {
            args.short(&target.vhost).short("").u8(0);
        });
        self.wait_for(wire::CONNECTION_OPEN_OK, 1)?;
        Ok(())
    }

    pub(super) fn open_channel(&mut self) -> Result<()> {
        self.queue(CHANNEL, wire::CHANNEL_OPEN, |args| {
            args.short("");
        });
        self.wait_for(wire::CHANNEL_OPEN_OK, 1)?;
        Ok(())
    }

    /// A server that wants another protocol answers with its own header instead of a frame.
    fn explain_refusal(&self, error: Error) -> Error {
        let received = &self.inbox.bytes[self.inbox.start..self.inbox.end];
        match received.strip_prefix(b"AMQP") {
            Some(version) => Error::Protocol(format!("the server speaks AMQP {version:?}, not 0-9-1")),
            None => error,
        }
    }
}

fn agreed_frame_bytes(offered: u32) -> u32 {
    if offered == 0 { FRAME_BYTES_MAX } else { offered.clamp(FRAME_BYTES_MIN, FRAME_BYTES_MAX) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_limit_means_ours() {
        assert_eq!(agreed_frame_bytes(0), FRAME_BYTES_MAX);
        assert_eq!(agreed_frame_bytes(8192), 8192);
        assert_eq!(agreed_frame_bytes(u32::MAX), FRAME_BYTES_MAX);
    }
}
