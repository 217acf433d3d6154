mod model;
mod table;

use std::net::SocketAddr;
use std::num::NonZeroU32;

use bytes::Bytes;

use super::*;
use crate::config::{ConfigBuilder, Protocol, maintenance};
use crate::endpoint::Endpoint;
use crate::handshake::OptIn;
use crate::mode::Mode;
use crate::request::{Class, Request};
use crate::tests::accepted_handshake;
use crate::timer::epoch;

const SECOND: Duration = Duration::from_secs(1);

fn config() -> Arc<Config> {
    Arc::new(Config::builder(Endpoint::parse("127.0.0.1", 6379).unwrap()).build().unwrap())
}

/// A connection whose handshake is done.
fn ready() -> Connection {
    ready_by(&config())
}

fn ready_by(config: &Arc<Config>) -> Connection {
    let mut connection =
        Connection::new(config, Probe::OptIn, &Peer::from(SocketAddr::from(([127, 0, 0, 1], 6379))));
    assert!(connection.poll_transmit(&mut WriteBuffer::new()));
    accepted_handshake().into_iter().for_each(|frame| connection.handle_frame(frame));
    match connection.poll_event() {
        Some(ConnectionEvent::Ready(negotiated)) => assert_eq!(negotiated.opt_in, OptIn::Accepted),
        other => panic!("{other:?}"),
    }
    connection
}

fn accepted(now: Instant, id: u32, request: Request) -> Accepted {
    Accepted::new(now, RequestId::from_parts(id, 0), request, Some(3 * SECOND), None)
}

fn request(text: &str, replies: u32) -> Request {
    Request::raw(Bytes::copy_from_slice(text.as_bytes()), NonZeroU32::new(replies).unwrap())
}

fn enqueue(connection: &mut Connection, now: Instant, id: u32, request: Request) -> Ticket {
    connection.enqueue(accepted(now, id, request)).unwrap()
}

fn transmit(connection: &mut Connection) -> Vec<u8> {
    let mut buffer = WriteBuffer::new();
    while connection.poll_transmit(&mut buffer) {}
    buffer.chunk().to_vec()
}

/// The events of the connection, one short word for each.
fn said(connection: &mut Connection) -> Vec<String> {
    std::iter::from_fn(|| connection.poll_event())
        .map(|event| match event {
            ConnectionEvent::Completed { id, outcome: Ok(replies) } => {
                let words: Vec<_> = replies.iter().map(|reply| reply.as_int().unwrap().to_string()).collect();
                format!("{}={}", id.index(), words.join(","))
            }
            ConnectionEvent::Completed { id, outcome: Err(error) } => {
                format!("{}!{:?}", id.index(), error.delivery())
            }
            ConnectionEvent::Returned { accepted } => {
                format!("{}<{:?}", accepted.id.index(), accepted.delivery())
            }
            ConnectionEvent::Refused(refusal) => format!("refused:{refusal}"),
            ConnectionEvent::Notified { notification, .. } => notification.kind().to_string(),
            ConnectionEvent::Pushed(_) => "push".into(),
            ConnectionEvent::Malformed(_) => "malformed".into(),
            ConnectionEvent::Drained => "drained".into(),
            ConnectionEvent::Failed(cause) => format!("failed:{cause:?}"),
            other => format!("{other:?}"),
        })
        .collect()
}

#[test]
fn requests_are_written_together_and_answered_in_order() {
    let now = epoch();
    let mut connection = ready();
    enqueue(&mut connection, now, 1, request("a", 1));
    enqueue(&mut connection, now, 2, request("bb", 2));
    assert_eq!(transmit(&mut connection), b"abb");
    for reply in [10, 20, 21] {
        connection.handle_frame(Frame::Integer(reply));
    }
    assert_eq!(said(&mut connection), ["1=10", "2=20,21"]);
}

/// A push is told apart by its type, wherever it comes. PITFALL-43, PITFALL-44, RULE-30, RULE-31
#[test]
fn a_push_is_never_taken_for_a_reply() {
    let now = epoch();
    let mut connection = ready();
    enqueue(&mut connection, now, 1, request("a", 2));
    transmit(&mut connection);
    connection.handle_frame(Frame::Integer(1));
    connection.handle_frame(Frame::Push(vec![Frame::bulk("whatever"), Frame::Integer(9)]));
    connection.handle_frame(Frame::Push(vec![Frame::bulk("MIGRATING"), Frame::Integer(7)]));
    connection.handle_frame(Frame::Push(vec![Frame::bulk("MOVING")]));
    connection.handle_frame(Frame::Integer(2));
    assert_eq!(said(&mut connection), ["push", "MIGRATING", "malformed", "1=1,2"]);
    enqueue(&mut connection, now, 2, request("b", 1));
    transmit(&mut connection);
    let whatever = Frame::Push(vec![Frame::bulk("whatever"), Frame::Integer(9)]);
    connection.handle_frame(whatever.clone());
    connection.handle_frame(Frame::Attribute { attributes: Vec::new(), value: Box::new(whatever) });
    connection.handle_frame(Frame::Integer(3));
    assert_eq!(said(&mut connection), ["push", "push", "2=3"]);
}

