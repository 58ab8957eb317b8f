//! The rules, what broke them, and the summary of a run.
//!
//! Invariant: every violation is counted, and the first ones of each rule and queue are kept as examples.

use std::collections::BTreeMap;
use std::fmt;

/// What must never happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Rule {
    Lost,
    Resurrected,
    Duplicated,
    Reordered,
    Garbage,
    Redelivered,
    Uncommitted,
    Definition,
    Refused,
    Broker,
}

impl Rule {
    pub const ALL: [Self; 10] = [
        Self::Lost,
        Self::Resurrected,
        Self::Duplicated,
        Self::Reordered,
        Self::Garbage,
        Self::Redelivered,
        Self::Uncommitted,
        Self::Definition,
        Self::Refused,
        Self::Broker,
    ];

    fn text(self) -> (&'static str, &'static str) {
        match self {
            Self::Lost => ("LOST", "confirmed, and gone without an ack"),
            Self::Resurrected => ("RESURRECTED", "came back after its ack was durable"),
            Self::Duplicated => {
                ("DUPLICATED", "delivered twice in one life of the broker without being returned")
            }
            Self::Reordered => ("REORDERED", "behind a later message of the same publisher"),
            Self::Garbage => ("GARBAGE", "not what was sent, or not where it was routed"),
            Self::Redelivered => ("REDELIVERED", "a wrong redelivered flag or x-delivery-count"),
            Self::Uncommitted => ("UNCOMMITTED", "delivered without tx.commit"),
            Self::Definition => ("DEFINITION", "a queue, exchange, binding or user that is gone, or back"),
            Self::Refused => ("REFUSED", "the broker closed a connection or channel that did nothing wrong"),
            Self::Broker => ("BROKER", "did not start, did not stop, hung or died by itself"),
        }
    }
}

/// So many violations of each rule are kept as text for each queue, or whatever else they are about.
const EXAMPLES_MAX: usize = 2;

/// What broke a rule, by the name of what it was about.
type Found = BTreeMap<String, (u64, Vec<String>)>;

#[derive(Debug, Default, Clone)]
pub struct Violations {
    found: BTreeMap<Rule, Found>,
}

impl Violations {
    pub fn add(&mut self, rule: Rule, subject: &str, text: impl Into<String>) {
        let found = self.found.entry(rule).or_default();
        if !found.contains_key(subject) {
            found.insert(subject.into(), (0, Vec::new()));
        }
        if let Some((count, examples)) = found.get_mut(subject) {
            *count += 1;
            if examples.len() < EXAMPLES_MAX {
                examples.push(text.into());
            }
        }
    }

    pub fn count(&self, rule: Rule) -> u64 {
        self.found.get(&rule).map_or(0, |found| found.values().map(|(count, _)| count).sum())
    }

    pub fn total(&self) -> u64 {
        self.total_but(&[])
    }

    /// Without those of some rules.
    pub fn total_but(&self, tolerated: &[Rule]) -> u64 {
        Rule::ALL.iter().filter(|rule| !tolerated.contains(rule)).map(|rule| self.count(*rule)).sum()
    }
}

impl fmt::Display for Violations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for rule in Rule::ALL {
            let (name, meaning) = rule.text();
            writeln!(f, "  {name:<12} {:>8}  {meaning}", self.count(rule))?;
            for (subject, (count, examples)) in self.found.get(&rule).into_iter().flatten() {
                writeln!(f, "      {subject}: {count}")?;
                for example in examples {
                    writeln!(f, "          {example}")?;
                }
            }
        }
        Ok(())
    }
}

/// Numbers that are no violations, but tell what the run did.
#[derive(Debug, Default, Clone, Copy)]
pub struct Counts {
    pub lives: u32,
    pub kills: u32,
    pub sent: u64,
    pub confirmed: u64,
    pub nacked: u64,
    pub delivered: u64,
    pub redelivered: u64,
    pub acked: u64,
    pub acks_processed: u64,
    pub acks_committed: u64,
    pub returned: u64,
    /// Acked, and back after the broker was killed.
    pub back_after_kill: u64,
    /// The same, with more than one restart since the ack; they may have been in the queue all the time.
    pub back_later: u64,
    /// Purged, and back after the broker was killed.
    pub purged_back: u64,
    /// Delivered in an earlier life, not acked, and not marked as redelivered in this one.
    pub unmarked: u64,
    pub nacked_delivered: u64,
    pub drains: u64,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = [
            ("lives of the broker", u64::from(self.lives)),
            ("kills", u64::from(self.kills)),
            ("messages sent", self.sent),
            ("confirmed or committed", self.confirmed),
            ("nacked by the broker", self.nacked),
            ("  of these delivered", self.nacked_delivered),
            ("delivered", self.delivered),
            ("  marked as redelivered", self.redelivered),
            ("returned by consumers", self.returned),
            ("acks sent", self.acked),
            ("  surely processed", self.acks_processed),
            ("  committed", self.acks_committed),
            ("acked and back after a kill", self.back_after_kill),
            ("  more than one restart later", self.back_later),
            ("purged and back after a kill", self.purged_back),
            ("known, but unmarked after a restart", self.unmarked),
            ("queues drained", self.drains),
        ];
        for (name, value) in lines {
            writeln!(f, "  {name:<36} {value:>12}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_counted_and_the_first_are_shown() {
        let mut violations = Violations::default();
        for number in 0..20 {
            violations.add(Rule::Lost, "crash.plain", format!("message {number}"));
        }
        violations.add(Rule::Lost, "crash.tx", "message 20");
        violations.add(Rule::Garbage, "crash.tx", "body");
        assert_eq!((violations.count(Rule::Lost), violations.total()), (21, 22));
        assert_eq!(violations.total_but(&[Rule::Lost]), 1);
        let text = violations.to_string();
        assert!(text.contains("message 1\n") && !text.contains("message 2\n"), "{text}");
        assert!(text.contains("LOST               21") && text.contains("crash.plain: 20"), "{text}");
        assert!(text.contains("message 20"), "{text}");
    }
}
