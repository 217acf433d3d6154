//! When the topology is read: one question at a time, rounds at a distance, and no reason for one is lost.
//!
//! A *reason* has an instant: the state that it shows is one that the map may lack. A round asks one node after the other until one
//! has given an answer that is believed; its question is as old as the round's last one. Reasons that are older are done with then,
//! the others lead to another round.

#[cfg(feature = "explore")]
mod fingerprint;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::settings::Settings;
use super::words::TopologyRequest;
use crate::ids::{NodeId, QueryId};
use crate::rng::Rng;
use crate::timer::{after, earliest};

/// How far periodic reads stray from their interval, so that the clients of one cluster do not ask in step.
const JITTER_PERCENT: u32 = 25;
/// Where the map is patched already, a read only confirms it: so many least pauses lie between the rounds then. A reshard has a redirect
/// for each slot, for minutes.
const PATCHED: u32 = 4;
/// The longest pause between rounds that fail, unless rounds are further apart anyway.
const FAILURE_CAP: Duration = Duration::from_secs(2);

/// Where reads go on to change nothing, their pauses are this part of the time for which they have not.
const GROWTH: u32 = 16;
/// The longest of those pauses.
const UNCHANGED_CAP: Duration = Duration::from_secs(5);
/// After so long without a read, what has not changed before says nothing.
const QUIET: Duration = Duration::from_secs(15);

/// Why the topology is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Urgency {
    /// A redirect has patched the map.
    Patched,
    /// Somebody waits for an owner.
    Urgent,
}

/// A question that is not answered yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asking {
    pub(super) query: QueryId,
    pub(super) node: NodeId,
    pub(super) request: TopologyRequest,
    pub(super) asked_at: Instant,
    until: Instant,
    /// The node has refused the other request.
    is_second: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Refresh {
    interval: Duration,
    least_pause: Duration,
    timeout: Duration,
    /// The latest reason that no answer has shown to be taken in.
    reason: Option<Instant>,
    /// The latest of those that are urgent.
    urgent_reason: Option<Instant>,
    /// The only reason is that it was not read for long.
    is_routine: bool,
    /// When the next round begins, if there is a reason.
    due: Option<Instant>,
    /// It does not begin sooner, whatever becomes known.
    is_due_fixed: bool,
    /// When the last round began.
    began_at: Option<Instant>,
    /// When the first of those questions was asked that have followed upon each other, and whose answers have changed nothing.
    unchanged_since: Option<Instant>,
    /// As of when the map was read last.
    read_as_of: Option<Instant>,
    periodic_at: Option<Instant>,
    asking: Option<Asking>,
    /// Whom this round has asked.
    asked: BTreeSet<NodeId>,
    /// Whom to go on behind: each round begins at another node.
    last: Option<NodeId>,
    /// Who has not answered a request, and is asked last.
    shunned: Option<NodeId>,
    failed_rounds: u32,
    queries: u32,
    /// What to ask for: what was not refused last.
    request: TopologyRequest,
}

impl Refresh {
    pub(super) const fn new(settings: &Settings) -> Self {
        Self {
            interval: settings.refresh_interval(),
            least_pause: settings.min_refresh_interval(),
            timeout: settings.query_timeout(),
            reason: None,
            urgent_reason: None,
            is_routine: false,
            due: None,
            is_due_fixed: false,
            began_at: None,
            unchanged_since: None,
            read_as_of: None,
            periodic_at: None,
            asking: None,
            asked: BTreeSet::new(),
            last: None,
            shunned: None,
            failed_rounds: 0,
            queries: 0,
            request: TopologyRequest::Slots,
        }
    }

    /// The map may lack something that was true at `as_of`. What an answer has shown since is no reason.
    pub(super) fn want(&mut self, now: Instant, as_of: Instant, urgency: Urgency, rng: &mut Rng) {
        if self.read_as_of.is_some_and(|read| read > as_of) {
            return;
        }
        self.reason = self.reason.max(Some(as_of));
        self.is_routine = false;
        if urgency == Urgency::Urgent {
            self.urgent_reason = self.urgent_reason.max(Some(as_of));
        }
        self.schedule(now, rng);
    }

