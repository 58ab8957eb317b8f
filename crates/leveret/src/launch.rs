//! Start and stop, in order: log, data directory, catalog, listeners; then the reverse.

use crate::config::{Config, TlsConfig};
use broker::catalog::{Catalog, Command};
use broker::password;
use clustering::node::{ClusterNode, Prepared};
use engine::storage::StorageConfig;
use engine::{Broker, BrokerConfig, alarm};
use management::Management;
use server::tls::{ClientCertificates, server_config};
use server::{Authenticator, Server, ServerConfig};
use std::io::IsTerminal as _;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing_subscriber::EnvFilter;
use types::limits::{
    HANDSHAKE_TIMEOUT_MS, PAGING_LIMIT_MAX_BYTES, PAGING_LIMIT_MIN_BYTES, PAGING_SHARE, SHUTDOWN_TIMEOUT_MS,
};
use types::{UserName, VhostName};

/// The `product` that clients see; some look for it to know what they may ask for.
const PRODUCT: &str = "RabbitMQ";
/// The `version` that clients see: the behaviour that is followed.
const COMPATIBLE_VERSION: &str = "3.13.7";

/// How often a serving thread looks at all of its memory for some to give back.
const FULL_COLLECT_SECONDS: u64 = 10;

/// Runs a node until it is told to stop.
pub fn run(config: Config) -> Result<(), String> {
    start_log(&config)?;
    make_data_dir(&config.data_dir)?;
    let amqp = bind("amqp-addr", config.amqp_addr)?;
    let amqps = config.tls.as_ref().map(|tls| bind("amqps-addr", tls.addr)).transpose()?;
    let http = config.http_addr.map(|addr| bind("http-addr", addr)).transpose()?;
    let tls = config.tls.as_ref().map(tls_settings).transpose()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("the node's runtime cannot be started: {error}"))?;
    runtime.block_on(serve(config, Listeners { amqp, amqps, http }, tls))
}

struct Listeners {
    amqp: TcpListener,
    amqps: Option<TcpListener>,
    http: Option<TcpListener>,
}

async fn serve(
    config: Config,
    listeners: Listeners,
    tls: Option<Arc<rustls::ServerConfig>>,
) -> Result<(), String> {
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|error| format!("signals: {error}"))?;
    let mut terminate = signal(SignalKind::terminate()).map_err(|error| format!("signals: {error}"))?;
    let addresses = describe(&listeners);
    let Listeners { amqp, amqps, http } = listeners;
    let (node, is_accepting) = Running::start(&config, &addresses, &amqp, http).await?;
    let served = async {
        node.ready(&config).await;
        if config.recover_cluster {
            tracing::info!(
                "recovered: this node is a cluster of its own; start it again without --recover-cluster"
            );
            return Ok(());
        }
        let cannot_accept = |error: std::io::Error| format!("connections cannot be accepted: {error}");
        node.server.accept(amqp, None).map_err(cannot_accept)?;
        if let (Some(listener), Some(tls)) = (amqps, tls) {
            node.server.accept(listener, Some(tls)).map_err(cannot_accept)?;
        }
        is_accepting.store(true, Ordering::Release);
        tracing::info!(
            "Leveret {} started: node {}, {}, data in {}",
            env!("CARGO_PKG_VERSION"),
            config.node_name,
            addresses.join(", "),
            config.data_dir.display()
        );
        std::future::pending::<Result<(), String>>().await
    };
    let (why, failure) = tokio::select! {
        _ = interrupt.recv() => ("SIGINT", None),
        _ = terminate.recv() => ("SIGTERM", None),
        failure = node.broker.failed() => {
            let why = format!("{failure}; what was confirmed is safe: repair the disk and start again");
            ("the disk failed", Some(why))
        }
        why = cluster_ended(node.cluster.as_ref()) => ("the node ends", Some(why)),
        served = served => match served {
            Ok(()) => ("recovered", None),
            Err(why) => ("the node cannot serve", Some(why)),
        },
    };
    tracing::info!("{why}: closing {} connections", node.broker.connections().count());
    let closed = node.stop().await;
    if let Some(why) = failure {
        return Err(why);
    }
    closed.map_err(|why| format!("the last changes may be lost: {why}"))?;
    tracing::info!("stopped");
    Ok(())
}

