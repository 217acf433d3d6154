//! The client as a connection of the `redis` crate: what is sent, what is waited for, and what an error says.

use hitless_conformance::server::{Fault, Rule};
use hitless_core::config::Protocol;
use redis::aio::ConnectionLike;
use redis::{AsyncCommands, ErrorKind, RedisError, RedisResult, RetryMethod, ServerErrorKind, Value};

use super::*;

fn delivery(error: &RedisError) -> Option<Delivery> {
    Delivery::of_redis_error(error)
}

/// A call that was begun and written, and is not answered.
fn begun<'a, T>(
    fixture: &mut Fixture,
    call: impl Future<Output = RedisResult<T>> + Send + 'a,
) -> std::pin::Pin<Box<dyn Future<Output = RedisResult<T>> + Send + 'a>> {
    let mut call = Box::pin(call);
    assert!(poll_once(call.as_mut()).is_pending());
    fixture.run();
    call
}

/// Typed commands, pipelines and transactions, over both protocols. RULE-195
#[test]
fn typed_commands_run_on_the_client() {
    for protocol in [Protocol::Resp3, Protocol::Resp2] {
        let mut fixture = fixture();
        let builder = builder(&fixture).protocol(protocol).database(3);
        let mut con = fixture.block_on(builder.connect()).unwrap();
        assert_eq!(con.get_db(), 3);
        let run = async {
            let _: () = con.set("k", 17).await?;
            let number: u8 = con.get("k").await?;
            let none: Option<String> = con.get("none").await?;
            assert_eq!((number, none), (17, None));
            let both: (u64, Vec<Option<u8>>) =
                redis::pipe().incr("n", 2).mget(&["k", "none"]).query_async(&mut con).await?;
            assert_eq!(both, (2, vec![Some(17), None]));
            let both: (u64, u64) =
                redis::pipe().atomic().incr("n", 1).incr("n", 1).query_async(&mut con).await?;
            assert_eq!(both, (3, 4));
            Ok::<_, RedisError>(())
        };
        fixture.block_on(run).unwrap();
    }
}

/// The last replies of those to the whole pipeline, errors in their places; the reply of EXEC says what became of the
/// transaction. RULE-194
#[test]
fn replies_to_pipelines_are_in_their_places() {
    let (mut fixture, mut con) = connected();
    let mut pipeline = redis::pipe();
    pipeline.cmd("RPUSH").arg("list").arg(1).cmd("INCR").arg("list").cmd("ECHO").arg("x");
    let all = fixture.block_on(con.req_packed_commands(&pipeline, 0, 3)).unwrap();
    assert_eq!((&all[0], &all[2]), (&Value::Int(1), &Value::BulkString(b"x".to_vec())));
    assert!(matches!(&all[1], Value::ServerError(error) if error.code() == "WRONGTYPE"), "{all:?}");
    let last = fixture.block_on(con.req_packed_commands(&pipeline, 2, 1)).unwrap();
    assert_eq!(last, [Value::BulkString(b"x".to_vec())]);

    let mut atomic = redis::pipe();
    atomic.atomic().cmd("INCR").arg("n").cmd("INCR").arg("list");
    let exec = fixture.block_on(con.req_packed_commands(&atomic, 3, 1)).unwrap();
    let [Value::Array(elements)] = &exec[..] else { panic!("{exec:?}") };
    assert!(matches!(&elements[..], [Value::Int(1), Value::ServerError(_)]), "{elements:?}");

    let mut aborted = redis::pipe();
    aborted.atomic().cmd("INCR").arg("n").cmd("NOSUCH");
    let error = fixture.block_on(aborted.query_async::<()>(&mut con)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Server(ServerErrorKind::ExecAbort));
    assert!(error.to_string().contains("NOSUCH"), "{error}");
    let n: u8 = fixture.block_on(con.get("n")).unwrap();
    assert_eq!(n, 1, "nothing of it ran");

    fixture.answer_nothing();
    let mut other = con.clone();
    let discarded = begun(&mut fixture, async { atomic.query_async::<Option<(u8, u8)>>(&mut other).await });
    fixture.say(b"+OK\r\n+QUEUED\r\n+QUEUED\r\n_\r\n");
    assert_eq!(fixture.block_on(discarded).unwrap(), None, "a discarded EXEC is nil");
}

