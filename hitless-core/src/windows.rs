//! Relaxed timeouts: the windows of time in which slow replies are to be expected.

#[cfg(feature = "explore")]
mod fingerprint;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::dedup::Remembered;
use crate::notification::{MoveTarget, Notification, NotificationKind, Seq, ShardIds};
use crate::timer::after;

/// How many times the relaxed timeout an opener's window outlasts the announced time, when nobody closes it.
const OUTLASTS: u32 = 3;
/// How long an opener that arrives after its completion is recognised as late: the two may come over
/// different connections.
const COMPLETION_MEMORY: Duration = Duration::from_secs(60);
/// How many completions are remembered for that.
const COMPLETIONS: usize = 64;

/// Why a window is open. A set of windows holds each cause once per scope.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub(crate) enum Cause {
    /// An opener: the start of a migration or of a failover was announced.
    Notification {
        /// Its kind.
        kind: NotificationKind,
        /// Its id.
        seq: Seq,
        /// The shards it named that are not completed yet; none if it named none.
        shards: ShardIds,
    },
    /// A move was announced. Two moves may share an id, so the target is part of it.
    Move {
        /// Its id.
        seq: Seq,
        /// Where it leads.
        target: MoveTarget,
    },
    /// A connection has just been handed off: its node is warming up.
    Handoff,
}

impl Cause {
    /// The cause that `notification` is; `None` for completions, which open nothing.
    #[must_use]
    pub(crate) fn of(notification: &Notification) -> Option<Self> {
        let (kind, seq) = (notification.kind(), notification.seq());
        match notification {
            Notification::Moving { target, .. } => Some(Self::Move { seq, target: target.clone() }),
            Notification::Migrating { shards, .. } | Notification::FailingOver { shards, .. } => {
                Some(Self::Notification { kind, seq, shards: shards.clone() })
            }
            Notification::SlotsMigrating { .. } => {
                Some(Self::Notification { kind, seq, shards: ShardIds::default() })
            }
            Notification::Migrated { .. }
            | Notification::FailedOver { .. }
            | Notification::SlotsMigrated { .. } => None,
        }
    }
}

/// The open windows of every scope: a set keyed by scope and cause, never a counter, so that a notification
/// that is lost, repeated or out of order cannot leave timeouts relaxed for ever, or tight too soon.
///
/// Each window ends by itself at the instant given by whoever opens it: see [`opener_end`] for openers; a
/// move's window ends at its deadline. The number of windows is limited: beyond it, the one that ends soonest
/// gives way.
///
/// A scope covers what its owner says it covers. Scopes do not nest here: ask for each that applies.
#[derive(Clone, Debug)]
pub(crate) struct Windows<S> {
    scopes: BTreeMap<S, Vec<Window>>,
    /// When windows end, and in which scope: with a window for each connection of a large pool, nobody looks at all.
    ends: BTreeSet<(Instant, S)>,
    /// The scopes that have windows of notifications, which are the ones that completions concern.
    announced: BTreeSet<S>,
    len: usize,
    limit: usize,
    /// Opener kind, id and shards of recent completions.
    completed: Remembered<(NotificationKind, Seq, ShardIds)>,
}

#[derive(Clone, Debug)]
struct Window {
    cause: Cause,
    until: Instant,
}

impl Window {
    fn is_announced(&self) -> bool {
        matches!(self.cause, Cause::Notification { .. })
    }
}

impl<S: Ord + Clone> Windows<S> {
    /// No window, and room for `limit`.
    #[must_use]
    pub(crate) const fn new(limit: usize) -> Self {
        Self {
            scopes: BTreeMap::new(),
            ends: BTreeSet::new(),
            announced: BTreeSet::new(),
            len: 0,
            limit,
            completed: Remembered::new(COMPLETIONS),
        }
    }

    /// From now on there is room for `limit` windows. Those that are open stay until the next one is opened.
    pub(crate) fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// Opens a window and says whether that changed anything.
    ///
    /// It does not when it would be over already, when its completion has been seen within the last minute,
    /// and when a notification is merely repeated while its window is open: repeating extends nothing. A
    /// [`Cause::Handoff`] is the client's own and extends its window, but never shortens it.
    pub(crate) fn open(&mut self, now: Instant, scope: S, cause: Cause, until: Instant) -> bool {
        let Some(cause) = self.uncompleted(now, cause).filter(|_| until > now) else { return false };
        let windows = self.scopes.entry(scope.clone()).or_default();
        match windows.iter_mut().find(|window| window.cause == cause) {
            Some(known) => {
                let may_extend = cause == Cause::Handoff || known.until <= now;
                let extends = may_extend && known.until < until;
                if extends {
                    let before = std::mem::replace(&mut known.until, until);
                    if windows.iter().all(|window| window.until != before) {
                        self.ends.remove(&(before, scope.clone()));
                    }
                    self.ends.insert((until, scope));
                }
                extends
            }
            None => {
                if matches!(cause, Cause::Notification { .. }) {
                    self.announced.insert(scope.clone());
                }
                windows.push(Window { cause: cause.clone(), until });
                self.ends.insert((until, scope.clone()));
                self.len += 1;
                if self.len <= self.limit {
                    return true;
                }
                self.give_way();
                self.scopes
                    .get(&scope)
                    .is_some_and(|windows| windows.iter().any(|window| window.cause == cause))
            }
        }
    }

