//! Commands about users and their permissions.

use super::Catalog;
use super::command::Event;
use super::definition::failed;
use super::pattern::Pattern;
use super::refusal;
use super::topology::Change;
use super::user::{Permission, TopicPattern, TopicPermission, User, UserLimits};
use crate::password::PasswordHash;
use std::sync::Arc;
use types::{AmqpError, ExchangeName, UserName, VhostName};

const EMPTY_PATTERN: &str = "^$";

/// The three patterns of a permission, as text.
pub(crate) struct Patterns {
    pub(crate) configure: String,
    pub(crate) write: String,
    pub(crate) read: String,
}

fn no_user(name: &UserName) -> AmqpError {
    AmqpError::not_found(format!("user '{name}' not found"))
}

/// Compiles an operator's pattern; the empty one matches the empty name only.
fn pattern(text: &str) -> Result<Pattern, AmqpError> {
    compile(if text.is_empty() { EMPTY_PATTERN } else { text }, text)
}

fn compile(effective: &str, text: &str) -> Result<Pattern, AmqpError> {
    Pattern::new(effective).map_err(|reason| {
        AmqpError::precondition_failed(format!("invalid regular expression '{text}': {reason}"))
    })
}

/// Compiles a pattern with the names of its own user and vhost filled in.
pub(crate) fn topic_pattern(
    text: &str,
    user: &UserName,
    vhost: &VhostName,
) -> Result<TopicPattern, AmqpError> {
    let effective = if text.is_empty() { EMPTY_PATTERN } else { text };
    let resolved = effective.replace("{username}", user.as_str()).replace("{vhost}", vhost.as_str());
    Ok(TopicPattern { text: text.to_owned(), resolved: compile(&resolved, text)? })
}

impl Catalog {
    pub(crate) fn put_user(
        &mut self,
        name: UserName,
        password_hash: Option<PasswordHash>,
        tags: Vec<String>,
        change: &mut Change<'_>,
    ) -> bool {
        let old = self.users.get(&name);
        let limits = old.map(|user| user.limits.clone()).unwrap_or_default();
        let user = User { name: name.clone(), password_hash, tags, limits };
        if old.is_some_and(|old| **old == user) {
            return false;
        }
        self.users.insert(name.clone(), Arc::new(user));
        change.events.push(Event::UserChanged(name));
        true
    }

    /// Deletes a user with all permissions.
    pub(crate) fn delete_user(
        &mut self,
        name: &UserName,
        change: &mut Change<'_>,
    ) -> Result<bool, AmqpError> {
        if self.users.remove(name).is_none() {
            return Err(no_user(name));
        }
        let vhosts: Vec<VhostName> = self.vhosts.keys().cloned().collect();
        for vhost in vhosts {
            self.clear_permission(&vhost, name, change)?;
            self.clear_topic_permission(&vhost, name, None, change)?;
        }
        change.events.push(Event::UserDeleted(name.clone()));
        Ok(true)
    }

    /// Sets a limit by its name, or clears it; all of them when no name is given.
    pub(crate) fn set_user_limit(
        &mut self,
        name: &UserName,
        limit: Option<&str>,
        value: Option<i64>,
        change: &mut Change<'_>,
    ) -> Result<bool, AmqpError> {
        let old = self.users.get(name).ok_or_else(|| no_user(name))?;
        let mut limits = old.limits.clone();
        match limit {
            None => limits = UserLimits::default(),
            Some("max-connections") => limits.max_connections = value,
            Some("max-channels") => limits.max_channels = value,
            Some(other) => return Err(unknown_limit(other, value)),
        }
        if limits == old.limits {
            return Ok(false);
        }
        let user = User { limits, ..(**old).clone() };
        self.users.insert(name.clone(), Arc::new(user));
        change.events.push(Event::UserChanged(name.clone()));
        Ok(true)
    }

    pub(crate) fn set_permission(
        &mut self,
        vhost: &VhostName,
        user: UserName,
        patterns: &Patterns,
        change: &mut Change<'_>,
    ) -> Result<bool, AmqpError> {
        let row = Permission {
            configure: pattern(&patterns.configure)?,
            write: pattern(&patterns.write)?,
            read: pattern(&patterns.read)?,
            user: user.clone(),
        };
        self.check_row_ends(vhost, &user)?;
        let place = self.vhost_mut(vhost)?;
        if place.permissions.get(&user).is_some_and(|old| **old == row) {
            return Ok(false);
        }
        place.permissions.insert(user.clone(), Arc::new(row));
        change.events.push(Event::PermissionsChanged { vhost: vhost.clone(), user });
        Ok(true)
    }

    pub(crate) fn clear_permission(
        &mut self,
        vhost: &VhostName,
        user: &UserName,
        change: &mut Change<'_>,
    ) -> Result<bool, AmqpError> {
        let gone = self.vhost_mut(vhost)?.permissions.remove(user).is_some();
        if gone {
            change.events.push(Event::PermissionsChanged { vhost: vhost.clone(), user: user.clone() });
        }
        Ok(gone)
    }

    pub(crate) fn set_topic_permission(
        &mut self,
        vhost: &VhostName,
        user: UserName,
        exchange: ExchangeName,
        (write, read): (&str, &str),
        change: &mut Change<'_>,
    ) -> Result<bool, AmqpError> {
        let row = TopicPermission {
            write: topic_pattern(write, &user, vhost)?,
            read: topic_pattern(read, &user, vhost)?,
            user: user.clone(),
            exchange: exchange.clone(),
        };
        self.check_row_ends(vhost, &user)?;
        let place = self.vhost_mut(vhost)?;
        let key = (user.clone(), exchange);
        if place.topic_permissions.get(&key).is_some_and(|old| **old == row) {
            return Ok(false);
        }
        place.topic_permissions.insert(key, Arc::new(row));
        change.events.push(Event::PermissionsChanged { vhost: vhost.clone(), user });
        Ok(true)
    }

    /// Clears the row of one exchange, or all rows of the user.
    pub(crate) fn clear_topic_permission(
        &mut self,
        vhost: &VhostName,
        user: &UserName,
        exchange: Option<&ExchangeName>,
        change: &mut Change<'_>,
    ) -> Result<bool, AmqpError> {
        let place = self.vhost_mut(vhost)?;
        let first = (user.clone(), exchange.cloned().unwrap_or_else(|| "".into()));
        let keys: Vec<(UserName, ExchangeName)> = place
            .topic_permissions
            .range(first..)
            .map(|(key, _)| key.clone())
            .take_while(|key| key.0 == *user && exchange.is_none_or(|exchange| key.1 == *exchange))
            .collect();
        for key in &keys {
            place.topic_permissions.remove(key);
        }
        if !keys.is_empty() {
            change.events.push(Event::PermissionsChanged { vhost: vhost.clone(), user: user.clone() });
        }
        Ok(!keys.is_empty())
    }

    fn check_row_ends(&self, vhost: &VhostName, user: &UserName) -> Result<(), AmqpError> {
        if !self.vhosts.contains_key(vhost) {
            return Err(refusal::no_vhost(vhost));
        }
        if !self.users.contains_key(user) {
            return Err(no_user(user));
        }
        Ok(())
    }
}

/// 406 for a limit that does not exist.
pub(crate) fn unknown_limit(limit: &str, value: Option<i64>) -> AmqpError {
    failed(format!("Unrecognised terms [{{<<\"{limit}\">>,{}}}] in limits", value.unwrap_or_default()))
}
