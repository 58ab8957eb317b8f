//! Password hashes in RabbitMQ's format: base64(salt ++ digest(salt ++ password)).
//!
//! Invariant: no password is kept; comparing takes the same time wherever the first difference is.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256, Sha512};

const SALT_BYTES: usize = 4;

/// How a password was hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum HashAlgorithm {
    /// `rabbit_password_hashing_sha256`
    #[default]
    Sha256,
    /// `rabbit_password_hashing_sha512`
    Sha512,
}

impl HashAlgorithm {
    /// The name in `hashing_algorithm`.
    pub fn as_str(self) -> &'static str {
        match self {
            HashAlgorithm::Sha256 => "rabbit_password_hashing_sha256",
            HashAlgorithm::Sha512 => "rabbit_password_hashing_sha512",
        }
    }

    /// The algorithm called `name`; None for one that is not supported (MD5 among them).
    pub fn parse(name: &str) -> Option<HashAlgorithm> {
        [HashAlgorithm::Sha256, HashAlgorithm::Sha512].into_iter().find(|known| known.as_str() == name)
    }

    fn digest(self, salt: &[u8], password: &str) -> Vec<u8> {
        match self {
            HashAlgorithm::Sha256 => {
                Sha256::new().chain_update(salt).chain_update(password).finalize().to_vec()
            }
            HashAlgorithm::Sha512 => {
                Sha512::new().chain_update(salt).chain_update(password).finalize().to_vec()
            }
        }
    }
}

/// A stored hash, as it stands in `password_hash` of a definitions file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PasswordHash {
    /// How it was made.
    pub algorithm: HashAlgorithm,
    /// base64 of salt and digest.
    pub text: String,
}

/// Hashes `password` with the default algorithm; `salt` should be random.
pub fn hash(password: &str, salt: [u8; SALT_BYTES]) -> PasswordHash {
    let algorithm = HashAlgorithm::default();
    let mut bytes = salt.to_vec();
    bytes.extend(algorithm.digest(&salt, password));
    PasswordHash { algorithm, text: STANDARD.encode(bytes) }
}

/// Whether `hash` is that of `password`. A hash that cannot be read matches nothing.
pub fn verify(hash: &PasswordHash, password: &str) -> bool {
    let Ok(bytes) = STANDARD.decode(&hash.text) else { return false };
    let Some((salt, stored)) = bytes.split_at_checked(SALT_BYTES) else { return false };
    let given = hash.algorithm.digest(salt, password);
    stored.len() == given.len() && stored.iter().zip(&given).fold(0, |all, (a, b)| all | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENTED: &str = "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR";

    #[test]
    fn the_documented_hash_comes_out() {
        let hashed = hash("test12", [0x90, 0x8D, 0xC6, 0x0A]);
        assert_eq!(hashed.text, DOCUMENTED);
        assert!(verify(&hashed, "test12"));
        assert!(!verify(&hashed, "test13"));
    }

    #[test]
    fn broken_hashes_match_nothing() {
        for text in ["", "AAAA", "not base64!", &DOCUMENTED[..8]] {
            assert!(!verify(&PasswordHash { algorithm: HashAlgorithm::Sha256, text: text.into() }, ""));
        }
        let other = PasswordHash { algorithm: HashAlgorithm::Sha512, text: DOCUMENTED.into() };
        assert!(!verify(&other, "test12"));
        assert_eq!(HashAlgorithm::parse("rabbit_password_hashing_sha512"), Some(HashAlgorithm::Sha512));
        assert_eq!(HashAlgorithm::parse("rabbit_password_hashing_md5"), None);
    }
}