    /// Handles a completion and returns the windows that it closes, in every scope.
    ///
    /// Those are the windows of the openers that `kind` completes, with an id not above `seq`. If both name
    /// shards, only those shards are completed, and the window stays open for the opener's others. A
    /// completion that finds nothing to close is ordinary: servers repeat the last one after each opt-in.
    pub(crate) fn complete(
        &mut self,
        now: Instant,
        kind: NotificationKind,
        seq: Seq,
        shards: &ShardIds,
    ) -> Vec<(S, Cause)> {
        let Some(opener) = kind.completes() else { return Vec::new() };
        self.completed.insert(now, (opener, seq, shards.clone()), after(now, COMPLETION_MEMORY));
        self.replace(|cause| remainder(cause, opener, seq, shards))
    }

    /// Closes the windows that `closes` picks, and returns them: those of a vetoed notification, or of a
    /// scope that is gone.
    pub(crate) fn close(&mut self, mut closes: impl FnMut(&S, &Cause) -> bool) -> Vec<(S, Cause)> {
        self.take(|scope, window| closes(scope, &window.cause))
    }

    /// Closes the windows that are over at `now`, and returns them.
    pub(crate) fn expire(&mut self, now: Instant) -> Vec<(S, Cause)> {
        self.completed.expire(now);
        let mut over = BTreeSet::new();
        while self.ends.first().is_some_and(|(until, _)| *until <= now) {
            over.extend(self.ends.pop_first().map(|(_, scope)| scope));
        }
        let mut expired = Vec::new();
        for scope in over {
            self.take_of(scope, |window| window.until <= now, &mut expired);
        }
        expired
    }

    /// Forgets the windows of a scope that is gone.
    pub(crate) fn forget(&mut self, scope: &S) {
        for window in self.remove(scope) {
            self.ends.remove(&(window.until, scope.clone()));
        }
    }

    /// Whether timeouts are relaxed in `scope` at `now`.
    #[must_use]
    pub(crate) fn is_open(&self, now: Instant, scope: &S) -> bool {
        self.open_until(now, scope).is_some()
    }

    /// Until when timeouts are relaxed in `scope`, if they are at `now` and nothing is closed.
    #[must_use]
    pub(crate) fn open_until(&self, now: Instant, scope: &S) -> Option<Instant> {
        self.scopes.get(scope)?.iter().map(|window| window.until).max().filter(|until| *until > now)
    }

