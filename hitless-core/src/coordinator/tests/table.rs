//! What the coordinator does in each state of a connection, of a handoff, and of its knowledge.

use super::*;
use crate::coordinator::knowledge::TooMuch;
use crate::mode::Mode;
use crate::tests::{Table, cell};

/// What was decided, by name: observers' events and windows left out.
fn decisions(coordinator: &mut Coordinator) -> Vec<String> {
    let name = |directive: Directive| match directive {
        Directive::Emit(_) | Directive::Windows { .. } => None,
        Directive::Failed { redial, .. } => Some(format!("`Failed` ({redial:?})")),
        Directive::Lost { replacement, .. } => {
            let replacement = match replacement {
                Replacement::Missing => "missing",
                Replacement::Dialing(_) => "dialing",
                Replacement::Ready(_) => "ready",
            };
            Some(format!("`Lost` ({replacement})"))
        }
        Directive::Close { cause: CloseCause::MoveDeadline, .. } => Some("`Close` (deadline)".to_owned()),
        other => {
            let text = format!("{other:?}");
            Some(format!("`{}`", text.split([' ', '(']).next().unwrap()))
        }
    };
    std::iter::from_fn(|| coordinator.poll_directive()).filter_map(name).collect()
}

fn pass(world: &mut World, until: Instant) -> Vec<String> {
    let mut said = Vec::new();
    while let Some(at) = world.coordinator.poll_timeout().filter(|at| *at <= until) {
        world.now = world.now.max(at);
        world.coordinator.handle_timeout(world.now);
        said.extend(decisions(&mut world.coordinator));
    }
    world.now = until;
    said
}

// ---- one connection ----

const PHASES: [&str; 7] =
    ["resolving", "dialing", "negotiating", "awaits the switch", "serving", "draining", "gone"];

fn phase(world: &World, conn: ConnId) -> &'static str {
    let Coordinator { conns, attempts, .. } = &world.coordinator;
    PHASES[match conns.draining_for(world.now, conn) {
        Some(_) => 5,
        None if conns.is_serving(conn) => 4,
        None if conns.contains(conn) => 3,
        None if attempts.negotiation(conn).is_some() => 2,
        None if attempts.is_dialled(conn) => 1,
        None if attempts.contains(conn) => 0,
        None => 6,
    }]
}

fn in_phase(name: &str) -> (World, ConnId) {
    let (world, conn) = match name {
        "awaits the switch" => ready_successor(),
        _ => opened_connection(name),
    };
    assert_eq!(phase(&world, conn), name);
    (world, conn)
}

/// The successor of a held connection whose owner has not switched.
fn ready_successor() -> (World, ConnId) {
    let mut world = World::new("127.0.0.1:1", 1);
    let from = world.coordinator.open(world.now, Role::Held);
    world.drain();
    world.answer_dials();
    world.notify(from, &moving(1, 15 * SECOND, 2));
    world.answer_dials();
    let (_, to, _) = world.successors[0];
    (world, to)
}

fn opened_connection(name: &str) -> (World, ConnId) {
    let mut world = World::new("localhost:1", 3);
    let conn = world.coordinator.open(world.now, Role::Shared);
    let at = PHASES.iter().position(|phase| *phase == name).unwrap();
    if at > 0 {
        world.coordinator.handle_resolved(world.now, conn, Ok(vec![[127, 0, 0, 1].into()]));
    }
    if at > 1 {
        world.coordinator.handle_connected(world.now, conn, peer(1));
    }
    if at > 2 {
        world.coordinator.handle_ready(world.now, conn, OptIn::Accepted);
    }
    world.drain();
    if at > 4 {
        world.dials.clear();
        world.notify(conn, &moving(1, 15 * SECOND, 2));
        world.answer_dials();
    }
    if at > 5 {
        world.coordinator.handle_closed(world.now, conn, CloseCause::ByServer);
        world.drain();
    }
    (world, conn)
}

type Fact = fn(&mut Coordinator, Instant, ConnId);

