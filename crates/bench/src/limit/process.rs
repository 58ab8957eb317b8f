//! The limit program as a child process, so that its CPU time can be told from the generator's.
//!
//! Invariant: the child ends with this value; should the parent die first, the child sees its standard input end.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};

use crate::client::Target;
use crate::error::{Error, Result};
use crate::process::Pid;

#[derive(Debug)]
pub struct LimitProcess {
    child: Child,
    port: u16,
}

impl LimitProcess {
    pub fn start() -> Result<Self> {
        let io = |error: std::io::Error| Error::io("starting the limit program", &error);
        let program = std::env::current_exe().map_err(io)?;
        let mut child = Command::new(program)
            .arg("limit-serve")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(io)?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut line).map_err(io)?;
        }
        let mut process = Self { child, port: 0 };
        process.port = line
            .trim()
            .parse()
            .map_err(|_| Error::Protocol(format!("the limit program did not tell its port but {line:?}")))?;
        Ok(process)
    }

    /// The limit program in place of a broker.
    pub fn target(&self, like: &Target) -> Target {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        like.at("limit", address, Some(Pid(self.child.id())))
    }
}

impl Drop for LimitProcess {
    fn drop(&mut self) {
        // Both fail only when the child has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
