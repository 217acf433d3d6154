//! The cluster machine and requests that did not run: where they go next, and what they say about the map.

use std::time::{Duration, Instant};

use super::Cluster;
use super::event::{ClusterEvent, SlotsMoveCause};
use super::map::{Change, Fact, Origin};
use super::redirect::Redirect;
use super::refresh::Urgency;
use super::words::{Next, Sent, SentKind, Trail};
use crate::backoff;
use crate::endpoint::Endpoint;
use crate::error::ServerError;
use crate::ids::NodeId;
use crate::rng::Rng;

/// The first pause of a request whose keys are on their way (TRYAGAIN): a few keys move in so long.
const FIRST_TRY_AGAIN: Duration = Duration::from_millis(2);
/// The first pause of a request that nobody can take at the moment.
const FIRST_WAIT: Duration = Duration::from_millis(8);
/// The longest pause: what a request waits longer than needed when the cluster serves it again.
const LONGEST_PAUSE: Duration = Duration::from_millis(100);
/// The shortest pause that is worth it, where the time of the caller ends before a longer one would.
const LEAST_PAUSE: Duration = Duration::from_millis(2);
/// Redirects that are followed at once. More of them are a loop, which is followed more and more slowly.
const AT_ONCE: u32 = 4;

impl Cluster {
    /// What becomes of a request that was refused.
    pub(super) fn judge(&mut self, now: Instant, sent: &Sent, error: &ServerError) -> Next {
        let said_by = sent.node.and_then(|node| self.nodes.asked_at(node)).cloned();
        let redirect = match sent.kind {
            SentKind::Script => Redirect::of_server(error, sent.slot),
            SentKind::Command | SentKind::Atomic | SentKind::Read => Redirect::of(error),
        };
        if let (Some(redirect), Some(primary)) = (&redirect, self.primary_behind(sent))
            && let Some(next) = self.judge_replica(now, sent, redirect, primary)
        {
            return next;
        }
        match redirect {
            Some(Redirect::Moved { slot, place }) => {
                self.stats.moved += 1;
                self.on_moved(now, sent, slot, place.endpoint(said_by.as_ref()))
            }
            Some(Redirect::Ask { slot: _, place }) => {
                self.stats.ask += 1;
                // ASKING holds for one command: of a transaction only the first would be let in.
                let endpoint = place.endpoint(said_by.as_ref()).filter(|_| sent.kind != SentKind::Atomic);
                self.on_ask(now, sent, endpoint)
            }
            Some(Redirect::TryAgain) => self.try_again(now, sent),
            Some(Redirect::ClusterDown | Redirect::Unable) => {
                self.refresh.want(now, sent.sent_at, Urgency::Urgent, &mut self.rng);
                self.wait(now, sent)
            }
            None => Next::ReturnToCaller,
        }
    }

    /// What becomes of a request that no node was sent.
    pub(super) fn reroute(&mut self, now: Instant, sent: &Sent) -> Next {
        if let Some(primary) = self.primary_behind(sent) {
            self.rest(now, sent, primary);
            return to_primary(now, sent, primary);
        }
        let leads_to = sent.slot.and_then(|slot| self.routed(slot));
        if leads_to.is_some() && leads_to != sent.node && !sent.asking {
            // The table has changed since.
            let after = pause_of_redirect(sent.trail, &mut self.rng);
            return within(now, after, sent, Next::Route { after, trail: sent.trail.redirected() });
        }
        // Any node will do, and others can take it.
        let is_first = sent.trail == Trail::default();
        if is_first && sent.slot.is_none() && sent.node.is_some() && self.others_are_ready(sent.node) {
            let next = Next::Route { after: Duration::ZERO, trail: sent.trail.redirected() };
            return within(now, Duration::ZERO, sent, next);
        }
        self.want_read(now);
        self.wait(now, sent)
    }

    /// Who runs a read that was sent to a replica and not run there. `None` for everything else, and if that replica has been promoted.
    fn primary_behind(&self, sent: &Sent) -> Option<NodeId> {
        let is_at_replica = sent.kind == SentKind::Read && !sent.asking;
        let primary = sent.slot.filter(|_| is_at_replica).and_then(|slot| self.routed(slot))?;
        (Some(primary) != sent.node).then_some(primary)
    }

