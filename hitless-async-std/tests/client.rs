//! The adapter over real sockets: the same tests as hitless-tokio's.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../hitless-tokio/tests/adapter/mod.rs"]
mod adapter;

use std::future::Future;

/// The adapter under test.
use hitless_async_std as hitless;

fn block_on<F: Future>(future: F) -> F::Output {
    async_std::task::block_on(future)
}

fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    async_std::task::spawn(task);
}
