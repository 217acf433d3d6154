//! Dial attempts: each from the lookup of its name until it is ready, has failed, or is not wanted any more.
//!
//! ```text
//! Undecided -> Resolving -> Undecided -> Dialing -> Negotiating -> ended: ready
//!                                           ^------------+  failed, and the name has other addresses
//!     any of these -> ended: failed, or cancelled
//! ```
//!
//! An attempt owns all that exists only while it lives: its time limit, its circuit breaker's permit, the address that it
//! must not land on, the addresses that it has not tried, and, if it is made in the place of a connection, one of the workers.
//! It ends in one function, [`Attempts::end`], which gives all of that back and reports the end as a [`Step`].
//!
//! Each dial has an id of its own. The attempt is known by that of its first dial that is still under way; when that one has
//! failed, by that of the dial that goes on in its place ([`Step::Left`]). [`course`] has what an attempt does about a name
//! with several addresses.

mod breakers;
mod course;
#[cfg(feature = "explore")]
mod fingerprint;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use self::breakers::Breakers;
use self::course::Course;
use super::Role;
use super::timers::Timers;
use crate::breaker::{AttemptEnd, BreakerConfig, Denied, Permit};
use crate::endpoint::{Peer, Target};
use crate::error::{ConnectError, SystemError, TlsProgress};
use crate::handshake::{HandshakeError, OptIn, Probe};
use crate::ids::{ConnId, IdMap};
use crate::notification::MoveTarget;
use crate::timer::{STOPPED, after, earliest};

/// The attempts under way.
#[derive(Debug)]
#[cfg_attr(feature = "explore", derive(Clone))]
pub(super) struct Attempts {
    live: IdMap<ConnId, Box<Attempt>>,
    /// The attempt that is made in the place of each connection. Each occupies a worker.
    replacing: BTreeMap<ConnId, ConnId>,
    limits: Timers<ConnId>,
    breakers: Breakers,
    course: Course,
    steps: VecDeque<Step>,
}

#[derive(Debug)]
#[cfg_attr(feature = "explore", derive(Clone))]
struct Attempt {
    purpose: Purpose,
    /// The name that was looked up for it.
    looked_up: Option<Arc<str>>,
    limit: Option<Duration>,
    /// When the limit is over.
    until: Option<Instant>,
    /// Until when the limit may be put off, once, because the process was stopped.
    latest: Option<Instant>,
    /// The address that this attempt may not land on, because it is being retired.
    avoid: Option<Peer>,
    permit: Option<TargetPermit>,
    /// The addresses that it goes on to when this one fails or takes long.
    untried: VecDeque<Target>,
    /// Why the handshake at an address before this one failed: of all failures the one that says most.
    refusal: Option<ConnectError>,
    phase: Phase,
}

/// What an attempt is made for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Purpose {
    /// The owner has opened a connection.
    Open(Role),
    /// A connection in the place of `from`.
    Replace {
        from: ConnId,
        role: Role,
        /// The address of `from`, which a move takes that connection away from.
        source: Peer,
        /// 1 for the first attempt of the handoff.
        number: u32,
    },
    /// Only to learn what the configured name leads to: nothing is dialled.
    Advertised,
}

#[derive(Clone, Debug)]
enum Phase {
    /// Where to dial is being decided.
    Undecided,
    /// The name is being looked up; its addresses are dialled at this port.
    Resolving { host: Arc<str>, port: u16, of: Named },
    Dialing {
        dial: Dial,
        /// A dial of another address under an id of its own, since the first one takes long.
        beside: Option<(ConnId, Dial)>,
    },
    Negotiating {
        dial: Dial,
        peer: Peer,
        /// The server has closed the stream; what it sent before is still to be read.
        is_ending: bool,
    },
}

/// What is dialled, and whether its handshake opts in.
#[derive(Clone, Debug)]
pub(super) struct Dial {
    target: Target,
    probe: Probe,
    /// How far the server has come with TLS, once the stream is connected.
    tls: Option<TlsProgress>,
}

/// Which endpoint a name belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Named {
    /// The configured one.
    Configured,
    /// The target of a move.
    Target,
}

/// The right to dial a target whose circuit breaker counts.
#[derive(Debug)]
#[cfg_attr(feature = "explore", derive(Clone))]
pub(super) struct TargetPermit {
    target: MoveTarget,
    permit: Permit,
}

