//! From the wish for a connection to a dial: names, routes around retiring addresses, and what an attempt's end leads to.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::attempts::{Dial, End, Named, Next, Purpose, Retry, Step};
use super::conns::Conn;
use super::moves::{Route, Wanted};
use super::{Coordinator, Directive, Redial, Role};
use crate::endpoint::{Endpoint, Host, Target};
use crate::error::{CloseCause, ConnectError, SystemError};
use crate::event::Event;
use crate::ids::ConnId;

/// How long a lookup may take that serves no dial, where dials have no limit.
const LOOKUP_LIMIT: Duration = Duration::from_secs(6);

impl Coordinator {
    /// Begins to open a connection and returns its id, under which `Resolve` and `Dial` follow. It leads to the configured
    /// endpoint, away from addresses that are being retired. It, or a dial of another address of the name that replaces it, ends in
    /// [`Directive::Serve`], or in [`Directive::Failed`], which says when to open another one; [`release`](Self::release) gives
    /// it up before that. Call it once for each slot of
    /// your pool, and again after `Failed` and after `Lost` with [`Replacement::Missing`](super::Replacement::Missing): the
    /// coordinator opens none by itself but to replace one that serves. `role` says who decides when the connection is given
    /// up for its successor.
    pub fn open(&mut self, now: Instant, role: Role) -> ConnId {
        let conn = self.ids.insert(());
        self.attempts.begin(now, conn, Purpose::Open(role), self.config.connect_timeout());
        self.conns.adopt_orphan(conn);
        self.relax_attempt(now, conn);
        self.follow(now, conn, Route::Configured);
        self.settle(now);
        conn
    }

    /// The answer to [`Directive::Resolve`].
    pub fn handle_resolved(&mut self, now: Instant, conn: ConnId, answer: Result<Vec<IpAddr>, SystemError>) {
        self.attempts.handle_resolved(now, conn, answer);
        self.settle(now);
    }

    /// Begins the attempt that is next in line, if a worker is free. False if it did not, and the moves have decided nothing
    /// meanwhile.
    pub(super) fn begin_next_attempt(&mut self, now: Instant) -> bool {
        let conns = &self.conns;
        let is_behind_drain = |conn| conns.is_behind_drain(conn);
        self.moves.send_scouts(now, is_behind_drain);
        if self.attempts.working() >= self.config.handoff_capacity().workers() as usize {
            return false;
        }
        let Some(wanted) = self.moves.poll_attempt(now, is_behind_drain) else {
            // Handoffs that were given up have something to say.
            return self.moves.has_decided();
        };
        self.begin_attempt(now, wanted);
        true
    }

    fn begin_attempt(&mut self, now: Instant, wanted: Wanted) {
        let Wanted { from, source, number, limit, route, breaker } = wanted;
        let Ok(permit) = breaker.map(|target| self.attempts.acquire(now, target)).transpose() else {
            return self.moves.handle_failed(now, &source, from, ConnectError::CircuitOpen);
        };
        let conn = self.ids.insert(());
        let role = self.conns.get(from).map_or(Role::Shared, Conn::role);
        let purpose = Purpose::Replace { from, role, source: source.clone(), number };
        self.attempts.begin(now, conn, purpose, Some(limit));
        self.attempts.allow_for_a_stop(conn, self.moves.deadline(&source, from));
        // Arriving at the source is a failure, unless the route says otherwise.
        self.attempts.avoid(conn, Some(source));
        if let Some(permit) = permit {
            self.attempts.hold(conn, permit);
        }
        self.follow(now, conn, route);
    }

    /// If a window covers the address that `conn` is opened to, or what the configured name leads to, its attempt may take as
    /// long as a request: a server that is slow is slow to greet. Handoffs have their shares of the move's time.
    pub(super) fn relax_attempt(&mut self, now: Instant, conn: ConnId) {
        if let Some(Purpose::Replace { .. } | Purpose::Advertised) = self.attempts.purpose(conn) {
            return;
        }
        let relaxed = self.relaxed(now, None).or_else(|| self.relaxed(now, Some(conn)));
        if let Some(relaxed) = relaxed {
            self.attempts.allow(conn, relaxed);
        }
    }

    /// Begins to look the configured name up, for its addresses alone, unless that is being done: one answer is for all that ask.
    pub(super) fn begin_lookup(&mut self, now: Instant) {
        if self.lookup.is_some() {
            return;
        }
        let conn = self.ids.insert(());
        let limit = self.config.connect_timeout().unwrap_or(LOOKUP_LIMIT);
        self.attempts.begin(now, conn, Purpose::Advertised, Some(limit));
        self.lookup = Some(conn);
        self.follow(now, conn, Route::Configured);
    }

