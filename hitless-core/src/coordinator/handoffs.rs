//! Handoffs: who moves when, through a limited number of workers, with a scout in front.

use std::time::{Duration, Instant};

use super::moves::{Handoff, HandoffState, Move, half_time};
use super::{Conn, Coordinator, Directive, Lookup, Phase, TimerKey};
use crate::breaker::{Denied, Permit, Verdict};
use crate::endpoint::{Endpoint, Host, Peer};
use crate::error::{CloseCause, ConnectError};
use crate::event::{Event, WindowScope};
use crate::handshake::HandshakeError;
use crate::ids::{Arena, ConnId};
use crate::notification::MoveTarget;
use crate::timer::after;
use crate::windows::Cause;

/// How often a name is looked up while its addresses have not changed, give or take a quarter.
const LOOKUP_INTERVAL: Duration = Duration::from_millis(500);
const LOOKUP_JITTER_PERCENT: u32 = 25;

impl Coordinator {
    /// A connection became ready at an address that is being retired: it moves, too.
    pub(super) fn enrol_late_joiner(&mut self, now: Instant, conn: ConnId, peer: &Peer) {
        // Where the scout landed at the very address (a virtual one), who arrives there has arrived.
        let moves_on = |of: &Move| now < of.deadline && of.landed.as_ref() != Some(peer);
        if self.moves.get(peer).is_some_and(moves_on) {
            self.enrol(now, conn, peer);
            self.report_if_all_stay(now, peer);
        }
    }

    pub(super) fn enrol(&mut self, now: Instant, conn: ConnId, source: &Peer) {
        let serving = self.conns.get(conn).is_some_and(|entry| entry.phase == Phase::Serving);
        if !serving || self.handoffs.contains_key(&conn) {
            return;
        }
        let Some(of) = self.moves.get_mut(source) else { return };
        of.reported = false;
        if of.target.is_none() {
            of.stayed += 1;
            let state = HandoffState::StayPut;
            self.handoffs.insert(conn, Handoff { source: source.clone(), attempts: 0, state });
            return;
        }
        of.open += 1;
        let state = HandoffState::BehindScout;
        self.handoffs.insert(conn, Handoff { source: source.clone(), attempts: 0, state });
        if of.landed.is_some() {
            self.line_up(conn);
        } else {
            of.behind_scout.push_back(conn);
            self.send_scout(now, source);
        }
    }

    /// The first handoff goes alone: at once to a named target; when half of the time is over if the server named none,
    /// because names are seen to lead to the new node only late.
    fn send_scout(&mut self, now: Instant, source: &Peer) {
        let Some(of) = self.moves.get_mut(source).filter(|of| !of.scouting && of.landed.is_none()) else {
            return;
        };
        let scout_at = of.scout_at;
        let (conns, behind) = (&self.conns, &mut of.behind_scout);
        // One that can go at once, if there is one.
        let free = behind.iter().position(|conn| draining_predecessor(conns, *conn).is_none());
        let Some(scout) = behind.remove(free.unwrap_or_default()) else { return };
        of.scouting = true;
        if now < scout_at { self.wait(scout, scout_at) } else { self.line_up(scout) }
    }

    fn wait(&mut self, from: ConnId, until: Instant) {
        if let Some(handoff) = self.handoffs.get_mut(&from) {
            handoff.state = HandoffState::Waiting;
            self.timers.arm(TimerKey::Handoff(from), until);
        }
    }

    /// `conn` is gone, which was `entry`: one that waits for it may move on, and one that drains behind it gets another
    /// successor.
    pub(super) fn leave_place(&mut self, conn: ConnId, entry: &Conn) {
        let draining = entry.follows.filter(|older| {
            self.conns.get(*older).is_some_and(|older| matches!(older.phase, Phase::Draining { .. }))
        });
        let successor = match entry.phase {
            Phase::Draining { successor, .. } => {
                self.orphaned.retain(|orphaned| *orphaned != conn);
                Some(successor).filter(|successor| self.conns.get(*successor).is_some())
            }
            _ => None,
        };
        match (draining, successor) {
            (Some(older), Some(successor)) => self.follow(older, successor),
            (Some(older), None) => self.orphaned.push_back(older),
            (None, Some(successor)) => self.line_up_behind_drain(successor),
            (None, None) => {}
        }
    }

