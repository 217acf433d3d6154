//! Where to dial, and what a failed dial leads to.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Conn, Coordinator, Directive, Lookup, Phase, Redial, TimerKey};
use crate::endpoint::{Endpoint, Host, Peer, Target, server_name};
use crate::error::{CloseCause, ConnectError};
use crate::event::Event;
use crate::handshake::Probe;
use crate::ids::ConnId;
use crate::notification::MoveTarget;
use crate::timer::after;

impl Coordinator {
    /// Begins to open a connection: to the configured endpoint, away from addresses that are being retired.
    pub fn open(&mut self, now: Instant) -> ConnId {
        let limit = self.config.connect_timeout();
        let conn = self.begin_attempt(now, limit, None, None);
        if let Some(orphaned) = self.orphaned.pop_front() {
            self.follow(orphaned, conn);
        }
        match self.config.endpoint().clone() {
            Endpoint::Tcp { host: Host::Name(name), .. } => self.resolve(conn, Lookup::Name, &name),
            named => self.dial_away_from_retiring(now, conn, named.peer().into_iter().collect()),
        }
        conn
    }

    /// The answer to [`Directive::Resolve`].
    pub fn handle_resolved(
        &mut self,
        now: Instant,
        conn: ConnId,
        answer: Result<Vec<IpAddr>, io::ErrorKind>,
    ) {
        let Some(entry) = self.conns.get(conn) else { return };
        let Phase::Resolving(lookup) = entry.phase else { return };
        let replaces = entry.replaces;
        let port = match (lookup, self.config.endpoint()) {
            (Lookup::Target { port }, _) | (_, &Endpoint::Tcp { port, .. }) => port,
            (_, Endpoint::Unix(_)) => return,
        };
        let peers = answer.map(|addresses| {
            let peer = |ip| Peer::from(SocketAddr::new(ip, port));
            addresses.into_iter().map(peer).collect::<Vec<Peer>>()
        });
        match (peers, replaces, lookup) {
            (peers, _, Lookup::Advertised) => self.end_lookup(now, conn, peers.ok().as_deref()),
            (Err(kind), ..) => self.fail_attempt(now, conn, ConnectError::Resolve(kind)),
            (Ok(peers), Some(from), lookup) => self.dial_handoff(now, from, conn, lookup, peers),
            (Ok(peers), None, Lookup::Name) => {
                self.note_advertised(&peers);
                self.dial_away_from_retiring(now, conn, peers);
            }
            (Ok(peers), None, Lookup::Target { .. }) => self.dial_any(now, conn, &peers),
        }
        self.put_to_work(now);
    }

    pub(super) fn begin_attempt(
        &mut self,
        now: Instant,
        limit: Option<Duration>,
        replaces: Option<ConnId>,
        avoid: Option<Peer>,
    ) -> ConnId {
        let phase = Phase::Resolving(Lookup::Name);
        // Whether to opt in is decided when the address is known.
        let probe = Probe::Skip;
        let server_name = server_name(self.config.endpoint(), None);
        let conn = self.conns.insert(Conn {
            phase,
            probe,
            replaces,
            follows: replaces,
            address: None,
            server_name,
            peer: None,
            avoid,
            limit,
            ending: false,
        });
        if let Some(limit) = limit {
            self.timers.arm(TimerKey::Conn(conn), after(now, limit));
        }
        conn
    }

    /// `conn` is about to be dialled to the target of a move, or to the address where the scout of that move has landed:
    /// the name that verifies the target verifies the server there.
    pub(super) fn verify_as(&mut self, conn: ConnId, target: Option<&MoveTarget>) {
        if let (Some(MoveTarget::Endpoint(target)), Some(entry)) = (target, self.conns.get_mut(conn)) {
            entry.server_name = server_name(self.config.endpoint(), Some(target));
        }
    }

    pub(super) fn resolve(&mut self, conn: ConnId, lookup: Lookup, name: &Arc<str>) {
        if let Some(entry) = self.conns.get_mut(conn) {
            entry.phase = Phase::Resolving(lookup);
        }
        self.directives.push_back(Directive::Resolve { conn, host: Arc::clone(name) });
    }

    pub(super) fn dial(&mut self, now: Instant, conn: ConnId, address: Peer) {
        let probe = self.probe(now, &address);
        let Some(entry) = self.conns.get_mut(conn) else { return };
        entry.phase = Phase::Dialing;
        entry.probe = probe;
        entry.address = Some(address.clone());
        entry.peer = Some(address.clone());
        let directive = Directive::Dial {
            conn,
            target: Target::new(address.clone(), entry.server_name.clone()),
            probe,
            until: entry.limit.map(|limit| after(now, limit)),
            replaces: entry.replaces,
        };
        let replaces = entry.replaces;
        if let Some((from, handoff)) = replaces.and_then(|from| Some((from, self.handoffs.get(&from)?))) {
            let attempt = handoff.attempts;
            self.emit(Event::HandoffDialing { from, to: conn, address, attempt });
        }
        self.directives.push_back(directive);
    }