    /// Lets the attempt `conn` go where `route` says.
    fn follow(&mut self, now: Instant, conn: ConnId, route: Route) {
        match route {
            Route::OneOf(targets) => self.dial_one_of(now, conn, &targets),
            Route::SourceAgain(targets) => {
                self.attempts.avoid(conn, None);
                self.dial_one_of(now, conn, &targets);
            }
            Route::Named(Endpoint::Tcp { host: Host::Name(host), port }) => {
                self.attempts.resolve(conn, host, port, Named::Target);
            }
            Route::Named(literal) => {
                let name = self.config.name_of(Some(&literal));
                let targets = literal.peer().map(|address| Target::new(address, name));
                self.dial_one_of(now, conn, &Vec::from_iter(targets));
            }
            // What a lookup for its own sake asks about is the configured name.
            Route::Configured => match self.home_for(conn).unwrap_or_else(|| self.config.endpoint()) {
                Endpoint::Tcp { host: Host::Name(host), port } => {
                    self.attempts.resolve(conn, Arc::clone(host), *port, Named::Configured);
                }
                literal => {
                    let name = self.config.name_of(self.home_for(conn));
                    let targets = literal.peer().map(|address| Target::new(address, name));
                    self.on_configured_resolved(now, conn, Vec::from_iter(targets));
                }
            },
            Route::Nowhere => self.attempts.forget(now, conn),
        }
    }

    /// Where the attempt `conn` goes instead of the configured endpoint.
    fn home_for(&self, conn: ConnId) -> Option<&Endpoint> {
        let is_lookup = matches!(self.attempts.purpose(conn), Some(Purpose::Advertised));
        self.home.as_ref().filter(|_| !is_lookup)
    }

    /// The configured endpoint leads to `targets`.
    fn on_configured_resolved(&mut self, now: Instant, conn: ConnId, targets: Vec<Target>) {
        let conns = &self.conns;
        let attempts = &self.attempts;
        let route = match self.attempts.purpose(conn) {
            Some(Purpose::Open(_)) => self.moves.route_open(
                conn,
                targets,
                |peer| conns.is_connected_to(peer),
                |dial| attempts.contains(dial),
            ),
            Some(Purpose::Replace { from, source, .. }) => {
                self.moves.route_handoff(now, source, *from, targets)
            }
            Some(Purpose::Advertised) | None => return,
        };
        self.follow(now, conn, route);
    }

    /// Dials `targets`, beginning with another one each time, until one is connected. If a handshake with one of them has asked
    /// for too much, that one goes first and asks for less, to learn whether that was the cause. Those that are being retired
    /// come behind the others, and behind those the ones at which attempts got no further a moment ago.
    fn dial_one_of(&mut self, now: Instant, conn: ConnId, targets: &[Target]) {
        let mut untried = self.attempts.in_turn(targets);
        let order = |Target { address, .. }: &Target| {
            let is_suspect = self.knowledge.is_suspect(address);
            (!is_suspect, self.attempts.is_shunned(now, address), self.moves.retires(address))
        };
        untried.make_contiguous().sort_by_key(order);
        match untried.pop_front() {
            Some(target) => {
                let probe = self.knowledge.probe(now, &target.address);
                self.attempts.dial(now, conn, Dial::new(target, probe), untried);
            }
            None => {
                let none = io::Error::new(io::ErrorKind::NotFound, "it has no address");
                self.attempts.fail(now, conn, ConnectError::Resolve(none.into()), Retry::Later);
            }
        }
    }

    /// The attempt `conn` goes on to `target`, under another id.
    fn dial_next(&mut self, now: Instant, conn: ConnId, target: Target, how: Next) {
        if self.attempts.contains(conn) {
            let next = self.ids.insert(());
            let probe = self.knowledge.probe(now, &target.address);
            self.attempts.dial_next(now, conn, next, Dial::new(target, probe), how);
        }
    }

    /// The dial `conn` is over, and its attempt goes on. `to` is what that is known by from now on.
    fn leave_dial(&mut self, conn: ConnId, to: Option<ConnId>, failed: Option<Dial>, must_close: bool) {
        self.note_failed(failed);
        if let Some(to) = to {
            self.conns.hand_over(conn, to);
            self.moves.rename_open(conn, to);
        }
        self.ids.remove(conn);
        if must_close {
            self.close(conn, CloseCause::ByClient);
        }
    }

