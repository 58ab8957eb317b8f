//! The three requests to the management API that definitions of users need.
//!
//! Invariant: one request per connection, bounded in time.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::client::Target;
use crate::error::{Error, Result};

const PATIENCE: Duration = Duration::from_secs(30);

pub fn put_user(target: &Target, port: u16, name: &str) -> Result<()> {
    expect(request(target, port, "PUT", name, r#"{"password":"secret","tags":""}"#)?, &[201, 204])
}

/// False when there was no such user.
pub fn delete_user(target: &Target, port: u16, name: &str) -> Result<bool> {
    let status = request(target, port, "DELETE", name, "")?;
    expect(status, &[204, 404])?;
    Ok(status == 204)
}

pub fn has_user(target: &Target, port: u16, name: &str) -> Result<bool> {
    let status = request(target, port, "GET", name, "")?;
    expect(status, &[200, 404])?;
    Ok(status == 200)
}

fn expect(status: u16, wanted: &[u16]) -> Result<()> {
    if wanted.contains(&status) {
        return Ok(());
    }
    Err(Error::Protocol(format!("the HTTP API answered {status}, expected was one of {wanted:?}")))
}

/// Gives the status.
fn request(target: &Target, port: u16, method: &str, user: &str, body: &str) -> Result<u16> {
    let io = |error: std::io::Error| Error::io(format!("{method} /api/users/{user} on port {port}"), &error);
    let mut stream = TcpStream::connect((target.address.ip(), port)).map_err(io)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(io)?;
    stream.set_write_timeout(Some(PATIENCE)).map_err(io)?;
    let credentials = base64(format!("{}:{}", target.user, target.password).as_bytes());
    let head = format!(
        "{method} /api/users/{user} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic {credentials}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes())).map_err(io)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).map_err(io)?;
    let line = answer.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let status = String::from_utf8_lossy(line).split(' ').nth(1).and_then(|status| status.parse().ok());
    status.ok_or_else(|| Error::Protocol(format!("{method} /api/users/{user}: no HTTP answer")))
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let word =
            chunk.iter().chain(&[0, 0]).take(3).fold(0_usize, |word, byte| word << 8 | usize::from(*byte));
        for at in 0..4 {
            let letter = char::from(LETTERS[word >> (18 - 6 * at) & 63]);
            text.push(if at <= chunk.len() { letter } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_as_in_its_standard() {
        let cases =
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("guest:guest", "Z3Vlc3Q6Z3Vlc3Q=")];
        for (plain, coded) in cases {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
    }
}
