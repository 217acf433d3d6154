//! The clients with their defaults, but for Nagle's algorithm, which is off in all of them. Each has one connection, and
//! ours pools as well. With TLS rustls encrypts for all of them.

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use fred::interfaces::{ClientLike, KeysInterface};
use hitless_tokio::{Mode, Tls, cmd, maintenance};
use rustis::commands::StringCommands;
use rustis::resp::BulkString;

use super::link::Link;

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
}

impl Contender {
    /// Ours first, then the peers; those with typed commands last.
    pub const ALL: [Self; 11] = [
        Self::Hitless,
        Self::HitlessDisabled,
        Self::Pool4,
        Self::Pool10,
        Self::Pool64,
        Self::Turns10,
        Self::Rustis,
        Self::Redis,
        Self::Fred,
        Self::HitlessTyped,
        Self::RedisTyped,
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
            Self::Rustis => "rustis 0.27",
            Self::Redis => "redis 1, multiplexed",
            Self::Fred => "fred 10",
            Self::HitlessTyped => "hitless-tokio, AsyncCommands",
            Self::RedisTyped => "redis 1, AsyncCommands",
        }
    }

    /// Whether `other` is what this one is measured by.
    #[must_use]
    pub fn is_measured_by(self, other: Self) -> bool {
        match other {
            Self::Rustis | Self::Redis | Self::Fred => self.is_pool() || self == Self::Hitless,
            Self::Hitless | Self::Turns10 => self.is_pool(),
            Self::RedisTyped => self == Self::HitlessTyped,
            Self::HitlessDisabled | Self::Pool4 | Self::Pool10 | Self::Pool64 | Self::HitlessTyped => false,
        }
    }

    /// Whether it can be reached by this link: rustis and fred are built without TLS.
    #[must_use]
    pub fn takes(self, link: Link) -> bool {
        link != Link::Encrypted || !matches!(self, Self::Rustis | Self::Fred)
    }

    fn is_pool(self) -> bool {
        matches!(self, Self::Pool4 | Self::Pool10 | Self::Pool64)
    }
}

/// Where the server is.
#[derive(Debug, Clone, clap::Args)]
pub struct Address {
    /// The server's port.
    #[arg(long)]
    pub port: u16,
    /// Speak TLS to it; its certificate is in this file.
    #[arg(long, value_name = "FILE")]
    pub certificate: Option<PathBuf>,
}

impl Address {
    fn url(&self) -> String {
        let scheme = if self.certificate.is_some() { "rediss" } else { "redis" };
        format!("{scheme}://127.0.0.1:{}", self.port)
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
}

/// Ours.
///
/// # Errors
///
/// When it cannot connect.
pub async fn hitless(address: &Address, mode: Mode, pool: u32) -> io::Result<hitless_tokio::Client> {
    let config = maintenance::Config::builder().mode(mode).build().map_err(io::Error::other)?;
    let mut builder = hitless_tokio::Client::builder(&address.url()).map_err(io::Error::other)?;
    if let Some(certificate) = address.certificate()? {
        builder = builder.tls(Tls::builder().roots(certificate).build().map_err(io::Error::other)?);
    }
    builder.pool_size(pool).maintenance(config).connect().await.map_err(io::Error::other)
}

/// Several clients of ours that take turns.
#[derive(Debug, Clone)]
pub struct Turns {
    clients: Arc<[hitless_tokio::Client]>,
    next: Arc<AtomicUsize>,
}

/// So many of ours, with one connection each.
///
/// # Errors
///
/// When one cannot connect.
pub async fn turns(address: &Address, count: usize) -> io::Result<Turns> {
    let mut clients = Vec::new();
    for _ in 0..count {
        clients.push(hitless(address, Mode::Auto, 1).await?);
    }
    Ok(Turns { clients: clients.into(), next: Arc::default() })
}

/// rustis.
///
/// # Errors
///
/// When it cannot connect.
pub async fn rustis(address: &Address) -> io::Result<rustis::client::Client> {
    rustis::client::Client::connect(format!("{}?no_delay=true", address.url()))
        .await
        .map_err(io::Error::other)
}

/// redis.
///
/// # Errors
///
/// When it cannot connect.
pub async fn redis(address: &Address) -> io::Result<redis::aio::MultiplexedConnection> {
    use redis::IntoConnectionInfo;

    let url = format!("{}?protocol=resp3", address.url());
    let info = url.into_connection_info().map_err(io::Error::other)?;
    let info = info.set_tcp_settings(redis::io::tcp::TcpSettings::default().set_nodelay(true));
    let client = match address.certificate()? {
        root_cert @ Some(_) => {
            redis::Client::build_with_tls(info, redis::TlsCertificates { client_tls: None, root_cert })
        }
        None => redis::Client::open(info),
    };
    let client = client.map_err(io::Error::other)?;
    client.get_multiplexed_async_connection().await.map_err(io::Error::other)
}

/// fred.
///
/// # Errors
///
/// When it cannot connect.
pub async fn fred(address: &Address) -> io::Result<fred::clients::Client> {
    let mut config = fred::types::config::Config::from_url(&address.url()).map_err(io::Error::other)?;
    config.version = fred::types::RespVersion::RESP3;
    let mut builder = fred::types::Builder::from_config(config);
    builder.with_connection_config(|config| config.tcp.nodelay = Some(true));
    let client = builder.build().map_err(io::Error::other)?;
    client.init().await.map_err(io::Error::other)?;
    Ok(client)
}

impl Connection for hitless_tokio::Client {
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

impl Connection for redis::aio::MultiplexedConnection {
    async fn get(&mut self, key: &str) -> io::Result<usize> {
        let value: Vec<u8> = redis::cmd("GET").arg(key).query_async(self).await.map_err(io::Error::other)?;
        Ok(value.len())
    }

    async fn set(&mut self, key: &str, value: &[u8]) -> io::Result<()> {
        redis::cmd("SET").arg(key).arg(value).query_async(self).await.map_err(io::Error::other)
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
pub struct Typed<C>(pub C);

impl<C: redis::AsyncCommands + Clone + Send + Sync + 'static> Connection for Typed<C> {
    async fn get(&mut self, key: &str) -> io::Result<usize> {
        let value: Vec<u8> = redis::AsyncCommands::get(&mut self.0, key).await.map_err(io::Error::other)?;
        Ok(value.len())
    }

    async fn set(&mut self, key: &str, value: &[u8]) -> io::Result<()> {
        redis::AsyncCommands::set(&mut self.0, key, value).await.map_err(io::Error::other)
    }
}
