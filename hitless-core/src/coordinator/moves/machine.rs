//! What facts do to the moves, and what is decided then.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use super::super::timers::Timers;
use super::queue::HandoffQueue;
use super::{
    Alarm, Decision, Departure, Destination, Handoff, Move, MoveKey, Moves, REMEMBERED, Scout, Stage, Term,
    Wanted,
};
use crate::config::Config;
use crate::dedup::Remembered;
use crate::endpoint::{Endpoint, Peer, Target};
use crate::error::ConnectError;
use crate::event::Event;
use crate::ids::ConnId;
use crate::notification::{MoveTarget, Seq};
use crate::rng::Rng;
use crate::timer::after;

impl Moves {
    pub(in super::super) fn new(config: Arc<Config>, seed: u64) -> Self {
        let queue = HandoffQueue::new(config.handoff_capacity().queue());
        Self {
            config,
            rng: Rng::new(seed),
            live: BTreeMap::new(),
            remembered: Remembered::new(REMEMBERED),
            queue,
            scoutless: BTreeSet::new(),
            alarms: Timers::new(),
            decisions: VecDeque::new(),
        }
    }

    /// Begins to move `residents`, which are the connections to the source of `key`, in the place of an older move of that
    /// source. `is_serving` says of any connection whether it is there and takes requests; residents that do not yet take part later.
    pub(in super::super) fn begin(
        &mut self,
        now: Instant,
        key: MoveKey,
        departure: Departure,
        destination: &Destination,
        residents: &[ConnId],
        is_serving: impl Fn(ConnId) -> bool,
    ) {
        let source = key.source.clone();
        let earlier = self.supersede(&source).map(|older| older.earlier_terms(now)).unwrap_or_default();
        self.tell_destination(&key, destination);
        let target = destination.target();
        let endpoint = target.as_ref().and_then(MoveTarget::endpoint);
        if let Some(address) = endpoint.and_then(Endpoint::peer) {
            let back = Target::new(address, self.config.name_of(endpoint));
            self.reinstate(now, &source, back, key.seq, &is_serving);
        }
        let maintenance = self.config.maintenance();
        if let Departure::Announced { deadline, .. } = departure {
            let until = after(deadline, maintenance.window_cap());
            self.remembered.insert(now, key.clone(), until);
        }
        let mut a_move = Move::new(now, key, departure, target, maintenance);
        let (serving, others): (Vec<ConnId>, Vec<ConnId>) =
            residents.iter().partition(|conn| is_serving(**conn));
        a_move.enrol_all(&serving, &earlier);
        others.into_iter().for_each(|conn| a_move.note_awaiting(conn, earlier.get(&conn).copied()));
        if !a_move.handoffs.is_empty() {
            self.scoutless.insert(source.clone());
        }
        self.start(a_move);
        self.report_if_vetoed(now, &source);
    }

    fn start(&mut self, a_move: Move) {
        let (source, seq, deadline) = (a_move.key.source.clone(), a_move.key.seq, a_move.term.deadline);
        let target = a_move.target.as_ref().and_then(MoveTarget::endpoint).cloned();
        let cause = a_move.departure.cause();
        self.emit(Event::MoveStarted { source: source.clone(), target, seq, cause, deadline });
        let relaxed = self.config.maintenance().relaxed_timeout();
        self.alarms.arm(Alarm::End(source.clone()), after(deadline, relaxed.saturating_mul(2)));
        self.live.insert(source, a_move);
    }

    /// `conn` is connected to `source`, and takes part in the move of that address as soon as it serves.
    fn join(&mut self, conn: ConnId, source: &Peer, earlier: Option<Term>, serves: bool) {
        if serves {
            return self.enrol(conn, source, earlier);
        }
        if let Some(a_move) = self.live.get_mut(source) {
            a_move.note_awaiting(conn, earlier);
        }
    }

