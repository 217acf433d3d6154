//! Whether a cluster client is open yet, and why not.

use std::time::Instant;

use super::super::error::Error;
use crate::cluster::{Table, TopologyError};
use crate::config::ConfigError;
use crate::endpoint::Endpoint;
use crate::error::ConnectError;
use crate::ids::{IdMap, NodeId};

/// After so many attempts in vain a seed that was ready has failed.
const START_ATTEMPTS: u32 = 4;

/// The opening of a cluster client: it is done when it is known who serves what.
pub(super) struct Start {
    began_at: Instant,
    until: Option<Instant>,
    /// The seeds that were opened, and those of them that could not be since they were last ready, or are none of a cluster.
    opened: Vec<NodeId>,
    failed: Vec<NodeId>,
    /// Those that have been ready.
    ready: Vec<NodeId>,
    /// How many attempts to connect to them have failed since then.
    cut_off: IdMap<NodeId, u32>,
    /// What the start fails with, if it fails.
    error: Option<Error>,
    is_over: bool,
}

impl Start {
    pub(super) fn new(now: Instant, until: Option<Instant>) -> Self {
        let (opened, failed, ready) = (Vec::new(), Vec::new(), Vec::new());
        Self {
            began_at: now,
            until,
            opened,
            failed,
            ready,
            cut_off: IdMap::new(),
            error: None,
            is_over: false,
        }
    }

    pub(super) fn note_opened(&mut self, node: NodeId) {
        if !self.is_over && !self.opened.contains(&node) {
            self.opened.push(node);
        }
    }

    /// A node has a connection, for the first time or again.
    pub(super) fn note_ready(&mut self, node: NodeId) {
        self.failed.retain(|failed| *failed != node);
        self.cut_off.remove(node);
        if !self.is_over && !self.ready.contains(&node) {
            self.ready.push(node);
        }
    }

    pub(super) fn note_failed(&mut self, node: NodeId, error: &ConnectError) {
        if self.is_over {
            return;
        }
        self.fail(node);
        self.note_error(error.clone().into());
    }

    /// An attempt to connect to a node that was ready has failed, and there is no connection. It has failed after as many as one that was never ready.
    pub(super) fn note_cut_off(&mut self, node: NodeId, endpoint: &Endpoint) {
        if self.is_over || !self.ready.contains(&node) {
            return;
        }
        let attempts = self.cut_off.get(node).copied().unwrap_or(0) + 1;
        self.cut_off.insert(node, attempts);
        if attempts >= START_ATTEMPTS {
            self.fail(node);
            let error = TopologyError::Unanswered;
            self.error.get_or_insert_with(|| Error::Topology { endpoint: endpoint.clone(), error });
        }
    }

    /// The settings of the client of this node cannot work. Those of other nodes may.
    pub(super) fn note_impossible(&mut self, node: NodeId, error: ConfigError) {
        if !self.is_over {
            self.fail(node);
            self.note_error(error.into());
        }
    }

    /// A node gave no topology that can be used.
    pub(super) fn note_no_topology(&mut self, node: NodeId, endpoint: &Endpoint, error: TopologyError) {
        if self.is_over {
            return;
        }
        if error == TopologyError::NotACluster {
            self.fail(node);
        }
        self.note_error(Error::Topology { endpoint: endpoint.clone(), error });
    }

    /// Of several errors the caller hears of the one that says most, and of those that say as much of the last.
    fn note_error(&mut self, error: Error) {
        if self.error.as_ref().is_none_or(|known| weight(known) <= weight(&error)) {
            self.error = Some(error);
        }
    }

    fn fail(&mut self, node: NodeId) {
        if !self.failed.contains(&node) {
            self.failed.push(node);
        }
    }

    /// The result, once, as soon as there is one.
    pub(super) fn poll(&mut self, now: Instant, table: &Table) -> Option<Result<(), Error>> {
        if self.is_over {
            return None;
        }
        let has_failed = |node: &NodeId| self.failed.contains(node);
        let is_hopeless = !self.opened.is_empty() && self.opened.iter().all(has_failed);
        let is_late = self.until.is_some_and(|until| until <= now);
        self.is_over = !table.shards().is_empty() || is_hopeless || is_late;
        let result = match self.is_over {
            false => return None,
            true if table.shards().is_empty() => {
                let took = now.saturating_duration_since(self.began_at);
                Err(self.error.take().unwrap_or(Error::Connect(ConnectError::TimedOut(took))))
            }
            true => Ok(()),
        };
        Some(result)
    }

    /// When the time for it is over.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.until.filter(|_| !self.is_over)
    }
}

