//! What nodes tell each other for listings: queues with their consumers, connections with their
//! channels, and what they have counted.
//!
//! Invariant: what cannot be read changes nothing that is shown.

use crate::words::{Malformed, Words, put_text, put_u32, put_u64};
use broker::queue::{QueueCounts, QueueTotals};
use engine::queue::{ConsumerListing, QueueListing};
use engine::registry::{ChannelListing, ConnectionListing};
use types::{ConnectionId, ConsumerId, QueueId, UserName, VhostName};

/// A queue as its home tells of it.
pub(super) type ToldQueue = (QueueId, QueueListing, Vec<ConsumerListing>);
/// A connection as its node tells of it.
pub(super) type ToldConnection = (ConnectionId, ConnectionListing, Vec<ChannelListing>);

fn totals(totals: &QueueTotals) -> [u64; 12] {
    let QueueTotals {
        publish,
        deliver,
        deliver_no_ack,
        get,
        get_no_ack,
        get_empty,
        ack,
        redeliver,
        expired,
        rejected,
        max_length,
        delivery_limit,
    } = *totals;
    [
        publish,
        deliver,
        deliver_no_ack,
        get,
        get_no_ack,
        get_empty,
        ack,
        redeliver,
        expired,
        rejected,
        max_length,
        delivery_limit,
    ]
}

pub(super) fn put_queue(
    out: &mut Vec<u8>,
    id: QueueId,
    listing: &QueueListing,
    consumers: &[ConsumerListing],
) {
    put_u64(out, id.0);
    let counts = &listing.counts;
    for number in [counts.ready, counts.ready_bytes, counts.unacked, counts.unacked_bytes] {
        put_u64(out, number);
    }
    put_u32(out, counts.consumers);
    put_u32(out, counts.consumers_with_credit);
    totals(&listing.totals).iter().for_each(|number| put_u64(out, *number));
    put_u64(out, listing.dead_lettering);
    put_u64(out, listing.idle_since_ms);
    put_u32(out, consumers.len() as u32);
    for consumer in consumers {
        put_u64(out, consumer.id.0);
        put_text(out, &consumer.tag);
        put_text(out, &consumer.channel);
        put_u64(out, consumer.priority as u64);
        put_u32(out, consumer.prefetch);
        let flags = [consumer.no_ack, consumer.exclusive, consumer.active];
        out.extend(flags.map(u8::from));
        consumer.arguments.encode(out);
    }
}

fn read_queue(words: &mut Words<'_>) -> Result<ToldQueue, Malformed> {
    let id = QueueId(words.u64()?);
    let counts = QueueCounts {
        ready: words.u64()?,
        ready_bytes: words.u64()?,
        unacked: words.u64()?,
        unacked_bytes: words.u64()?,
        consumers: words.u32()?,
        consumers_with_credit: words.u32()?,
    };
    let totals = QueueTotals {
        publish: words.u64()?,
        deliver: words.u64()?,
        deliver_no_ack: words.u64()?,
        get: words.u64()?,
        get_no_ack: words.u64()?,
        get_empty: words.u64()?,
        ack: words.u64()?,
        redeliver: words.u64()?,
        expired: words.u64()?,
        rejected: words.u64()?,
        max_length: words.u64()?,
        delivery_limit: words.u64()?,
    };
    let listing = QueueListing { counts, totals, dead_lettering: words.u64()?, idle_since_ms: words.u64()? };
    let consumers = words.rows(39, |words| {
        Ok(ConsumerListing {
            id: ConsumerId(words.u64()?),
            tag: words.text()?,
            channel: words.text()?,
            priority: words.u64()? as i64,
            prefetch: words.u32()?,
            no_ack: words.bool()?,
            exclusive: words.bool()?,
            active: words.bool()?,
            arguments: words.table()?,
        })
    })?;
    Ok((id, listing, consumers))
}

/// Reads what a home told of its queues.
pub(super) fn read_queues(bytes: &[u8]) -> Result<Vec<ToldQueue>, String> {
    read_all(bytes, read_queue)
}

pub(super) fn put_connection(
    out: &mut Vec<u8>,
    id: ConnectionId,
    listing: &ConnectionListing,
    channels: &[ChannelListing],
) {
    put_u64(out, id.0);
    for text in [
        listing.name.as_str(),
        listing.user.as_str(),
        listing.vhost.as_str(),
        &listing.peer.to_string(),
        &listing.local.to_string(),
        &listing.auth_mechanism,
        listing.state,
    ] {
        put_text(out, text);
    }
    out.push(listing.tls.into());
    listing.client_properties.encode(out);
    for number in
        [listing.channel_max.into(), listing.frame_max, listing.heartbeat_s.into(), listing.channels]
    {
        put_u32(out, number);
    }
    for number in [listing.connected_at_ms, listing.received_bytes, listing.sent_bytes] {
        put_u64(out, number);
    }
    put_u32(out, channels.len() as u32);
    for channel in channels {
        put_u32(out, channel.number.into());
        put_text(out, &channel.name);
        out.extend([channel.confirm, channel.transactional].map(u8::from));
        for number in [channel.prefetch, channel.global_prefetch, channel.consumers] {
            put_u32(out, number);
        }
        for number in [
            channel.unacknowledged,
            channel.unconfirmed,
            channel.published,
            channel.delivered,
            channel.acknowledged,
        ] {
            put_u64(out, number);
        }
    }
}

/// Words for a connection's state that are told by reference.
const STATES: [&str; 6] = ["running", "blocked", "blocking", "flow", "closing", "starting"];

