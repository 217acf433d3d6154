//! Resolving and connecting. Each dial has its own task, so that neither another dial nor a reply waits for it.

use std::future::Future;
use std::io;
use std::sync::Arc;

use super::guard::{TaskGuard, Unfinished};
use super::io_task;
use super::shared::Shared;
use super::state::{ConnTask, DialOrder, DialStep};
use super::traits::{Connector, Resolver, Runtime, Stream};
use crate::endpoint::{Peer, Target};
use crate::error::TlsProgress;

/// What opens the streams of a client: a network as it is, or TLS over one.
pub(super) trait Dialer: Resolver {
    /// What it opens.
    type Stream: Stream;

    /// [Connects](Connector::connect) to `target`, and reports how far TLS has come, if there is any.
    fn dial(
        &self,
        target: Target,
        report: impl Fn(TlsProgress) + Send + Sync,
    ) -> impl Future<Output = io::Result<(Self::Stream, Peer)>> + Send;
}

impl<N: Resolver + Connector> Dialer for N {
    type Stream = <N as Connector>::Stream;

    fn dial(
        &self,
        target: Target,
        _: impl Fn(TlsProgress) + Send + Sync,
    ) -> impl Future<Output = io::Result<(Self::Stream, Peer)>> + Send {
        self.connect(target)
    }
}

/// Starts the task that carries out `order`.
pub(super) fn spawn<R: Runtime, N: Dialer>(shared: &Arc<Shared<R>>, network: &Arc<N>, order: DialOrder) {
    let guard = TaskGuard::new(shared, &order.task.signals, Unfinished::Dial(order.task.clone()));
    let network = Arc::clone(network);
    shared.runtime.spawn(async move {
        match order.step {
            DialStep::Resolve(host) => resolve(guard, &*network, order.task, &host).await,
            DialStep::Connect(target) => connect(guard, network, order.task, target).await,
        }
    });
}

async fn resolve<R: Runtime>(mut guard: TaskGuard<R>, resolver: &impl Resolver, task: ConnTask, host: &str) {
    let result = task.signals.unless_closed(resolver.resolve(host)).await;
    guard.set(Unfinished::Nothing);
    if let Some(result) = result {
        guard.shared().handle_resolved(&task, result);
    }
}

/// Connects, and then serves the connection.
async fn connect<R: Runtime, N: Dialer>(
    mut guard: TaskGuard<R>,
    dialer: Arc<N>,
    task: ConnTask,
    target: Target,
) {
    let shared = Arc::clone(guard.shared());
    // In a box, because what serves the connection later would keep room for it.
    let dialled = Box::pin(dialer.dial(target, |progress| shared.handle_encrypting(&task, progress)));
    let result = task.signals.unless_closed(dialled).await;
    guard.set(Unfinished::Nothing);
    // The connection does not need the network any more.
    drop((shared, dialer));
    match result {
        None => {}
        Some(Err(error)) => guard.shared().handle_connect_failed(&task, &error),
        Some(Ok((stream, peer))) => {
            guard.set(Unfinished::Driver);
            guard.shared().handle_connected(&task, peer);
            io_task::run(guard, stream, task).await;
        }
    }
}
