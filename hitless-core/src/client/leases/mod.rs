//! Leases: the callers that wait for a connection of their own, which connection each has, and the state that they leave on it.

#[cfg(feature = "explore")]
mod fingerprint;
mod seats;
mod session;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use self::seats::Seats;
use self::session::{Session, ends_queue};
use crate::backoff::Reconnect;
use crate::coordinator::Redial;
use crate::error::{CloseCause, ConnectError};
use crate::ids::{Arena, ConnId, LeaseId, RequestId};
use crate::request::{Outcome, Request, Special, Vetting};
use crate::rng::Rng;
use crate::timer::{after, earliest};

/// The dedicated connections and those who wait for one.
#[derive(Debug)]
#[cfg_attr(feature = "explore", derive(Clone))]
pub(super) struct Leases {
    leases: Arena<LeaseId, Lease>,
    /// In the order in which they came; also some that have given up, which are passed over.
    queue: VecDeque<LeaseId>,
    /// How many of them wait.
    waiting: usize,
    /// How many may wait.
    waiting_limit: usize,
    /// Those who come later, and when.
    later: BTreeSet<(Instant, LeaseId)>,
    /// Connections that were lost with an open transaction: what was not answered there was only queued.
    queued: BTreeSet<ConnId>,
    /// Nobody's time is over before this instant. It is a lower bound: those who leave do not change it.
    quiet_until: Option<Instant>,
    seats: Seats,
    /// No connection is opened before this instant.
    retry_at: Option<Instant>,
    pauses: Reconnect,
    /// Why the last attempt to open a connection has failed, if none was opened since.
    failure: Option<Arc<ConnectError>>,
    rng: Rng,
}

#[derive(Debug)]
#[cfg_attr(feature = "explore", derive(Clone))]
enum Lease {
    /// It is wanted from then on.
    Later {
        at: Instant,
        limit: Option<Duration>,
    },
    Waiting {
        since: Instant,
        until: Option<Instant>,
    },
    Held {
        seat: usize,
        session: Session,
        under_way: VecDeque<UnderWay>,
        /// The latest refusal came in a window.
        refused_in_window: bool,
    },
    Lost {
        cause: CloseCause,
        refused_in_window: bool,
    },
}

/// A request that is not answered and changes the state of its connection.
#[derive(Clone, Debug)]
struct UnderWay {
    request: RequestId,
    special: Arc<Special>,
}

/// The state of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holding {
    /// A connection.
    Connection(ConnId),
    /// Nothing any more.
    Lost(CloseCause),
    /// Nothing yet, or the lease is over.
    Nothing,
}

/// What the client does with a connection that is returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Returned {
    /// Nothing: the lease waited, was lost, or is over.
    Nothing,
    /// The connection is as the handshake has left it. `is_awaited`: the coordinator waits to switch from it.
    Clean { conn: ConnId, is_awaited: bool },
    /// The connection is to be closed.
    Dirty(ConnId),
}

impl Leases {
    pub(super) fn new(limit: usize, waiting_limit: usize, seed: u64) -> Self {
        Self {
            leases: Arena::new(),
            queue: VecDeque::new(),
            waiting: 0,
            waiting_limit,
            later: BTreeSet::new(),
            queued: BTreeSet::new(),
            quiet_until: None,
            seats: Seats::new(limit),
            retry_at: None,
            pauses: Reconnect::new(),
            failure: None,
            // Neither the coordinator's sequence nor the pool's.
            rng: Rng::new(seed ^ 0x5851_f42d_4c95_7f2d),
        }
    }

    // ---- waiting

    /// Somebody wants a connection within `limit`. `None` if too many wait.
    pub(super) fn wait(&mut self, now: Instant, limit: Option<Duration>) -> Option<LeaseId> {
        if self.is_crowded() {
            return None;
        }
        Some(self.rejoin(now, limit))
    }

    /// [`wait`](Self::wait) for somebody who was accepted before, and is not turned away for the crowd.
    pub(super) fn rejoin(&mut self, now: Instant, limit: Option<Duration>) -> LeaseId {
        let until = limit.map(|limit| after(now, limit));
        let lease = self.leases.insert(Lease::Waiting { since: now, until });
        self.enqueue(lease, until);
        lease
    }