const FACTS: [(&str, Fact); 13] = [
    ("`handle_resolved`, an address", |it, now, conn| {
        it.handle_resolved(now, conn, Ok(vec![[127, 0, 0, 1].into()]));
    }),
    ("`handle_resolved`, none", |it, now, conn| it.handle_resolved(now, conn, Ok(vec![]))),
    ("`handle_connected`", |it, now, conn| it.handle_connected(now, conn, peer(1))),
    ("`handle_ready`", |it, now, conn| it.handle_ready(now, conn, OptIn::Accepted)),
    ("`handle_dial_failed`", |it, now, conn| it.handle_dial_failed(now, conn, ConnectError::CircuitOpen)),
    ("`handle_lost_at_opt_in`", |it, now, conn| it.handle_lost_at_opt_in(now, conn, CloseCause::ByServer)),
    ("`handle_opt_in`", |it, now, conn| it.handle_opt_in(now, conn, OptIn::Accepted)),
    ("MOVING", |it, now, conn| it.handle_notification(now, conn, &moving(7, 15 * SECOND, 3))),
    ("`handle_switched`", |it, now, conn| it.handle_switched(now, conn)),
    ("`handle_drained`", |it, now, conn| it.handle_drained(now, conn)),
    ("`handle_closed`", |it, now, conn| it.handle_closed(now, conn, CloseCause::ByServer)),
    ("`release`", |it, now, conn| it.release(now, conn)),
    ("its time is over", |_, _, _| {}),
];

/// Every fact in every state. INV-11
#[test]
fn table_of_connections() {
    const LEGEND: &str = "\
Found out by a test, of a shared connection that the owner opened, or (*awaits the switch*) of the successor of a held \
one: what the coordinator decides (`Directive`; events and windows left out), and the state that follows. `·`: nothing. A MOVING \
during the dial is one that the server sends before the handshake is done.";
    let head: Vec<&str> = std::iter::once("").chain(PHASES).collect();
    let mut table = Table::new("coordinator-connections.md", LEGEND, &head);
    for (fact, happen) in FACTS {
        let mut row = vec![fact.to_owned()];
        for name in PHASES {
            let (mut world, conn) = in_phase(name);
            happen(&mut world.coordinator, world.now, conn);
            let mut said = decisions(&mut world.coordinator);
            if fact == "its time is over" {
                let until = world.now + 15 * SECOND;
                said.extend(pass(&mut world, until));
            }
            row.push(cell(&said, name, phase(&world, conn)));
        }
        table.row(row);
    }
    table.check();
}

// ---- one handoff ----

const HANDOFFS: [&str; 7] =
    ["BehindScout", "Queued", "Dialing", "Waiting", "BehindDrain", "AwaitsSwitch", "StayPut"];

fn handoff(world: &World, conn: ConnId) -> String {
    let peers = [peer(1), peer(2), peer(3)];
    match peers.iter().find_map(|source| world.coordinator.moves.stage(source, conn)) {
        Some(stage) => stage.to_owned(),
        None if phase(world, conn) == "draining" => "cut over".to_owned(),
        None => "none".to_owned(),
    }
}

/// A move of three connections with one worker, and the one whose handoff is in the state of that name. It is held if that state
/// is the one in which its owner has a say.
fn in_handoff(name: &str) -> (World, ConnId) {
    let mut world = World::new("127.0.0.1:1", 3);
    let role = if name == "AwaitsSwitch" { Role::Held } else { Role::Shared };
    let conns = [role, Role::Shared, Role::Shared].map(|role| world.coordinator.open(world.now, role));
    world.drain();
    world.answer_dials();
    let end = world.now + 15 * SECOND;
    let mut conn = conns[0];
    if name == "BehindDrain" {
        world.notify(conn, &moving(1, 15 * SECOND, 2));
        while world.answer_dials() > 0 {}
        conn = world.cut_over[0].1;
        world.notify(conn, &moving(2, 15 * SECOND, 3));
    } else {
        world.notify(conn, &moving(1, 15 * SECOND, 2));
    }
    match name {
        "BehindScout" => conn = conns[1],
        "Queued" => {
            world.answer_dials();
            conn = conns[2];
        }
        "AwaitsSwitch" => drop(world.answer_dials()),
        "Dialing" | "BehindDrain" => {}
        "Waiting" => world.refuse_dials(),
        "StayPut" => {
            while handoff(&world, conn) != "StayPut" {
                world.refuse_dials();
                assert!(world.next_timeout(end));
            }
        }
        other => panic!("{other}"),
    }
    assert_eq!(handoff(&world, conn), name);
    (world, conn)
}

