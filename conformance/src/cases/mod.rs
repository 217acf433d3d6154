//! The cases: what a client must do, whatever it runs on.
//!
//! Each is a function of a [`Host`](crate::world::Host). The comment above it says what must be observed and which rows
//! of INVARIANTS.md it proves; [`CASES`](crate::suite::CASES) reads it from there.

use hitless_core::event::{Event, Ignored};

use crate::testbed::Testbed;

pub mod attributes;
pub mod blocking;
pub mod caching;
pub mod chaos;
pub mod cluster_announced;
pub mod cluster_nodes;
pub mod cluster_redirects;
pub mod cluster_requests;
pub mod cluster_subscriptions;
pub mod cluster_topology;
pub mod credentials;
pub mod demotions;
pub mod dials;
pub mod failover;
pub mod handshake;
pub mod hooks;
pub mod leases;
pub mod links;
pub mod measured;
pub mod moving;
pub mod outages;
pub mod overlaps;
pub mod proxies;
pub mod refusals;
pub mod requests;
pub mod shutdown;
pub mod subscriptions;
pub mod targets;
pub mod tls;
pub mod windows;

/// The text of each file of cases.
pub(crate) mod source {
    #![allow(non_upper_case_globals, reason = "named as the modules are")]

    pub(crate) const attributes: &str = include_str!("attributes.rs");
    pub(crate) const blocking: &str = include_str!("blocking.rs");
    pub(crate) const caching: &str = include_str!("caching.rs");
    pub(crate) const chaos: &str = include_str!("chaos.rs");
    pub(crate) const cluster_announced: &str = include_str!("cluster_announced.rs");
    pub(crate) const cluster_nodes: &str = include_str!("cluster_nodes.rs");
    pub(crate) const cluster_redirects: &str = include_str!("cluster_redirects.rs");
    pub(crate) const cluster_requests: &str = include_str!("cluster_requests.rs");
    pub(crate) const cluster_subscriptions: &str = include_str!("cluster_subscriptions.rs");
    pub(crate) const cluster_topology: &str = include_str!("cluster_topology.rs");
    pub(crate) const credentials: &str = include_str!("credentials.rs");
    pub(crate) const demotions: &str = include_str!("demotions.rs");
    pub(crate) const dials: &str = include_str!("dials.rs");
    pub(crate) const failover: &str = include_str!("failover.rs");
    pub(crate) const handshake: &str = include_str!("handshake.rs");
    pub(crate) const hooks: &str = include_str!("hooks.rs");
    pub(crate) const leases: &str = include_str!("leases.rs");
    pub(crate) const links: &str = include_str!("links.rs");
    pub(crate) const measured: &str = include_str!("measured.rs");
    pub(crate) const moving: &str = include_str!("moving.rs");
    pub(crate) const outages: &str = include_str!("outages.rs");
    pub(crate) const overlaps: &str = include_str!("overlaps.rs");
    pub(crate) const proxies: &str = include_str!("proxies.rs");
    pub(crate) const refusals: &str = include_str!("refusals.rs");
    pub(crate) const requests: &str = include_str!("requests.rs");
    pub(crate) const shutdown: &str = include_str!("shutdown.rs");
    pub(crate) const subscriptions: &str = include_str!("subscriptions.rs");
    pub(crate) const targets: &str = include_str!("targets.rs");
    pub(crate) const tls: &str = include_str!("tls.rs");
    pub(crate) const windows: &str = include_str!("windows.rs");
}

/// Connections that were left where they are.
fn stayed(bed: &Testbed) -> u32 {
    let stayed = bed.events().map(|event| match event {
        Event::MoveFinished { stayed, .. } => *stayed,
        _ => 0,
    });
    stayed.sum()
}

/// How often a notification was ignored for this reason.
fn ignored(bed: &Testbed, why: Ignored) -> usize {
    bed.count(|event| matches!(event, Event::NotificationIgnored { reason, .. } if *reason == why))
}

/// Attempts of handoffs that failed.
fn failed_handoffs(bed: &Testbed) -> usize {
    bed.count(|event| matches!(event, Event::HandoffFailed { .. }))
}
