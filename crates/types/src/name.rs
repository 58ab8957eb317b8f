//! Names of vhosts, exchanges, queues and users, and routing keys.
//!
//! Invariant: a name is at most 255 bytes, as an AMQP short string is; cloning one does not allocate.

use crate::limits::SHORT_STRING_BYTES_MAX;
use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name, or None when it is longer than a short string holds.
            pub fn new(name: &str) -> Option<$name> {
                (name.len() <= SHORT_STRING_BYTES_MAX).then(|| $name(name.into()))
            }

            /// The name's text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            /// Cuts what does not fit into a short string; for names that were checked before.
            fn from(name: &str) -> $name {
                let mut end = name.len().min(SHORT_STRING_BYTES_MAX);
                while !name.is_char_boundary(end) {
                    end -= 1;
                }
                $name(name[..end].into())
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name! {
    /// The name of a virtual host.
    VhostName
}
name! {
    /// The name of an exchange; the empty name is the default exchange.
    ExchangeName
}
name! {
    /// The name of a queue.
    QueueName
}
name! {
    /// The name of a user.
    UserName
}

/// A routing or binding key: bytes, since publishers may send what is not UTF-8.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct RoutingKey(Arc<[u8]>);

impl RoutingKey {
    /// The key's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The key as text, with what is not UTF-8 replaced.
    pub fn to_text(&self) -> String {
        String::from_utf8_lossy(&self.0).into_owned()
    }
}

impl From<&[u8]> for RoutingKey {
    fn from(bytes: &[u8]) -> RoutingKey {
        RoutingKey(bytes[..bytes.len().min(SHORT_STRING_BYTES_MAX)].into())
    }
}

impl From<&str> for RoutingKey {
    fn from(text: &str) -> RoutingKey {
        text.as_bytes().into()
    }
}

impl Borrow<[u8]> for RoutingKey {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for RoutingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_over_255_bytes_is_refused() {
        assert!(QueueName::new(&"q".repeat(255)).is_some());
        assert!(QueueName::new(&"q".repeat(256)).is_none());
        assert_eq!(QueueName::from("é".repeat(200).as_str()).as_str().len(), 254);
    }
}
