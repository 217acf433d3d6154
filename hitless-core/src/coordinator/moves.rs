//! A move: what one MOVING starts for all connections to one address, from its beginning to its end.

use std::collections::VecDeque;
use std::time::Instant;

use super::queue::Ticket;
use super::{Coordinator, TimerKey};
use crate::backoff::HandoffSchedule;
use crate::breaker::Verdict;
use crate::endpoint::Peer;
use crate::error::{CloseCause, ConnectError};
use crate::event::Event;
use crate::ids::ConnId;
use crate::notification::{MoveTarget, Notification, Seq};
use crate::target_policy::TargetVerdict;
use crate::timer::after;

/// What makes two MOVINGs the same: the ids alone are not enough, because overlapping ones were seen to share theirs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct MoveKey {
    pub(super) source: Peer,
    pub(super) seq: Seq,
    pub(super) target: MoveTarget,
}

/// When the connections have to leave, and where for: as announced, or as a reviewer has changed it.
#[derive(Debug)]
pub(super) struct Departure {
    pub(super) announced_at: Instant,
    pub(super) deadline: Instant,
    pub(super) target: MoveTarget,
    /// The server has announced it by a MOVING; otherwise the address has left the name's answers without a word.
    pub(super) announced: bool,
}

impl MoveKey {
    /// The move that `notification` announces to the connections to `source`, if it is a MOVING.
    pub(super) fn of(source: &Peer, notification: &Notification) -> Option<Self> {
        let Notification::Moving { seq, target, .. } = notification else { return None };
        Some(Self { source: source.clone(), seq: *seq, target: target.clone() })
    }
}

/// The retirement of one address. It owns one handoff per connection there.
#[derive(Clone, Debug)]
pub(super) struct Move {
    pub(super) key: MoveKey,
    /// Where it leads; `None` if the policy on targets has vetoed that.
    pub(super) target: Option<MoveTarget>,
    pub(super) announced: bool,
    pub(super) started_at: Instant,
    pub(super) deadline: Instant,
    pub(super) schedule: HandoffSchedule,
    /// Nobody dials before.
    pub(super) scout_at: Instant,
    /// Where the scout arrived: the others dial there without asking again.
    pub(super) landed: Option<Peer>,
    /// Handoffs that wait for the scout to arrive.
    pub(super) behind_scout: VecDeque<ConnId>,
    pub(super) scouting: bool,
    /// The address itself was dialled once more, because the name did not change.
    pub(super) chance_taken: bool,
    /// Handoffs that are neither done nor given up.
    pub(super) open: u32,
    pub(super) moved: u32,
    pub(super) stayed: u32,
    pub(super) reported: bool,
    /// Which of the places to dial is tried since the last connection to the source was lost.
    pub(super) turn_after_close: usize,
    /// The dial whose failure makes it the next one's turn: one decides for all that dial at the same time.
    pub(super) turn_taken_by: Option<ConnId>,
}

/// One connection's part in a move.
#[derive(Clone, Debug)]
pub(super) struct Handoff {
    pub(super) source: Peer,
    /// Attempts made.
    pub(super) attempts: u32,
    pub(super) state: HandoffState,
}

#[derive(Clone, Debug)]
pub(super) enum HandoffState {
    /// Waits for the scout to show that the target is alive.
    BehindScout,
    /// Waits for a worker.
    Queued(Ticket),
    /// A worker is resolving, dialling or in the handshake.
    Dialing { to: ConnId },
    /// Waits until the next attempt, or until the name is looked up again.
    Waiting,
    /// Waits until the predecessor of its connection has drained, so that no slot has three connections; but not for ever.
    BehindDrain,
    /// The budget is spent; the old connection serves until the server closes it.
    StayPut,
}

/// When a move to an endpoint that was not named begins to look for it, because names are seen to lead to the new node only
/// late; and when a connection does not wait for its predecessor any more. Of a short move, whose budget is hardly longer
/// than the half of its time, a quarter of the budget is kept.
pub(super) fn half_time(announced_at: Instant, deadline: Instant, budget_end: Instant) -> Instant {
    let half = deadline.saturating_duration_since(announced_at) / 2;
    let most = budget_end.saturating_duration_since(announced_at) / 4 * 3;
    announced_at + half.min(most)
}

impl Coordinator {
    /// Begins to move every connection to the source of `key`, in the place of an older move of that source.
    pub(super) fn start_move(&mut self, now: Instant, key: MoveKey, departure: Departure) {
        let source = key.source.clone();
        let Departure { announced_at, deadline, target: wanted, announced } = departure;
        self.supersede(now, &source);
        let target = self.judge_target(&key, wanted);
        if let Some(address) = target.as_ref().and_then(MoveTarget::address) {
            self.reinstate(now, &source, &address, key.seq);
        }
        let maintenance = self.config.maintenance();
        let remembered_until = after(deadline, maintenance.window_cap());
        let ends_at = after(deadline, maintenance.relaxed_timeout().saturating_mul(2));
        let schedule = HandoffSchedule::new(
            now,
            deadline,
            maintenance.max_handoff_retries(),
            maintenance.handoff_timeout(),
        );
        let scout_at = match &target {
            Some(MoveTarget::SameName) if announced => {
                half_time(announced_at, deadline, schedule.budget_end())
            }
            Some(MoveTarget::SameName | MoveTarget::Endpoint(_)) | None => announced_at,
        };
        let named = match &target {
            Some(MoveTarget::Endpoint(endpoint)) => Some(endpoint.clone()),
            Some(MoveTarget::SameName) | None => None,
        };
        self.emit(Event::MoveStarted { source: source.clone(), target: named, seq: key.seq, deadline });
        if announced {
            self.finished.insert(now, key.clone(), remembered_until);
        }
        self.timers.arm(TimerKey::Move(source.clone()), ends_at);
        self.moves.insert(
            source.clone(),
            Move {
                key,
                target,
                announced,
                started_at: announced_at,
                deadline,
                schedule,
                scout_at,
                landed: None,
                behind_scout: VecDeque::new(),
                scouting: false,
                chance_taken: false,
                open: 0,
                moved: 0,
                stayed: 0,
                reported: false,
                turn_after_close: 0,
                turn_taken_by: None,
            },
        );
        let residents: Vec<ConnId> = self.by_peer.get(&source).into_iter().flatten().copied().collect();
        for conn in residents {
            self.enrol(now, conn, &source);
        }
        self.report_if_all_stay(now, &source);
    }

