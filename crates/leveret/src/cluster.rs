//! The settings of a node of a cluster.
//!
//! Invariant: a node without a cluster address has no other setting of a cluster either, so that a forgotten one
//! is told and does not leave the node alone.

use crate::config::{Config, address};
use clustering::discovery::Discovery;
use clustering::gossip::GossipPeriods;
use clustering::node::{ClusterConfig, Locator};
use clustering::secret::ClusterSecret;
use clustering::transport::Tls;
use server::tls::{ClientCertificates, client_config, server_config};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use types::limits::CLUSTER_LOST_AFTER_MS;

/// What the operator has set, unchecked.
pub(crate) struct ClusterChoice {
    pub(crate) addr: Option<String>,
    pub(crate) advertise: Option<String>,
    pub(crate) join: Option<String>,
    pub(crate) expected_nodes: Option<usize>,
    pub(crate) secret_file: Option<PathBuf>,
    pub(crate) secret: Option<String>,
    pub(crate) tls_cert: Option<PathBuf>,
    pub(crate) tls_key: Option<PathBuf>,
    pub(crate) tls_ca: Option<PathBuf>,
    pub(crate) tls_name: Option<String>,
    pub(crate) locator: Option<String>,
    pub(crate) failure_detection: Option<f64>,
}

/// Certificates between nodes.
#[derive(Debug, Clone)]
pub struct ClusterTls {
    cert: PathBuf,
    key: PathBuf,
    ca: PathBuf,
    name: Option<String>,
}

/// A node's place in a cluster.
#[derive(Debug, Clone)]
pub struct ClusterSettings {
    addr: SocketAddr,
    advertise: Option<String>,
    join: Option<Discovery>,
    secret: ClusterSecret,
    tls: Option<ClusterTls>,
    locator: Locator,
    failure_detection: f64,
}

impl ClusterChoice {
    /// Checks the settings; None for a node that is alone.
    pub(crate) fn check(self) -> Result<Option<ClusterSettings>, String> {
        let Some(addr) = &self.addr else {
            let set = [
                ("join", self.join.is_some()),
                ("cluster-advertise", self.advertise.is_some()),
                ("expected-nodes", self.expected_nodes.is_some()),
                ("cluster-tls-cert", self.tls_cert.is_some()),
            ];
            return match set.iter().find(|(_, is_set)| *is_set) {
                Some((key, _)) => {
                    Err(format!("{key} is set: it needs cluster-addr, where other nodes reach this one"))
                }
                None => Ok(None),
            };
        };
        let addr = address("cluster-addr", addr)?;
        let secret = match (&self.secret_file, &self.secret) {
            (Some(path), _) => ClusterSecret::read(path)?,
            (None, Some(text)) => ClusterSecret::new(text).map_err(|why| format!("cluster-secret: {why}"))?,
            (None, None) => {
                return Err(
                    "cluster-addr is set: it needs cluster-secret-file, a file with what all nodes of \
                            the cluster know; make one with: head -c 32 /dev/urandom | base64"
                        .to_owned(),
                );
            }
        };
        let expected = self.expected_nodes.unwrap_or(0);
        let join = self.join.as_deref().map(|join| Discovery::parse(join, expected)).transpose()?;
        if matches!(join, Some(Discovery::Dns { .. })) && expected == 0 {
            return Err(
                "join names nodes by DNS: it needs expected-nodes, how many nodes form the cluster".into()
            );
        }
        let locator = match self.locator.as_deref() {
            None => Locator::default(),
            Some(word) => Locator::parse(word).ok_or_else(|| {
                format!("queue-leader-locator is '{word}': it must be client-local, balanced or random")
            })?,
        };
        let failure_detection = self.failure_detection.unwrap_or(1.0);
        GossipPeriods::default()
            .scaled(failure_detection)
            .map_err(|why| format!("failure-detection is {failure_detection}: {why}"))?;
        let advertise = self.advertise.clone();
        Ok(Some(ClusterSettings {
            addr,
            advertise,
            join,
            secret,
            tls: self.tls()?,
            locator,
            failure_detection,
        }))
    }

