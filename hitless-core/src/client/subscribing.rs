//! Subscribing: subscribers come and go, and what they subscribe to is received on one connection.

use std::sync::Arc;
use std::time::{Duration, Instant};

use resp3_codec::Frame;

use super::owner::Owner;
use super::subscriptions::{Decision, Said};
use super::{Action, Client};
use crate::config::WhenDisconnected;
use crate::coordinator::Redial;
use crate::error::{CloseCause, ConnectError};
use crate::event::Event;
use crate::ids::{ChangeId, ConnId, SubscriptionId};
use crate::pubsub::{Push, SubscribeError, Topic};
use crate::windows::effective_timeout;

/// How long a server may take to answer whoever wants everything that it has sent: messages may be withheld meanwhile.
const CATCH_UP_LIMIT: Duration = Duration::from_secs(1);

impl Client {
    /// Opens a subscription, which has no topic yet. What it receives is said by [`Action::Deliver`].
    /// [Close](Self::close_subscription) it in the end.
    ///
    /// # Errors
    /// [`SubscribeError::Full`] and [`SubscribeError::ShutDown`].
    pub fn open_subscription(&mut self) -> Result<SubscriptionId, SubscribeError> {
        if !self.lifecycle.is_open() {
            return Err(SubscribeError::ShutDown);
        }
        self.subscriptions.open().ok_or(SubscribeError::Full)
    }

    /// Has `subscription` receive `topics` as well. [`Action::Subscribed`] says once that all of them are confirmed, or why none is. That
    /// takes [`lease_timeout`](crate::config::ConfigBuilder::lease_timeout) at most.
    ///
    /// # Errors
    /// [`SubscribeError::Full`], [`SubscribeError::Closed`] and [`SubscribeError::ShutDown`].
    pub fn subscribe(
        &mut self,
        now: Instant,
        subscription: SubscriptionId,
        topics: impl IntoIterator<Item = Topic>,
    ) -> Result<ChangeId, SubscribeError> {
        if !self.lifecycle.is_open() {
            return Err(SubscribeError::ShutDown);
        }
        let limit = effective_timeout(self.config.lease_timeout(), self.coordinator.relaxed(now, None));
        let change = self.subscriptions.subscribe(now, subscription, topics, limit)?;
        self.settle(now);
        Ok(change)
    }

    /// Has [`Action::Subscribed`] say when `subscription` has received everything that the server had sent to it by now. That takes 1 s at most, or
    /// [`lease_timeout`](crate::config::ConfigBuilder::lease_timeout) if that is shorter; also while a server is under maintenance. Closing the
    /// subscription ends it with [`SubscribeError::Closed`].
    ///
    /// # Errors
    /// [`SubscribeError::Full`], [`SubscribeError::Closed`] and [`SubscribeError::ShutDown`].
    pub fn catch_up(
        &mut self,
        now: Instant,
        subscription: SubscriptionId,
    ) -> Result<ChangeId, SubscribeError> {
        if !self.lifecycle.is_open() {
            return Err(SubscribeError::ShutDown);
        }
        let limit = self.config.lease_timeout().map_or(CATCH_UP_LIMIT, |limit| limit.min(CATCH_UP_LIMIT));
        let change = self.subscriptions.catch_up(now, subscription, Some(limit))?;
        self.settle(now);
        Ok(change)
    }

    /// `subscription` receives nothing of `topics` any more.
    pub fn unsubscribe(&mut self, now: Instant, subscription: SubscriptionId, topics: &[Topic]) {
        self.subscriptions.unsubscribe(subscription, topics);
        self.settle(now);
    }

    /// `subscription` receives nothing any more, and is over.
    pub fn close_subscription(&mut self, now: Instant, subscription: SubscriptionId) {
        self.subscriptions.close(subscription);
        self.settle(now);
    }

