//! The client as a connection of the `redis` crate, with a plain `redis-server`, which `HITLESS_REDIS_SERVER` names.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod redis_rs;

use std::future::Future;

/// The adapter under test.
use hitless_tokio as hitless;

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}
