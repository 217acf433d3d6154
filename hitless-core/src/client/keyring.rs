//! Credentials that somebody provides: which dials wait for them, what each connection was given, and when to ask for new
//! ones.

#[cfg(feature = "explore")]
mod fingerprint;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use crate::backoff::Reconnect;
use crate::config::{Config, Credentials};
use crate::endpoint::Target;
use crate::error::CredentialsError;
use crate::ids::{ConnId, IdMap};
use crate::rng::Rng;
use crate::timer::after;

/// How long an answer may take where a dial has no limit.
const LIMIT: Duration = Duration::from_secs(5);
/// Of the credentials that came last so many are known again where an error repeats them.
const KNOWN: usize = 8;
/// How often new credentials are asked for at most, whatever is said to have changed.
const PACE: Duration = Duration::from_secs(1);

/// All connections, from the question for their credentials until they are forgotten.
#[derive(Debug)]
#[cfg_attr(feature = "explore", derive(Clone))]
pub(super) struct Keyring {
    asks: bool,
    /// How long an answer may take that serves no dial.
    limit: Duration,
    holders: IdMap<ConnId, Holder>,
    /// When the dials that wait have waited long enough, in order.
    due: BTreeSet<(Instant, ConnId)>,
    /// The newest credentials, once there have been new ones.
    newest: Option<Credentials>,
    /// Those that came last, each once.
    known: VecDeque<Credentials>,
    /// How often that was.
    changes: u64,
    renewal: Renewal,
    /// When new credentials were asked for last.
    asked_at: Option<Instant>,
    pauses: Reconnect,
    rng: Rng,
}

#[derive(Clone, Debug)]
enum Holder {
    /// Its dial waits for the answer.
    Waits(Waiting),
    /// The credentials of the connection, or of the dial when it is connected; `None` without any, or if the server has refused them.
    Has(Option<Credentials>),
}

#[derive(Clone, Debug)]
struct Waiting {
    target: Target,
    /// When the dial has taken too long.
    until: Option<Instant>,
    /// When the answer has.
    due: Instant,
    limit: Duration,
    /// How often the credentials had changed when it was asked for.
    changes: u64,
}

/// What becomes of credentials that are said to have changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Renewal {
    Idle,
    /// New ones are to be asked for.
    Due {
        at: Instant,
    },
    /// There were none, and they are to be asked for again.
    Failed {
        retry_at: Instant,
    },
    Asked {
        until: Instant,
    },
}

impl Keyring {
    pub(super) fn new(config: &Config, seed: u64) -> Self {
        Self {
            asks: config.asks_for_credentials(),
            limit: config.connect_timeout().map_or(LIMIT, |timeout| timeout / 2),
            holders: IdMap::new(),
            due: BTreeSet::new(),
            newest: None,
            known: VecDeque::new(),
            changes: 0,
            renewal: Renewal::Idle,
            asked_at: None,
            pauses: Reconnect::new(),
            // Neither the coordinator's sequence nor the pool's.
            rng: Rng::new(seed ^ 0xd1b5_4a32_d192_ed03),
        }
    }

    /// The dial `conn` waits for its credentials from now on, for half of the time that it has.
    pub(super) fn ask(&mut self, now: Instant, conn: ConnId, target: Target, until: Option<Instant>) {
        let limit = until.map_or(LIMIT, |until| until.saturating_duration_since(now) / 2);
        let due = after(now, limit);
        self.due.insert((due, conn));
        let waiting = Waiting { target, until, due, limit, changes: self.changes };
        self.put(conn, Holder::Waits(waiting));
    }

    /// The answer for `conn`. Returns what to dial, and until when, if its dial waits. An answer that was asked for before the last
    /// change may be older than that.
    pub(super) fn answer(
        &mut self,
        conn: ConnId,
        credentials: Credentials,
    ) -> Option<(Target, Option<Instant>)> {
        let Waiting { target, until, changes, .. } = self.end_wait(conn)?;
        self.remember(&credentials);
        let newest = self.newest.clone().filter(|_| changes < self.changes);
        self.put(conn, Holder::Has(Some(newest.unwrap_or(credentials))));
        Some((target, until))
    }

    /// There is no answer for `conn`. False if its dial does not wait.
    pub(super) fn give_up(&mut self, conn: ConnId) -> bool {
        self.end_wait(conn).is_some()
    }

    /// A dial that has waited long enough, and for how long. It waits no more. To be called until there is none.
    pub(super) fn take_overdue(&mut self, now: Instant) -> Option<(ConnId, Duration)> {
        let (_, conn) = self.due.first().copied().filter(|(due, _)| *due <= now)?;
        let limit = self.end_wait(conn).map_or(Duration::ZERO, |waiting| waiting.limit);
        Some((conn, limit))
    }

    /// `conn` is connected, and its handshake has `credentials`.
    pub(super) fn note_connected(&mut self, conn: ConnId, credentials: Option<Credentials>) {
        self.put(conn, Holder::Has(credentials));
    }

