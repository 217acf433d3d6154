//! The clients, each with ten connections and a second for each command, and set for a server that goes away for seconds.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Sender;
use std::time::Duration;

use hitless_tokio::pubsub::Item;
use hitless_tokio::{Delivery, Error, cmd};
use redis::IntoConnectionInfo;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use tokio::time;

/// Connections that carry the load.
pub(super) const CONNECTIONS: u32 = 10;
/// The longest that a command may take that does not block.
pub(super) const COMMAND_TIMEOUT: Duration = Duration::from_secs(1);
/// The longest that the peer waits from one dial that failed to the next, to which it adds up to as much by chance.
pub(super) const MAX_DELAY: Duration = Duration::from_millis(100);
/// How often it dials again before the commands that wait for the connection fail: for longer than any node is away.
pub(super) const RETRIES: usize = 100;
/// How long a client may take to end.
const GRACE: Duration = Duration::from_secs(1);

/// A client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Contender {
    /// hitless-tokio as it comes, but for the command timeout.
    Hitless,
    /// redis, ten connection managers that take turns. They speak RESP3, because then they dial again as soon as a connection is
    /// closed, and not only when a command has failed; Nagle's algorithm is off. Between dials they wait for [`MAX_DELAY`], and not
    /// twice as long each time, as they would by default. Their response timeout bounds the wait for a reply, and not that for a
    /// connection: that is what [`COMMAND_TIMEOUT`] around each command is for.
    Redis,
}

impl Contender {
    /// Both, in the order of the tables.
    pub(super) const ALL: [Self; 2] = [Self::Hitless, Self::Redis];

    /// In tables.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Hitless => "hitless-tokio",
            Self::Redis => "redis 1, ConnectionManager",
        }
    }
}

/// A command that failed.
#[derive(Debug)]
pub(super) struct Failure {
    /// The error does not rule out that the command has run.
    pub(super) is_uncertain: bool,
    pub(super) text: String,
}

/// A client under load; a clone is another handle.
pub(super) trait Client: Clone + Send + Sync + 'static {
    /// What pops items: a handle that may wait for as long as it takes.
    type Consumer: Send + 'static;

    /// Runs a command on one of the ten connections.
    fn call(&self, words: &[&str]) -> impl Future<Output = Result<(), Failure>> + Send;

    /// One more that waits for items.
    fn consumer(&self) -> impl Future<Output = io::Result<Self::Consumer>> + Send;

    /// Waits for an item of `queue`.
    fn pop(
        consumer: &mut Self::Consumer,
        queue: &str,
    ) -> impl Future<Output = Result<String, Failure>> + Send;

    /// Subscribes to `channel`. Each message goes to `heard`, for as long as somebody listens there.
    fn subscribe(&self, channel: &str, heard: Sender<String>) -> impl Future<Output = io::Result<()>> + Send;

    /// Ends the client.
    fn close(self) -> impl Future<Output = ()> + Send;
}

/// Ours.
///
/// # Errors
/// It cannot connect.
pub(super) async fn hitless(address: SocketAddr) -> io::Result<hitless_tokio::Client> {
    let builder = hitless_tokio::Client::builder(&format!("redis://{address}")).map_err(io::Error::other)?;
    let builder = builder.pool_size(CONNECTIONS).command_timeout(COMMAND_TIMEOUT);
    builder.connect().await.map_err(io::Error::other)
}

impl Client for hitless_tokio::Client {
    type Consumer = Self;

    async fn call(&self, words: &[&str]) -> Result<(), Failure> {
        let Some((name, arguments)) = words.split_first() else { return Ok(()) };
        Self::call(self, cmd(name).args(arguments)).await?;
        Ok(())
    }

    async fn consumer(&self) -> io::Result<Self> {
        Ok(self.clone())
    }

    async fn pop(consumer: &mut Self, queue: &str) -> Result<String, Failure> {
        let (_, item): (String, String) = consumer.query(cmd("BLPOP").arg(queue).arg(0)).await?;
        Ok(item)
    }

