//! The clients with their defaults, but for Nagle's algorithm, which is off in all of them. Each has one connection (to each node of a
//! cluster), and ours pools as well. With TLS rustls encrypts for all of them.

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use fred::interfaces::{ClientLike, KeysInterface};
use hitless_core::driver;
use hitless_tokio::{Mode, Tls, cmd, maintenance};
use rustis::commands::StringCommands;
use rustis::resp::BulkString;

use super::link::Link;
use super::runtime::Runtime;

mod cluster;
mod leases;

/// A client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Contender {
    /// hitless-tokio with one connection: it asks the server for notifications and would follow them.
    Hitless,
    /// hitless-tokio without the maintenance machinery.
    HitlessDisabled,
    /// hitless-tokio with four connections.
    Pool4,
    /// hitless-tokio as it comes, with ten connections.
    Pool10,
    /// hitless-tokio with 64 connections.
    Pool64,
    /// Ten clients of hitless-tokio with one connection each, which take turns: a pool that deals requests out.
    Turns10,
    /// hitless-async-std with one connection.
    AsyncStd,
    /// rustis.
    Rustis,
    /// redis, its multiplexed connection.
    Redis,
    /// fred.
    Fred,
    /// hitless-tokio with one connection, by the typed commands of redis (`AsyncCommands`).
    HitlessTyped,
    /// redis, by its typed commands.
    RedisTyped,
    /// hitless-tokio, each command on a lease, of which there are up to 64.
    Lease,
    /// deadpool-redis, each command on one of up to 64 connections.
    Deadpool,
    /// bb8-redis, each command on one of up to 64 connections.
    Bb8,
    /// The same, which does not ask a connection whether it is alive before it lends it.
    Bb8Unchecked,
    /// hitless-tokio's client of a cluster as it comes, with two connections for each node.
    Cluster,
    /// hitless-tokio's client of a cluster with one connection for each node.
    Cluster1,
    /// A client of hitless-tokio for each node of a cluster, with two connections. Each task has one of them, and keys of that node
    /// alone.
    Divided,
    /// The same clients. Each task has all of them, and goes by the slot of each key.
    BySlot,
    /// rustis, its client of a cluster.
    RustisCluster,
    /// redis, its asynchronous client of a cluster.
    RedisCluster,
    /// fred, its client of a cluster.
    FredCluster,
}

impl Contender {
    /// Those for one server: ours first, then the peers; then those with typed commands, and those that lend connections.
    pub const OF_SERVER: [Self; 16] = [
        Self::Hitless,
        Self::HitlessDisabled,
        Self::Pool4,
        Self::Pool10,
        Self::Pool64,
        Self::Turns10,
        Self::AsyncStd,
        Self::Rustis,
        Self::Redis,
        Self::Fred,
        Self::HitlessTyped,
        Self::RedisTyped,
        Self::Lease,
        Self::Deadpool,
        Self::Bb8,
        Self::Bb8Unchecked,
    ];

    /// Those for a cluster, in the same order.
    pub const OF_CLUSTER: [Self; 7] = [
        Self::Cluster,
        Self::Cluster1,
        Self::Divided,
        Self::BySlot,
        Self::RustisCluster,
        Self::RedisCluster,
        Self::FredCluster,
    ];