/// The connection swallows the replies of a cancelled request in their turn. INV-02
#[test]
fn a_cancelled_request_keeps_its_place() {
    let now = epoch();
    let mut connection = ready();
    let first = enqueue(&mut connection, now, 1, request("a", 2));
    enqueue(&mut connection, now, 2, request("b", 1));
    transmit(&mut connection);
    let unsent = enqueue(&mut connection, now, 3, request("c", 1));
    enqueue(&mut connection, now, 4, request("d", 1));
    assert!(connection.cancel(first));
    assert!(connection.cancel(unsent));
    assert!(!connection.cancel(unsent), "it is gone");
    assert_eq!(transmit(&mut connection), b"d", "what was not written never is");
    for reply in [10, 11, 20, 40] {
        connection.handle_frame(Frame::Integer(reply));
    }
    assert_eq!(said(&mut connection), ["2=20", "4=40"]);
}

/// A request that was written, and that nobody waits for any more, is counted until its last reply is in. One that was not written is
/// gone, and what the connection sends by itself is no request. RULE-178
#[test]
fn what_nobody_waits_for_is_counted_until_it_is_answered() {
    let now = epoch();
    let mut connection = ready();
    connection.opt_in(resp3_codec::cmd("ASK"));
    transmit(&mut connection);
    let written = enqueue(&mut connection, now, 1, request("a", 2));
    transmit(&mut connection);
    let unsent = enqueue(&mut connection, now, 2, request("b", 1));
    assert_eq!((connection.requests(), connection.abandoned()), (3, 0));
    connection.cancel(written);
    connection.cancel(unsent);
    assert_eq!((connection.requests(), connection.abandoned()), (2, 1));
    connection.handle_frame(Frame::simple("OK"));
    connection.handle_frame(Frame::Integer(1));
    assert_eq!(connection.abandoned(), 1, "one reply is to come");
    connection.handle_frame(Frame::Integer(2));
    assert_eq!((connection.requests(), connection.abandoned()), (0, 0));
}

/// AUTH overtakes requests that are not written yet. Afterwards each request is still found by its ticket. RULE-300
#[test]
fn a_request_that_auth_has_overtaken_is_cancelled() {
    let now = epoch();
    for cancelled in 0..2 {
        let mut connection = ready();
        let tickets = [1, 2].map(|id| enqueue(&mut connection, now, id, request("a", 1)));
        connection.authenticate(&Credentials::new(None, "new"));
        transmit(&mut connection);
        connection.cancel(tickets[cancelled]);
        assert_eq!((connection.requests(), connection.abandoned()), (3, 1));
        connection.handle_frame(Frame::simple("OK"));
        for reply in [1, 2] {
            connection.handle_frame(Frame::Integer(reply));
        }
        let answered = ["2=2", "1=1"][cancelled];
        assert_eq!(said(&mut connection), ["Authenticated(Ok(()))", answered]);
    }
}

/// Every refusal in reply to a request is told, also of one that nobody waits for and of one that is sent again; what the server
/// says to the connection's own questions is not one. RULE-153
#[test]
fn refusals_are_told_whoever_has_asked() {
    let now = epoch();
    let mut connection = ready();
    let count = |connection: &mut Connection| {
        let events = std::iter::from_fn(|| connection.poll_event());
        events.filter(|event| matches!(event, ConnectionEvent::Refused(_))).count()
    };
    let refusal = || Frame::error("READONLY You can't write against a read only replica.");
    enqueue(&mut connection, now, 1, request("a", 2));
    let given_up = enqueue(&mut connection, now, 2, request("b", 1));
    transmit(&mut connection);
    connection.cancel(given_up);
    connection.handle_frame(Frame::Integer(1));
    connection.handle_frame(refusal());
    assert_eq!(count(&mut connection), 1, "one of a pipeline");
    connection.handle_frame(refusal());
    assert_eq!(count(&mut connection), 1, "of a request that was given up");

    enqueue(&mut connection, now, 3, request("c", 1));
    transmit(&mut connection);
    connection.handle_frame(Frame::error("EXECABORT Transaction discarded because of: READONLY no"));
    assert_eq!(count(&mut connection), 1, "of a transaction");
    connection.retime(Some(SECOND));
    enqueue(&mut connection, now, 4, request("d", 1));
    transmit(&mut connection);
    connection.handle_frame(refusal());
    assert_eq!(count(&mut connection), 1, "of a request that is sent again");
    connection.opt_in(resp3_codec::cmd("CLIENT"));
    transmit(&mut connection);
    connection.handle_frame(Frame::error("LOADING Redis is loading the dataset in memory"));
    assert_eq!(count(&mut connection), 0, "of the opt-in");
}

