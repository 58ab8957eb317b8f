//! A program with nothing in it: what a broker could do at most with this client on this machine.
//!
//! Invariant: each publish is parsed, copied once into the consumer's outbox as a deliver, and written; one thread
//! reads and encodes, one writes. Nothing is looked up, stored or counted beyond the delivery tag.

mod outbox;
mod process;
mod relay;
mod session;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::thread;

use crate::error::{Error, Result};

pub use process::LimitProcess;

/// Listens on a loopback port, prints its number, and serves until standard input ends (the parent is gone).
pub fn serve() -> Result<()> {
    let io = |what: &'static str| move |error: std::io::Error| Error::io(what, &error);
    let listener = TcpListener::bind("127.0.0.1:0").map_err(io("limit: listening"))?;
    let port = listener.local_addr().map_err(io("limit: listening"))?.port();
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{port}").and_then(|()| stdout.flush()).map_err(io("limit: telling the port"))?;
    thread::spawn(move || accept(&listener));
    let mut byte = [0];
    while std::io::stdin().read(&mut byte).is_ok_and(|count| count > 0) {}
    Ok(())
}

fn accept(listener: &TcpListener) {
    let outbox = Arc::new(outbox::Outbox::default());
    for stream in listener.incoming() {
        let Ok(stream) = stream else { continue };
        let outbox = Arc::clone(&outbox);
        thread::spawn(move || {
            if let Err(error) = session::Session::new(stream, outbox).and_then(session::Session::serve) {
                eprintln!("limit: {error}");
            }
        });
    }
}
