//! The client with a plain `redis-server`, which `HITLESS_REDIS_SERVER` names.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use hitless_conformance::net::redis_process::RedisProcess;
use hitless_tokio::{
    Builder, Client, ConnectError, Delivery, Error, Event, Frame, Mode, Pipeline, cmd, maintenance,
};

fn start(options: &[&str]) -> RedisProcess {
    let program = std::env::var_os("HITLESS_REDIS_SERVER").expect("HITLESS_REDIS_SERVER names the program");
    RedisProcess::start(Path::new(&program), options).unwrap()
}

fn builder(server: &RedisProcess, mode: Mode) -> Builder {
    let maintenance = maintenance::Config::builder().mode(mode).build().unwrap();
    Client::builder(&format!("redis://{}", server.address())).unwrap().pool_size(3).maintenance(maintenance)
}

/// Open source servers do not know the feature. INV-17
#[tokio::test]
#[ignore = "needs a redis-server: cargo xtask test-all runs them"]
async fn every_mode_does_what_it_says() {
    let server = start(&[]);
    for mode in [Mode::Auto, Mode::Disabled] {
        let builder = builder(&server, mode);
        let mut events = builder.events();
        let client = builder.connect().await.unwrap();
        assert_eq!(client.call(cmd("PING")).await.unwrap(), Frame::simple("PONG"));
        let refusals = std::iter::from_fn(|| events.try_next())
            .filter(|event| matches!(event, Ok(Event::OptInRefused { .. })))
            .count();
        assert_eq!(refusals, usize::from(mode == Mode::Auto), "{mode}");
    }
    let error = builder(&server, Mode::Enabled).connect().await.unwrap_err();
    assert!(
        matches!(&error, Error::Connect(error) if matches!(error.last(), ConnectError::Handshake(_))),
        "{error:?}"
    );
    assert!(error.to_string().contains("maintenance notifications"), "{error}");
}

#[tokio::test]
#[ignore = "needs a redis-server: cargo xtask test-all runs them"]
async fn a_transaction_that_is_discarded_says_why() {
    let server = start(&[]);
    let client = builder(&server, Mode::Auto).connect().await.unwrap();
    let batch = Pipeline::atomic().command(cmd("INCR").arg("n")).command(cmd("LPUSH").arg("n").arg("x"));
    let replies = client.pipeline(batch).await.unwrap();
    assert_eq!(replies[0], Frame::Integer(1));
    assert!(replies[1].is_error(), "an error in the middle is a reply like the others");

    let batch = Pipeline::atomic().command(cmd("INCR").arg("n")).command(cmd("NOSUCH"));
    let error = client.pipeline(batch).await.unwrap_err();
    assert!(matches!(&error, Error::Discarded(error) if error.message().contains("NOSUCH")), "{error}");
    assert_eq!(client.call(cmd("GET").arg("n")).await.unwrap(), Frame::bulk("1"), "nothing of it ran");
}

/// What the server says to a wrong password is not repeated. PITFALL-35, RULE-06
#[tokio::test]
#[ignore = "needs a redis-server: cargo xtask test-all runs them"]
async fn credentials_are_checked_and_never_shown() {
    let server = start(&["--requirepass", "right-word"]);
    let client = builder(&server, Mode::Auto).credentials(None, "right-word").connect().await.unwrap();
    client.call(cmd("PING")).await.unwrap();
    let error = builder(&server, Mode::Auto).credentials(None, "wrong-word").connect().await.unwrap_err();
    let shown = format!("{error} {error:?}");
    assert!(shown.contains("WRONGPASS") || shown.contains("WrongPass"), "{shown}");
    assert!(!shown.contains("wrong-word"), "{shown}");
    assert_eq!(error.delivery(), Some(Delivery::NotSent));
}

/// A script nests its reply, writes a long error, and divides zero by zero: these are replies, and the only connection goes
/// on. RULE-120, RULE-121
#[tokio::test]
#[ignore = "needs a redis-server: cargo xtask test-all runs them"]
async fn what_scripts_send_is_a_reply() {
    let server = start(&[]);
    let client = builder(&server, Mode::Disabled).pool_size(1).connect().await.unwrap();
    let mut events = client.events();
    let eval = |script: &str| client.call(cmd("EVAL").arg(script).arg(0));

    let deep = eval("local t = 1 for i = 1, 512 do t = {t} end return t").await.unwrap();
    let levels = std::iter::successors(Some(&deep), |frame| frame.as_array()?.first()).count();
    assert_eq!(levels, 513, "512 arrays, and a number");

    let error = eval("return redis.error_reply('LONG ' .. string.rep('x', 200000))").await.unwrap_err();
    assert!(matches!(&error, Error::Server(error) if error.message().len() >= 200_000));
    let status = eval("return redis.status_reply(string.rep('x', 200000))").await.unwrap();
    assert_eq!(status.as_bytes().map(<[u8]>::len), Some(200_000));

    let nan = eval("redis.setresp(3) return {double = 0 / 0}").await.unwrap();
    assert!(matches!(nan, Frame::Double(number) if number.is_nan()), "{nan:?}");

    let lost = std::iter::from_fn(|| events.try_next())
        .filter(|event| matches!(event, Ok(Event::ConnectionClosed { .. })))
        .count();
    assert_eq!(lost, 0);
}

/// The server agrees about what an option is. RULE-123
#[tokio::test]
#[ignore = "needs a redis-server: cargo xtask test-all runs them"]
async fn a_stream_may_be_called_block() {
    let server = start(&[]);
    let client = builder(&server, Mode::Disabled).connect().await.unwrap();
    client.call(cmd("XADD").arg("block").arg("1-1").arg("f").arg("v")).await.unwrap();
    client.call(cmd("XGROUP").args(["CREATE", "block", "streams", "0"])).await.unwrap();
    let read = client.call(cmd("XREAD").args(["STREAMS", "block", "0"])).await.unwrap();
    assert_eq!(read.as_map().map(<[_]>::len), Some(1), "{read:?}");
    let group = ["GROUP", "streams", "block", "STREAMS", "block", ">"];
    let read = client.call(cmd("XREADGROUP").args(group)).await.unwrap();
    assert_eq!(read.as_map().map(<[_]>::len), Some(1), "{read:?}");
    let blocking = ["GROUP", "streams", "block", "BLOCK", "1", "STREAMS", "block", ">"];
    let error = client.call(cmd("XREADGROUP").args(blocking)).await.unwrap_err();
    assert!(matches!(error, Error::Refused(_)), "{error:?}");
}