    /// The map may lack what has just happened. A question that is asked at this very instant is asked afterwards.
    pub(super) fn want_news(&mut self, now: Instant, rng: &mut Rng) {
        let as_of = now.checked_sub(Duration::from_nanos(1)).unwrap_or(now);
        self.want(now, as_of, Urgency::Urgent, rng);
    }

    /// `node` does not answer others either: it is asked last, until a question is answered.
    pub(super) const fn shun(&mut self, node: NodeId) {
        self.shunned = Some(node);
    }

    /// A node has become ready: who was waiting for one goes on, be it before the pause of a round that has failed is over.
    pub(super) fn handle_node_ready(&mut self, now: Instant, rng: &mut Rng) {
        if self.reason.is_none() || self.asking.is_some() {
            return;
        }
        if self.failed_rounds > 0 {
            self.due = None;
        }
        self.schedule(now, rng);
    }

    /// Whether any answer was believed so far.
    pub(super) fn has_read(&self) -> bool {
        self.read_as_of.is_some()
    }

    /// Whether the next question is to be asked at `now`.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.asking.is_none() && self.due.is_some_and(|due| due <= now)
    }

    /// Begins the round that is due, or goes on with the one that runs: whom to ask, of the nodes that are `ready`, by their ids. `None`:
    /// nobody is left to be asked, and the round has failed.
    pub(super) fn ask_next(&mut self, now: Instant, ready: &[NodeId], rng: &mut Rng) -> Option<Asking> {
        let untried: Vec<NodeId> = ready.iter().filter(|node| !self.asked.contains(node)).copied().collect();
        let mut likely: Vec<NodeId> =
            untried.iter().copied().filter(|node| Some(*node) != self.shunned).collect();
        if likely.is_empty() {
            likely = untried;
        }
        let turn = match self.last {
            Some(last) => likely.iter().find(|node| **node > last),
            // Drawn, so that the clients of one cluster do not all ask the same node first.
            None => usize::try_from(rng.below(likely.len() as u64)).ok().and_then(|drawn| likely.get(drawn)),
        };
        let Some(node) = turn.or_else(|| likely.first()).copied() else {
            self.end_failed_round(now, rng);
            return None;
        };
        if self.asked.is_empty() {
            let is_quiet = |last: Instant| now.saturating_duration_since(last) >= QUIET;
            if self.began_at.is_none_or(is_quiet) {
                self.unchanged_since = None;
            }
            self.began_at = Some(now);
        }
        Some(self.ask(now, node, self.request, false))
    }

    /// The question that `query` is, if it still waits for an answer, which is there now.
    pub(super) fn take(&mut self, query: QueryId) -> Option<Asking> {
        self.asking.take_if(|asking| asking.query == query)
    }

    /// The question that `node` does not answer any more.
    pub(super) fn take_of(&mut self, node: NodeId) -> Option<Asking> {
        self.asking.take_if(|asking| asking.node == node)
    }

    /// The question whose time is over at `now`.
    pub(super) fn take_expired(&mut self, now: Instant) -> Option<Asking> {
        self.asking.take_if(|asking| asking.until <= now)
    }

    /// The answer to `asking` is believed, and has changed the map, or not.
    pub(super) fn handle_read(&mut self, now: Instant, asking: &Asking, has_changed: bool, rng: &mut Rng) {
        // Where nobody had a reason to doubt the map, that it is right says nothing of trouble.
        let is_in_vain = !has_changed && !self.is_routine;
        self.unchanged_since = is_in_vain.then(|| self.unchanged_since.unwrap_or(asking.asked_at));
        self.request = asking.request;
        self.shunned = None;
        self.asked.clear();
        self.failed_rounds = 0;
        self.read_as_of = Some(asking.asked_at);
        self.reason = self.reason.filter(|reason| *reason >= asking.asked_at);
        self.urgent_reason = self.urgent_reason.filter(|reason| *reason >= asking.asked_at);
        self.due = None;
        self.periodic_at = Some(after(now, rng.jitter(self.interval, JITTER_PERCENT)));
        if self.reason.is_some() {
            self.schedule(now, rng);
        }
    }

    /// The map has changed without a read.
    pub(super) const fn handle_changed(&mut self) {
        self.unchanged_since = None;
    }

    /// The node lacks the command or the permission for `asking`: the question that it is asked instead, if it has not refused both.
    pub(super) fn handle_refused(&mut self, now: Instant, asking: &Asking) -> Option<Asking> {
        let other = match asking.request {
            TopologyRequest::Slots => TopologyRequest::Shards,
            TopologyRequest::Shards => TopologyRequest::Slots,
        };
        (!asking.is_second).then(|| self.ask(now, asking.node, other, true))
    }

    /// Time has passed: a read that nothing has asked for may be due.
    pub(super) fn handle_timeout(&mut self, now: Instant, rng: &mut Rng) {
        if self.periodic_at.is_some_and(|at| at <= now) {
            self.periodic_at = Some(after(now, rng.jitter(self.interval, JITTER_PERCENT)));
            let is_routine = self.reason.is_none();
            self.want_news(now, rng);
            self.is_routine = is_routine;
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let question = match &self.asking {
            Some(asking) => Some(asking.until),
            None => self.due,
        };
        earliest([question, self.periodic_at])
    }

    fn ask(&mut self, now: Instant, node: NodeId, request: TopologyRequest, is_second: bool) -> Asking {
        self.queries = self.queries.wrapping_add(1);
        let query = QueryId::from_parts(0, self.queries);
        let until = after(now, self.timeout);
        let asking = Asking { query, node, request, asked_at: now, until, is_second };
        self.asked.insert(node);
        self.last = Some(node);
        self.asking = Some(asking);
        asking
    }

    /// The next round begins when the last one is long enough ago, and a little later, so that clients do not ask in step.
    fn schedule(&mut self, now: Instant, rng: &mut Rng) {
        let is_urgent = self.urgent_reason.is_some();
        if self.asking.is_some() || (self.due.is_some() && (self.is_due_fixed || !is_urgent)) {
            return;
        }
        let pause = if is_urgent { self.urgent_pause() } else { self.least_pause.saturating_mul(PATCHED) };
        let spread = |length: Duration, rng: &mut Rng| length / 1_000 * rng.below(1_001) as u32;
        let due = match self.began_at {
            None => now,
            Some(began_at) => {
                let earliest = after(began_at, pause + spread(pause / 4, rng));
                earliest.max(after(now, spread(self.least_pause / 8, rng)))
            }
        };
        self.due = Some(self.due.map_or(due, |known| known.min(due)));
        self.is_due_fixed = is_urgent;
    }

    /// A cluster in trouble needs as long as it needs: who looks again after a sixteenth of that is not much later than it.
    fn urgent_pause(&self) -> Duration {
        let unchanged = self.began_at.zip(self.unchanged_since);
        let unchanged =
            unchanged.map_or(Duration::ZERO, |(last, since)| last.saturating_duration_since(since));
        self.least_pause.max((unchanged / GROWTH).min(UNCHANGED_CAP))
    }

    /// Nobody has given an answer, or nobody could be asked: then the next node that is ready will be.
    fn end_failed_round(&mut self, now: Instant, rng: &mut Rng) {
        let has_asked = !self.asked.is_empty();
        self.asked.clear();
        self.due = None;
        if has_asked {
            let longest = FAILURE_CAP.max(self.least_pause);
            let doublings = self.failed_rounds.min(16);
            let pause = self.least_pause.saturating_mul(1 << doublings).min(longest);
            self.failed_rounds = self.failed_rounds.saturating_add(1);
            // Up to a quarter longer, never shorter than the least pause.
            self.due = Some(after(now, pause + rng.jitter(pause / 8, 100)));
            self.is_due_fixed = true;
        }
    }
}