/// A transaction of the `redis` crate watches and runs on a lease, and begins again when somebody else was there first. RULE-195,
/// RULE-209
#[test]
fn a_transaction_of_the_crate_runs_on_a_lease() {
    let (mut fixture, con) = connected();
    let tries = std::cell::Cell::new(0);
    let run = async {
        let mut other = con.clone();
        let _: () = other.set("n", 1).await?;
        let lease = con.lease().await.map_err(RedisError::from)?;
        let done: (u8,) = redis::aio::transaction_async(lease, &["n"], async |mut lease, mut pipe| {
            tries.set(tries.get() + 1);
            let n: u8 = lease.get("n").await?;
            if tries.get() == 1 {
                let _: () = other.clone().set("n", 10).await?;
            }
            pipe.set("n", n + 1).ignore().get("n").query_async(&mut lease).await
        })
        .await?;
        Ok::<_, RedisError>(done)
    };
    assert_eq!(fixture.block_on(run).unwrap(), (11,));
    assert_eq!((tries.get(), con.stats().leased), (2, 0), "nothing is lost, and the connection is returned");
}

/// A command without a reply returns at once, runs, and its reply is nobody else's. INV-02, RULE-196
#[test]
fn who_wants_no_reply_does_not_wait() {
    let (mut fixture, mut con) = connected();
    fixture.answer_nothing();
    let mut command = redis::cmd("SET");
    command.arg("k").arg("v").set_no_response(true);
    let done = poll_once(command.query_async::<Value>(&mut con));
    assert_eq!(done, Poll::Ready(Ok(Value::Nil)));
    let mut other = con.clone();
    let get = begun(&mut fixture, async { other.get::<_, String>("k").await });
    assert_eq!(fixture.received(), ["SET", "GET"], "it is not cancelled");
    fixture.say(b"+OK\r\n$1\r\nv\r\n");
    assert_eq!(fixture.block_on(get).unwrap(), "v");
    assert_eq!(con.stats().requests, 0);
}

/// A lease whose handles are dropped behind such commands goes to the next caller when they are answered, as it is. RULE-196
#[test]
fn who_wants_no_reply_may_drop_the_lease() {
    let mut fixture = fixture();
    let mut con = fixture.block_on(builder(&fixture).max_dedicated(1).connect()).unwrap();
    for _ in 0..20 {
        let mut lease = fixture.block_on(con.lease()).unwrap();
        for _ in 0..2 {
            let mut command = redis::cmd("INCR");
            command.arg("n").set_no_response(true);
            assert_eq!(poll_once(command.query_async::<Value>(&mut lease)), Poll::Ready(Ok(Value::Nil)));
        }
        drop(lease);
        assert_eq!(con.stats().leased, 1, "nothing is answered yet");
    }
    fixture.run();
    assert_eq!(con.stats().leased, 0);
    assert_eq!(fixture.block_on(con.get::<_, u8>("n")).unwrap(), 40);
    assert_eq!(fixture.dialled().len(), 2, "one for the pool, one that is lent");
}

/// What nobody waits for ends with the connection of its lease, and keeps no client: that ends with its last handle. RULE-196, INV-15
#[test]
fn who_wants_no_reply_keeps_nothing_alive() {
    for is_lost in [true, false] {
        let mut fixture = fixture();
        let con = fixture.block_on(builder(&fixture).max_dedicated(1).connect()).unwrap();
        let mut lease = fixture.block_on(con.lease()).unwrap();
        fixture.answer_nothing();
        let mut command = redis::cmd("INCR");
        command.arg("n").set_no_response(true);
        assert_eq!(poll_once(command.query_async::<Value>(&mut lease)), Poll::Ready(Ok(Value::Nil)));
        drop(lease);
        fixture.run();
        assert_eq!((con.stats().leased, fixture.received()), (1, vec!["INCR".to_owned()]));
        if is_lost {
            fixture.end();
            fixture.run();
            assert_eq!(con.stats().leased, 0);
        }
        drop(con);
        fixture.run();
        assert_nothing_is_left(&fixture);
    }
}

