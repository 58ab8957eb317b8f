//! Warnings that anybody on the network can cause: one per source and minute.
//!
//! Invariant: neither the log nor the memory grows with the number of packets.

use std::collections::HashSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

const WINDOW: Duration = Duration::from_secs(60);
/// Sources that are told apart within a window; further ones are only counted.
const SOURCES_MAX: usize = 256;

/// Remembers who was warned of.
pub(super) struct Warnings {
    since: Instant,
    sources: HashSet<(IpAddr, u8)>,
}

impl Warnings {
    /// Nobody yet.
    pub fn new(now: Instant) -> Warnings {
        Warnings { since: now, sources: HashSet::new() }
    }

    /// Whether to warn of a source for a kind of reason now.
    pub fn is_due(&mut self, source: IpAddr, kind: u8, now: Instant) -> bool {
        if now.saturating_duration_since(self.since) >= WINDOW {
            self.since = now;
            self.sources.clear();
        }
        self.sources.len() < SOURCES_MAX && self.sources.insert((source, kind))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn one_warning_per_source_kind_and_minute() {
        let start = Instant::now();
        let (one, other) = (IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from([10, 0, 0, 1]));
        let mut warnings = Warnings::new(start);
        assert!(warnings.is_due(one, 0, start));
        assert!(!warnings.is_due(one, 0, start + WINDOW / 2));
        assert!(warnings.is_due(other, 0, start));
        assert!(warnings.is_due(one, 1, start));
        assert!(warnings.is_due(one, 0, start + WINDOW));
    }

    #[test]
    fn many_sources_do_not_fill_the_memory() {
        let start = Instant::now();
        let mut warnings = Warnings::new(start);
        let sources = (0..10_000_u32).map(|number| IpAddr::from(number.to_be_bytes()));
        assert_eq!(sources.filter(|source| warnings.is_due(*source, 0, start)).count(), SOURCES_MAX);
    }
}
