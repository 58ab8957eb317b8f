//! Just enough HTTP to ask the broker's API as guest.

use crate::process::Broker;
use crate::wait::soon;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// guest:guest in base64.
const GUEST: &str = "Z3Vlc3Q6Z3Vlc3Q=";

impl Broker {
    /// Sends a request with a JSON body and gives status and body of the answer.
    pub async fn http(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let addr = self.http.expect("the HTTP API is on");
        let mut stream = TcpStream::connect(addr).await.expect("the API accepts");
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {addr}\r\nauthorization: Basic {GUEST}\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all((head + body).as_bytes()).await.expect("the API reads");
        let mut answer = Vec::new();
        soon("an answer of the API", stream.read_to_end(&mut answer)).await.expect("the API answers");
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        (status, body.to_owned())
    }

    /// Puts a JSON body, which must be taken.
    pub async fn http_put(&self, path: &str, body: &str) {
        let (status, answer) = self.http("PUT", path, body).await;
        assert!((200..300).contains(&status), "PUT {path}: {status} {answer}");
    }
}
