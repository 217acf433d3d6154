//! How the service is connected by redis-rs.

use std::time::Duration;

use redis::{AsyncConnectionConfig, RedisResult};

pub(crate) use redis::aio::MultiplexedConnection as Connection;

pub(crate) async fn connect(url: &str) -> RedisResult<Connection> {
    let config = AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_secs(10)));
    redis::Client::open(url)?.get_multiplexed_async_connection_with_config(&config).await
}