/// A command that blocks on a lease keeps it for nobody: dropped behind it, its connection is closed. RULE-196
#[test]
fn who_wants_no_reply_of_a_command_that_blocks_keeps_no_lease() {
    let mut fixture = fixture();
    let con = fixture.block_on(builder(&fixture).max_dedicated(1).connect()).unwrap();
    let mut lease = fixture.block_on(con.lease()).unwrap();
    let mut command = redis::cmd("BLPOP");
    command.arg("q").arg(0).set_no_response(true);
    assert_eq!(poll_once(command.query_async::<Value>(&mut lease)), Poll::Ready(Ok(Value::Nil)));
    drop(lease);
    fixture.run();
    assert_eq!(con.stats().leased, 0);
    drop(fixture.block_on(con.lease()).unwrap());
}

/// What the shared connection cannot carry is refused before it is sent, alone and in a pipeline. RULE-192
#[test]
fn what_is_refused_is_not_sent() {
    let (mut fixture, mut con) = connected();
    let commands = [vec!["select", "1"], vec!["SUBSCRIBE", "c"], vec!["EXEC"]];
    for words in commands {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        let mut pipeline = redis::pipe();
        pipeline.get("k").add_command(command.clone());
        let errors = [
            fixture.block_on(command.query_async::<()>(&mut con)).unwrap_err(),
            fixture.block_on(pipeline.query_async::<()>(&mut con)).unwrap_err(),
            fixture.block_on(pipeline.atomic().query_async::<()>(&mut con)).unwrap_err(),
        ];
        for error in errors {
            assert_eq!(
                (error.kind(), delivery(&error)),
                (ErrorKind::Client, Some(Delivery::NotSent)),
                "{error}"
            );
            assert!(matches!(error.retry_method(), RetryMethod::NoRetry));
        }
    }
    let mut blocks = redis::pipe();
    blocks.get("k").cmd("BLPOP").arg("q").arg(0);
    let error = fixture.block_on(blocks.query_async::<()>(&mut con)).unwrap_err();
    assert!(error.to_string().contains("send it alone"), "{error}");
    let mut pipeline = redis::pipe();
    pipeline.get("k").add_command(redis::Cmd::new());
    let errors = [
        fixture.block_on(redis::Cmd::new().query_async::<()>(&mut con)).unwrap_err(),
        fixture.block_on(redis::pipe().query_async::<()>(&mut con)).unwrap_err(),
        fixture.block_on(pipeline.query_async::<()>(&mut con)).unwrap_err(),
    ];
    for error in errors {
        assert_eq!((error.kind(), delivery(&error)), (ErrorKind::Client, Some(Delivery::NotSent)), "{error}");
    }
    fixture.run();
    assert!(fixture.received().is_empty(), "{:?}", fixture.received());
}

/// A read whose connection is lost is sent again, and a write is not: the table knows commands of the `redis` crate as it knows
/// others. INV-05, RULE-192
#[test]
fn reads_are_sent_again_and_writes_are_not() {
    let (mut fixture, mut con) = connected();
    let () = fixture.block_on(con.set("k", "v")).unwrap();
    fixture.with_endpoints(|server, _, endpoint| {
        for name in ["GET", "INCRBY"] {
            server.add_rule(Rule::new(Fault::Unanswered).on(name).at(endpoint));
        }
    });
    let (mut a, mut b) = (con.clone(), con);
    let get = begun(&mut fixture, async { a.get::<_, Option<String>>("k").await });
    let incr = begun(&mut fixture, async { b.incr::<_, _, u8>("n", 1).await });
    fixture.end();
    let error = fixture.block_on(incr).unwrap_err();
    assert_eq!(delivery(&error), Some(Delivery::Unknown), "{error}");
    assert!(error.is_connection_dropped() && error.is_io_error() && !error.is_timeout(), "{error}");
    assert_eq!(fixture.block_on(get).unwrap().as_deref(), Some("v"));
    assert_eq!(fixture.received(), ["SET", "GET", "INCRBY", "GET"]);
}

