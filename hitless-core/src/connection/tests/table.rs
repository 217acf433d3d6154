//! The table of what a connection does in each state.

use super::*;
use crate::tests::{Table, cell};

const LEGEND: &str = "\
Found out by a test: what the connection says, and the state that follows. `·`: nothing happens. *unsent*: a request waits to be \
written; *written*: one waits for its reply. Draining: it was written before. A closed connection has given its requests back \
or failed them when it was closed.";

const STATES: [&str; 6] = ["handshake", "idle", "unsent", "written", "draining", "closed"];

/// A connection in the state of that name, and its request.
fn in_state(name: &str, now: Instant) -> (Connection, Option<Ticket>) {
    let mut connection = ready();
    let mut ticket = None;
    match name {
        "handshake" => {
            let peer = Peer::from(SocketAddr::from(([127, 0, 0, 1], 6379)));
            connection = Connection::new(&config(), Probe::OptIn, &peer);
            transmit(&mut connection);
        }
        "idle" => {}
        "unsent" => ticket = Some(enqueue(&mut connection, now, 1, request("a", 1))),
        "written" | "draining" | "closed" => {
            ticket = Some(enqueue(&mut connection, now, 1, request("a", 1)));
            transmit(&mut connection);
            match name {
                "draining" => connection.drain(),
                "closed" => connection.handle_closed(CloseCause::ByServer),
                _ => {}
            }
            said(&mut connection);
        }
        other => panic!("{other}"),
    }
    assert_eq!(state(&connection), name);
    (connection, ticket)
}

fn state(connection: &Connection) -> &'static str {
    STATES[match connection.phase {
        Phase::Negotiating(_) => 0,
        Phase::Ready if connection.has_unsent() => 2,
        Phase::Ready => 1 + 2 * usize::from(connection.requests() > 0),
        Phase::Draining => 4,
        Phase::Closed => 5,
    }]
}

/// The events, without the requests that they concern.
fn words(connection: &mut Connection) -> Vec<String> {
    let word = |event: ConnectionEvent| match event {
        ConnectionEvent::Completed { outcome: Ok(_), .. } => "`Completed`".to_owned(),
        ConnectionEvent::Completed { outcome: Err(error), .. } => {
            format!("`Completed` ({:?})", error.delivery())
        }
        ConnectionEvent::Returned { accepted } => format!("`Returned` ({:?})", accepted.delivery()),
        ConnectionEvent::Deferred { .. } => "`Deferred`".to_owned(),
        ConnectionEvent::Refused(_) => "`Refused`".to_owned(),
        ConnectionEvent::Notified { .. } => "`Notified`".to_owned(),
        ConnectionEvent::Malformed(_) => "`Malformed`".to_owned(),
        ConnectionEvent::Pushed(_) => "`Pushed`".to_owned(),
        ConnectionEvent::Drained => "`Drained`".to_owned(),
        ConnectionEvent::Failed(_) => "`Failed`".to_owned(),
        ConnectionEvent::Ready(_) => "`Ready`".to_owned(),
        ConnectionEvent::HandshakeFailed(_) => "`HandshakeFailed`".to_owned(),
        other => format!("{other:?}"),
    };
    std::iter::from_fn(|| connection.poll_event()).map(word).collect()
}

type Fact = fn(&mut Connection, Option<Ticket>, Instant) -> Option<&'static str>;

const FACTS: [(&str, Fact); 15] = [
    ("`enqueue`", |connection, _, now| match connection.enqueue(accepted(now, 2, request("b", 1))) {
        Ok(_) => Some("taken"),
        Err(_) => Some("given back"),
    }),
    ("`cancel`", |connection, ticket, _| {
        let before = connection.requests();
        let is_here = ticket.is_some_and(|ticket| connection.cancel(ticket));
        let word = if connection.requests() < before { "forgotten" } else { "its reply will be swallowed" };
        is_here.then_some(word)
    }),
    ("`poll_transmit`", |connection, _, _| (!transmit(connection).is_empty()).then_some("bytes")),
    ("the replies to a handshake", |connection, _, _| {
        connection.handle_frame(Frame::Map(vec![(Frame::bulk("proto"), Frame::Integer(3))]));
        (0..3).for_each(|_| connection.handle_frame(Frame::Simple(Bytes::from_static(b"OK"))));
        None
    }),
    ("a reply", |connection, _, _| {
        connection.handle_frame(Frame::Integer(1));
        None
    }),
    ("an error reply", |connection, _, _| {
        connection.handle_frame(Frame::error("ERR no"));
        None
    }),
    ("READONLY, in a window", |connection, _, _| {
        connection.retime(Some(10 * SECOND));
        connection.handle_frame(Frame::error("READONLY no"));
        None
    }),
    ("a notification", |connection, _, _| {
        connection.handle_frame(Frame::Push(vec![Frame::bulk("MIGRATING"), Frame::Integer(7)]));
        None
    }),
    ("one that makes no sense", |connection, _, _| {
        connection.handle_frame(Frame::Push(vec![Frame::bulk("MIGRATING")]));
        None
    }),
    ("any other push", |connection, _, _| {
        connection.handle_frame(Frame::Push(vec![Frame::bulk("message")]));
        None
    }),
    ("`handle_timeout`, too early", |connection, _, now| {
        connection.handle_timeout(now + 2 * SECOND);
        None
    }),
    ("`handle_timeout`", |connection, _, now| {
        connection.handle_timeout(now + 3 * SECOND);
        None
    }),
    ("`retime`", |connection, _, now| {
        connection.retime(Some(10 * SECOND));
        connection.poll_timeout().is_some_and(|at| at == now + 10 * SECOND).then_some("a later deadline")
    }),
    ("`drain`", |connection, _, _| {
        connection.drain();
        None
    }),
    ("`handle_closed`", |connection, _, _| {
        connection.handle_closed(CloseCause::ByServer);
        None
    }),
];

/// Every fact in every state. INV-11
#[test]
fn table_of_states_and_facts() {
    let head: Vec<&str> = std::iter::once("").chain(STATES).collect();
    let mut table = Table::new("connection.md", LEGEND, &head);
    let now = epoch();
    for (fact, happen) in FACTS {
        let mut row = vec![fact.to_owned()];
        for name in STATES {
            let (mut connection, ticket) = in_state(name, now);
            let answer = happen(&mut connection, ticket, now);
            let mut said: Vec<String> = answer.map(str::to_owned).into_iter().collect();
            said.extend(words(&mut connection));
            row.push(cell(&said, name, state(&connection)));
        }
        table.row(row);
    }
    table.check();
}