    /// What becomes of a read that a replica has refused: its primary runs it at once. The map does not change, because a replica hears
    /// last where a slot has gone. `None` for what a replica says in its primary's place.
    fn judge_replica(
        &mut self,
        now: Instant,
        sent: &Sent,
        redirect: &Redirect,
        primary: NodeId,
    ) -> Option<Next> {
        match redirect {
            Redirect::Moved { place, .. } => {
                self.stats.moved += 1;
                let said_by = sent.node.and_then(|node| self.nodes.asked_at(node)).cloned();
                let target = place.clone().endpoint(said_by.as_ref());
                // It does not read what its own primary has: READONLY did not count there, or it copies somebody else, or nobody.
                if target.is_none_or(|target| self.nodes.at(&target) == Some(primary)) {
                    self.rest(now, sent, primary);
                }
                self.refresh.want(now, sent.sent_at, Urgency::Patched, &mut self.rng);
            }
            Redirect::ClusterDown | Redirect::Unable => {
                self.rest(now, sent, primary);
                self.refresh.want(now, sent.sent_at, Urgency::Urgent, &mut self.rng);
            }
            Redirect::TryAgain => {}
            Redirect::Ask { .. } => return None,
        }
        Some(to_primary(now, sent, primary))
    }

    /// The replica of `primary` that `sent` went to is not read from for a while. One of another shard, whose slot has moved, is in order.
    fn rest(&mut self, now: Instant, sent: &Sent, primary: NodeId) {
        if let Some(node) = sent.node.filter(|node| self.map.is_replica(primary, *node)) {
            self.is_stale |= self.nodes.begin_rest(now, node, sent.sent_at, &mut self.rng);
        }
    }

    /// Where the table leads `slot`.
    pub(super) fn routed(&self, slot: u16) -> Option<NodeId> {
        self.holds.source_of(slot).or_else(|| self.map.owner(slot).map(|(owner, _)| owner))
    }

    /// `slot` is said to be at `endpoint`, if that is known.
    fn on_moved(&mut self, now: Instant, sent: &Sent, slot: u16, endpoint: Option<Endpoint>) -> Next {
        let fact = Fact { origin: Origin::Redirect, as_of: sent.sent_at };
        let known = self.map.owner(slot);
        let owner = known.map(|(owner, _)| owner);
        // Who redirects does not serve it any more, whether the new node is connected or not.
        if sent.node.is_some() && self.holds.source_of(slot) == sent.node {
            let named = endpoint.as_ref().and_then(|endpoint| self.nodes.at(endpoint));
            self.is_stale |= match owner.filter(|owner| named == Some(*owner)) {
                Some(owner) => self.holds.release_for(owner),
                None => self.holds.release(slot),
            };
        }
        let is_news = known.is_none_or(|(_, known)| fact.beats(&known));
        if let Some(owner) = owner.filter(|owner| !is_news && Some(*owner) != sent.node) {
            return self.follow(now, sent, owner, false);
        }
        if self.leads_back(sent, endpoint.as_ref()) {
            return self.distrust(now, sent, endpoint.as_ref());
        }
        let Some(target) = endpoint.and_then(|endpoint| self.find_target(now, endpoint)) else {
            self.want_read(now);
            return self.wait(now, sent);
        };
        // What is known is newer, but leads back to where the redirect came from: this request follows it, and no other one.
        if !is_news {
            return self.follow(now, sent, target, false);
        }
        let was_asked_as_replica =
            owner.zip(sent.node).is_some_and(|(owner, node)| self.map.is_replica(owner, node));
        let (changes, cause) = self.patch(slot, owner, target, fact);
        if !changes.is_empty() || was_asked_as_replica {
            self.refresh.want(now, sent.sent_at, Urgency::Patched, &mut self.rng);
        }
        self.note_moved(&changes, target, cause);
        self.follow(now, sent, target, false)
    }

    /// A key of `sent` is said to be at `endpoint`, if that is known, and if the request may be sent there.
    fn on_ask(&mut self, now: Instant, sent: &Sent, endpoint: Option<Endpoint>) -> Next {
        if self.leads_back(sent, endpoint.as_ref()) {
            return self.distrust(now, sent, endpoint.as_ref());
        }
        match endpoint.and_then(|endpoint| self.find_target(now, endpoint)) {
            Some(target) => self.follow(now, sent, target, true),
            None => self.wait(now, sent),
        }
    }

    /// Whether `endpoint` is known as an address of the very node that redirects there.
    fn leads_back(&self, sent: &Sent, endpoint: Option<&Endpoint>) -> bool {
        let node = endpoint.and_then(|endpoint| self.nodes.at(endpoint));
        node.is_some() && node == sent.node
    }

    /// A node does not redirect to itself: another server has taken over an address that it had, or its connections lead to another
    /// server than is thought. It counts as a redirect, because it may never end.
    fn distrust(&mut self, now: Instant, sent: &Sent, endpoint: Option<&Endpoint>) -> Next {
        if let Some((node, endpoint)) = sent.node.zip(endpoint) {
            self.nodes.drop_alias(node, endpoint);
        }
        self.refresh.want(now, sent.sent_at, Urgency::Urgent, &mut self.rng);
        if sent.trail.redirects >= self.settings.max_redirects() {
            return Next::ReturnToCaller;
        }
        self.wait(now, &Sent { trail: sent.trail.redirected(), ..*sent })
    }