    /// What the policy on targets makes of `target`; `None` if nothing may be dialled.
    fn judge_target(&mut self, key: &MoveKey, target: MoveTarget) -> Option<MoveTarget> {
        let MoveTarget::Endpoint(endpoint) = target else { return Some(target) };
        let (source, seq) = (key.source.clone(), key.seq);
        match self.config.maintenance().judge_target(&endpoint, &source) {
            TargetVerdict::Allow => Some(MoveTarget::Endpoint(endpoint)),
            TargetVerdict::Rewrite(to) => {
                self.emit(Event::TargetRewritten { source, announced: endpoint, target: to.clone(), seq });
                Some(MoveTarget::Endpoint(to))
            }
            TargetVerdict::Veto => {
                self.emit(Event::TargetVetoed { source, target: endpoint, seq });
                None
            }
        }
    }

    /// A newer MOVING: what the older one has begun is undone.
    pub(super) fn supersede(&mut self, now: Instant, source: &Peer) {
        let Some(of) = self.moves.get(source) else { return };
        let seq = of.key.seq;
        self.emit(Event::MoveSuperseded { source: source.clone(), seq });
        self.end_move(now, source);
    }

    /// A move with the id `seq` leads from `source` to `address`: if an older one retired that, it is in service again. Of
    /// moves with one id that lead round in a circle the latest counts, or nobody would ever arrive.
    pub(super) fn reinstate(&mut self, now: Instant, source: &Peer, address: &Peer, seq: Seq) {
        let Some(retired_by) = self.moves.get(address).map(|of| of.key.seq) else { return };
        if retired_by < seq || (address != source && self.leads_to(seq, address, source)) {
            self.supersede(now, address);
        }
    }

    /// Whether who follows the live moves with the id `seq` from `start` comes to `end`.
    fn leads_to(&self, seq: Seq, start: &Peer, end: &Peer) -> bool {
        let next = |at: &Peer| {
            let of = self.moves.get(at).filter(|of| of.key.seq == seq)?;
            of.landed.clone().or_else(|| of.target.as_ref()?.address())
        };
        std::iter::successors(Some(start.clone()), next).take(self.moves.len() + 1).any(|at| at == *end)
    }

    /// Forgets a move and what it has begun.
    pub(super) fn end_move(&mut self, now: Instant, source: &Peer) {
        let Some(of) = self.moves.remove(source) else { return };
        self.timers.cancel(&TimerKey::Move(source.clone()));
        let concerned: Vec<ConnId> = self
            .handoffs
            .iter()
            .filter(|(_, handoff)| handoff.source == *source)
            .map(|(from, _)| *from)
            .collect();
        for from in concerned {
            let Some(handoff) = self.handoffs.remove(&from) else { continue };
            self.timers.cancel(&TimerKey::Handoff(from));
            match handoff.state {
                HandoffState::Queued(ticket) => self.queue.remove(of.deadline, ticket),
                HandoffState::Dialing { to } => self.abort_dial(now, from, to),
                HandoffState::BehindScout
                | HandoffState::Waiting
                | HandoffState::BehindDrain
                | HandoffState::StayPut => {}
            }
        }
    }

    fn abort_dial(&mut self, now: Instant, from: ConnId, to: ConnId) {
        self.working.remove(&to);
        self.breakers.settle(now, to, Verdict::Cancelled);
        self.forget(to, CloseCause::ByClient);
        if self.conns.get(from).is_none() {
            self.report_failure(to, ConnectError::Retiring, true);
        }
        self.close(to, CloseCause::ByClient);
    }

    /// A move whose target was vetoed is over for whoever joins it.
    pub(super) fn report_if_all_stay(&mut self, now: Instant, source: &Peer) {
        if self.moves.get(source).is_some_and(|of| of.target.is_none()) {
            self.report_finished(now, source);
        }
    }

    pub(super) fn report_finished(&mut self, now: Instant, source: &Peer) {
        let Some(of) = self.moves.get_mut(source).filter(|of| of.open == 0 && !of.reported) else { return };
        of.reported = true;
        let event = Event::MoveFinished {
            source: source.clone(),
            seq: of.key.seq,
            moved: of.moved,
            stayed: of.stayed,
            took: now.saturating_duration_since(of.started_at),
        };
        self.emit(event);
    }
}
