//! Which records of a chunk a queue got.
//!
//! Invariant: ordinals ascend, so a queue's messages keep the order they were published in.

use crate::message::Chunk;

/// Ordinals of a chunk's records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Picks {
    /// Neighbours: the first ordinal and how many.
    Span(u32, u32),
    /// Any ordinals.
    List(Vec<u32>),
}

impl Picks {
    /// How many records were picked.
    pub fn len(&self) -> u32 {
        match self {
            Picks::Span(_, count) => *count,
            Picks::List(ordinals) => ordinals.len() as u32,
        }
    }

    /// Bytes of their bodies.
    pub fn body_bytes(&self, chunk: &Chunk) -> u64 {
        (0..self.len()).map(|position| u64::from(chunk.head(self.ordinal(position)).body_bytes)).sum()
    }

    /// Whether none was.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The ordinal of the pick at `position`, which must be below `len`.
    #[inline]
    pub fn ordinal(&self, position: u32) -> u32 {
        match self {
            Picks::Span(first, _) => first + position,
            Picks::List(ordinals) => ordinals[position as usize],
        }
    }

    /// Adds `ordinal`, which must be above all others.
    #[inline]
    pub fn push(&mut self, ordinal: u32) {
        match self {
            Picks::Span(first, count) if *first + *count == ordinal => *count += 1,
            Picks::Span(_, 0) => *self = Picks::Span(ordinal, 1),
            Picks::Span(first, count) => {
                let mut ordinals: Vec<u32> = (*first..*first + *count).collect();
                ordinals.push(ordinal);
                *self = Picks::List(ordinals);
            }
            Picks::List(ordinals) => ordinals.push(ordinal),
        }
    }

    /// Keeps the first `count` picks and gives the others.
    pub fn split_off(&mut self, count: u32) -> Picks {
        match self {
            Picks::Span(first, length) => {
                let kept = count.min(*length);
                let rest = Picks::Span(*first + kept, *length - kept);
                *length = kept;
                rest
            }
            Picks::List(ordinals) => Picks::List(ordinals.split_off((count as usize).min(ordinals.len()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn picks_grow_and_split() {
        let mut picks = Picks::Span(0, 0);
        for ordinal in [3, 4, 5, 9, 10] {
            picks.push(ordinal);
        }
        assert_eq!(picks, Picks::List(vec![3, 4, 5, 9, 10]));
        let rest = picks.split_off(2);
        assert_eq!((picks.len(), rest.ordinal(0)), (2, 5));
        let mut span = Picks::Span(7, 4);
        assert_eq!(span.split_off(1), Picks::Span(8, 3));
        assert_eq!(span, Picks::Span(7, 1));
    }
}
