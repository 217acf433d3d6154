//! What an operator sees of a move: each notification, a line for each event, and the figures.
//!
//! It moves between two nodes of its own:
//!
//! ```console
//! $ cargo run --example hooks_and_metrics -p hitless-tokio
//! ```

use std::time::Duration;

use hitless_conformance::net::tcp::TcpServer;
use hitless_conformance::server::{EndpointSpec, Moving, Server, ServerConfig, Target};
use hitless_tokio::notification::{Notification, NotificationKind};
use hitless_tokio::observe::Value;
use hitless_tokio::{
    Client, Event, HookContext, HookResult, Level, LoggingHook, MetricsHook, NotificationHook, Verdict, cmd,
};

/// Tells who is on call, and stops what it should not follow.
struct Pager;

impl NotificationHook for Pager {
    async fn pre_hook(&self, _: &HookContext, notification: &Notification) -> Verdict {
        match notification.kind() {
            NotificationKind::FailingOver => Verdict::Veto,
            _ => Verdict::Continue,
        }
    }

    async fn post_hook(&self, _: &HookContext, notification: &Notification, result: &HookResult) {
        println!("pager: {} took {:?}", notification.kind().as_str(), result.took);
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let metrics = run().await?;
    for sample in metrics.snapshot().samples() {
        // The names and units are those of OpenTelemetry: the documentation of `MetricsHook` shows an exporter.
        if !matches!(sample.value, Value::Counter(0) | Value::Gauge(0)) {
            println!("{sample}");
        }
    }
    Ok(())
}

/// Moves a pool of three from one node to another.
pub(crate) async fn run() -> Result<MetricsHook, Box<dyn std::error::Error>> {
    let mut server = Server::new(ServerConfig::default());
    let [old, new] =
        [EndpointSpec::loopback(), EndpointSpec::loopback()].map(|spec| server.add_endpoint(spec));
    let server = TcpServer::start(server)?;

    let metrics = MetricsHook::new();
    // Hooks that are given to the builder see what the first connection is told.
    let builder = Client::builder(&format!("redis://{}", server.address(old)))?
        .pool_size(3)
        .hook(Pager)
        .hook(LoggingHook::new(|line| println!("{line}")).level(Level::Info))
        .hook(metrics.clone());
    let mut events = builder.events();
    let client = builder.connect().await?;

    let moving = Moving::new(Target::Endpoint(new), Duration::from_secs(5));
    server.with(|server, now| server.moving(now, old, moving));
    while !matches!(events.next().await.ok_or("the client has ended")??, Event::MoveFinished { .. }) {
        client.call(cmd("INCR").arg("operations")).await?;
    }
    Ok(metrics)
}