/// AUTH goes behind what was written and before what was not, without waiting for a pause: a connection that is always busy gets
/// it, too. RULE-221
#[test]
fn auth_goes_between_two_requests() {
    let now = epoch();
    let mut connection = ready();
    enqueue(&mut connection, now, 1, request("a", 2));
    assert_eq!(transmit(&mut connection), b"a");
    enqueue(&mut connection, now, 2, request("b", 1));
    connection.authenticate(&Credentials::new(Some("ann"), "first"));
    connection.authenticate(&Credentials::new(Some("ann"), "second"));
    let auth = resp3_codec::cmd("AUTH").arg("ann").arg("second").into_bytes();
    assert_eq!(transmit(&mut connection), [&auth[..], b"b"].concat());
    for frame in [Frame::Integer(10), Frame::Integer(11), Frame::simple("OK"), Frame::Integer(20)] {
        connection.handle_frame(frame);
    }
    assert_eq!(said(&mut connection), ["1=10,11", "Authenticated(Ok(()))", "2=20"]);
    assert!(!connection.has_unsent());
}

/// A link that dies at AUTH is like any other: what was behind it may have run, and AUTH itself ends with the link. RULE-222
#[test]
fn auth_ends_with_its_connection() {
    let now = epoch();
    let mut connection = ready();
    connection.authenticate(&Credentials::new(None, "secret"));
    assert!(connection.has_unsent());
    assert!(!format!("{connection:?}").contains("secret"), "{connection:?}");
    transmit(&mut connection);
    enqueue(&mut connection, now, 1, request("a", 1));
    connection.handle_closed(CloseCause::ByServer);
    assert_eq!(said(&mut connection), ["1<NotSent"]);
    connection.authenticate(&Credentials::new(None, "other"));
    assert!(!connection.has_unsent() && transmit(&mut connection).is_empty());
}

#[test]
fn a_timeout_says_whether_the_request_may_have_run() {
    let now = epoch();
    let mut connection = ready();
    enqueue(&mut connection, now, 1, request("a", 1));
    transmit(&mut connection);
    enqueue(&mut connection, now, 2, request("b", 1));
    connection.handle_timeout(now + 2 * SECOND);
    assert!(said(&mut connection).is_empty(), "too early is nothing");
    assert_eq!(connection.poll_timeout(), Some(now + 3 * SECOND));
    connection.handle_timeout(now + 3 * SECOND);
    assert_eq!(said(&mut connection), ["1!Unknown", "2!NotSent"]);
    assert_eq!(connection.pipeline.poll_timeout(), None);
    connection.handle_frame(Frame::Integer(1));
    assert!(said(&mut connection).is_empty(), "the late reply is swallowed");
}

/// Windows extend timeouts and never shorten them, and leave those alone that a caller chose. INV-08, PITFALL-11,
/// PITFALL-23, PITFALL-41, RULE-51, RULE-52, RULE-53, RULE-54
#[test]
fn a_window_extends_deadlines_in_flight_and_closing_shortens_none() {
    let now = epoch();
    let mut connection = ready();
    enqueue(&mut connection, now, 1, request("a", 1));
    transmit(&mut connection);
    enqueue(&mut connection, now, 2, request("b", 1));
    enqueue(&mut connection, now, 3, request("c", 1).timeout(2 * SECOND));
    let forever = Accepted::new(now, RequestId::from_parts(4, 0), request("d", 1), None, None);
    connection.enqueue(forever).unwrap();
    connection.retime(Some(10 * SECOND));
    enqueue(&mut connection, now, 5, request("e", 1));
    connection.retime(None);
    enqueue(&mut connection, now, 6, request("f", 1));
    connection.handle_timeout(now + 2 * SECOND);
    assert_eq!(said(&mut connection), ["3!NotSent"], "an explicit timeout is the caller's");
    connection.handle_timeout(now + 9 * SECOND);
    assert_eq!(said(&mut connection), ["6!NotSent"], "accepted after the window");
    connection.handle_timeout(now + 10 * SECOND);
    assert_eq!(said(&mut connection), ["1!Unknown", "2!NotSent", "5!NotSent"]);
    assert_eq!(connection.pipeline.poll_timeout(), None, "infinite stays infinite");
}