    fn others_are_ready(&self, than: Option<NodeId>) -> bool {
        self.nodes.ready().any(|node| Some(node) != than)
    }

    /// The slot is `target`'s; all slots of its owner are, if `target` was a replica of that.
    fn patch(
        &mut self,
        slot: u16,
        owner: Option<NodeId>,
        target: NodeId,
        fact: Fact,
    ) -> (Vec<Change>, SlotsMoveCause) {
        if let Some(owner) = owner.filter(|owner| self.map.is_replica(*owner, target)) {
            return (self.map.promote(owner, target, fact), SlotsMoveCause::Promotion);
        }
        (self.map.assign(slot, target, fact), SlotsMoveCause::Redirect)
    }

    /// Tells of `changes`, and has the table built anew.
    pub(super) fn note_moved(&mut self, changes: &[Change], to: NodeId, cause: SlotsMoveCause) {
        if changes.is_empty() {
            return;
        }
        self.is_stale = true;
        self.refresh.handle_changed();
        self.holds.handle_changed(changes);
        let slots = changes.iter().map(Change::len).sum();
        if let Some(endpoint) = self.nodes.endpoint(to).cloned() {
            self.emit(ClusterEvent::SlotsMoved { to, endpoint, slots, cause });
        }
    }

    /// The node to which a redirect leads, open or about to be.
    fn find_target(&mut self, now: Instant, endpoint: Endpoint) -> Option<NodeId> {
        let node = self.find_or_add(now, endpoint)?;
        self.open(node);
        self.nodes.touch(now, node);
        Some(node)
    }

    /// To `node`, at once or soon, unless that was done too often.
    fn follow(&mut self, now: Instant, sent: &Sent, node: NodeId, asking: bool) -> Next {
        if sent.trail.redirects >= self.settings.max_redirects() {
            self.want_read(now);
            return Next::ReturnToCaller;
        }
        let after = pause_of_redirect(sent.trail, &mut self.rng);
        within(now, after, sent, Next::Resend { node, asking, after, trail: sent.trail.redirected() })
    }

    /// To the same node, a little later.
    fn try_again(&mut self, now: Instant, sent: &Sent) -> Next {
        self.stats.waited += 1;
        let after = backoff::growing(FIRST_TRY_AGAIN, LONGEST_PAUSE, sent.trail.pauses, &mut self.rng);
        let trail = sent.trail.paused();
        let next = match sent.node {
            Some(node) => {
                // Perhaps an ASK alone has led there.
                self.nodes.touch(now, node);
                Next::Resend { node, asking: sent.asking, after, trail }
            }
            None => Next::Route { after, trail },
        };
        within(now, after, sent, next)
    }

    /// To wherever the table leads a little later.
    fn wait(&mut self, now: Instant, sent: &Sent) -> Next {
        self.stats.waited += 1;
        let after = backoff::growing(FIRST_WAIT, LONGEST_PAUSE, sent.trail.pauses, &mut self.rng);
        within(now, after, sent, Next::Route { after, trail: sent.trail.paused() })
    }
}

/// From a replica to its primary, which counts as no redirect: it happens once, because the primary is sent no [`SentKind::Read`].
fn to_primary(now: Instant, sent: &Sent, primary: NodeId) -> Next {
    let (after, trail) = (Duration::ZERO, sent.trail);
    within(now, after, sent, Next::Resend { node: primary, asking: false, after, trail })
}

/// `next`, whose pause is `pause`, with one that is over before the caller stops waiting: with half of what is left, if need be.
fn within(now: Instant, pause: Duration, sent: &Sent, next: Next) -> Next {
    let Some(left) = sent.deadline.map(|deadline| deadline.saturating_duration_since(now)) else {
        return next;
    };
    if pause < left {
        return next;
    }
    let after = left / 2;
    match next {
        _ if after < LEAST_PAUSE => Next::ReturnToCaller,
        Next::Resend { node, asking, after: _, trail } => Next::Resend { node, asking, after, trail },
        Next::Route { after: _, trail } => Next::Route { after, trail },
        Next::ReturnToCaller => next,
    }
}

fn pause_of_redirect(trail: Trail, rng: &mut Rng) -> Duration {
    match trail.redirects.checked_sub(AT_ONCE) {
        None => Duration::ZERO,
        Some(more) => backoff::growing(FIRST_TRY_AGAIN, LONGEST_PAUSE, more, rng),
    }
}

impl Trail {
    const fn redirected(self) -> Self {
        Self { redirects: self.redirects.saturating_add(1), ..self }
    }

    const fn paused(self) -> Self {
        Self { pauses: self.pauses.saturating_add(1), ..self }
    }
}