    /// `conn` serves at `source`: it takes part in the move of that address. `earlier`: the time that it has, if that is less.
    fn enrol(&mut self, conn: ConnId, source: &Peer, earlier: Option<Term>) {
        let Some(a_move) = self.live.get_mut(source) else { return };
        if !a_move.enrol(conn, earlier) {
            return;
        }
        match a_move.scout {
            Scout::Landed(_) => self.line_up(source, conn),
            Scout::Missing => drop(self.scoutless.insert(source.clone())),
            Scout::Sent(_) if earlier.is_some() => self.pass_scout(source),
            Scout::Sent(_) => {}
        }
    }

    /// A connection became ready at `peer`, or serves there from now on. A move may be retiring that address: then it moves, too, as
    /// soon as it `serves`. It takes part in a renewal if it was told to leave before that, and moves if it has time left.
    pub(in super::super) fn handle_joined(&mut self, now: Instant, conn: ConnId, peer: &Peer, serves: bool) {
        let moves_on = self.retires_at(now, peer).is_some();
        let Some(a_move) = self.live.get_mut(peer) else { return };
        let told = if serves { a_move.awaiting.remove(&conn) } else { None };
        let has_time = a_move.is_renewal() && told.is_some_and(|term| now < term.deadline);
        if moves_on || has_time {
            self.join(conn, peer, told, serves);
            self.report_if_vetoed(now, peer);
        }
        if told.is_some() {
            self.report_if_over(now, peer);
        }
    }

    /// `conn`, which was connected to `peer`, is forgotten.
    pub(in super::super) fn handle_forgotten(&mut self, now: Instant, conn: ConnId, peer: &Peer) {
        if self.live.get_mut(peer).is_some_and(|a_move| a_move.forget(conn)) {
            self.report_if_over(now, peer);
        }
    }

    /// When the server of `peer` closes `conn`, which is connected there, unless that leaves first: the time that `conn` has in a move, or
    /// that of the move that it will take part in.
    pub(in super::super) fn leaves_at(&self, now: Instant, peer: &Peer, conn: ConnId) -> Option<Instant> {
        match self.live.get(peer)?.own_term(conn) {
            Some(term) => Some(term.deadline).filter(|deadline| now < *deadline),
            None => self.retires_at(now, peer),
        }
    }

    /// The deadline of the move by which `peer` is being retired. Where the scout landed at the very address (a virtual one), a
    /// connection that arrives there has arrived.
    fn retires_at(&self, now: Instant, peer: &Peer) -> Option<Instant> {
        let a_move = self.retiring(peer)?;
        let deadline = a_move.term.deadline;
        let moves_on = now < deadline && a_move.landed().is_none_or(|landed| landed.address != *peer);
        moves_on.then_some(deadline)
    }

    /// The attempt for `from` has led to `landed` and is ready. The handoff is done unless the owner has a say: then it
    /// waits for [`handle_switched`](Self::handle_switched), with `awaits_switch` as the new connection. `is_serving` as in
    /// [`begin`](Self::begin).
    pub(in super::super) fn handle_arrived(
        &mut self,
        now: Instant,
        source: &Peer,
        from: ConnId,
        landed: Target,
        awaits_switch: Option<ConnId>,
        is_serving: impl Fn(ConnId) -> bool,
    ) {
        let Some(seq) = self.seq(source) else { return };
        self.reinstate(now, source, landed.clone(), seq, is_serving);
        let Some(a_move) = self.live.get_mut(source) else { return };
        let mut followers = Vec::new();
        if a_move.landed().is_none() {
            // Looked for once for each move: behind a scout that has landed nothing waits.
            followers = a_move.behind_scout();
            a_move.scout = Scout::Landed(landed);
        }
        self.scoutless.remove(source);
        match (awaits_switch, a_move.handoffs.get_mut(&from)) {
            (Some(to), Some(handoff)) => {
                handoff.stage = Stage::AwaitsSwitch { to };
                self.alarms.arm(Alarm::Handoff(source.clone(), from), handoff.term.deadline);
            }
            _ => a_move.finish(from),
        }
        for follower in followers {
            // One that has scouted itself, and was passed, may be in the pause behind its attempt.
            self.line_up_when_due(now, source, follower, now);
        }
        self.report_if_over(now, source);
    }

