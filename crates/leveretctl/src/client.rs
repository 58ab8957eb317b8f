//! A minimal HTTP/1.1 client: one request per connection, JSON both ways.
//!
//! Invariant: no answer larger than `ANSWER_BYTES_MAX` is taken, and no wait is longer than the timeout.

use crate::failure::Failure;
use crate::target::Target;
use serde_json::Value;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

const ANSWER_BYTES_MAX: u64 = 1 << 30;

/// What a node answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Null when there was no body.
    pub(crate) body: Value,
}

/// A way to the node.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) target: Target,
    pub(crate) timeout: Duration,
}

impl Client {
    /// Asks, and refuses every answer that is not good.
    pub(crate) fn get(&self, path: &str) -> Result<Value, Failure> {
        self.ask("GET", path, None)
    }

    pub(crate) fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value, Failure> {
        let answer = self.send(method, path, body, &[])?;
        if (200..300).contains(&answer.status) {
            return Ok(answer.body);
        }
        Err(refusal(&answer))
    }

    /// Asks; gives whatever the node says.
    pub(crate) fn send(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
        headers: &[(&str, &str)],
    ) -> Result<Answer, Failure> {
        let unreachable = |error: io::Error| {
            Failure::unavailable(format!("unable to connect to the node at {}: {error}", self.target.address))
        };
        let raw = self.exchange(method, path, body, headers).map_err(unreachable)?;
        parse(&raw).ok_or_else(|| {
            Failure::unavailable(format!("{} does not answer as an HTTP API does", self.target.address))
        })
    }

    fn exchange(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
        headers: &[(&str, &str)],
    ) -> io::Result<Vec<u8>> {
        let deadline = Instant::now() + self.timeout;
        let mut stream = connect(&self.target.address, self.timeout)?;
        stream.set_write_timeout(Some(self.timeout))?;
        let body = body.map(Value::to_string).unwrap_or_default();
        let mut head = format!(
            "{method} {}{path} HTTP/1.1\r\nHost: {}\r\nAuthorization: {}\r\nConnection: close\r\nContent-Length: {}\r\n",
            self.target.prefix,
            self.target.address,
            self.target.authorization,
            body.len()
        );
        if !body.is_empty() {
            head.push_str("Content-Type: application/json\r\n");
        }
        for (name, value) in headers {
            let value: String = value.chars().filter(|c| (' '..='~').contains(c)).collect();
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        stream.write_all(head.as_bytes())?;
        stream.write_all(body.as_bytes())?;
        read_all(&mut stream, deadline)
    }
}

/// Connects to the first address that answers.
pub(crate) fn connect(address: &str, timeout: Duration) -> io::Result<TcpStream> {
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, timeout) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn read_all(stream: &mut TcpStream, deadline: Instant) -> io::Result<Vec<u8>> {
    let mut raw = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let left = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero());
        stream.set_read_timeout(Some(left.ok_or(io::ErrorKind::TimedOut)?))?;
        let count = match stream.read(&mut buffer) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if count == 0 {
            return Ok(raw);
        }
        raw.extend_from_slice(&buffer[..count]);
        if raw.len() as u64 > ANSWER_BYTES_MAX {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
    }
}

fn parse(raw: &[u8]) -> Option<Answer> {
    let end = raw.windows(4).position(|bytes| bytes == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&raw[..end]).ok()?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok()?;
    let is_chunked = lines.any(|line| {
        line.split_once(':').is_some_and(|(name, value)| {
            name.eq_ignore_ascii_case("transfer-encoding") && value.trim().eq_ignore_ascii_case("chunked")
        })
    });
    let body = &raw[end + 4..];
    let body = if is_chunked { unchunk(body)? } else { body.to_vec() };
    Some(Answer { status, body: serde_json::from_slice(&body).unwrap_or(Value::Null) })
}

fn unchunk(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|bytes| bytes == b"\r\n")?;
        let size = std::str::from_utf8(&rest[..end]).ok()?.split(';').next()?.trim();
        let size = usize::from_str_radix(size, 16).ok()?;
        rest = &rest[end + 2..];
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(..size)?);
        rest = rest.get(size + 2..)?;
    }
}

/// The failure that an answer means.
pub(crate) fn refusal(answer: &Answer) -> Failure {
    let reason = match answer.body.get("reason") {
        Some(Value::String(text)) => unescape(text.trim()),
        Some(other) => other.to_string(),
        None => format!("the node answered {}", answer.status),
    };
    match answer.status {
        400 | 404 | 409 => Failure::data(reason),
        401 => Failure::data(format!("access refused: {reason}")),
        503 => Failure::unavailable(reason),
        _ => Failure::software(reason),
    }
}

/// The API escapes some reasons for web pages.
fn unescape(text: &str) -> String {
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
}

/// Percent-encodes one segment of a path.
pub(crate) fn segment(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => encoded.push(byte.into()),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_in_both_forms() {
        let plain = parse(b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n{\"a\":1}").unwrap();
        let chunked = parse(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{\"a\r\n4\r\n\":1}\r\n0\r\n\r\n",
        )
        .unwrap();
        assert_eq!((plain.status, &plain.body), (200, &chunked.body));
        assert_eq!(plain.body["a"], 1);
        assert_eq!(parse(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap().body, Value::Null);
        for broken in [&b"SSH-2.0\r\n\r\n"[..], b"HTTP/1.1 200 OK", b"HTTP/1.1 2", b""] {
            assert!(parse(broken).is_none());
        }
    }

    #[test]
    fn segments_are_encoded() {
        assert_eq!(segment("/"), "%2F");
        assert_eq!(segment("a b~ü"), "a%20b~%C3%BC");
    }
}
