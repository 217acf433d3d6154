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
/// Redirects that are followed at once. More of them are a loop, which is followed more and more slowly.
const AT_ONCE: u32 = 4;

impl Cluster {
    /// What becomes of a request that was refused.
    pub(super) fn judge(&mut self, now: Instant, sent: &Sent, error: &ServerError) -> Next {
        let said_by = sent.node.and_then(|node| self.nodes.endpoint(node)).cloned();
        match Redirect::of(error) {
            Some(Redirect::Moved { slot, place }) => {
                self.stats.moved += 1;
                self.on_moved(now, sent, slot, place.endpoint(said_by.as_ref()))
            }
            Some(Redirect::Ask { place }) => {
                self.stats.ask += 1;
                // ASKING holds for one command: of a transaction only the first would be let in.
                let target = match sent.kind {
                    SentKind::Atomic => None,
                    SentKind::Command | SentKind::Script => {
                        place.endpoint(said_by.as_ref()).and_then(|endpoint| self.find_target(now, endpoint))
                    }
                };
                match target {
                    Some(target) => self.follow(now, sent, target, true),
                    None => self.wait(now, sent),
                }
            }
            Some(Redirect::TryAgain) => self.try_again(now, sent),
            Some(Redirect::Unable) if sent.kind == SentKind::Script => Next::ReturnToCaller,
            Some(Redirect::ClusterDown | Redirect::Unable) => {
                self.refresh.want(now, sent.sent_at, Urgency::Urgent, &mut self.rng);
                self.wait(now, sent)
            }
            None => Next::ReturnToCaller,
        }
    }

    /// What becomes of a request that no node was sent.
    pub(super) fn reroute(&mut self, now: Instant, sent: &Sent) -> Next {
        let leads_to = sent.slot.and_then(|slot| self.routed(slot));
        if leads_to.is_some() && leads_to != sent.node && !sent.asking {
            // The table has changed since.
            let after = pause_of_redirect(sent.trail, &mut self.rng);
            return within(now, after, sent, Next::Route { after, trail: sent.trail.redirected() });
        }
        self.want_read(now);
        self.wait(now, sent)
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
        if let Some((owner, source)) = owner.zip(self.holds.source_of(slot))
            && sent.node == Some(source)
        {
            self.is_stale |= self.holds.release_for(owner);
        }
        let is_news = known.is_none_or(|(_, known)| fact.beats(&known, now));
        if let Some(owner) = owner.filter(|owner| !is_news && Some(*owner) != sent.node) {
            return self.follow(now, sent, owner, false);
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
        let (changes, cause) = self.patch(now, slot, owner, target, fact);
        if !changes.is_empty() || was_asked_as_replica {
            self.refresh.want(now, sent.sent_at, Urgency::Patched, &mut self.rng);
        }
        self.note_moved(&changes, target, cause);
        self.follow(now, sent, target, false)
    }

    /// The slot is `target`'s; all slots of its owner are, if `target` was a replica of that.
    fn patch(
        &mut self,
        now: Instant,
        slot: u16,
        owner: Option<NodeId>,
        target: NodeId,
        fact: Fact,
    ) -> (Vec<Change>, SlotsMoveCause) {
        if let Some(owner) = owner.filter(|owner| self.map.is_replica(*owner, target)) {
            return (self.map.promote(now, owner, target, fact), SlotsMoveCause::Promotion);
        }
        (self.map.assign(now, slot, target, fact), SlotsMoveCause::Redirect)
    }

    /// Tells of `changes`, and has the table built anew.
    pub(super) fn note_moved(&mut self, changes: &[Change], to: NodeId, cause: SlotsMoveCause) {
        if changes.is_empty() {
            return;
        }
        self.is_stale = true;
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

/// `next`, if its pause is over before the caller stops waiting.
fn within(now: Instant, after: Duration, sent: &Sent, next: Next) -> Next {
    let has_time = |deadline: Instant| after < deadline.saturating_duration_since(now);
    if sent.deadline.is_none_or(has_time) { next } else { Next::ReturnToCaller }
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
