//! One connection to the limit program: the handshake, the few methods the generator calls, and the stream.
//!
//! Invariant: a connection that has begun to consume writes through the outbox only, so that one thread writes.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::thread;

use super::outbox::Outbox;
use super::relay::{Frame, Relay, first_frame, first_name, method_id};
use crate::error::{Error, Result};
use crate::wire::{self, FRAME_BYTES_MAX, FRAME_HEARTBEAT, FRAME_METHOD, MethodId, PROTOCOL_HEADER, encode};

/// Larger than the largest frame.
const INBOX_BYTES: usize = 256 * 1024;

pub struct Session {
    stream: TcpStream,
    outbox: Arc<Outbox>,
    relay: Relay,
    /// What this connection says itself; deliveries go to the consumer's outbox instead.
    replies: Vec<u8>,
    deliveries: Vec<u8>,
    confirms: bool,
    consumes: bool,
    is_closing: bool,
}

fn io(what: &'static str) -> impl Fn(std::io::Error) -> Error {
    move |error| Error::io(what, &error)
}

impl Session {
    pub fn new(stream: TcpStream, outbox: Arc<Outbox>) -> Result<Self> {
        stream.set_nodelay(true).map_err(io("setting TCP_NODELAY"))?;
        Ok(Self {
            stream,
            outbox,
            relay: Relay::default(),
            replies: Vec::new(),
            deliveries: Vec::new(),
            confirms: false,
            consumes: false,
            is_closing: false,
        })
    }

    pub fn serve(mut self) -> Result<()> {
        let mut header = [0; PROTOCOL_HEADER.len()];
        self.stream.read_exact(&mut header).map_err(io("reading the protocol header"))?;
        if header != PROTOCOL_HEADER {
            return Err(Error::Protocol("not AMQP 0-9-1".into()));
        }
        encode::method(&mut self.replies, 0, wire::CONNECTION_START, |args| {
            args.u8(0).u8(9).table(|_| {}).long(b"PLAIN").long(b"en_US");
        });
        self.flush_replies()?;
        let result = self.read_all();
        if self.consumes {
            self.outbox.close();
        }
        result
    }

    fn read_all(&mut self) -> Result<()> {
        let mut inbox = vec![0; INBOX_BYTES];
        let mut filled = 0;
        while !self.is_closing {
            match self.stream.read(&mut inbox[filled..]) {
                Ok(0) => return Ok(()),
                Ok(received) => filled += received,
                Err(error) => return Err(Error::io("reading", &error)),
            }
            let used = self.take_frames(&inbox[..filled])?;
            inbox.copy_within(used..filled, 0);
            filled -= used;
            self.hand_over()?;
        }
        Ok(())
    }

    fn take_frames(&mut self, bytes: &[u8]) -> Result<usize> {
        let mut at = 0;
        while let Some(frame) = first_frame(&bytes[at..])? {
            if !self.relay.frame(&frame, &mut self.deliveries)? {
                self.on_other(&frame)?;
            }
            at += frame.whole.len();
        }
        Ok(at)
    }

    /// Once per read of the socket: deliveries to the consumer, then what the publisher is told.
    fn hand_over(&mut self) -> Result<()> {
        if !self.deliveries.is_empty() {
            let full = std::mem::take(&mut self.deliveries);
            self.deliveries = self.outbox.push(full);
            if self.confirms {
                let tag = self.relay.count();
                encode::method(&mut self.replies, 1, wire::BASIC_ACK, |args| {
                    args.u64(tag).u8(1);
                });
            }
        }
        self.flush_replies()
    }

    fn flush_replies(&mut self) -> Result<()> {
        if self.replies.is_empty() {
            return Ok(());
        }
        let replies = std::mem::take(&mut self.replies);
        if self.consumes {
            self.outbox.push(replies);
            return Ok(());
        }
        self.stream.write_all(&replies).map_err(io("writing"))
    }

    fn on_other(&mut self, frame: &Frame<'_>) -> Result<()> {
        if frame.kind == FRAME_HEARTBEAT {
            return Ok(());
        }
        let id = method_id(frame.payload).filter(|_| frame.kind == FRAME_METHOD);
        let id = id.ok_or_else(|| Error::Protocol(format!("a frame of type {}", frame.kind)))?;
        match id {
            wire::BASIC_ACK | wire::CONNECTION_TUNE_OK => {}
            wire::CONNECTION_START_OK => self.reply(0, wire::CONNECTION_TUNE, |args| {
                args.u16(2047).u32(FRAME_BYTES_MAX).u16(0);
            }),
            wire::CONNECTION_CLOSE => {
                self.is_closing = true;
                self.reply(0, wire::CONNECTION_CLOSE_OK, |_| {});
            }
            wire::CONNECTION_OPEN => self.reply(0, wire::CONNECTION_OPEN_OK, |args| {
                args.short("");
            }),
            wire::CHANNEL_OPEN => self.reply(frame.channel, wire::CHANNEL_OPEN_OK, |args| {
                args.u32(0);
            }),
            wire::QUEUE_DECLARE => {
                let name = first_name(frame.payload)?;
                self.reply(frame.channel, wire::QUEUE_DECLARE_OK, |args| {
                    args.short(&name).u32(0).u32(0);
                });
            }
            wire::QUEUE_DELETE => {} // Only called with no-wait.
            wire::BASIC_CONSUME => self.on_consume()?,
            wire::CONFIRM_SELECT => {
                self.confirms = true;
                self.reply(frame.channel, wire::CONFIRM_SELECT_OK, |_| {});
            }
            wire::BASIC_QOS => self.reply(frame.channel, wire::BASIC_QOS_OK, |_| {}),
            wire::CHANNEL_CLOSE => self.reply(frame.channel, wire::CHANNEL_CLOSE_OK, |_| {}),
            other => {
                let method = wire::method_name(other);
                return Err(Error::Protocol(format!(
                    "method {method} is nothing for a program with nothing in it"
                )));
            }
        }
        Ok(())
    }

    fn reply(&mut self, channel: u16, id: MethodId, fill: impl FnOnce(&mut encode::Args<'_>)) {
        encode::method(&mut self.replies, channel, id, fill);
    }

    /// From here on a thread of its own writes what publishers hand over.
    fn on_consume(&mut self) -> Result<()> {
        self.reply(1, wire::BASIC_CONSUME_OK, |args| {
            args.short("1");
        });
        self.flush_replies()?;
        let mut stream = self.stream.try_clone().map_err(io("duplicating a socket"))?;
        self.consumes = true;
        let outbox = Arc::clone(&self.outbox);
        outbox.open();
        thread::spawn(move || {
            let mut written = Vec::new();
            while let Some(buffer) = outbox.pop(written) {
                if stream.write_all(&buffer).is_err() {
                    outbox.close();
                    return;
                }
                written = buffer;
            }
        });
        Ok(())
    }
}
