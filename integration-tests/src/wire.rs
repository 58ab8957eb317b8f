//! A client on a bare socket: every byte that leaves is chosen by the test, every frame that comes is shown.
//!
//! The codec here is the tests' own, so that it cannot share a mistake with the broker's.

use crate::wait::soon;
use std::io::ErrorKind;
use std::net::SocketAddr;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// The mark at the end of each frame.
const FRAME_END: u8 = 206;
/// The frame-max that [`Peer::open`] agrees on.
const FRAME_MAX: u32 = 131_072;

/// Builds the payload of a method, header or table, field by field.
#[derive(Clone, Debug, Default)]
pub struct Payload(pub Vec<u8>);

impl Payload {
    /// A method's payload, with its class and method.
    pub fn method(class: u16, method: u16) -> Payload {
        Payload::default().short(class).short(method)
    }

    /// Class and method of a method's payload.
    pub fn ids(&self) -> (u16, u16) {
        let mut reader = FrameReader(&self.0);
        (reader.short(), reader.short())
    }

    /// Bytes as they are.
    pub fn raw(mut self, bytes: &[u8]) -> Payload {
        self.0.extend_from_slice(bytes);
        self
    }

    /// An octet; also a group of bits, the first one lowest.
    pub fn octet(self, value: u8) -> Payload {
        self.raw(&[value])
    }

    /// Two octets.
    pub fn short(self, value: u16) -> Payload {
        self.raw(&value.to_be_bytes())
    }

    /// Four octets.
    pub fn long(self, value: u32) -> Payload {
        self.raw(&value.to_be_bytes())
    }

    /// Eight octets.
    pub fn longlong(self, value: u64) -> Payload {
        self.raw(&value.to_be_bytes())
    }

    /// A short string.
    pub fn text(self, value: &str) -> Payload {
        self.octet(u8::try_from(value.len()).expect("a short string")).raw(value.as_bytes())
    }

    /// A long string, or a table of encoded fields.
    pub fn longtext(self, value: &[u8]) -> Payload {
        self.long(u32::try_from(value.len()).expect("a long string")).raw(value)
    }

    /// A field of a table: its name, its type and its value's bytes.
    pub fn field(self, name: &str, kind: u8, value: &[u8]) -> Payload {
        self.text(name).octet(kind).raw(value)
    }
}

/// The bytes of a frame.
pub fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let head = Payload::default().octet(kind).short(channel);
    head.longtext(payload).octet(FRAME_END).0
}

/// The bytes of channel.open.
pub fn open_channel(channel: u16) -> Vec<u8> {
    frame(1, channel, &Payload::method(20, 10).text("").0)
}

/// The bytes of a publish: method, header and body frames. `flags`: 1 mandatory, 2 immediate.
pub fn publish_frames(
    channel: u16,
    (exchange, key): (&str, &str),
    flags: u8,
    properties: &[u8],
    body: &[u8],
) -> Vec<u8> {
    let method = Payload::method(60, 40).short(0).text(exchange).text(key).octet(flags);
    let mut bytes = frame(1, channel, &method.0);
    let header = Payload::default().short(60).short(0).longlong(body.len() as u64).raw(properties);
    bytes.extend(frame(2, channel, &header.0));
    for part in body.chunks(FRAME_MAX as usize - 8) {
        bytes.extend(frame(3, channel, part));
    }
    bytes
}

/// A frame that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// 1 method, 2 header, 3 body, 8 heartbeat.
    pub kind: u8,
    /// The channel.
    pub channel: u16,
    /// What is in it.
    pub payload: Vec<u8>,
}

impl Frame {
    /// Class and method of a method frame; (0, 0) for others.
    pub fn ids(&self) -> (u16, u16) {
        match (self.kind, self.payload.first_chunk::<4>()) {
            (1, Some([a, b, c, d])) => (u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d])),
            _ => (0, 0),
        }
    }

    /// Reads a method's fields, from the first after the ids.
    pub fn fields(&self) -> FrameReader<'_> {
        FrameReader(&self.payload[4..])
    }
}