    /// Obeys the subscriptions, and opens their connection when they need one.
    pub(super) fn tend_subscriptions(&mut self, now: Instant) {
        loop {
            while let Some(decision) = self.subscriptions.poll_decision() {
                self.obey_subscriptions(now, decision);
            }
            while let Some(said) = self.subscriptions.poll_said() {
                self.actions.push_back(match said {
                    Said::Deliver { subscription, item } => Action::Deliver { subscription, item },
                    Said::Changed { change, outcome } => Action::Subscribed { change, outcome },
                });
            }
            let is_wanted = self.lifecycle.is_open() && self.subscriptions.has_topics();
            if !self.leases.reserve(is_wanted || self.subscriptions.has_connection()) {
                // Nobody has that one, and it would be closed soon.
                let Some(idle) = self.leases.idle().next() else { return };
                self.release(now, idle, CloseCause::ByClient);
                continue;
            }
            if !self.lifecycle.is_open() || !self.subscriptions.wants_connection(now) {
                return;
            }
            self.open(now, Owner::Subscriptions);
            self.obey_all(now);
        }
    }

    /// Those who have waited too long for a subscription are told why.
    pub(super) fn time_out_subscriptions(&mut self, now: Instant) {
        let endpoint = self.config.endpoint();
        let (has_connection, is_dialling) =
            (self.subscriptions.has_connection(), self.subscriptions.is_dialling());
        // An old failure is no reason where every connection is lent.
        let failure =
            self.subscriptions.failure().filter(|_| is_dialling || self.leases.has_reserved()).cloned();
        self.subscriptions.handle_timeout(now, |after| {
            // A dial that is not over hangs.
            let hangs = || is_dialling.then(|| Arc::new(ConnectError::TimedOut(after)));
            match failure.clone().or_else(hangs) {
                Some(cause) => SubscribeError::NoConnection { endpoint: endpoint.clone(), cause },
                None if has_connection => SubscribeError::TimedOut { after },
                None => SubscribeError::NotLent { after },
            }
        });
    }

    /// A push that is no notification has come on `conn`. Gives it back if it is none of the subscriptions.
    pub(super) fn on_pushed(&mut self, conn: ConnId, elements: Vec<Frame>) -> Option<Vec<Frame>> {
        let is_subscribed = self.links.owner(conn) == Some(Owner::Subscriptions);
        let Some(push) = is_subscribed.then(|| Push::parse(&elements)).flatten() else {
            return Some(elements);
        };
        if self.subscriptions.handle_push(conn, push)
            && let Some(connection) = self.links.connection_mut(conn)
        {
            connection.confirm();
        }
        None
    }

    /// A connection for the subscriptions could not be opened, or was lost right behind its handshake. Where another attempt cannot help, or
    /// nobody is to wait, those who wait are told so.
    pub(super) fn subscriptions_dial_failed(&mut self, now: Instant, error: ConnectError, redial: Redial) {
        self.subscriptions.note_failure(now, error, redial);
        let fails = self.config.when_disconnected() == WhenDisconnected::Fail && !self.is_expected_back(now);
        let gives_up = redial == Redial::Hopeless || (fails && redial != Redial::AtOnce);
        if let Some(cause) = self.subscriptions.failure().filter(|_| gives_up) {
            let (endpoint, cause) = (self.config.endpoint().clone(), Arc::clone(cause));
            self.subscriptions.fail_all(&SubscribeError::NoConnection { endpoint, cause });
        }
    }

    fn obey_subscriptions(&mut self, now: Instant, decision: Decision) {
        match decision {
            Decision::Write { conn, command } => {
                if let Some(connection) = self.links.connection_mut(conn) {
                    connection.write(command);
                    self.flush(conn);
                }
            }
            Decision::Switch(from) => {
                self.coordinator.handle_switched(now, from);
                self.obey_all(now);
            }
            Decision::Release(conn) => self.release(now, conn, CloseCause::ByClient),
            Decision::Gaps { topics, cause } => self.emit(Event::SubscriptionGaps { topics, cause }),
            Decision::Ambiguous { topics } => self.emit(Event::SubscriptionsAmbiguous { topics }),
        }
    }
}