/// Errors have the kinds that the retry logic of the `redis` crate looks at, and say what became of the command. RULE-197, RULE-449
#[test]
fn errors_say_what_happened() {
    let (mut fixture, mut con) = connected();
    fixture.answer_nothing();
    let error = fixture.block_on(con.incr::<_, _, u8>("n", 1)).unwrap_err();
    assert!(error.is_timeout() && !error.is_connection_dropped(), "{error}");
    assert_eq!(delivery(&error), Some(Delivery::Unknown));
    assert!(error.to_string().contains("no reply within 3s"), "{error}");

    fixture.refuse_dials();
    fixture.end();
    let error = fixture.block_on(con.incr::<_, _, u8>("n", 1)).unwrap_err();
    assert!(error.is_connection_refusal() && error.is_connection_dropped(), "{error}");
    assert_eq!(delivery(&error), Some(Delivery::NotSent));
    fixture.block_on(con.shutdown(SECOND));
    let error = fixture.block_on(con.get::<_, Option<u8>>("n")).unwrap_err();
    assert!(error.is_connection_dropped() && !error.is_connection_refusal(), "{error}");
    assert_eq!(delivery(&error), Some(Delivery::NotSent));

    let connecting = builder(&fixture).connect();
    let error = RedisError::from(fixture.block_on(connecting).unwrap_err());
    assert!(error.is_connection_refusal(), "{error}");
    assert_eq!(delivery(&error), Some(Delivery::NotSent));
}

/// Other errors of the client, and errors that are not its own. RULE-197
#[test]
fn every_error_has_a_kind() {
    let server =
        |text: &'static str| hitless_core::driver::ServerError::from_frame(&Frame::error(text)).unwrap();
    let full = SendError::Full(echo("x"));
    let number = <u8 as hitless_core::FromFrame>::from_frame(Frame::bulk("x")).unwrap_err();
    let rows = [
        (Error::from(server("NOSCRIPT no")), ErrorKind::Server(ServerErrorKind::NoScript), None),
        (Error::Discarded(server("ERR unknown")), ErrorKind::Server(ServerErrorKind::ExecAbort), None),
        (Error::Discarded(server("EXECABORT no")), ErrorKind::Server(ServerErrorKind::ExecAbort), None),
        (Error::NotAtomic(server("NOPERM no")), ErrorKind::Io, Some(Delivery::Unknown)),
        (Error::from(full), ErrorKind::Client, Some(Delivery::NotSent)),
        (Error::from(number), ErrorKind::UnexpectedReturnType, None),
        (
            Error::from(RequestError::MoveDeadline { delivery: Delivery::Unknown }),
            ErrorKind::Io,
            Some(Delivery::Unknown),
        ),
        (
            Error::from(RequestError::ConnectionLost {
                cause: CloseCause::Protocol(ProtocolError::Malformed),
                delivery: Delivery::Unknown,
            }),
            ErrorKind::Io,
            Some(Delivery::Unknown),
        ),
    ];
    for (error, kind, unknown) in rows {
        let text = error.to_string();
        let error = RedisError::from(error);
        assert_eq!((error.kind(), delivery(&error)), (kind, unknown), "{error}");
        let is_told = match kind {
            ErrorKind::Server(_) => true,
            _ => error.to_string().contains(&text),
        };
        assert!(is_told, "{text}: {error}");
    }
    let foreign = RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut));
    assert_eq!(delivery(&foreign), None, "nobody knows");
}

/// A future that is dropped takes nobody's reply along. INV-02
#[test]
fn dropping_a_call_keeps_the_order_of_the_others() {
    let (mut fixture, con) = connected();
    fixture.answer_nothing();
    let (mut a, mut b) = (con.clone(), con);
    let dropped = begun(&mut fixture, async { a.get::<_, String>("a").await });
    let kept = begun(&mut fixture, async { b.get::<_, String>("b").await });
    drop(dropped);
    fixture.say(b"$1\r\na\r\n$1\r\nb\r\n");
    assert_eq!(fixture.block_on(kept).unwrap(), "b");
}
