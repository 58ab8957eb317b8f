//! A TCP proxy that can stop to forward, and goes on to accept then, like the kernel for a paused process.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

pub struct Proxy {
    pub addr: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    paused: AtomicBool,
    over: AtomicBool,
}

impl Proxy {
    pub fn start(to: SocketAddr) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let state = Arc::new(State::default());
        let shared = state.clone();
        std::thread::spawn(move || {
            for near in listener.incoming().flatten() {
                if shared.over.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(far) = TcpStream::connect(to) else { continue };
                let (near_too, far_too) = (near.try_clone().unwrap(), far.try_clone().unwrap());
                let (one, two) = (shared.clone(), shared.clone());
                std::thread::spawn(move || forward(&one, near, far_too));
                std::thread::spawn(move || forward(&two, far, near_too));
            }
        });
        Proxy { addr, state }
    }

    pub fn pause(&self, paused: bool) {
        self.state.paused.store(paused, Ordering::SeqCst);
    }
}

fn forward(state: &State, mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = [0; 64 * 1024];
    loop {
        let count = from.read(&mut buffer).unwrap_or(0);
        while state.paused.load(Ordering::SeqCst) && !state.over.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(2));
        }
        if count == 0 || to.write_all(&buffer[..count]).is_err() {
            let _ = to.shutdown(Shutdown::Both);
            let _ = from.shutdown(Shutdown::Both);
            return;
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.state.over.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.addr);
    }
}