    /// The owner of `from` has switched, or is left with the successor alone. Returns the connection that serves now, if
    /// `from` was asked to switch.
    pub(in super::super) fn handle_switched(
        &mut self,
        now: Instant,
        source: &Peer,
        from: ConnId,
    ) -> Option<ConnId> {
        let a_move = self.live.get_mut(source)?;
        let to = a_move.awaited_switch(from)?;
        a_move.finish(from);
        self.alarms.cancel(&Alarm::Handoff(source.clone(), from));
        self.report_if_over(now, source);
        Some(to)
    }

    /// The successor of `from`, which was ready and awaited the switch, is lost. Another one is dialled within the budget.
    pub(in super::super) fn handle_successor_lost(
        &mut self,
        now: Instant,
        source: &Peer,
        from: ConnId,
        error: ConnectError,
    ) {
        if self.awaited_switch(source, from).is_some() {
            self.handle_failed(now, source, from, error);
        }
    }

    /// An attempt for `from` has failed, or was denied: the next one begins when the schedule says so, if it does.
    pub(in super::super) fn handle_failed(
        &mut self,
        now: Instant,
        source: &Peer,
        from: ConnId,
        error: ConnectError,
    ) {
        let Some(a_move) = self.live.get_mut(source) else { return };
        let Some(handoff) = a_move.handoffs.get_mut(&from) else { return };
        handoff.failed += 1;
        let attempt = handoff.failed;
        let retry_at = handoff.term.schedule.retry_at(now, attempt, &mut self.rng);
        handoff.retry_at = retry_at;
        let watches_name = handoff.watches_name;
        self.emit(Event::HandoffFailed { from, error, attempt, retry_at });
        match retry_at {
            Some(at) => {
                let at = if watches_name { at.min(self.next_lookup(now)) } else { at };
                self.wait(source, from, at);
                self.pass_scout(source);
            }
            None => self.stay_put(now, source, from),
        }
    }

    /// An attempt for `from` has failed, and the next one is a different one: it does not wait, and this one does not count.
    pub(in super::super) fn handle_failed_at_once(
        &mut self,
        now: Instant,
        source: &Peer,
        from: ConnId,
        error: ConnectError,
    ) {
        let Some(handoff) = self.live.get(source).and_then(|a_move| a_move.handoffs.get(&from)) else {
            return;
        };
        let attempt = handoff.failed + 1;
        self.emit(Event::HandoffFailed { from, error, attempt, retry_at: Some(now) });
        self.line_up(source, from);
    }

    /// Nothing is to take the place of `from`, by the word of its owner: it stays. That says nothing of the target, so the
    /// others go on.
    pub(in super::super) fn handle_refused(&mut self, now: Instant, source: &Peer, from: ConnId) {
        let Some(a_move) = self.live.get_mut(source) else { return };
        let Some(handoff) = a_move.stay(from) else { return };
        let (error, attempt) = (ConnectError::Released, handoff.failed + 1);
        self.alarms.cancel(&Alarm::Handoff(source.clone(), from));
        self.emit(Event::HandoffFailed { from, error, attempt, retry_at: None });
        self.replace_scout(source, from);
        self.report_if_over(now, source);
    }

    /// `conn`, which was connected to `source`, is gone or drains, and has no part in a move any more.
    pub(in super::super) fn handle_gone(&mut self, now: Instant, source: &Peer, conn: ConnId) {
        let Some(a_move) = self.live.get_mut(source) else { return };
        let stayed = a_move.forget(conn);
        if let Some(handoff) = a_move.handoffs.remove(&conn) {
            self.alarms.cancel(&Alarm::Handoff(source.clone(), conn));
            if let Stage::Queued(entry) = handoff.stage {
                self.queue.remove(handoff.term.deadline, &entry);
            }
            self.replace_scout(source, conn);
        } else if !stayed {
            return;
        }
        self.report_if_over(now, source);
    }

