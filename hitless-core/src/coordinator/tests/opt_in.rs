//! Owners that do their own handshakes report what became of the opt-in; the mode judges it here.

use super::*;
use crate::handshake::{HandshakeError, Stage};
use crate::mode::Mode;

/// Mode `enabled` takes no connection without notifications; mode `auto` does. INV-17, RULE-12, RULE-13
#[test]
fn in_the_mode_enabled_an_opt_in_that_is_not_accepted_is_a_failed_dial() {
    for (answer, redial) in [
        (OptIn::of_error(b"ERR unknown subcommand 'MAINT_NOTIFICATIONS'."), Redial::Hopeless),
        (OptIn::NoResp3(ErrorCode::of(b"NOPROTO")), Redial::Hopeless),
        (OptIn::of_error(b"LOADING"), Redial::AfterPause),
    ] {
        for mode in [Mode::Auto, Mode::Enabled] {
            let mut world = World::with("127.0.0.1:1", 1, maintenance::Config::builder().mode(mode));
            let conn = world.coordinator.open(world.now, Role::Shared);
            world.drain();
            world.coordinator.handle_connected(world.now, conn, peer(1));
            world.coordinator.handle_ready(world.now, conn, answer);
            world.drain();
            let serves = world.coordinator.stats().connections.contains_key(&peer(1));
            assert_eq!(serves, mode == Mode::Auto, "{mode}: {answer:?}");
            let closed = world.closed.iter().any(|(closed, _)| *closed == conn);
            assert_eq!(closed, mode == Mode::Enabled, "{mode}: {answer:?}");
            let failed: &[Redial] = if mode == Mode::Enabled { &[redial] } else { &[] };
            assert_eq!(world.failed, failed, "{mode}: {answer:?}");
        }
    }
}

impl World {
    /// Dials once more; the server at the other end answers the opt-in so, if it is asked.
    fn dial(&mut self, answer: OptIn) -> (ConnId, Probe) {
        self.coordinator.open(self.now, Role::Shared);
        self.drain();
        let (conn, address, probe) = self.dials.remove(0);
        self.coordinator.handle_connected(self.now, conn, address);
        let answer = if probe == Probe::OptIn { answer } else { OptIn::NotAsked };
        self.coordinator.handle_ready(self.now, conn, answer);
        self.drain();
        (conn, probe)
    }

    fn refusals(&self) -> usize {
        self.events.iter().filter(|event| matches!(event, Event::OptInRefused { .. })).count()
    }
}

fn refusal() -> OptIn {
    OptIn::of_error(b"ERR unknown subcommand 'MAINT_NOTIFICATIONS'.")
}

/// After a refusal one dial asks again, ten minutes later; when it is heard, those that did without ask as well, once.
/// PITFALL-20, RULE-18, RULE-19
#[test]
fn when_the_server_has_learnt_it_all_connections_opt_in() {
    let mut world = World::new("127.0.0.1:1", 4);
    let (first, probe) = world.dial(refusal());
    assert_eq!(probe, Probe::OptIn);
    let (second, probe) = world.dial(refusal());
    assert_eq!((probe, world.refusals()), (Probe::Skip, 1));
    assert!(matches!(world.coordinator.support(&peer(1)), Support::Refused { .. }));

    world.now += crate::mode::RECHECK_AFTER;
    let (_, probe) = world.dial(OptIn::Accepted);
    assert_eq!(probe, Probe::OptIn);
    assert_eq!(world.coordinator.support(&peer(1)), Support::Active);
    assert_eq!(world.asked_again, [first, second]);

    world.asked_again.clear();
    world.coordinator.handle_opt_in(world.now, second, OptIn::of_error(b"LOADING"));
    world.coordinator.handle_opt_in(world.now, first, OptIn::Accepted);
    world.drain();
    assert!(world.events.contains(&Event::OptedIn { conn: first, peer: peer(1) }));
    assert_eq!(world.asked_again, [second], "the one that was not heard asks once more, because others are");
    world.asked_again.clear();
    world.coordinator.handle_opt_in(world.now, second, OptIn::Accepted);
    world.dial(OptIn::Accepted);
    assert!(world.asked_again.is_empty());
}

