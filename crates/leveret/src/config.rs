//! Configuration: flags before `LEVERET_*` variables before `leveret.toml` before defaults.
//!
//! Invariant: a bad value is refused before anything is started, with its key and what would be right.

use crate::cluster::{ClusterChoice, ClusterSettings};
use clap::Parser;
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// An AMQP 0-9-1 broker in one binary.
#[derive(Parser, Debug)]
#[command(name = "leveret", version, about, max_term_width = 100)]
struct Flags {
    /// Configuration file; without it ./leveret.toml is read if there is one
    #[arg(long, env = "LEVERET_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
}

/// Every setting, from whichever source.
#[derive(clap::Args, Deserialize, Debug, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct Settings {
    /// Name of this node [default: leveret@<host name>]
    #[arg(long, env = "LEVERET_NODE_NAME", value_name = "NAME")]
    node_name: Option<String>,
    /// Where the node keeps its data [default: ./data]
    #[arg(long, env = "LEVERET_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Address for AMQP clients [default: [::]:5672, which is every IPv6 and IPv4 address]
    #[arg(long, env = "LEVERET_AMQP_ADDR", value_name = "IP:PORT")]
    amqp_addr: Option<String>,
    /// Address for AMQP clients over TLS; needs --tls-cert and --tls-key [default: none]
    #[arg(long, env = "LEVERET_AMQPS_ADDR", value_name = "IP:PORT")]
    amqps_addr: Option<String>,
    /// Certificate chain of this node, PEM
    #[arg(long, env = "LEVERET_TLS_CERT", value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// Private key of this node, PEM
    #[arg(long, env = "LEVERET_TLS_KEY", value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// Authorities whose client certificates are accepted, PEM; turns EXTERNAL on
    #[arg(long, env = "LEVERET_TLS_CLIENT_CA", value_name = "FILE")]
    tls_client_ca: Option<PathBuf>,
    /// Refuse TLS clients without a certificate
    #[arg(long, env = "LEVERET_TLS_CLIENT_REQUIRED", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    tls_client_required: Option<bool>,
    /// Address of the HTTP API; "none" switches it off [default: [::]:15672]
    #[arg(long, env = "LEVERET_HTTP_ADDR", value_name = "IP:PORT")]
    http_addr: Option<String>,
    /// What is logged: error, warn, info, debug, trace, or a filter like info,server=debug [default: info]
    #[arg(long, env = "LEVERET_LOG_LEVEL", value_name = "LEVEL")]
    log_level: Option<String>,
    /// How log lines look: text or json [default: text]
    #[arg(long, env = "LEVERET_LOG_FORMAT", value_name = "FORMAT")]
    log_format: Option<String>,
    /// Threads that serve clients [default: one per core]
    #[arg(long, env = "LEVERET_THREADS", value_name = "COUNT")]
    threads: Option<usize>,
    /// Heartbeat offered to clients, seconds; 0 = none [default: 60]
    #[arg(long, env = "LEVERET_HEARTBEAT", value_name = "SECONDS")]
    heartbeat: Option<u16>,
    /// Largest frame offered to clients, bytes; 0 = no limit [default: 131072]
    #[arg(long, env = "LEVERET_FRAME_MAX", value_name = "BYTES")]
    frame_max: Option<u32>,
    /// Most channels of a connection; 0 = no limit [default: 2047]
    #[arg(long, env = "LEVERET_CHANNEL_MAX", value_name = "COUNT")]
    channel_max: Option<u16>,
    /// Largest message, bytes [default: 134217728]
    #[arg(long, env = "LEVERET_MAX_MESSAGE_SIZE", value_name = "BYTES")]
    max_message_size: Option<u64>,
    /// Publishers are blocked above this share of the memory, 0 to 1 [default: 0.6]
    #[arg(long, env = "LEVERET_MEMORY_HIGH_WATERMARK", value_name = "SHARE")]
    memory_high_watermark: Option<f64>,
    /// Bodies of messages leave memory above so many bytes [default: 2 % of the memory, 16 to 24 MiB]
    #[arg(long, env = "LEVERET_MESSAGE_MEMORY", value_name = "BYTES")]
    message_memory: Option<u64>,
    /// Publishers are blocked while the disk of the data directory has fewer free bytes [default: 50000000]
    #[arg(long, env = "LEVERET_DISK_FREE_LIMIT", value_name = "BYTES")]
    disk_free_limit: Option<u64>,
    /// Start although data are damaged, without what cannot be read; what is lost is logged
    #[arg(long, env = "LEVERET_ACCEPT_DAMAGE", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    accept_damage: Option<bool>,
    /// Makes the node a member of a cluster: where it listens for other nodes, TCP and UDP [default: none]
    #[arg(long, env = "LEVERET_CLUSTER_ADDR", value_name = "IP:PORT")]
    cluster_addr: Option<String>,
    /// Where other nodes reach this one [default: the cluster address, or what the host's name stands for]
    #[arg(long, env = "LEVERET_CLUSTER_ADVERTISE", value_name = "HOST:PORT")]
    cluster_advertise: Option<String>,
    /// Nodes of the cluster, comma separated, or dns:NAME:PORT for all addresses of a name [default: none]
    #[arg(long, env = "LEVERET_JOIN", value_name = "HOST:PORT,...")]
    join: Option<String>,
    /// How many nodes form a new cluster; needed when they are found by DNS
    #[arg(long, env = "LEVERET_EXPECTED_NODES", value_name = "COUNT")]
    expected_nodes: Option<usize>,
    /// File with what all nodes of the cluster know and nobody else, at least 16 bytes
    #[arg(long, env = "LEVERET_CLUSTER_SECRET_FILE", value_name = "FILE")]
    cluster_secret_file: Option<PathBuf>,
    /// The same as text; the file is safer
    #[arg(long, env = "LEVERET_CLUSTER_SECRET", value_name = "TEXT", hide_env_values = true)]
    cluster_secret: Option<String>,
    /// Certificate chain that this node shows other nodes, PEM; turns TLS between nodes on
    #[arg(long, env = "LEVERET_CLUSTER_TLS_CERT", value_name = "FILE")]
    cluster_tls_cert: Option<PathBuf>,
    /// Private key of that certificate, PEM
    #[arg(long, env = "LEVERET_CLUSTER_TLS_KEY", value_name = "FILE")]
    cluster_tls_key: Option<PathBuf>,
    /// Authorities whose certificates other nodes must have, PEM
    #[arg(long, env = "LEVERET_CLUSTER_TLS_CA", value_name = "FILE")]
    cluster_tls_ca: Option<PathBuf>,
    /// The name in the certificates of all nodes [default: the address that is dialled]
    #[arg(long, env = "LEVERET_CLUSTER_TLS_NAME", value_name = "NAME")]
    cluster_tls_name: Option<String>,
    /// Where new queues live: client-local, balanced or random [default: client-local]
    #[arg(long, env = "LEVERET_QUEUE_LEADER_LOCATOR", value_name = "WORD")]
    queue_leader_locator: Option<String>,
    /// How much slower (above 1) or faster (below 1) silent nodes are noticed, 0.1 to 100 [default: 1]
    #[arg(long, env = "LEVERET_FAILURE_DETECTION", value_name = "FACTOR")]
    failure_detection: Option<f64>,
    /// For a member whose cluster has lost most of its nodes for ever: forms a cluster of this node alone out of
    /// what it has, and ends. The other nodes' queues are given up
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    #[serde(skip)]
    recover_cluster: Option<bool>,
    /// Users who may only log in from this machine, comma separated; "none" for nobody [default: guest]
    #[arg(long, env = "LEVERET_LOOPBACK_USERS", value_name = "NAMES")]
    loopback_users: Option<String>,
    /// Name of the first user [default: guest]
    #[arg(long, env = "LEVERET_DEFAULT_USER", value_name = "NAME")]
    default_user: Option<String>,
    /// Password of the first user [default: guest]
    #[arg(long, env = "LEVERET_DEFAULT_PASS", value_name = "PASSWORD", hide_env_values = true)]
    default_pass: Option<String>,
    /// The first vhost [default: /]
    #[arg(long, env = "LEVERET_DEFAULT_VHOST", value_name = "NAME")]
    default_vhost: Option<String>,
}

