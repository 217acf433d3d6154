//! One move: who takes part in it, and how far each of them is.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::{AfterClose, Departure, Destination, Handoff, Move, MoveKey, Scout, Stage, Term};
use crate::backoff::HandoffSchedule;
use crate::config::maintenance;
use crate::dedup::Remembered;
use crate::endpoint::{Peer, Target};
use crate::event::{Event, MoveCause};
use crate::ids::ConnId;
use crate::notification::{MoveTarget, Notification};

/// Addresses that a move remembers to have dialled: as many as are tried of one name.
const DIALLED: usize = 64;

impl MoveKey {
    /// The move that `notification` announces to the connections to `source`, if it is a MOVING.
    pub(in super::super) fn of(source: &Peer, notification: &Notification) -> Option<Self> {
        let Notification::Moving { seq, target, .. } = notification else { return None };
        Some(Self { source: source.clone(), seq: *seq, target: target.clone() })
    }
}

impl Departure {
    pub(super) fn deadline(self) -> Instant {
        match self {
            Self::Announced { deadline, .. } | Self::Quiet { deadline } | Self::Demoted { deadline, .. } => {
                deadline
            }
        }
    }

    pub(super) fn cause(self) -> MoveCause {
        match self {
            Self::Announced { .. } => MoveCause::Announced,
            Self::Quiet { .. } => MoveCause::Withdrawn,
            Self::Demoted { .. } => MoveCause::Demoted,
        }
    }

    /// When the time of a move began that is learnt of `now`.
    fn begins(self, now: Instant) -> Instant {
        match self {
            Self::Announced { at, .. } => at,
            Self::Quiet { .. } | Self::Demoted { .. } => now,
        }
    }

    fn is_announced(self) -> bool {
        matches!(self, Self::Announced { .. })
    }
}

impl Destination {
    /// What may be dialled.
    pub(super) fn target(&self) -> Option<MoveTarget> {
        match self {
            Self::SameName | Self::Refused(_) => Some(MoveTarget::SameName),
            Self::Endpoint(endpoint) | Self::Rewritten { to: endpoint, .. } => {
                Some(MoveTarget::Endpoint(endpoint.clone()))
            }
            Self::Vetoed(_) => None,
        }
    }

    /// Whether the policy has made `source` itself of a target that was another one.
    pub(in super::super) fn leads_back_to(&self, source: &Peer) -> bool {
        matches!(self, Self::Rewritten { to, .. } if to.peer().as_ref() == Some(source))
    }
}

impl Term {
    /// The time that begins at `started_at`, is learnt of `now` and is over at `deadline`.
    pub(super) fn new(
        now: Instant,
        started_at: Instant,
        deadline: Instant,
        maintenance: &maintenance::Config,
    ) -> Self {
        let (retries, timeout) = (maintenance.max_handoff_retries(), maintenance.handoff_timeout());
        Self { started_at, deadline, schedule: HandoffSchedule::new(now, deadline, retries, timeout) }
    }

    /// When a move to an endpoint that was not named begins to look for it, and when a connection does not wait for its
    /// predecessor any more. Of a short move, whose budget is hardly longer than the half of its time, a quarter of the budget
    /// is kept.
    pub(super) fn half_time(&self) -> Instant {
        let half = self.deadline.saturating_duration_since(self.started_at) / 2;
        self.started_at + half.min(self.budget() / 4 * 3)
    }

    /// Late, but with time to spare.
    fn late(&self) -> Instant {
        self.started_at + self.budget() / 5 * 4
    }

    fn budget(&self) -> Duration {
        self.schedule.budget_end().saturating_duration_since(self.started_at)
    }
}

impl Handoff {
    fn new(term: Term) -> Self {
        Self { term, failed: 0, retry_at: None, watches_name: false, stage: Stage::BehindScout }
    }
}

impl Move {
    pub(super) fn new(
        now: Instant,
        key: MoveKey,
        departure: Departure,
        target: Option<MoveTarget>,
        maintenance: &maintenance::Config,
    ) -> Self {
        let term = Term::new(now, departure.begins(now), departure.deadline(), maintenance);
        Self::with_term(key, departure, target, term)
    }

    /// `old` has led away from `renews`, which is in service again: whom its server has told to leave gives way to a new connection
    /// there, in the time that is left.
    pub(super) fn renewal(now: Instant, old: Self, renews: Target) -> Self {
        let target = MoveTarget::Endpoint(renews.address.clone().into());
        let renewal = Self::with_term(old.key, old.departure, Some(target), old.term);
        Self { renews: Some(renews), began_at: now, ..renewal }
    }