/// Reads fields one after the other.
#[derive(Debug)]
pub struct FrameReader<'a>(pub &'a [u8]);

impl<'a> FrameReader<'a> {
    /// The next `count` bytes.
    pub fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count);
        self.0 = rest;
        taken
    }

    /// An octet.
    pub fn octet(&mut self) -> u8 {
        self.take(1)[0]
    }

    /// Two octets.
    pub fn short(&mut self) -> u16 {
        u16::from_be_bytes(self.take(2).try_into().expect("two octets"))
    }

    /// Four octets.
    pub fn long(&mut self) -> u32 {
        u32::from_be_bytes(self.take(4).try_into().expect("four octets"))
    }

    /// Eight octets.
    pub fn longlong(&mut self) -> u64 {
        u64::from_be_bytes(self.take(8).try_into().expect("eight octets"))
    }

    /// A short string.
    pub fn text(&mut self) -> String {
        let length = self.octet().into();
        String::from_utf8_lossy(self.take(length)).into_owned()
    }

    /// A long string or a table's bytes.
    pub fn longtext(&mut self) -> &'a [u8] {
        let length = self.long() as usize;
        self.take(length)
    }
}

/// What channel.close or connection.close says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Close {
    /// 0: the connection was closed.
    pub channel: u16,
    /// The reply code.
    pub code: u16,
    /// The reply text.
    pub text: String,
    /// The method at fault.
    pub ids: (u16, u16),
}

/// A client on a bare socket.
#[derive(Debug)]
pub struct Peer<S = TcpStream> {
    /// The socket.
    pub stream: S,
    read: Vec<u8>,
}

impl Peer {
    /// A socket on which nothing was said yet.
    pub async fn connect(addr: SocketAddr) -> Peer {
        let stream = TcpStream::connect(addr).await.expect("the broker accepts");
        stream.set_nodelay(true).expect("TCP_NODELAY");
        Peer::over(stream)
    }

    /// A connection as guest to `/`, without heartbeats.
    pub async fn open(addr: SocketAddr) -> Peer {
        let mut peer = Peer::connect(addr).await;
        peer.log_in("PLAIN", b"\0guest\0guest").await;
        peer.tune_and_open((2047, FRAME_MAX, 0), "/").await;
        peer
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Peer<S> {
    /// A peer over a stream of any kind.
    pub fn over(stream: S) -> Peer<S> {
        Peer { stream, read: Vec::new() }
    }

    /// Sends bytes; a socket that the broker closed shows when reading.
    pub async fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).await;
        let _ = self.stream.flush().await;
    }

    /// Sends a method.
    pub async fn method(&mut self, channel: u16, payload: Payload) {
        self.send(&frame(1, channel, &payload.0)).await;
    }

    /// Sends a method and gives the method that answers it.
    pub async fn call(&mut self, channel: u16, payload: Payload) -> Frame {
        self.method(channel, payload).await;
        self.next_method().await
    }

    /// Says the protocol header, reads connection.start and answers with a mechanism's response.
    pub async fn log_in(&mut self, mechanism: &str, response: &[u8]) -> Frame {
        self.send(b"AMQP\0\0\x09\x01").await;
        let start = self.next_method().await;
        assert_eq!(start.ids(), (10, 10), "connection.start");
        let capabilities = Payload::default().field("authentication_failure_close", b't', &[1]);
        let capabilities = capabilities.field("consumer_cancel_notify", b't', &[1]);
        let table = Payload::default().longtext(&capabilities.0);
        let client = Payload::default().field("capabilities", b'F', &table.0);
        let start_ok = Payload::method(10, 11).longtext(&client.0);
        self.method(0, start_ok.text(mechanism).longtext(response).text("en_US")).await;
        start
    }

    /// Answers connection.tune and opens a vhost.
    pub async fn tune_and_open(&mut self, tuning: (u16, u32, u16), vhost: &str) {
        let tune = self.next_method().await;
        assert_eq!(tune.ids(), (10, 30), "connection.tune");
        self.tune_ok(tuning).await;
        let open_ok = self.call(0, Payload::method(10, 40).text(vhost).text("").octet(0)).await;
        assert_eq!(open_ok.ids(), (10, 41), "connection.open-ok");
    }