/// A server that was loading at the opt-in of one connection is asked by the next, and then by the first again. PITFALL-20,
/// RULE-13
#[test]
fn an_unclear_answer_is_no_refusal() {
    let mut world = World::new("127.0.0.1:1", 2);
    let (first, _) = world.dial(OptIn::of_error(b"LOADING Redis is loading the dataset in memory"));
    assert_eq!((world.coordinator.support(&peer(1)), world.refusals()), (Support::Unknown, 0));
    let (_, probe) = world.dial(OptIn::Accepted);
    assert_eq!((probe, world.asked_again), (Probe::OptIn, vec![first]));
}

/// What is wrong with a password or a server says nothing of the opt-in. RULE-04
#[test]
fn a_refused_hello_teaches_nothing() {
    let mut world = World::new("127.0.0.1:1", 1);
    let codes = [&b"WRONGPASS"[..], b"NOAUTH", b"NOPERM", b"LOADING"];
    let refused =
        codes.map(|code| HandshakeError::Refused { stage: Stage::Hello, code: ErrorCode::of(code) });
    for refused in refused.into_iter().chain([HandshakeError::TooManyClients]) {
        world.coordinator.open(world.now, Role::Shared);
        world.drain();
        let (conn, address, probe) = world.dials.remove(0);
        assert_eq!(probe, Probe::OptIn);
        world.coordinator.handle_connected(world.now, conn, address);
        world.coordinator.handle_dial_failed(world.now, conn, ConnectError::Handshake(refused));
        world.drain();
        assert_eq!((world.coordinator.support(&peer(1)), world.refusals()), (Support::Unknown, 0));
    }
}

/// A connection that is gone, or that is on its way out, does not ask. RULE-19
#[test]
fn only_serving_connections_opt_in_again() {
    let mut world = World::new("127.0.0.1:1", 3);
    let (gone, _) = world.dial(refusal());
    let (leaving, _) = world.dial(refusal());
    world.coordinator.handle_closed(world.now, gone, CloseCause::ByServer);
    world.notify(leaving, &moving(1, 15 * SECOND, 2));
    assert_eq!(world.answer_dials(), 1);
    world.now += crate::mode::RECHECK_AFTER;
    world.dial(OptIn::Accepted);
    assert!(world.asked_again.is_empty());
}

/// What one address refuses says nothing of another. PITFALL-20, RULE-16
#[test]
fn each_address_is_known_by_itself() {
    let mut world = World::new("localhost:1", 2);
    let mut probes = Vec::new();
    for _ in 0..4 {
        let conn = world.coordinator.open(world.now, Role::Shared);
        let answer = Ok(vec![[127, 0, 0, 1].into(), [127, 0, 0, 2].into()]);
        world.coordinator.handle_resolved(world.now, conn, answer);
        world.drain();
        let (conn, address, probe) = world.dials.remove(0);
        let knows = address == peer(1);
        world.coordinator.handle_connected(world.now, conn, address);
        let answer = match probe {
            Probe::OptIn if knows => OptIn::Accepted,
            Probe::OptIn => refusal(),
            _ => OptIn::NotAsked,
        };
        world.coordinator.handle_ready(world.now, conn, answer);
        world.drain();
        probes.push((knows, probe));
    }
    let asked =
        |of: bool| probes.iter().filter(|(knows, probe)| (*knows, *probe) == (of, Probe::OptIn)).count();
    assert_eq!((asked(true), asked(false)), (2, 1), "{probes:?}");
}

/// Connections of the pool, scouts and the followers of scouts opt in: the server closes them all, and warns those that asked.
/// RULE-17
#[test]
fn every_connection_opts_in() {
    let mut world = World::new("127.0.0.1:1", 3);
    let conns: Vec<ConnId> = (0..3).map(|_| world.coordinator.open(world.now, Role::Shared)).collect();
    world.drain();
    let mut probes = Vec::new();
    for _ in 0..2 {
        while !world.dials.is_empty() {
            probes.extend(world.dials.iter().map(|(.., probe)| *probe));
            world.answer_dials();
        }
        world.notify(conns[0], &moving(1, 15 * SECOND, 2));
    }
    assert_eq!(probes, [Probe::OptIn; 6]);
}