/// How much an error says: that a server is none of a cluster, or that settings cannot work, more than that a server refuses this client (a wrong
/// password), and that more than what may pass.
fn weight(error: &Error) -> u8 {
    match error {
        Error::Config(_) | Error::Topology { error: TopologyError::NotACluster, .. } => 2,
        Error::Connect(error) if !error.is_transient() => 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::error::{ErrorCode, HandshakeError, Stage};
    use crate::timer::epoch;

    const LIMIT: Duration = Duration::from_secs(10);

    /// The start of a client with two seeds, and when it began.
    fn start() -> (Instant, Start) {
        let now = epoch();
        let mut start = Start::new(now, Some(now + LIMIT));
        for place in 0..2 {
            start.note_opened(node(place));
        }
        (now, start)
    }

    fn node(place: u32) -> NodeId {
        NodeId::from_parts(place, 0)
    }

    fn endpoint() -> Endpoint {
        Endpoint::parse("10.0.0.1", 7000).unwrap()
    }

    fn poll(start: &mut Start, at: Instant) -> Option<Result<(), Error>> {
        start.poll(at, &Table::empty())
    }

    /// One dead seed ends nothing, and all of them end the start before its time is over. RULE-361
    #[test]
    fn it_ends_when_the_last_seed_has_failed() {
        let (now, mut start) = start();
        start.note_failed(node(0), &ConnectError::Retiring);
        assert!(poll(&mut start, now).is_none());
        start.note_failed(node(1), &ConnectError::CircuitOpen);
        let error = poll(&mut start, now).unwrap().unwrap_err();
        assert!(matches!(error, Error::Connect(ConnectError::CircuitOpen)), "{error:?}");
        assert!(poll(&mut start, now + LIMIT).is_none(), "it has one result");
    }

    /// A seed that is ready after all, or again, may lead to the others yet. RULE-361
    #[test]
    fn a_seed_that_is_ready_again_has_not_failed() {
        let (now, mut start) = start();
        start.note_failed(node(0), &ConnectError::Retiring);
        start.note_ready(node(0));
        start.note_failed(node(1), &ConnectError::CircuitOpen);
        assert!(poll(&mut start, now).is_none());
        start.note_failed(node(0), &ConnectError::Retiring);
        assert!(poll(&mut start, now).is_some());
    }

    /// A seed that restarts while it is asked refuses an attempt or two. RULE-361
    #[test]
    fn a_seed_that_was_ready_is_tried_more_than_once() {
        let (now, mut start) = start();
        start.note_failed(node(1), &ConnectError::CircuitOpen);
        start.note_ready(node(0));
        for _ in 1..START_ATTEMPTS {
            start.note_cut_off(node(0), &endpoint());
            assert!(poll(&mut start, now).is_none());
        }
        start.note_ready(node(0));
        for attempt in 1..=START_ATTEMPTS {
            start.note_cut_off(node(0), &endpoint());
            assert_eq!(poll(&mut start, now).is_some(), attempt == START_ATTEMPTS);
        }
    }

    /// The map of addresses panics for one seed, or says what cannot work. RULE-383
    #[test]
    fn a_seed_whose_settings_cannot_work_leaves_the_others() {
        let impossible = || ConfigError::Cluster { problem: "the map of addresses has panicked" };
        let (now, mut start) = start();
        start.note_impossible(node(0), impossible());
        assert!(poll(&mut start, now).is_none());
        start.note_failed(node(1), &ConnectError::CircuitOpen);
        let error = poll(&mut start, now).unwrap().unwrap_err();
        assert!(matches!(error, Error::Config(_)), "{error:?}");
    }

    /// Whichever of them is noticed first. RULE-361
    #[test]
    fn a_wrong_password_says_more_than_a_dead_seed() {
        let code = ErrorCode::of(b"WRONGPASS invalid");
        let refused = ConnectError::Handshake(HandshakeError::Refused { stage: Stage::Hello, code });
        for errors in [[&refused, &ConnectError::CircuitOpen], [&ConnectError::CircuitOpen, &refused]] {
            let (now, mut start) = start();
            for (place, error) in (0..).zip(errors) {
                start.note_failed(node(place), error);
            }
            let error = poll(&mut start, now).unwrap().unwrap_err();
            assert!(matches!(error, Error::Connect(ConnectError::Handshake(_))), "{error:?}");
        }
    }

    /// RULE-361
    #[test]
    fn it_is_bounded_in_total() {
        let (now, mut start) = start();
        assert_eq!(start.poll_timeout(), Some(now + LIMIT));
        start.note_no_topology(node(0), &endpoint(), TopologyError::Empty);
        assert!(poll(&mut start, now + LIMIT / 2).is_none());
        let error = poll(&mut start, now + LIMIT).unwrap().unwrap_err();
        assert!(matches!(error, Error::Topology { error: TopologyError::Empty, .. }), "{error:?}");
        assert_eq!(start.poll_timeout(), None);
    }

    /// One of them in a list of good seeds ends nothing. RULE-362
    #[test]
    fn servers_that_are_no_cluster_end_it_at_once() {
        let (now, mut start) = start();
        start.note_no_topology(node(0), &endpoint(), TopologyError::NotACluster);
        assert!(poll(&mut start, now).is_none());
        start.note_failed(node(1), &ConnectError::CircuitOpen);
        let error = poll(&mut start, now).unwrap().unwrap_err();
        assert!(error.to_string().contains("10.0.0.1:7000") && error.to_string().contains("single servers"));
    }
}
