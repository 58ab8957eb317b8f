//! Who calls and what they may see: Basic credentials, the operator's token, tags and vhosts.
//!
//! Invariant: a handler can only be written with a caller that was let in, for it gets the broker from
//! there; the operator of this machine counts as an administrator with all permissions.

use crate::api::Api;
use crate::listener::Peer;
use crate::reply::Failure;
use crate::token;
use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::{header, request::Parts};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use broker::access::{self, Access, Resource};
use broker::catalog::{Catalog, User, UserLimits, Vhost};
use std::sync::Arc;
use types::UserName;

/// In whose name the operator's token acts.
const OPERATOR: &str = "leveretctl";

/// Somebody who has logged in and has a tag of the management.
pub(crate) struct Caller {
    pub(crate) api: Arc<Api>,
    pub(crate) user: Arc<User>,
    /// Permissions are not asked.
    is_operator: bool,
}

/// What a path asks of its callers beyond a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Anyone,
    Policymaker,
    Monitor,
    Administrator,
}

impl Level {
    /// The reason of a refusal; None for who may pass.
    fn refusal(self, user: &User) -> Option<&'static str> {
        let any = |tags: &[&str]| tags.iter().any(|tag| user.has_tag(tag));
        if !any(&["administrator", "monitoring", "policymaker", "management"]) {
            return Some("Not management user");
        }
        let (tags, reason): (&[&str], _) = match self {
            Level::Anyone => return None,
            Level::Policymaker => (&["administrator", "policymaker"], "User not authorised to access object"),
            Level::Monitor => (&["administrator", "monitoring"], "Not monitor user"),
            Level::Administrator => (&["administrator"], "Not administrator user"),
        };
        (!any(tags)).then_some(reason)
    }
}

macro_rules! levels {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        pub(crate) struct $name(pub(crate) Caller);

        impl FromRequestParts<Arc<Api>> for $name {
            type Rejection = Failure;

            async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<$name, Failure> {
                let caller = Caller::identify(parts, api)?;
                match Level::$name.refusal(&caller.user) {
                    None => Ok($name(caller)),
                    Some(reason) => Err(Failure::not_authorised(reason)),
                }
            }
        }
    )*};
}

levels! {
    /// Any user of the management.
    Anyone;
    /// Who may set policies and parameters.
    Policymaker;
    /// Who may see the node.
    Monitor;
    /// Who may do everything.
    Administrator;
}

impl Caller {
    fn identify(parts: &Parts, api: &Arc<Api>) -> Result<Caller, Failure> {
        let header = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let (scheme, rest) =
            header.and_then(|text| text.split_once(' ')).ok_or_else(Failure::login_needed)?;
        let peer = parts.extensions.get::<ConnectInfo<Peer>>().map(|info| info.0);
        if scheme.eq_ignore_ascii_case("bearer") {
            return Caller::operator(api, peer, rest.trim());
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return Err(Failure::login_needed());
        }
        let (name, password) = credentials(rest.trim()).ok_or_else(Failure::login_needed)?;
        let user = log_in(&api.catalog(), &name, &password).ok_or_else(|| {
            tracing::warn!(user = name, "HTTP access denied: invalid credentials");
            Failure::login_failed()
        })?;
        let is_bound = api.config.loopback_users.contains(&name);
        if is_bound && !peer.is_some_and(|peer| peer.is_loopback()) {
            tracing::warn!(user = name, "HTTP access denied: user can only log in via localhost");
            return Err(Failure::not_authorised("User can only log in via localhost"));
        }
        Ok(Caller { api: api.clone(), user, is_operator: false })
    }

    /// Who has read the token file. It is only taken from this machine, where the file is: a copy of it
    /// that got out with a backup or a volume opens nothing.
    fn operator(api: &Arc<Api>, peer: Option<Peer>, given: &str) -> Result<Caller, Failure> {
        if !api.secret.as_deref().is_some_and(|secret| token::is_same(secret, given)) {
            return Err(Failure::login_failed());
        }
        if !peer.is_some_and(|peer| peer.is_on_this_machine()) {
            tracing::warn!("HTTP access denied: the operator's token came from another machine");
            return Err(Failure::not_authorised(
                "The operator's token is only taken from the node's own machine",
            ));
        }
        let user = User {
            name: UserName::from(OPERATOR),
            password_hash: None,
            tags: vec!["administrator".to_owned()],
            limits: UserLimits::default(),
        };
        Ok(Caller { api: api.clone(), user: Arc::new(user), is_operator: true })
    }

    /// The caller as who imports definitions: no vhost's permissions are asked.
    pub(crate) fn trusted(self) -> Caller {
        Caller { is_operator: true, ..self }
    }

