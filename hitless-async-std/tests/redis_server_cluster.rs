//! What applications call at a cluster client, with real processes, whose program `HITLESS_REDIS_SERVER` names.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../hitless-tokio/tests/cluster_calls/mod.rs"]
mod cluster_calls;

use std::future::Future;

/// The adapter under test.
use hitless_async_std as hitless;

/// Runs one test, which fails when it is not over by then: a server that is never asked again says nothing.
fn block_on<F: Future>(test: F) -> F::Output {
    async_std::task::block_on(async { async_std::future::timeout(cluster_calls::LIMIT, test).await.unwrap() })
}

/// Begins a task. What comes back is its result, or its panic.
fn spawn<T: Send + 'static>(task: impl Future<Output = T> + Send + 'static) -> impl Future<Output = T> {
    async_std::task::spawn(task)
}

/// Runs what blocks where it holds nobody up.
fn unblock<T: Send + 'static>(task: impl FnOnce() -> T + Send + 'static) -> impl Future<Output = T> {
    async_std::task::spawn_blocking(task)
}