    pub(super) fn on_step(&mut self, now: Instant, step: Step) {
        match step {
            Step::Resolve { conn, host } => self.directives.push_back(Directive::Resolve { conn, host }),
            Step::Resolved { conn, of: Named::Target, targets, .. } => self.dial_one_of(now, conn, &targets),
            Step::Resolved { conn, purpose: Purpose::Advertised, targets, .. } => {
                self.attempts.forget(now, conn);
                let answer: Vec<_> = targets.into_iter().map(|target| target.address).collect();
                self.on_advertised(now, &answer);
                self.leave_suspects(now, &answer);
            }
            Step::Resolved { conn, mut targets, .. } => {
                let name = self.config.name_of(self.home.as_ref());
                targets.iter_mut().for_each(|target| target.server_name.clone_from(&name));
                let answer: Vec<_> = targets.iter().map(|target| target.address.clone()).collect();
                self.note_advertised(&answer);
                self.on_configured_resolved(now, conn, targets);
            }
            Step::Dial { conn, dial, purpose, after } => {
                let (mut target, probe) = dial.into_parts();
                target.tcp = self.config.tcp_options();
                self.relax_attempt(now, conn);
                let until = self.attempts.until(conn);
                let mut replaces = after;
                if let Purpose::Replace { source, .. } = &purpose {
                    self.moves.handle_dialled(now, source, target.address.clone());
                }
                if let (Purpose::Replace { from, number, .. }, None) = (purpose, after) {
                    replaces = Some(from);
                    let (address, attempt) = (target.address.clone(), number);
                    self.emit(Event::HandoffDialing { from, to: conn, address, attempt });
                }
                self.directives.push_back(Directive::Dial { conn, target, probe, until, replaces });
            }
            Step::Next { conn, target, how } => self.dial_next(now, conn, target, how),
            Step::Left { conn, to, failed, must_close } => self.leave_dial(conn, to, failed, must_close),
            Step::Ended { conn, purpose, end, dialled, must_close } => {
                self.on_ended(now, conn, purpose, end, dialled);
                if must_close {
                    self.close(conn, CloseCause::ByClient);
                }
            }
        }
    }

    fn on_ended(&mut self, now: Instant, conn: ConnId, purpose: Purpose, end: End, dialled: Option<Dial>) {
        let failure = match end {
            End::Ready(ready) => return self.on_ready(now, conn, purpose, ready),
            End::Failed { error, retry } => Some((error, retry)),
            End::Cancelled => None,
        };
        self.ids.remove(conn);
        self.vacate(conn);
        if purpose == Purpose::Advertised {
            self.end_lookup(now);
        } else if let Some((error, retry)) = failure {
            self.note_failed(dialled);
            self.on_failed(now, conn, purpose, error, retry);
        }
    }

    /// If `failed` asked for less than usual, what it left out was not why.
    fn note_failed(&mut self, failed: Option<Dial>) {
        if let Some((target, probe)) = failed.map(Dial::into_parts) {
            self.knowledge.handle_failed(&target.address, probe);
        }
    }

    fn on_failed(&mut self, now: Instant, conn: ConnId, purpose: Purpose, error: ConnectError, retry: Retry) {
        match purpose {
            Purpose::Replace { from, source, .. } if self.conns.contains(from) => match retry {
                Retry::AtOnce => self.moves.handle_failed_at_once(now, &source, from, error),
                Retry::Later => self.moves.handle_failed(now, &source, from, error),
            },
            Purpose::Replace { from, source, .. } => {
                // The old connection is gone as well: opening another one is the owner's business.
                self.moves.handle_gone(now, &source, from);
                self.report_failure(conn, error, retry);
            }
            Purpose::Open(_) => {
                // What is tried again with less is the same place.
                self.moves.handle_open_failed(conn, retry == Retry::Later);
                self.emit(Event::ConnectFailed { conn, error: error.clone() });
                self.report_failure(conn, error, retry);
            }
            Purpose::Advertised => {}
        }
    }

    pub(super) fn report_failure(&mut self, conn: ConnId, error: ConnectError, retry: Retry) {
        let redial = match retry {
            Retry::AtOnce => Redial::AtOnce,
            Retry::Later if error.is_transient() => Redial::AfterPause,
            Retry::Later => Redial::Hopeless,
        };
        self.directives.push_back(Directive::Failed { conn, error, redial });
    }
}