    /// Somebody wants a connection from `at` on, within `limit` from then. `None` if too many wait.
    pub(super) fn wait_from(&mut self, at: Instant, limit: Option<Duration>) -> Option<LeaseId> {
        if self.is_crowded() {
            return None;
        }
        let lease = self.leases.insert(Lease::Later { at, limit });
        self.later.insert((at, lease));
        Some(lease)
    }

    /// How long somebody waits who has lost `losses` connections one after the other, before the next one.
    pub(super) fn pause_after(&mut self, losses: u32) -> Duration {
        Reconnect::after(losses.saturating_sub(1), &mut self.rng)
    }

    /// Those who wanted to come later wait from now on, if it is time.
    pub(super) fn begin_waits(&mut self, now: Instant) {
        while let Some((at, lease)) = self.later.first().copied().filter(|(at, _)| *at <= now) {
            self.later.remove(&(at, lease));
            if let Some(place) = self.leases.get_mut(lease)
                && let Lease::Later { limit, .. } = *place
            {
                let until = limit.map(|limit| after(now, limit));
                *place = Lease::Waiting { since: now, until };
                self.enqueue(lease, until);
            }
        }
    }

    /// Those who wanted to come later wait from now on.
    pub(super) fn begin_all_waits(&mut self) {
        if let Some((latest, _)) = self.later.last().copied() {
            self.begin_waits(latest);
        }
    }

    /// A window is open: extends the time of those who wait, or come later.
    pub(super) fn relax(&mut self, relaxed: Duration) {
        for (_, lease) in &self.later {
            if let Some(Lease::Later { limit: Some(limit), .. }) = self.leases.get_mut(*lease) {
                *limit = relaxed.max(*limit);
            }
        }
        for lease in &self.queue {
            if let Some(Lease::Waiting { since, until: Some(until) }) = self.leases.get_mut(*lease) {
                *until = after(*since, relaxed).max(*until);
            }
        }
    }

    /// Gives a connection that nobody has to the one who has waited longest. To be called until there is no more.
    pub(super) fn lend(&mut self) -> Option<(LeaseId, ConnId)> {
        if self.waiting == 0 || !self.seats.has_idle() {
            return None;
        }
        let (lease, _) = self.take_first()?;
        let (seat, conn) = self.seats.lend(lease)?;
        let held = Lease::Held {
            seat,
            session: Session::default(),
            under_way: VecDeque::new(),
            refused_in_window: false,
        };
        if let Some(lease) = self.leases.get_mut(lease) {
            *lease = held;
        }
        Some((lease, conn))
    }

    /// Whether a connection is to be opened now for one of those who wait.
    pub(super) fn wants_connection(&self, now: Instant) -> bool {
        let may_dial = self.seats.opening() < self.waiting && self.seats.has_room();
        may_dial && self.retry_at.is_none_or(|at| at <= now)
    }

    /// The one who has waited longest gets nothing. Returns how long that was.
    pub(super) fn refuse_first(&mut self, now: Instant) -> Option<(LeaseId, Duration)> {
        let (lease, since) = self.take_first()?;
        self.leases.remove(lease);
        Some((lease, now.saturating_duration_since(since)))
    }

    /// Takes those out whose time is over, with how long they have waited.
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<(LeaseId, Duration)> {
        if self.quiet_until.is_none_or(|at| at > now) {
            return Vec::new();
        }
        let mut due = Vec::new();
        let mut next = None;
        self.queue.retain(|lease| match self.leases.get(*lease) {
            Some(Lease::Waiting { until, .. }) if until.is_none_or(|until| until > now) => {
                next = earliest([next, *until]);
                true
            }
            Some(Lease::Waiting { since, .. }) => {
                due.push((*lease, now.saturating_duration_since(*since)));
                false
            }
            Some(Lease::Later { .. } | Lease::Held { .. } | Lease::Lost { .. }) | None => false,
        });
        self.quiet_until = next;
        self.waiting = self.queue.len();
        for (lease, _) in &due {
            self.leases.remove(*lease);
        }
        due
    }

    // ---- connections

    /// Keeps a place among the dedicated connections for the subscriptions, or gives it back. False if there is none to keep.
    pub(super) fn reserve(&mut self, is_needed: bool) -> bool {
        self.seats.reserve(is_needed)
    }

