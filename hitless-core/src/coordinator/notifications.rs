//! What each notification means.

use std::time::{Duration, Instant};

use super::moves::{Departure, MoveKey};
use super::{Coordinator, Directive, Phase};
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
pub(super) struct News {
    pub(super) conn: ConnId,
    pub(super) peer: Peer,
    pub(super) at: Instant,
}

/// The window that a notification opened at its arrival.
pub(super) type Opened = (WindowScope, Cause);

impl Coordinator {
    /// A maintenance notification arrived on `conn`.
    pub fn handle_notification(&mut self, now: Instant, conn: ConnId, notification: &Notification) {
        let Some(peer) = self.conns.get(conn).and_then(|entry| entry.peer.clone()) else { return };
        let (kind, seq) = (notification.kind(), notification.seq());
        self.emit(Event::NotificationReceived { conn, kind, seq });
        let news = News { conn, peer, at: now };
        let arrival = self.announce(now, &news, notification);
        if let Err(reason) = arrival {
            self.ignore(conn, kind, seq, reason);
        }
        let is_applicable = arrival.is_ok();
        if !self.begin_review(now, &news, notification, arrival) && is_applicable {
            self.apply(now, &news, notification);
        }
        self.put_to_work(now);
    }

    /// What does not wait for a review: the window of what is news.
    pub(super) fn announce(
        &mut self,
        now: Instant,
        news: &News,
        notification: &Notification,
    ) -> Result<Option<Opened>, Ignored> {
        match notification {
            Notification::Moving { grace, .. } => {
                if let Some(reason) = self.reason_at_arrival(now, news, notification) {
                    return Err(reason);
                }
                let scope = WindowScope::Peer(news.peer.clone());
                Ok(self.open_announced(now, scope, notification, after(news.at, *grace)))
            }
            Notification::Migrating { starts_in, .. } | Notification::FailingOver { starts_in, .. } => {
                self.on_opener(now, news, notification, WindowScope::Database, *starts_in)
            }
            Notification::SlotsMigrating { .. } => {
                let scope = WindowScope::Peer(news.peer.clone());
                self.on_opener(now, news, notification, scope, None)
            }
            Notification::Migrated { .. }
            | Notification::FailedOver { .. }
            | Notification::SlotsMigrated { .. } => Ok(None),
        }
    }

    /// The rest: what a veto prevents.
    pub(super) fn apply(&mut self, now: Instant, news: &News, notification: &Notification) -> Handled {
        match notification {
            Notification::Moving { seq, grace, target } => {
                let key = MoveKey { source: news.peer.clone(), seq: *seq, target: target.clone() };
                let deadline = after(news.at, *grace);
                let target = target.clone();
                self.start_move(
                    now,
                    key,
                    Departure { announced_at: news.at, deadline, target, announced: true },
                );
                Handled::Applied
            }
            Notification::Migrating { .. }
            | Notification::FailingOver { .. }
            | Notification::SlotsMigrating { .. } => Handled::Applied,
            Notification::Migrated { .. }
            | Notification::FailedOver { .. }
            | Notification::SlotsMigrated { .. } => self.on_completion(now, news.conn, notification),
        }
    }

    /// A move that a reviewer has changed: it is still the move that the server announced, so that its copies are
    /// recognised.
    pub(super) fn move_as_replaced(
        &mut self,
        now: Instant,
        news: &News,
        original: &Notification,
        opened: Option<Opened>,
        grace: Duration,
        target: MoveTarget,
    ) -> Handled {
        let Some(key) = MoveKey::of(&news.peer, original) else { return Handled::Applied };
        let deadline = after(news.at, grace);
        self.take_back(opened);
        self.open_announced(now, WindowScope::Peer(news.peer.clone()), original, deadline);
        self.start_move(now, key, Departure { announced_at: news.at, deadline, target, announced: true });
        Handled::Applied
    }

    /// Why a notification that was news at its arrival is none any more.
    pub(super) fn outdated(
        &mut self,
        now: Instant,
        news: &News,
        notification: &Notification,
    ) -> Option<Ignored> {
        let key = MoveKey::of(&news.peer, notification)?;
        self.reason_to_ignore(now, news.conn, &key)
    }

