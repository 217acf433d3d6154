//! Dial attempts: each from the lookup of its name until it is ready, has failed, or is not wanted any more.
//!
//! ```text
//! Undecided -> Resolving -> Undecided -> Dialing -> Negotiating -> ended: ready
//!     any of these -> ended: failed, or cancelled
//! ```
//!
//! An attempt owns all that exists only while it lives: its time limit, its circuit breaker's permit, the address that it
//! must not land on, and, if it is made in the place of a connection, one of the workers. It ends in one function,
//! [`Attempts::end`], which gives all of that back and reports the end as a [`Step`].

mod breakers;
#[cfg(feature = "explore")]
mod fingerprint;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use self::breakers::Breakers;
use super::Role;
use super::timers::Timers;
use crate::breaker::{AttemptEnd, BreakerConfig, Denied, Permit};
use crate::endpoint::{Peer, Target};
use crate::error::{CloseCause, ConnectError, SystemError};
use crate::handshake::{HandshakeError, OptIn, Probe};
use crate::ids::ConnId;
use crate::notification::MoveTarget;
use crate::timer::after;

/// The attempts under way.
#[derive(Debug)]
#[cfg_attr(feature = "explore", derive(Clone))]
pub(super) struct Attempts {
    live: BTreeMap<ConnId, Attempt>,
    /// The attempt that is made in the place of each connection. Each occupies a worker.
    replacing: BTreeMap<ConnId, ConnId>,
    limits: Timers<ConnId>,
    breakers: Breakers,
    /// Which of several addresses is dialled next.
    turn: usize,
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
    /// The address that this attempt may not land on, because it is being retired.
    avoid: Option<Peer>,
    permit: Option<TargetPermit>,
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
        /// The address of `from`, which a move retires.
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
    Resolving {
        host: Arc<str>,
        port: u16,
        of: Named,
    },
    Dialing {
        target: Target,
        probe: Probe,
    },
    Negotiating {
        target: Target,
        probe: Probe,
        peer: Peer,
        /// The server has closed the stream; what it sent before is still to be read.
        is_ending: bool,
    },
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
        target: Target,
        probe: Probe,
        until: Option<Instant>,
        purpose: Purpose,
    },
    /// An attempt has ended.
    Ended {
        conn: ConnId,
        purpose: Purpose,
        end: End,
        /// What was dialled, and whether its handshake was to opt in.
        dialled: Option<(Target, Probe)>,
        /// The owner still resolves or dials, or has the socket.
        must_close: bool,
    },
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
    pub(super) opt_in: OptIn,
    /// The server has closed the stream; what it sent before is still to be read.
    pub(super) is_ending: bool,
}

/// When to try again after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Retry {
    /// The next attempt is a different one (it does without the opt-in), so it need not wait, and this one does not count.
    AtOnce,
    Later,
}

impl Attempts {
    pub(super) fn new(breaker: BreakerConfig) -> Self {
        Self {
            live: BTreeMap::new(),
            replacing: BTreeMap::new(),
            limits: Timers::new(),
            breakers: Breakers::new(breaker),
            turn: 0,
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
            avoid: None,
            permit: None,
            phase: Phase::Undecided,
        };
        self.live.insert(conn, attempt);
    }

    /// Lets `conn` hold `permit` until it ends.
    pub(super) fn hold(&mut self, conn: ConnId, permit: TargetPermit) {
        if let Some(attempt) = self.live.get_mut(&conn) {
            attempt.permit = Some(permit);
        }
    }

    /// Has `host` looked up, whose addresses are dialled at `port`.
    pub(super) fn resolve(&mut self, conn: ConnId, host: Arc<str>, port: u16, of: Named) {
        let Some(attempt) = self.live.get_mut(&conn) else { return };
        attempt.looked_up = Some(Arc::clone(&host));
        attempt.phase = Phase::Resolving { host: Arc::clone(&host), port, of };
        self.steps.push_back(Step::Resolve { conn, host });
    }