/// A TLS listener.
#[derive(Debug, Clone)]
pub struct TlsConfig {
    pub addr: SocketAddr,
    pub cert: PathBuf,
    pub key: PathBuf,
    pub client_ca: Option<PathBuf>,
    pub client_required: bool,
}

/// The configuration a node runs with.
#[derive(Debug, Clone)]
pub struct Config {
    pub node_name: String,
    pub data_dir: PathBuf,
    pub amqp_addr: SocketAddr,
    pub tls: Option<TlsConfig>,
    pub http_addr: Option<SocketAddr>,
    pub log_level: String,
    pub log_json: bool,
    pub threads: usize,
    pub heartbeat_s: u16,
    pub frame_max: u32,
    pub channel_max: u16,
    pub message_size_max_bytes: u64,
    pub memory_high_watermark: f64,
    /// None: a share of the memory.
    pub message_memory_bytes: Option<u64>,
    pub disk_free_limit_bytes: u64,
    pub accept_damage: bool,
    pub loopback_users: Vec<String>,
    pub default_user: String,
    pub default_pass: String,
    pub default_vhost: String,
    /// Make a cluster of this node alone, and end.
    pub recover_cluster: bool,
    /// None: the node is alone.
    pub cluster: Option<ClusterSettings>,
}

impl Config {
    /// Reads flags, environment and file.
    pub fn load() -> Result<Config, String> {
        let flags = Flags::parse();
        let file = match &flags.config {
            Some(path) => read_file(path)?,
            None if Path::new("leveret.toml").exists() => read_file(Path::new("leveret.toml"))?,
            None => Settings::default(),
        };
        Config::merge(flags.settings, file)
    }

