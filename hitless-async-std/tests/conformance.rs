//! The conformance suite on async-std.

use std::future::Future;

use hitless_conformance::{contract, driver_world};

#[derive(Default)]
struct AsyncStd;

impl driver_world::Adapter for AsyncStd {
    type Runtime = hitless_async_std::Adapter;

    fn block_on<F: Future>(&self, future: F) -> F::Output {
        async_std::task::block_on(future)
    }

    /// async-std does not count its tasks.
    fn live_tasks(&self) -> Option<usize> {
        None
    }
}

hitless_conformance::suite!(AsyncStd);

/// INV-12
#[test]
fn timers_ring() {
    contract::timers_ring::<AsyncStd>();
}

#[test]
fn what_is_flushed_arrives() {
    contract::what_is_flushed_arrives::<AsyncStd>();
}
