//! Methods: what is decoded encodes to something that decodes to the same; the hot readers agree.
#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::Method;
use protocol::deliver::{Settle, parse_settle};
use protocol::frame::next_frame;
use protocol::method::method_name;
use protocol::publish::PublishHead;

fuzz_target!(|payload: &[u8]| {
    let head = PublishHead::parse(payload);
    let settle = parse_settle(payload);
    let Ok(method) = Method::decode(payload) else {
        assert!(settle.is_none());
        return;
    };
    let (class, id) = method.class_method();
    assert_eq!(method_name(class, id), Some(method.name()));
    let mut bytes = Vec::new();
    method.put(&mut bytes, 1);
    let (frame, used) = next_frame(&bytes, 0).unwrap().unwrap();
    assert_eq!(used, bytes.len());
    // Compared as text: a float that is no number is not equal to itself.
    let again = Method::decode(frame.payload).unwrap();
    assert_eq!(format!("{method:?}"), format!("{again:?}"));
    match method {
        Method::BasicPublish { exchange, routing_key, mandatory, immediate, .. } => {
            let head = head.unwrap();
            assert_eq!((head.exchange(), head.routing_key()), (exchange.as_bytes(), routing_key.as_bytes()));
            assert_eq!((head.mandatory, head.immediate), (mandatory, immediate));
        }
        Method::BasicAck { delivery_tag, multiple } => {
            assert_eq!(settle, Some(Settle::Ack { delivery_tag, multiple }));
        }
        Method::BasicNack { delivery_tag, multiple, requeue } => {
            assert_eq!(settle, Some(Settle::Nack { delivery_tag, multiple, requeue }));
        }
        Method::BasicReject { delivery_tag, requeue } => {
            assert_eq!(settle, Some(Settle::Reject { delivery_tag, requeue }));
        }
        _ => assert!(head.is_err() && settle.is_none()),
    }
});
