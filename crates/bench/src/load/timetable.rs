//! When each message of a fixed-rate sender is due.
//!
//! Invariant: due times depend on the start and the rate only, never on how late the sender is, so a stall of the
//! broker shows in the latency of every message it held up.

const NS_PER_S: u128 = 1_000_000_000;

#[derive(Debug, Clone)]
pub struct Timetable {
    rate_per_s: u64,
    start_ns: u64,
    sent: u64,
}

/// At most this much is handed to the socket at once, to keep the buffer small after a stall.
const DUE_MSGS_MAX: u64 = 1000;

impl Timetable {
    pub fn new(rate_per_s: u64) -> Self {
        Self { rate_per_s: rate_per_s.max(1), start_ns: 0, sent: 0 }
    }

    pub fn start(&mut self, now_ns: u64) {
        self.start_ns = now_ns;
        self.sent = 0;
    }

    pub fn next_ns(&self) -> u64 {
        // Computed from the count, so that a rate that does not divide a second does not drift.
        self.start_ns + (u128::from(self.sent) * NS_PER_S / u128::from(self.rate_per_s)) as u64
    }

    /// Hands the due time of every message that is due to `send`, at most `msgs_max` of them; says how many.
    pub fn take_due(&mut self, now_ns: u64, msgs_max: u64, mut send: impl FnMut(u64)) -> u64 {
        let sent_before = self.sent;
        while self.next_ns() <= now_ns && self.sent - sent_before < msgs_max.min(DUE_MSGS_MAX) {
            send(self.next_ns());
            self.sent += 1;
        }
        self.sent - sent_before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_sender_keeps_the_schedule() {
        let mut timetable = Timetable::new(1000);
        timetable.start(5_000_000);
        let mut due = Vec::new();
        assert_eq!(timetable.take_due(5_000_000, 10, |at| due.push(at)), 1);
        assert_eq!(timetable.take_due(5_999_999, 10, |at| due.push(at)), 0);
        assert_eq!(timetable.take_due(8_500_000, 2, |at| due.push(at)), 2);
        assert_eq!(timetable.take_due(8_500_000, 10, |at| due.push(at)), 1);
        assert_eq!(due, [5_000_000, 6_000_000, 7_000_000, 8_000_000]);
        assert_eq!(timetable.next_ns(), 9_000_000);
    }

    #[test]
    fn an_uneven_rate_does_not_drift() {
        let mut timetable = Timetable::new(3);
        timetable.start(0);
        let mut due = Vec::new();
        timetable.take_due(10_000_000_000, u64::MAX, |at| due.push(at));
        assert_eq!(due.len(), 31);
        assert_eq!(due[3], 1_000_000_000);
        assert_eq!(due[30], 10_000_000_000);
    }
}