    /// From now on `successor` serves in the place of `older`, which drains.
    pub(super) fn follow(&mut self, older: ConnId, successor: ConnId) {
        if let Some(entry) = self.conns.get_mut(successor) {
            entry.follows = Some(older);
        }
        if let Some(Conn { phase: Phase::Draining { successor: known, .. }, .. }) = self.conns.get_mut(older)
        {
            *known = successor;
        }
    }

    /// `successor` has no draining predecessor any more.
    pub(super) fn line_up_behind_drain(&mut self, successor: ConnId) {
        if self
            .handoffs
            .get(&successor)
            .is_some_and(|handoff| matches!(handoff.state, HandoffState::BehindDrain))
        {
            self.timers.cancel(&TimerKey::Handoff(successor));
            self.line_up(successor);
        }
    }

    /// Asks for a worker.
    pub(super) fn line_up(&mut self, from: ConnId) {
        let Some(handoff) = self.handoffs.get_mut(&from) else { return };
        let Some(of) = self.moves.get(&handoff.source) else { return };
        handoff.state = HandoffState::Queued(self.queue.push(of.deadline, from));
    }

    /// Gives free workers to those who wait for one.
    pub(super) fn put_to_work(&mut self, now: Instant) {
        while self.working.len() < self.config.handoff_capacity().workers() as usize {
            let Some(ticket) = self.queue.pop() else { return };
            self.attempt(now, ticket.conn);
        }
    }

    fn attempt(&mut self, now: Instant, from: ConnId) {
        let Some(handoff) = self.handoffs.get_mut(&from) else { return };
        let Some(of) = self.moves.get(&handoff.source) else { return };
        let patience = of.patience();
        if now < patience && draining_predecessor(&self.conns, from).is_some() {
            handoff.state = HandoffState::BehindDrain;
            return self.timers.arm(TimerKey::Handoff(from), patience);
        }
        let Some(limit) = of.schedule.attempt_limit(now, handoff.attempts) else {
            return self.stay_put(now, from);
        };
        handoff.attempts += 1;
        let source = handoff.source.clone();
        let Some(target) = of.target.clone() else { return };
        let landed = of.landed.clone();
        let Ok(permit) = self.scout_permit(now, from, &source) else {
            return self.retry_or_stay(now, from, ConnectError::CircuitOpen);
        };
        // Arriving at the source is a failure, unless the scout found that the same address leads to the new node.
        let avoid = (landed.as_ref() != Some(&source)).then(|| source.clone());
        let to = self.begin_attempt(now, Some(limit), Some(from), avoid);
        self.verify_as(to, Some(&target));
        self.working.insert(to);
        if let Some(permit) = permit {
            self.breakers.hold(to, target.clone(), permit);
        }
        if let Some(handoff) = self.handoffs.get_mut(&from) {
            handoff.state = HandoffState::Dialing { to };
        }
        match (landed, target, self.config.endpoint().clone()) {
            (Some(landed), _, _) => self.dial(now, to, landed),
            (None, MoveTarget::Endpoint(target), _) => self.dial_target(now, to, &target),
            (None, MoveTarget::SameName, Endpoint::Tcp { host: Host::Name(name), .. }) => {
                self.resolve(to, Lookup::Name, &name);
            }
            (None, MoveTarget::SameName, literal) => {
                self.dial_handoff(now, from, to, Lookup::Name, literal.peer().into_iter().collect());
            }
        }
    }

    /// The addresses that a handoff may dial are known.
    pub(super) fn dial_handoff(
        &mut self,
        now: Instant,
        from: ConnId,
        to: ConnId,
        lookup: Lookup,
        peers: Vec<Peer>,
    ) {
        if matches!(lookup, Lookup::Target { .. }) {
            return self.dial_any(now, to, &peers);
        }
        self.note_advertised(&peers);
        let fresh: Vec<Peer> = peers.iter().filter(|peer| !self.moves.contains_key(*peer)).cloned().collect();
        if !fresh.is_empty() {
            return self.dial_any(now, to, &fresh);
        }
        let Some(handoff) = self.handoffs.get(&from) else { return };
        let Some(of) = self.moves.get_mut(&handoff.source) else { return };
        let last_chance = of.last_chance();
        if now < last_chance || of.chance_taken {
            let pause = self.rng.jitter(LOOKUP_INTERVAL, LOOKUP_JITTER_PERCENT);
            let at = after(now, pause);
            return self.look_again(now, from, to, if now < last_chance { at.min(last_chance) } else { at });
        }
        of.chance_taken = true;
        if let Some(entry) = self.conns.get_mut(to) {
            // A virtual address may lead to the new node by now. If it does not, a MOVING right after the opt-in says so.
            entry.avoid = None;
        }
        self.dial_any(now, to, &peers);
    }

