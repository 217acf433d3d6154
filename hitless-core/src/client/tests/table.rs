//! The table of what a client does in each state.

use super::*;
use crate::tests::{Table, accepted_handshake, cell};

const STATES: [&str; 5] = ["starting", "running", "without a connection", "shutting down", "terminated"];

fn state(client: &Client) -> &'static str {
    let lifecycle = &client.lifecycle;
    STATES[match (lifecycle.is_starting(), lifecycle.is_shutting_down(), lifecycle.is_terminated()) {
        (true, ..) => 0,
        (_, true, _) => 3,
        (.., true) => 4,
        (false, false, false) => 1 + usize::from(client.stats().serving == 0),
    }]
}

/// A client with one connection, which has written one request where that is possible.
fn in_state(name: &str) -> (World, Option<RequestId>) {
    let mut world = if name == "starting" { World::new(1) } else { World::started(1) };
    let conn = world.conns()[0];
    let request = match name {
        "starting" => None,
        "without a connection" => {
            world.close(conn);
            Some(world.send("waits"))
        }
        _ => Some(world.send("written")),
    };
    if matches!(name, "shutting down" | "terminated") {
        world.client.shutdown(world.now, world.now + SECOND);
        world.drain();
    }
    if name == "terminated" {
        world.pass(SECOND);
    }
    assert_eq!(state(&world.client), name);
    (world, request)
}

/// The names of the pending actions, without events.
fn decisions(client: &mut Client) -> Vec<String> {
    let name = |action: Action| match action {
        Action::Emit(_) => None,
        Action::Complete { outcome: Ok(_), .. } => Some("`Complete`".to_owned()),
        Action::Complete { outcome: Err(error), .. } => {
            let text = format!("{error:?}");
            Some(format!("`Complete` ({}, {:?})", text.split([' ', '(']).next().unwrap(), error.delivery()))
        }
        Action::Started(result) => {
            Some(format!("`Started` ({})", if result.is_ok() { "ok" } else { "error" }))
        }
        other => {
            let text = format!("{other:?}");
            Some(format!("`{}`", text.split([' ', '(']).next().unwrap()))
        }
    };
    std::iter::from_fn(|| client.poll_action()).filter_map(name).collect()
}

/// The dial that is under way, or begins after the pause.
fn take_dial(world: &mut World) -> Option<(ConnId, Peer)> {
    if world.dials.is_empty() {
        world.pass(SECOND / 10);
    }
    world.dials.pop()
}

/// `None` if the fact cannot happen in that state.
type Fact = fn(&mut World, Option<RequestId>) -> Option<&'static str>;

const NOTHING: Option<&str> = Some("");

const FACTS: [(&str, Fact); 9] = [
    ("`send`", |world, _| {
        let request = Request::raw(Bytes::from_static(b"more\n"), NonZeroU32::MIN);
        Some(match world.client.send(world.now, request) {
            Ok(_) => "accepted",
            Err(SendError::Full(_)) => "given back (full)",
            Err(SendError::NoConnection { .. }) => "given back (no connection)",
            Err(
                SendError::ShuttingDown(_)
                | SendError::NeedsLease(_)
                | SendError::LeaseLost { .. }
                | SendError::NoRoute { .. },
            ) => "given back",
        })
    }),
    ("`cancel`", |world, request| {
        world.client.cancel(world.now, request?);
        NOTHING
    }),
    ("the connection is ready", |world, _| {
        let (conn, address) = take_dial(world)?;
        world.client.handle_connected(world.now, conn, address);
        while world.client.poll_action().is_some() {}
        assert!(world.client.poll_transmit(conn, &mut WriteBuffer::new()));
        world.client.handle_frames(world.now, conn, accepted_handshake());
        NOTHING
    }),
    ("the dial fails", |world, _| {
        let (conn, _) = take_dial(world)?;
        world.client.handle_connect_failed(world.now, conn, io::ErrorKind::ConnectionRefused);
        NOTHING
    }),
    ("WRONGPASS", |world, _| {
        let (conn, address) = take_dial(world)?;
        world.client.handle_connected(world.now, conn, address);
        while world.client.poll_action().is_some() {}
        world.client.handle_frames(world.now, conn, [Frame::error("WRONGPASS no")]);
        NOTHING
    }),
    ("the last reply", |world, _| {
        let conn = *world.pending.keys().next()?;
        world.client.handle_frames(world.now, conn, [Frame::Integer(1)]);
        NOTHING
    }),
    ("the connection is lost", |world, _| {
        let conn = *world.pending.keys().next()?;
        world.client.handle_closed(world.now, conn, CloseCause::ByServer);
        NOTHING
    }),
    ("`shutdown`, with time", |world, _| {
        world.client.shutdown(world.now, world.now + SECOND);
        NOTHING
    }),
    ("`shutdown`, at once", |world, _| {
        world.client.shutdown(world.now, world.now);
        NOTHING
    }),
];

/// Every fact in every state of a client's life. INV-11, INV-15
#[test]
fn table_of_a_clients_life() {
    const LEGEND: &str = "\
Found out by a test, of a client with one connection: what there is to do (`Action`; events left out), and the state that follows. \
`·`: nothing; `–`: cannot happen. *running* and *shutting down*: one request is written and not answered; *without a connection*: one \
waits.";
    let head: Vec<&str> = std::iter::once("").chain(STATES).collect();
    let mut table = Table::new("client.md", LEGEND, &head);
    for (fact, happen) in FACTS {
        let mut row = vec![fact.to_owned()];
        for name in STATES {
            let (mut world, request) = in_state(name);
            world.pending.retain(|_, words| !words.is_empty());
            let Some(answer) = happen(&mut world, request) else {
                row.push("–".to_owned());
                continue;
            };
            let mut said: Vec<String> =
                Some(answer).filter(|it| !it.is_empty()).map(str::to_owned).into_iter().collect();
            said.extend(decisions(&mut world.client));
            row.push(cell(&said, name, state(&world.client)));
        }
        table.row(row);
    }
    table.check();
}
