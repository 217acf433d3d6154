//! Names with several addresses: an attempt tries one after the other, and two at a time where one takes long.
//!
//! ```text
//! the dial fails, or 250 ms pass      the next address is dialled; no more than two at a time
//! one of two is connected             it does the handshake, the other one is closed
//! the handshake fails, or takes more  the next address is dialled, unless it was the credentials
//! than its share of the time
//! ```

#[cfg(feature = "explore")]
mod fingerprint;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use super::super::timers::Timers;
use super::{Attempt, Attempts, Dial, End, Next, Phase, Purpose, Retry, Step};
use crate::dedup::Remembered;
use crate::endpoint::{Peer, Target};
use crate::error::{ConnectError, HandshakeError};
use crate::ids::ConnId;
use crate::timer::after;

/// How long the first dial is alone.
const PATIENCE: Duration = Duration::from_millis(250);
/// How long two dials are given while others wait, where an attempt has no limit of which they could have a share.
const PATIENCE_WITH_TWO: Duration = Duration::from_secs(1);
/// The least that a handshake is given while other addresses wait.
const HANDSHAKE: Duration = Duration::from_secs(1);
/// How long a handshake is given while others wait, where an attempt has no limit of which it could have a share.
const HANDSHAKE_WITHOUT_LIMIT: Duration = Duration::from_secs(5);
/// Addresses of one name that are tried; nobody was seen to have more.
const ADDRESSES: usize = 64;
/// An address at which an attempt got no further comes last for so long.
const SHUNNED_FOR: Duration = Duration::from_secs(30);

/// What attempts know of addresses and of each other's dials.
#[derive(Debug)]
#[cfg_attr(feature = "explore", derive(Clone))]
pub(super) struct Course {
    /// Which of several addresses is dialled first.
    turn: usize,
    /// When attempts go on to their next addresses, though the last one has not failed.
    patience: Timers<ConnId>,
    /// The attempts of the dials that stand beside another one.
    beside: BTreeMap<ConnId, ConnId>,
    /// Addresses whose handshake failed or took too long: the others go first.
    shunned: Remembered<Peer>,
}

impl Course {
    pub(super) const fn new() -> Self {
        Self {
            turn: 0,
            patience: Timers::new(),
            beside: BTreeMap::new(),
            shunned: Remembered::new(ADDRESSES),
        }
    }

    /// The attempt `conn` has ended.
    pub(super) fn forget(&mut self, conn: ConnId) {
        self.patience.cancel(&conn);
    }

    pub(super) fn forget_beside(&mut self, conn: ConnId) {
        self.beside.remove(&conn);
    }

    /// The attempt to which the dial `conn` belongs.
    pub(super) fn attempt_of(&self, conn: ConnId) -> ConnId {
        self.beside.get(&conn).copied().unwrap_or(conn)
    }

    pub(super) fn dials_beside(&self) -> usize {
        self.beside.len()
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.patience.next()
    }

    /// `attempt` gets no further where it is: where there is a choice, the others go first.
    pub(super) fn shun(&mut self, now: Instant, attempt: &Attempt) {
        for dial in attempt.dials() {
            self.shunned.insert(now, dial.target.address.clone(), after(now, SHUNNED_FOR));
        }
    }
}

impl Attempts {
    /// `targets` from the one whose turn it is.
    pub(in super::super) fn in_turn(&mut self, targets: &[Target]) -> VecDeque<Target> {
        let Course { turn, .. } = &mut self.course;
        let mut order: VecDeque<Target> = targets.iter().take(ADDRESSES).cloned().collect();
        if order.len() > 1 {
            let ahead = *turn % order.len();
            *turn = turn.wrapping_add(1);
            order.rotate_left(ahead);
        }
        order
    }

    /// Whether an attempt got no further at `address` a moment ago.
    pub(in super::super) fn is_shunned(&self, now: Instant, address: &Peer) -> bool {
        self.course.shunned.contains(now, address)
    }

    /// Dials, and goes on to the `untried` addresses if nothing comes of it.
    pub(in super::super) fn dial(
        &mut self,
        now: Instant,
        conn: ConnId,
        dial: Dial,
        untried: VecDeque<Target>,
    ) {
        let Some(attempt) = self.live.get_mut(conn) else { return };
        attempt.phase = Phase::Dialing { dial: dial.clone(), beside: None };
        attempt.untried = untried;
        let purpose = attempt.purpose.clone();
        self.steps.push_back(Step::Dial { conn, dial, purpose, after: None });
        self.be_patient(now, conn);
    }