    /// The name still leads to the retiring address: that was no attempt. Frees the worker until `at`.
    fn look_again(&mut self, now: Instant, from: ConnId, to: ConnId, at: Instant) {
        self.working.remove(&to);
        self.breakers.settle(now, to, Verdict::Cancelled);
        self.forget(to, CloseCause::ByClient);
        if let Some(handoff) = self.handoffs.get_mut(&from) {
            handoff.attempts -= 1;
        }
        self.wait(from, at);
    }

    /// The right to send a scout: `None` where no breaker has a say, because the scout has arrived already, the server
    /// named no target, or this is the last attempt of the budget.
    fn scout_permit(&mut self, now: Instant, from: ConnId, source: &Peer) -> Result<Option<Permit>, Denied> {
        let Some(of) = self.moves.get(source) else { return Ok(None) };
        let Some(target @ MoveTarget::Endpoint(_)) = &of.target else { return Ok(None) };
        let attempts = self.handoffs.get(&from).map_or(0, |handoff| handoff.attempts);
        let last = attempts > self.config.maintenance().max_handoff_retries();
        if of.landed.is_some() || last {
            return Ok(None);
        }
        self.breakers.try_acquire(now, target).map(Some)
    }

    /// The new connection is ready: from here on it serves, and the old one drains.
    pub(super) fn cut_over(&mut self, now: Instant, from: ConnId, to: ConnId, peer: &Peer) {
        self.working.remove(&to);
        self.breakers.settle(now, to, Verdict::Success);
        let Some(handoff) = self.handoffs.remove(&from) else { return };
        self.directives.push_back(Directive::CutOver { from, to });
        let relaxed_for = self.config.maintenance().post_handoff_relaxed_duration();
        if !relaxed_for.is_zero() {
            let scope = WindowScope::Connection(to);
            self.open_window(now, scope, Cause::Handoff, None, after(now, relaxed_for));
        }
        if let Some(seq) = self.moves.get(&handoff.source).map(|of| of.key.seq) {
            self.reinstate(now, &handoff.source, peer, seq);
        }
        let Some(of) = self.moves.get_mut(&handoff.source) else { return };
        of.open = of.open.saturating_sub(1);
        of.moved += 1;
        of.landed.get_or_insert_with(|| peer.clone());
        of.scouting = false;
        let followers = std::mem::take(&mut of.behind_scout);
        let until = of.deadline.max(after(now, self.config.maintenance().relaxed_timeout()));
        for follower in followers {
            self.line_up(follower);
        }
        if let Some(entry) = self.conns.get_mut(from) {
            entry.phase = Phase::Draining { since: now, successor: to };
            self.timers.arm(TimerKey::Conn(from), until);
            self.directives.push_back(Directive::Drain { conn: from, until });
        }
        self.report_finished(now, &handoff.source);
    }

    /// An attempt of the handoff of `from` failed.
    pub(super) fn handoff_failed(
        &mut self,
        now: Instant,
        from: ConnId,
        to: ConnId,
        error: ConnectError,
        at_once: bool,
    ) {
        self.working.remove(&to);
        // A refused opt-in says nothing about whether the target is alive.
        let refused = matches!(error, ConnectError::Handshake(HandshakeError::MaintenanceRefused { .. }));
        self.breakers.settle(now, to, if refused || at_once { Verdict::Cancelled } else { Verdict::Failure });
        if self.conns.get(from).is_none() {
            // The old connection is gone as well: opening another one is the owner's business.
            self.leave_move(now, from);
            return self.report_failure(to, error, at_once);
        }
        if !at_once {
            return self.retry_or_stay(now, from, error);
        }
        let Some(handoff) = self.handoffs.get_mut(&from) else { return };
        let attempt = handoff.attempts;
        handoff.attempts -= 1;
        self.emit(Event::HandoffFailed { from, error, attempt, retry_at: Some(now) });
        self.line_up(from);
    }

