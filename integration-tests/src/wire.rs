//! A client on a bare socket: every byte that leaves is chosen by the test, every frame that comes is shown.

use crate::frame::{FRAME_END, FRAME_MAX, Frame, FrameReader, Payload, frame, open_channel};
use crate::wait::soon;
use std::io::ErrorKind;
use std::net::SocketAddr;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

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
        let capabilities = capabilities.field("connection.blocked", b't', &[1]);
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

    /// The same while deliveries may come in between; they are dropped.
    pub async fn sync_past_deliveries(&mut self, channel: u16) {
        self.method(channel, Payload::method(60, 10).long(0).short(0).octet(0)).await;
        while self.next_method().await.ids() != (60, 11) {}
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
