//! Where to dial while addresses are being retired.

use std::time::{Duration, Instant};

use super::{Move, Moves};
use crate::endpoint::{Endpoint, Peer, Target};
use crate::ids::ConnId;
use crate::notification::MoveTarget;
use crate::timer::after;

/// How often a name is looked up while its addresses have not changed, give or take a quarter.
const LOOKUP_INTERVAL: Duration = Duration::from_millis(500);
const LOOKUP_JITTER_PERCENT: u32 = 25;

/// Where an attempt is to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) enum Route {
    /// To one of these.
    OneOf(Vec<Target>),
    /// To one of these, and it may land on the source: a virtual address may lead to the new node by now. If it does not,
    /// a MOVING right after the opt-in says so.
    SourceAgain(Vec<Target>),
    /// To the target that a MOVING has named.
    Named(Endpoint),
    /// Wherever the configured name leads.
    Configured,
    /// Nowhere yet: the name still leads to the source.
    Nowhere,
}

impl Moves {
    /// The configured name leads to `targets`: where is the handoff of `from` to go? If nowhere yet, it waits, and that
    /// was no attempt.
    ///
    /// While a retiring address is among them DNS has not followed, and what was dialled beside it in vain may have nothing to do
    /// with the move. It is dialled again when a retry is due, but the name goes on being watched, the last chance has its time,
    /// and the last attempt is kept for another answer. Behind a scout that has landed it waits for the retry as well, and no more.
    pub(in super::super) fn route_handoff(
        &mut self,
        now: Instant,
        source: &Peer,
        from: ConnId,
        targets: Vec<Target>,
    ) -> Route {
        let (retiring, fresh): (Vec<Target>, Vec<Target>) =
            targets.into_iter().partition(|target| self.retires_for(now, source, &target.address));
        let retries = self.config.maintenance().max_handoff_retries();
        let Some(a_move) = self.live.get_mut(source) else { return Route::elsewhere(fresh) };
        let has_landed = a_move.landed().is_some();
        let is_again = !retiring.is_empty() && a_move.has_dialled(now, &fresh);
        let in_vain = is_again && !has_landed;
        let (mut is_due, mut retry_at) = (true, None);
        if let Some(handoff) = a_move.handoffs.get_mut(&from) {
            handoff.watches_name = !retiring.is_empty();
            retry_at = handoff.retry_at;
            is_due = (has_landed || handoff.failed < retries) && retry_at.is_none_or(|at| at <= now);
        }
        let (last_chance, deadline) = (a_move.last_chance(from), a_move.term(from).deadline);
        let is_taken = a_move.chance_taken.is_some_and(|until| deadline <= until);
        if (fresh.is_empty() || in_vain) && now >= last_chance && !is_taken {
            a_move.chance_taken = Some(deadline);
            return Route::SourceAgain([fresh, retiring].concat());
        }
        if !fresh.is_empty() && (is_due || !is_again) {
            return Route::OneOf(fresh);
        }
        let due = [Some(last_chance), retry_at, Some(deadline)].into_iter().flatten().filter(|at| now < *at);
        let at = due.fold(self.next_lookup(now), Instant::min);
        self.wait(source, from, at);
        Route::Nowhere
    }

    /// Whether the move of `source` may not lead to `address`, because that is being left as well. When an older move is over, its
    /// address may have come back: names that lead there say so.
    fn retires_for(&self, now: Instant, source: &Peer, address: &Peer) -> bool {
        let (Some(other), Some(this)) = (self.retiring(address), self.live.get(source)) else {
            return self.retires(address);
        };
        let is_over = other.is_announced() && other.key.seq < this.key.seq && other.term.deadline <= now;
        !is_over
    }

    /// When a name is looked up again that has not led elsewhere.
    pub(super) fn next_lookup(&mut self, now: Instant) -> Instant {
        after(now, self.rng.jitter(LOOKUP_INTERVAL, LOOKUP_JITTER_PERCENT))
    }

    /// An attempt of the move away from `source` dials `address`.
    pub(in super::super) fn handle_dialled(&mut self, now: Instant, source: &Peer, address: Peer) {
        if let Some(a_move) = self.live.get_mut(source) {
            a_move.dialled.insert(now, address, a_move.term.deadline);
        }
    }

