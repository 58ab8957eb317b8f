//! The HTTP API: RabbitMQ's management paths and bodies on this broker.
//!
//! Invariant: it runs on a thread of its own, so a listing never keeps a client's connection waiting;
//! no lock is held while an answer is written.

mod api;
mod auth;
mod body;
mod client;
mod cluster;
mod fields;
mod listener;
mod query;
mod reply;
mod sampler;
mod system;
mod token;

use api::Api;
use engine::Broker;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::oneshot;

/// How long a stop waits for requests that are being answered.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// How the API presents the node.
pub struct ManagementConfig {
    /// The RabbitMQ version whose API is followed.
    pub version: String,
    /// Leveret's own version.
    pub product_version: String,
    /// Users who may only log in from this machine.
    pub loopback_users: Vec<String>,
    /// What the node listens on, as `NAME ADDRESS`.
    pub listeners: Vec<String>,
    /// Where the operator's token is put; None for no access without a password.
    pub data_dir: Option<PathBuf>,
    /// Whether clients should come to this node now.
    pub in_service: InService,
}

/// Asked at each readiness check; the error says why a load balancer should send clients elsewhere, such
/// as `the node is stopping`. It must not block.
pub type InService = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// A running API.
pub struct Management {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
    token: Option<token::TokenFile>,
}

impl Management {
    /// Starts it on its own thread.
    pub fn start(
        broker: Arc<Broker>,
        listener: TcpListener,
        config: ManagementConfig,
    ) -> std::io::Result<Management> {
        let address = listener.local_addr()?;
        listener.set_nonblocking(true)?;
        let token = match &config.data_dir {
            // Without the file operators need a password; a full disk must not keep the node from starting.
            Some(data_dir) => token::TokenFile::create(data_dir, address)
                .inspect_err(
                    |error| tracing::warn!(%error, "no token file for leveretctl in the data directory"),
                )
                .ok(),
            None => None,
        };
        let secret = token.as_ref().map(|file| file.secret().to_owned());
        let api = Arc::new(Api::new(broker, config, secret, address));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new().name("management".to_owned()).spawn(move || {
            runtime.block_on(serve(api, listener, stopped));
            runtime.shutdown_background();
        })?;
        Ok(Management { stop, thread, token })
    }

    /// Stops it: requests that are being answered get a moment, then the socket is closed.
    pub async fn stop(self) {
        let Management { stop, thread, token } = self;
        drop(token);
        let _ = stop.send(());
        let joined = tokio::task::spawn_blocking(move || thread.join()).await;
        if !matches!(joined, Ok(Ok(()))) {
            tracing::error!("the HTTP API's thread ended badly");
        }
    }
}

async fn serve(api: Arc<Api>, listener: TcpListener, stopped: oneshot::Receiver<()>) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener::Limited::new(listener),
        Err(error) => return tracing::error!(%error, "the HTTP API cannot listen"),
    };
    tokio::spawn(sampler::run(api.clone()));
    let (drain, draining) = oneshot::channel::<()>();
    let service = api::router(api).into_make_service_with_connect_info::<listener::Peer>();
    let server = axum::serve(listener, service).with_graceful_shutdown(async {
        let _ = draining.await;
    });
    let watch = async {
        let _ = stopped.await;
        let _ = drain.send(());
        tokio::time::sleep(STOP_TIMEOUT).await;
    };
    tokio::pin!(watch);
    let server = std::future::IntoFuture::into_future(server);
    tokio::pin!(server);
    std::future::poll_fn(|cx| {
        if watch.as_mut().poll(cx).is_ready() {
            return std::task::Poll::Ready(());
        }
        server.as_mut().poll(cx).map(|_| ())
    })
    .await;
}
