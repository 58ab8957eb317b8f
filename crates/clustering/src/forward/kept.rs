//! Messages for several queues of one home cross the link once: the home keeps what it was sent for a moment, and
//! what goes to further queues only names it.
//!
//! Invariant: both sides of a link agree on what is in which place, since frames are done in order. Nothing is kept
//! beyond the sender's piece of work: when it flushes the link it has everything forgotten.

use crate::words::Malformed;
use broker::message::Chunk;
use broker::queue::Picks;
use std::sync::{Arc, Weak};

/// Places on a link; several threads may be in the middle of a fan-out.
const PLACES: usize = 8;
/// Chunks below this size are not worth being kept, bytes.
const KEPT_BYTES_MIN: usize = 128;

/// Neighbouring records: the first ordinal and how many.
pub(super) type Span = (u32, u32);

/// In which form messages for a queue cross the link.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// As they are.
    Alone,
    /// As they are, and they are kept in this place.
    Kept(u8),
    /// As these records of what is kept in this place.
    Again(u8, Vec<Span>),
}

/// What was sent to be kept. The chunk itself is not held here: its address cannot be another's while it is known.
struct Sent {
    chunk: Weak<Chunk>,
    picks: Picks,
}

/// What the other side of a link keeps.
#[derive(Default)]
pub(super) struct SentChunks {
    places: [Option<Sent>; PLACES],
    next: usize,
}

impl SentChunks {
    /// How messages go; what is to be kept counts as sent.
    pub(super) fn form(&mut self, chunk: &Arc<Chunk>, picks: &Picks) -> Form {
        for (place, sent) in (0u8..).zip(&self.places) {
            let Some(sent) = sent else { continue };
            if !std::ptr::eq(sent.chunk.as_ptr(), Arc::as_ptr(chunk)) {
                continue;
            }
            if sent.picks == *picks {
                return Form::Again(place, vec![(0, picks.len())]);
            }
            if sent.picks.len() == chunk.len() {
                return Form::Again(place, spans(picks));
            }
        }
        // Nobody else has it: no other queue will get it.
        if Arc::strong_count(chunk) == 1 || chunk.data_bytes() < KEPT_BYTES_MIN {
            return Form::Alone;
        }
        let place = self.next;
        self.next = (place + 1) % PLACES;
        self.places[place] = Some(Sent { chunk: Arc::downgrade(chunk), picks: picks.clone() });
        Form::Kept(place as u8)
    }

    /// Whether anything is kept; nothing is any more.
    pub(super) fn clear(&mut self) -> bool {
        self.places.iter_mut().filter_map(Option::take).count() > 0
    }
}

fn spans(picks: &Picks) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    match picks {
        Picks::Span(first, count) => spans.push((*first, *count)),
        Picks::List(ordinals) => {
            for &ordinal in ordinals {
                match spans.last_mut() {
                    Some((first, count)) if *first + *count == ordinal => *count += 1,
                    _ => spans.push((ordinal, 1)),
                }
            }
        }
    }
    spans
}

/// What is kept for the other side of a link.
#[derive(Default)]
pub(super) struct KeptChunks([Option<Arc<Chunk>>; PLACES]);

impl KeptChunks {
    pub(super) fn keep(&mut self, place: u8, chunk: &Arc<Chunk>) -> Result<(), Malformed> {
        let kept = self.0.get_mut(usize::from(place)).ok_or(Malformed("no such place"))?;
        *kept = Some(chunk.clone());
        Ok(())
    }

    /// Records of what is kept.
    pub(super) fn again(&self, place: u8, spans: &[Span]) -> Result<(Arc<Chunk>, Picks), Malformed> {
        let kept = self.0.get(usize::from(place)).and_then(Option::as_ref);
        let chunk = kept.ok_or(Malformed("nothing is kept there"))?;
        if spans.is_empty() {
            return Err(Malformed("no records"));
        }
        let mut end = 0;
        for &(first, count) in spans {
            let fits = first >= end && count > 0 && count <= chunk.len().saturating_sub(first);
            if !fits {
                return Err(Malformed("records that are not there"));
            }
            end = first + count;
        }
        let picks = match *spans {
            [(first, count)] => Picks::Span(first, count),
            _ => Picks::List(spans.iter().flat_map(|(first, count)| *first..first + count).collect()),
        };
        Ok((chunk.clone(), picks))
    }

    pub(super) fn clear(&mut self) {
        *self = KeptChunks::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use broker::message::{ChunkBuilder, RecordHead};

    fn chunk(messages: u32) -> Arc<Chunk> {
        let mut builder = ChunkBuilder::default();
        let route: Arc<[u8]> = Arc::from(&b"\0\0"[..]);
        for _ in 0..messages {
            builder.push(RecordHead::default(), &route, &[0, 0], &[b'x'; 200]);
        }
        Arc::new(builder.finish())
    }

    #[test]
    fn the_second_queue_names_what_the_first_got() {
        let mut sent = SentChunks::default();
        let (chunk, other) = (chunk(4), chunk(4));
        let _others = (chunk.clone(), other.clone());
        let (all, some) = (Picks::Span(0, 4), Picks::List(vec![0, 2, 3]));
        assert_eq!(sent.form(&chunk, &some), Form::Kept(0));
        assert_eq!(sent.form(&chunk, &some), Form::Again(0, vec![(0, 3)]), "the same of it");
        assert_eq!(sent.form(&chunk, &all), Form::Kept(1), "not all of it was sent");
        assert_eq!(sent.form(&chunk, &Picks::List(vec![1, 3])), Form::Again(1, vec![(1, 1), (3, 1)]));
        assert_eq!(sent.form(&other, &all), Form::Kept(2));
        assert!(sent.clear() && !sent.clear());
        assert_eq!(sent.form(&chunk, &all), Form::Kept(3));
    }

    #[test]
    fn what_only_one_queue_gets_is_not_kept() {
        let mut sent = SentChunks::default();
        assert_eq!(sent.form(&chunk(1), &Picks::Span(0, 1)), Form::Alone);
        let shared = chunk(1);
        let last = shared.clone();
        assert_eq!(sent.form(&shared, &Picks::Span(0, 1)), Form::Kept(0));
        drop(shared);
        assert_eq!(sent.form(&last, &Picks::Span(0, 1)), Form::Again(0, vec![(0, 1)]), "the last one of all");
        drop(last);
        // Whatever comes into being now is another one.
        assert_eq!(sent.form(&chunk(1), &Picks::Span(0, 1)), Form::Alone);
    }

    #[test]
    fn a_peer_can_only_name_what_is_there() {
        let mut kept = KeptChunks::default();
        kept.keep(7, &chunk(4)).unwrap();
        assert!(kept.keep(8, &chunk(1)).is_err());
        assert_eq!(kept.again(7, &[(0, 1), (2, 2)]).unwrap().1, Picks::List(vec![0, 2, 3]));
        assert_eq!(kept.again(7, &[(1, 3)]).unwrap().1, Picks::Span(1, 3));
        let wrong: [&[Span]; 6] =
            [&[(0, 5)], &[(4, 1)], &[(5, u32::MAX)], &[(0, 0)], &[(2, 1), (1, 1)], &[(0, 2), (1, 1)]];
        for spans in wrong {
            assert!(kept.again(7, spans).is_err(), "{spans:?}");
        }
        assert!(kept.again(6, &[(0, 1)]).is_err() && kept.again(255, &[(0, 1)]).is_err());
        kept.clear();
        assert!(kept.again(7, &[(0, 1)]).is_err());
    }
}
