//! The first bytes of a link and the keys that come of them.
//!
//! A hello has 76 bytes: the magic "LVRT", the major and minor version (u16, little endian), the link's
//! class, three zero bytes, an X25519 public key made for this link, a nonce of 32 bytes. The first 8 bytes
//! stay the same in every version, so that two nodes can tell each other that they do not fit.
//!
//! Invariant: the keys hang on the secret, on both hellos to the last byte, on the agreed X25519 secret and,
//! inside TLS, on that session; there is one for each direction.

use super::refusal::HandshakeError;
use crate::identity::WireVersion;
use crate::secret::ClusterSecret;
use aws_lc_rs::agreement::{EphemeralPrivateKey, UnparsedPublicKey, X25519, agree_ephemeral};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};

/// What a link is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LinkClass {
    /// Calls and signs of life between two members; one for each pair.
    Control,
    /// Messages; one for each direction.
    Data,
    /// A few calls before nodes know each other.
    Visit,
}

/// Bytes of a hello.
pub(crate) const HELLO_BYTES: usize = 76;

const MAGIC: [u8; 4] = *b"LVRT";
const PUBLIC_KEY_AT: usize = 12;
const PUBLIC_KEY_BYTES: usize = 32;
const NONCE_AT: usize = PUBLIC_KEY_AT + PUBLIC_KEY_BYTES;

impl LinkClass {
    fn code(self) -> u8 {
        match self {
            LinkClass::Control => 1,
            LinkClass::Data => 2,
            LinkClass::Visit => 3,
        }
    }

    fn from_code(code: u8) -> Option<LinkClass> {
        [LinkClass::Control, LinkClass::Data, LinkClass::Visit].into_iter().find(|class| class.code() == code)
    }
}

/// This side's hello and the private key that belongs to it.
pub(crate) struct OwnHello {
    pub(crate) bytes: [u8; HELLO_BYTES],
    private: EphemeralPrivateKey,
}

/// The other side's hello.
#[derive(Debug)]
pub(crate) struct PeerHello {
    pub(crate) wire: WireVersion,
    pub(crate) class: LinkClass,
    bytes: [u8; HELLO_BYTES],
}

/// Keys of a link, one for each direction.
pub(crate) struct LinkKeys {
    pub(crate) from_dialler: [u8; 32],
    pub(crate) to_dialler: [u8; 32],
}

fn broken(what: &str) -> HandshakeError {
    HandshakeError::Io(what.to_owned())
}

impl OwnHello {
    /// A new one with a key and a nonce of its own.
    pub(crate) fn new(wire: WireVersion, class: LinkClass) -> Result<OwnHello, HandshakeError> {
        let random = SystemRandom::new();
        let no_key = |_| broken("no key could be made");
        let private = EphemeralPrivateKey::generate(&X25519, &random).map_err(no_key)?;
        let public = private.compute_public_key().map_err(no_key)?;
        let mut bytes = [0; HELLO_BYTES];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4..6].copy_from_slice(&wire.major.to_le_bytes());
        bytes[6..8].copy_from_slice(&wire.minor.to_le_bytes());
        bytes[8] = class.code();
        if public.as_ref().len() != PUBLIC_KEY_BYTES {
            return Err(broken("no key could be made"));
        }
        bytes[PUBLIC_KEY_AT..NONCE_AT].copy_from_slice(public.as_ref());
        random.fill(&mut bytes[NONCE_AT..]).map_err(|_| broken("no random numbers"))?;
        Ok(OwnHello { bytes, private })
    }

    /// The keys of the link; `session` are bytes of the TLS session around it, or none.
    pub(crate) fn keys(
        self,
        peer: &PeerHello,
        is_dialler: bool,
        secret: &ClusterSecret,
        session: &[u8],
    ) -> Result<LinkKeys, HandshakeError> {
        let (first, second) =
            if is_dialler { (&self.bytes, &peer.bytes) } else { (&peer.bytes, &self.bytes) };
        let hellos = [first.as_slice(), second].concat();
        let public = UnparsedPublicKey::new(&X25519, &peer.bytes[PUBLIC_KEY_AT..NONCE_AT]);
        let unusable = HandshakeError::Garbage("its public key is none".to_owned());
        agree_ephemeral(self.private, public, unusable, |agreed| {
            Ok(LinkKeys::derive(secret, &hellos, agreed, session))
        })
    }
}

impl LinkKeys {
    /// From the secret, both hellos, what the two keys agree on and the TLS session.
    fn derive(secret: &ClusterSecret, hellos: &[u8], agreed: &[u8], session: &[u8]) -> LinkKeys {
        let more = [agreed, session].concat();
        LinkKeys {
            from_dialler: secret.key("stream from dialler", hellos, &more),
            to_dialler: secret.key("stream to dialler", hellos, &more),
        }
    }
}

