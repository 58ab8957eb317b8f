//! Datagrams between nodes, sealed with a key made of the cluster's secret.
//!
//! Form: `LVGO`, a version byte, 12 random bytes (the nonce), the sealed body, a tag of 16 bytes. AES-256-GCM-SIV,
//! because all nodes share one key: a nonce that comes twice by chance gives no key away.
//!
//! Invariant: nothing that did not come from a holder of the secret gets further than here.

use crate::secret::ClusterSecret;
use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

/// The first bytes of each datagram.
const MAGIC: [u8; 4] = *b"LVGO";
/// The form of datagrams and of what is in them.
const VERSION: u8 = 1;
const PREFIX_BYTES: usize = MAGIC.len() + 1;
const TAG_BYTES: usize = 16;
/// How much longer a datagram is than what it carries.
pub const OVERHEAD_BYTES: usize = PREFIX_BYTES + NONCE_LEN + TAG_BYTES;

/// Seals and opens datagrams.
pub struct Seal {
    key: LessSafeKey,
}

impl Seal {
    /// The seal of a cluster's gossip.
    ///
    /// # Errors
    /// When the library refuses the key, which it does only for lengths that are wrong.
    pub fn new(secret: &ClusterSecret) -> Result<Seal, String> {
        let key = UnboundKey::new(&AES_256_GCM_SIV, &secret.key("gossip", b"", b""))
            .map_err(|error| format!("the key of gossip cannot be used: {error}"))?;
        Ok(Seal { key: LessSafeKey::new(key) })
    }

    /// The datagram that carries `body`.
    ///
    /// # Errors
    /// When the machine gives no random bytes.
    pub fn seal(&self, body: &[u8]) -> Result<Vec<u8>, String> {
        let mut nonce = [0; NONCE_LEN];
        aws_lc_rs::rand::fill(&mut nonce).map_err(|_| "the machine gives no random bytes".to_owned())?;
        self.seal_with(nonce, body)
    }

    fn seal_with(&self, nonce: [u8; NONCE_LEN], body: &[u8]) -> Result<Vec<u8>, String> {
        let prefix = prefix();
        let mut datagram = Vec::with_capacity(body.len() + OVERHEAD_BYTES);
        datagram.extend_from_slice(&prefix);
        datagram.extend_from_slice(&nonce);
        datagram.extend_from_slice(body);
        let (_, sealed) = datagram.split_at_mut(PREFIX_BYTES + NONCE_LEN);
        let tag = self
            .key
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(prefix), sealed)
            .map_err(|error| format!("{} bytes cannot be sealed: {error}", body.len()))?;
        datagram.extend_from_slice(tag.as_ref());
        Ok(datagram)
    }

    /// What a datagram carries; none when it was not sealed with this secret or was changed on its way.
    pub fn open<'a>(&self, datagram: &'a mut [u8]) -> Option<&'a [u8]> {
        let prefix = prefix();
        let (head, rest) = datagram.split_at_mut_checked(PREFIX_BYTES)?;
        if *head != prefix {
            return None;
        }
        let (nonce, sealed) = rest.split_at_mut_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        self.key.open_in_place(nonce, Aad::from(prefix), sealed).ok().map(|body| &*body)
    }
}

fn prefix() -> [u8; PREFIX_BYTES] {
    let [a, b, c, d] = MAGIC;
    [a, b, c, d, VERSION]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seal(secret: &str) -> Seal {
        Seal::new(&ClusterSecret::new(secret).unwrap()).unwrap()
    }

    #[test]
    fn what_is_sealed_opens_with_the_same_secret_only() {
        let (ours, theirs) = (seal("correct horse battery"), seal("incorrect horse battery"));
        for body in [&b""[..], b"x", &[7; 1_000]] {
            let datagram = ours.seal(body).unwrap();
            assert_eq!(datagram.len(), body.len() + OVERHEAD_BYTES);
            assert_eq!(ours.open(&mut datagram.clone()), Some(body));
            assert_eq!(theirs.open(&mut datagram.clone()), None);
            assert_ne!(datagram, ours.seal(body).unwrap(), "the nonce is random");
        }
    }

    #[test]
    fn a_changed_bit_anywhere_is_noticed() {
        let seal = seal("correct horse battery");
        let datagram = seal.seal(b"who is there?").unwrap();
        for position in 0..datagram.len() {
            for bit in 0..8 {
                let mut changed = datagram.clone();
                changed[position] ^= 1 << bit;
                assert_eq!(seal.open(&mut changed), None, "byte {position}, bit {bit}");
            }
        }
    }

    #[test]
    fn a_shorter_or_longer_datagram_does_not_open() {
        let seal = seal("correct horse battery");
        let datagram = seal.seal(b"who is there?").unwrap();
        for length in 0..datagram.len() {
            assert_eq!(seal.open(&mut datagram[..length].to_vec()), None, "{length} bytes");
        }
        let mut longer = datagram.clone();
        longer.push(0);
        assert_eq!(seal.open(&mut longer), None);
    }

    #[test]
    fn the_form_of_datagrams_stays() {
        let datagram = seal("correct horse battery").seal_with([9; NONCE_LEN], b"hare").unwrap();
        let text: String = datagram.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(text, "4c56474f0109090909090909090909090945b2e4e07743be61f30cf1a5a69680c1a479e3e5");
    }
}
