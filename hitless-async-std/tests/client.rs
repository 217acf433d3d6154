//! The adapter over real sockets: the same tests as hitless-tokio's.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../hitless-tokio/tests/adapter/mod.rs"]
mod adapter;
#[allow(dead_code, reason = "nobody calls its `main`")]
#[path = "../examples/quick_start.rs"]
mod quick_start;

use std::future::Future;

/// The adapter under test.
use hitless_async_std as hitless;

fn block_on<F: Future>(test: F) -> F::Output {
    async_std::task::block_on(async { async_std::future::timeout(adapter::LIMIT, test).await.unwrap() })
}

fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    async_std::task::spawn(task);
}

/// RULE-243
#[test]
fn the_quick_start_runs() {
    let server = adapter::serve();
    block_on(quick_start::run(&adapter::url(&server))).unwrap();
}