    /// When the next window ends.
    #[must_use]
    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        self.ends.first().map(|(until, _)| *until)
    }

    /// How many there are, those included that have ended since the last [`expire`](Self::expire).
    #[must_use]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The windows that are open at `now`.
    #[cfg(test)]
    pub(crate) fn iter(&self, now: Instant) -> impl Iterator<Item = (&S, &Cause)> {
        let windows =
            self.scopes.iter().flat_map(|(scope, windows)| windows.iter().map(move |window| (scope, window)));
        windows.filter(move |(_, window)| window.until > now).map(|(scope, window)| (scope, &window.cause))
    }

    /// What recent completions leave of `cause`.
    fn uncompleted(&self, now: Instant, cause: Cause) -> Option<Cause> {
        let completions = self.completed.iter(now);
        completions
            .into_iter()
            .try_fold(cause, |cause, (opener, seq, shards)| remainder(cause, *opener, *seq, shards))
    }

    /// Beyond the limit, one window ends.
    fn give_way(&mut self) {
        // The first of those that end soonest; the order of scopes decides, so it is the same in every run.
        let Some((soonest, scope)) = self.ends.pop_first() else { return };
        let mut is_found = false;
        let first = |window: &Window| window.until == soonest && !std::mem::replace(&mut is_found, true);
        self.take_of(scope.clone(), first, &mut Vec::new());
        let others = self.scopes.get(&scope).into_iter().flatten();
        if others.into_iter().any(|window| window.until == soonest) {
            self.ends.insert((soonest, scope));
        }
    }

    /// Moves the windows of one scope that `takes` picks to `taken`. Their ends are the caller's to forget.
    fn take_of(&mut self, scope: S, mut takes: impl FnMut(&Window) -> bool, taken: &mut Vec<(S, Cause)>) {
        let Some(windows) = self.scopes.get_mut(&scope) else { return };
        let before = taken.len();
        taken.extend(
            windows.extract_if(.., |window| takes(window)).map(|window| (scope.clone(), window.cause)),
        );
        self.len -= taken.len() - before;
        if !windows.iter().any(Window::is_announced) {
            self.announced.remove(&scope);
        }
        if windows.is_empty() {
            self.scopes.remove(&scope);
        }
    }

    /// Takes all windows of one scope out. Their ends are the caller's to forget.
    fn remove(&mut self, scope: &S) -> Vec<Window> {
        let windows = self.scopes.remove(scope).unwrap_or_default();
        self.announced.remove(scope);
        self.len -= windows.len();
        windows
    }

    fn put_back(&mut self, scope: S, windows: Vec<Window>) {
        if windows.is_empty() {
            return;
        }
        self.len += windows.len();
        self.ends.extend(windows.iter().map(|window| (window.until, scope.clone())));
        if windows.iter().any(Window::is_announced) {
            self.announced.insert(scope.clone());
        }
        self.scopes.insert(scope, windows);
    }

    /// Counts anew, after any window may have gone.
    fn recount(&mut self) {
        self.len = self.scopes.values().map(Vec::len).sum();
        let windows = self
            .scopes
            .iter()
            .flat_map(|(scope, windows)| windows.iter().map(move |window| (window.until, scope)));
        self.ends = windows.map(|(until, scope)| (until, scope.clone())).collect();
        let Self { scopes, announced, .. } = self;
        announced.retain(|scope| {
            scopes.get(scope).is_some_and(|windows| windows.iter().any(Window::is_announced))
        });
    }

    /// Removes and returns the windows that `takes` picks.
    fn take(&mut self, mut takes: impl FnMut(&S, &Window) -> bool) -> Vec<(S, Cause)> {
        let mut taken = Vec::new();
        self.scopes.retain(|scope, windows| {
            for window in windows.extract_if(.., |window| takes(scope, window)) {
                taken.push((scope.clone(), window.cause));
            }
            !windows.is_empty()
        });
        if !taken.is_empty() {
            self.recount();
        }
        taken
    }

    /// Puts in place of each cause what `remains` of it, and returns those of which nothing does.
    fn replace(&mut self, remains: impl Fn(Cause) -> Option<Cause>) -> Vec<(S, Cause)> {
        let mut closed = Vec::new();
        for scope in self.announced.clone() {
            let mut kept: Vec<Window> = Vec::new();
            for window in self.remove(&scope) {
                self.ends.remove(&(window.until, scope.clone()));
                let Some(cause) = remains(window.cause.clone()) else {
                    closed.push((scope.clone(), window.cause));
                    continue;
                };
                // Two openers of one event may be left with the same shards: they are one cause then.
                match kept.iter_mut().find(|other| other.cause == cause) {
                    Some(same) => same.until = same.until.max(window.until),
                    None => kept.push(Window { cause, until: window.until }),
                }
            }
            self.put_back(scope, kept);
        }
        closed
    }
}

/// What is left of `cause` after the completion of openers of kind `opener` up to `seq` for `completed`
/// shards.
fn remainder(cause: Cause, opener: NotificationKind, seq: Seq, completed: &ShardIds) -> Option<Cause> {
    match cause {
        Cause::Notification { kind, seq: opened, shards } if kind == opener && opened <= seq => {
            if shards.is_empty() || completed.is_empty() {
                return None;
            }
            let shards = shards.without(completed);
            (!shards.is_empty()).then_some(Cause::Notification { kind, seq: opened, shards })
        }
        other => Some(other),
    }
}

/// When the window of an opener ends, if no completion closes it: three relaxed timeouts after the announced
/// time, because completions can be lost.
#[must_use]
pub(crate) fn opener_end(now: Instant, starts_in: Option<Duration>, relaxed: Duration) -> Instant {
    after(now, starts_in.unwrap_or_default().saturating_add(relaxed.saturating_mul(OUTLASTS)))
}

/// The timeout in force: the longer of the configured one (`None`: infinite, which it stays) and the relaxed
/// one (`None`: no window is open). So a window never makes a timeout shorter.
#[must_use]
#[inline]
pub(crate) fn effective_timeout(configured: Option<Duration>, relaxed: Option<Duration>) -> Option<Duration> {
    match relaxed {
        None => configured,
        Some(relaxed) => configured.map(|configured| configured.max(relaxed)),
    }
}

#[cfg(test)]
mod tests;
