//! The broker a scenario is pointed at.
//!
//! Invariant: the address is resolved once, and texts that go into AMQP short strings are checked here.

use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::process::Pid;

#[derive(Debug, Clone)]
pub struct Target {
    pub name: String,
    pub address: SocketAddr,
    pub user: String,
    pub password: String,
    pub vhost: String,
    pub pid: Option<Pid>,
    pub timeout: Duration,
    /// Off for the connection that cleans up.
    pub heeds_interrupt: bool,
}

impl Target {
    /// Points at another broker with the same credentials.
    pub fn at(&self, name: &str, address: SocketAddr, pid: Option<Pid>) -> Self {
        Self { name: name.into(), address, pid, ..self.clone() }
    }
}

pub fn resolve(host: &str, port: u16) -> Result<SocketAddr> {
    let addresses =
        (host, port).to_socket_addrs().map_err(|error| Error::io(format!("resolving {host}"), &error))?;
    // "localhost" often gives ::1 first, where brokers seldom listen in test set-ups.
    let mut addresses: Vec<SocketAddr> = addresses.collect();
    addresses.sort_by_key(SocketAddr::is_ipv6);
    addresses.first().copied().ok_or_else(|| Error::Input(format!("{host} has no address")))
}

/// `name=host:port[,pid]`, where pid is a number or a process name.
pub fn parse(text: &str) -> Result<(String, SocketAddr, Option<Pid>)> {
    let wrong = || Error::Input(format!("{text}: a target is name=host:port or name=host:port,pid"));
    let (name, rest) = text.split_once('=').ok_or_else(wrong)?;
    let (address, pid) = match rest.split_once(',') {
        Some((address, pid)) => (address, Some(pid)),
        None => (rest, None),
    };
    let (host, port) = address.rsplit_once(':').ok_or_else(wrong)?;
    let port = port.parse().map_err(|_| wrong())?;
    let pid = match pid {
        None => None,
        Some(pid) => Some(pid.parse().map_or_else(|_| Pid::of_name(pid), |number| Ok(Pid(number)))?),
    };
    if name.is_empty() || host.is_empty() {
        return Err(wrong());
    }
    Ok((name.into(), resolve(host.trim_matches(['[', ']']), port)?, pid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_in_all_forms() {
        let (name, address, pid) = parse("leveret=127.0.0.1:5672,42").expect("a correct target");
        assert_eq!(
            (name.as_str(), address.to_string().as_str(), pid),
            ("leveret", "127.0.0.1:5672", Some(Pid(42)))
        );
        assert!(parse("x=[::1]:5672").is_ok_and(|(_, address, pid)| address.is_ipv6() && pid.is_none()));
        for wrong in
            ["", "x", "x=", "x=1.2.3.4", "=1.2.3.4:5", "x=:5", "x=1.2.3.4:99999", "x=1.2.3.4:5,no such name"]
        {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
