//! The cluster's secret, and the keys that are made of it.
//!
//! Invariant: the secret itself never leaves this module; what is sealed with a key for one purpose cannot be
//! taken for something of another.

use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use std::fmt;
use std::path::Path;

/// Shortest secret, bytes.
const SECRET_MIN_BYTES: usize = 16;

/// What all nodes of a cluster know and nobody else.
#[derive(Clone)]
pub struct ClusterSecret(Vec<u8>);

/// A key of 32 bytes.
struct KeyBytes;

impl KeyType for KeyBytes {
    fn len(&self) -> usize {
        32
    }
}

impl fmt::Debug for ClusterSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClusterSecret")
    }
}

impl ClusterSecret {
    /// Takes the text of a secret; white space around it does not count.
    ///
    /// # Errors
    /// When it is too short to be one.
    pub fn new(text: &str) -> Result<ClusterSecret, String> {
        let text = text.trim();
        if text.len() < SECRET_MIN_BYTES {
            return Err(format!("it has {} bytes: it must have at least {SECRET_MIN_BYTES}", text.len()));
        }
        Ok(ClusterSecret(text.as_bytes().to_vec()))
    }

    /// Reads the secret from a file.
    ///
    /// # Errors
    /// A text for the operator that names the file.
    pub fn read(path: &Path) -> Result<ClusterSecret, String> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            format!("cluster-secret-file is '{}': it cannot be read: {error}", path.display())
        })?;
        ClusterSecret::new(&text).map_err(|why| format!("cluster-secret-file is '{}': {why}", path.display()))
    }

    /// A key for one purpose; `salt` makes it one of a session, `more` is further secret material.
    pub fn key(&self, purpose: &str, salt: &[u8], more: &[u8]) -> [u8; 32] {
        let material: Vec<u8> = [self.0.as_slice(), more].concat();
        let extracted = Salt::new(HKDF_SHA256, salt).extract(&material);
        let mut key = [0; 32];
        let info = [purpose.as_bytes()];
        let filled = extracted.expand(&info, KeyBytes).and_then(|expanded| expanded.fill(&mut key));
        // Both only refuse lengths that are not 32 bytes.
        debug_assert!(filled.is_ok());
        key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_differ_by_secret_purpose_salt_and_material() {
        let secret = ClusterSecret::new("correct horse battery").unwrap();
        let other = ClusterSecret::new("incorrect horse battery").unwrap();
        let key = secret.key("gossip", b"1", b"");
        assert_eq!(key, ClusterSecret::new(" correct horse battery\n").unwrap().key("gossip", b"1", b""));
        assert_ne!(key, [0; 32]);
        assert_ne!(key, other.key("gossip", b"1", b""));
        assert_ne!(key, secret.key("stream", b"1", b""));
        assert_ne!(key, secret.key("gossip", b"2", b""));
        assert_ne!(key, secret.key("gossip", b"1", b"x"));
    }

    #[test]
    fn a_short_secret_is_refused() {
        assert!(ClusterSecret::new("short").unwrap_err().contains("at least 16"));
        let missing = ClusterSecret::read(Path::new("/nowhere/secret")).unwrap_err();
        assert!(missing.contains("/nowhere/secret"), "{missing}");
    }
}
