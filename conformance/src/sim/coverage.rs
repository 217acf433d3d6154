//! How often everything happened: what a range of seeds is judged by.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Instant;

use hitless_core::cluster::ClusterEvent;
use hitless_core::error::RequestError;
use hitless_core::event::Event;
use hitless_core::ids::ConnId;

use super::faults::FaultKind;
use super::trace::{RequestKind, What};

/// Counters by group and name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coverage(BTreeMap<(Group, String), u64>);

/// What a counter counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Group {
    /// Decisions of the machine, told by what the driver does: it obeys each by one call or answer.
    Action,
    /// Variants of [`Event`].
    Event,
    /// Kinds of fault that strike one server.
    Fault,
    /// Kinds of fault that strike a cluster. Too many for each to be frequent in a range that is short enough to be run often.
    ClusterFault,
    /// Steps of maintenance.
    Maintenance,
    /// From one phase of a connection to the next.
    Connection,
    /// From one state of a handoff to the next.
    Handoff,
    /// Why a notification changed nothing.
    Ignored,
    /// How requests end.
    Request,
    /// How those end who want a lease or a transaction.
    Lease,
    /// What subscribers are told.
    Subscription,
    /// What happens to commands that wait for elements.
    Consumer,
    /// What becomes of the slots and nodes of a cluster.
    Reshape,
    /// Variants of [`ClusterEvent`].
    ClusterEvent,
    /// What nodes say that do not run a request.
    Redirect,
}

/// What a range of seeds must reach.
const EXPECTED: &[(Group, &[&str])] = &[
    (
        Group::Reshape,
        &[
            "Announced",
            "Migrated",
            "MigratedTwice",
            "Repeated",
            "Assigned",
            "Opened",
            "Carried",
            "Closed",
            "Joined",
            "Left",
            "Retired",
            "FailingOver",
            "Promoted",
            "FailedOver",
            "Died",
            "TookOver",
            "Revived",
            "Replaced",
            "Hung",
            "Down",
            "Up",
        ],
    ),
    (
        Group::ClusterEvent,
        &[
            "NodeAdded",
            "NodeRemoved",
            "NodeMoved",
            "TopologyRead",
            "SlotsMoved: Redirect",
            "SlotsMoved: Promotion",
            "SlotsMoved: Announced",
            "RefreshFailed",
        ],
    ),
    (Group::Redirect, &["MOVED", "ASK", "waited"]),
    (Group::Lease, &["done", "not done"]),
    (Group::Subscription, &["subscribed", "message", "gap"]),
    (
        Group::Consumer,
        &[
            "element",
            "nil",
            "refused",
            "not sent",
            "may have taken",
            "dropped while it waits",
            "orphan",
            "waits at a move",
            "sent again",
            "served beside UNBLOCK",
            "not called back",
            "held up",
            "called back while held up",
            "taken behind a pause",
        ],
    ),
    (
        Group::Action,
        &["Resolve", "Connect", "Flush", "Close", "Complete", "Started", "Push", "Emit", "Terminated"],
    ),
    (
        Group::Event,
        &[
            "ConnectionReady",
            "ConnectionClosed",
            "ConnectFailed",
            "OptInRefused",
            "NotificationReceived",
            "NotificationMalformed",
            "NotificationIgnored",
            "NotificationVetoed",
            "NotificationReplaced",
            "NotificationUnreviewed",
            "TargetVetoed",
            "TargetRewritten",
            "AddressWithdrawn",
            "OptedIn",
            "WindowOpened",
            "WindowClosed",
            "MoveStarted",
            "MoveSuperseded",
            "MoveFinished",
            "HandoffDialing",
            "HandoffFailed",
            "CutOver",
            "Drained",
            "DrainDeadline",
            "RequestTimedOut",
            "Terminated",
        ],
    ),
    (
        Group::Connection,
        &[
            "resolving -> dialing",
            "dialing -> negotiating",
            "dialing -> refused",
            "dialing -> given up",
            "negotiating -> serving",
            "serving -> draining",
            "serving -> closed by the server",
            "serving -> broken",
            "serving -> protocol error",
            "serving -> says nothing",
            "serving -> silent",
            "serving -> shut down",
            "draining -> drained",
            "draining -> deadline",
            "draining -> lost",
        ],
    ),
    (
        Group::Handoff,
        &[
            "queued -> dialing",
            "waiting -> dialing",
            "dialing -> cut over",
            "dialing -> waiting",
            "dialing -> stay put",
            "dialing -> queued at once",
            "superseded",
            "renewed",
        ],
    ),
    (Group::Ignored, &["Duplicate", "Stale", "NothingOpen", "AlreadyThere", "ConnectionEnding"]),
    (
        Group::Request,
        &[
            "answered",
            "cancelled",
            "refused",
            "pairs of one slot",
            "keys of several slots",
            "timed out",
            "no connection",
            "connection lost",
            "move deadline",
            "not sent",
            "may have run",
        ],
    ),
    (
        Group::Maintenance,
        &[
            "Moving",
            "Repeated",
            "Stale",
            "Migrating",
            "Migrated",
            "FailingOver",
            "FailedOver",
            "SlotsMigrating",
            "SlotsMigrated",
            "Names",
        ],
    ),
];