/// The dial of the handoff of `from`, or of any other.
fn dial(world: &World, from: ConnId, own: bool) -> Option<ConnId> {
    let own_dial = world.coordinator.attempts.replacing(from);
    world.dials.iter().map(|(conn, ..)| *conn).find(|conn| (Some(*conn) == own_dial) == own)
}

fn land(world: &mut World, conn: Option<ConnId>) -> bool {
    let Some(conn) = conn else { return false };
    let address = world.coordinator.peer(conn).cloned().unwrap();
    world.coordinator.handle_connected(world.now, conn, address);
    world.coordinator.handle_ready(world.now, conn, OptIn::Accepted);
    true
}

fn refuse(world: &mut World, conn: Option<ConnId>) -> bool {
    let Some(conn) = conn else { return false };
    let refused = ConnectError::Connect(std::io::ErrorKind::ConnectionRefused.into());
    world.coordinator.handle_dial_failed(world.now, conn, refused);
    true
}

/// False if it cannot happen in that state.
type HandoffFact = fn(&mut World, ConnId) -> bool;

const HANDOFF_FACTS: [(&str, HandoffFact); 11] = [
    ("its dial lands", |world, conn| land(world, dial(world, conn, true))),
    ("its dial fails", |world, conn| refuse(world, dial(world, conn, true))),
    ("another's dial lands", |world, conn| land(world, dial(world, conn, false))),
    ("another's dial fails", |world, conn| refuse(world, dial(world, conn, false))),
    ("its owner has switched", |world, conn| {
        world.coordinator.handle_switched(world.now, conn);
        true
    }),
    ("its successor is lost", |world, conn| {
        let successor = world.coordinator.moves.awaited_switch(&peer(1), conn);
        let lost = |to| world.coordinator.handle_closed(world.now, to, CloseCause::ByServer);
        successor.map(lost).is_some()
    }),
    ("its connection is lost", |world, conn| {
        world.coordinator.handle_closed(world.now, conn, CloseCause::ByServer);
        true
    }),
    ("its predecessor has drained", |world, conn| {
        let predecessor = world.coordinator.conns.predecessor(conn);
        predecessor.into_iter().for_each(|old| world.coordinator.handle_drained(world.now, old));
        predecessor.is_some()
    }),
    ("a copy of the MOVING", |world, conn| {
        let peer = world.coordinator.peer(conn).cloned().unwrap();
        let key = world.coordinator.moves.announced(&peer).unwrap().clone();
        let grace = 15 * SECOND;
        let copy = Notification::Moving { seq: key.seq, grace, target: key.target };
        world.coordinator.handle_notification(world.now, conn, &copy);
        true
    }),
    ("a newer MOVING", |world, conn| {
        world.coordinator.handle_notification(world.now, conn, &moving(9, 30 * SECOND, 9));
        true
    }),
    ("the move is over", |_, _| true),
];

/// Every fact in every state. INV-11
#[test]
fn table_of_handoffs() {
    const LEGEND: &str = "\
Found out by a test, of a move of three connections with one worker: what the coordinator decides (`Directive`; events and windows \
left out), and the state that follows. `·`: nothing; `–`: cannot happen. *cut over*: the connection drains, its successor serves; \
*none*: it is gone, or no move concerns it. The connection is shared, but held in `AwaitsSwitch`. When a move is over while nobody \
answers, its dials have timed out before; of what is decided meanwhile only `Lost` is shown.";
    let head: Vec<&str> = std::iter::once("").chain(HANDOFFS).collect();
    let mut table = Table::new("coordinator-handoffs.md", LEGEND, &head);
    for (fact, happen) in HANDOFF_FACTS {
        let mut row = vec![fact.to_owned()];
        for name in HANDOFFS {
            let (mut world, conn) = in_handoff(name);
            if !happen(&mut world, conn) {
                row.push("–".to_owned());
                continue;
            }
            let mut said = decisions(&mut world.coordinator);
            if fact == "the move is over" {
                let until = world.now + 60 * SECOND;
                said = pass(&mut world, until);
                said.retain(|word| word.starts_with("`Lost`"));
            }
            row.push(cell(&said, name, &handoff(&world, conn)));
        }
        table.row(row);
    }
    table.check();
}

// ---- knowledge ----

const KNOWLEDGE: [&str; 5] = ["unknown", "active", "refused", "refused, re-check due", "suspect"];