/// A relaxed timeout that is shorter than the configured one changes nothing. INV-08, RULE-50
#[test]
fn a_window_never_shortens() {
    let now = epoch();
    let mut connection = ready();
    enqueue(&mut connection, now, 1, request("a", 1));
    connection.retime(Some(SECOND));
    connection.handle_timeout(now + 2 * SECOND);
    assert!(said(&mut connection).is_empty());
}

/// RULE-64, RULE-68
#[test]
fn a_drain_gives_back_what_was_not_written_and_waits_for_the_rest() {
    let now = epoch();
    let mut connection = ready();
    enqueue(&mut connection, now, 1, request("a", 1));
    transmit(&mut connection);
    enqueue(&mut connection, now, 2, request("b", 1));
    enqueue(&mut connection, now, 3, request("c", 1));
    connection.drain();
    assert_eq!(said(&mut connection), ["2<NotSent", "3<NotSent"]);
    assert!(connection.enqueue(accepted(now, 4, request("d", 1))).is_err());
    assert!(transmit(&mut connection).is_empty());
    connection.handle_frame(Frame::Integer(1));
    assert_eq!(said(&mut connection), ["1=1", "drained"]);
}

/// A request comes back from a lost link only if it cannot have run, or may run twice. INV-05, PITFALL-25, RULE-86
#[test]
fn a_lost_link_returns_only_what_may_be_repeated() {
    let now = epoch();
    let mut connection = ready();
    enqueue(&mut connection, now, 1, request("w", 1));
    enqueue(&mut connection, now, 2, request("r", 1).replay(Replay::Idempotent));
    transmit(&mut connection);
    enqueue(&mut connection, now, 3, request("w", 1));
    enqueue(&mut connection, now, 4, request("n", 1).replay(Replay::Never));
    connection.handle_closed(CloseCause::ByServer);
    assert_eq!(said(&mut connection), ["1!Unknown", "2<Unknown", "3<NotSent", "4!NotSent"]);
    connection.handle_closed(CloseCause::ByServer);
    connection.handle_frame(Frame::Integer(1));
    connection.handle_timeout(now + 60 * SECOND);
    assert!(said(&mut connection).is_empty(), "after the end nothing happens");
}

/// The second link that it has cost is the last but one: a request that may run twice comes back twice and then fails with the cause.
/// RULE-143
#[test]
fn a_request_comes_back_from_two_lost_links() {
    let now = epoch();
    let mut coming = accepted(now, 1, request("r", 1).replay(Replay::Idempotent));
    for _ in 0..2 {
        let mut connection = ready();
        connection.enqueue(coming).unwrap();
        transmit(&mut connection);
        connection.handle_closed(CloseCause::ByServer);
        let Some(ConnectionEvent::Returned { accepted }) = connection.poll_event() else {
            panic!("it comes back")
        };
        coming = *accepted;
        // What was not written has cost nothing.
        let mut unwritten = ready();
        unwritten.enqueue(coming).unwrap();
        unwritten.handle_closed(CloseCause::ByServer);
        let Some(ConnectionEvent::Returned { accepted }) = unwritten.poll_event() else {
            panic!("it comes back")
        };
        coming = *accepted;
    }
    let mut connection = ready();
    connection.enqueue(coming).unwrap();
    transmit(&mut connection);
    connection.handle_closed(CloseCause::ByServer);
    assert_eq!(said(&mut connection), ["1!Unknown"]);
}

/// Bytes that we cannot read belong to the oldest request that is unanswered: it fails, and only those behind it come back. RULE-143
#[test]
fn a_request_whose_reply_cannot_be_read_is_not_repeated() {
    let now = epoch();
    let malformed = CloseCause::Protocol(ProtocolError::Malformed);
    let read = |text| request(text, 1).replay(Replay::Idempotent);
    let mut connection = ready();
    for (id, text) in [(1, "a"), (2, "b"), (3, "c")] {
        enqueue(&mut connection, now, id, read(text));
    }
    transmit(&mut connection);
    connection.handle_frame(Frame::Integer(1));
    connection.handle_closed(malformed);
    assert_eq!(said(&mut connection), ["1=1", "2!Unknown", "3<Unknown"]);

    let mut connection = ready();
    let given_up = enqueue(&mut connection, now, 1, read("a"));
    enqueue(&mut connection, now, 2, read("b"));
    transmit(&mut connection);
    connection.cancel(given_up);
    connection.handle_closed(malformed);
    assert_eq!(said(&mut connection), ["2<Unknown"], "nobody waits for the one that did it");
}