    /// The server has refused what `conn` was given last: the next change concerns it, whatever that brings.
    pub(super) fn note_refused(&mut self, conn: ConnId) {
        if let Some(Holder::Has(credentials)) = self.holders.get_mut(conn) {
            *credentials = None;
        }
    }

    pub(super) fn forget(&mut self, conn: ConnId) {
        self.end_wait(conn);
        self.holders.remove(conn);
    }

    /// The credentials are said to have changed, or to expire. An answer that is awaited may be older than that.
    pub(super) fn note_change(&mut self, now: Instant) {
        let earliest = self.asked_at.map_or(now, |asked_at| after(asked_at, PACE));
        self.renewal = Renewal::Due { at: earliest.max(now) };
    }

    /// True if new credentials are to be asked for now. The answer is awaited from then on.
    pub(super) fn begin_renewal(&mut self, now: Instant) -> bool {
        let is_due =
            matches!(self.renewal, Renewal::Due { at } | Renewal::Failed { retry_at: at } if at <= now);
        if is_due {
            self.renewal = Renewal::Asked { until: after(now, self.limit) };
            self.asked_at = Some(now);
        }
        is_due
    }

    /// From now on `credentials` hold. Returns the connections that were given others.
    pub(super) fn renew(&mut self, credentials: &Credentials) -> Vec<ConnId> {
        match self.renewal {
            Renewal::Asked { .. } | Renewal::Failed { .. } => self.renewal = Renewal::Idle,
            // The credentials have changed again since they were asked for, so they are asked for once more.
            Renewal::Idle | Renewal::Due { .. } => {}
        }
        self.pauses.reset();
        self.changes += 1;
        self.newest = Some(credentials.clone());
        self.remember(credentials);
        let mut changed = Vec::new();
        for (conn, holder) in self.holders.iter_mut() {
            if let Holder::Has(has) = holder
                && has.as_ref() != Some(credentials)
            {
                *has = Some(credentials.clone());
                changed.push(conn);
            }
        }
        changed
    }

    /// There are no new credentials. Returns when they are asked for again; `None` if that is known already.
    pub(super) fn fail_renewal(&mut self, now: Instant) -> Option<Instant> {
        if let Renewal::Due { .. } | Renewal::Failed { .. } = self.renewal {
            return None;
        }
        let retry_at = after(now, self.pauses.next_hopeless(&mut self.rng));
        self.renewal = Renewal::Failed { retry_at };
        Some(retry_at)
    }

    /// Asks for no new credentials any more.
    pub(super) fn stop(&mut self) {
        self.renewal = Renewal::Idle;
    }

    /// `error` without its words if they repeat a password that is known here.
    pub(super) fn without_secrets(&self, error: CredentialsError) -> CredentialsError {
        let held = self.holders.iter().filter_map(|(_, holder)| match holder {
            Holder::Has(credentials) => credentials.as_ref(),
            Holder::Waits(_) => None,
        });
        held.chain(&self.known).fold(error, |error, known| error.without(known.password.expose()))
    }

    /// What the handshake of `conn` authenticates with, if it was not `configured` for all.
    pub(super) fn credentials(&self, conn: ConnId, configured: Option<&Credentials>) -> Option<Credentials> {
        match self.holders.get(conn) {
            Some(Holder::Has(given)) => given.clone(),
            Some(Holder::Waits(_)) | None => self.newest.as_ref().or(configured).cloned(),
        }
    }

    /// How long new credentials have been awaited, if that is too long.
    pub(super) fn overdue_renewal(&self, now: Instant) -> Option<Duration> {
        matches!(self.renewal, Renewal::Asked { until } if until <= now).then_some(self.limit)
    }

    /// Whether each dial is asked for.
    pub(super) fn asks(&self) -> bool {
        self.asks
    }

    pub(super) fn is_waiting(&self, conn: ConnId) -> bool {
        matches!(self.holders.get(conn), Some(Holder::Waits(_)))
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let renewal = match self.renewal {
            Renewal::Idle => None,
            Renewal::Due { at } | Renewal::Failed { retry_at: at } => Some(at),
            Renewal::Asked { until } => Some(until),
        };
        self.due.first().map(|(due, _)| *due).into_iter().chain(renewal).min()
    }

    fn remember(&mut self, credentials: &Credentials) {
        if !self.known.contains(credentials) {
            self.known.truncate(KNOWN - 1);
            self.known.push_front(credentials.clone());
        }
    }

    /// A dial may have the place of one whose end is not told here yet.
    fn put(&mut self, conn: ConnId, holder: Holder) {
        if let Some((before, Holder::Waits(waiting))) = self.holders.insert(conn, holder)
            && before != conn
        {
            self.due.remove(&(waiting.due, before));
        }
    }

    fn end_wait(&mut self, conn: ConnId) -> Option<Waiting> {
        match self.holders.remove(conn)? {
            Holder::Waits(waiting) => {
                self.due.remove(&(waiting.due, conn));
                Some(waiting)
            }
            has => {
                self.put(conn, has);
                None
            }
        }
    }
}