    /// The row of the table.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Hitless => "hitless-tokio",
            Self::HitlessDisabled => "hitless-tokio, Mode::Disabled",
            Self::Pool4 => "hitless-tokio, pool of 4",
            Self::Pool10 => "hitless-tokio, pool of 10 (default)",
            Self::Pool64 => "hitless-tokio, pool of 64",
            Self::Turns10 => "hitless-tokio, 10 in turns",
            Self::AsyncStd => "hitless-async-std",
            Self::Rustis => "rustis 0.27",
            Self::Redis => "redis 1, multiplexed",
            Self::Fred => "fred 10",
            Self::HitlessTyped => "hitless-tokio, AsyncCommands",
            Self::RedisTyped => "redis 1, AsyncCommands",
            Self::Lease => "hitless-tokio, leases",
            Self::Deadpool => "deadpool-redis 0.23",
            Self::Bb8 => "bb8-redis 0.26",
            Self::Bb8Unchecked => "bb8-redis 0.26, unchecked",
            Self::Cluster => "hitless-tokio, cluster (default)",
            Self::Cluster1 => "hitless-tokio, cluster, 1 connection a node",
            Self::Divided => "hitless-tokio, 3 single clients, tasks divided",
            Self::BySlot => "hitless-tokio, 3 single clients, by slot",
            Self::RustisCluster => "rustis 0.27, cluster",
            Self::RedisCluster => "redis 1, cluster-async",
            Self::FredCluster => "fred 10, cluster",
        }
    }

    /// Whether `other` is what this one is measured by.
    #[must_use]
    pub fn is_measured_by(self, other: Self) -> bool {
        match other {
            Self::Rustis | Self::Redis | Self::Fred => self.is_pool() || self == Self::Hitless,
            Self::Hitless => self.is_pool() || self == Self::AsyncStd,
            Self::Turns10 => self.is_pool(),
            Self::RedisTyped => self == Self::HitlessTyped,
            Self::Deadpool | Self::Bb8 | Self::Bb8Unchecked => self == Self::Lease,
            Self::Divided | Self::BySlot | Self::RustisCluster | Self::RedisCluster | Self::FredCluster => {
                self == Self::Cluster
            }
            Self::HitlessDisabled
            | Self::Pool4
            | Self::Pool10
            | Self::Pool64
            | Self::AsyncStd
            | Self::HitlessTyped
            | Self::Lease
            | Self::Cluster
            | Self::Cluster1 => false,
        }
    }

    /// Whether it can be reached by this link: rustis and fred are built without TLS, and what lends connections is compared without it.
    #[must_use]
    pub fn takes(self, link: Link) -> bool {
        link != Link::Encrypted || !matches!(self, Self::Rustis | Self::Fred) && !self.lends()
    }

    /// Whether it takes a connection for each command and gives it back.
    fn lends(self) -> bool {
        matches!(self, Self::Lease | Self::Deadpool | Self::Bb8 | Self::Bb8Unchecked)
    }

    /// What it runs on.
    #[must_use]
    pub fn runtime(self) -> Runtime {
        if self == Self::AsyncStd { Runtime::AsyncStd } else { Runtime::Tokio }
    }

    fn is_pool(self) -> bool {
        matches!(self, Self::Pool4 | Self::Pool10 | Self::Pool64)
    }

    /// Opens the client, and does `work` with it.
    ///
    /// # Errors
    ///
    /// When it cannot connect, and those of the work.
    pub async fn put_to<W: Work>(self, work: W, at: &Address) -> io::Result<W::Output> {
        match self {
            Self::Hitless => work.with(hitless(at, Mode::Auto, 1).await?).await,
            Self::HitlessDisabled => work.with(hitless(at, Mode::Disabled, 1).await?).await,
            Self::Pool4 => work.with(hitless(at, Mode::Auto, 4).await?).await,
            Self::Pool10 => work.with(hitless(at, Mode::Auto, 10).await?).await,
            Self::Pool64 => work.with(hitless(at, Mode::Auto, 64).await?).await,
            Self::Turns10 => work.with(turns(at, 10).await?).await,
            Self::AsyncStd => work.with(async_std(at).await?).await,
            Self::Rustis => work.with(rustis(at).await?).await,
            Self::Redis => work.with(Plain(redis(at).await?)).await,
            Self::Fred => work.with(fred(at).await?).await,
            Self::HitlessTyped => work.with(Typed(hitless(at, Mode::Auto, 1).await?)).await,
            Self::RedisTyped => work.with(Typed(redis(at).await?)).await,
            Self::Lease => work.with(leases::hitless(at).await?).await,
            Self::Deadpool => work.with(leases::deadpool(at)?).await,
            Self::Bb8 => work.with(leases::bb8(at, true).await?).await,
            Self::Bb8Unchecked => work.with(leases::bb8(at, false).await?).await,
            Self::Cluster => work.with(cluster::hitless(at, None).await?).await,
            Self::Cluster1 => work.with(cluster::hitless(at, Some(1)).await?).await,
            Self::Divided => work.with(cluster::divided(at).await?).await,
            Self::BySlot => work.with(cluster::by_slot(at).await?).await,
            Self::RustisCluster => work.with(cluster::rustis(at).await?).await,
            Self::RedisCluster => work.with(Plain(cluster::redis(at).await?)).await,
            Self::FredCluster => work.with(cluster::fred(at).await?).await,
        }
    }
}

