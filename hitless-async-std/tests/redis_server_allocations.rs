//! Allocations per command, with a real `redis-server`, which `HITLESS_REDIS_SERVER` names.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../hitless-tokio/tests/counted/mod.rs"]
mod counted;

use std::future::Future;

/// The adapter under test.
use hitless_async_std as hitless;

fn block_on<F: Future>(future: F) -> F::Output {
    async_std::task::block_on(future)
}
