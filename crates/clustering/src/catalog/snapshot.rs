//! The replicated state as bytes: what the state machine is restored from.
//!
//! A version byte, the sessions in postcard with their length in front, and the catalog's own bytes.
//!
//! Invariant: equal states have equal bytes; what is not one whole state is refused.

use super::sessions::Sessions;
use broker::catalog::Catalog;

/// First byte.
const FORMAT: u8 = 1;

/// What the entries of the log come to, apart from where in the log that is.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    pub(crate) sessions: Sessions,
    pub(crate) catalog: Catalog,
}

impl State {
    pub(crate) fn encode(&self) -> Result<Vec<u8>, String> {
        let sessions = postcard::to_allocvec(&self.sessions)
            .map_err(|error| format!("sessions cannot be written: {error}"))?;
        let mut bytes = vec![FORMAT];
        bytes.extend_from_slice(&(sessions.len() as u64).to_le_bytes());
        bytes.extend_from_slice(&sessions);
        bytes.extend_from_slice(&self.catalog.encode());
        Ok(bytes)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<State, String> {
        let body = match bytes {
            [FORMAT, body @ ..] => body,
            [other, ..] => return Err(format!("a state of format {other}, known is format {FORMAT}")),
            [] => return Err("a state without a format".to_owned()),
        };
        let (length, body) = body.split_first_chunk().ok_or("a state that is cut short")?;
        let length = usize::try_from(u64::from_le_bytes(*length)).unwrap_or(usize::MAX);
        let (sessions, catalog) = body.split_at_checked(length).ok_or("a state that is cut short")?;
        let sessions = match postcard::take_from_bytes(sessions) {
            Ok((sessions, [])) => sessions,
            Ok((_, rest)) => return Err(format!("sessions: {} bytes are left over", rest.len())),
            Err(error) => return Err(format!("sessions: {error}")),
        };
        let catalog = Catalog::decode(catalog).map_err(|error| format!("catalog: {error}"))?;
        Ok(State { sessions, catalog })
    }
}