/// What the attempts have to say, in order.
#[derive(Debug)]
#[cfg_attr(feature = "explore", derive(Clone))]
pub(super) enum Step {
    Resolve {
        conn: ConnId,
        host: Arc<str>,
    },
    /// The addresses behind a name are known: where is `conn` to dial?
    Resolved {
        conn: ConnId,
        purpose: Purpose,
        of: Named,
        targets: Vec<Target>,
    },
    Dial {
        conn: ConnId,
        dial: Dial,
        purpose: Purpose,
        /// The dial of the same attempt that this one goes on for, or stands beside.
        after: Option<ConnId>,
    },
    /// The attempt `conn` is to dial another address: beside the one that is dialled, or because nothing is left of that.
    Next {
        conn: ConnId,
        target: Target,
        how: Next,
    },
    /// An attempt goes on without the dial `conn`.
    Left {
        conn: ConnId,
        /// What the attempt is known by from now on, if it was known by `conn`.
        to: Option<ConnId>,
        /// What could not be dialled or negotiated with.
        failed: Option<Dial>,
        /// The owner still dials, or has the socket.
        must_close: bool,
    },
    /// An attempt has ended.
    Ended {
        conn: ConnId,
        purpose: Purpose,
        end: End,
        dialled: Option<Dial>,
        /// The owner still resolves or dials, or has the socket.
        must_close: bool,
    },
}

/// How an attempt comes to dial another address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// The one that is dialled takes long.
    Beside,
    /// The last one has failed. `must_close`: the owner still has its socket.
    Instead { must_close: bool },
}

/// How an attempt has ended.
#[derive(Debug)]
#[cfg_attr(feature = "explore", derive(Clone))]
pub(super) enum End {
    Ready(Ready),
    Failed {
        error: ConnectError,
        retry: Retry,
    },
    /// Nobody wants its connection any more.
    Cancelled,
}

/// A connection whose handshake is done.
#[derive(Debug)]
#[cfg_attr(feature = "explore", derive(Clone))]
pub(super) struct Ready {
    /// What was dialled.
    pub(super) target: Target,
    /// What it is connected to. Behind a tunnel that is not the address that was dialled.
    pub(super) peer: Peer,
    /// What the handshake asked for, and what became of the opt-in.
    pub(super) outcome: (Probe, OptIn),
    /// The server has closed the stream; what it sent before is still to be read.
    pub(super) is_ending: bool,
}

/// When to try again after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Retry {
    /// The next attempt is a different one (it asks for less), so it need not wait, and this one does not count.
    AtOnce,
    Later,
}

impl Attempts {
    pub(super) fn new(breaker: BreakerConfig) -> Self {
        Self {
            live: IdMap::new(),
            replacing: BTreeMap::new(),
            limits: Timers::new(),
            breakers: Breakers::new(breaker),
            course: Course::new(),
            steps: VecDeque::new(),
        }
    }

    /// Asks the circuit breaker of `target` for the right to dial it.
    ///
    /// # Errors
    /// The breaker is open.
    pub(super) fn acquire(&mut self, now: Instant, target: MoveTarget) -> Result<TargetPermit, Denied> {
        let permit = self.breakers.try_acquire(now, &target)?;
        Ok(TargetPermit { target, permit })
    }

    /// Begins an attempt under the id `conn`, which may last for `limit`, from the lookup to the end of the handshake. It
    /// stays undecided until it is told to [`resolve`](Self::resolve) or to [`dial`](Self::dial).
    pub(super) fn begin(&mut self, now: Instant, conn: ConnId, purpose: Purpose, limit: Option<Duration>) {
        if let Purpose::Replace { from, .. } = purpose {
            self.replacing.insert(from, conn);
        }
        let until = limit.map(|limit| after(now, limit));
        if let Some(until) = until {
            self.limits.arm(conn, until);
        }
        let attempt = Attempt {
            purpose,
            looked_up: None,
            limit,
            until,
            latest: None,
            avoid: None,
            permit: None,
            untried: VecDeque::new(),
            refusal: None,
            phase: Phase::Undecided,
        };
        self.live.insert(conn, Box::new(attempt));
    }

    /// Gives the attempt of `conn` at least so much time from its beginning. One without a limit keeps that.
    pub(super) fn allow(&mut self, conn: ConnId, least: Duration) {
        let conn = self.course.attempt_of(conn);
        let Some(attempt) = self.live.get_mut(conn) else { return };
        let (Some(limit), Some(until)) = (attempt.limit, attempt.until) else { return };
        if limit < least {
            let until = after(until, least - limit);
            (attempt.limit, attempt.until) = (Some(least), Some(until));
            self.limits.arm(conn, until);
        }
    }