    /// A connection that served at `peer` is lost. If a move has led there, its target is perhaps not what its handshakes made of
    /// it: the next one goes there alone, and as late as if the scout had failed. When the retries are spent, nobody follows.
    pub(in super::super) fn handle_lost_at(&mut self, now: Instant, peer: &Peer) {
        for a_move in self.live.values_mut().filter(|a_move| a_move.key.source != *peer) {
            if a_move.landed().is_none_or(|landed| landed.address != *peer) {
                continue;
            }
            a_move.scout = Scout::Missing;
            a_move.relapses += 1;
            match a_move.term.schedule.retry_at(now, a_move.relapses, &mut self.rng) {
                Some(at) => a_move.scout_at = at,
                None => a_move.is_given_up = true,
            }
        }
    }

    /// What drained behind `conn`, which is connected to `source`, is gone: if `conn` waited for that, it moves on.
    pub(in super::super) fn handle_predecessor_drained(&mut self, source: &Peer, conn: ConnId) {
        let handoff = self.live.get(source).and_then(|a_move| a_move.handoffs.get(&conn));
        if handoff.is_some_and(|handoff| matches!(handoff.stage, Stage::BehindDrain)) {
            self.alarms.cancel(&Alarm::Handoff(source.clone(), conn));
            self.line_up(source, conn);
        }
    }

    pub(in super::super) fn handle_timeout(&mut self, now: Instant) {
        while let Some(alarm) = self.alarms.fire(now) {
            match alarm {
                Alarm::Handoff(source, from) => self.end_wait(now, &source, from),
                Alarm::End(source) => drop(self.end(&source)),
            }
        }
    }

    pub(in super::super) fn poll_timeout(&self) -> Option<Instant> {
        self.alarms.next()
    }

    pub(in super::super) fn poll_decision(&mut self) -> Option<Decision> {
        self.decisions.pop_front()
    }

    /// Lines scouts up where they are needed: of those that have least time one that can go at once, if there is one. `is_behind_drain` says of
    /// which connections the predecessor still drains.
    pub(in super::super) fn send_scouts(&mut self, now: Instant, is_behind_drain: impl Fn(ConnId) -> bool) {
        while let Some(source) = self.scoutless.pop_first() {
            let Some(a_move) = self.live.get_mut(&source) else { continue };
            let Some(scout) = a_move.choose_scout(&is_behind_drain) else { continue };
            a_move.scout = Scout::Sent(scout);
            let scout_at = a_move.scout_at;
            self.line_up_when_due(now, &source, scout, scout_at);
        }
    }

    /// The attempt that is to be made next, for whose worker there is room.
    pub(in super::super) fn poll_attempt(
        &mut self,
        now: Instant,
        is_behind_drain: impl Fn(ConnId) -> bool,
    ) -> Option<Wanted> {
        while let Some((source, from)) = self.queue.pop() {
            let Some(a_move) = self.live.get_mut(&source) else { continue };
            let Some(handoff) = a_move.handoffs.get_mut(&from) else { continue };
            let patience = handoff.term.half_time();
            if now < patience && is_behind_drain(from) {
                handoff.stage = Stage::BehindDrain;
                self.alarms.arm(Alarm::Handoff(source, from), patience);
                continue;
            }
            let Some(limit) = handoff.term.schedule.attempt_limit(now, handoff.failed) else {
                self.stay_put(now, &source, from);
                // Another one may scout, who has more time.
                self.send_scouts(now, &is_behind_drain);
                continue;
            };
            handoff.stage = Stage::Dialing;
            let number = handoff.failed + 1;
            let route = a_move.route(number - 1);
            let is_last = number > self.config.maintenance().max_handoff_retries();
            let breaker = a_move.target.clone().filter(|target| {
                matches!(target, MoveTarget::Endpoint(_)) && a_move.landed().is_none() && !is_last
            });
            return Some(Wanted { from, source, number, limit, route, breaker });
        }
        None
    }

    /// Whether there is a decision to be polled.
    pub(in super::super) fn has_decided(&self) -> bool {
        !self.decisions.is_empty()
    }

    pub(in super::super) fn len(&self) -> usize {
        self.live.len()
    }

    /// Handoffs that wait for a worker.
    pub(in super::super) fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Whether a move retires `peer`.
    pub(in super::super) fn retires(&self, peer: &Peer) -> bool {
        self.retiring(peer).is_some()
    }

