//! Contents: a stream read fast and slowly gives the same messages; an announcement allocates nothing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::assembly::{Assembly, Content};
use protocol::frame::{FrameKind, next_frame};
use protocol::publish::{PublishHead, whole_publish};

const FRAME_MAX: u32 = 4096;
const HEADROOM: usize = 5;

/// The first message of `data`, frame by frame, with the count of octets and frames.
fn slowly(data: &[u8]) -> Option<(u16, Content, usize, usize)> {
    let mut assembly = Assembly::default();
    let (mut at, mut frames, mut on) = (0, 0, None);
    loop {
        let (frame, used) = next_frame(&data[at..], FRAME_MAX).ok()??;
        at += used;
        frames += 1;
        if frame.channel == 0 || *on.get_or_insert(frame.channel) != frame.channel {
            return None;
        }
        if assembly.is_idle() && frame.kind == FrameKind::Method {
            assembly.start(PublishHead::parse(frame.payload).ok()?).ok()?;
        } else if let Some(content) = assembly.frame(frame.kind, frame.payload, 1 << 40, HEADROOM).ok()? {
            return Some((frame.channel, content, at, frames));
        }
    }
}

fuzz_target!(|data: &[u8]| {
    match (whole_publish(data, FRAME_MAX), slowly(data)) {
        (Some((fast, used)), Some((channel, content, at, _))) => {
            assert_eq!((fast.channel, used), (channel, at));
            assert_eq!((fast.properties, fast.body), (content.properties(), content.body()));
            assert_eq!((fast.head.route, fast.head.mandatory), (&*content.route, content.mandatory));
            assert_eq!(fast.head.immediate, content.immediate);
        }
        (Some(_), None) => panic!("only the fast way takes it"),
        (None, Some((_, content, _, frames))) => {
            assert!(frames > 3, "only the slow way takes it");
            assert!(content.buffer[..HEADROOM].iter().all(|&octet| octet == 0));
            assert!(content.buffer.capacity() <= 2 * (data.len() + HEADROOM));
        }
        (None, None) => {}
    }
});
