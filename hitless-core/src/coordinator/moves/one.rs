//! One move: who takes part in it, and how far each of them is.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use super::{AfterClose, Departure, Destination, Handoff, Move, MoveKey, Scout, Stage};
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

impl Handoff {
    fn new() -> Self {
        Self { failed: 0, retry_at: None, watches_name: false, stage: Stage::BehindScout }
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
        let (started_at, deadline) = (departure.begins(now), departure.deadline());
        let (retries, timeout) = (maintenance.max_handoff_retries(), maintenance.handoff_timeout());
        let schedule = HandoffSchedule::new(now, deadline, retries, timeout);
        let scout_at = match &target {
            // Names were seen to lead to the new node only late.
            Some(MoveTarget::SameName) if departure.is_announced() => {
                half_time(started_at, deadline, &schedule)
            }
            Some(MoveTarget::SameName | MoveTarget::Endpoint(_)) | None => started_at,
        };
        Self {
            key,
            target,
            departure,
            started_at,
            deadline,
            schedule,
            scout_at,
            scout: Scout::Missing,
            handoffs: BTreeMap::new(),
            staying: BTreeSet::new(),
            moved: 0,
            stayed: 0,
            is_reported: false,
            chance_taken: false,
            dialled: Remembered::new(DIALLED),
            relapses: 0,
            is_given_up: false,
            after_close: AfterClose::default(),
        }
    }

    /// False if `conn` takes part already.
    pub(super) fn enrol(&mut self, conn: ConnId) -> bool {
        if self.handoffs.contains_key(&conn) || self.staying.contains(&conn) {
            return false;
        }
        self.is_reported = false;
        if self.takes_nobody() {
            self.stayed += 1;
            self.staying.insert(conn);
            return false;
        }
        self.handoffs.insert(conn, Handoff::new());
        true
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
        self.staying.insert(conn);
        Some(handoff)
    }

    /// `conn` is gone. Returns its handoff, if that was neither done nor given up.
    pub(super) fn leave(&mut self, conn: ConnId) -> Option<Handoff> {
        self.staying.remove(&conn);
        self.handoffs.remove(&conn)
    }

    /// The handoffs behind the scout, by connection.
    pub(super) fn behind_scout(&self) -> Vec<ConnId> {
        let behind = self.handoffs.iter().filter(|(_, handoff)| matches!(handoff.stage, Stage::BehindScout));
        behind.map(|(conn, _)| *conn).collect()
    }

    /// The handoff that is to go first: one that can go at once, if there is one.
    pub(super) fn choose_scout(&self, is_behind_drain: impl Fn(ConnId) -> bool) -> Option<ConnId> {
        let behind = || {
            let all = self.handoffs.iter();
            all.filter(|(_, handoff)| matches!(handoff.stage, Stage::BehindScout)).map(|(conn, _)| *conn)
        };
        behind().find(|conn| !is_behind_drain(*conn)).or_else(|| behind().next())
    }

    /// The event that ends the move, once every connection has moved or stays.
    pub(super) fn report(&mut self, now: Instant) -> Option<Event> {
        if !self.handoffs.is_empty() || self.is_reported {
            return None;
        }
        self.is_reported = true;
        Some(Event::MoveFinished {
            source: self.key.source.clone(),
            seq: self.key.seq,
            cause: self.departure.cause(),
            moved: self.moved,
            stayed: self.stayed,
            took: now.saturating_duration_since(self.started_at),
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

    /// The connections whose owners have not switched yet, and their successors.
    pub(super) fn awaited_switches(&self) -> Vec<(ConnId, ConnId)> {
        self.handoffs.keys().filter_map(|from| Some((*from, self.awaited_switch(*from)?))).collect()
    }

    /// Until when a connection waits for its own predecessor to drain.
    pub(super) fn patience(&self) -> Instant {
        half_time(self.started_at, self.deadline, &self.schedule)
    }

    /// Whether the server has announced it.
    pub(super) fn is_announced(&self) -> bool {
        self.departure.is_announced()
    }

    /// Whether it is forgotten when it is over for every connection.
    pub(super) fn ends_early(&self) -> bool {
        matches!(self.departure, Departure::Demoted { .. })
    }

    /// When the same address is dialled although the name did not change: late, but with time to spare. At once, or not at all,
    /// where a server was demoted.
    pub(super) fn last_chance(&self) -> Instant {
        match self.departure {
            Departure::Demoted { may_return: true, .. } => return self.started_at,
            Departure::Demoted { may_return: false, deadline } => return deadline,
            Departure::Announced { .. } | Departure::Quiet { .. } => {}
        }
        self.started_at + self.schedule.budget_end().saturating_duration_since(self.started_at) / 5 * 4
    }

    #[cfg(test)]
    pub(super) fn stage_name(&self, conn: ConnId) -> Option<&'static str> {
        if self.staying.contains(&conn) {
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

/// When a move to an endpoint that was not named begins to look for it, and when a connection does not wait for its
/// predecessor any more. Of a short move, whose budget is hardly longer than the half of its time, a quarter of the budget
/// is kept.
fn half_time(started_at: Instant, deadline: Instant, schedule: &HandoffSchedule) -> Instant {
    let half = deadline.saturating_duration_since(started_at) / 2;
    let most = schedule.budget_end().saturating_duration_since(started_at) / 4 * 3;
    started_at + half.min(most)
}