impl Coverage {
    /// Nothing yet, for everything that is expected.
    #[must_use]
    pub fn new() -> Self {
        let mut counters = BTreeMap::new();
        for (group, names) in EXPECTED {
            counters.extend(names.iter().map(|name| ((*group, (*name).to_owned()), 0)));
        }
        let drawn = FaultKind::ALL.iter();
        counters.extend(drawn.map(|kind| ((Group::Fault, format!("{kind:?}")), 0)));
        Self(counters)
    }

    /// What happened in a run.
    pub(super) fn of(entries: &[(Instant, What)]) -> Self {
        let mut coverage = Self::new();
        let mut phases = Phases::default();
        let is_cluster = entries.iter().any(|(_, what)| matches!(what, What::Places(_)));
        let struck = if is_cluster { Group::ClusterFault } else { Group::Fault };
        for (at, what) in entries {
            coverage.count_action(what);
            coverage.count_cluster(what);
            match what {
                What::Event(event) => {
                    coverage.count(Group::Event, &variant(event));
                    phases.on_event(*at, event, &mut coverage);
                }
                What::Fault(fault) => coverage.count(struck, &variant(&fault.kind)),
                What::Maintenance(step) => coverage.count(Group::Maintenance, &variant(step)),
                What::Replied { .. } => coverage.count(Group::Request, "answered"),
                What::Cancelled { .. } => coverage.count(Group::Request, "cancelled"),
                What::Refused { .. } => coverage.count(Group::Request, "refused"),
                What::Waited(what) => coverage.count(Group::Consumer, what),
                What::Heard(what) => coverage.count(Group::Subscription, what),
                What::Held { ran, .. } => {
                    coverage.count(Group::Lease, if *ran { "done" } else { "not done" })
                }
                What::Sent { kind: RequestKind::Mset | RequestKind::Mget, .. } => {
                    coverage.count(Group::Request, "pairs of one slot")
                }
                What::Sent { kind: RequestKind::SplitMset | RequestKind::SplitMget, .. } => {
                    coverage.count(Group::Request, "keys of several slots")
                }
                What::Silenced(_) => coverage.count(Group::Connection, "serving -> says nothing"),
                What::Failed { error, .. } => coverage.count_error(error),
                _ => {}
            }
            phases.on_socket(what, &mut coverage);
        }
        coverage
    }

    /// Adds the counters of another run.
    pub fn add(&mut self, other: &Self) {
        for (key, count) in &other.0 {
            *self.0.entry(key.clone()).or_default() += count;
        }
    }

    /// What must happen, but happened less often than `least`, and how often.
    #[must_use]
    pub fn rarer_than(&self, least: u64) -> Vec<(String, u64)> {
        let expected = Self::new().0;
        let rare = self.0.iter().filter(|(key, count)| expected.contains_key(key) && **count < least);
        rare.map(|((group, name), count)| (format!("{group:?} {name}"), *count)).collect()
    }

    fn count(&mut self, group: Group, name: &str) {
        self.count_several(group, name, 1);
    }

    fn count_several(&mut self, group: Group, name: &str, count: u64) {
        *self.0.entry((group, name.to_owned())).or_default() += count;
    }

    fn count_cluster(&mut self, what: &What) {
        match what {
            What::Reshaped(reshape, _) => self.count(Group::Reshape, &variant(reshape)),
            What::ClusterEvent(event @ ClusterEvent::SlotsMoved { cause, .. }) => {
                self.count(Group::ClusterEvent, &format!("{}: {}", variant(event), variant(cause)));
            }
            What::ClusterEvent(event) => self.count(Group::ClusterEvent, &variant(event)),
            What::Figures(stats) => {
                for (name, count) in [("MOVED", stats.moved), ("ASK", stats.ask), ("waited", stats.waited)] {
                    self.count_several(Group::Redirect, name, count);
                }
            }
            _ => {}
        }
    }

    fn count_action(&mut self, what: &What) {
        let action = match what {
            What::Lookup(_) => "Resolve",
            What::Dialled(..) => "Connect",
            What::Wrote(..) => "Flush",
            What::HungUp(_) => "Close",
            What::Replied { .. } | What::Failed { .. } => "Complete",
            What::Started => "Started",
            What::Push => "Push",
            What::Event(_) => "Emit",
            What::Gone => "Terminated",
            _ => return,
        };
        self.count(Group::Action, action);
    }

