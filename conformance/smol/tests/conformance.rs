//! The conformance suite on smol: what an adapter of one's own is tested by.

use std::future::Future;

use hitless_conformance::{contract, driver_world};

#[derive(Default)]
struct Smol;

impl driver_world::Adapter for Smol {
    type Runtime = hitless_smol::Adapter;

    fn block_on<F: Future>(&self, future: F) -> F::Output {
        smol::block_on(future)
    }

    /// smol does not count the tasks of its global executor.
    fn live_tasks(&self) -> Option<usize> {
        None
    }
}

hitless_conformance::suite!(Smol);

/// INV-12
#[test]
fn timers_ring() {
    contract::timers_ring::<Smol>();
}

#[test]
fn what_is_flushed_arrives() {
    contract::what_is_flushed_arrives::<Smol>();
}
