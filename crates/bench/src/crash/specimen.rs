//! A message as it must be: made from the run's seed and its id alone, so that it can be made again to compare.
//!
//! Invariant: the same seed and id give the same bytes; no two ids give the same properties.

use super::history::{Id, Sent};
use super::plan::{self, ROUTES, Route, TX_ROUTE};
use super::random::Random;
use crate::client::session::Delivery;
use crate::wire::encode::Args;
use crate::wire::properties::{self, Properties};

/// One publisher in four works with transactions.
const TX_EVERY: u32 = 4;
const BODY_BYTES_MAX: f64 = 200.0 * 1024.0;
const SMALL_BODY_BYTES_MAX: u64 = 300;
const TIMESTAMP_MIN: u64 = 1_700_000_000;

pub struct Specimen {
    pub route: &'static Route,
    pub sent: Sent,
    /// Flags and values as they stand in the content header.
    pub properties: Vec<u8>,
    pub body: Vec<u8>,
}

pub fn uses_tx(publisher: u32) -> bool {
    publisher % TX_EVERY == TX_EVERY - 1
}

static TX: Route = TX_ROUTE;
static ALL: [Route; 12] = ROUTES;

impl Specimen {
    pub fn new(seed: u64, id: Id) -> Self {
        let mut random = Random::of(seed, &[id.publisher.into(), id.sequence.into()]);
        let in_tx = uses_tx(id.publisher);
        let at = random.within(0..ALL.len() as u64) as usize;
        let route = ALL.get(at).filter(|_| !in_tx).unwrap_or(&TX);
        let is_persistent = !random.percent(10);
        let priority = random.percent(70).then(|| random.within(0..10) as u8);
        let body_bytes = body_bytes(&mut random, route);
        let body = random.bytes(body_bytes);
        let properties = encode(&mut random, id, route, is_persistent, priority, &body);
        let ordering = if route.queues == [plan::PRIORITY] { priority.unwrap_or(0) } else { 0 };
        let queues = route.queues.to_vec();
        let priority = ordering.min(plan::PRIORITY_MAX);
        Self { route, sent: Sent { id, queues, is_persistent, priority, in_tx }, properties, body }
    }

    /// What differs from what was sent; otherwise the value of x-delivery-count.
    pub fn compare(&self, delivery: &Delivery) -> Result<Option<u64>, String> {
        let id = self.sent.id;
        if delivery.body != self.body {
            let same = delivery.body.iter().zip(&self.body).take_while(|(a, b)| a == b).count();
            let (got, sent) = (delivery.body.len(), self.body.len());
            return Err(format!("{id}: body of {got} bytes, {sent} were sent, alike up to byte {same}"));
        }
        if delivery.properties == self.properties {
            return Ok(None);
        }
        let mut got = Properties::parse(&delivery.properties).map_err(|error| format!("{id}: {error}"))?;
        let sent = Properties::parse(&self.properties).map_err(|error| format!("{id}: {error}"))?;
        let count = got.take_number("x-delivery-count");
        if got == sent { Ok(count) } else { Err(format!("{id}: properties {got:?}, sent were {sent:?}")) }
    }
}

/// The id a delivery says it has.
pub fn id_of(delivery: &Delivery) -> Option<Id> {
    let properties = Properties::parse(&delivery.properties).ok()?;
    let text = std::str::from_utf8(properties.value(properties::MESSAGE_ID)?).ok()?;
    let (publisher, sequence) = text.split_once('.')?;
    Some(Id { publisher: publisher.parse().ok()?, sequence: sequence.parse().ok()? })
}

fn body_bytes(random: &mut Random, route: &Route) -> usize {
    if route.queues == [plan::BODIES] {
        // As many of each power of two.
        BODY_BYTES_MAX.powf(random.fraction()).round() as usize
    } else if random.percent(2) {
        0
    } else {
        random.within(1..SMALL_BODY_BYTES_MAX) as usize
    }
}

fn encode(
    random: &mut Random,
    id: Id,
    route: &Route,
    is_persistent: bool,
    priority: Option<u8>,
    body: &[u8],
) -> Vec<u8> {
    let is_bare = random.percent(10);
    let expires = route.queues == [plan::TTL];
    let mut flags = properties::MESSAGE_ID | properties::DELIVERY_MODE;
    if priority.is_some() {
        flags |= properties::PRIORITY;
    }
    if expires {
        flags |= properties::EXPIRATION;
    }
    if !is_bare {
        flags |= properties::CONTENT_TYPE | properties::HEADERS | properties::CORRELATION_ID;
        flags |= properties::TIMESTAMP | properties::APP_ID;
    }
    let mut bytes = Vec::new();
    let mut args = Args::to(&mut bytes);
    args.u16(flags);
    if !is_bare {
        args.short("application/octet-stream").table(|table| {
            table.long("checksum", checksum(body).cast_signed()).text("publisher", &id.publisher.to_string());
            table.flag("flag", random.percent(50)).nothing("nothing").table("inner", |inner| {
                inner.text("text", "ä𝄞").long("number", random.next().cast_signed());
            });
        });
    }
    args.u8(if is_persistent { 2 } else { 1 });
    if let Some(priority) = priority {
        args.u8(priority);
    }
    if !is_bare {
        args.short(&format!("about {id}"));
    }
    if expires {
        args.short("3600000");
    }
    args.short(&id.to_string());
    if !is_bare {
        args.u64(TIMESTAMP_MIN + random.within(0..1_000_000)).short("bench crash");
    }
    bytes
}

/// FNV-1a, for whoever looks at a message by hand.
fn checksum(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xCBF2_9CE4_8422_2325, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x100_0000_01B3))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivery(specimen: &Specimen) -> Delivery {
        let (properties, body) = (specimen.properties.clone(), specimen.body.clone());
        Delivery { tag: 1, redelivered: false, properties, body }
    }

    fn id(sequence: u32) -> Id {
        Id { publisher: 4, sequence }
    }

    #[test]
    fn a_message_can_be_made_again_and_says_who_it_is() {
        for sequence in 0..200 {
            let delivered = delivery(&Specimen::new(1, id(sequence)));
            assert_eq!(id_of(&delivered), Some(id(sequence)));
            assert_eq!(Specimen::new(1, id(sequence)).compare(&delivered), Ok(None));
        }
    }

    #[test]
    fn every_changed_byte_is_seen() {
        let specimen = Specimen::new(1, id(3));
        for at in 0..specimen.properties.len() {
            let mut delivered = delivery(&specimen);
            delivered.properties[at] ^= 1;
            assert!(specimen.compare(&delivered).is_err(), "property byte {at}");
        }
        let mut delivered = delivery(&specimen);
        delivered.body.push(0);
        assert!(specimen.compare(&delivered).is_err());
        assert!(specimen.compare(&delivery(&Specimen::new(1, id(4)))).is_err());
        assert!(specimen.compare(&delivery(&Specimen::new(2, id(3)))).is_err());
    }

    #[test]
    fn all_routes_and_sizes_occur() {
        let specimens: Vec<Specimen> = (0..3000).map(|sequence| Specimen::new(7, id(sequence))).collect();
        for route in &ROUTES {
            assert!(specimens.iter().any(|s| s.route.key == route.key), "{}", route.key);
        }
        assert!(specimens.iter().any(|s| s.body.is_empty()));
        assert!(specimens.iter().any(|s| s.body.len() > 100_000));
        assert!(specimens.iter().any(|s| !s.sent.is_persistent));
        assert!((0..50).all(|sequence| Specimen::new(7, Id { publisher: 3, sequence }).sent.in_tx));
    }
}
