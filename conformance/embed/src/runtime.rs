//! What the pool takes from tokio: time, tasks and names.

use std::future::pending;
use std::net::SocketAddr;
use std::time::Instant;

use redis::io::AsyncDNSResolver;
use redis::{RedisError, RedisFuture};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

/// The one place where time comes from.
#[expect(clippy::disallowed_methods, reason = "the coordinator takes time as a parameter, from here")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Until that instant; for ever if there is none.
pub(crate) async fn until(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant.into()).await,
        None => pending().await,
    }
}

/// A task that ends with its owner.
pub(crate) struct Task(JoinHandle<()>);

impl Task {
    pub(crate) fn spawn(runtime: &Handle, task: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(runtime.spawn(task))
    }

    /// Waits until it ends by itself.
    pub(crate) async fn ended(mut self) {
        // A panic of a task has been printed.
        let _ = (&mut self.0).await;
    }

    /// Ends it, and waits until all that it held is dropped.
    pub(crate) async fn end(self) {
        self.0.abort();
        self.ended().await;
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Names as the system resolves them.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemNames;

impl AsyncDNSResolver for SystemNames {
    fn resolve<'a, 'b: 'a>(
        &'a self,
        host: &'b str,
        port: u16,
    ) -> RedisFuture<'a, Box<dyn Iterator<Item = SocketAddr> + Send + 'a>> {
        Box::pin(async move {
            let addresses = tokio::net::lookup_host((host, port)).await.map_err(RedisError::from)?;
            let addresses: Vec<SocketAddr> = addresses.collect();
            Ok(Box::new(addresses.into_iter()) as Box<dyn Iterator<Item = SocketAddr> + Send + 'a>)
        })
    }
}