    /// Where the process is stopped while `conn` is under way and its limit rings late, it may go on, but not beyond `latest`.
    pub(super) fn allow_for_a_stop(&mut self, conn: ConnId, latest: Option<Instant>) {
        if let Some(attempt) = self.live.get_mut(conn) {
            attempt.latest = latest;
        }
    }

    /// Lets `conn` hold `permit` until it ends.
    pub(super) fn hold(&mut self, conn: ConnId, permit: TargetPermit) {
        if let Some(attempt) = self.live.get_mut(conn) {
            attempt.permit = Some(permit);
        }
    }

    /// Has `host` looked up, whose addresses are dialled at `port`.
    pub(super) fn resolve(&mut self, conn: ConnId, host: Arc<str>, port: u16, of: Named) {
        let Some(attempt) = self.live.get_mut(conn) else { return };
        attempt.looked_up = Some(Arc::clone(&host));
        attempt.phase = Phase::Resolving { host: Arc::clone(&host), port, of };
        self.steps.push_back(Step::Resolve { conn, host });
    }

    pub(super) fn handle_resolved(
        &mut self,
        now: Instant,
        conn: ConnId,
        answer: Result<Vec<IpAddr>, SystemError>,
    ) {
        if self.is_overdue(now, conn) && !self.put_off(now, conn) {
            // Too late for the attempt: its limit, which is within the time of the move, is handled next and ends it.
            return;
        }
        let Some(attempt) = self.live.get_mut(conn) else { return };
        let Phase::Resolving { host, port, of } = &attempt.phase else { return };
        let targets = answer.map(|addresses| {
            let target = |ip| Target::new(SocketAddr::new(ip, *port).into(), Some(Arc::clone(host)));
            addresses.into_iter().map(target).collect()
        });
        let of = *of;
        attempt.phase = Phase::Undecided;
        match targets {
            Ok(targets) => {
                let purpose = attempt.purpose.clone();
                self.steps.push_back(Step::Resolved { conn, purpose, of, targets });
            }
            Err(error) => self.fail(now, conn, ConnectError::Resolve(error), Retry::Later),
        }
    }

    /// The handshake is done. `refusal` is the reason if what became of the opt-in is not good enough.
    pub(super) fn handle_ready(
        &mut self,
        now: Instant,
        conn: ConnId,
        opt_in: OptIn,
        refusal: Option<ConnectError>,
    ) {
        let Some(attempt) = self.live.get(conn) else { return };
        let Phase::Negotiating { dial, peer, is_ending } = &attempt.phase else { return };
        let retiring = (attempt.avoid.as_ref() == Some(peer)).then_some(ConnectError::Retiring);
        if let Some(error) = retiring.or(refusal) {
            return self.fail_from_here(now, conn, error);
        }
        let (target, peer) = (dial.target.clone(), peer.clone());
        let ready = Ready { target, peer, outcome: (dial.probe, opt_in), is_ending: *is_ending };
        self.end(now, conn, End::Ready(ready), false);
    }

    /// `error` with the address that the dial `conn` went to, or the name that was looked up.
    fn with_place(&self, conn: ConnId, mut error: ConnectError) -> ConnectError {
        let looked_up = self.live.get(conn).and_then(|attempt| attempt.looked_up.as_ref());
        match (&mut error, self.peer(conn), looked_up) {
            (ConnectError::Connect(error), Some(peer), _) => error.at(peer),
            (ConnectError::Resolve(error), _, Some(host)) => error.at(host),
            _ => {}
        }
        error
    }

    /// The dial `conn` has come so far with TLS.
    pub(super) fn note_tls(&mut self, conn: ConnId, progress: TlsProgress) {
        let known_by = self.course.attempt_of(conn);
        let Some(attempt) = self.live.get_mut(known_by) else { return };
        let Phase::Dialing { dial, beside } = &mut attempt.phase else { return };
        let dial = if known_by == conn { Some(dial) } else { beside.as_mut().map(|(_, dial)| dial) };
        if let Some(dial) = dial {
            dial.tls = Some(progress);
        }
    }

