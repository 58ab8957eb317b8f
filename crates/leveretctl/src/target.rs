//! Which node, and with what right: the token in the data directory, or a user's password.
//!
//! Invariant: a password is only sent where the operator said it should go.

use crate::arguments::Options;
use crate::failure::Failure;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The token file in the data directory: the HTTP address in its first line, the secret in its second.
const TOKEN_FILE: &str = ".ctl-token";
const URL_DEFAULT: &str = "http://127.0.0.1:15672";

/// Where requests go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// `host:port`
    pub(crate) address: String,
    /// What stands before `/api`, without a slash at the end.
    pub(crate) prefix: String,
    /// The value of the Authorization header.
    pub(crate) authorization: String,
}

impl Target {
    pub(crate) fn find(options: &Options) -> Result<Target, Failure> {
        let given = options.url.as_deref().map(parse_url).transpose()?;
        let named = given.as_ref().and_then(|url| url.credentials.clone());
        let login = match (&options.user, &options.password) {
            (Some(user), password) => Some((user.clone(), password.clone().unwrap_or_default())),
            (None, Some(_)) => return Err(Failure::usage("--password needs --user")),
            (None, None) => named,
        };
        if let Some((user, password)) = login {
            let url = match given {
                Some(url) => url,
                None => read_token(options)
                    .map(|(address, _)| Url::at(address))
                    .or_else(|_| parse_url(URL_DEFAULT))?,
            };
            return Ok(url.target(basic(&user, &password)));
        }
        let (address, secret) = read_token(options)?;
        let url = given.unwrap_or_else(|| Url::at(address));
        Ok(url.target(format!("Bearer {secret}")))
    }

    /// The same node with another login.
    pub(crate) fn with_login(&self, user: &str, password: &str) -> Target {
        Target { authorization: basic(user, password), ..self.clone() }
    }
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

fn read_token(options: &Options) -> Result<(String, String), Failure> {
    let path = options.data_dir.join(TOKEN_FILE);
    let text = std::fs::read_to_string(&path).map_err(|error| {
        Failure::unavailable(format!(
            "unable to find a running node: {}: {error}\nIs the node running, and is its data directory the one \
             of --data-dir (LEVERET_DATA_DIR)? From elsewhere use --url, --user and --password.",
            path.display()
        ))
    })?;
    let mut lines = text.lines();
    match (lines.next(), lines.next()) {
        (Some(address), Some(secret)) => Ok((address.to_owned(), secret.to_owned())),
        _ => Err(Failure::unavailable(format!("{} is not a token file", path.display()))),
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Url {
    address: String,
    prefix: String,
    credentials: Option<(String, String)>,
}

impl Url {
    fn at(address: String) -> Url {
        Url { address, prefix: String::new(), credentials: None }
    }

    fn target(self, authorization: String) -> Target {
        Target { address: self.address, prefix: self.prefix, authorization }
    }
}

fn parse_url(text: &str) -> Result<Url, Failure> {
    let rest = text
        .strip_prefix("http://")
        .ok_or_else(|| Failure::usage(format!("--url is '{text}': it must begin with http://")))?;
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (credentials, host) = match authority.rsplit_once('@') {
        Some((login, host)) => (login.split_once(':').or(Some((login, ""))), host),
        None => (None, authority),
    };
    let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let address = match host {
        "" => return Err(Failure::usage(format!("--url is '{text}': it names no host"))),
        host if has_port => host.to_owned(),
        host => format!("{host}:15672"),
    };
    let path = path.trim_end_matches('/').trim_end_matches("api").trim_end_matches('/');
    Ok(Url {
        address,
        prefix: if path.is_empty() { String::new() } else { format!("/{path}") },
        credentials: credentials.map(|(user, password)| (user.to_owned(), password.to_owned())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read() {
        let table = [
            ("http://h", Some(("h:15672", "", None))),
            ("http://h:80/api/", Some(("h:80", "", None))),
            ("http://h:80/mq/api", Some(("h:80", "/mq", None))),
            ("http://u:p@[::1]:5", Some(("[::1]:5", "", Some(("u", "p"))))),
            ("https://h", None),
            ("http:///x", None),
        ];
        for (text, expected) in table {
            let expected = expected.map(|(address, prefix, login)| Url {
                address: address.to_owned(),
                prefix: prefix.to_owned(),
                credentials: login.map(|(user, password)| (user.to_owned(), password.to_owned())),
            });
            assert_eq!(parse_url(text).ok(), expected, "{text}");
        }
    }
}
