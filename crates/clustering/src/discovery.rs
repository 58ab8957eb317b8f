//! Where other nodes may be found, from the text of the `--join` flag.
//!
//! Invariant: names are looked up anew at each call, so that addresses may change.

use std::net::SocketAddr;
use std::time::Duration;
use tokio::task::JoinSet;
use types::limits::{DISCOVERY_LOOKUP_MS, GOSSIP_SEED_COUNT_MAX};

/// A list of places where other nodes may be found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Discovery {
    /// `host:port` or `ip:port`, each.
    Static(Vec<String>),
    /// All addresses that a name has.
    Dns {
        /// The name.
        name: String,
        /// The port, the same at all addresses.
        port: u16,
        /// How many nodes the cluster is to have, needed to form it; 0: not said.
        expected: usize,
    },
}

/// What a list came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolved {
    /// The addresses, sorted, each once.
    pub addrs: Vec<SocketAddr>,
    /// Names that could not be looked up, each with the reason.
    pub problems: Vec<String>,
}

impl Discovery {
    /// Reads the text of `--join`: `HOST:PORT,HOST:PORT` or `dns:NAME:PORT`. `expected` is the number of nodes the
    /// cluster is to have, 0 when it is not said.
    ///
    /// # Errors
    /// A text for the operator that names the key and the value.
    pub fn parse(join: &str, expected: usize) -> Result<Discovery, String> {
        if let Some(rest) = join.trim().strip_prefix("dns:") {
            let (name, port) = host_and_port(rest).map_err(|why| format!("join is '{join}': {why}"))?;
            return Ok(Discovery::Dns { name, port, expected });
        }
        let mut list = Vec::new();
        for place in join.split(',').map(str::trim).filter(|place| !place.is_empty()) {
            host_and_port(place).map_err(|why| format!("join is '{join}': {why}"))?;
            if !list.iter().any(|known| known == place) {
                list.push(place.to_owned());
            }
        }
        match list.len() {
            0 => {
                Err(format!("join is '{join}': it names no node; write HOST:PORT,HOST:PORT or dns:NAME:PORT"))
            }
            1..=GOSSIP_SEED_COUNT_MAX => Ok(Discovery::Static(list)),
            count => Err(format!("join names {count} nodes: at most {GOSSIP_SEED_COUNT_MAX} are allowed")),
        }
    }

    /// How many nodes the cluster is to have, as far as the list says; 0: it does not.
    pub fn expected(&self) -> usize {
        match self {
            Discovery::Static(list) => list.len(),
            Discovery::Dns { expected, .. } => *expected,
        }
    }

    /// The addresses at this moment. Names that cannot be looked up are logged; the others count.
    pub async fn resolve(&self) -> Vec<SocketAddr> {
        let resolved = self.look_up().await;
        for problem in &resolved.problems {
            tracing::warn!("discovery: {problem}");
        }
        resolved.addrs
    }

    /// The addresses at this moment, and the names that could not be looked up.
    pub async fn look_up(&self) -> Resolved {
        let mut lookups = JoinSet::new();
        let mut resolved = Resolved::default();
        for place in self.places() {
            match host_and_port(&place) {
                Ok((host, port)) => drop(lookups.spawn(look_up(host, port))),
                Err(why) => resolved.problems.push(why),
            }
        }
        while let Some(found) = lookups.join_next().await {
            match found {
                Ok(Ok(addrs)) => resolved.addrs.extend(addrs),
                Ok(Err(problem)) => resolved.problems.push(problem),
                Err(error) => resolved.problems.push(format!("a lookup ended: {error}")),
            }
        }
        resolved.addrs.sort_unstable();
        resolved.addrs.dedup();
        resolved.problems.sort_unstable();
        resolved
    }

    fn places(&self) -> Vec<String> {
        match self {
            Discovery::Static(list) => list.clone(),
            Discovery::Dns { name, port, .. } => vec![format!("{name}:{port}")],
        }
    }
}