    /// The move that retires `peer`: no renewal.
    pub(super) fn retiring(&self, peer: &Peer) -> Option<&Move> {
        self.live.get(peer).filter(|a_move| !a_move.is_renewal())
    }

    /// Whether a move replaces connections to `peer`, be it by new ones to the very same address.
    pub(in super::super) fn takes_from(&self, peer: &Peer) -> bool {
        self.live.contains_key(peer)
    }

    /// The move that retires `source`, if the server has announced it.
    pub(in super::super) fn announced(&self, source: &Peer) -> Option<&MoveKey> {
        self.retiring(source).filter(|a_move| a_move.is_announced()).map(|a_move| &a_move.key)
    }

    /// Whether a move that the server has announced leads to `peer`.
    pub(in super::super) fn announces(&self, peer: &Peer) -> bool {
        let mut announced = self.live.values().filter(|a_move| a_move.is_announced() && !a_move.is_renewal());
        announced.any(|a_move| a_move.leads_to().as_ref() == Some(peer))
    }

    /// The connection that is ready in the place of `from`, which is connected to `source`, if the owner has not switched yet.
    pub(in super::super) fn awaited_switch(&self, source: &Peer, from: ConnId) -> Option<ConnId> {
        self.live.get(source)?.awaited_switch(from)
    }

    /// Whether the move that retires `source` was begun because its server was demoted.
    pub(in super::super) fn is_demotion(&self, source: &Peer) -> bool {
        self.live.get(source).is_some_and(Move::is_demotion)
    }

    /// Where a MOVING has said that the move leads.
    pub(in super::super) fn announced_target(&self, source: &Peer) -> Option<&Endpoint> {
        let announced = self.live.get(source).filter(|a_move| a_move.is_announced())?;
        announced.target.as_ref()?.endpoint()
    }

    pub(in super::super) fn seq(&self, source: &Peer) -> Option<Seq> {
        Some(self.live.get(source)?.key.seq)
    }

    /// When the time is over that `conn` has to leave `source`.
    pub(in super::super) fn deadline(&self, source: &Peer, conn: ConnId) -> Option<Instant> {
        Some(self.live.get(source)?.term(conn).deadline)
    }

    /// Whether a live move that is announced in the same words as `key` has led to the source of `key`: then the MOVING was
    /// repeated to a connection that has arrived.
    pub(in super::super) fn has_led_to_source_of(&self, key: &MoveKey) -> bool {
        self.live.values().any(|a_move| {
            (a_move.key.seq, &a_move.key.target) == (key.seq, &key.target)
                && !a_move.is_renewal()
                && a_move.landed().is_some_and(|landed| landed.address == key.source)
        })
    }

    pub(in super::super) fn is_remembered(&self, now: Instant, key: &MoveKey) -> bool {
        self.remembered.contains(now, key)
    }

    /// Whether a move of the same source with a higher id is remembered.
    pub(in super::super) fn remembers_newer(&self, now: Instant, key: &MoveKey) -> bool {
        self.remembered.iter(now).any(|known| known.source == key.source && known.seq > key.seq)
    }

    pub(in super::super) fn is_empty(&self) -> bool {
        self.live.is_empty()
    }

    /// For the tests: neither a move nor anything that belongs to one is left.
    #[cfg(test)]
    pub(in super::super) fn is_at_rest(&self) -> bool {
        self.is_empty() && self.queue.len() == 0 && self.scoutless.is_empty() && self.alarms.next().is_none()
    }