    pub(crate) fn is_administrator(&self) -> bool {
        self.user.has_tag("administrator")
    }

    /// Whether all vhosts and all connections are shown.
    pub(crate) fn is_monitor(&self) -> bool {
        self.is_administrator() || self.user.has_tag("monitoring")
    }

    fn may_enter(&self, vhost: &Vhost) -> bool {
        self.is_operator || vhost.permissions.contains_key(&self.user.name)
    }

    /// Whether the vhost is shown in listings.
    pub(crate) fn sees(&self, vhost: &Vhost) -> bool {
        self.is_monitor() || self.may_enter(vhost)
    }

    /// A vhost to look at.
    pub(crate) fn visible(&self, catalog: &Catalog, name: &str) -> Result<Arc<Vhost>, Failure> {
        let vhost = catalog.vhost(name).ok_or_else(Failure::no_object)?;
        if self.sees(vhost) { Ok(vhost.clone()) } else { Err(no_entry()) }
    }

    /// A vhost to change something in.
    pub(crate) fn vhost(&self, catalog: &Catalog, name: &str) -> Result<Arc<Vhost>, Failure> {
        let vhost = catalog.vhost(name).ok_or_else(|| Failure::not_found("vhost_not_found"))?;
        if self.may_enter(vhost) { Ok(vhost.clone()) } else { Err(no_entry()) }
    }

    /// The vhosts that listings show.
    pub(crate) fn vhosts(&self, catalog: &Catalog) -> Vec<Arc<Vhost>> {
        catalog.vhosts.values().filter(|vhost| self.sees(vhost)).cloned().collect()
    }

    /// All vhosts that are shown, or the one that is named.
    pub(crate) fn some_vhosts(
        &self,
        catalog: &Catalog,
        name: Option<&str>,
    ) -> Result<Vec<Arc<Vhost>>, Failure> {
        match name {
            Some(name) => Ok(vec![self.visible(catalog, name)?]),
            None => Ok(self.vhosts(catalog)),
        }
    }

    /// Refuses as a channel of this user would.
    pub(crate) fn check(
        &self,
        vhost: &Vhost,
        access: Access,
        on: Resource<'_>,
    ) -> Result<(), types::AmqpError> {
        if self.is_operator { Ok(()) } else { access::check(vhost, &self.user, access, on) }
    }

    /// Refuses routing keys as a channel of this user would.
    pub(crate) fn check_topic(
        &self,
        vhost: &Vhost,
        exchange: &str,
        access: Access,
        key: &[u8],
    ) -> Result<(), types::AmqpError> {
        if self.is_operator { Ok(()) } else { access::check_topic(vhost, &self.user, exchange, access, key) }
    }
}

fn no_entry() -> Failure {
    Failure::not_authorised("User not authorised to access virtual host")
}

/// Name and password out of Basic credentials.
fn credentials(encoded: &str) -> Option<(String, String)> {
    let text = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
    let (name, password) = text.split_once(':')?;
    Some((name.to_owned(), password.to_owned()))
}

/// The user, if the password is right.
pub(crate) fn log_in(catalog: &Catalog, name: &str, password: &str) -> Option<Arc<User>> {
    let user = catalog.users.get(name)?;
    let hash = user.password_hash.as_ref()?;
    broker::password::verify(hash, password).then(|| user.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_open_the_levels_above_them() {
        use Level::{Administrator, Anyone, Monitor, Policymaker};
        let table: [(&[&str], &[Level]); 6] = [
            (&[], &[]),
            (&["impersonator", "own"], &[]),
            (&["management"], &[Anyone]),
            (&["policymaker"], &[Anyone, Policymaker]),
            (&["monitoring"], &[Anyone, Monitor]),
            (&["administrator"], &[Anyone, Policymaker, Monitor, Administrator]),
        ];
        for (tags, open) in table {
            let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
            let user = User { name: "u".into(), password_hash: None, tags, limits: UserLimits::default() };
            for level in [Anyone, Policymaker, Monitor, Administrator] {
                assert_eq!(
                    level.refusal(&user).is_none(),
                    open.contains(&level),
                    "{:?} {level:?}",
                    user.tags
                );
            }
        }
    }

    #[test]
    fn credentials_are_split_at_the_first_colon() {
        let table =
            [("Zzpn", Some(("g", "g"))), ("dTphOmI=", Some(("u", "a:b"))), ("dQ==", None), ("?", None)];
        assert_eq!(STANDARD.encode("g:g"), "Zzpn");
        for (encoded, expected) in table {
            let expected = expected.map(|(name, password)| (name.to_owned(), password.to_owned()));
            assert_eq!(credentials(encoded), expected, "{encoded}");
        }
    }
}