    /// Whether there is room for the connection of the subscriptions.
    pub(super) fn has_reserved(&self) -> bool {
        self.seats.is_reserved()
    }

    /// A seat for a connection that is to be opened.
    pub(super) fn take_seat(&mut self) -> usize {
        self.seats.take()
    }

    /// Frees a seat for which nothing was opened.
    pub(super) fn free_if_empty(&mut self, seat: usize) {
        self.seats.free_if_empty(seat);
    }

    /// `conn` is being opened for `seat`.
    pub(super) fn assign(&mut self, seat: usize, conn: ConnId) {
        self.seats.assign(seat, conn);
    }

    /// `conn` is ready for whoever waits.
    pub(super) fn promote(&mut self, now: Instant, seat: usize, conn: ConnId) {
        self.failure = None;
        self.retry_at = None;
        self.seats.promote(now, seat, conn);
    }

    /// `conn` is no connection of `seat` any more.
    pub(super) fn vacate(&mut self, seat: usize, conn: ConnId) {
        self.seats.vacate(seat, conn);
    }

    /// `conn`, which has answered something or not, is about to be lost or left. False if it was good for nothing.
    pub(super) fn note_service(
        &mut self,
        now: Instant,
        seat: usize,
        conn: ConnId,
        has_answered: bool,
    ) -> bool {
        let (has_served, for_long) = self.seats.has_served(now, seat, conn, has_answered);
        if for_long {
            self.pauses.reset();
        }
        has_served
    }

    /// A connection could not be opened, or was lost right behind its handshake: the next dial waits a little.
    pub(super) fn note_failure(&mut self, now: Instant, error: ConnectError, redial: Redial) {
        let Some(pause) = redial.pause(&mut self.pauses, &mut self.rng) else { return };
        self.retry_at = Some(after(now, pause));
        self.failure = Some(Arc::new(error));
    }

    /// A successor of `conn` is ready. True if the switch may be made at once.
    pub(super) fn may_switch(&mut self, seat: usize, conn: ConnId) -> bool {
        self.seats.may_switch(seat, conn)
    }

    // ---- holding

    /// A request of `lease` was accepted.
    pub(super) fn note_request(&mut self, lease: LeaseId, id: RequestId, request: &Request) {
        let Some(Lease::Held { session, under_way, .. }) = self.leases.get_mut(lease) else { return };
        if request.vetting == Vetting::Unchecked {
            session.note_unknown();
        }
        if let Some(special) = request.special.as_ref().filter(|special| !special.changes.is_empty()) {
            under_way.push_back(UnderWay { request: id, special: Arc::clone(special) });
        }
    }

    /// A request on `conn` has ended.
    pub(super) fn note_outcome(&mut self, seat: usize, conn: ConnId, id: RequestId, outcome: &Outcome) {
        let Some((session, under_way)) = self.session(seat, conn) else { return };
        let special = take(under_way, id);
        match outcome {
            Ok(replies) => {
                session.note_replies(special.as_ref().map_or(&[][..], |it| &it.changes[..]), replies)
            }
            Err(_) => session.note_unknown(),
        }
    }

    /// A request on `conn` was cancelled: whether it has run is not known.
    pub(super) fn note_cancelled(&mut self, seat: usize, conn: ConnId, id: RequestId) {
        let Some((session, under_way)) = self.session(seat, conn) else { return };
        take(under_way, id);
        session.note_unknown();
    }

    /// The server of `conn` has refused to run something, inside a window or not.
    pub(super) fn note_refusal(&mut self, seat: usize, conn: ConnId, in_window: bool) {
        let Some(lease) = self.seats.holder(seat, conn) else { return };
        if let Some(Lease::Held { refused_in_window, .. }) = self.leases.get_mut(lease) {
            *refused_in_window = in_window;
        }
    }

    /// `conn` is not as a handshake of today would make it, in its credentials or its opt-in: nobody gets it after its holder.
    pub(super) fn note_stale(&mut self, seat: usize, conn: ConnId) {
        if let Some((session, _)) = self.session(seat, conn) {
            session.note_unknown();
        }
    }

