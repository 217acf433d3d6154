//! The client under test, on the runtime that was asked for: the only place that names one.

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use hitless_core::config::maintenance;
use hitless_core::driver::{Client, Connector, Error, Resolver, Runtime};
use hitless_core::mode::Mode;

use crate::cluster::{ClusterPool, OpenCluster};
use crate::load::{LENT, Lasting, Load, Meters};
use crate::log::Log;
use crate::narrator::Narrator;
use crate::world::World;

/// Connections of the pool.
pub(crate) const CONNECTIONS: u32 = 10;
/// The longest that a command may take while the server announces nothing.
pub(crate) const COMMAND_TIMEOUT: Duration = Duration::from_secs(1);
/// Dials of one handoff after its first.
pub(crate) const HANDOFF_RETRIES: u32 = 3;

/// Short, so that no step is made easier by the one before it.
const RELAXED_AFTER_HANDOFF: Duration = Duration::from_secs(1);
/// Of these the demo reads a few at a time.
const EVENTS_KEPT: usize = 64 * 1024;
/// The subscriber is not to be too slow on a busy machine.
const MESSAGES_KEPT: usize = 64 * 1024;
const GRACE: Duration = Duration::from_secs(1);

/// What the client lives on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RuntimeName {
    /// hitless-tokio, on a runtime with as many threads as there are processors.
    Tokio,
    /// hitless-async-std.
    AsyncStd,
}

impl fmt::Display for RuntimeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tokio => "tokio",
            Self::AsyncStd => "async-std",
        })
    }
}

/// A pool of connections and the runtime that it lives on.
pub(crate) trait Pool {
    /// Puts the load on the pool.
    fn start_load(&self, meters: &Arc<Meters>, log: &Arc<Log>) -> Load;

    /// Transactions that have a connection.
    fn transactions(&self) -> usize;

    /// Closes the pool.
    fn close(self: Box<Self>);
}

/// Opens a pool to wherever the name leads. What happens to it is told by `narrator`.
///
/// # Errors
/// The pool cannot be opened: servers that announce nothing are refused.
pub(crate) fn open(
    on: RuntimeName,
    world: &World,
    narrator: Narrator,
) -> Result<Box<dyn Pool>, Box<dyn std::error::Error>> {
    Ok(match on {
        RuntimeName::Tokio => {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            Box::new(OpenPool::new(runtime, hitless_tokio::Adapter, world, narrator)?)
        }
        RuntimeName::AsyncStd => {
            Box::new(OpenPool::new(AsyncStd, hitless_async_std::Adapter, world, narrator)?)
        }
    })
}

/// Opens a cluster client that knows one node.
///
/// # Errors
/// It cannot be opened.
pub(crate) fn open_cluster(
    on: RuntimeName,
    seed: SocketAddr,
) -> Result<Box<dyn ClusterPool>, Box<dyn std::error::Error>> {
    Ok(match on {
        RuntimeName::Tokio => {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            Box::new(OpenCluster::new(runtime, hitless_tokio::Adapter, seed)?)
        }
        RuntimeName::AsyncStd => Box::new(OpenCluster::new(AsyncStd, hitless_async_std::Adapter, seed)?),
    })
}

/// What can wait for a future outside a task.
pub(crate) trait Executor {
    /// What `future` comes to.
    fn block_on<F: Future>(&self, future: F) -> F::Output;
}

impl Executor for tokio::runtime::Runtime {
    fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.block_on(future)
    }
}

/// The one executor of the process.
struct AsyncStd;

impl Executor for AsyncStd {
    fn block_on<F: Future>(&self, future: F) -> F::Output {
        async_std::task::block_on(future)
    }
}

struct OpenPool<E, A: Runtime> {
    executor: E,
    adapter: A,
    client: Client<A>,
    lasting: Lasting<A>,
}

impl<E: Executor, A: Runtime + Resolver + Connector> OpenPool<E, A> {
    fn new(executor: E, adapter: A, world: &World, narrator: Narrator) -> Result<Self, Error> {
        let (client, lasting) = executor.block_on(connect(adapter.clone(), world, narrator))?;
        Ok(Self { executor, adapter, client, lasting })
    }
}

impl<E: Executor, A: Runtime> Pool for OpenPool<E, A> {
    fn start_load(&self, meters: &Arc<Meters>, log: &Arc<Log>) -> Load {
        self.executor.block_on(async { Load::start(&self.adapter, &self.client, &self.lasting, meters, log) })
    }

    fn transactions(&self) -> usize {
        let stats = self.client.stats();
        // The others are lent to consumers.
        stats.leased.saturating_sub(stats.blocking)
    }

    fn close(self: Box<Self>) {
        self.executor.block_on(self.client.shutdown(GRACE));
    }
}

async fn connect<A: Runtime + Resolver + Connector>(
    adapter: A,
    world: &World,
    narrator: Narrator,
) -> Result<(Client<A>, Lasting<A>), Error> {
    let maintenance = maintenance::Config::builder()
        .mode(Mode::Enabled)
        .max_handoff_retries(HANDOFF_RETRIES)
        .post_handoff_relaxed_duration(RELAXED_AFTER_HANDOFF)
        .build()?;
    let builder = world
        .client(&adapter)?
        .pool_size(CONNECTIONS)
        .command_timeout(COMMAND_TIMEOUT)
        .event_capacity(EVENTS_KEPT)
        .subscription_capacity(MESSAGES_KEPT)
        .maintenance(maintenance);
    adapter.spawn(narrator.run(builder.events()));
    let client = builder.connect().await?;
    let lasting = Lasting::begin(&client).await?;
    // What transactions and consumers will need is there before the dials of a step are counted.
    let mut leases = Vec::new();
    for _ in 0..LENT {
        leases.push(client.lease().await?);
    }
    Ok((client, lasting))
}