    /// The attempt `conn` has the id `next` for the dial that [`Step::Next`] asked for.
    pub(in super::super) fn dial_next(
        &mut self,
        now: Instant,
        conn: ConnId,
        next: ConnId,
        dial: Dial,
        how: Next,
    ) {
        let Some(attempt) = self.live.get_mut(conn) else { return };
        let purpose = attempt.purpose.clone();
        let step = Step::Dial { conn: next, dial: dial.clone(), purpose, after: Some(conn) };
        match (how, &mut attempt.phase) {
            (Next::Beside, Phase::Dialing { beside, .. }) => {
                self.steps.push_back(step);
                *beside = Some((next, dial));
                self.course.beside.insert(next, conn);
                self.be_patient(now, conn);
            }
            (Next::Beside, _) => {}
            (Next::Instead { must_close }, phase) => {
                self.steps.push_back(step);
                let failed = phase.dial().cloned();
                *phase = Phase::Dialing { dial, beside: None };
                self.rename(conn, next);
                self.steps.push_back(Step::Left { conn, to: Some(next), failed, must_close });
                self.be_patient(now, next);
            }
        }
    }

    /// The first dial of an attempt that is connected does the handshake.
    pub(in super::super) fn handle_connected(&mut self, now: Instant, conn: ConnId, peer: Peer) {
        let known_by = self.course.attempt_of(conn);
        let Some(attempt) = self.live.get_mut(known_by) else { return };
        let Phase::Dialing { dial, beside } = &mut attempt.phase else { return };
        let (mut dial, mut loser) = (dial.clone(), None);
        if let Some((second, other)) = beside.take() {
            let (id, lost) = if known_by == conn {
                (second, other)
            } else {
                (known_by, std::mem::replace(&mut dial, other))
            };
            loser = Some(id);
            // It was slower, which is not to say that it is worse: it comes last.
            attempt.untried.push_back(lost.target);
        }
        let is_retiring = attempt.avoid.as_ref() == Some(&peer);
        attempt.phase = Phase::Negotiating { dial, peer, is_ending: false };
        if known_by != conn {
            self.course.forget_beside(conn);
            self.rename(known_by, conn);
        }
        if let Some(loser) = loser {
            self.course.forget_beside(loser);
            let to = (loser == known_by).then_some(conn);
            self.steps.push_back(Step::Left { conn: loser, to, failed: None, must_close: true });
        }
        self.be_patient(now, conn);
        if is_retiring {
            self.fail_from_here(now, conn, ConnectError::Retiring);
        }
    }

    /// The owner could not resolve, dial or negotiate, and has nothing left of `conn`. With [`Retry::AtOnce`] the attempt ends,
    /// and the next one asks the same address for less.
    pub(in super::super) fn fail(&mut self, now: Instant, conn: ConnId, error: ConnectError, retry: Retry) {
        let error = self.with_place(conn, error);
        match retry {
            Retry::AtOnce => self.end(now, conn, End::Failed { error, retry }, false),
            Retry::Later => self.go_on(now, conn, error, false),
        }
    }

    pub(super) fn fail_from_here(&mut self, now: Instant, conn: ConnId, error: ConnectError) {
        self.go_on(now, conn, error, true);
    }

    /// Nobody wants the connection any more, and the owner is told to give it up.
    pub(in super::super) fn cancel(&mut self, now: Instant, conn: ConnId) {
        self.end(now, conn, End::Cancelled, true);
    }

    /// The owner has given `conn` up, or there is nothing that it could give up: what else there is of the attempt ends, too.
    pub(in super::super) fn forget(&mut self, now: Instant, conn: ConnId) {
        let known_by = self.course.attempt_of(conn);
        if known_by != conn {
            self.course.forget_beside(conn);
            if let Some(Phase::Dialing { beside, .. }) =
                self.live.get_mut(known_by).map(|attempt| &mut attempt.phase)
            {
                *beside = None;
            }
            self.steps.push_back(Step::Left { conn, to: None, failed: None, must_close: false });
        }
        self.end(now, known_by, End::Cancelled, known_by != conn);
    }

    /// Attempts whose dial or handshake takes long go on to their next addresses.
    pub(super) fn leave_slow_ones(&mut self, now: Instant) {
        while let Some(conn) = self.course.patience.fire(now) {
            let Some(attempt) = self.live.get(conn) else { continue };
            if let Phase::Negotiating { .. } = attempt.phase {
                let limit = attempt.limit.unwrap_or(HANDSHAKE_WITHOUT_LIMIT);
                self.fail_from_here(now, conn, ConnectError::HandshakeTimedOut(limit));
            } else if !self.leave(now, conn, true) {
                self.dial_beside(conn);
            }
            // Otherwise there were two dials already, and the older one has given way.
        }
    }

