//! What each notification means.

use std::time::{Duration, Instant};

use super::attempts::Purpose;
use super::moves::{Departure, Destination, MoveKey};
use super::{Coordinator, Directive};
use crate::endpoint::Peer;
use crate::event::{Event, Ignored, WindowScope};
use crate::ids::ConnId;
use crate::notification::{MoveTarget, Notification, NotificationKind, Seq};
use crate::review::Handled;
use crate::target_policy::TargetVerdict;
use crate::timer::after;
use crate::windows::{Cause, opener_end};

/// Where a notification came from, and when.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    pub(super) conn: ConnId,
    pub(super) peer: Peer,
    pub(super) at: Instant,
}

/// What a notification did at its arrival, or why it does nothing at all.
pub(super) type Arrival = Result<Effect, Ignored>;

/// What a notification did at its arrival.
#[derive(Clone, Debug, Default)]
pub(super) struct Effect {
    /// The window that it opened.
    pub(super) window: Option<(WindowScope, Cause)>,
    /// Of a MOVING: where it leads.
    pub(super) destination: Option<Destination>,
}

impl Coordinator {
    /// A maintenance notification arrived on `conn`.
    pub fn handle_notification(&mut self, now: Instant, conn: ConnId, notification: &Notification) {
        self.hear(now, conn, notification);
    }

    /// [`handle_notification`](Self::handle_notification). Returns whether the notification counts: a copy does not, nor an outdated one, nor an opener
    /// that an ending connection brings.
    pub(crate) fn hear(&mut self, now: Instant, conn: ConnId, notification: &Notification) -> bool {
        let Some(peer) = self.peer(conn).cloned() else { return false };
        let (kind, seq) = (notification.kind(), notification.seq());
        self.emit(Event::NotificationReceived { conn, kind, seq });
        let origin = Origin { conn, peer, at: now };
        let arrival = self.announce(now, &origin, notification);
        let counts = arrival.is_ok();
        if let Err(reason) = arrival {
            self.ignore(conn, kind, seq, reason);
        }
        if let Some(arrival) = self.begin_review(now, &origin, notification, arrival)
            && let Ok(effect) = arrival
        {
            self.apply(now, &origin, notification, effect);
        }
        self.settle(now);
        counts
    }

    /// What does not wait for a review: whether it is news, and its window.
    pub(super) fn announce(&mut self, now: Instant, origin: &Origin, notification: &Notification) -> Arrival {
        if self.is_ending(origin.conn) && !notification.kind().is_completion() {
            return Err(Ignored::ConnectionEnding);
        }
        match notification {
            Notification::Moving { grace, .. } => self.announce_move(now, origin, notification, *grace),
            Notification::Migrating { starts_in, .. } | Notification::FailingOver { starts_in, .. } => {
                self.announce_window(now, origin, notification, WindowScope::Database, *starts_in)
            }
            Notification::SlotsMigrating { .. } => {
                let scope = WindowScope::Peer(origin.peer.clone());
                self.announce_window(now, origin, notification, scope, None)
            }
            Notification::Migrated { .. }
            | Notification::FailedOver { .. }
            | Notification::SlotsMigrated { .. } => Ok(Effect::default()),
        }
    }

    fn announce_move(
        &mut self,
        now: Instant,
        origin: &Origin,
        moving: &Notification,
        grace: Duration,
    ) -> Arrival {
        let Some(key) = MoveKey::of(&origin.peer, moving) else { return Ok(Effect::default()) };
        if key.target.address().as_ref() == Some(&key.source) {
            return Err(Ignored::AlreadyThere);
        }
        if let Some(reason) = self.outdated(now, origin, moving) {
            return Err(reason);
        }
        // A copy of one that is being reviewed shares its fate.
        let is_copy = |origin: &Origin, waiting: &Notification| {
            MoveKey::of(&origin.peer, waiting).as_ref() == Some(&key)
        };
        if self.reviews.any(|pending| pending.counts_and(is_copy)) {
            return Err(Ignored::Duplicate);
        }
        let destination = self.judge(&key, &key.target);
        if destination.leads_back_to(&key.source) {
            return Err(Ignored::AlreadyThere);
        }
        let scope = WindowScope::Peer(origin.peer.clone());
        let window = self.open_announced(now, scope, moving, after(origin.at, grace));
        Ok(Effect { window, destination: Some(destination) })
    }

