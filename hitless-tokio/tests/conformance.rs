//! The conformance suite on tokio.

use std::future::Future;

use hitless_conformance::{contract, driver_world};
use tokio::runtime::Runtime;

struct Tokio(Runtime);

impl Default for Tokio {
    fn default() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        Self(runtime.expect("a runtime"))
    }
}

impl driver_world::Adapter for Tokio {
    type Runtime = hitless_tokio::Adapter;

    fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.0.block_on(future)
    }

    fn live_tasks(&self) -> Option<usize> {
        Some(self.0.metrics().num_alive_tasks())
    }
}

hitless_conformance::suite!(Tokio);

/// INV-12
#[test]
fn timers_ring() {
    contract::timers_ring::<Tokio>();
}

#[test]
fn what_is_flushed_arrives() {
    contract::what_is_flushed_arrives::<Tokio>();
}