    /// The server has closed the stream of `conn`.
    pub(super) fn note_end(&mut self, conn: ConnId) {
        if let Some(Phase::Negotiating { is_ending, .. }) =
            self.live.get_mut(conn).map(|attempt| &mut attempt.phase)
        {
            *is_ending = true;
        }
    }

    /// From now on `conn` may not land on `peer`; `None` lifts that.
    pub(super) fn avoid(&mut self, conn: ConnId, peer: Option<Peer>) {
        if let Some(attempt) = self.live.get_mut(conn) {
            attempt.avoid = peer;
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        while let Some(conn) = self.limits.fire(now) {
            if self.put_off(now, conn) {
                continue;
            }
            let Some(attempt) = self.live.get(conn) else { continue };
            self.course.shun(now, attempt);
            let error = attempt.timed_out();
            self.end(now, conn, End::Failed { error, retry: Retry::Later }, true);
        }
        self.leave_slow_ones(now);
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        earliest([self.limits.next(), self.course.poll_timeout()])
    }

    pub(super) fn poll_step(&mut self) -> Option<Step> {
        self.steps.pop_front()
    }

    pub(super) fn contains(&self, conn: ConnId) -> bool {
        self.live.get(conn).is_some()
    }

    pub(super) fn purpose(&self, conn: ConnId) -> Option<&Purpose> {
        Some(&self.live.get(conn)?.purpose)
    }

    /// When the attempt of `conn` has taken too long.
    pub(super) fn until(&self, conn: ConnId) -> Option<Instant> {
        self.live.get(self.course.attempt_of(conn))?.until
    }

    /// The attempts for connections that owners have opened.
    pub(super) fn opening(&self) -> Vec<ConnId> {
        let is_opening = |attempt: &Attempt| matches!(attempt.purpose, Purpose::Open(_));
        self.live.iter().filter(|(_, attempt)| is_opening(attempt)).map(|(conn, _)| conn).collect()
    }

    /// The attempt that is made in the place of `from`.
    pub(super) fn replacing(&self, from: ConnId) -> Option<ConnId> {
        self.replacing.get(&from).copied()
    }

    /// Whether an address was already dialled.
    pub(super) fn is_dialled(&self, conn: ConnId) -> bool {
        let phase = self.live.get(conn).map(|attempt| &attempt.phase);
        matches!(phase, Some(Phase::Dialing { .. } | Phase::Negotiating { .. }))
    }

    /// What is negotiated with, and whether that opts in; `None` before the socket is connected.
    pub(super) fn negotiation(&self, conn: ConnId) -> Option<(&Target, Probe)> {
        match &self.live.get(conn)?.phase {
            Phase::Negotiating { dial, .. } => Some((&dial.target, dial.probe)),
            Phase::Undecided | Phase::Resolving { .. } | Phase::Dialing { .. } => None,
        }
    }

    /// The address of the dial `conn`.
    pub(super) fn peer(&self, conn: ConnId) -> Option<&Peer> {
        let attempt = self.course.attempt_of(conn);
        match &self.live.get(attempt)?.phase {
            Phase::Undecided | Phase::Resolving { .. } => None,
            Phase::Dialing { dial, .. } if attempt == conn => Some(&dial.target.address),
            Phase::Dialing { beside, .. } => beside.as_ref().map(|(_, dial)| &dial.target.address),
            Phase::Negotiating { peer, .. } => Some(peer),
        }
    }

    pub(super) fn is_ending(&self, conn: ConnId) -> bool {
        let phase = self.live.get(conn).map(|attempt| &attempt.phase);
        matches!(phase, Some(Phase::Negotiating { is_ending: true, .. }))
    }

    /// Workers in use: the attempts that are made in the place of connections.
    pub(super) fn working(&self) -> usize {
        self.replacing.len()
    }

    /// Attempts to get a connection, and dials beside them.
    pub(super) fn count(&self) -> usize {
        let attempts = self.live.iter().filter(|(_, attempt)| attempt.purpose != Purpose::Advertised).count();
        attempts + self.course.dials_beside()
    }

    /// Whether `conn`, which is being looked up for a handoff, should be over by now: the process was stopped meanwhile.
    fn is_overdue(&self, now: Instant, conn: ConnId) -> bool {
        self.live.get(conn).is_some_and(|attempt| {
            matches!((&attempt.purpose, &attempt.phase), (Purpose::Replace { .. }, Phase::Resolving { .. }))
                && attempt.until.is_some_and(|until| until <= now)
        })
    }

    /// The limit of `conn` is over. If it rings so late that the process was stopped, what has been answered meanwhile may not be
    /// read yet: the attempt goes on for as long as it is late, and no longer than it may. True if it does.
    fn put_off(&mut self, now: Instant, conn: ConnId) -> bool {
        let Some(attempt) = self.live.get_mut(conn) else { return false };
        let (Some(until), Some(latest)) = (attempt.until, attempt.latest) else { return false };
        let late = now.saturating_duration_since(until);
        if late < STOPPED || latest <= now {
            return false;
        }
        let until = after(now, late).min(latest);
        (attempt.until, attempt.latest) = (Some(until), None);
        self.limits.arm(conn, until);
        true
    }

    fn end(&mut self, now: Instant, conn: ConnId, end: End, must_close: bool) {
        let Some(attempt) = self.live.remove(conn) else { return };
        let Attempt { purpose, permit, phase, refusal, .. } = *attempt;
        let end = end.or_because_of(refusal);
        if let Purpose::Replace { from, .. } = purpose {
            self.replacing.remove(&from);
        }
        self.limits.cancel(&conn);
        if let Some(TargetPermit { target, permit }) = permit {
            self.breakers.settle(now, &target, permit, end.of_the_target());
        }
        self.course.forget(conn);
        let dialled = phase.dial().cloned();
        // What the end leads to finds nothing left of the attempt.
        if let Phase::Dialing { beside: Some((beside, _)), .. } = phase {
            self.course.forget_beside(beside);
            self.steps.push_back(Step::Left { conn: beside, to: None, failed: None, must_close: true });
        }
        self.steps.push_back(Step::Ended { conn, purpose, end, dialled, must_close });
    }
}

impl Attempt {
    /// What its limit cuts short. Of two dials the one that has come further says more.
    fn timed_out(&self) -> ConnectError {
        let after = self.limit.unwrap_or_default();
        let progress = match self.phase {
            Phase::Dialing { .. } => self.dials().filter_map(|dial| dial.tls).max(),
            Phase::Undecided | Phase::Resolving { .. } => None,
            Phase::Negotiating { .. } => return ConnectError::HandshakeTimedOut(after),
        };
        match progress {
            Some(progress) => ConnectError::TlsTimedOut { progress, after },
            None => ConnectError::TimedOut(after),
        }
    }