fn read_connection(words: &mut Words<'_>) -> Result<ToldConnection, Malformed> {
    let addr = |words: &mut Words<'_>| words.text()?.parse().map_err(|_| Malformed("address"));
    let small =
        |words: &mut Words<'_>| u16::try_from(words.u32()?).map_err(|_| Malformed("number too large"));
    let id = ConnectionId(words.u64()?);
    let name = words.text()?;
    let user = UserName::new(&words.text()?).ok_or(Malformed("user"))?;
    let vhost = VhostName::new(&words.text()?).ok_or(Malformed("vhost"))?;
    let (peer, local, auth_mechanism) = (addr(words)?, addr(words)?, words.text()?);
    let state = words.text()?;
    let state = STATES.iter().find(|known| **known == state).copied().unwrap_or("running");
    let listing = ConnectionListing {
        name,
        user,
        vhost,
        peer,
        local,
        auth_mechanism,
        state,
        tls: words.bool()?,
        client_properties: words.table()?,
        channel_max: small(words)?,
        frame_max: words.u32()?,
        heartbeat_s: small(words)?,
        channels: words.u32()?,
        connected_at_ms: words.u64()?,
        received_bytes: words.u64()?,
        sent_bytes: words.u64()?,
    };
    let channels = words.rows(62, |words| {
        Ok(ChannelListing {
            number: small(words)?,
            name: words.text()?,
            confirm: words.bool()?,
            transactional: words.bool()?,
            prefetch: words.u32()?,
            global_prefetch: words.u32()?,
            consumers: words.u32()?,
            unacknowledged: words.u64()?,
            unconfirmed: words.u64()?,
            published: words.u64()?,
            delivered: words.u64()?,
            acknowledged: words.u64()?,
        })
    })?;
    Ok((id, listing, channels))
}

/// Reads what a node told of its connections.
pub(super) fn read_connections(bytes: &[u8]) -> Result<Vec<ToldConnection>, String> {
    read_all(bytes, read_connection)
}

/// A counter of the node: later builds may have others, so each comes with its name.
pub(super) fn put_counter(out: &mut Vec<u8>, name: &str, value: u64) {
    put_text(out, name);
    put_u64(out, value);
}

/// Reads what a node has counted.
pub(super) fn read_counters(bytes: &[u8]) -> Result<Vec<(String, u64)>, String> {
    read_all(bytes, |words| Ok((words.text()?, words.u64()?)))
}

fn read_all<T>(
    bytes: &[u8],
    read: impl Fn(&mut Words<'_>) -> Result<T, Malformed>,
) -> Result<Vec<T>, String> {
    let mut words = Words(bytes);
    let mut all = Vec::new();
    while !words.0.is_empty() {
        all.push(read(&mut words).map_err(|malformed| malformed.0.to_owned())?);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use types::{FieldTable, FieldValue};

    #[test]
    fn listings_come_back_and_every_cut_is_an_error() {
        let mut arguments = FieldTable::new();
        arguments.insert("x-priority", FieldValue::I32(3));
        let listing = QueueListing {
            counts: QueueCounts { ready: 1, consumers: 2, ..Default::default() },
            totals: QueueTotals { publish: 3, delivery_limit: 4, ..Default::default() },
            dead_lettering: 5,
            idle_since_ms: 6,
        };
        let consumer = ConsumerListing {
            id: ConsumerId(7),
            tag: "t".into(),
            channel: "c".into(),
            arguments: arguments.clone(),
            priority: -3,
            no_ack: true,
            exclusive: false,
            prefetch: 9,
            active: true,
        };
        let mut bytes = Vec::new();
        put_queue(&mut bytes, QueueId(1), &listing, &[consumer.clone(), consumer.clone()]);
        let back = read_queues(&bytes).unwrap();
        assert_eq!(
            format!("{back:?}"),
            format!("{:?}", [(QueueId(1), listing, vec![consumer.clone(), consumer])])
        );
        (1..bytes.len()).for_each(|end| assert!(read_queues(&bytes[..end]).is_err(), "{end}"));

        let listing = ConnectionListing {
            name: "a -> b".into(),
            user: "u".into(),
            vhost: "/".into(),
            peer: "127.0.0.1:1".parse().unwrap(),
            local: "[::1]:2".parse().unwrap(),
            tls: true,
            auth_mechanism: "PLAIN".into(),
            client_properties: arguments,
            channel_max: 3,
            frame_max: 4,
            heartbeat_s: 5,
            connected_at_ms: 6,
            received_bytes: 7,
            sent_bytes: 8,
            state: "running",
            channels: 1,
        };
        let channel = ChannelListing {
            number: 1,
            name: "a (1)".into(),
            confirm: true,
            transactional: false,
            prefetch: 2,
            global_prefetch: 3,
            consumers: 4,
            unacknowledged: 5,
            unconfirmed: 6,
            published: 7,
            delivered: 8,
            acknowledged: 9,
        };
        let mut bytes = Vec::new();
        put_connection(&mut bytes, ConnectionId(3), &listing, std::slice::from_ref(&channel));
        let back = read_connections(&bytes).unwrap();
        assert_eq!(format!("{back:?}"), format!("{:?}", [(ConnectionId(3), listing, vec![channel])]));
        (1..bytes.len()).for_each(|end| assert!(read_connections(&bytes[..end]).is_err(), "{end}"));
    }

    #[test]
    fn counters_come_back_and_every_cut_is_an_error() {
        let mut bytes = Vec::new();
        put_counter(&mut bytes, "received", u64::MAX);
        assert_eq!(read_counters(&bytes).unwrap(), [("received".to_owned(), u64::MAX)]);
        (1..bytes.len()).for_each(|end| assert!(read_counters(&bytes[..end]).is_err(), "{end}"));
    }
}
