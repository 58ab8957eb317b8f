//! Contents: the fast way against the slow way, and against the parser of `amq-protocol`.

use crate::Method;
use crate::assembly::{Assembly, Content};
use crate::deliver::{parse_settle, put_ack, put_nack};
use crate::deliver::{put_body, put_content_header, put_deliver, put_delivery, put_get_ok, put_return};
use crate::frame::{Frame, FrameKind, next_frame, put_frame};
use crate::method::method_ids;
use crate::publish::{PublishHead, put_route, split_route, whole_publish};
use amq_protocol::frame::{AMQPFrame, parse_frame};
use proptest::collection::vec;
use proptest::prelude::*;
use types::ReplyCode;

const FRAME_MAX: u32 = 4096;

/// A publish as a client writes it.
fn published(
    channel: u16,
    route: &[u8],
    bits: u8,
    properties: &[u8],
    body: &[u8],
    frame_max: u32,
) -> Vec<u8> {
    let mut out = Vec::new();
    let method = [&[0, 60, 0, 40, 0, 0][..], route, &[bits]].concat();
    put_frame(&mut out, FrameKind::Method, channel, &method);
    put_content_header(&mut out, channel, properties, body.len() as u64);
    put_body(&mut out, channel, body, frame_max);
    out
}

/// The slow way: frame by frame, until a message is complete or the bytes are used up or wrong.
fn slowly(buf: &[u8], frame_max: u32) -> Option<(u16, Content, usize)> {
    let mut assembly = Assembly::default();
    let mut at = 0;
    let mut on = None;
    loop {
        let (Frame { kind, channel, payload }, used) = next_frame(&buf[at..], frame_max).ok()??;
        at += used;
        if channel == 0 || *on.get_or_insert(channel) != channel {
            return None;
        }
        if kind == FrameKind::Method {
            assembly.refuse_method().ok()?;
            if method_ids(payload)? != (60, 40) {
                return None;
            }
            assembly.start(PublishHead::parse(payload).ok()?).ok()?;
        } else if let Some(content) = assembly.frame(kind, payload, u64::MAX, 0).ok()? {
            return Some((channel, content, at));
        }
    }
}

fn route() -> impl Strategy<Value = Vec<u8>> {
    (vec(any::<u8>(), 0..256), vec(any::<u8>(), 0..256)).prop_map(|(exchange, key)| {
        let mut route = Vec::new();
        put_route(&mut route, &exchange, &key);
        assert_eq!(split_route(&route), Some((&exchange[..], &key[..])));
        route
    })
}

/// The fast way must give what the slow way gives, or nothing where the body came in several frames.
fn compare(buf: &[u8], frame_max: u32) -> Result<(), TestCaseError> {
    let slow = slowly(buf, frame_max);
    match (whole_publish(buf, frame_max), slow) {
        (Some((fast, used)), Some((channel, content, at))) => {
            prop_assert_eq!((fast.channel, used), (channel, at));
            prop_assert_eq!(fast.head.route, &*content.route);
            prop_assert_eq!(fast.head.mandatory, content.mandatory);
            prop_assert_eq!(fast.head.immediate, content.immediate);
            prop_assert_eq!((fast.properties, fast.body), (content.properties(), content.body()));
        }
        (Some(fast), None) => prop_assert!(false, "only the fast way takes {:?}", fast),
        (None, Some((_, _, at))) => {
            let mut frames = 0;
            let mut from = 0;
            while from < at {
                from += next_frame(&buf[from..], frame_max).unwrap().unwrap().1;
                frames += 1;
            }
            // An empty body frame before the full one counts as several frames, too.
            prop_assert!(frames > 3, "only the slow way takes {frames} frames");
        }
        (None, None) => {}
    }
    Ok(())
}

