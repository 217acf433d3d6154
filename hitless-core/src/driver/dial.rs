//! Resolving and connecting. Each dial has its own task, so that neither another dial nor a reply waits for it.

use std::sync::Arc;

use super::guard::{TaskGuard, Unfinished};
use super::io_task;
use super::shared::Shared;
use super::state::{ConnTask, DialOrder, DialStep};
use super::traits::{Connector, Resolver, Runtime};
use crate::endpoint::Target;

/// Starts the task that carries out `order`.
pub(super) fn spawn<R: Runtime, N: Resolver + Connector>(
    shared: &Arc<Shared<R>>,
    network: &Arc<N>,
    order: DialOrder,
) {
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
async fn connect<R: Runtime, N: Connector>(
    mut guard: TaskGuard<R>,
    connector: Arc<N>,
    task: ConnTask,
    target: Target,
) {
    let result = task.signals.unless_closed(connector.connect(target)).await;
    guard.set(Unfinished::Nothing);
    // The connection does not need the connector any more.
    drop(connector);
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
