//! Resolving and connecting, each dial in a task of its own: none waits for another, and no reply waits for any.

use std::sync::Arc;

use super::guard::{TaskGuard, Unfinished};
use super::io_task;
use super::shared::Shared;
use super::state::{Job, Link, Order};
use super::traits::{Connector, Resolver, Runtime};
use crate::endpoint::Target;

/// Starts the task that carries out `order`.
pub(super) fn spawn<R: Runtime, N: Resolver + Connector>(
    shared: &Arc<Shared<R>>,
    network: &Arc<N>,
    order: Order,
) {
    let guard = TaskGuard::new(shared, &order.link.signals, Unfinished::Dial(order.link.clone()));
    let network = Arc::clone(network);
    shared.runtime.spawn(async move {
        match order.job {
            Job::Resolve(host) => resolve(guard, &*network, order.link, &host).await,
            Job::Connect(target) => connect(guard, network, order.link, target).await,
        }
    });
}

async fn resolve<R: Runtime>(mut guard: TaskGuard<R>, resolver: &impl Resolver, link: Link, host: &str) {
    let result = link.signals.unless_closed(resolver.resolve(host)).await;
    guard.set(Unfinished::Nothing);
    if let Some(result) = result {
        guard.shared().handle_resolved(&link, result);
    }
}

/// Connects, and goes on as the task of the connection.
async fn connect<R: Runtime, N: Connector>(
    mut guard: TaskGuard<R>,
    connector: Arc<N>,
    link: Link,
    target: Target,
) {
    let result = link.signals.unless_closed(connector.connect(target)).await;
    guard.set(Unfinished::Nothing);
    // A connection lives longer than the need for the connector.
    drop(connector);
    match result {
        None => {}
        Some(Err(error)) => guard.shared().handle_connect_failed(&link, error.kind()),
        Some(Ok((stream, peer))) => {
            guard.set(Unfinished::Driver);
            guard.shared().handle_connected(&link, peer);
            io_task::run(guard, stream, link).await;
        }
    }
}