    fn announce_window(
        &mut self,
        now: Instant,
        origin: &Origin,
        opener: &Notification,
        scope: WindowScope,
        starts_in: Option<Duration>,
    ) -> Arrival {
        let until = opener_end(origin.at, starts_in, self.config.maintenance().relaxed_timeout());
        let window = self.open_announced(now, scope, opener, until).ok_or(Ignored::Duplicate)?;
        Ok(Effect { window: Some(window), destination: None })
    }

    /// The rest: what a veto prevents.
    pub(super) fn apply(
        &mut self,
        now: Instant,
        origin: &Origin,
        notification: &Notification,
        effect: Effect,
    ) -> Handled {
        match notification {
            Notification::Moving { grace, .. } => {
                let key = MoveKey::of(&origin.peer, notification);
                if let (Some(key), Some(destination)) = (key, effect.destination) {
                    self.begin_move(now, key, origin.at, after(origin.at, *grace), destination);
                }
                Handled::Applied
            }
            Notification::Migrating { .. }
            | Notification::FailingOver { .. }
            | Notification::SlotsMigrating { .. } => Handled::Applied,
            Notification::Migrated { .. }
            | Notification::FailedOver { .. }
            | Notification::SlotsMigrated { .. } => self.on_completion(now, origin.conn, notification),
        }
    }

    /// A reviewer has changed where and when a move leads: it is still the move that the server announced, so that its copies
    /// are recognised.
    pub(super) fn apply_redirected(
        &mut self,
        now: Instant,
        origin: &Origin,
        original: &Notification,
        effect: Effect,
        (grace, target): (Duration, &MoveTarget),
    ) -> Handled {
        self.take_back(effect);
        let Some(key) = MoveKey::of(&origin.peer, original) else { return Handled::Applied };
        let destination = self.judge(&key, target);
        if target.address().as_ref() == Some(&key.source) || destination.leads_back_to(&key.source) {
            self.ignore(origin.conn, original.kind(), original.seq(), Ignored::AlreadyThere);
            return Handled::Ignored(Ignored::AlreadyThere);
        }
        let deadline = after(origin.at, grace);
        self.open_announced(now, WindowScope::Peer(origin.peer.clone()), original, deadline);
        self.begin_move(now, key, origin.at, deadline, destination);
        Handled::Applied
    }

    fn begin_move(
        &mut self,
        now: Instant,
        key: MoveKey,
        announced_at: Instant,
        deadline: Instant,
        destination: Destination,
    ) {
        let residents = self.conns.residents_of(&key.source);
        let departure = Departure::Announced { at: announced_at, deadline };
        let conns = &self.conns;
        let is_serving = |conn| conns.is_serving(conn);
        self.moves.begin(now, key, departure, &destination, &residents, is_serving);
    }

    /// Where the move `key` leads if it is to lead to `target`, which a reviewer may have put in the place of the server's. The
    /// policy on targets decides. Without one, over TLS, the server's own word is good for names in the domains that the client
    /// knows.
    fn judge(&self, key: &MoveKey, target: &MoveTarget) -> Destination {
        let MoveTarget::Endpoint(endpoint) = target else { return Destination::SameName };
        match self.config.maintenance().judge_target(endpoint, &key.source) {
            None if *target == key.target && !self.config.trusts_target(endpoint) => {
                Destination::Refused(endpoint.clone())
            }
            None | Some(TargetVerdict::Allow) => Destination::Endpoint(endpoint.clone()),
            Some(TargetVerdict::Rewrite(to)) => Destination::Rewritten { announced: endpoint.clone(), to },
            Some(TargetVerdict::Veto) => Destination::Vetoed(endpoint.clone()),
        }
    }

    /// Why a MOVING changes nothing, if so. Late joiners are told of a running move again, and so are connections that have
    /// just arrived at its target: reacting to that would never end.
    pub(super) fn outdated(
        &mut self,
        now: Instant,
        origin: &Origin,
        notification: &Notification,
    ) -> Option<Ignored> {
        let key = MoveKey::of(&origin.peer, notification)?;
        // What was found out without a word of the server gives way to its word.
        if let Some(live) = self.moves.announced(&key.source) {
            if *live != key {
                return (key.seq < live.seq).then_some(Ignored::Stale);
            }
            return Some(self.repeated_to(origin.conn, &key));
        }
        if self.moves.has_led_to_source_of(&key) {
            return Some(Ignored::AlreadyThere);
        }
        if self.moves.is_remembered(now, &key) {
            return Some(Ignored::Duplicate);
        }
        self.moves.remembers_newer(now, &key).then_some(Ignored::Stale)
    }

