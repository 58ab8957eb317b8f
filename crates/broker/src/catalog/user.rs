//! Users and what they may do in a vhost.

use super::pattern::Pattern;
use crate::password::PasswordHash;
use types::{ExchangeName, UserName};

/// A user who may log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The name, unique in the broker.
    pub name: UserName,
    /// None for a user who cannot log in with a password.
    pub password_hash: Option<PasswordHash>,
    /// `administrator`, `management`, `monitoring`, `policymaker`, `impersonator` or the operator's own.
    pub tags: Vec<String>,
    /// Limits of this user.
    pub limits: UserLimits,
}

impl User {
    /// Whether the user carries `tag`.
    pub fn has_tag(&self, tag: &str) -> bool {
        self.tags.iter().any(|own| own == tag)
    }
}

/// Limits of a user; a negative number means none.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct UserLimits {
    /// `max-connections`
    pub max_connections: Option<i64>,
    /// `max-channels`
    pub max_channels: Option<i64>,
}

/// What a user may do in a vhost, by name patterns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permission {
    /// Who.
    pub user: UserName,
    /// Declare and delete.
    pub configure: Pattern,
    /// Publish, and bind to.
    pub write: Pattern,
    /// Consume, and bind from.
    pub read: Pattern,
}

/// What a user may publish or bind with at a topic exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicPermission {
    /// Who.
    pub user: UserName,
    /// At which exchange.
    pub exchange: ExchangeName,
    /// Routing keys of publishes.
    pub write: TopicPattern,
    /// Routing keys of bindings.
    pub read: TopicPattern,
}

/// A pattern that may name its own user and vhost: `^{username}\.`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicPattern {
    /// As the operator wrote it, variables unresolved.
    pub text: String,
    /// With `{username}` and `{vhost}` filled in; both are fixed by the row the pattern stands in.
    pub resolved: Pattern,
}