    fn tls(self) -> Result<Option<ClusterTls>, String> {
        match (self.tls_cert, self.tls_key, self.tls_ca) {
            (None, None, None) => Ok(None),
            (Some(cert), Some(key), Some(ca)) => Ok(Some(ClusterTls { cert, key, ca, name: self.tls_name })),
            _ => {
                Err("TLS between nodes needs all of cluster-tls-cert, cluster-tls-key and cluster-tls-ca"
                    .into())
            }
        }
    }
}

impl ClusterSettings {
    /// What the cluster's parts are started with. `amqp` and `http`: where clients find the node.
    pub(crate) fn node(&self, config: &Config, amqp: String, http: String) -> Result<ClusterConfig, String> {
        let tls = self.tls.as_ref().map(tls).transpose()?;
        Ok(ClusterConfig {
            node_name: config.node_name.clone(),
            addr: self.addr,
            advertise: self.advertise.clone(),
            join: self.join.clone(),
            secret: self.secret.clone(),
            tls,
            data_dir: config.data_dir.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            amqp_addr: amqp,
            http_addr: http,
            locator: self.locator,
            recover: config.recover_cluster,
            periods: GossipPeriods::default().scaled(self.failure_detection)?,
            lost_after: Duration::from_millis(CLUSTER_LOST_AFTER_MS).mul_f64(self.failure_detection),
        })
    }
}

fn tls(files: &ClusterTls) -> Result<Tls, String> {
    let server = server_config(&files.cert, &files.key, Some(&files.ca), ClientCertificates::Required)?;
    let client = client_config(&files.cert, &files.key, &files.ca)?;
    let name =
        match &files.name {
            None => None,
            Some(name) => Some(rustls::pki_types::ServerName::try_from(name.clone()).map_err(|_| {
                format!("cluster-tls-name is '{name}': it must be a host name or an IP address")
            })?),
        };
    Ok(Tls { server, client, name })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice() -> ClusterChoice {
        ClusterChoice {
            addr: Some("127.0.0.1:0".into()),
            advertise: None,
            join: None,
            expected_nodes: None,
            secret_file: None,
            secret: Some("correct horse battery".into()),
            tls_cert: None,
            tls_key: None,
            tls_ca: None,
            tls_name: None,
            locator: None,
            failure_detection: None,
        }
    }

    fn refused(choice: ClusterChoice) -> String {
        choice.check().err().unwrap_or_default()
    }

    #[test]
    fn what_is_missing_or_wrong_is_told_by_its_key() {
        assert!(choice().check().unwrap().is_some());
        assert!(ClusterChoice { addr: None, ..choice() }.check().unwrap().is_none());
        let lonely = refused(ClusterChoice { addr: None, join: Some("a:1".into()), ..choice() });
        assert!(lonely.starts_with("join is set: it needs cluster-addr"), "{lonely}");
        assert!(refused(ClusterChoice { secret: None, ..choice() }).contains("needs cluster-secret-file"));
        assert!(refused(ClusterChoice { secret: Some("x".into()), ..choice() }).contains("at least 16"));
        assert!(
            refused(ClusterChoice { join: Some("dns:n:1".into()), ..choice() }).contains("expected-nodes")
        );
        assert!(
            refused(ClusterChoice { join: Some("nowhere".into()), ..choice() }).contains("join is 'nowhere'")
        );
        assert!(refused(ClusterChoice { locator: Some("best".into()), ..choice() }).contains("'best'"));
        assert!(
            refused(ClusterChoice { failure_detection: Some(0.0), ..choice() })
                .contains("failure-detection is 0")
        );
        assert!(
            refused(ClusterChoice { tls_key: Some("k".into()), ..choice() }).contains("cluster-tls-cert")
        );
    }
}