    /// The configured endpoint leads to `targets`: where is `conn` to go, which the owner opens? To one that no move
    /// retires; if none is left, to the target of a move; and if the server named none, to the addresses there are, because
    /// a virtual one may lead to the new node.
    pub(in super::super) fn route_open(
        &mut self,
        conn: ConnId,
        targets: Vec<Target>,
        is_connected_to: impl Fn(&Peer) -> bool,
        is_dialing: impl Fn(ConnId) -> bool,
    ) -> Route {
        let Some(retired) = targets.iter().find(|target| self.retires(&target.address)).cloned() else {
            return Route::OneOf(targets);
        };
        let kept: Vec<Target> = targets.into_iter().filter(|target| !self.retires(&target.address)).collect();
        let onward = self.route_onward(&retired);
        let Some(a_move) = self.live.get_mut(&retired.address) else { return Route::OneOf(kept) };
        if !is_connected_to(&retired.address) {
            return a_move.route_after_close(conn, retired, onward, kept, is_dialing);
        }
        if kept.is_empty() { onward } else { Route::OneOf(kept) }
    }

    /// Where a new connection goes instead of `source`: where its move leads, and if that address is being retired as well, where
    /// that one's move leads, and so on. `source` itself if the server named no target.
    fn route_onward(&self, source: &Target) -> Route {
        let mut onward = Route::OneOf(vec![source.clone()]);
        let mut retiring = self.retiring(&source.address);
        // Moves may lead round in a ring.
        for _ in 0..self.live.len() {
            let Some(a_move) = retiring else { break };
            match a_move.route(0) {
                Route::Configured => break,
                route => onward = route,
            }
            retiring = a_move.leads_to().and_then(|address| self.retiring(&address));
        }
        onward
    }

    /// `conn`, which the owner has opened, could not be established. `counts`: the next attempt is to go elsewhere.
    pub(in super::super) fn handle_open_failed(&mut self, conn: ConnId, counts: bool) {
        for a_move in self.live.values_mut().filter(|a_move| a_move.after_close.decided_by == Some(conn)) {
            a_move.after_close.decided_by = None;
            a_move.after_close.turn += usize::from(counts);
        }
    }

    /// The dial `from`, which the owner has opened, goes on as `to`.
    pub(in super::super) fn rename_open(&mut self, from: ConnId, to: ConnId) {
        for a_move in self.live.values_mut() {
            if a_move.after_close.decided_by == Some(from) {
                a_move.after_close.decided_by = Some(to);
            }
        }
    }
}

impl Route {
    /// To one of these, or nowhere if there are none.
    fn elsewhere(targets: Vec<Target>) -> Self {
        if targets.is_empty() { Self::Nowhere } else { Self::OneOf(targets) }
    }
}

impl Move {
    /// Whether each of `targets` was dialled for this move.
    fn has_dialled(&self, now: Instant, targets: &[Target]) -> bool {
        targets.iter().all(|target| self.dialled.contains(now, &target.address))
    }

    /// Where a handoff goes of which so many attempts have failed: where the scout has arrived, and if that does not work any
    /// more, wherever the target leads. A renewal leads to its own address.
    pub(super) fn route(&self, failed: u32) -> Route {
        if let Some(renews) = &self.renews {
            return Route::SourceAgain(vec![renews.clone()]);
        }
        match (self.landed(), &self.target) {
            (Some(landed), _) if landed.address == self.key.source => {
                Route::SourceAgain(vec![landed.clone()])
            }
            (Some(landed), _) if failed == 0 => Route::OneOf(vec![landed.clone()]),
            (_, Some(MoveTarget::Endpoint(endpoint))) => Route::Named(endpoint.clone()),
            (_, Some(MoveTarget::SameName) | None) => Route::Configured,
        }
    }

    /// The last connection to `source` is lost, and names may follow seconds later: the target is tried, then the name's
    /// other addresses, all in one attempt, then the same address, which may lead to the new node by now, and so on; the next
    /// place when one has failed.
    fn route_after_close(
        &mut self,
        conn: ConnId,
        source: Target,
        target: Route,
        others: Vec<Target>,
        is_dialing: impl Fn(ConnId) -> bool,
    ) -> Route {
        if !self.after_close.decided_by.is_some_and(is_dialing) {
            self.after_close.decided_by = Some(conn);
        }
        match self.after_close.turn % (2 + usize::from(!others.is_empty())) {
            0 => target,
            1 if !others.is_empty() => Route::OneOf(others),
            _ => Route::OneOf(vec![source]),
        }
    }
}