    /// For the tests: what the handoff of `conn` is doing, if it has one.
    #[cfg(test)]
    pub(in super::super) fn stage(&self, source: &Peer, conn: ConnId) -> Option<&'static str> {
        self.live.get(source)?.stage_name(conn)
    }

    fn tell_destination(&mut self, key: &MoveKey, destination: &Destination) {
        let (source, seq) = (key.source.clone(), key.seq);
        match destination {
            Destination::SameName | Destination::Endpoint(_) => {}
            Destination::Rewritten { announced, to } => {
                let (announced, target) = (announced.clone(), to.clone());
                self.emit(Event::TargetRewritten { source, announced, target, seq });
            }
            Destination::Refused(target) => {
                self.emit(Event::TargetRefused { source, target: target.clone(), seq });
            }
            Destination::Vetoed(target) => {
                self.emit(Event::TargetVetoed { source, target: target.clone(), seq });
            }
        }
    }

    /// A newer move takes the place of the one that retires `source`: what that has begun is undone.
    fn supersede(&mut self, source: &Peer) -> Option<Move> {
        let Move { key, departure, .. } = self.live.get(source)?;
        let (seq, cause) = (key.seq, departure.cause());
        self.emit(Event::MoveSuperseded { source: source.clone(), seq, cause });
        self.end(source)
    }

    /// A move with the id `seq` leads from `source` to `back`: if an older one retired that, it is in service again. Of moves with one
    /// id that lead round in a circle the latest counts, or no connection would ever arrive.
    fn reinstate(
        &mut self,
        now: Instant,
        source: &Peer,
        back: Target,
        seq: Seq,
        is_serving: impl Fn(ConnId) -> bool,
    ) {
        let address = &back.address;
        let Some(retired_by) = self.retiring(address).map(|a_move| a_move.key.seq) else { return };
        if retired_by < seq || (address != source && self.leads_to(seq, address, source)) {
            let older = self.supersede(address).filter(Move::is_announced);
            if let Some(older) = older {
                self.renew(now, older, back, is_serving);
            }
        }
    }

    /// The address that `older` has led away from is in service again, but its server closes whom it has told to leave: those that
    /// have not followed yet give way to new connections there, which it has not told.
    fn renew(&mut self, now: Instant, older: Move, back: Target, is_serving: impl Fn(ConnId) -> bool) {
        let mut told = older.terms(now);
        // Of those that are gone somebody else takes the place.
        told.retain(|conn, _| is_serving(*conn) || older.awaiting.contains_key(conn));
        if told.is_empty() {
            return;
        }
        let source = back.address.clone();
        self.start(Move::renewal(now, older, back));
        for (conn, term) in told {
            self.join(conn, &source, Some(term), is_serving(conn));
        }
    }

    /// Whether a connection that follows the live moves with the id `seq` from `start` comes to `end`.
    fn leads_to(&self, seq: Seq, start: &Peer, end: &Peer) -> bool {
        let next = |at: &Peer| self.retiring(at).filter(|a_move| a_move.key.seq == seq)?.leads_to();
        std::iter::successors(Some(start.clone()), next).take(self.live.len() + 1).any(|at| at == *end)
    }

    /// Forgets a move and gives up what it has begun.
    fn end(&mut self, source: &Peer) -> Option<Move> {
        let a_move = self.live.remove(source)?;
        self.scoutless.remove(source);
        self.alarms.cancel(&Alarm::End(source.clone()));
        for (from, Handoff { stage, term, .. }) in &a_move.handoffs {
            let from = *from;
            self.alarms.cancel(&Alarm::Handoff(source.clone(), from));
            match stage {
                Stage::Queued(entry) => self.queue.remove(term.deadline, entry),
                Stage::Dialing => self.decisions.push_back(Decision::Cancel { from }),
                Stage::AwaitsSwitch { to } => self.decisions.push_back(Decision::Dismiss { to: *to }),
                Stage::BehindScout | Stage::Waiting | Stage::BehindDrain => {}
            }
        }
        Some(a_move)
    }

    /// `from` has waited long enough. If that was for the switch of its owner, its time is over.
    fn end_wait(&mut self, now: Instant, source: &Peer, from: ConnId) {
        let Some(a_move) = self.live.get_mut(source) else { return };
        let Some(to) = a_move.awaited_switch(from) else { return self.line_up(source, from) };
        a_move.finish(from);
        self.decisions.push_back(Decision::Overdue { from, to });
        self.report_if_over(now, source);
    }

    /// Has another one scout if the scout was `conn`, which does not take part any more.
    fn replace_scout(&mut self, source: &Peer, conn: ConnId) {
        let Some(a_move) = self.live.get_mut(source) else { return };
        if a_move.scout == Scout::Sent(conn) {
            a_move.scout = Scout::Missing;
            self.scoutless.insert(source.clone());
        }
    }

    /// Has a connection that has less time than the scout go first, if that waits.
    fn pass_scout(&mut self, source: &Peer) {
        let Some(a_move) = self.live.get_mut(source) else { return };
        let Some(scout) = a_move.scout_to_pass() else { return };
        a_move.scout = Scout::Missing;
        self.scoutless.insert(source.clone());
        let Some(handoff) = a_move.handoffs.get_mut(&scout) else { return };
        self.alarms.cancel(&Alarm::Handoff(source.clone(), scout));
        if let Stage::Queued(entry) = std::mem::replace(&mut handoff.stage, Stage::BehindScout) {
            self.queue.remove(handoff.term.deadline, &entry);
        }
    }

    /// Has `from` ask for a worker, at `earliest` or when its last attempt is to be repeated, whichever is later. Where its name is
    /// watched, that is looked up meanwhile.
    fn line_up_when_due(&mut self, now: Instant, source: &Peer, from: ConnId, earliest: Instant) {
        let handoff = self.live.get(source).and_then(|a_move| a_move.handoffs.get(&from));
        let mut at = earliest;
        if let Some((handoff, retry_at)) = handoff.and_then(|handoff| Some((handoff, handoff.retry_at?))) {
            let watches_name = handoff.watches_name;
            let again_at = if watches_name { retry_at.min(self.next_lookup(now)) } else { retry_at };
            at = at.max(again_at);
        }
        if now < at { self.wait(source, from, at) } else { self.line_up(source, from) }
    }

    /// Asks for a worker.
    fn line_up(&mut self, source: &Peer, from: ConnId) {
        let Some(a_move) = self.live.get_mut(source) else { return };
        let Some(handoff) = a_move.handoffs.get_mut(&from) else { return };
        handoff.stage = Stage::Queued(self.queue.push(handoff.term.deadline, source.clone(), from));
    }

    pub(super) fn wait(&mut self, source: &Peer, from: ConnId, until: Instant) {
        let handoff = self.live.get_mut(source).and_then(|a_move| a_move.handoffs.get_mut(&from));
        if let Some(handoff) = handoff {
            handoff.stage = Stage::Waiting;
            self.alarms.arm(Alarm::Handoff(source.clone(), from), until);
        }
    }

    /// The retries are spent, or the time is: the old connection serves until the server closes it, and so do those behind the scout
    /// that have no more time than it had, unless another connection scouts by now.
    fn stay_put(&mut self, now: Instant, source: &Peer, from: ConnId) {
        let Some(a_move) = self.live.get_mut(source) else { return };
        let until = a_move.term(from).deadline;
        a_move.stay(from);
        self.alarms.cancel(&Alarm::Handoff(source.clone(), from));
        if a_move.landed().is_none() && !a_move.has_scout() {
            a_move.scout = Scout::Missing;
            for conn in a_move.behind_scout() {
                if a_move.term(conn).deadline <= until {
                    a_move.stay(conn);
                }
            }
            self.scoutless.insert(source.clone());
        }
        self.report_if_over(now, source);
    }

    /// A move whose target was vetoed or given up is over for a connection as soon as that takes part.
    fn report_if_vetoed(&mut self, now: Instant, source: &Peer) {
        if self.live.get(source).is_some_and(Move::takes_nobody) {
            self.report_if_over(now, source);
        }
    }

    /// Says so once when every connection has moved or stays, and forgets a move that nothing is left of.
    fn report_if_over(&mut self, now: Instant, source: &Peer) {
        let report = self.live.get_mut(source).and_then(|a_move| a_move.report(now));
        if let Some(report) = report {
            self.emit(report);
        }
        if self.live.get(source).is_some_and(Move::ends_now) {
            drop(self.end(source));
        }
    }

    fn emit(&mut self, event: Event) {
        self.decisions.push_back(Decision::Emit(event));
    }
}
