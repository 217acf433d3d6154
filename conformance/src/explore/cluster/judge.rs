//! What the cluster machine ought to believe, judged naively: each fact has an instant, and the later one wins.

use std::hash::{DefaultHasher, Hash as _};
use std::time::{Duration, Instant};

use hitless_core::ids::NodeId;

use crate::explore::scope::Server;
use crate::explore::search::Violation;

/// How long slots may lead to the node that had them, because the new one is not connected.
const CONNECT_FIRST: Duration = Duration::from_secs(1);

/// What something is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Origin {
    SnapshotOrRedirect,
    /// An announcement with this id.
    Announcement(i64),
}

/// Who has the slots that move, and how that is known.
#[derive(Clone, Copy, Debug)]
struct Known {
    owner: Server,
    origin: Origin,
    as_of: Instant,
}

/// Nodes that are asked for the topology, one after the other, until one has answered.
#[derive(Clone, Debug)]
struct Round {
    began_at: Instant,
    asked: Vec<NodeId>,
    is_over: bool,
}

/// The judgement of all that was heard so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Judge {
    best: Option<Known>,
    /// Every announcement, and when it came.
    heard: Vec<(i64, Instant)>,
    /// Until when slots may lead to the node that had them.
    held_until: Option<Instant>,
    round: Option<Round>,
    /// The newest reason to read the topology.
    reason: Option<Instant>,
    /// When the question was asked whose answer was believed last.
    read: Option<Instant>,
}

impl Judge {
    /// The answer to a question that was asked at `asked_at` is believed.
    pub(super) fn note_snapshot(&mut self, asked_at: Instant, owner: Server) {
        self.read = self.read.max(Some(asked_at));
        self.consider(Known { owner, origin: Origin::SnapshotOrRedirect, as_of: asked_at });
    }

    /// A request that was sent at `sent_at` was answered with MOVED.
    pub(super) fn note_moved(&mut self, sent_at: Instant, owner: Server) {
        if self.consider(Known { owner, origin: Origin::SnapshotOrRedirect, as_of: sent_at }) {
            self.note_reason(sent_at);
        }
        // Whoever redirects has had the slots, and serves them no longer.
        if self.owner() == Some(owner) {
            self.held_until = None;
        }
    }

    /// An announcement came. It is as old as the first one that told as much.
    pub(super) fn note_announced(&mut self, now: Instant, seq: i64, owner: Server) {
        self.heard.push((seq, now));
        let told = self.heard.iter().filter(|(known, _)| *known >= seq).map(|(_, at)| *at);
        let as_of = told.min().unwrap_or(now);
        if self.consider(Known { owner, origin: Origin::Announcement(seq), as_of }) {
            self.held_until = Some(now + CONNECT_FIRST);
        }
    }

    /// Something calls for a topology read that shows what was true at `as_of`.
    pub(super) fn note_reason(&mut self, as_of: Instant) {
        self.reason = self.reason.max(Some(as_of));
    }

    /// The machine asks `node`: in a round that goes on, or in one that begins late enough.
    pub(super) fn note_question(
        &mut self,
        now: Instant,
        node: NodeId,
        least_pause: Duration,
    ) -> Result<(), Violation> {
        if let Some(round) = &mut self.round {
            if !round.is_over && !round.asked.contains(&node) {
                round.asked.push(node);
                return Ok(());
            }
            let pause = now.saturating_duration_since(round.began_at);
            if pause < least_pause {
                return Violation::of(format!("RULE-347: the topology is asked for again after {pause:?}"));
            }
        }
        self.round = Some(Round { began_at: now, asked: vec![node], is_over: false });
        Ok(())
    }

    /// No question is open: one was answered, or nobody is left to be asked.
    pub(super) fn end_round(&mut self) {
        self.round.iter_mut().for_each(|round| round.is_over = true);
    }

    /// Who has the slots, by all that is known.
    pub(super) fn owner(&self) -> Option<Server> {
        self.best.map(|best| best.owner)
    }

    /// Whether the slots may still lead to the node that had them.
    pub(super) fn may_be_held(&self, now: Instant) -> bool {
        self.held_until.is_some_and(|until| now < until)
    }

    /// A reason that no read has taken in, if there is one.
    pub(super) fn has_missed(&self) -> bool {
        self.reason.is_some_and(|reason| self.read.is_none_or(|read| read < reason))
    }

    pub(super) fn fingerprint(&self, now: Instant, hasher: &mut DefaultHasher) {
        let age = |at: Instant| now.saturating_duration_since(at);
        let best = self.best.map(|best| (best.owner, best.origin, age(best.as_of)));
        let held = self.held_until.map(|until| until.saturating_duration_since(now));
        (best, held, self.has_missed(), self.reason.map(age), self.read.map(age)).hash(hasher);
        for (seq, at) in &self.heard {
            (seq, age(*at)).hash(hasher);
        }
        if let Some(Round { began_at, asked, is_over }) = &self.round {
            (age(*began_at), is_over).hash(hasher);
            asked.iter().for_each(|node| node.index().hash(hasher));
        }
    }

    /// Takes `news` in, if it is later than what is known. Says whether that is another owner.
    fn consider(&mut self, news: Known) -> bool {
        let is_later = |best: Known| match (news.origin, best.origin) {
            (Origin::Announcement(own), Origin::Announcement(known)) => own > known,
            _ => news.as_of > best.as_of,
        };
        if !self.best.is_none_or(is_later) {
            return false;
        }
        let is_another = self.owner() != Some(news.owner);
        if is_another {
            self.held_until = None;
        }
        self.best = Some(news);
        is_another
    }
}