/// What is done with a client, whichever it is.
pub trait Work {
    /// What comes of it.
    type Output;

    /// Does it.
    fn with(self, connection: impl Connection) -> impl Future<Output = io::Result<Self::Output>>;
}

/// Where the server is.
#[derive(Debug, Clone, clap::Args)]
pub struct Address {
    /// The server's port; of a cluster, those of all nodes in the order of their slots.
    #[arg(long = "port", value_name = "PORT", required = true)]
    pub ports: Vec<u16>,
    /// Speak TLS to it; its certificate is in this file.
    #[arg(long, value_name = "FILE")]
    pub certificate: Option<PathBuf>,
}

impl Address {
    /// That of the only server.
    fn url(&self) -> String {
        self.urls().swap_remove(0)
    }

    /// That of each node.
    fn urls(&self) -> Vec<String> {
        let scheme = if self.certificate.is_some() { "rediss" } else { "redis" };
        self.ports.iter().map(|port| format!("{scheme}://127.0.0.1:{port}")).collect()
    }

    fn certificate(&self) -> io::Result<Option<Vec<u8>>> {
        self.certificate.as_ref().map(std::fs::read).transpose()
    }
}

/// A handle to a client, one per task.
pub trait Connection: Clone + Send + 'static {
    /// The length of the value of `key`.
    fn get(&mut self, key: &str) -> impl Future<Output = io::Result<usize>> + Send;

    /// Sets `key` to `value`.
    fn set(&mut self, key: &str, value: &[u8]) -> impl Future<Output = io::Result<()>> + Send;

    /// The handle of one task, and which of `keys` it goes through.
    fn of_task(&self, _task: usize, keys: &Arc<Vec<String>>) -> (Self, Arc<Vec<String>>) {
        (self.clone(), Arc::clone(keys))
    }
}

/// Ours.
async fn hitless(address: &Address, mode: Mode, pool: u32) -> io::Result<hitless_tokio::Client> {
    ours(address, mode, pool).await
}

/// Ours on async-std, with one connection.
async fn async_std(address: &Address) -> io::Result<hitless_async_std::Client> {
    ours(address, Mode::Auto, 1).await
}

/// Ours on any runtime, with the same settings.
async fn ours<R>(address: &Address, mode: Mode, pool: u32) -> io::Result<driver::Client<R>>
where
    R: driver::Runtime + driver::Resolver + driver::Connector + Default,
{
    let config = maintenance::Config::builder().mode(mode).build().map_err(io::Error::other)?;
    let mut builder = driver::Client::<R>::builder(&address.url()).map_err(io::Error::other)?;
    if let Some(certificate) = address.certificate()? {
        builder = builder.tls(Tls::builder().roots(certificate).build().map_err(io::Error::other)?);
    }
    builder.pool_size(pool).maintenance(config).connect().await.map_err(io::Error::other)
}

/// Several clients of ours that take turns.
#[derive(Debug, Clone)]
struct Turns {
    clients: Arc<[hitless_tokio::Client]>,
    next: Arc<AtomicUsize>,
}

/// So many of ours, with one connection each.
async fn turns(address: &Address, count: usize) -> io::Result<Turns> {
    let mut clients = Vec::new();
    for _ in 0..count {
        clients.push(hitless(address, Mode::Auto, 1).await?);
    }
    Ok(Turns { clients: clients.into(), next: Arc::default() })
}

/// rustis.
async fn rustis(address: &Address) -> io::Result<rustis::client::Client> {
    rustis_at(&address.url()).await
}

async fn rustis_at(url: &str) -> io::Result<rustis::client::Client> {
    rustis::client::Client::connect(format!("{url}?no_delay=true")).await.map_err(io::Error::other)
}

/// redis.
async fn redis(address: &Address) -> io::Result<redis::aio::MultiplexedConnection> {
    let info = redis_info(address)?;
    let client = match address.certificate()? {
        root_cert @ Some(_) => {
            redis::Client::build_with_tls(info, redis::TlsCertificates { client_tls: None, root_cert })
        }
        None => redis::Client::open(info),
    };
    let client = client.map_err(io::Error::other)?;
    client.get_multiplexed_async_connection().await.map_err(io::Error::other)
}

