//! How the service is connected by hitless.

use redis::RedisResult;

pub(crate) use hitless_tokio::Client as Connection;

pub(crate) async fn connect(url: &str) -> RedisResult<Connection> {
    Ok(Connection::connect(url).await?)
}