    fn with_term(key: MoveKey, departure: Departure, target: Option<MoveTarget>, term: Term) -> Self {
        let scout_at = match &target {
            // Names were seen to lead to the new node only late.
            Some(MoveTarget::SameName) if departure.is_announced() => term.half_time(),
            Some(MoveTarget::SameName | MoveTarget::Endpoint(_)) | None => term.started_at,
        };
        Self {
            key,
            target,
            departure,
            renews: None,
            began_at: term.started_at,
            term,
            scout_at,
            scout: Scout::Missing,
            handoffs: BTreeMap::new(),
            staying: BTreeMap::new(),
            awaiting: BTreeMap::new(),
            moved: 0,
            stayed: 0,
            is_reported: false,
            chance_taken: None,
            dialled: Remembered::new(DIALLED),
            relapses: 0,
            is_given_up: false,
            after_close: AfterClose::default(),
        }
    }

    /// [`enrol`](Self::enrol) for all that serve when the move begins. `earlier` has the times that connections have by the word of an
    /// earlier move.
    pub(super) fn enrol_all(&mut self, conns: &[ConnId], earlier: &BTreeMap<ConnId, Term>) {
        debug_assert!(self.handoffs.is_empty(), "the move has not begun");
        if earlier.is_empty() && !self.takes_nobody() {
            // A map of thousands is built at once, instead of one by one.
            self.handoffs = conns.iter().map(|conn| (*conn, Handoff::new(self.term))).collect();
            return;
        }
        for conn in conns {
            self.enrol(*conn, earlier.get(conn).copied());
        }
    }

    /// False if `conn` takes part already, or stays. `earlier`: the time that it has by the word of an earlier move, if that is less.
    pub(super) fn enrol(&mut self, conn: ConnId, earlier: Option<Term>) -> bool {
        if self.handoffs.contains_key(&conn) || self.staying.contains_key(&conn) {
            return false;
        }
        self.is_reported = false;
        let term = self.term_after(earlier);
        if self.takes_nobody() {
            self.stayed += 1;
            self.staying.insert(conn, term);
            return false;
        }
        if earlier.is_some() {
            self.scout_at = self.scout_at.min(term.half_time());
        }
        self.handoffs.insert(conn, Handoff::new(term));
        true
    }

    /// `conn` is ready, and does not serve yet: if the server has announced the move, it has told `conn` as well.
    pub(super) fn note_awaiting(&mut self, conn: ConnId, earlier: Option<Term>) {
        if self.is_announced() {
            self.awaiting.insert(conn, self.term_after(earlier));
        }
    }

    /// The time of a connection that has `earlier` by the word of an earlier move.
    fn term_after(&self, earlier: Option<Term>) -> Term {
        earlier.filter(|earlier| earlier.deadline < self.term.deadline).unwrap_or(self.term)
    }

    /// The times that connections keep in a newer move of this address where they are shorter: those that the server has told them before
    /// this move or, of a renewal, before it was in service again.
    pub(super) fn earlier_terms(&self, now: Instant) -> BTreeMap<ConnId, Term> {
        let mut terms = self.terms(now);
        terms.retain(|_, term| self.is_renewal() || term.deadline < self.term.deadline);
        terms
    }

    /// The connections that take part and have time left, and how much.
    pub(super) fn terms(&self, now: Instant) -> BTreeMap<ConnId, Term> {
        let moving = self.handoffs.iter().map(|(conn, handoff)| (*conn, handoff.term));
        let others = self.staying.iter().chain(&self.awaiting).map(|(conn, term)| (*conn, *term));
        moving.chain(others).filter(|(_, term)| now < term.deadline).collect()
    }

    /// The handoff of `from` is done.
    pub(super) fn finish(&mut self, from: ConnId) {
        if self.handoffs.remove(&from).is_some() {
            self.moved += 1;
        }
    }

    /// The handoff of `conn` is given up. Returns it, if there was one.
    pub(super) fn stay(&mut self, conn: ConnId) -> Option<Handoff> {
        let handoff = self.handoffs.remove(&conn)?;
        self.stayed += 1;
        self.staying.insert(conn, handoff.term);
        Some(handoff)
    }

    /// `conn` is gone. True if it stayed or did not take part yet.
    pub(super) fn forget(&mut self, conn: ConnId) -> bool {
        self.staying.remove(&conn).is_some() | self.awaiting.remove(&conn).is_some()
    }

    /// The connections behind the scout, those first that have least time.
    pub(super) fn behind_scout(&self) -> Vec<ConnId> {
        let behind = self.handoffs.iter().filter(|(_, handoff)| matches!(handoff.stage, Stage::BehindScout));
        let mut behind: Vec<(ConnId, Instant)> =
            behind.map(|(conn, handoff)| (*conn, handoff.term.deadline)).collect();
        behind.sort_by_key(|(_, deadline)| *deadline);
        behind.into_iter().map(|(conn, _)| conn).collect()
    }

