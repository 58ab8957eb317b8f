//! Every method of the table against itself and against the parser of `amq-protocol`.

use crate::frame::{FrameKind, next_frame};
use crate::method::{any_of_each, method_name};
use crate::{Method, octets::Binary};
use amq_protocol::frame::WriteContext;
use amq_protocol::frame::{AMQPFrame, gen_frame, parse_frame};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

/// Runs `check` for many values of each method of the table.
fn for_each_method(check: impl Fn(Method) -> Result<(), TestCaseError>) {
    for strategy in any_of_each() {
        let mut runner = TestRunner::new(ProptestConfig {
            cases: 48,
            failure_persistence: None,
            ..ProptestConfig::default()
        });
        runner.run(&strategy, &check).unwrap();
    }
}

fn frame_of(method: &Method) -> Vec<u8> {
    let mut bytes = Vec::new();
    method.put(&mut bytes, 258);
    bytes
}

#[test]
fn what_put_writes_decode_gives_back() {
    for_each_method(|method| {
        let bytes = frame_of(&method);
        let (frame, used) = next_frame(&bytes, 0).unwrap().unwrap();
        prop_assert_eq!((frame.kind, frame.channel, used), (FrameKind::Method, 258, bytes.len()));
        prop_assert_eq!(Method::decode(frame.payload), Ok(method.clone()));
        let (class, id) = method.class_method();
        prop_assert_eq!(method_name(class, id), Some(method.name()));
        prop_assert!(method.from_client() || method.from_server());
        Ok(())
    });
}

#[test]
fn cut_and_lengthened_payloads_are_errors() {
    for_each_method(|method| {
        let bytes = frame_of(&method);
        let payload = &bytes[7..bytes.len() - 1];
        for end in 0..payload.len() {
            prop_assert!(Method::decode(&payload[..end]).is_err(), "cut at {}", end);
        }
        prop_assert!(Method::decode(&[payload, &[0]].concat()).is_err());
        Ok(())
    });
}

/// What the oracle reads in one of our frames.
fn read_by_oracle(bytes: &[u8]) -> Result<AMQPFrame, TestCaseError> {
    match parse_frame(bytes) {
        Ok(([], frame @ AMQPFrame::Method(258, _))) => Ok(frame),
        other => Err(TestCaseError::fail(format!("the oracle does not read {}: {other:?}", Binary(bytes)))),
    }
}

/// Names and values of all fields that are bits, as they stand in a value's debug text.
fn bits(value: &impl std::fmt::Debug) -> Vec<String> {
    let text = format!("{value:?}");
    let mut bits: Vec<String> = text
        .split([',', '{', '}'])
        .map(str::trim)
        .filter(|part| part.ends_with(": true") || part.ends_with(": false"))
        .map(String::from)
        .collect();
    bits.sort();
    bits
}

#[test]
fn the_oracle_reads_our_methods_and_we_read_its() {
    for_each_method(|method| {
        let ours = frame_of(&method);
        let read = read_by_oracle(&ours)?;
        if let AMQPFrame::Method(_, class) = &read {
            prop_assert_eq!(bits(class), bits(&method), "{:?}", method);
        }
        // The oracle sorts tables and keeps one entry of a key, so bytes are compared from its form on.
        let theirs = gen_frame(&read)(WriteContext::from(Vec::new())).unwrap().into_inner().0;
        let (frame, _) = next_frame(&theirs, 0).unwrap().unwrap();
        let back = Method::decode(frame.payload).unwrap();
        prop_assert_eq!(back.class_method(), method.class_method());
        prop_assert_eq!(frame_of(&back), theirs);
        Ok(())
    });
}

proptest! {
    #[test]
    fn random_payloads_never_panic(payload in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(method) = Method::decode(&payload) {
            prop_assert_eq!(method_name(method.class_method().0, method.class_method().1), Some(method.name()));
        }
    }
}