/// The parts of a node at work.
struct Running {
    broker: Arc<Broker>,
    server: Arc<Server>,
    management: Option<Management>,
    cluster: Option<ClusterNode>,
}

impl Running {
    /// Starts everything but accepting AMQP clients; the flag is to be raised when that begins.
    async fn start(
        config: &Config,
        addresses: &[String],
        amqp: &TcpListener,
        http: Option<TcpListener>,
    ) -> Result<(Running, Arc<AtomicBool>), String> {
        let mut prepared = prepare_cluster(config, amqp, http.as_ref())?;
        let broker = open_broker(config, prepared.as_mut())?;
        let (shutdown, stopping) = watch::channel(false);
        let is_accepting = Arc::new(AtomicBool::new(false));
        let service =
            Service { stopping, is_accepting: is_accepting.clone(), broker: Arc::downgrade(&broker) };
        let settings = server_settings(config, &broker, shutdown);
        let server = Server::start(broker.clone(), settings, config.threads)
            .map_err(|error| format!("serving threads cannot be started: {error}"))?;
        tokio::spawn(broker.clone().run_timer());
        tokio::spawn(broker.clone().run_deletions());
        tokio::spawn(broker.clone().run_copy_steps());
        tokio::spawn(broker.clone().run_copy_watch());
        tokio::spawn(broker.clone().run_memory_watch());
        tokio::spawn(broker.clone().run_disk_watch());
        tokio::spawn(broker.clone().run_housekeeping());
        let start = |listener| {
            Management::start(broker.clone(), listener, management_settings(config, addresses, service))
                .map_err(|error| format!("the HTTP API cannot be started: {error}"))
        };
        let management = http.map(start).transpose()?;
        let cluster = match prepared {
            Some(prepared) => Some(ClusterNode::start(prepared, broker.clone()).await?),
            None => None,
        };
        Ok((Running { broker, server, management, cluster }, is_accepting))
    }

    /// Comes back when clients may be served.
    async fn ready(&self, config: &Config) {
        if let Some(cluster) = &self.cluster {
            tracing::info!("node {} is a cluster node, reached at {}", config.node_name, cluster.addr());
            cluster.ready().await;
        }
    }

    /// Ends the parts in order.
    async fn stop(self) -> Result<(), String> {
        if self.cluster.is_some() {
            self.broker.hand_over_homes().await;
        }
        self.server.shut_down(Duration::from_millis(SHUTDOWN_TIMEOUT_MS + 500)).await;
        if let Some(management) = self.management {
            management.stop().await;
        }
        if let Some(cluster) = self.cluster {
            cluster.stop().await;
        }
        self.broker.storage().map_or(Ok(()), |storage| storage.close())
    }
}

async fn cluster_ended(cluster: Option<&ClusterNode>) -> String {
    match cluster {
        Some(cluster) => cluster.ended().await,
        None => std::future::pending().await,
    }
}

/// Reads who the node is in its cluster, if it is to be in one.
fn prepare_cluster(
    config: &Config,
    amqp: &TcpListener,
    http: Option<&TcpListener>,
) -> Result<Option<Prepared>, String> {
    let Some(cluster) = &config.cluster else {
        if config.recover_cluster {
            return Err("recover-cluster is set: it needs cluster-addr and the cluster's secret".to_owned());
        }
        if config.data_dir.join("node").exists() {
            tracing::warn!(
                "the data directory is that of a cluster's node and cluster-addr is not set: it starts alone"
            );
        }
        return Ok(None);
    };
    let text = |listener: &TcpListener| listener.local_addr().map_or(String::new(), |addr| addr.to_string());
    let http = http.map(text).unwrap_or_default();
    Prepared::new(cluster.node(config, text(amqp), http)?).map(Some)
}

