//! What each notification means.

use std::time::{Duration, Instant};

use super::moves::MoveKey;
use super::{Coordinator, Directive, Phase};
use crate::event::{Event, Ignored, WindowScope};
use crate::ids::ConnId;
use crate::notification::{Notification, NotificationKind, Seq};
use crate::timer::after;
use crate::windows::{Cause, opener_end};

impl Coordinator {
    /// A maintenance notification arrived on `conn`.
    pub fn handle_notification(&mut self, now: Instant, conn: ConnId, notification: &Notification) {
        let Some(entry) = self.conns.get(conn) else { return };
        let Some(peer) = entry.peer.clone() else { return };
        let (kind, seq) = (notification.kind(), notification.seq());
        self.emit(Event::NotificationReceived { conn, kind, seq });
        match notification {
            Notification::Moving { seq, grace, target } => {
                let key = MoveKey { source: peer, seq: *seq, target: target.clone() };
                self.on_moving(now, conn, key, *grace, Cause::of(notification));
            }
            Notification::Migrating { starts_in, .. } | Notification::FailingOver { starts_in, .. } => {
                self.on_opener(now, conn, notification, WindowScope::Database, *starts_in);
            }
            Notification::SlotsMigrating { .. } => {
                self.on_opener(now, conn, notification, WindowScope::Peer(peer), None);
            }
            Notification::Migrated { .. }
            | Notification::FailedOver { .. }
            | Notification::SlotsMigrated { .. } => {
                self.on_completion(now, conn, notification);
            }
        }
        self.put_to_work(now);
    }

    fn on_moving(&mut self, now: Instant, conn: ConnId, key: MoveKey, grace: Duration, cause: Option<Cause>) {
        if let Some(reason) = self.reason_to_ignore(now, conn, &key) {
            return self.ignore(conn, NotificationKind::Moving, key.seq, reason);
        }
        if let Some(cause) = cause {
            let scope = WindowScope::Peer(key.source.clone());
            self.open_window(now, scope, cause, Some(NotificationKind::Moving), after(now, grace));
        }
        self.start_move(now, key, grace);
    }

    /// Why this MOVING changes nothing, if so. Late joiners are told of a running move again, and so are connections that
    /// have just arrived at its target: reacting to that would never end.
    fn reason_to_ignore(&mut self, now: Instant, conn: ConnId, key: &MoveKey) -> Option<Ignored> {
        if self.conns.get(conn).is_some_and(|entry| entry.ending) {
            return Some(Ignored::ConnectionEnding);
        }
        if key.target.address().as_ref() == Some(&key.source) {
            return Some(Ignored::AlreadyThere);
        }
        let arrived = |of: &super::Move| {
            of.key.seq == key.seq && of.key.target == key.target && of.landed.as_ref() == Some(&key.source)
        };
        if let Some(live) = self.moves.get(&key.source) {
            if live.key != *key {
                return (key.seq < live.key.seq).then_some(Ignored::Stale);
            }
            let source = live.key.source.clone();
            if self.is_led_here_by_newer(conn, key.seq) {
                // The address is in service again, whatever was said of it before.
                return Some(Ignored::Stale);
            }
            if let Some(entry) = self.conns.get_mut(conn).filter(|entry| entry.phase == Phase::Negotiating) {
                // The dial led to the retiring node after all.
                entry.avoid = entry.replaces.map(|_| source);
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
        conn: ConnId,
        notification: &Notification,
        scope: WindowScope,
        starts_in: Option<Duration>,
    ) {
        let (kind, seq) = (notification.kind(), notification.seq());
        if self.conns.get(conn).is_some_and(|entry| entry.ending) {
            return self.ignore(conn, kind, seq, Ignored::ConnectionEnding);
        }
        let Some(cause) = Cause::of(notification) else { return };
        let until = opener_end(now, starts_in, self.config.maintenance().relaxed_timeout());
        if !self.open_window(now, scope, cause, Some(kind), until) {
            self.ignore(conn, kind, seq, Ignored::Duplicate);
        }
    }

    fn on_completion(&mut self, now: Instant, conn: ConnId, notification: &Notification) {
        let (kind, seq) = (notification.kind(), notification.seq());
        let shards = notification.shards().cloned().unwrap_or_default();
        let closed = self.windows.complete(now, kind, seq, &shards);
        if closed.is_empty() {
            // Servers repeat the last completion right after the opt-in, even hours later.
            return self.ignore(conn, kind, seq, Ignored::NothingOpen);
        }
        for (scope, _) in closed {
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

    fn ignore(&mut self, conn: ConnId, kind: NotificationKind, seq: Seq, reason: Ignored) {
        self.emit(Event::NotificationIgnored { conn, kind, seq, reason });
    }
}