/// What is known of addresses is bounded. INV-14
#[test]
fn addresses_are_forgotten_in_the_end() {
    let mut world = World::new("localhost:1", 1);
    for last in 0..400_u16 {
        let conn = world.coordinator.open(world.now, Role::Shared);
        let [high, low] = last.to_be_bytes();
        world.coordinator.handle_resolved(world.now, conn, Ok(vec![[127, 0, high, low].into()]));
        world.drain();
        let (conn, address, probe) = world.dials.remove(0);
        assert_eq!(probe, Probe::OptIn);
        world.coordinator.handle_connected(world.now, conn, address);
        world.coordinator.handle_ready(world.now, conn, refusal());
        world.coordinator.handle_closed(world.now, conn, CloseCause::ByServer);
        world.drain();
        assert!(world.coordinator.knowledge.len() <= 256);
    }
}

/// Of dials that are under way at the re-check one asks; when it is heard first, the others ask as soon as they are ready.
/// RULE-14, PITFALL-20
#[test]
fn a_connection_that_is_ready_behind_the_re_check_asks_as_well() {
    let mut world = World::new("127.0.0.1:1", 3);
    world.dial(refusal());
    world.now += crate::mode::RECHECK_AFTER;
    let conns: Vec<ConnId> = (0..2).map(|_| world.coordinator.open(world.now, Role::Shared)).collect();
    world.drain();
    let probes: Vec<Probe> = world.dials.iter().map(|(_, _, probe)| *probe).collect();
    assert_eq!(probes, [Probe::OptIn, Probe::Skip]);
    for (conn, address, probe) in std::mem::take(&mut world.dials) {
        world.coordinator.handle_connected(world.now, conn, address);
        let answer = if probe == Probe::OptIn { OptIn::Accepted } else { OptIn::NotAsked };
        world.coordinator.handle_ready(world.now, conn, answer);
        world.drain();
    }
    assert!(world.asked_again.contains(&conns[1]), "{:?}", world.asked_again);
    assert_eq!(world.asked_again.len(), 2, "each once: {:?}", world.asked_again);
}

/// Behind a tunnel the peer is another address than the one that was dialled; what is learnt is found again all the same.
/// PITFALL-21
#[test]
fn what_is_known_is_found_by_the_address_that_was_dialled() {
    let mut world = World::new("127.0.0.1:1", 1);
    world.coordinator.open(world.now, Role::Shared);
    world.drain();
    let (conn, _, probe) = world.dials.remove(0);
    assert_eq!(probe, Probe::OptIn);
    world.coordinator.handle_connected(world.now, conn, peer(9));
    world.coordinator.handle_lost_at_opt_in(world.now, conn, CloseCause::ByServer);
    world.coordinator.open(world.now, Role::Shared);
    world.drain();
    assert_eq!(world.dials[0].2, Probe::Skip);
}

/// What the owner closes by itself gets no successor, and leaves nothing behind.
#[test]
fn a_released_connection_is_not_replaced() {
    for is_old in [true, false] {
        let mut world = World::new("127.0.0.1:1", 1);
        let conn = world.connected(1)[0];
        world.notify(conn, &moving(1, 15 * SECOND, 2));
        let (to, address, _) = world.dials.remove(0);
        world.coordinator.handle_connected(world.now, to, address);
        if !is_old {
            world.coordinator.handle_closed(world.now, conn, CloseCause::ByServer);
        }
        world.coordinator.release(world.now, if is_old { conn } else { to });
        world.coordinator.handle_ready(world.now, to, OptIn::Accepted);
        world.drain();
        assert!(world.cut_over.is_empty() && world.dials.is_empty());
        let stats = world.coordinator.stats();
        assert_eq!((stats.handoffs_working, stats.handoffs_queued, stats.dialing), (0, 0, 0));
        assert!(stats.connections.is_empty());
    }
}