fn open_broker(config: &Config, prepared: Option<&mut Prepared>) -> Result<Arc<Broker>, String> {
    let storage = storage_config(config);
    let first = || first_catalog(config);
    match prepared {
        None => Broker::open(broker_config(config), &storage, first),
        Some(prepared) => {
            let broker = BrokerConfig { seat: Some(prepared.seat()), ..broker_config(config) };
            Broker::open_member(broker, &storage, first, prepared.log())
        }
    }
}

fn storage_config(config: &Config) -> StorageConfig {
    StorageConfig {
        accept_damage: config.accept_damage,
        idle: Some(|| crate::give_memory_back(true)),
        ..StorageConfig::new(config.data_dir.clone())
    }
}

fn broker_config(config: &Config) -> BrokerConfig {
    BrokerConfig {
        node_name: config.node_name.clone(),
        cluster_name: config.node_name.clone(),
        memory_limit_bytes: (alarm::available_bytes() as f64 * config.memory_high_watermark) as u64,
        paging_limit_bytes: config.message_memory_bytes.unwrap_or_else(|| {
            let share = (alarm::available_bytes() as f64 * PAGING_SHARE) as u64;
            share.clamp(PAGING_LIMIT_MIN_BYTES, PAGING_LIMIT_MAX_BYTES)
        }),
        disk_limit_bytes: config.disk_free_limit_bytes,
        seat: None,
    }
}

fn server_settings(config: &Config, broker: &Arc<Broker>, shutdown: watch::Sender<bool>) -> ServerConfig {
    let broker = broker.clone();
    // Under an alarm memory is wanted back at once; otherwise a full look now and then is enough.
    let every_second = move |seconds: u64| {
        let all = broker.alarms().current().any() || seconds.is_multiple_of(FULL_COLLECT_SECONDS);
        crate::give_memory_back(all);
    };
    ServerConfig {
        channel_max: config.channel_max,
        frame_max: config.frame_max,
        heartbeat_s: config.heartbeat_s,
        message_size_max_bytes: config.message_size_max_bytes,
        handshake_timeout_ms: HANDSHAKE_TIMEOUT_MS,
        product: PRODUCT.to_owned(),
        version: COMPATIBLE_VERSION.to_owned(),
        auth: Authenticator { loopback_users: config.loopback_users.clone() },
        every_second: Arc::new(every_second),
        external: config.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some()),
        shutdown,
    }
}

/// The catalog of a node that starts empty: one vhost, one user who may do everything.
fn first_catalog(config: &Config) -> Result<Catalog, String> {
    let name = |key: &str, text: &str| format!("{key} is '{text}': it must have at most 255 bytes");
    let vhost =
        VhostName::new(&config.default_vhost).ok_or_else(|| name("default-vhost", &config.default_vhost))?;
    let user =
        UserName::new(&config.default_user).ok_or_else(|| name("default-user", &config.default_user))?;
    let salt = (engine::route::random() as u32).to_be_bytes();
    let all = || ".*".to_owned();
    let commands = [
        Command::AddVhost {
            name: vhost.clone(),
            description: "Default virtual host".to_owned(),
            tags: Vec::new(),
            default_queue_type: None,
        },
        Command::PutUser {
            name: user.clone(),
            password_hash: Some(password::hash(&config.default_pass, salt)),
            tags: vec!["administrator".to_owned()],
        },
        Command::SetPermission { vhost, user, configure: all(), write: all(), read: all() },
    ];
    let mut catalog = Catalog::new();
    for command in commands {
        catalog.apply(command, &mut Vec::new()).map_err(|error| format!("first definitions: {error}"))?;
    }
    Ok(catalog)
}