/// A server before Redis 7.2 says `-UNBLOCKED` of what it holds up, and answers it once more: the next reply is not known to be that of the next request.
/// So the caller is told, the connection ends, and those behind it follow their replay rules. So it is where the caller has left, inside a batch, and where
/// AUTH was unblocked; a stream that was deleted is an answer, and so is what a command that blocks has its sender prove. RULE-171, INV-02
#[test]
fn a_request_that_was_unblocked_is_the_last_on_its_connection() {
    let now = epoch();
    let unblocked = || Frame::error("UNBLOCKED client unblocked via CLIENT UNBLOCK");
    let failed = format!("failed:{:?}", CloseCause::Protocol(ProtocolError::Unblocked));
    let with_reads = |first: Request| {
        let mut connection = ready();
        let ticket = enqueue(&mut connection, now, 1, first);
        enqueue(&mut connection, now, 2, request("b", 1).replay(Replay::Idempotent));
        enqueue(&mut connection, now, 3, request("c", 1));
        transmit(&mut connection);
        (connection, ticket)
    };

    let (mut connection, _) = with_reads(request("a", 1));
    connection.handle_frame(unblocked());
    match connection.poll_event() {
        Some(ConnectionEvent::Completed { outcome: Ok(replies), .. }) => {
            assert_eq!(replies[..], [unblocked()])
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(said(&mut connection), [failed.as_str()]);
    connection.handle_closed(CloseCause::Protocol(ProtocolError::Unblocked));
    assert_eq!(said(&mut connection), ["2<Unknown", "3!Unknown"]);

    let (mut connection, ticket) = with_reads(request("a", 1));
    connection.cancel(ticket);
    connection.handle_frame(unblocked());
    assert_eq!(said(&mut connection), [failed.as_str()], "nobody waits for it");

    let (mut connection, _) = with_reads(request("aa", 2));
    connection.handle_frame(unblocked());
    assert_eq!(said(&mut connection), [failed.as_str()], "the rest of the batch may be answered by anything");

    let mut connection = ready();
    connection.authenticate(&Credentials::new(None, "x"));
    transmit(&mut connection);
    connection.handle_frame(unblocked());
    let events = said(&mut connection);
    assert!(
        events.len() == 2 && events[0].starts_with("Authenticated(Err") && events[1] == failed,
        "{events:?}"
    );

    for (first, reply) in [
        (request("a", 1), Frame::error("UNBLOCKED the stream key no longer exists")),
        (request("a", 1), Frame::error("UNBLOCK")),
        (request("a", 1), Frame::bulk("UNBLOCKED x")),
        (Request::apart(Bytes::from_static(b"a"), None), unblocked()),
        (Request::probe(None), unblocked()),
    ] {
        let (mut connection, _) = with_reads(first);
        connection.handle_frame(reply);
        assert!(matches!(connection.poll_event(), Some(ConnectionEvent::Completed { .. })));
        assert!(connection.poll_event().is_none());
    }
}

/// Over TLS each part costs a record, and so few are not worth one; large parts are as without. RULE-230
#[test]
fn encrypted_replies_are_handed_in_by_larger_parts() {
    let endpoint = Endpoint::parse("127.0.0.1", 6379).unwrap();
    let encrypted = Arc::new(Config::builder(endpoint).encrypted_by_connector().build().unwrap());
    assert_eq!([4, 16, 128].map(|requests| batch_by(&config(), requests)), [2, 4, 32]);
    assert_eq!([4, 16, 128].map(|requests| batch_by(&encrypted, requests)), [8, 8, 32]);
}

/// The callers' next requests go to all nodes of a cluster: each part of the replies of one node would cost a write to every node. RULE-389
#[cfg(feature = "driver")]
#[test]
fn replies_of_a_node_of_a_cluster_are_handed_in_at_once() {
    let endpoint = Endpoint::parse("127.0.0.1", 6379).unwrap();
    let settings = Config::builder(endpoint.clone()).for_node(endpoint, None);
    let node = Arc::new(settings.build().unwrap());
    assert_eq!([4, 16, 128].map(|requests| batch_by(&node, requests)), [4, 16, 64]);
}

/// How many replies to so many requests are handed in at a time.
fn batch_by(config: &Arc<Config>, requests: u32) -> usize {
    let mut connection = ready_by(config);
    for id in 0..requests {
        enqueue(&mut connection, epoch(), id, request("x", 1));
    }
    transmit(&mut connection);
    connection.batch()
}

/// A batch that was written in part counts as written, and is not repeated even if it only reads. PITFALL-02, RULE-87
#[test]
fn an_atomic_batch_is_never_repeated_once_written() {
    let now = epoch();
    let mut connection = ready();
    let batch = crate::request::Pipeline::atomic().command(resp3_codec::cmd("GET").arg("k"));
    let batch = batch.into_request().unwrap().unwrap().replay(Replay::Idempotent);
    enqueue(&mut connection, now, 1, batch);
    transmit(&mut connection);
    connection.handle_closed(CloseCause::ByServer);
    assert_eq!(said(&mut connection), ["1!Unknown"]);
}

/// A link that dies at the opt-in takes no reply along. RULE-19
#[test]
fn an_opt_in_waits_until_nothing_is_under_way() {
    let now = epoch();
    let mut connection = ready();
    enqueue(&mut connection, now, 1, request("a", 1));
    assert_eq!(transmit(&mut connection), b"a");
    connection.opt_in(resp3_codec::cmd("ASK"));
    assert!(transmit(&mut connection).is_empty());
    connection.handle_frame(Frame::Integer(10));
    assert_eq!(transmit(&mut connection), b"*1\r\n$3\r\nASK\r\n");
    enqueue(&mut connection, now, 2, request("b", 1));
    assert_eq!(transmit(&mut connection), b"b", "nobody waits for its answer");
    connection.handle_frame(Frame::simple("OK"));
    connection.handle_frame(Frame::Integer(20));
    assert_eq!(said(&mut connection), ["1=10", "OptedIn(Accepted)", "2=20"]);
}

/// What was only queued, in a transaction that is open on the link, is not accepted. RULE-229
#[test]
fn queued_is_no_acceptance() {
    let mut connection = ready();
    connection.opt_in(resp3_codec::cmd("ASK"));
    transmit(&mut connection);
    connection.authenticate(&Credentials::new(None, "new"));
    transmit(&mut connection);
    connection.handle_frame(Frame::simple("QUEUED"));
    connection.handle_frame(Frame::simple("QUEUED"));
    assert_eq!(said(&mut connection), ["OptedIn(Unclear(QUEUED))", "Authenticated(Err(QUEUED))"]);
}

/// A connection that speaks RESP2 cannot be told of anything, and one that drains or is closed need not be.
#[test]
fn only_a_connection_that_serves_in_resp3_opts_in() {
    type End = fn(&mut Connection);
    let ends: [End; 2] = [Connection::drain, |connection| connection.handle_closed(CloseCause::ByServer)];
    for end in ends {
        let mut connection = ready();
        end(&mut connection);
        connection.opt_in(resp3_codec::cmd("ASK"));
        assert!(transmit(&mut connection).is_empty() && !connection.has_unsent());
    }

    let maintenance = maintenance::Config::builder().mode(Mode::Disabled).build().unwrap();
    let builder = Config::builder(Endpoint::parse("127.0.0.1", 6379).unwrap()).maintenance(maintenance);
    let config = Arc::new(builder.protocol(Protocol::Resp2).build().unwrap());
    let peer = Peer::from(SocketAddr::from(([127, 0, 0, 1], 6379)));
    let mut connection = Connection::new(&config, Probe::Skip, &peer);
    transmit(&mut connection);
    for _ in 0..8 {
        if !connection.is_serving() {
            connection.handle_frame(Frame::simple("OK"));
        }
    }
    assert!(connection.is_serving());
    connection.opt_in(resp3_codec::cmd("ASK"));
    assert!(transmit(&mut connection).is_empty());
}

#[test]
fn a_reply_without_a_request_ends_the_link() {
    let mut connection = ready();
    connection.handle_frame(Frame::Integer(1));
    assert_eq!(said(&mut connection), ["failed:Protocol(UnexpectedReply)"]);
}

/// A command that was postponed may be answered a second time before the PING behind it is written: that is the answer, and the PING is not
/// written any more. Any other request that is not written has no reply. RULE-293
#[test]
fn a_second_reply_comes_before_the_probe_is_written() {
    let now = epoch();
    let mut connection = ready();
    enqueue(&mut connection, now, 1, request("pop", 1));
    transmit(&mut connection);
    enqueue(&mut connection, now, 2, Request::probe(None));
    enqueue(&mut connection, now, 3, request("a", 1));
    connection.handle_frame(Frame::Integer(10));
    connection.handle_frame(Frame::Integer(20));
    assert_eq!(said(&mut connection), ["1=10", "2=20"]);
    assert_eq!(transmit(&mut connection), b"a");
    connection.handle_frame(Frame::Integer(1));
    assert_eq!(said(&mut connection), ["3=1"]);
    enqueue(&mut connection, now, 4, request("b", 1));
    connection.handle_frame(Frame::Integer(1));
    assert_eq!(said(&mut connection), ["failed:Protocol(UnexpectedReply)"]);
}

/// The second answer may also come when the PING is written: the PONG is still to come then, and is nobody's. RULE-293
#[test]
fn a_second_reply_comes_before_the_pong() {
    let now = epoch();
    let mut connection = ready();
    enqueue(&mut connection, now, 1, request("pop", 1));
    enqueue(&mut connection, now, 2, Request::probe(None));
    enqueue(&mut connection, now, 3, request("a", 1));
    transmit(&mut connection);
    for frame in [Frame::Integer(10), Frame::Integer(20), Frame::simple("PONG"), Frame::Integer(30)] {
        connection.handle_frame(frame);
    }
    assert_eq!(said(&mut connection), ["1=10", "2=20", "3=30"]);
}

/// A link that owes a reply counts as dead after three timeouts without a byte, whether anybody still waits or not. It says so
/// once, and gives back what was not written. RULE-105, RULE-140
#[test]
fn a_link_that_owes_a_reply_and_is_silent_counts_as_dead() {
    let now = epoch();
    let mut connection = ready();
    let dropped = enqueue(&mut connection, now, 1, request("a", 1));
    transmit(&mut connection);
    connection.note_time(now);
    assert!(connection.cancel(dropped));
    enqueue(&mut connection, now + 8 * SECOND, 2, request("b", 1));
    connection.handle_timeout(now + 8 * SECOND);
    assert!(said(&mut connection).is_empty(), "not yet");
    assert_eq!(connection.poll_timeout(), Some(now + 9 * SECOND));
    connection.handle_timeout(now + 9 * SECOND);
    assert_eq!(said(&mut connection), ["Silent", "2<NotSent"]);
    assert!(connection.enqueue(accepted(now, 3, request("c", 1))).is_err());
    connection.handle_timeout(now + 60 * SECOND);
    assert!(said(&mut connection).is_empty(), "it is said once");
    assert_eq!(connection.poll_timeout(), None);
    connection.handle_frame(Frame::Integer(1));
    assert_eq!(said(&mut connection), ["Heard"], "nobody waits for the reply");
    assert!(connection.enqueue(accepted(now, 3, request("c", 1))).is_ok());
}

/// Silence is counted from the last byte, and from the write on a link that owed nothing; a window gives three relaxed timeouts,
/// and `None` is for ever. RULE-105, RULE-141
#[test]
fn what_counts_as_silence() {
    let now = epoch();
    let patience = |configure: fn(ConfigBuilder) -> ConfigBuilder, relaxed| {
        let builder = Config::builder(Endpoint::parse("127.0.0.1", 6379).unwrap());
        let mut connection = ready_by(&Arc::new(configure(builder).build().unwrap()));
        connection.handle_timeout(now);
        let forever = Accepted::new(now, RequestId::from_parts(1, 0), request("a", 2), None, None);
        connection.enqueue(forever).unwrap();
        assert_eq!(connection.poll_timeout(), None, "nothing is owed");
        transmit(&mut connection);
        connection.note_time(now + SECOND);
        connection.retime(relaxed);
        let first = connection.poll_timeout().map(|at| at - now - SECOND);
        connection.handle_received();
        connection.note_time(now + 3 * SECOND);
        assert_eq!(connection.poll_timeout().map(|at| at - now - 3 * SECOND), first);
        first
    };
    assert_eq!(patience(|builder| builder, None), Some(9 * SECOND));
    assert_eq!(patience(|builder| builder.command_timeout(None), None), Some(10 * SECOND));
    assert_eq!(patience(|builder| builder.dead_link_timeout(Some(SECOND)), None), Some(SECOND));
    assert_eq!(patience(|builder| builder.dead_link_timeout(None), Some(SECOND)), None);
    assert_eq!(patience(|builder| builder, Some(10 * SECOND)), Some(30 * SECOND));
    assert_eq!(patience(|builder| builder, Some(SECOND)), Some(9 * SECOND), "a window shortens nothing");
}

/// What comes without being asked for ends the silence as a reply does: the link works, and the reply is late. RULE-141
#[test]
fn a_push_is_a_sign_of_life() {
    let now = epoch();
    let mut connection = ready();
    let forever = Accepted::new(now, RequestId::from_parts(1, 0), request("a", 1), None, None);
    connection.enqueue(forever).unwrap();
    transmit(&mut connection);
    connection.note_time(now);
    connection.handle_timeout(now + 8 * SECOND);
    connection.handle_frame(Frame::Push(vec![Frame::bulk("invalidate"), Frame::Null]));
    assert_eq!(said(&mut connection), ["push"]);
    connection.note_time(now + 8 * SECOND);
    connection.handle_timeout(now + 16 * SECOND);
    assert!(said(&mut connection).is_empty() && connection.is_serving());
    connection.handle_timeout(now + 17 * SECOND);
    assert_eq!(said(&mut connection), ["Silent"]);
}

/// Silence is counted from the last reply, however many are owed. RULE-105
#[test]
fn a_link_that_answers_is_not_silent() {
    let now = epoch();
    let mut connection = ready();
    for id in [1, 2] {
        let forever = Accepted::new(now, RequestId::from_parts(id, 0), request("a", 1), None, None);
        connection.enqueue(forever).unwrap();
    }
    transmit(&mut connection);
    connection.note_time(now);
    connection.handle_frame(Frame::Integer(1));
    assert_eq!(said(&mut connection), ["1=1"]);
    connection.note_time(now + 8 * SECOND);
    connection.handle_timeout(now + 16 * SECOND);
    assert!(said(&mut connection).is_empty() && connection.is_serving());
    connection.handle_timeout(now + 17 * SECOND);
    assert_eq!(said(&mut connection), ["Silent"]);
}

/// A dead link that drains is kept for those who still wait, and not for replies that nobody wants. RULE-142
#[test]
fn a_dead_link_drains_while_somebody_waits() {
    let now = epoch();
    let dead = || {
        let mut connection = ready();
        let forever = Accepted::new(now, RequestId::from_parts(1, 0), request("a", 1), None, None);
        let patient = connection.enqueue(forever).unwrap();
        enqueue(&mut connection, now, 2, request("b", 1));
        transmit(&mut connection);
        connection.note_time(now);
        connection.handle_timeout(now + 9 * SECOND);
        assert_eq!(said(&mut connection), ["2!Unknown", "Silent"]);
        connection.drain();
        assert!(said(&mut connection).is_empty(), "somebody waits");
        (connection, patient)
    };
    let (mut connection, patient) = dead();
    connection.cancel(patient);
    assert_eq!(said(&mut connection), ["failed:Silent"]);

    let (mut connection, _) = dead();
    connection.handle_frame(Frame::Integer(1));
    assert_eq!(said(&mut connection), ["1=1"], "it drains as any other from here on");
    connection.handle_frame(Frame::Integer(2));
    assert_eq!(said(&mut connection), ["drained"]);
}

/// What is overdue when the socket takes bytes is not written. RULE-146
#[test]
fn an_overdue_request_is_not_written() {
    let now = epoch();
    let mut connection = ready();
    enqueue(&mut connection, now, 1, request("a", 1).timeout(SECOND));
    enqueue(&mut connection, now, 2, request("b", 1));
    connection.handle_writable(now + SECOND);
    assert_eq!(said(&mut connection), ["1!NotSent"]);
    assert_eq!(transmit(&mut connection), b"b");
}

/// No password, no text of a handshake error and no argument shows in the debug output of a connection and of what it
/// writes. PITFALL-35, RULE-06
#[test]
fn debug_output_shows_nothing_of_what_is_written_and_of_a_refusal() {
    let endpoint = Endpoint::parse("127.0.0.1", 6379).unwrap();
    let config = Config::builder(endpoint).credentials(Some("ann"), "sesame").build().unwrap();
    let peer = Peer::from(SocketAddr::from(([127, 0, 0, 1], 6379)));
    let mut connection = Connection::new(&Arc::new(config), Probe::OptIn, &peer);
    let mut written = WriteBuffer::new();
    let mut shown = format!("{connection:?}");
    while connection.poll_transmit(&mut written) {}
    assert!(written.chunk().windows(6).any(|bytes| bytes == b"sesame"), "the password is written");
    connection.handle_frame(Frame::error("WRONGPASS sesame"));
    shown += &format!("{written:?} {connection:?} {:?}", connection.poll_event());
    assert!(!shown.contains("sesame"), "{shown}");

    let mut connection = ready();
    enqueue(&mut connection, epoch(), 1, request("AUTH sesame", 1));
    shown = format!("{connection:?}");
    while connection.poll_transmit(&mut written) {}
    shown += &format!("{written:?} {connection:?}");
    assert!(!shown.contains("sesame"), "{shown}");
}