    fn count_error(&mut self, error: &RequestError) {
        let how = match error {
            RequestError::TimedOut { .. } => "timed out",
            RequestError::NotLent { .. } => "not lent",
            RequestError::NoConnection { .. } => "no connection",
            RequestError::ConnectionLost { .. } => "connection lost",
            RequestError::MoveDeadline { .. } => "move deadline",
            _ => "other",
        };
        self.count(Group::Request, how);
        let delivery = match error.delivery() {
            hitless_core::error::Delivery::NotSent => "not sent",
            hitless_core::error::Delivery::Unknown => "may have run",
        };
        self.count(Group::Request, delivery);
    }
}

impl Default for Coverage {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut last = None;
        for ((group, name), count) in &self.0 {
            if last.replace(group) != Some(group) {
                writeln!(f, "{group:?}")?;
            }
            writeln!(f, "    {name:<34}{count:>12}")?;
        }
        Ok(())
    }
}

/// Where connections and handoffs are, as far as their events tell.
#[derive(Default)]
struct Phases {
    conns: BTreeMap<ConnId, Phase>,
    /// Sockets whose dial is not answered.
    dialing: Vec<super::network::SocketId>,
    lookups: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Serving,
    Draining,
}

impl Phases {
    fn on_event(&mut self, at: Instant, event: &Event, coverage: &mut Coverage) {
        match event {
            Event::ConnectionReady { conn, .. } => {
                self.conns.insert(*conn, Phase::Serving);
                coverage.count(Group::Connection, "negotiating -> serving");
            }
            Event::ConnectionClosed { conn, cause, .. } => {
                if let Some(phase) = self.conns.remove(conn) {
                    coverage.count(Group::Connection, closing(phase, *cause));
                }
            }
            Event::CutOver { from, .. } => {
                coverage.count(Group::Handoff, "dialing -> cut over");
                if let Some(phase) = self.conns.get_mut(from) {
                    *phase = Phase::Draining;
                    coverage.count(Group::Connection, "serving -> draining");
                }
            }
            Event::Drained { conn, .. } => {
                self.conns.remove(conn);
                coverage.count(Group::Connection, "draining -> drained");
            }
            Event::DrainDeadline { conn } => {
                self.conns.remove(conn);
                coverage.count(Group::Connection, "draining -> deadline");
            }
            Event::HandoffDialing { attempt, .. } => {
                let from = if *attempt > 1 { "waiting -> dialing" } else { "queued -> dialing" };
                coverage.count(Group::Handoff, from);
            }
            Event::HandoffFailed { retry_at, .. } => {
                let to = match retry_at {
                    Some(retry_at) if *retry_at == at => "dialing -> queued at once",
                    Some(_) => "dialing -> waiting",
                    None => "dialing -> stay put",
                };
                coverage.count(Group::Handoff, to);
            }
            Event::MoveSuperseded { .. } => coverage.count(Group::Handoff, "superseded"),
            Event::MoveStarted { source, target: Some(target), .. }
                if target.peer().as_ref() == Some(source) =>
            {
                coverage.count(Group::Handoff, "renewed");
            }
            Event::NotificationIgnored { reason, .. } => coverage.count(Group::Ignored, &variant(reason)),
            _ => {}
        }
    }

    fn on_socket(&mut self, what: &What, coverage: &mut Coverage) {
        match what {
            What::Lookup(_) => self.lookups += 1,
            What::Dialled(socket, _) => {
                self.dialing.push(*socket);
                if self.lookups > 0 {
                    self.lookups -= 1;
                    coverage.count(Group::Connection, "resolving -> dialing");
                }
            }
            What::Answered(socket, error) => {
                self.dialing.retain(|dialing| dialing != socket);
                let to = if error.is_some() { "dialing -> refused" } else { "dialing -> negotiating" };
                coverage.count(Group::Connection, to);
            }
            What::HungUp(socket) if self.dialing.contains(socket) => {
                self.dialing.retain(|dialing| dialing != socket);
                coverage.count(Group::Connection, "dialing -> given up");
            }
            _ => {}
        }
    }
}

fn closing(phase: Phase, cause: hitless_core::error::CloseCause) -> &'static str {
    use hitless_core::error::CloseCause;
    match (phase, cause) {
        (Phase::Draining, _) => "draining -> lost",
        (Phase::Serving, CloseCause::ByServer) => "serving -> closed by the server",
        (Phase::Serving, CloseCause::Io(_)) => "serving -> broken",
        (Phase::Serving, CloseCause::Protocol(_)) => "serving -> protocol error",
        (Phase::Serving, CloseCause::Silent) => "serving -> silent",
        (Phase::Serving, _) => "serving -> shut down",
    }
}

/// The name of a variant.
fn variant(value: &impl fmt::Debug) -> String {
    let text = format!("{value:?}");
    let end = text.find(|c: char| !c.is_alphanumeric()).unwrap_or(text.len());
    text[..end].to_owned()
}