    /// The next attempt begins when the schedule says so, if it does.
    fn retry_or_stay(&mut self, now: Instant, from: ConnId, error: ConnectError) {
        let Some(handoff) = self.handoffs.get(&from) else { return };
        let Some(of) = self.moves.get(&handoff.source) else { return };
        let attempt = handoff.attempts;
        let retry_at = of.schedule.retry_at(now, attempt, &mut self.rng);
        self.emit(Event::HandoffFailed { from, error, attempt, retry_at });
        match retry_at {
            Some(at) => self.wait(from, at),
            None => self.stay_put(now, from),
        }
    }

    /// The budget is spent: the old connection serves until the server closes it, and so do those behind the scout.
    pub(super) fn stay_put(&mut self, now: Instant, from: ConnId) {
        let Some(source) = self.handoffs.get(&from).map(|handoff| handoff.source.clone()) else { return };
        let Some(of) = self.moves.get_mut(&source) else { return };
        let mut staying = vec![from];
        if of.landed.is_none() {
            of.scouting = false;
            staying.extend(of.behind_scout.drain(..));
        }
        for conn in staying {
            of.open = of.open.saturating_sub(1);
            of.stayed += 1;
            if let Some(handoff) = self.handoffs.get_mut(&conn) {
                handoff.state = HandoffState::StayPut;
            }
        }
        self.report_finished(now, &source);
    }

    /// The connection that was to be moved is gone. A dial that is under way becomes its successor's; one whose address
    /// is not even known is given up.
    pub(super) fn abandon_handoff(&mut self, now: Instant, from: ConnId) {
        if let Some(HandoffState::Dialing { to }) = self.handoffs.get(&from).map(|handoff| &handoff.state) {
            let to = *to;
            if !self.conns.get(to).is_some_and(|entry| matches!(entry.phase, Phase::Resolving(_))) {
                return;
            }
            self.give_up_dial(now, to);
        }
        self.leave_move(now, from);
    }

    /// The connection that was to be moved is given up, and nothing is to take its place.
    pub(super) fn cancel_handoff(&mut self, now: Instant, from: ConnId) {
        if let Some(HandoffState::Dialing { to }) = self.handoffs.get(&from).map(|handoff| &handoff.state) {
            let to = *to;
            self.give_up_dial(now, to);
        }
        self.leave_move(now, from);
    }

    fn give_up_dial(&mut self, now: Instant, to: ConnId) {
        self.working.remove(&to);
        self.breakers.settle(now, to, Verdict::Cancelled);
        self.forget(to, CloseCause::ByClient);
        self.close(to, CloseCause::ByClient);
    }

    pub(super) fn leave_move(&mut self, now: Instant, from: ConnId) {
        let Some(Handoff { source, state, .. }) = self.handoffs.remove(&from) else { return };
        self.timers.cancel(&TimerKey::Handoff(from));
        let Some(of) = self.moves.get_mut(&source) else { return };
        match state {
            HandoffState::StayPut => return,
            HandoffState::BehindScout => of.behind_scout.retain(|conn| *conn != from),
            HandoffState::Queued(ticket) => self.queue.remove(of.deadline, ticket),
            HandoffState::Dialing { .. } | HandoffState::Waiting | HandoffState::BehindDrain => {}
        }
        let was_scout = of.landed.is_none() && !matches!(state, HandoffState::BehindScout);
        of.open = of.open.saturating_sub(1);
        if was_scout {
            of.scouting = false;
            self.send_scout(now, &source);
        }
        self.report_finished(now, &source);
    }
}

/// The connection that `conn` has taken the place of, while it still works on its last replies.
fn draining_predecessor(conns: &Arena<ConnId, Conn>, conn: ConnId) -> Option<ConnId> {
    let is_draining =
        |conn: &ConnId| conns.get(*conn).is_some_and(|old| matches!(old.phase, Phase::Draining { .. }));
    conns.get(conn)?.follows.filter(is_draining)
}

impl Move {
    /// For how long a connection waits for its own predecessor to drain.
    pub(super) fn patience(&self) -> Instant {
        half_time(self.started_at, self.deadline, self.schedule.budget_end())
    }

    /// When the same address is dialled although the name did not change: late, but with time to spare.
    fn last_chance(&self) -> Instant {
        self.started_at + self.schedule.budget_end().saturating_duration_since(self.started_at) / 5 * 4
    }
}
