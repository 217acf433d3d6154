//! Each command on a connection that nobody else has meanwhile: lent, used once, and given back.

use std::io;
use std::ops::DerefMut;

use hitless_tokio::{Client, cmd};
use redis::aio::MultiplexedConnection;

use super::{Address, Connection, redis_info};

/// How many connections each pool has.
const SIZE: u32 = 64;

/// Ours.
#[derive(Clone)]
pub(super) struct Leases(Client);

pub(super) async fn hitless(address: &Address) -> io::Result<Leases> {
    let builder = Client::builder(&address.url()).map_err(io::Error::other)?;
    Ok(Leases(builder.max_dedicated(SIZE).connect().await.map_err(io::Error::other)?))
}

impl Connection for Leases {
    async fn get(&mut self, key: &str) -> io::Result<usize> {
        let lease = self.0.lease().await.map_err(io::Error::other)?;
        let value = lease.call(cmd("GET").arg(key)).await.map_err(io::Error::other)?;
        Ok(value.as_bytes().map_or(0, <[u8]>::len))
    }

    async fn set(&mut self, key: &str, value: &[u8]) -> io::Result<()> {
        let lease = self.0.lease().await.map_err(io::Error::other)?;
        lease.call(cmd("SET").arg(key).arg(value)).await.map_err(io::Error::other)?;
        Ok(())
    }
}

/// A pool of connections of the redis crate. Both ask a connection whether it is alive before they lend it, which is a round trip, unless they are told not to.
#[derive(Clone)]
pub(super) struct Pooled<P>(P);

/// What lends connections of the redis crate.
pub(super) trait Lender: Clone + Send + Sync + 'static {
    fn lend(
        &self,
    ) -> impl Future<Output = io::Result<impl DerefMut<Target = MultiplexedConnection> + Send>> + Send;
}

pub(super) fn deadpool(address: &Address) -> io::Result<Pooled<deadpool_redis::Pool>> {
    let manager = deadpool_redis::Manager::new(redis_info(address)?).map_err(io::Error::other)?;
    let pool = deadpool_redis::Pool::builder(manager).max_size(SIZE as usize);
    Ok(Pooled(pool.build().map_err(io::Error::other)?))
}

impl Lender for deadpool_redis::Pool {
    async fn lend(&self) -> io::Result<impl DerefMut<Target = MultiplexedConnection> + Send> {
        self.get().await.map_err(io::Error::other)
    }
}

pub(super) async fn bb8(
    address: &Address,
    is_checked: bool,
) -> io::Result<Pooled<bb8::Pool<bb8_redis::RedisConnectionManager>>> {
    let manager = bb8_redis::RedisConnectionManager::new(redis_info(address)?).map_err(io::Error::other)?;
    let pool = bb8::Pool::builder().max_size(SIZE).test_on_check_out(is_checked).build(manager).await;
    Ok(Pooled(pool.map_err(io::Error::other)?))
}

impl Lender for bb8::Pool<bb8_redis::RedisConnectionManager> {
    async fn lend(&self) -> io::Result<impl DerefMut<Target = MultiplexedConnection> + Send> {
        self.get_owned().await.map_err(io::Error::other)
    }
}

impl<P: Lender> Connection for Pooled<P> {
    async fn get(&mut self, key: &str) -> io::Result<usize> {
        let mut connection = self.0.lend().await?;
        let got = redis::cmd("GET").arg(key).query_async(&mut *connection).await;
        let value: Vec<u8> = got.map_err(io::Error::other)?;
        Ok(value.len())
    }

    async fn set(&mut self, key: &str, value: &[u8]) -> io::Result<()> {
        let mut connection = self.0.lend().await?;
        redis::cmd("SET").arg(key).arg(value).query_async(&mut *connection).await.map_err(io::Error::other)
    }
}
