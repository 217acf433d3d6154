//! Allocations per command, with a real `redis-server`, which `HITLESS_REDIS_SERVER` names.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod counted;

use std::future::Future;

/// The adapter under test.
use hitless_tokio as hitless;

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Runtime::new().unwrap().block_on(future)
}