    fn merge(first: Settings, second: Settings) -> Result<Config, String> {
        macro_rules! pick {
            ($key:ident) => {
                first.$key.or(second.$key)
            };
        }
        let frame_max = frame_max(pick!(frame_max))?;
        let message_size_max_bytes = message_size_max(pick!(max_message_size))?;
        let memory_high_watermark = watermark(pick!(memory_high_watermark))?;
        let message_memory_bytes = pick!(message_memory).map(message_memory).transpose()?;
        let log_json = is_json(pick!(log_format).as_deref())?;
        let amqps_addr = pick!(amqps_addr);
        let files = (pick!(tls_cert), pick!(tls_key), pick!(tls_client_ca));
        let tls = tls_config(amqps_addr, files, pick!(tls_client_required))?;
        let http_addr = match pick!(http_addr).as_deref() {
            Some("none") => None,
            Some(text) => Some(address("http-addr", text)?),
            None => Some(everywhere(15672)),
        };
        let loopback_users = match pick!(loopback_users).as_deref() {
            None => vec!["guest".to_owned()],
            Some("none" | "") => Vec::new(),
            Some(names) => names.split(',').map(|name| name.trim().to_owned()).collect(),
        };
        let cluster = ClusterChoice {
            addr: pick!(cluster_addr),
            advertise: pick!(cluster_advertise),
            join: pick!(join),
            expected_nodes: pick!(expected_nodes),
            secret_file: pick!(cluster_secret_file),
            secret: pick!(cluster_secret),
            tls_cert: pick!(cluster_tls_cert),
            tls_key: pick!(cluster_tls_key),
            tls_ca: pick!(cluster_tls_ca),
            tls_name: pick!(cluster_tls_name),
            locator: pick!(queue_leader_locator),
            failure_detection: pick!(failure_detection),
        };
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Config {
            node_name: pick!(node_name).unwrap_or_else(|| format!("leveret@{}", host_name())),
            data_dir: pick!(data_dir).unwrap_or_else(|| PathBuf::from("data")),
            amqp_addr: match pick!(amqp_addr).as_deref() {
                Some(text) => address("amqp-addr", text)?,
                None => everywhere(5672),
            },
            tls,
            http_addr,
            log_level: pick!(log_level).unwrap_or_else(|| "info".to_owned()),
            log_json,
            threads: pick!(threads).unwrap_or(cores).max(1),
            heartbeat_s: pick!(heartbeat).unwrap_or(types::limits::HEARTBEAT_DEFAULT_SECONDS),
            frame_max,
            channel_max: pick!(channel_max).unwrap_or(types::limits::CHANNEL_COUNT_DEFAULT),
            message_size_max_bytes,
            memory_high_watermark,
            message_memory_bytes,
            disk_free_limit_bytes: pick!(disk_free_limit).unwrap_or(types::limits::DISK_FREE_LIMIT_BYTES),
            accept_damage: pick!(accept_damage).unwrap_or(false),
            loopback_users,
            default_user: pick!(default_user).unwrap_or_else(|| "guest".to_owned()),
            default_pass: pick!(default_pass).unwrap_or_else(|| "guest".to_owned()),
            default_vhost: pick!(default_vhost).unwrap_or_else(|| "/".to_owned()),
            recover_cluster: first.recover_cluster.unwrap_or(false),
            cluster: cluster.check()?,
        })
    }
}

fn is_json(format: Option<&str>) -> Result<bool, String> {
    match format {
        None | Some("text") => Ok(false),
        Some("json") => Ok(true),
        Some(other) => Err(format!("log-format is '{other}': it must be text or json")),
    }
}

