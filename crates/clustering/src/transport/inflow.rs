//! What comes from a socket, on its way to becoming frames.
//!
//! Invariant: only what was opened with the link's own key goes out. What came before something that does not
//! open is good and goes out; nothing goes out after it.

use super::intake::{FRAME_HEAD_BYTES, Intake};
use super::record::{OVERHEAD_BYTES, Opener, Record};
use bytes::Bytes;
use std::io::{self, ErrorKind, Read};
use types::limits::LINK_RECORD_MAX_BYTES;

/// What a TLS record holds at most.
const TLS_PLAIN_BYTES: usize = 16 * 1024;

/// Bytes as they came, and the frames they become.
pub(super) struct Inflow {
    raw: Box<[u8]>,
    from: usize,
    end: usize,
    intake: Intake,
}

impl Inflow {
    /// Reads up to `read_bytes` at a time, which is enough for two records.
    pub(super) fn new(read_bytes: usize, frame_max_bytes: usize) -> Inflow {
        let read_bytes = read_bytes.max(2 * (LINK_RECORD_MAX_BYTES + OVERHEAD_BYTES));
        // Two reads' worth: frames of the usual size do not have to be moved.
        let intake = Intake::new(2 * read_bytes + FRAME_HEAD_BYTES, frame_max_bytes);
        Inflow { raw: vec![0; read_bytes].into_boxed_slice(), from: 0, end: 0, intake }
    }

    /// Where the next bytes go; never empty.
    pub(super) fn space(&mut self) -> &mut [u8] {
        &mut self.raw[self.end..]
    }

    /// So many bytes came into the space.
    pub(super) fn came(&mut self, count: usize) {
        self.end = (self.end + count).min(self.raw.len());
    }

    /// Everything that came has gone out.
    pub(super) fn is_empty(&self) -> bool {
        self.from == self.end && self.intake.is_empty()
    }

    /// Opens the records that are whole and hands out the frames that are.
    ///
    /// # Errors
    /// The stream is over: what is wrong with it.
    pub(super) fn open(&mut self, opener: &mut Opener, each: &mut dyn FnMut(Bytes)) -> io::Result<()> {
        let opened = self.open_records(opener);
        self.intake.frames(each)?;
        opened?;
        if self.from == self.end {
            (self.from, self.end) = (0, 0);
        } else if self.raw.len() - self.end < LINK_RECORD_MAX_BYTES + OVERHEAD_BYTES {
            self.raw.copy_within(self.from..self.end, 0);
            (self.from, self.end) = (0, self.end - self.from);
        }
        Ok(())
    }

    fn open_records(&mut self, opener: &mut Opener) -> io::Result<()> {
        while let Some(record) = Record::first(&self.raw[self.from..self.end])? {
            let plain = self.intake.space(record.plain_bytes());
            if let Err(error) = opener.open(&record, plain) {
                self.intake.unfilled(record.plain_bytes());
                return Err(error.into());
            }
            self.from += record.bytes();
        }
        Ok(())
    }

    /// Hands out the frames that are whole.
    ///
    /// # Errors
    /// The stream is over: what is wrong with it.
    pub(super) fn frames(&mut self, each: &mut dyn FnMut(Bytes)) -> io::Result<()> {
        self.intake.frames(each)
    }

    /// Lets a TLS session open what came. The frames are handed out later, not under the session's lock:
    /// who gets them may write to the same link.
    ///
    /// # Errors
    /// The stream is over: what is wrong with it. Frames that came before are good.
    pub(super) fn open_tls(&mut self, session: &mut rustls::Connection) -> io::Result<()> {
        let mut opened = Ok(());
        loop {
            opened = opened.and_then(|()| self.take_plain(session));
            let mut raw = &self.raw[self.from..self.end];
            if opened.is_err() || raw.is_empty() {
                break;
            }
            opened = session.read_tls(&mut raw).and_then(|count| {
                // Nothing is taken after the other side has said that it closes.
                self.from = if count == 0 { self.end } else { self.from + count };
                session.process_new_packets().map(|_| ()).map_err(io::Error::other)
            });
        }
        (self.from, self.end) = (0, 0);
        opened
    }

