//! AMQP frames as bytes, and their fields one by one.
//!
//! The codec is the tests' own, so that it cannot share a mistake with the broker's.

/// The mark at the end of each frame.
pub(crate) const FRAME_END: u8 = 206;
/// The frame-max that tests agree on.
pub(crate) const FRAME_MAX: u32 = 131_072;

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
