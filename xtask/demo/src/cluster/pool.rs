//! The cluster client under test, whatever runtime it lives on.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hitless_core::driver::{ClusterBuilder, ClusterClient, Connector, Error, Resolver, Runtime};

use super::load::{Load, Meters, Tags};
use crate::pool::{COMMAND_TIMEOUT, Executor};

const GRACE: Duration = Duration::from_secs(1);

/// A cluster client and the runtime that it lives on.
pub(crate) trait ClusterPool {
    /// Puts the load on the client.
    fn start_load(&self, tags: &Tags, meters: &Arc<Meters>) -> Load;

    /// What the client has seen so far, in words.
    fn figures(&self) -> String;

    /// Closes the client.
    fn close(&self);
}

pub(crate) struct OpenCluster<E, A: Runtime> {
    executor: E,
    adapter: A,
    client: ClusterClient<A>,
}

impl<E: Executor, A: Runtime + Resolver + Connector> OpenCluster<E, A> {
    /// Opens a client that knows one node.
    ///
    /// # Errors
    /// It cannot be opened.
    pub(crate) fn new(executor: E, adapter: A, seed: SocketAddr) -> Result<Self, Error> {
        let urls = [format!("redis://{seed}")];
        let builder = ClusterBuilder::new(adapter.clone(), adapter.clone(), urls)?;
        let client = executor.block_on(builder.command_timeout(COMMAND_TIMEOUT).connect())?;
        Ok(Self { executor, adapter, client })
    }
}

impl<E: Executor, A: Runtime> ClusterPool for OpenCluster<E, A> {
    fn start_load(&self, tags: &Tags, meters: &Arc<Meters>) -> Load {
        self.executor.block_on(async { Load::start(&self.adapter, &self.client, tags, meters) })
    }

    fn figures(&self) -> String {
        let stats = self.client.stats();
        format!(
            "{} MOVED, {} ASK, {} waits, {} topology reads so far",
            stats.moved, stats.ask, stats.waited, stats.topology_reads
        )
    }

    fn close(&self) {
        self.executor.block_on(self.client.shutdown(GRACE));
    }
}