    async fn subscribe(&self, channel: &str, heard: Sender<String>) -> io::Result<()> {
        let mut subscription = Self::subscribe(self, [channel]).await.map_err(io::Error::other)?;
        tokio::spawn(async move {
            while let Some(item) = subscription.next().await {
                let text = match item {
                    Item::Message(message) => String::from_utf8_lossy(&message.payload).into_owned(),
                    _ => continue,
                };
                if heard.send(text).is_err() {
                    return;
                }
            }
        });
        Ok(())
    }

    async fn close(self) {
        self.shutdown(GRACE).await;
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { is_uncertain: error.delivery() == Some(Delivery::Unknown), text: error.to_string() }
    }
}

/// redis-rs: connection managers that take turns.
#[derive(Clone)]
pub(super) struct Managers {
    client: redis::Client,
    managers: Arc<[ConnectionManager]>,
    next: Arc<AtomicUsize>,
}

/// redis.
///
/// # Errors
/// It cannot connect.
pub(super) async fn redis(address: SocketAddr) -> io::Result<Managers> {
    let info =
        format!("redis://{address}?protocol=resp3").into_connection_info().map_err(io::Error::other)?;
    let info = info.set_tcp_settings(redis::io::tcp::TcpSettings::default().set_nodelay(true));
    let client = redis::Client::open(info).map_err(io::Error::other)?;
    let mut managers = Vec::new();
    for _ in 0..CONNECTIONS {
        managers.push(manager(&client, config().set_response_timeout(Some(COMMAND_TIMEOUT))).await?);
    }
    Ok(Managers { client, managers: managers.into(), next: Arc::default() })
}

/// What load, consumers and subscriber have in common.
fn config() -> ConnectionManagerConfig {
    ConnectionManagerConfig::new().set_max_delay(MAX_DELAY).set_number_of_retries(RETRIES)
}

async fn manager(client: &redis::Client, config: ConnectionManagerConfig) -> io::Result<ConnectionManager> {
    ConnectionManager::new_with_config(client.clone(), config).await.map_err(io::Error::other)
}

impl Client for Managers {
    type Consumer = ConnectionManager;

    async fn call(&self, words: &[&str]) -> Result<(), Failure> {
        let Some((name, arguments)) = words.split_first() else { return Ok(()) };
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let mut manager = self.managers[turn % self.managers.len()].clone();
        let mut command = redis::cmd(name);
        let reply = command.arg(arguments).query_async(&mut manager);
        let reply: Result<(), _> =
            time::timeout(COMMAND_TIMEOUT, reply).await.map_err(|_| Failure::of_time())?;
        Ok(reply?)
    }

    async fn consumer(&self) -> io::Result<ConnectionManager> {
        manager(&self.client, config().set_response_timeout(None)).await
    }

    async fn pop(consumer: &mut ConnectionManager, queue: &str) -> Result<String, Failure> {
        let (_, item): (String, String) = redis::cmd("BLPOP").arg(queue).arg(0).query_async(consumer).await?;
        Ok(item)
    }

    async fn subscribe(&self, channel: &str, heard: Sender<String>) -> io::Result<()> {
        let on_push = move |push: redis::PushInfo| {
            let [_, payload] = &push.data[..] else { return Ok(()) };
            match redis::from_redis_value_ref::<String>(payload) {
                Ok(text) if push.kind == redis::PushKind::Message => {
                    heard.send(text).map_err(|_| redis::aio::SendError)
                }
                _ => Ok(()),
            }
        };
        let config = config().set_response_timeout(Some(COMMAND_TIMEOUT));
        let config = config.set_push_sender(on_push).set_automatic_resubscription();
        let mut manager = manager(&self.client, config).await?;
        manager.subscribe(channel).await.map_err(io::Error::other)?;
        // It subscribes for as long as it lives, which is until nobody listens.
        tokio::spawn(async move {
            let _manager = manager;
            std::future::pending::<()>().await;
        });
        Ok(())
    }

    async fn close(self) {}
}

impl Failure {
    /// The command took too long; whether it was written is not known.
    fn of_time() -> Self {
        Self { is_uncertain: true, text: format!("no reply within {COMMAND_TIMEOUT:?}") }
    }
}

impl From<redis::RedisError> for Failure {
    fn from(error: redis::RedisError) -> Self {
        // Nothing in an error says whether the command was written.
        Self { is_uncertain: true, text: error.to_string() }
    }
}
