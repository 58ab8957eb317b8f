//! The reading end of a stream: plaintext comes in pieces of any size, whole frames go out.
//!
//! A frame is its length (u32, little endian) and that many bytes. Frames are handed out as slices of the
//! buffer they were opened into; a frame longer than the buffer gets a buffer of its own, once.
//!
//! Invariant: frames go out in the order they came in, each once; what is kept is less than one frame.

use bytes::{Bytes, BytesMut};
use std::io;

/// Bytes of a frame's length.
pub(crate) const FRAME_HEAD_BYTES: usize = 4;

/// Plaintext that has come, and what of it is not a whole frame yet.
pub(crate) struct Intake {
    plain: BytesMut,
    chunk_bytes: usize,
    frame_max_bytes: usize,
}

impl Intake {
    /// Buffers have `chunk_bytes`; longer frames than `frame_max_bytes` are refused.
    pub(crate) fn new(chunk_bytes: usize, frame_max_bytes: usize) -> Intake {
        Intake { plain: BytesMut::new(), chunk_bytes, frame_max_bytes }
    }

    /// Nothing but whole frames has come so far.
    pub(crate) fn is_empty(&self) -> bool {
        self.plain.is_empty()
    }

    /// Room for the next `bytes` of plaintext.
    pub(crate) fn space(&mut self, bytes: usize) -> &mut [u8] {
        self.make_room(bytes);
        let at = self.plain.len();
        self.plain.resize(at + bytes, 0);
        &mut self.plain[at..]
    }

    /// Takes back the last `bytes` of the space that was given out and not filled.
    pub(crate) fn unfilled(&mut self, bytes: usize) {
        self.plain.truncate(self.plain.len().saturating_sub(bytes));
    }

    fn make_room(&mut self, bytes: usize) {
        let length = self.plain.len();
        if self.plain.capacity() - length >= bytes {
            return;
        }
        // A frame whose length is known gets all its room at once, so it is not copied again and again.
        let wanted = self.pending_bytes().unwrap_or(0).saturating_sub(length).max(bytes);
        if self.plain.try_reclaim(wanted) {
            return;
        }
        let capacity = self.chunk_bytes.max(length + wanted + bytes);
        let mut fresh = BytesMut::with_capacity(capacity);
        fresh.extend_from_slice(&self.plain);
        self.plain = fresh;
    }

    /// Bytes of the first frame with its head, as far as that is known. Lengths were checked before.
    fn pending_bytes(&self) -> Option<usize> {
        let head = self.plain.first_chunk::<FRAME_HEAD_BYTES>()?;
        Some(FRAME_HEAD_BYTES + (u32::from_le_bytes(*head) as usize).min(self.frame_max_bytes))
    }

    /// Hands out every whole frame.
    ///
    /// # Errors
    /// When a frame says that it is longer than one can be.
    pub(crate) fn frames(&mut self, each: &mut dyn FnMut(Bytes)) -> io::Result<()> {
        let mut end = 0;
        let mut result = Ok(());
        while let Some(head) = self.plain[end..].first_chunk::<FRAME_HEAD_BYTES>() {
            let length = u32::from_le_bytes(*head) as usize;
            if length > self.frame_max_bytes {
                result = Err(self.too_long(length));
                break;
            }
            if self.plain.len() - end < FRAME_HEAD_BYTES + length {
                break;
            }
            end += FRAME_HEAD_BYTES + length;
        }
        if end > 0 {
            hand_out(&self.plain.split_to(end).freeze(), each);
        }
        result
    }

    fn too_long(&self, length: usize) -> io::Error {
        let most = self.frame_max_bytes;
        let text = format!("a frame says it has {length} bytes: {most} are possible");
        io::Error::new(io::ErrorKind::InvalidData, text)
    }
}

/// `whole` consists of whole frames.
fn hand_out(whole: &Bytes, each: &mut dyn FnMut(Bytes)) {
    let mut at = 0;
    while let Some(head) = whole[at..].first_chunk::<FRAME_HEAD_BYTES>() {
        let from = at + FRAME_HEAD_BYTES;
        at = from + u32::from_le_bytes(*head) as usize;
        each(whole.slice(from..at));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(frames: &[Vec<u8>]) -> Vec<u8> {
        let framed = |frame: &Vec<u8>| [&(frame.len() as u32).to_le_bytes(), frame.as_slice()].concat();
        frames.iter().flat_map(framed).collect()
    }

    #[test]
    fn frames_come_whole_from_pieces_of_any_size() {
        let frames: Vec<Vec<u8>> = (0..200usize).map(|at| vec![at as u8; at * at % 3_000]).collect();
        let bytes = stream(&frames);
        for piece in [1, 3, 7, 100, 4_096, bytes.len()] {
            let mut intake = Intake::new(1_000, 3_000);
            let mut got: Vec<Vec<u8>> = Vec::new();
            for part in bytes.chunks(piece) {
                intake.space(part.len()).copy_from_slice(part);
                intake.frames(&mut |frame| got.push(frame.to_vec())).unwrap();
            }
            assert!(got == frames && intake.is_empty(), "pieces of {piece}");
        }
    }

    #[test]
    fn a_long_frame_moves_once() {
        let frame = vec![5; 10_000_000];
        let bytes = stream(std::slice::from_ref(&frame));
        let mut intake = Intake::new(1_000, frame.len());
        let mut places = std::collections::BTreeSet::new();
        let mut got = None;
        for part in bytes.chunks(900) {
            intake.space(part.len()).copy_from_slice(part);
            places.insert(intake.plain.as_ptr() as usize);
            intake.frames(&mut |frame| got = Some(frame)).unwrap();
        }
        assert!(got.unwrap() == frame);
        assert!(places.len() <= 3, "it lay in {} places", places.len());
    }

    #[test]
    fn a_buffer_is_used_again_when_its_frames_are_gone() {
        let bytes = stream(&[vec![1; 100]]);
        let mut intake = Intake::new(1_000, 100);
        let mut places = std::collections::BTreeSet::new();
        for _ in 0..1_000 {
            intake.space(bytes.len()).copy_from_slice(&bytes);
            let start = intake.plain.as_ptr() as usize;
            places.insert(start);
            intake.frames(&mut drop).unwrap();
        }
        assert!(places.len() <= 20, "{} places", places.len());
    }

    #[test]
    fn what_came_before_a_frame_that_is_too_long_is_handed_out() {
        let mut bytes = stream(&[vec![1; 4], vec![2; 4]]);
        bytes.extend_from_slice(&u32::MAX.to_le_bytes());
        let mut intake = Intake::new(64, 100);
        intake.space(bytes.len()).copy_from_slice(&bytes);
        let mut count = 0;
        let error = intake.frames(&mut |_| count += 1).unwrap_err();
        assert_eq!(count, 2);
        assert!(error.to_string().contains("4294967295 bytes: 100"), "{error}");
    }
}