    /// The one of `targets` whose turn it is.
    pub(super) fn choose(&mut self, targets: &[Target]) -> Option<Target> {
        if let [only] = targets {
            return Some(only.clone());
        }
        let turn = self.turn;
        self.turn = self.turn.wrapping_add(1);
        turn.checked_rem(targets.len()).and_then(|at| targets.get(at)).cloned()
    }

    /// Has `target` dialled. `probe` says whether the handshake opts in.
    pub(super) fn dial(&mut self, conn: ConnId, target: Target, probe: Probe) {
        let Some(attempt) = self.live.get_mut(&conn) else { return };
        attempt.phase = Phase::Dialing { target: target.clone(), probe };
        let (until, purpose) = (attempt.until, attempt.purpose.clone());
        self.steps.push_back(Step::Dial { conn, target, probe, until, purpose });
    }

    pub(super) fn handle_resolved(
        &mut self,
        now: Instant,
        conn: ConnId,
        answer: Result<Vec<IpAddr>, SystemError>,
    ) {
        let Some(attempt) = self.live.get_mut(&conn) else { return };
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
            Err(error) => self.fail(now, conn, ConnectError::Resolve(error)),
        }
    }

    pub(super) fn handle_connected(&mut self, now: Instant, conn: ConnId, peer: Peer) {
        let Some(attempt) = self.live.get_mut(&conn) else { return };
        let Phase::Dialing { target, probe } = &attempt.phase else { return };
        let is_retiring = attempt.avoid.as_ref() == Some(&peer);
        attempt.phase = Phase::Negotiating { target: target.clone(), probe: *probe, peer, is_ending: false };
        if is_retiring {
            self.fail_from_here(now, conn, ConnectError::Retiring);
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
        let Some(attempt) = self.live.get(&conn) else { return };
        let Phase::Negotiating { target, peer, is_ending, .. } = &attempt.phase else { return };
        let retiring = (attempt.avoid.as_ref() == Some(peer)).then_some(ConnectError::Retiring);
        if let Some(error) = retiring.or(refusal) {
            return self.fail_from_here(now, conn, error);
        }
        let ready = Ready { target: target.clone(), peer: peer.clone(), opt_in, is_ending: *is_ending };
        self.end(now, conn, End::Ready(ready), false);
    }

    /// The owner could not resolve, dial or negotiate, and has nothing left of the attempt.
    pub(super) fn fail(&mut self, now: Instant, conn: ConnId, mut error: ConnectError) {
        let looked_up = self.live.get(&conn).and_then(|attempt| attempt.looked_up.as_ref());
        match (&mut error, self.peer(conn), looked_up) {
            (ConnectError::Connect(error), Some(peer), _) => error.at(peer),
            (ConnectError::Resolve(error), _, Some(host)) => error.at(host),
            _ => {}
        }
        self.end(now, conn, End::Failed { error, retry: Retry::Later }, false);
    }

    /// The link died while the opt-in was not answered. With `Retry::AtOnce` the next attempt does without it.
    pub(super) fn handle_lost_at_opt_in(
        &mut self,
        now: Instant,
        conn: ConnId,
        cause: CloseCause,
        retry: Retry,
    ) {
        let error = ConnectError::LostInHandshake(cause);
        self.end(now, conn, End::Failed { error, retry }, false);
    }

    /// The server has closed the stream of `conn`.
    pub(super) fn note_end(&mut self, conn: ConnId) {
        if let Some(Attempt { phase: Phase::Negotiating { is_ending, .. }, .. }) = self.live.get_mut(&conn) {
            *is_ending = true;
        }
    }

    /// Nobody wants the connection any more, and the owner is told to give it up.
    pub(super) fn cancel(&mut self, now: Instant, conn: ConnId) {
        self.end(now, conn, End::Cancelled, true);
    }

    /// The owner has given the attempt up, or there is nothing that it could give up.
    pub(super) fn forget(&mut self, now: Instant, conn: ConnId) {
        self.end(now, conn, End::Cancelled, false);
    }

    /// From now on `conn` may not land on `peer`; `None` lifts that.
    pub(super) fn avoid(&mut self, conn: ConnId, peer: Option<Peer>) {
        if let Some(attempt) = self.live.get_mut(&conn) {
            attempt.avoid = peer;
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        while let Some(conn) = self.limits.fire(now) {
            let limit = self.live.get(&conn).and_then(|attempt| attempt.limit);
            self.fail_from_here(now, conn, ConnectError::TimedOut(limit.unwrap_or_default()));
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.limits.next()
    }

    pub(super) fn poll_step(&mut self) -> Option<Step> {
        self.steps.pop_front()
    }

    pub(super) fn contains(&self, conn: ConnId) -> bool {
        self.live.contains_key(&conn)
    }

    pub(super) fn purpose(&self, conn: ConnId) -> Option<&Purpose> {
        Some(&self.live.get(&conn)?.purpose)
    }

    /// The attempt that is made in the place of `from`.
    pub(super) fn replacing(&self, from: ConnId) -> Option<ConnId> {
        self.replacing.get(&from).copied()
    }

    /// Whether an address was already dialled.
    pub(super) fn is_dialled(&self, conn: ConnId) -> bool {
        let phase = self.live.get(&conn).map(|attempt| &attempt.phase);
        matches!(phase, Some(Phase::Dialing { .. } | Phase::Negotiating { .. }))
    }

    /// What is negotiated with, and whether that opts in; `None` before the socket is connected.
    pub(super) fn negotiation(&self, conn: ConnId) -> Option<(&Target, Probe)> {
        match &self.live.get(&conn)?.phase {
            Phase::Negotiating { target, probe, .. } => Some((target, *probe)),
            Phase::Undecided | Phase::Resolving { .. } | Phase::Dialing { .. } => None,
        }
    }

    /// The address of `conn`, from its dial on.
    pub(super) fn peer(&self, conn: ConnId) -> Option<&Peer> {
        match &self.live.get(&conn)?.phase {
            Phase::Undecided | Phase::Resolving { .. } => None,
            Phase::Dialing { target, .. } => Some(&target.address),
            Phase::Negotiating { peer, .. } => Some(peer),
        }
    }

    pub(super) fn is_ending(&self, conn: ConnId) -> bool {
        let phase = self.live.get(&conn).map(|attempt| &attempt.phase);
        matches!(phase, Some(Phase::Negotiating { is_ending: true, .. }))
    }

    /// Workers in use: the attempts that are made in the place of connections.
    pub(super) fn working(&self) -> usize {
        self.replacing.len()
    }

    /// Attempts to get a connection.
    pub(super) fn count(&self) -> usize {
        self.live.values().filter(|attempt| attempt.purpose != Purpose::Advertised).count()
    }

    fn fail_from_here(&mut self, now: Instant, conn: ConnId, error: ConnectError) {
        self.end(now, conn, End::Failed { error, retry: Retry::Later }, true);
    }

    fn end(&mut self, now: Instant, conn: ConnId, end: End, must_close: bool) {
        let Some(Attempt { purpose, permit, phase, .. }) = self.live.remove(&conn) else { return };
        if let Purpose::Replace { from, .. } = purpose {
            self.replacing.remove(&from);
        }
        self.limits.cancel(&conn);
        if let Some(TargetPermit { target, permit }) = permit {
            self.breakers.settle(now, &target, permit, end.of_the_target());
        }
        let dialled = match phase {
            Phase::Undecided | Phase::Resolving { .. } => None,
            Phase::Dialing { target, probe } | Phase::Negotiating { target, probe, .. } => {
                Some((target, probe))
            }
        };
        self.steps.push_back(Step::Ended { conn, purpose, end, dialled, must_close });
    }
}

impl End {
    /// What the end says of the target.
    fn of_the_target(&self) -> AttemptEnd {
        match self {
            Self::Ready(_) => AttemptEnd::Success,
            Self::Cancelled | Self::Failed { retry: Retry::AtOnce, .. } => AttemptEnd::Cancelled,
            // A target that refuses the opt-in is alive.
            Self::Failed {
                error: ConnectError::Handshake(HandshakeError::MaintenanceRefused { .. }),
                ..
            } => AttemptEnd::Cancelled,
            Self::Failed { .. } => AttemptEnd::Failure,
        }
    }
}
