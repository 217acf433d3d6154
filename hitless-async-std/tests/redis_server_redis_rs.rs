//! The client as a connection of the `redis` crate, with a plain `redis-server`, which `HITLESS_REDIS_SERVER` names.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../hitless-tokio/tests/redis_rs/mod.rs"]
mod redis_rs;

use std::future::Future;

/// The adapter under test.
use hitless_async_std as hitless;

fn block_on<F: Future>(future: F) -> F::Output {
    async_std::task::block_on(future)
}
