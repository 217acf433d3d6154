//! What applications call at a cluster client, with real processes, whose program `HITLESS_REDIS_SERVER` names.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cluster_calls;

use std::future::Future;

/// The adapter under test.
use hitless_tokio as hitless;

/// Runs one test, which fails when it is not over by then: a server that is never asked again says nothing.
fn block_on<F: Future>(test: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.unwrap().block_on(async { tokio::time::timeout(cluster_calls::LIMIT, test).await.unwrap() })
}

/// Begins a task. What comes back is its result, or its panic.
fn spawn<T: Send + 'static>(task: impl Future<Output = T> + Send + 'static) -> impl Future<Output = T> {
    let task = tokio::spawn(task);
    async { task.await.unwrap() }
}

/// Runs what blocks where it holds nobody up.
fn unblock<T: Send + 'static>(task: impl FnOnce() -> T + Send + 'static) -> impl Future<Output = T> {
    let task = tokio::task::spawn_blocking(task);
    async { task.await.unwrap() }
}
