//! Frames: any stream is cut into frames that are written back as the same octets, or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::frame::{next_frame, put_frame};

fuzz_target!(|data: &[u8]| {
    for frame_max in [0, 4096] {
        let mut at = 0;
        while let Ok(Some((frame, used))) = next_frame(&data[at..], frame_max) {
            let mut again = Vec::new();
            put_frame(&mut again, frame.kind, frame.channel, frame.payload);
            assert_eq!(again, data[at..at + used]);
            assert!(frame_max == 0 || frame.payload.len() <= frame_max as usize);
            // What is whole does not depend on what follows, and a cut frame is waited for.
            assert!(matches!(next_frame(&data[at..at + used], frame_max), Ok(Some((_, n))) if n == used));
            assert_eq!(next_frame(&data[at..at + used - 1], frame_max), Ok(None));
            let _ = frame.check_place();
            at += used;
        }
    }
});
