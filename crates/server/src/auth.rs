//! Who a client is: PLAIN, AMQPLAIN and EXTERNAL against the catalog's users.
//!
//! Invariant: every refusal tells the client the same; the reason is for the log.

use broker::catalog::{Catalog, User};
use protocol::handshake::{parse_amqplain, parse_plain};
use std::net::IpAddr;
use std::sync::Arc;
use types::AmqpError;

/// Which users may come from where.
#[derive(Clone, Debug)]
pub struct Authenticator {
    /// Users who may only connect from this machine.
    pub loopback_users: Vec<String>,
}

/// What a client brings along.
pub(crate) struct Attempt<'a> {
    pub(crate) mechanism: &'a str,
    pub(crate) response: &'a [u8],
    pub(crate) peer: IpAddr,
    /// The common name of its verified certificate.
    pub(crate) certificate_name: Option<String>,
}

impl Authenticator {
    /// Mechanisms in connection.start.
    pub(crate) fn mechanisms(&self, with_certificates: bool) -> &'static str {
        if with_certificates { "PLAIN AMQPLAIN EXTERNAL" } else { "PLAIN AMQPLAIN" }
    }

    /// The user behind an attempt.
    pub(crate) fn judge(&self, catalog: &Catalog, attempt: &Attempt<'_>) -> Result<Arc<User>, AmqpError> {
        let refused = |why: &str| {
            tracing::warn!(mechanism = attempt.mechanism, peer = %attempt.peer, "login refused: {why}");
            AmqpError::access_refused(format!(
                "Login was refused using authentication mechanism {}. For details see the broker logfile.",
                attempt.mechanism
            ))
        };
        let (name, password) = match attempt.mechanism {
            "PLAIN" => parse_plain(attempt.response).map(|(name, password)| (name, Some(password))),
            "AMQPLAIN" => parse_amqplain(attempt.response).map(|(name, password)| (name, Some(password))),
            "EXTERNAL" => attempt.certificate_name.clone().map(|name| (name, None)),
            other => {
                return Err(AmqpError::command_invalid(format!(
                    "unknown authentication mechanism '{other}'"
                )));
            }
        }
        .ok_or_else(|| refused("the response cannot be read"))?;
        let user = catalog
            .users
            .get(name.as_str())
            .ok_or_else(|| refused(&format!("user '{name}' - invalid credentials")))?;
        if let Some(password) = password {
            let good =
                user.password_hash.as_ref().is_some_and(|hash| broker::password::verify(hash, &password));
            if !good {
                return Err(refused(&format!("user '{name}' - invalid credentials")));
            }
        }
        if self.loopback_users.contains(&name) && !attempt.peer.to_canonical().is_loopback() {
            return Err(refused(&format!("user '{name}' can only connect via localhost")));
        }
        Ok(user.clone())
    }
}