    /// Takes what the session has opened.
    fn take_plain(&mut self, session: &mut rustls::Connection) -> io::Result<()> {
        loop {
            let read = session.reader().read(self.intake.space(TLS_PLAIN_BYTES));
            let count = *read.as_ref().unwrap_or(&0);
            self.intake.unfilled(TLS_PLAIN_BYTES - count);
            match read {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::record::Sealer;
    use proptest::prelude::*;

    const KEY: [u8; 32] = [7; 32];
    const FRAME_MAX: usize = 100_000;

    /// A stream of records with these frames in it; `cuts` are the records' lengths, in turn.
    fn sealed(frames: &[Vec<u8>], cuts: &[usize]) -> Vec<u8> {
        let framed = |frame: &Vec<u8>| [&(frame.len() as u32).to_le_bytes(), frame.as_slice()].concat();
        let plain: Vec<u8> = frames.iter().flat_map(framed).collect();
        let mut sealer = Sealer::new(KEY).unwrap();
        let mut stream = Vec::new();
        let mut rest = plain.as_slice();
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                return stream;
            }
            let (record, after) = rest.split_at((*cut).min(rest.len()));
            let mut sealed = vec![0; record.len() + OVERHEAD_BYTES];
            sealer.seal(record, &mut sealed).unwrap();
            stream.extend_from_slice(&sealed);
            rest = after;
        }
        stream
    }

    /// The frames that come out of a stream which arrives in `pieces`, and how it ended.
    fn opened(stream: &[u8], pieces: &[usize]) -> (Vec<Vec<u8>>, io::Result<bool>) {
        let mut inflow = Inflow::new(0, FRAME_MAX);
        let mut opener = Opener::new(KEY).unwrap();
        let mut frames = Vec::new();
        let mut rest = stream;
        for piece in pieces.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let space = inflow.space();
            let count = (*piece).min(rest.len()).min(space.len());
            let (piece, after) = rest.split_at(count);
            space[..count].copy_from_slice(piece);
            rest = after;
            inflow.came(count);
            if let Err(error) = inflow.open(&mut opener, &mut |frame| frames.push(frame.to_vec())) {
                return (frames, Err(error));
            }
        }
        (frames, Ok(inflow.is_empty()))
    }

    #[test]
    fn no_byte_of_a_stream_can_be_changed_or_left_out() {
        let frames: Vec<Vec<u8>> = (1..20u8).map(|at| vec![at; usize::from(at)]).collect();
        let stream = sealed(&frames, &[50, 7, 90]);
        let (all, end) = opened(&stream, &[1_000]);
        assert!(all == frames && end.unwrap());
        for at in 0..stream.len() {
            let mut changed = stream.clone();
            changed[at] ^= 1 << (at % 8);
            let mut shorter = stream.clone();
            shorter.remove(at);
            let cut = stream[..at].to_vec();
            for (what, stream) in [("changed", changed), ("removed", shorter), ("cut", cut)] {
                let (came, end) = opened(&stream, &[1_000]);
                assert!(came.len() < frames.len() && frames.starts_with(&came), "byte {at} {what}");
                // A cut between two frames at the end of a record cannot be told from a pause.
                assert!(what == "cut" || !matches!(end, Ok(true)), "byte {at} {what}");
            }
        }
    }

    #[test]
    fn records_cannot_change_places_or_come_twice() {
        let frames: Vec<Vec<u8>> = (0..6u8).map(|at| vec![at; 20]).collect();
        let stream = sealed(&frames, &[24]);
        let records: Vec<&[u8]> = stream.chunks(24 + OVERHEAD_BYTES).collect();
        for (first, second) in (0..6).flat_map(|first| (0..6).map(move |second| (first, second))) {
            if first == second {
                continue;
            }
            let mut swapped = records.clone();
            swapped.swap(first, second);
            let mut doubled = records.clone();
            doubled.insert(second, records[first]);
            for (stream, good) in [(swapped, first.min(second)), (doubled, second.min(5))] {
                let (came, end) = opened(&stream.concat(), &[usize::MAX]);
                // A copy put right before or after its original is found out after the original.
                assert!(came.len() <= good + 1 && frames.starts_with(&came), "{first} {second}");
                assert!(end.is_err(), "{first} {second}");
            }
        }
    }

    fn frames() -> impl Strategy<Value = Vec<Vec<u8>>> {
        let frame = (any::<u8>(), prop_oneof![0..50usize, 0..5_000usize, 60_000..FRAME_MAX]);
        prop::collection::vec(frame.prop_map(|(byte, length)| vec![byte; length]), 0..20)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn frames_survive_any_cut_into_records_and_pieces(
            frames in frames(),
            cuts in prop::collection::vec(1..=LINK_RECORD_MAX_BYTES, 1..8),
            pieces in prop::collection::vec(prop_oneof![1..100usize, 1..300_000usize], 1..8),
        ) {
            let (came, end) = opened(&sealed(&frames, &cuts), &pieces);
            prop_assert!(came == frames);
            prop_assert!(end.unwrap());
        }

        #[test]
        fn damage_anywhere_lets_only_what_was_before_it_through(
            frames in frames(),
            cut in 1..=LINK_RECORD_MAX_BYTES,
            piece in 1..300_000usize,
            at in any::<prop::sample::Index>(),
            damage in prop::collection::vec(any::<u8>(), 1..40),
        ) {
            let mut stream = sealed(&frames, &[cut]);
            prop_assume!(!stream.is_empty());
            let at = at.index(stream.len());
            let before = stream.clone();
            for (byte, damage) in stream[at..].iter_mut().zip(&damage) {
                *byte = *damage;
            }
            let (came, end) = opened(&stream, &[piece]);
            prop_assert!(frames.starts_with(&came));
            prop_assert!(stream == before || !matches!(end, Ok(true)));
        }

        #[test]
        fn garbage_brings_no_frame(
            garbage in prop::collection::vec(any::<u8>(), 0..3_000),
            piece in 1..500usize,
        ) {
            let (came, _) = opened(&garbage, &[piece]);
            prop_assert!(came.is_empty());
        }
    }
}