fn frame_max(bytes: Option<u32>) -> Result<u32, String> {
    let bytes = bytes.unwrap_or(types::limits::FRAME_SIZE_DEFAULT_BYTES);
    let min = types::limits::FRAME_SIZE_MIN_BYTES;
    if bytes != 0 && bytes < min {
        return Err(format!("frame-max is {bytes}: it must be 0 or at least {min} bytes"));
    }
    Ok(bytes)
}

fn message_size_max(bytes: Option<u64>) -> Result<u64, String> {
    let bytes = bytes.unwrap_or(types::limits::MESSAGE_SIZE_DEFAULT_BYTES);
    let max = types::limits::MESSAGE_SIZE_MAX_BYTES;
    if bytes > max {
        return Err(format!("max-message-size is {bytes}: it must be at most {max} bytes"));
    }
    Ok(bytes)
}

fn watermark(share: Option<f64>) -> Result<f64, String> {
    let share = share.unwrap_or(types::limits::MEMORY_HIGH_WATERMARK);
    if !(share > 0.0 && share <= 1.0) {
        return Err(format!("memory-high-watermark is {share}: it must be above 0 and at most 1"));
    }
    Ok(share)
}

fn message_memory(bytes: u64) -> Result<u64, String> {
    let min = types::limits::MESSAGE_MEMORY_MIN_BYTES;
    if bytes < min {
        return Err(format!("message-memory is {bytes}: it must be at least {min} bytes"));
    }
    Ok(bytes)
}

fn tls_config(
    addr: Option<String>,
    (cert, key, client_ca): (Option<PathBuf>, Option<PathBuf>, Option<PathBuf>),
    client_required: Option<bool>,
) -> Result<Option<TlsConfig>, String> {
    let Some(addr) = addr else { return Ok(None) };
    let addr = address("amqps-addr", &addr)?;
    let client_required = client_required.unwrap_or(false);
    match (cert, key) {
        (Some(cert), Some(key)) => {
            if client_required && client_ca.is_none() {
                return Err(
                    "tls-client-required is true: it needs tls-client-ca, the authority's file".into()
                );
            }
            Ok(Some(TlsConfig { addr, cert, key, client_ca, client_required }))
        }
        _ => {
            Err("amqps-addr is set: it needs tls-cert and tls-key, files with the certificate and its key"
                .into())
        }
    }
}

/// All addresses of this machine: over IPv6, which takes IPv4 along, or IPv4 alone where there is no IPv6.
fn everywhere(port: u16) -> SocketAddr {
    let has_ipv6 = std::net::TcpListener::bind((std::net::Ipv6Addr::LOCALHOST, 0)).is_ok();
    if has_ipv6 {
        SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, port))
    } else {
        SocketAddr::from((std::net::Ipv4Addr::UNSPECIFIED, port))
    }
}

pub(crate) fn address(key: &str, text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| format!("{key} is '{text}': it must be an address and port, like 0.0.0.0:5672"))
}

fn read_file(path: &Path) -> Result<Settings, String> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("configuration file {} cannot be read: {error}", path.display()))?;
    toml::from_str(&text).map_err(|error| format!("configuration file {}: {error}", path.display()))
}

fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "localhost".to_owned() } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(settings: Settings) -> String {
        Config::merge(settings, Settings::default()).err().unwrap_or_default()
    }

    #[test]
    fn flags_win_over_the_file() {
        let flags = Settings { node_name: Some("a".into()), ..Default::default() };
        let file: Settings = toml::from_str("node-name = \"b\"\nheartbeat = 7\n").unwrap();
        let config = Config::merge(flags, file).unwrap();
        assert_eq!((config.node_name.as_str(), config.heartbeat_s), ("a", 7));
        assert_eq!(config.amqp_addr.port(), 5672);
    }

    #[test]
    fn a_bad_value_names_its_key_and_the_fix() {
        let bad = |text: &str| refused(toml::from_str(text).unwrap());
        assert!(bad("amqp-addr = \"nowhere\"").starts_with("amqp-addr is 'nowhere': it must be an address"));
        assert!(bad("frame-max = 100").contains("at least 4096 bytes"));
        assert!(bad("amqps-addr = \"127.0.0.1:0\"").contains("needs tls-cert and tls-key"));
        assert!(bad("memory-high-watermark = 2.0").contains("at most 1"));
        assert!(bad("message-memory = 10").contains("message-memory is 10: it must be at least"));
        assert!(toml::from_str::<Settings>("no-such-key = 1").is_err());
    }
}