    /// The connection that is to scout: the one that has least time, and of those one that can go at once, if there is one.
    pub(super) fn choose_scout(&self, is_behind_drain: impl Fn(ConnId) -> bool) -> Option<ConnId> {
        let behind = self.handoffs.iter().filter(|(_, handoff)| matches!(handoff.stage, Stage::BehindScout));
        behind
            .min_by_key(|(conn, handoff)| (handoff.term.deadline, is_behind_drain(**conn)))
            .map(|(conn, _)| *conn)
    }

    /// Whether a handoff that is neither done nor given up is the scout's.
    pub(super) fn has_scout(&self) -> bool {
        matches!(self.scout, Scout::Sent(scout) if self.handoffs.contains_key(&scout))
    }

    /// The scout, if it waits and a connection behind it has less time.
    pub(super) fn scout_to_pass(&self) -> Option<ConnId> {
        let Scout::Sent(scout) = self.scout else { return None };
        let sent = self.handoffs.get(&scout)?;
        if !matches!(sent.stage, Stage::Waiting | Stage::Queued(_) | Stage::BehindDrain) {
            return None;
        }
        let first = self.choose_scout(|_| false)?;
        (self.term(first).deadline < sent.term.deadline).then_some(scout)
    }

    /// The event that ends the move, once every connection has moved or stays.
    pub(super) fn report(&mut self, now: Instant) -> Option<Event> {
        if !self.handoffs.is_empty() || !self.awaiting.is_empty() || self.is_reported {
            return None;
        }
        self.is_reported = true;
        Some(Event::MoveFinished {
            source: self.key.source.clone(),
            seq: self.key.seq,
            cause: self.departure.cause(),
            moved: self.moved,
            stayed: self.stayed,
            took: now.saturating_duration_since(self.began_at),
        })
    }

    /// Whoever is at the source stays there.
    pub(super) fn takes_nobody(&self) -> bool {
        self.target.is_none() || self.is_given_up
    }

    pub(super) fn landed(&self) -> Option<&Target> {
        match &self.scout {
            Scout::Landed(target) => Some(target),
            Scout::Missing | Scout::Sent(_) => None,
        }
    }

    /// The address that a connection comes to that follows this move, if that is known.
    pub(super) fn leads_to(&self) -> Option<Peer> {
        let landed = self.landed().map(|target| target.address.clone());
        landed.or_else(|| self.target.as_ref()?.address())
    }

    /// The connection that is ready in the place of `from`, if the owner has not switched yet.
    pub(super) fn awaited_switch(&self, from: ConnId) -> Option<ConnId> {
        match self.handoffs.get(&from)?.stage {
            Stage::AwaitsSwitch { to } => Some(to),
            _ => None,
        }
    }

    /// The time that `conn` has, be it what is left of an earlier one.
    pub(super) fn term(&self, conn: ConnId) -> Term {
        self.own_term(conn).unwrap_or(self.term)
    }

    /// The time of `conn`, if that takes part, stays or will take part.
    pub(super) fn own_term(&self, conn: ConnId) -> Option<Term> {
        let moving = self.handoffs.get(&conn).map(|handoff| handoff.term);
        moving.or_else(|| self.staying.get(&conn).or_else(|| self.awaiting.get(&conn)).copied())
    }

    /// Whether the server has announced it.
    pub(super) fn is_announced(&self) -> bool {
        self.departure.is_announced()
    }

    /// Whether it is a renewal: the address is not left, but for new connections to it.
    pub(super) fn is_renewal(&self) -> bool {
        self.renews.is_some()
    }

    pub(super) fn is_demotion(&self) -> bool {
        matches!(self.departure, Departure::Demoted { .. })
    }

    /// Whether it is forgotten as soon as it is over for every connection. A renewal remembers the times of those that stay: a newer
    /// move does not give them more.
    pub(super) fn ends_now(&self) -> bool {
        let keeps_times = self.is_renewal() && !self.staying.is_empty();
        (self.is_demotion() || self.is_renewal()) && self.is_reported && !keeps_times
    }

    /// When the same address is dialled for `conn` although the name did not change: late, but with time to spare. At once, or not
    /// at all, where a server was demoted.
    pub(super) fn last_chance(&self, conn: ConnId) -> Instant {
        match self.departure {
            Departure::Demoted { may_return: true, .. } => self.term.started_at,
            Departure::Demoted { may_return: false, deadline } => deadline,
            Departure::Announced { .. } | Departure::Quiet { .. } => self.term(conn).late(),
        }
    }

    #[cfg(test)]
    pub(super) fn stage_name(&self, conn: ConnId) -> Option<&'static str> {
        if self.staying.contains_key(&conn) {
            return Some("StayPut");
        }
        Some(match self.handoffs.get(&conn)?.stage {
            Stage::BehindScout => "BehindScout",
            Stage::Queued(_) => "Queued",
            Stage::Dialing => "Dialing",
            Stage::Waiting => "Waiting",
            Stage::BehindDrain => "BehindDrain",
            Stage::AwaitsSwitch { .. } => "AwaitsSwitch",
        })
    }
}