    /// The dial `conn` has failed: the attempt goes on, or ends.
    fn go_on(&mut self, now: Instant, conn: ConnId, error: ConnectError, must_close: bool) {
        if self.leave(now, conn, must_close) {
            return;
        }
        let Some(attempt) = self.live.get_mut(conn) else { return };
        if let Phase::Negotiating { .. } = attempt.phase {
            self.course.shun(now, attempt);
        }
        let has_time = attempt.until.is_none_or(|until| now < until);
        let next = if has_time && is_of_the_address(&error) { attempt.untried.pop_front() } else { None };
        let Some(target) = next else {
            return self.end(now, conn, End::Failed { error, retry: Retry::Later }, must_close);
        };
        let is_slow = matches!(error, ConnectError::TimedOut(_) | ConnectError::HandshakeTimedOut(_));
        if let (Phase::Negotiating { .. }, false) = (&attempt.phase, is_slow) {
            attempt.refusal = Some(error);
        }
        self.steps.push_back(Step::Next { conn, target, how: Next::Instead { must_close } });
    }

    /// If the attempt of the dial `conn` has another dial under way, that one goes on, and the next address is dialled beside
    /// it. False if there is no other.
    fn leave(&mut self, now: Instant, conn: ConnId, must_close: bool) -> bool {
        let known_by = self.course.attempt_of(conn);
        let Some(attempt) = self.live.get_mut(known_by) else { return false };
        let Phase::Dialing { dial, beside } = &mut attempt.phase else { return false };
        let Some((other, second)) = beside.take() else { return false };
        self.course.forget_beside(other);
        let (mut failed, mut to) = (second, None);
        if known_by == conn {
            std::mem::swap(dial, &mut failed);
            self.rename(conn, other);
            to = Some(other);
        }
        self.steps.push_back(Step::Left { conn, to, failed: Some(failed), must_close });
        let known_by = to.unwrap_or(known_by);
        self.be_patient(now, known_by);
        self.dial_beside(known_by);
        true
    }

    fn dial_beside(&mut self, conn: ConnId) {
        let Some(target) = self.live.get_mut(conn).and_then(|attempt| attempt.untried.pop_front()) else {
            return;
        };
        self.steps.push_back(Step::Next { conn, target, how: Next::Beside });
    }

    /// From now on the attempt `from` is known by the id `to`.
    fn rename(&mut self, from: ConnId, to: ConnId) {
        let Some(attempt) = self.live.remove(from) else { return };
        if let Purpose::Replace { from: replaced, .. } = attempt.purpose {
            self.replacing.insert(replaced, to);
        }
        self.limits.cancel(&from);
        if let Some(until) = attempt.until {
            self.limits.arm(to, until);
        }
        self.course.forget(from);
        self.live.insert(to, attempt);
    }

    /// Says when the attempt `conn` goes on to its next address though the last one has not failed: the first dial is alone for
    /// a moment, and two of them, or a handshake, have a share of the time that is left.
    fn be_patient(&mut self, now: Instant, conn: ConnId) {
        self.course.patience.cancel(&conn);
        let Some(Attempt { phase, until, untried, .. }) = self.live.get(conn).map(Box::as_ref) else {
            return;
        };
        let others = u32::try_from(untried.len()).unwrap_or(u32::MAX);
        if others == 0 {
            return;
        }
        let share = until.map(|until| until.saturating_duration_since(now) / others.saturating_add(1));
        let wait = match phase {
            Phase::Undecided | Phase::Resolving { .. } => return,
            Phase::Dialing { beside: None, .. } => PATIENCE,
            Phase::Dialing { beside: Some(_), .. } => share.unwrap_or(PATIENCE_WITH_TWO).max(PATIENCE),
            Phase::Negotiating { .. } => share.unwrap_or(HANDSHAKE_WITHOUT_LIMIT).max(HANDSHAKE),
        };
        self.course.patience.arm(conn, after(now, wait));
    }
}

/// Whether another address may do better: credentials and settings are the same everywhere.
fn is_of_the_address(error: &ConnectError) -> bool {
    match error {
        ConnectError::Handshake(HandshakeError::Refused { .. }) => error.is_transient(),
        ConnectError::Credentials(_) | ConnectError::ShutDown => false,
        _ => true,
    }
}
