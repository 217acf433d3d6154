//! The client with a plain `redis-server`, which `HITLESS_REDIS_SERVER` names.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::sync::Arc;

use hitless_conformance::net::redis_process::RedisProcess;
use hitless_conformance::vault::Vault;
use hitless_tokio::{
    Builder, Client, ConnectError, Delivery, Error, Event, Frame, Mode, Pipeline, Protocol, cmd, maintenance,
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

/// A real server takes AUTH between two requests, keeps the connection when it refuses one, and has dials use the new password.
/// RULE-221, RULE-222
#[tokio::test]
#[ignore = "needs a redis-server: cargo xtask test-all runs them"]
async fn passwords_are_rotated_under_the_client() {
    for protocol in [Protocol::Resp3, Protocol::Resp2] {
        let server = start(&["--requirepass", "old"]);
        let vault = Arc::new(Vault::new(None, "old"));
        let builder =
            builder(&server, Mode::Disabled).protocol(protocol).credentials_provider(Arc::clone(&vault));
        let mut events = builder.events();
        let client = builder.connect().await.unwrap();
        let config = || cmd("CONFIG").args(["SET", "requirepass", "new"]);
        client.call(config()).await.unwrap();
        for (password, is_right) in [("wrong", false), ("new", true)] {
            vault.rotate(password);
            let mut answers = 0;
            while answers < 3 {
                client.call(cmd("INCR").arg("n")).await.unwrap();
                match events.next().await.unwrap().unwrap() {
                    Event::Reauthenticated { .. } if is_right => answers += 1,
                    Event::ReauthenticationRefused { code, .. } if !is_right => {
                        assert_eq!(code.as_str(), "WRONGPASS");
                        answers += 1;
                    }
                    Event::ConnectionReady { .. } | Event::OptInRefused { .. } => {}
                    other => panic!("{other:?}"),
                }
            }
        }
        let kill = cmd("CLIENT").args(["KILL", "TYPE", "normal", "SKIPME", "yes"]);
        client.call(kill).await.unwrap();
        let mut ready = 0;
        while ready < 2 {
            ready +=
                usize::from(matches!(events.next().await.unwrap().unwrap(), Event::ConnectionReady { .. }));
        }
        assert_eq!(client.stats().serving, 3);
    }
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
    let nothing = client.call(cmd("XREADGROUP").args(blocking)).await.unwrap();
    assert!(nothing.is_null(), "{nothing:?}");
}