async fn look_up(host: String, port: u16) -> Result<Vec<SocketAddr>, String> {
    let limit = Duration::from_millis(DISCOVERY_LOOKUP_MS);
    match tokio::time::timeout(limit, tokio::net::lookup_host((host.as_str(), port))).await {
        Ok(Ok(addrs)) => Ok(addrs.collect()),
        Ok(Err(error)) => Err(format!("'{host}:{port}' cannot be looked up: {error}")),
        Err(_) => {
            Err(format!("'{host}:{port}' cannot be looked up: no answer within {DISCOVERY_LOOKUP_MS} ms"))
        }
    }
}

/// Takes `host:port` apart; a v6 address stands in brackets.
fn host_and_port(place: &str) -> Result<(String, u16), String> {
    if let Ok(addr) = place.parse::<SocketAddr>() {
        return port_of(place, addr.port()).map(|port| (addr.ip().to_string(), port));
    }
    let (host, port) =
        place.rsplit_once(':').ok_or_else(|| format!("'{place}' has no port: write HOST:PORT"))?;
    if host.is_empty() || host.contains(char::is_whitespace) {
        return Err(format!("'{place}' has no host: write HOST:PORT"));
    }
    if host.contains([':', '[', ']']) {
        return Err(format!("'{place}' is not HOST:PORT: write a v6 address as [ADDRESS]:PORT"));
    }
    let port = port
        .parse()
        .map_err(|_| format!("'{place}' has the port '{port}': it must be a number up to 65535"))?;
    port_of(place, port).map(|port| (host.to_owned(), port))
}

fn port_of(place: &str, port: u16) -> Result<u16, String> {
    if port == 0 { Err(format!("'{place}' has the port 0: it must be another")) } else { Ok(port) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
    }

    #[test]
    fn lists_and_names_are_read() {
        let list = Discovery::parse(" a:1, 127.0.0.1:2,[::1]:3,a:1 ", 0).unwrap();
        assert_eq!(list, Discovery::Static(vec!["a:1".into(), "127.0.0.1:2".into(), "[::1]:3".into()]));
        assert_eq!(list.expected(), 3);
        let dns = Discovery::parse("dns:leveret.default.svc:5680", 5).unwrap();
        assert_eq!(dns, Discovery::Dns { name: "leveret.default.svc".into(), port: 5680, expected: 5 });
        assert_eq!(dns.expected(), 5);
    }

    #[test]
    fn errors_name_the_key_and_the_value() {
        for (join, why) in [
            ("", "names no node"),
            (" , ", "names no node"),
            ("a", "'a' has no port"),
            (":5", "':5' has no host"),
            ("a b:5", "'a b:5' has no host"),
            ("a:x", "the port 'x'"),
            ("a:70000", "the port '70000'"),
            ("a:0", "the port 0"),
            ("127.0.0.1:0", "the port 0"),
            ("::1:5", "write a v6 address as"),
            ("a:1,b", "'b' has no port"),
            ("dns:name", "'name' has no port"),
            ("dns::5", "':5' has no host"),
        ] {
            let error = Discovery::parse(join, 0).unwrap_err();
            assert!(
                error.starts_with(&format!("join is '{join}'")) && error.contains(why),
                "{join}: {error}"
            );
        }
    }

    #[test]
    fn places_become_addresses_and_what_fails_is_told() {
        let list =
            Discovery::parse("127.0.0.2:7,127.0.0.1:7,localhost:7,nowhere.invalid:7,[::1]:9", 0).unwrap();
        let resolved = block_on(list.look_up());
        for addr in ["127.0.0.1:7", "127.0.0.2:7", "[::1]:9"] {
            assert_eq!(
                resolved.addrs.iter().filter(|found| **found == addr.parse().unwrap()).count(),
                1,
                "{addr}"
            );
        }
        assert_eq!(resolved.problems.len(), 1);
        assert!(resolved.problems[0].contains("'nowhere.invalid:7'"), "{:?}", resolved.problems);
        let dns = Discovery::parse("dns:localhost:25", 1).unwrap();
        assert!(block_on(dns.resolve()).contains(&"127.0.0.1:25".parse().unwrap()));
    }
}