fn start_log(config: &Config) -> Result<(), String> {
    // The library of the catalog's agreement tells every step; what operators need is told by our own words.
    let quiet = if config.log_level.contains("openraft") { "" } else { ",openraft=off" };
    let filter = EnvFilter::try_new(format!("{}{quiet}", config.log_level)).map_err(|error| {
        format!("log-level is '{}': {error}; use error, warn, info, debug or trace", config.log_level)
    })?;
    // Colours are for people: what collects the log of a container or a service shows them as garbage.
    let has_colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_ansi(has_colours)
        .with_writer(std::io::stderr);
    if config.log_json {
        log.json().init()
    } else {
        log.init()
    }
    Ok(())
}

fn make_data_dir(path: &Path) -> Result<(), String> {
    std::fs::create_dir_all(path)
        .map_err(|error| format!("data-dir is '{}': it cannot be created: {error}", path.display()))?;
    let probe = path.join(".writable");
    std::fs::write(&probe, b"")
        .and_then(|()| std::fs::remove_file(&probe))
        .map_err(|error| format!("data-dir is '{}': it cannot be written to: {error}", path.display()))
}

fn bind(key: &str, addr: SocketAddr) -> Result<TcpListener, String> {
    let listen = || -> std::io::Result<TcpListener> {
        let domain = socket2::Domain::for_address(addr);
        let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None)?;
        if addr.is_ipv6() && addr.ip().is_unspecified() {
            // [::] stands for every address of the machine, the IPv4 ones too.
            socket.set_only_v6(false)?;
        }
        socket.set_reuse_address(true)?;
        socket.bind(&addr.into())?;
        socket.listen(1024)?;
        Ok(socket.into())
    };
    listen().map_err(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            format!("{key} is {addr}: the port is in use; stop who uses it or choose another with --{key}")
        }
        _ => format!("{key} is {addr}: cannot listen there: {error}"),
    })
}

fn tls_settings(tls: &TlsConfig) -> Result<Arc<rustls::ServerConfig>, String> {
    let clients = match (&tls.client_ca, tls.client_required) {
        (None, _) => ClientCertificates::NotAsked,
        (Some(_), false) => ClientCertificates::Optional,
        (Some(_), true) => ClientCertificates::Required,
    };
    server_config(&tls.cert, &tls.key, tls.client_ca.as_deref(), clients)
}

fn describe(listeners: &Listeners) -> Vec<String> {
    let at = |name: &str, listener: &TcpListener| match listener.local_addr() {
        Ok(addr) => format!("{name} {addr}"),
        Err(_) => name.to_owned(),
    };
    let mut all = vec![at("AMQP", &listeners.amqp)];
    all.extend(listeners.amqps.as_ref().map(|listener| at("AMQPS", listener)));
    all.extend(listeners.http.as_ref().map(|listener| at("HTTP", listener)));
    all
}

/// Whether the node serves clients.
struct Service {
    stopping: watch::Receiver<bool>,
    is_accepting: Arc<AtomicBool>,
    broker: Weak<Broker>,
}

fn management_settings(
    config: &Config,
    addresses: &[String],
    service: Service,
) -> management::ManagementConfig {
    management::ManagementConfig {
        version: COMPATIBLE_VERSION.to_owned(),
        product_version: env!("CARGO_PKG_VERSION").to_owned(),
        loopback_users: config.loopback_users.clone(),
        listeners: addresses.to_vec(),
        data_dir: Some(config.data_dir.clone()),
        in_service: Arc::new(move || {
            if *service.stopping.borrow() {
                return Err("the node is stopping".to_owned());
            }
            if let Some(why) = service.broker.upgrade().and_then(|broker| broker.cluster()?.not_ready()) {
                return Err(why);
            }
            let is_accepting = service.is_accepting.load(Ordering::Acquire);
            if is_accepting { Ok(()) } else { Err("the node is starting".to_owned()) }
        }),
    }
}