proptest! {
    #[test]
    fn the_fast_way_in_is_the_slow_way(
        route in route(), bits in 0u8..4, channel in 1u16.., properties in vec(any::<u8>(), 2..60),
        body in prop_oneof![vec(any::<u8>(), 0..40), vec(any::<u8>(), 4000..9000)],
        cut in any::<prop::sample::Index>(), flip in any::<prop::sample::Index>(), with in any::<u8>(),
    ) {
        let bytes = published(channel, &route, bits, &properties, &body, FRAME_MAX);
        compare(&bytes, FRAME_MAX)?;
        let (found, content, used) = slowly(&bytes, FRAME_MAX).unwrap();
        prop_assert_eq!((found, used, content.body()), (channel, bytes.len(), &body[..]));
        let end = cut.index(bytes.len());
        prop_assert!(whole_publish(&bytes[..end], FRAME_MAX).is_none());
        prop_assert!(slowly(&bytes[..end], FRAME_MAX).is_none());
        let mut broken = bytes.clone();
        broken[flip.index(bytes.len())] = with;
        compare(&broken, FRAME_MAX)?;
        compare(&broken, 0)?;
    }

    #[test]
    fn a_broken_head_is_judged_alike(
        body in vec(any::<u8>(), 0..6), flip in 0usize..60, with in any::<u8>(),
    ) {
        let mut bytes = published(1, b"\x02ex\x01k", 0, &[0, 0], &body, 0);
        let at = flip % bytes.len();
        bytes[at] = with;
        compare(&bytes, FRAME_MAX)?;
    }

    #[test]
    fn the_fast_way_out_is_the_slow_way(
        channel: u16, tag in vec(any::<u8>(), 0..256), delivery_tag: u64, redelivered: bool, route in route(),
        properties in vec(any::<u8>(), 0..60), size in prop_oneof![0usize..64, 4070usize..4110, 8160usize..8200],
    ) {
        let body = vec![0xCE; size];
        let mut slow = Vec::new();
        put_deliver(&mut slow, channel, &tag, delivery_tag, redelivered, &route);
        put_content_header(&mut slow, channel, &properties, body.len() as u64);
        put_body(&mut slow, channel, &body, FRAME_MAX);
        let mut fast = Vec::new();
        put_delivery(&mut fast, channel, &tag, delivery_tag, redelivered, &route, &properties, &body, FRAME_MAX);
        prop_assert_eq!(slow, fast);
    }

    #[test]
    fn the_hot_methods_are_the_tables_methods(
        consumer_tag in "[a-z]{0,80}", exchange in "[a-z]{0,80}", routing_key in "\\PC{0,60}",
        delivery_tag: u64, redelivered: bool, message_count: u32, multiple: bool, requeue: bool,
    ) {
        let mut route = Vec::new();
        put_route(&mut route, exchange.as_bytes(), routing_key.as_bytes());
        let check = |put: &dyn Fn(&mut Vec<u8>), method: Method| {
            let (mut hot, mut cold) = (Vec::new(), Vec::new());
            put(&mut hot);
            method.put(&mut cold, 9);
            prop_assert_eq!(&hot, &cold);
            prop_assert!(matches!(parse_frame(&hot[..]), Ok(([], AMQPFrame::Method(9, _)))));
            for end in 0..hot.len() {
                prop_assert_eq!(next_frame(&hot[..end], 0), Ok(None));
            }
            Ok(())
        };
        let names = || (exchange.clone(), routing_key.clone());
        let (exchange, routing_key) = names();
        let deliver = Method::BasicDeliver {
            consumer_tag: consumer_tag.clone(), delivery_tag, redelivered, exchange, routing_key,
        };
        check(&|out| put_deliver(out, 9, consumer_tag.as_bytes(), delivery_tag, redelivered, &route), deliver)?;
        let (exchange, routing_key) = names();
        let get_ok = Method::BasicGetOk { delivery_tag, redelivered, exchange, routing_key, message_count };
        check(&|out| put_get_ok(out, 9, delivery_tag, redelivered, &route, message_count), get_ok)?;
        let (exchange, routing_key) = names();
        let returned =
            Method::BasicReturn { reply_code: 312, reply_text: "NO_ROUTE".into(), exchange, routing_key };
        check(&|out| put_return(out, 9, ReplyCode::NoRoute, "NO_ROUTE", &route), returned)?;
        let ack = Method::BasicAck { delivery_tag, multiple };
        check(&|out| put_ack(out, 9, delivery_tag, multiple), ack)?;
        let nack = Method::BasicNack { delivery_tag, multiple, requeue };
        check(&|out| put_nack(out, 9, delivery_tag, multiple, requeue), nack)?;
    }

    #[test]
    fn settles_are_the_tables_methods(id in prop_oneof![Just(80u8), Just(90), Just(120), any::<u8>()],
        tag: u64, bits: u8, extra in 0usize..2,
    ) {
        use crate::deliver::Settle;
        let mut payload = [&[0, 60, 0, id][..], &tag.to_be_bytes(), &[bits]].concat();
        payload.resize(payload.len() + extra, 0);
        let cold = match Method::decode(&payload) {
            Ok(Method::BasicAck { delivery_tag, multiple }) => Some(Settle::Ack { delivery_tag, multiple }),
            Ok(Method::BasicNack { delivery_tag, multiple, requeue }) => {
                Some(Settle::Nack { delivery_tag, multiple, requeue })
            }
            Ok(Method::BasicReject { delivery_tag, requeue }) => Some(Settle::Reject { delivery_tag, requeue }),
            _ => None,
        };
        prop_assert_eq!(parse_settle(&payload), cold);
    }

    #[test]
    fn the_oracle_reads_our_contents(channel: u16, body in vec(any::<u8>(), 0..9000)) {
        let mut out = Vec::new();
        // content-type "text/plain", delivery-mode 2, message-id "m"
        let properties = b"\x90\x80\x0atext/plain\x02\x01m";
        put_content_header(&mut out, channel, properties, body.len() as u64);
        put_body(&mut out, channel, &body, FRAME_MAX);
        let (mut rest, header) = parse_frame(&out[..]).unwrap();
        let AMQPFrame::Header(on, header) = header else { panic!("a header expected") };
        prop_assert_eq!((on, header.class_id, header.body_size), (channel, 60, body.len() as u64));
        prop_assert_eq!(*header.properties.delivery_mode(), Some(2));
        prop_assert_eq!(header.properties.message_id().as_ref().map(|id| id.as_str()), Some("m"));
        let mut read = Vec::new();
        while !rest.is_empty() {
            let (after, frame) = parse_frame(rest).unwrap();
            let AMQPFrame::Body(on, payload) = frame else { panic!("a body expected") };
            prop_assert_eq!(on, channel);
            read.extend_from_slice(&payload);
            rest = after;
        }
        prop_assert_eq!(read, body);
    }

    #[test]
    fn random_bytes_never_panic(bytes in vec(any::<u8>(), 0..300), frame_max in prop_oneof![Just(0), Just(4096)]) {
        let _ = next_frame(&bytes, frame_max);
        compare(&bytes, frame_max)?;
    }
}
