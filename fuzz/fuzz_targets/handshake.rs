//! The start of a connection: any stream of frames ends in an error, in waiting or in `Running`, in order.
#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::Method;
use protocol::frame::{FrameKind, next_frame};
use protocol::handshake::{
    Handshake, Offer, State, Step, check_protocol_header, parse_amqplain, parse_plain,
};

const OFFER: Offer = Offer { channel_max: 2047, frame_max: 131_072, heartbeat: 60 };

fuzz_target!(|data: &[u8]| {
    let Some((header, mut rest)) = data.split_first_chunk::<8>() else { return };
    if check_protocol_header(header).is_err() {
        return;
    }
    let mut handshake = Handshake::new(OFFER);
    let mut frame_max = 4096;
    while let Ok(Some((frame, used))) = next_frame(rest, frame_max) {
        rest = &rest[used..];
        if handshake.check_frame(&frame).is_err() || frame.kind != FrameKind::Method {
            return;
        }
        let Ok(method) = Method::decode(frame.payload) else { return };
        match handshake.expect(&method) {
            Ok(Step::StartOk { response, .. }) => {
                handshake.credentials_came();
                let known = parse_plain(response).or_else(|| parse_amqplain(response));
                if known.is_some() {
                    handshake.tune_sent();
                }
            }
            Ok(Step::SecureOk { .. }) => handshake.tune_sent(),
            Ok(Step::TuneOk(tuned)) => {
                assert!(tuned.frame_max >= 4096 && tuned.frame_max <= OFFER.frame_max);
                assert!(tuned.channel_max >= 1 && tuned.channel_max <= OFFER.channel_max);
                frame_max = tuned.frame_max;
                handshake.tuned();
            }
            Ok(Step::Open { .. }) => {
                handshake.opened();
                assert_eq!(handshake.state(), State::Running);
            }
            Err(error) => {
                let _ = handshake.tells(&error, true);
                return;
            }
        }
    }
});