fn knowledge(world: &World) -> &'static str {
    let known = world.coordinator.support(&peer(1));
    KNOWLEDGE[match known {
        _ if world.coordinator.knowledge.is_suspect(&peer(1)) => 4,
        Support::Unknown => 0,
        Support::Active => 1,
        Support::Refused { recheck_at } => 2 + usize::from(recheck_at <= world.now),
    }]
}

/// A coordinator in `mode` that has learnt this of the one address that there is.
fn knowing(name: &str, mode: Mode) -> World {
    let mut world = World::with("127.0.0.1:1", 3, maintenance::Config::builder().mode(mode));
    let code = ErrorCode::of(b"ERR");
    let answer = match name {
        "active" => Some(OptIn::Accepted),
        "refused" | "refused, re-check due" => Some(OptIn::Refused(code)),
        _ => None,
    };
    let conn = ConnId::from_parts(99, 0);
    answer
        .into_iter()
        .for_each(|answer| world.coordinator.learn(world.now, conn, &peer(1), Probe::OptIn, answer));
    match name {
        "refused, re-check due" => world.now += crate::mode::RECHECK_AFTER,
        "suspect" => {
            let lost = TooMuch::LinkEnded;
            assert!(world.coordinator.knowledge.ask_for_less(&peer(1), Probe::OptIn, lost));
        }
        _ => {}
    }
    world.drain();
    assert_eq!(knowledge(&world), name);
    world
}

/// Every answer to the opt-in in every state of what is known. INV-17, PITFALL-20, PITFALL-21, RULE-09, RULE-14, RULE-15,
/// RULE-16, RULE-17
#[test]
fn table_of_knowledge() {
    const LEGEND: &str = "\
Found out by a test, in mode `auto`, address by address: whether the next handshake opts in, and what is known after its outcome. \
`·`: the same as before; `–`: cannot happen. *suspect*: the link died at the last opt-in. *refused*: until a re-check, ten minutes \
later. Mode `enabled` asks in every state, and `disabled` in none.";
    let head = [
        "known",
        "asks",
        "accepted",
        "refused",
        "unclear (LOADING, ...)",
        "HELLO refused",
        "link dies at it",
        "not asked",
    ];
    let mut table = Table::new("knowledge.md", LEGEND, &head);
    let code = ErrorCode::of(b"ERR");
    let answers = [
        Some(OptIn::Accepted),
        Some(OptIn::Refused(code)),
        Some(OptIn::Unclear(code)),
        Some(OptIn::NoResp3(code)),
        None,
        Some(OptIn::NotAsked),
    ];
    for name in KNOWLEDGE {
        for (mode, asks) in [(Mode::Disabled, Probe::Skip), (Mode::Enabled, Probe::OptIn)] {
            let mut world = World::with("127.0.0.1:1", 3, maintenance::Config::builder().mode(mode));
            let config = Arc::clone(&world.coordinator.config);
            world.coordinator.knowledge = knowing(name, Mode::Auto).coordinator.knowledge.under(config);
            assert_eq!(world.coordinator.knowledge.probe(world.now, &peer(1)), asks, "{mode}: {name}");
        }
        let probe = knowing(name, Mode::Auto)
            .coordinator
            .knowledge
            .probe(epoch() + crate::mode::RECHECK_AFTER / 2, &peer(1));
        let probe = if name == "refused, re-check due" { Probe::OptIn } else { probe };
        let mut row = vec![name.to_owned(), if probe == Probe::OptIn { "yes" } else { "no" }.to_owned()];
        for answer in answers {
            let mut world = knowing(name, Mode::Auto);
            world.coordinator.open(world.now, Role::Shared);
            world.drain();
            let (conn, address, asked) = world.dials.remove(0);
            assert_eq!(asked, probe, "{name}");
            if (asked == Probe::Skip) != matches!(answer, Some(OptIn::NotAsked)) {
                row.push("–".to_owned());
                continue;
            }
            world.coordinator.handle_connected(world.now, conn, address);
            match answer {
                Some(answer) => world.coordinator.handle_ready(world.now, conn, answer),
                None => world.coordinator.handle_lost_at_opt_in(world.now, conn, CloseCause::ByServer),
            }
            world.drain();
            row.push(cell(&[], name, knowledge(&world)));
        }
        table.row(row);
    }
    table.check();
}