    /// The connection of a lease is gone, or of no use any more. Returns the lease, if there was one.
    pub(super) fn lose(&mut self, seat: usize, conn: ConnId, cause: CloseCause) -> Option<LeaseId> {
        let lease = self.seats.lose(seat, conn)?;
        let refused_in_window = self.was_refused_in_window(lease);
        let lost = std::mem::replace(self.leases.get_mut(lease)?, Lease::Lost { cause, refused_in_window });
        if let Lease::Held { session, under_way, .. } = lost
            && session.queues()
            && !under_way
                .iter()
                .flat_map(|it| it.special.changes.iter())
                .any(|(_, change)| ends_queue(*change))
        {
            self.queued.insert(conn);
        }
        Some(lease)
    }

    /// Whether what was not answered on `conn`, which was lost, was only queued there. Asked once, when its requests end.
    pub(super) fn take_queued(&mut self, conn: ConnId) -> bool {
        self.queued.remove(&conn)
    }

    /// `lease` is over. `may_stay`: its connection may be kept, if it is as the handshake has left it.
    pub(super) fn give_back(&mut self, now: Instant, lease: LeaseId, may_stay: bool) -> Returned {
        let Some(ended) = self.leases.remove(lease) else { return Returned::Nothing };
        let (seat, session) = match ended {
            Lease::Held { seat, session, .. } => (seat, session),
            Lease::Later { at, .. } => {
                self.later.remove(&(at, lease));
                return Returned::Nothing;
            }
            Lease::Waiting { .. } => {
                self.leave_queue();
                return Returned::Nothing;
            }
            Lease::Lost { .. } => return Returned::Nothing,
        };
        let Some(conn) = self.seats.active(seat) else { return Returned::Nothing };
        // Also of one that is closed now: nobody holds it any more.
        let is_awaited = self.seats.give_back(now, seat);
        match may_stay && session.is_clean() {
            true => Returned::Clean { conn, is_awaited },
            false => Returned::Dirty(conn),
        }
    }

    // ---- reading

    /// A connection that nobody has used for long. To be closed, and to be asked for until there is none.
    pub(super) fn expired(&self, now: Instant) -> Option<ConnId> {
        self.seats.expired(now)
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let retry_at = self.retry_at.filter(|_| self.waiting > 0);
        let comes_at = self.later.first().map(|(at, _)| *at);
        earliest([self.quiet_until, self.seats.poll_timeout(), retry_at, comes_at])
    }

    /// The pause after a failed dial is over.
    pub(super) fn end_pause(&mut self, now: Instant) {
        self.retry_at = self.retry_at.filter(|at| *at > now);
    }

    pub(super) fn holding(&self, lease: LeaseId) -> Holding {
        match self.leases.get(lease) {
            Some(Lease::Held { seat, .. }) => {
                self.seats.active(*seat).map_or(Holding::Nothing, Holding::Connection)
            }
            Some(Lease::Lost { cause, .. }) => Holding::Lost(*cause),
            Some(Lease::Later { .. } | Lease::Waiting { .. }) | None => Holding::Nothing,
        }
    }

    /// Whether the latest refusal that the holder of `lease` was told came in a window.
    pub(super) fn was_refused_in_window(&self, lease: LeaseId) -> bool {
        match self.leases.get(lease) {
            Some(Lease::Held { refused_in_window, .. } | Lease::Lost { refused_in_window, .. }) => {
                *refused_in_window
            }
            Some(Lease::Later { .. } | Lease::Waiting { .. }) | None => false,
        }
    }

    /// Why there is no connection to lend, if that is the reason to wait. Where as many are there as may be, they are lent.
    pub(super) fn failure(&self) -> Option<&Arc<ConnectError>> {
        self.failure.as_ref().filter(|_| self.seats.has_room() || self.seats.opening() > 0)
    }

    /// Whether a connection to lend is being opened.
    pub(super) fn is_dialling(&self) -> bool {
        self.seats.opening() > 0
    }

    pub(super) fn active(&self, seat: usize) -> Option<ConnId> {
        self.seats.active(seat)
    }

    /// Whether somebody has `conn`.
    pub(super) fn is_lent(&self, seat: usize, conn: ConnId) -> bool {
        self.seats.holder(seat, conn).is_some()
    }

    /// Whether nobody gets `conn` any more.
    pub(super) fn is_retired(&self, seat: usize, conn: ConnId) -> bool {
        self.seats.is_retired(seat, conn)
    }