    /// Dials one of `addresses`, another one each time. One at whose opt-in a link died goes first: it is to be seen
    /// whether that was why.
    pub(super) fn dial_any(&mut self, now: Instant, conn: ConnId, addresses: &[Peer]) {
        let suspects: Vec<Peer> =
            addresses.iter().filter(|peer| self.knowledge.is_suspect(peer)).cloned().collect();
        let addresses = if suspects.is_empty() { addresses } else { &suspects };
        let turn = self.dials;
        self.dials = self.dials.wrapping_add(1);
        match turn.checked_rem(addresses.len()).and_then(|at| addresses.get(at)) {
            Some(address) => self.dial(now, conn, address.clone()),
            None => self.fail_attempt(now, conn, ConnectError::Resolve(io::ErrorKind::NotFound)),
        }
    }

    /// Dials the target of a move, looking its name up first if it has one.
    pub(super) fn dial_target(&mut self, now: Instant, conn: ConnId, target: &Endpoint) {
        match target {
            Endpoint::Tcp { host: Host::Name(name), port } => {
                self.resolve(conn, Lookup::Target { port: *port }, name);
            }
            named => self.dial_any(now, conn, &named.peer().into_iter().collect::<Vec<_>>()),
        }
    }

    /// An attempt has failed: forgets it and decides what follows.
    pub(super) fn fail_attempt(&mut self, now: Instant, conn: ConnId, error: ConnectError) {
        self.end_attempt(now, conn, error, false);
    }

    /// `at_once`: the next attempt is a different one and does not wait.
    pub(super) fn end_attempt(&mut self, now: Instant, conn: ConnId, error: ConnectError, at_once: bool) {
        let Some(entry) = self.conns.get(conn) else { return };
        if entry.phase == Phase::Resolving(Lookup::Advertised) {
            return self.end_lookup(now, conn, None);
        }
        let replaces = entry.replaces;
        if let (Some(address), Probe::Skip) = (&entry.address, entry.probe) {
            // It failed without the opt-in as well: the opt-in was not why.
            self.knowledge.set_suspect(address, false);
        }
        self.forget(conn, CloseCause::ByClient);
        for of in self.moves.values_mut().filter(|of| of.turn_taken_by == Some(conn)) {
            of.turn_taken_by = None;
            // What is tried again without the opt-in is the same place.
            of.turn_after_close += usize::from(!at_once);
        }
        if let Some(from) = replaces {
            self.handoff_failed(now, from, conn, error, at_once);
            return;
        }
        self.emit(Event::ConnectFailed { conn, error: error.clone() });
        self.report_failure(conn, error, at_once);
    }

    pub(super) fn report_failure(&mut self, conn: ConnId, error: ConnectError, at_once: bool) {
        let redial = match (at_once, error.is_transient()) {
            (true, _) => Redial::AtOnce,
            (false, true) => Redial::AfterPause,
            (false, false) => Redial::Hopeless,
        };
        self.directives.push_back(Directive::Failed { conn, error, redial });
    }

    /// Dials one of the name's addresses that no live move retires; if none is left, the target of a move; and if the
    /// server named none, the addresses there are, because a virtual one may lead to the new node.
    fn dial_away_from_retiring(&mut self, now: Instant, conn: ConnId, addresses: Vec<Peer>) {
        let kept: Vec<Peer> =
            addresses.iter().filter(|peer| !self.moves.contains_key(*peer)).cloned().collect();
        let Some(source) = addresses.iter().find(|peer| self.moves.contains_key(*peer)).cloned() else {
            return self.dial_any(now, conn, &addresses);
        };
        if !self.by_peer.contains_key(&source) {
            return self.dial_after_close(now, conn, &source, kept);
        }
        if kept.is_empty() {
            self.dial_target_of(now, conn, &source)
        } else {
            self.dial_any(now, conn, &kept)
        }
    }

    /// The last connection to `source` is lost, and names may follow seconds later: tries the target, then the name's
    /// other addresses, then the same address, which may lead to the new node by now, and so on; the next one when one
    /// has failed.
    fn dial_after_close(&mut self, now: Instant, conn: ConnId, source: &Peer, kept: Vec<Peer>) {
        let Some(of) = self.moves.get_mut(source) else { return };
        let is_dialing = |taker: ConnId| self.conns.get(taker).is_some_and(Conn::is_attempt);
        if !of.turn_taken_by.is_some_and(is_dialing) {
            of.turn_taken_by = Some(conn);
        }
        match of.turn_after_close % (kept.len() + 2) {
            0 => self.dial_target_of(now, conn, source),
            nth => self.dial(now, conn, kept.into_iter().nth(nth - 1).unwrap_or_else(|| source.clone())),
        }
    }

    fn dial_target_of(&mut self, now: Instant, conn: ConnId, source: &Peer) {
        let Some(of) = self.moves.get(source) else { return };
        let (landed, target) = (of.landed.clone(), of.target.clone());
        self.verify_as(conn, target.as_ref());
        match (landed, target) {
            (Some(landed), _) => self.dial(now, conn, landed),
            (None, Some(MoveTarget::Endpoint(target))) => self.dial_target(now, conn, &target),
            (None, Some(MoveTarget::SameName) | None) => self.dial(now, conn, source.clone()),
        }
    }
}