    /// Sends connection.tune-ok with channel-max, frame-max and heartbeat.
    pub async fn tune_ok(&mut self, (channel_max, frame_max, heartbeat): (u16, u32, u16)) {
        let tune_ok = Payload::method(10, 31).short(channel_max).long(frame_max).short(heartbeat);
        self.method(0, tune_ok).await;
    }

    /// Opens a channel.
    pub async fn channel(&mut self, channel: u16) {
        self.send(&open_channel(channel)).await;
        assert_eq!(self.next_method().await.ids(), (20, 11), "channel.open-ok");
    }

    /// Declares a transient queue.
    pub async fn queue(&mut self, channel: u16, name: &str) {
        let declare = Payload::method(50, 10).short(0).text(name).octet(0).longtext(b"");
        assert_eq!(self.call(channel, declare).await.ids(), (50, 11), "queue.declare-ok");
    }

    /// A round trip: everything sent before has been seen by the broker.
    pub async fn sync(&mut self, channel: u16) {
        let qos_ok = self.call(channel, Payload::method(60, 10).long(0).short(0).octet(0)).await;
        assert_eq!(qos_ok.ids(), (60, 11), "basic.qos-ok");
    }

    /// The next frame; None at the end of the stream.
    pub async fn next_frame(&mut self) -> Option<Frame> {
        soon("a frame of the broker", self.read_frame()).await
    }

    async fn read_frame(&mut self) -> Option<Frame> {
        loop {
            if self.read.len() >= 7 {
                let mut head = FrameReader(&self.read);
                let (kind, channel, size) = (head.octet(), head.short(), head.long() as usize);
                if self.read.len() >= size + 8 {
                    assert_eq!(self.read[size + 7], FRAME_END, "the broker's frame end");
                    let payload = self.read[7..size + 7].to_vec();
                    self.read.drain(..size + 8);
                    return Some(Frame { kind, channel, payload });
                }
            }
            if !self.read_some().await {
                return None;
            }
        }
    }

    /// False at the end of the stream.
    async fn read_some(&mut self) -> bool {
        match self.stream.read_buf(&mut self.read).await {
            Ok(count) => count > 0,
            Err(error) => {
                let ends = [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe, ErrorKind::UnexpectedEof];
                assert!(ends.contains(&error.kind()), "the socket failed: {error}");
                false
            }
        }
    }

    /// The next frame that is no heartbeat; the stream must not end.
    pub async fn next_method(&mut self) -> Frame {
        loop {
            let frame = self.next_frame().await.expect("the broker closed the socket");
            if frame.kind != 8 {
                return frame;
            }
        }
    }

    /// The header and body behind a get-ok, deliver or return: properties and body.
    pub async fn content(&mut self) -> (Vec<u8>, Vec<u8>) {
        let header = self.next_method().await;
        assert_eq!(header.kind, 2, "a content header");
        let mut fields = FrameReader(&header.payload[4..]);
        let size = fields.longlong() as usize;
        let mut body = Vec::with_capacity(size);
        while body.len() < size {
            let part = self.next_method().await;
            assert_eq!(part.kind, 3, "a body frame");
            body.extend(part.payload);
        }
        (fields.0.to_vec(), body)
    }

    /// Reads up to a close of a channel or the connection, and answers it.
    pub async fn next_close(&mut self) -> Close {
        loop {
            let frame = self.next_method().await;
            let ids = frame.ids();
            if ids != (10, 50) && ids != (20, 40) {
                continue;
            }
            self.method(frame.channel, Payload::method(ids.0, ids.1 + 1)).await;
            let mut fields = frame.fields();
            return Close {
                channel: frame.channel,
                code: fields.short(),
                text: fields.text(),
                ids: (fields.short(), fields.short()),
            };
        }
    }

    /// Everything up to the end of the stream.
    pub async fn rest(&mut self) -> Vec<u8> {
        soon("the end of the stream", async {
            while self.read_some().await {}
            std::mem::take(&mut self.read)
        })
        .await
    }
}
