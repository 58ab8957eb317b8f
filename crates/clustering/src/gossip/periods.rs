//! How often and how long: the times of gossip.
//!
//! Invariant: the defaults find a killed process within 1.5 s and a paused one within 3 s.

use std::num::{NonZeroU8, NonZeroUsize};
use std::time::Duration;
use types::limits;

/// Members that are asked to ask for an answer that does not come, and that changes are passed on to at once.
const FANOUT: usize = 3;
/// So often a change is passed on by each node.
const TRANSMISSIONS: u8 = 10;
/// Another member is asked for the members it knows after so many retries of nodes that are down.
const ROSTER_PERIOD: u32 = 10;

/// The times of gossip. All must be more than zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GossipPeriods {
    /// One other node is asked so often whether it is there.
    pub probe: Duration,
    /// So long its answer is waited for before others are asked to ask it; less than `probe`.
    pub rtt: Duration,
    /// A suspected node has so long to say that it is there.
    pub suspect: Duration,
    /// A node declared down is asked once more and shown as suspected for so long.
    pub debounce: Duration,
    /// Changes are passed on so often.
    pub spread: Duration,
    /// Nodes that are down are called so often.
    pub retry: Duration,
    /// Facts are compared with another node's so often.
    pub digest: Duration,
    /// Changed facts are pushed at most so often.
    pub push: Duration,
    /// A node that has met nobody calls its seeds after this time, then with growing pauses.
    pub seed_first: Duration,
    /// The longest such pause.
    pub seed_max: Duration,
    /// A node that has met others calls seeds that are not among them so often.
    pub seed_again: Duration,
    /// A wake-up that is later than this is not held against others.
    pub stall: Duration,
    /// A node that has been down for so long is forgotten.
    pub forget: Duration,
}

impl Default for GossipPeriods {
    fn default() -> GossipPeriods {
        let ms = Duration::from_millis;
        GossipPeriods {
            probe: ms(limits::GOSSIP_PROBE_MS),
            rtt: ms(limits::GOSSIP_RTT_MS),
            suspect: ms(limits::GOSSIP_SUSPECT_MS),
            debounce: ms(limits::GOSSIP_DEBOUNCE_MS),
            spread: ms(limits::GOSSIP_SPREAD_MS),
            retry: ms(limits::GOSSIP_RETRY_MS),
            digest: ms(limits::GOSSIP_DIGEST_MS),
            push: ms(limits::GOSSIP_PUSH_MS),
            seed_first: ms(limits::GOSSIP_SEED_FIRST_MS),
            seed_max: ms(limits::GOSSIP_SEED_MAX_MS),
            seed_again: ms(limits::GOSSIP_SEED_AGAIN_MS),
            stall: ms(limits::GOSSIP_STALL_MS),
            forget: Duration::from_secs(limits::GOSSIP_FORGET_SECONDS),
        }
    }
}

impl GossipPeriods {
    /// The same, with failure detection slower (more than 1) or faster (less than 1) by a factor.
    ///
    /// # Errors
    /// When the factor is not between 0.1 and 100.
    pub fn scaled(mut self, factor: f64) -> Result<GossipPeriods, String> {
        if !(0.1..=100.0).contains(&factor) {
            return Err(format!(
                "the factor of gossip's periods is {factor}: it must be between 0.1 and 100"
            ));
        }
        let detection =
            [&mut self.probe, &mut self.rtt, &mut self.suspect, &mut self.debounce, &mut self.stall];
        for period in detection {
            *period = period.mul_f64(factor);
        }
        Ok(self)
    }

    /// Refuses periods that cannot work.
    ///
    /// # Errors
    /// A text that names the period and its value.
    pub fn check(&self) -> Result<(), String> {
        let named = [
            ("probe", self.probe),
            ("rtt", self.rtt),
            ("suspect", self.suspect),
            ("debounce", self.debounce),
            ("spread", self.spread),
            ("retry", self.retry),
            ("digest", self.digest),
            ("push", self.push),
            ("seed_first", self.seed_first),
            ("seed_max", self.seed_max),
            ("seed_again", self.seed_again),
            ("stall", self.stall),
            ("forget", self.forget),
        ];
        if let Some((name, _)) = named.iter().find(|(_, period)| *period < Duration::from_millis(1)) {
            return Err(format!("gossip's period '{name}' is less than 1 ms"));
        }
        if self.rtt >= self.probe {
            return Err(format!(
                "gossip's rtt is {:?}: it must be less than probe ({:?})",
                self.rtt, self.probe
            ));
        }
        Ok(())
    }

    /// The failure detector's settings.
    pub(crate) fn detector(&self, packet_bytes: usize) -> foca::Config {
        let count = |count| NonZeroUsize::new(count).unwrap_or(NonZeroUsize::MIN);
        let every = |frequency, num_members| foca::PeriodicParams { frequency, num_members };
        foca::Config {
            probe_period: self.probe,
            probe_rtt: self.rtt,
            num_indirect_probes: count(FANOUT),
            max_transmissions: NonZeroU8::new(TRANSMISSIONS).unwrap_or(NonZeroU8::MIN),
            suspect_to_down_after: self.suspect,
            remove_down_after: None,
            max_packet_size: count(packet_bytes),
            notify_down_members: true,
            periodic_announce: Some(every(self.retry * ROSTER_PERIOD, NonZeroUsize::MIN)),
            periodic_announce_to_down_members: None,
            periodic_gossip: Some(every(self.spread, count(FANOUT))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_factor_slows_detection_only() {
        let slow = GossipPeriods::default().scaled(4.0).unwrap();
        assert_eq!(slow.probe, GossipPeriods::default().probe * 4);
        assert_eq!(slow.suspect, GossipPeriods::default().suspect * 4);
        assert_eq!(slow.seed_max, GossipPeriods::default().seed_max);
        for factor in [0.0, -1.0, f64::NAN, 1e9] {
            assert!(GossipPeriods::default().scaled(factor).unwrap_err().contains("factor"));
        }
    }

    #[test]
    fn periods_that_cannot_work_are_named() {
        assert_eq!(GossipPeriods::default().check(), Ok(()));
        let zero = GossipPeriods { digest: Duration::ZERO, ..GossipPeriods::default() };
        assert!(zero.check().unwrap_err().contains("'digest'"));
        let long = GossipPeriods { rtt: Duration::from_secs(1), ..GossipPeriods::default() };
        assert!(long.check().unwrap_err().contains("rtt is 1s"));
    }
}