    /// The leases that have a connection.
    pub(super) fn lent(&self) -> impl Iterator<Item = (LeaseId, ConnId)> {
        self.seats.lent()
    }

    /// Who has `conn`.
    pub(super) fn holder(&self, seat: usize, conn: ConnId) -> Option<LeaseId> {
        self.seats.holder(seat, conn)
    }

    /// The connections that nobody has; the one that was used last longest ago is the first.
    pub(super) fn idle(&self) -> impl Iterator<Item = ConnId> {
        self.seats.idle()
    }

    /// The successor of the connection of `lease`, if it is ready and the coordinator waits for the switch.
    pub(super) fn successor(&self, lease: LeaseId) -> Option<ConnId> {
        match self.leases.get(lease)? {
            Lease::Held { seat, .. } => self.seats.successor(*seat),
            Lease::Later { .. } | Lease::Waiting { .. } | Lease::Lost { .. } => None,
        }
    }

    /// Whether as many wait as may.
    pub(super) fn is_crowded(&self) -> bool {
        self.waiting() >= self.waiting_limit
    }

    /// Those who wait, and those who come later.
    pub(super) fn waiting(&self) -> usize {
        self.waiting + self.later.len()
    }

    /// Dedicated connections, those that are being opened included.
    pub(super) fn dedicated(&self) -> usize {
        self.seats.taken()
    }

    /// Whether nothing is kept of connections that are gone, and nobody comes later.
    #[cfg(test)]
    pub(super) fn is_at_rest(&self) -> bool {
        self.queued.is_empty() && self.later.is_empty()
    }

    /// Takes out the one who has waited longest, and since when that was.
    fn take_first(&mut self) -> Option<(LeaseId, Instant)> {
        loop {
            let lease = self.queue.pop_front()?;
            if let Some(Lease::Waiting { since, .. }) = self.leases.get(lease) {
                self.waiting -= 1;
                return Some((lease, *since));
            }
        }
    }

    fn enqueue(&mut self, lease: LeaseId, until: Option<Instant>) {
        self.quiet_until = earliest([self.quiet_until, until]);
        self.queue.push_back(lease);
        self.waiting += 1;
    }

    /// One who waited has given up. The place in the queue stays, until those who have left outnumber the others.
    fn leave_queue(&mut self) {
        self.waiting -= 1;
        if self.queue.len() > 2 * self.waiting {
            self.queue.retain(|lease| self.leases.get(*lease).is_some());
        }
    }

    /// What the holder of `conn` has done there.
    fn session(&mut self, seat: usize, conn: ConnId) -> Option<(&mut Session, &mut VecDeque<UnderWay>)> {
        let lease = self.seats.holder(seat, conn)?;
        match self.leases.get_mut(lease)? {
            Lease::Held { session, under_way, .. } => Some((session, under_way)),
            Lease::Later { .. } | Lease::Waiting { .. } | Lease::Lost { .. } => None,
        }
    }
}

fn take(under_way: &mut VecDeque<UnderWay>, id: RequestId) -> Option<Arc<Special>> {
    let at = under_way.iter().position(|it| it.request == id)?;
    Some(under_way.remove(at)?.special)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timer::epoch;

    /// Those who give up leave a queue that is in order, and no longer than twice the number of those who wait. RULE-201, INV-14
    #[test]
    fn those_who_give_up_leave_no_crowd_behind() {
        let (mut leases, now) = (Leases::new(1, 100, 1), epoch());
        let all: Vec<LeaseId> = (0..100).map(|_| leases.wait(now, None).unwrap()).collect();
        assert_eq!(leases.wait(now, None), None);
        for lease in all.iter().filter(|lease| **lease != all[40] && **lease != all[60]) {
            leases.give_back(now, *lease, true);
            assert!(leases.queue.len() <= 2 * leases.waiting());
        }
        assert_eq!(leases.waiting(), 2);
        let first = leases.refuse_first(now).map(|(lease, _)| lease);
        assert_eq!((first, leases.waiting()), (Some(all[40]), 1));
        leases.give_back(now, all[60], true);
        assert!(leases.queue.is_empty() && leases.refuse_first(now).is_none());
    }
}