    /// Why this MOVING changes nothing, if so.
    fn reason_at_arrival(&mut self, now: Instant, news: &News, moving: &Notification) -> Option<Ignored> {
        let key = MoveKey::of(&news.peer, moving)?;
        if self.conns.get(news.conn).is_some_and(|entry| entry.ending) {
            return Some(Ignored::ConnectionEnding);
        }
        if key.target.address().as_ref() == Some(&key.source) {
            return Some(Ignored::AlreadyThere);
        }
        if let Some(reason) = self.reason_to_ignore(now, news.conn, &key) {
            return Some(reason);
        }
        // A copy of one that is being reviewed shares its fate.
        if self.reviews.any(|news, waiting| MoveKey::of(&news.peer, waiting).as_ref() == Some(&key)) {
            return Some(Ignored::Duplicate);
        }
        let MoveTarget::Endpoint(target) = &key.target else { return None };
        match self.config.maintenance().judge_target(target, &key.source) {
            TargetVerdict::Rewrite(reached) if reached.peer().as_ref() == Some(&key.source) => {
                Some(Ignored::AlreadyThere)
            }
            TargetVerdict::Rewrite(_) | TargetVerdict::Allow | TargetVerdict::Veto => None,
        }
    }

    /// Late joiners are told of a running move again, and so are connections that have just arrived at its target:
    /// reacting to that would never end.
    fn reason_to_ignore(&mut self, now: Instant, conn: ConnId, key: &MoveKey) -> Option<Ignored> {
        let arrived = |of: &super::Move| {
            of.key.seq == key.seq && of.key.target == key.target && of.landed.as_ref() == Some(&key.source)
        };
        // What was found out without a word of the server gives way to its word.
        if let Some(live) = self.moves.get(&key.source).filter(|live| live.announced) {
            if live.key != *key {
                return (key.seq < live.key.seq).then_some(Ignored::Stale);
            }
            let source = live.key.source.clone();
            if self.is_led_here_by_newer(conn, key.seq) {
                // The address is in service again, whatever was said of it before.
                return Some(Ignored::Stale);
            }
            if let Some(entry) = self.conns.get_mut(conn).filter(|entry| entry.phase == Phase::Negotiating) {
                let own = entry.replaces.and_then(|from| self.handoffs.get(&from));
                if own.is_some_and(|handoff| handoff.source == source) {
                    // The dial led to the retiring node after all. One that a move has led to a node which retires in turn
                    // is in its right place, and leaves it again as everybody there does.
                    entry.avoid = Some(source);
                }
            }
            return Some(Ignored::Duplicate);
        }
        if self.moves.values().any(arrived) {
            return Some(Ignored::AlreadyThere);
        }
        if self.finished.contains(now, key) {
            return Some(Ignored::Duplicate);
        }
        let newer = |known: &MoveKey| known.source == key.source && known.seq > key.seq;
        self.finished.iter(now).any(newer).then_some(Ignored::Stale)
    }

    /// Whether `conn` is dialled on behalf of a move that is newer than `seq`.
    fn is_led_here_by_newer(&self, conn: ConnId, seq: Seq) -> bool {
        let replaces = self.conns.get(conn).and_then(|entry| entry.replaces);
        let handoff = replaces.and_then(|from| self.handoffs.get(&from));
        handoff.and_then(|handoff| self.moves.get(&handoff.source)).is_some_and(|of| of.key.seq > seq)
    }

    fn on_opener(
        &mut self,
        now: Instant,
        news: &News,
        opener: &Notification,
        scope: WindowScope,
        starts_in: Option<Duration>,
    ) -> Result<Option<Opened>, Ignored> {
        if self.conns.get(news.conn).is_some_and(|entry| entry.ending) {
            return Err(Ignored::ConnectionEnding);
        }
        let until = opener_end(news.at, starts_in, self.config.maintenance().relaxed_timeout());
        self.open_announced(now, scope, opener, until).map(Some).ok_or(Ignored::Duplicate)
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
    ) -> Option<Opened> {
        let cause = Cause::of(notification)?;
        let kind = Some(notification.kind());
        self.open_window(now, scope.clone(), cause.clone(), kind, until).then_some((scope, cause))
    }

    /// Closes the window that a notification opened before it was found to have no effect.
    pub(super) fn take_back(&mut self, opened: Option<Opened>) {
        let Some((scope, cause)) = opened else { return };
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