impl PeerHello {
    /// The version, from the first 8 bytes.
    pub(crate) fn check(bytes: &[u8; HELLO_BYTES], ours: WireVersion) -> Result<WireVersion, HandshakeError> {
        if bytes[..4] != MAGIC {
            return Err(HandshakeError::Garbage("its first bytes are not LVRT".to_owned()));
        }
        let number = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        let wire = WireVersion { major: number(4), minor: number(6) };
        if wire.major != ours.major {
            return Err(HandshakeError::Version(wire));
        }
        Ok(wire)
    }

    /// Reads what the other side said first.
    pub(crate) fn read(bytes: [u8; HELLO_BYTES], ours: WireVersion) -> Result<PeerHello, HandshakeError> {
        let wire = PeerHello::check(&bytes, ours)?;
        let class = LinkClass::from_code(bytes[8])
            .ok_or_else(|| HandshakeError::Garbage(format!("it asks for a link of class {}", bytes[8])))?;
        Ok(PeerHello { wire, class, bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIRE: WireVersion = WireVersion { major: 1, minor: 0 };

    fn keys(secrets: [&str; 2], sessions: [&[u8]; 2]) -> [LinkKeys; 2] {
        let [dialler, acceptor] =
            [LinkClass::Data, LinkClass::Data].map(|class| OwnHello::new(WIRE, class).unwrap());
        let [from_dialler, from_acceptor] =
            [dialler.bytes, acceptor.bytes].map(|bytes| PeerHello::read(bytes, WIRE).unwrap());
        let secrets = secrets.map(|secret| ClusterSecret::new(secret).unwrap());
        [
            dialler.keys(&from_acceptor, true, &secrets[0], sessions[0]).unwrap(),
            acceptor.keys(&from_dialler, false, &secrets[1], sessions[1]).unwrap(),
        ]
    }

    #[test]
    fn both_sides_get_the_same_keys_and_no_other_pair_does() {
        let secret = "correct horse battery";
        let [a, b] = keys([secret; 2], [b""; 2]);
        assert_eq!((a.from_dialler, a.to_dialler), (b.from_dialler, b.to_dialler));
        assert_ne!(a.from_dialler, a.to_dialler);
        assert_ne!(a.from_dialler, keys([secret; 2], [b""; 2])[0].from_dialler, "each link has its own");
        let [a, b] = keys([secret, "incorrect horse battery"], [b""; 2]);
        assert_ne!(a.from_dialler, b.from_dialler);
        let [a, b] = keys([secret; 2], [b"one session", b"another"]);
        assert_ne!(a.from_dialler, b.from_dialler);
    }

    #[test]
    fn what_is_no_hello_is_told_apart() {
        let good = OwnHello::new(WIRE, LinkClass::Control).unwrap().bytes;
        assert_eq!(PeerHello::read(good, WIRE).unwrap().class, LinkClass::Control);
        let with = |at: usize, byte: u8| {
            let mut bytes = good;
            bytes[at] = byte;
            PeerHello::read(bytes, WIRE).unwrap_err()
        };
        assert!(matches!(with(0, b'G'), HandshakeError::Garbage(_)));
        assert!(matches!(with(8, 9), HandshakeError::Garbage(_)));
        assert_eq!(with(4, 2), HandshakeError::Version(WireVersion { major: 2, minor: 0 }));
        let mut newer = good;
        newer[6] = 5;
        assert_eq!(PeerHello::read(newer, WIRE).unwrap().wire, WireVersion { major: 1, minor: 5 });
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn version_1_looks_like_this_for_ever() {
        let wire = WireVersion { major: 0x0102, minor: 0x0304 };
        for (class, code) in [(LinkClass::Control, 1), (LinkClass::Data, 2), (LinkClass::Visit, 3)] {
            let bytes = OwnHello::new(wire, class).unwrap().bytes;
            assert_eq!(bytes[..PUBLIC_KEY_AT], [b'L', b'V', b'R', b'T', 2, 1, 4, 3, code, 0, 0, 0]);
            assert_ne!(bytes[PUBLIC_KEY_AT..NONCE_AT], bytes[NONCE_AT..]);
        }
        let secret = ClusterSecret::new("correct horse battery").unwrap();
        let keys = LinkKeys::derive(&secret, &[1; 2 * HELLO_BYTES], &[2; 32], &[3; 32]);
        assert_eq!(
            hex(&keys.from_dialler),
            "1aad605884b6b3af14f9ae4e85f3f61695f3903edd67401d21c2f96b625d3b53"
        );
        assert_eq!(hex(&keys.to_dialler), "8f346cd6a770f5f3722e9f2d622906500b20100f7ef13e5a201e940afc6e9023");
    }

    #[test]
    fn a_public_key_of_zeros_is_refused() {
        let mut bytes = OwnHello::new(WIRE, LinkClass::Control).unwrap().bytes;
        bytes[PUBLIC_KEY_AT..NONCE_AT].fill(0);
        let peer = PeerHello::read(bytes, WIRE).unwrap();
        let secret = ClusterSecret::new("correct horse battery").unwrap();
        let keys = OwnHello::new(WIRE, LinkClass::Control).unwrap().keys(&peer, false, &secret, b"");
        assert!(matches!(keys, Err(HandshakeError::Garbage(_))));
    }
}