/// Where connections of redis go, and how.
fn redis_info(address: &Address) -> io::Result<redis::ConnectionInfo> {
    use redis::IntoConnectionInfo;

    let url = format!("{}?protocol=resp3", address.url());
    let info = url.into_connection_info().map_err(io::Error::other)?;
    Ok(info.set_tcp_settings(redis::io::tcp::TcpSettings::default().set_nodelay(true)))
}

/// fred.
async fn fred(address: &Address) -> io::Result<fred::clients::Client> {
    fred_at(&address.url()).await
}

async fn fred_at(url: &str) -> io::Result<fred::clients::Client> {
    let mut config = fred::types::config::Config::from_url(url).map_err(io::Error::other)?;
    config.version = fred::types::RespVersion::RESP3;
    let mut builder = fred::types::Builder::from_config(config);
    builder.with_connection_config(|config| config.tcp.nodelay = Some(true));
    let client = builder.build().map_err(io::Error::other)?;
    client.init().await.map_err(io::Error::other)?;
    Ok(client)
}

impl<R: driver::Runtime> Connection for driver::Client<R> {
    async fn get(&mut self, key: &str) -> io::Result<usize> {
        let value = self.call(cmd("GET").arg(key)).await.map_err(io::Error::other)?;
        Ok(value.as_bytes().map_or(0, <[u8]>::len))
    }

    async fn set(&mut self, key: &str, value: &[u8]) -> io::Result<()> {
        self.call(cmd("SET").arg(key).arg(value)).await.map_err(io::Error::other)?;
        Ok(())
    }
}

impl Turns {
    fn next(&self) -> hitless_tokio::Client {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        self.clients[turn % self.clients.len()].clone()
    }
}

impl Connection for Turns {
    async fn get(&mut self, key: &str) -> io::Result<usize> {
        self.next().get(key).await
    }

    async fn set(&mut self, key: &str, value: &[u8]) -> io::Result<()> {
        self.next().set(key, value).await
    }
}

impl Connection for rustis::client::Client {
    async fn get(&mut self, key: &str) -> io::Result<usize> {
        let value: BulkString = StringCommands::get(&*self, key).await.map_err(io::Error::other)?;
        Ok(value.len())
    }

    async fn set(&mut self, key: &str, value: &[u8]) -> io::Result<()> {
        let value = rustis::resp::RefBulkString::new(value);
        StringCommands::set(&*self, key, value).await.map_err(io::Error::other)
    }
}

/// redis, by commands that name themselves.
#[derive(Clone)]
struct Plain<C>(C);

impl<C: redis::aio::ConnectionLike + Clone + Send + 'static> Connection for Plain<C> {
    async fn get(&mut self, key: &str) -> io::Result<usize> {
        let got = redis::cmd("GET").arg(key).query_async(&mut self.0).await;
        let value: Vec<u8> = got.map_err(io::Error::other)?;
        Ok(value.len())
    }

    async fn set(&mut self, key: &str, value: &[u8]) -> io::Result<()> {
        redis::cmd("SET").arg(key).arg(value).query_async(&mut self.0).await.map_err(io::Error::other)
    }
}

impl Connection for fred::clients::Client {
    async fn get(&mut self, key: &str) -> io::Result<usize> {
        let value: bytes::Bytes = KeysInterface::get(self, key).await.map_err(io::Error::other)?;
        Ok(value.len())
    }

    async fn set(&mut self, key: &str, value: &[u8]) -> io::Result<()> {
        KeysInterface::set::<(), _, _>(self, key, value, None, None, false).await.map_err(io::Error::other)
    }
}

/// A client by the typed commands of redis.
#[derive(Debug, Clone)]
struct Typed<C>(C);

impl<C: redis::AsyncCommands + Clone + Send + Sync + 'static> Connection for Typed<C> {
    async fn get(&mut self, key: &str) -> io::Result<usize> {
        let value: Vec<u8> = redis::AsyncCommands::get(&mut self.0, key).await.map_err(io::Error::other)?;
        Ok(value.len())
    }

    async fn set(&mut self, key: &str, value: &[u8]) -> io::Result<()> {
        redis::AsyncCommands::set(&mut self.0, key, value).await.map_err(io::Error::other)
    }
}