    /// What is dialled or negotiated with.
    fn dials(&self) -> impl Iterator<Item = &Dial> {
        let second = match &self.phase {
            Phase::Dialing { beside: Some((_, dial)), .. } => Some(dial),
            _ => None,
        };
        self.phase.dial().into_iter().chain(second)
    }
}

impl Dial {
    pub(super) fn new(target: Target, probe: Probe) -> Self {
        Self { target, probe, tls: None }
    }

    pub(super) fn into_parts(self) -> (Target, Probe) {
        (self.target, self.probe)
    }
}

impl Phase {
    fn dial(&self) -> Option<&Dial> {
        match self {
            Self::Undecided | Self::Resolving { .. } => None,
            Self::Dialing { dial, .. } | Self::Negotiating { dial, .. } => Some(dial),
        }
    }
}

impl End {
    /// A server that refused says more than one that could not be reached.
    fn or_because_of(self, refusal: Option<ConnectError>) -> Self {
        match (self, refusal) {
            (
                Self::Failed {
                    error:
                        ConnectError::Connect(_)
                        | ConnectError::TimedOut(_)
                        | ConnectError::TlsTimedOut { .. }
                        | ConnectError::HandshakeTimedOut(_),
                    retry,
                },
                Some(error),
            ) => Self::Failed { error, retry },
            (end, _) => end,
        }
    }

    /// What the end says of the target.
    fn of_the_target(&self) -> AttemptEnd {
        match self {
            Self::Ready(_) => AttemptEnd::Success,
            Self::Cancelled | Self::Failed { retry: Retry::AtOnce, .. } => AttemptEnd::Cancelled,
            // A target that refuses the opt-in is alive, and one that was not even dialled is what it was.
            Self::Failed {
                error:
                    ConnectError::Handshake(HandshakeError::MaintenanceRefused { .. })
                    | ConnectError::Credentials(_),
                ..
            } => AttemptEnd::Cancelled,
            Self::Failed { .. } => AttemptEnd::Failure,
        }
    }
}
