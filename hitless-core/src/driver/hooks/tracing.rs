//! Events as events of the `tracing` crate: target `hitless`, the stable name in the field `event`.

use std::fmt;
use std::time::Instant;

use tracing::event;

use crate::cluster::ClusterEvent;
use crate::driver::observer::Missed;
use crate::event::{Event, Level};

/// Shows events of the level `limit` and more important ones.
pub(super) fn show(limit: Level, now: Instant, event: &Result<Event, Missed>) {
    match event {
        Ok(event) if event.level() <= limit => emit(event.level(), event.name(), event.line(now)),
        Ok(_) => {}
        Err(Missed(count)) => {
            event!(target: "hitless", tracing::Level::WARN, event = "log.missed", "{count} events were missed");
        }
    }
}

/// [`show`] for an event of a cluster.
pub(in crate::driver) fn show_cluster(limit: Level, event: &ClusterEvent) {
    if event.level() <= limit {
        emit(event.level(), event.name(), event);
    }
}

fn emit(level: Level, name: &'static str, line: impl fmt::Display) {
    // The level is part of a call site, so there is one for each.
    match level {
        Level::Error => event!(target: "hitless", tracing::Level::ERROR, event = name, "{line}"),
        Level::Warn => event!(target: "hitless", tracing::Level::WARN, event = name, "{line}"),
        Level::Info => event!(target: "hitless", tracing::Level::INFO, event = name, "{line}"),
        Level::Debug => event!(target: "hitless", tracing::Level::DEBUG, event = name, "{line}"),
    }
}