    /// The live move `key` was announced on `conn` once more.
    fn repeated_to(&mut self, conn: ConnId, key: &MoveKey) -> Ignored {
        let Some(Purpose::Replace { source: left, .. }) = self.attempts.purpose(conn) else {
            return Ignored::Duplicate;
        };
        if self.moves.seq(left).is_some_and(|seq| seq > key.seq) {
            // A newer move leads here: the address is in service again, whatever was said of it before.
            return Ignored::Stale;
        }
        if *left == key.source && self.attempts.negotiation(conn).is_some() {
            // The dial led to the retiring node after all. One that a move has led to a node which retires in turn is in its
            // right place, and leaves it again as everybody there does.
            self.attempts.avoid(conn, Some(key.source.clone()));
        }
        Ignored::Duplicate
    }

    fn is_ending(&self, conn: ConnId) -> bool {
        self.attempts.is_ending(conn) || self.conns.get(conn).is_some_and(|conn| conn.is_ending())
    }

    fn on_completion(&mut self, now: Instant, conn: ConnId, notification: &Notification) -> Handled {
        let (kind, seq) = (notification.kind(), notification.seq());
        let shards = notification.shards().cloned().unwrap_or_default();
        let closed = self.windows.complete(now, kind, seq, &shards);
        if closed.is_empty() {
            // Servers repeat the last completion right after the opt-in, even hours later.
            self.ignore(conn, kind, seq, Ignored::NothingOpen);
            return Handled::Ignored(Ignored::NothingOpen);
        }
        for (scope, _) in closed {
            self.window_closed(scope, false);
        }
        self.check_advertised(now, kind, seq);
        Handled::Applied
    }

    /// Opens the window of `notification`, and names it if that changed anything.
    fn open_announced(
        &mut self,
        now: Instant,
        scope: WindowScope,
        notification: &Notification,
        until: Instant,
    ) -> Option<(WindowScope, Cause)> {
        let cause = Cause::of(notification)?;
        let kind = Some(notification.kind());
        self.open_window(now, scope.clone(), cause.clone(), kind, until).then_some((scope, cause))
    }

    /// Closes the window that a notification opened before it was found to have no effect.
    pub(super) fn take_back(&mut self, effect: Effect) {
        let Some((scope, cause)) = effect.window else { return };
        for (scope, _) in self.windows.close(|open, of| *open == scope && *of == cause) {
            self.window_closed(scope, false);
        }
    }

    /// False if the window was open already, for as long and by the same cause.
    pub(super) fn open_window(
        &mut self,
        now: Instant,
        scope: WindowScope,
        cause: Cause,
        announced_by: Option<NotificationKind>,
        until: Instant,
    ) -> bool {
        if !self.windows.open(now, scope.clone(), cause, until) {
            return false;
        }
        if let Some(cause) = announced_by {
            self.emit(Event::WindowOpened { scope: scope.clone(), cause, until });
        }
        if !matches!(scope, WindowScope::Connection(_)) {
            for conn in self.attempts.opening() {
                self.relax_attempt(now, conn);
            }
        }
        self.directives.push_back(Directive::Windows { scope });
        true
    }

    pub(super) fn expire_windows(&mut self, now: Instant) {
        for (scope, _) in self.windows.expire(now) {
            self.window_closed(scope, true);
        }
    }

    fn window_closed(&mut self, scope: WindowScope, expired: bool) {
        if !matches!(scope, WindowScope::Connection(_)) {
            self.emit(Event::WindowClosed { scope: scope.clone(), expired });
        }
        self.directives.push_back(Directive::Windows { scope });
    }

    pub(super) fn ignore(&mut self, conn: ConnId, kind: NotificationKind, seq: Seq, reason: Ignored) {
        self.emit(Event::NotificationIgnored { conn, kind, seq, reason });
    }
}
