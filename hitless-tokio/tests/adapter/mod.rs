//! What every adapter must do over real sockets; the crate that includes this brings `hitless`, `block_on` and `spawn`.

mod addresses;
mod cut_short;
mod exports;
#[cfg(feature = "tls")]
mod handshakes;
mod leases;
mod network;
mod newcomer;
#[cfg(feature = "tls")]
mod tls;
#[cfg(unix)]
mod unix;
mod workload;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use hitless_conformance::net::tcp::TcpServer;
use hitless_conformance::server::{
    Dataset, EndpointId, EndpointSpec, Moving, OptIn, Server, ServerConfig, ServerMachine, Target, User,
};

use crate::hitless::{Client, Delivery, Error, Event, Frame, Mode, Pipeline, RequestError, cmd, maintenance};
use crate::{block_on, spawn};

const SECOND: Duration = Duration::from_secs(1);
/// Longest time for one test, on a machine that is busy with others.
pub(crate) const LIMIT: Duration = Duration::from_secs(120);

pub(crate) type TestServer = TcpServer<Server<Dataset>>;

/// A server with one endpoint.
pub(crate) fn serve() -> TestServer {
    serve_with(ServerConfig::default(), EndpointSpec::loopback())
}

fn serve_with(config: ServerConfig, endpoint: EndpointSpec) -> TestServer {
    let mut server = Server::new(config);
    server.add_endpoint(endpoint);
    TcpServer::start(server).unwrap()
}

/// Waits until the server has no connection any more. Each look asks the server's own loop, which reads what has arrived.
#[allow(dead_code, reason = "one of the adapters has a runtime that can be dropped")]
pub(crate) fn wait_until_gone(server: &TestServer) {
    while server.with(|server, _| !server.connections(endpoint(server)).is_empty()) {
        std::thread::yield_now();
    }
}

#[cfg(feature = "tls")]
pub(crate) fn serve_encrypted(config: &Arc<crate::hitless::rustls::ServerConfig>) -> TestServer {
    let mut server = Server::new(ServerConfig::default());
    server.add_endpoint(EndpointSpec::loopback());
    TcpServer::start_encrypted(server, |_| Arc::clone(config)).unwrap()
}

pub(crate) fn url(server: &TestServer) -> String {
    format!("redis://{}", server.addresses()[0])
}

pub(crate) fn delay_replies(server: &TestServer, delay: Duration) {
    server.with(|server, _| server.set_reply_delay(endpoint(server), delay, None));
}

/// The first endpoint.
fn endpoint(server: &Server<Dataset>) -> EndpointId {
    server.endpoints()[0]
}

fn mode(mode: Mode) -> maintenance::Config {
    maintenance::Config::builder().mode(mode).build().unwrap()
}

fn opt_ins(server: &TestServer) -> usize {
    server.with(|server, _| server.ledger().opt_ins(endpoint(server)).count())
}

/// RULE-102
#[test]
fn calls_and_pipelines() {
    let server = serve();
    block_on(async {
        let client = Client::connect(&url(&server)).await.unwrap();
        assert_eq!(client.stats().serving, 10);
        client.call(cmd("SET").arg("k").arg("v")).await.unwrap();
        assert_eq!(client.call(cmd("GET").arg("k")).await.unwrap(), Frame::bulk("v"));

        let error = client.call(cmd("INCR").arg("k")).await.unwrap_err();
        assert!(matches!(&error, Error::Server(error) if error.code() == "ERR"), "{error:?}");

        let batch = Pipeline::atomic().command(cmd("INCR").arg("n")).command(cmd("INCR").arg("n"));
        assert_eq!(client.pipeline(batch).await.unwrap(), [Frame::Integer(1), Frame::Integer(2)]);
    });
}

#[test]
fn credentials_database_and_name_come_from_the_url() {
    let config = ServerConfig::default().with_user(User::new("ann", "p@ss"));
    let server = serve_with(config, EndpointSpec::loopback());
    let address = server.addresses()[0];
    block_on(async {
        let url = format!("redis://ann:p%40ss@{address}/3?client_name=me");
        let client = Client::builder(&url).unwrap().pool_size(1).connect().await.unwrap();
        let name = client.call(cmd("CLIENT").arg("GETNAME")).await.unwrap();
        assert_eq!(name.as_str(), Some("me"));

        let wrong = format!("redis://ann:secret-word@{address}");
        let error = Client::connect(&wrong).await.unwrap_err();
        assert!(matches!(error, Error::Connect(_)), "{error:?}");
        assert!(!format!("{error} {error:?}").contains("secret-word"));
    });
}

#[test]
fn values_of_a_mebibyte() {
    let server = serve();
    block_on(async {
        let client = Client::builder(&url(&server)).unwrap().pool_size(1).connect().await.unwrap();
        let value: Vec<u8> = (0..1 << 20).map(|i: u32| i.to_le_bytes()[1]).collect();
        client.call(cmd("SET").arg("k").arg(&value[..])).await.unwrap();
        assert_eq!(client.call(cmd("GET").arg("k")).await.unwrap().as_bytes(), Some(&value[..]));
    });
}

#[test]
fn a_host_name_is_resolved() {
    let server = serve();
    let url = format!("redis://localhost:{}", server.addresses()[0].port());
    block_on(async {
        let client = Client::builder(&url).unwrap().pool_size(1).connect().await.unwrap();
        client.call(cmd("PING")).await.unwrap();
    });
}

#[test]
fn nobody_listens() {
    let server = serve();
    let url = url(&server);
    drop(server);
    let error = block_on(Client::connect(&url)).unwrap_err();
    assert!(matches!(error, Error::Connect(_)), "{error:?}");
}

/// The three modes at a server that does not know the feature. INV-17, RULE-09, RULE-12
#[test]
fn a_refused_opt_in_is_quiet_in_auto_and_clear_in_enabled() {
    let plain = EndpointSpec::loopback().with_opt_in(OptIn::UnknownSubcommand);
    let server = serve_with(ServerConfig::default(), plain);
    block_on(async {
        let auto = Client::builder(&url(&server)).unwrap().pool_size(3).maintenance(mode(Mode::Auto));
        let mut events = auto.events();
        let auto = auto.connect().await.unwrap();
        auto.call(cmd("PING")).await.unwrap();
        let refusals = std::iter::from_fn(|| events.try_next())
            .filter(|event| matches!(event, Ok(Event::OptInRefused { .. })))
            .count();
        assert_eq!(refusals, 1);

        let before = opt_ins(&server);
        let disabled = Client::builder(&url(&server)).unwrap().maintenance(mode(Mode::Disabled));
        disabled.connect().await.unwrap().call(cmd("PING")).await.unwrap();
        assert_eq!(opt_ins(&server), before);

        let enabled = Client::builder(&url(&server)).unwrap().maintenance(mode(Mode::Enabled));
        let error = enabled.connect().await.unwrap_err();
        assert!(matches!(error, Error::Connect(_)), "{error:?}");
    });
}

#[test]
fn a_timeout_says_that_the_command_may_have_run() {
    let server = serve();
    block_on(async {
        let client =
            Client::builder(&url(&server)).unwrap().command_timeout(2 * SECOND).connect().await.unwrap();
        delay_replies(&server, 60 * SECOND);
        let error = client.call(cmd("INCR").arg("n")).await.unwrap_err();
        assert!(matches!(error, Error::Request(RequestError::TimedOut { .. })), "{error:?}");
        assert_eq!(error.delivery(), Some(Delivery::Unknown));
        assert!(error.to_string().contains("Unknown"), "{error}");
    });
}

/// The server sees every socket closed. INV-15
#[test]
fn a_shutdown_closes_every_socket() {
    let server = serve();
    block_on(async {
        let client = Client::connect(&url(&server)).await.unwrap();
        client.shutdown(SECOND).await;
        assert!(client.call(cmd("PING")).await.is_err());
        while server.with(|server, _| !server.connections(endpoint(server)).is_empty()) {
            std::thread::yield_now();
        }
    });
}

/// A pool under load moves, and nobody notices. INV-03, RULE-67
#[test]
fn a_pool_moves_under_load() {
    let mut server = Server::new(ServerConfig::default());
    let [old, new] =
        [EndpointSpec::loopback(), EndpointSpec::loopback()].map(|spec| server.add_endpoint(spec));
    let server = TcpServer::start(server).unwrap();
    block_on(async {
        let client = Client::builder(&url(&server)).unwrap().pool_size(4).connect().await.unwrap();
        let mut events = client.events();
        let stop = Arc::new(AtomicBool::new(false));
        let (results, counts) = mpsc::channel();
        for worker in 0..8 {
            spawn(count(client.clone(), format!("n:{worker}"), Arc::clone(&stop), results.clone()));
        }

        server.with(|server, now| server.moving(now, old, Moving::new(Target::Endpoint(new), 2 * SECOND)));
        let finished = loop {
            if let Event::MoveFinished { moved, stayed, .. } = events.next().await.unwrap().unwrap() {
                break (moved, stayed);
            }
        };
        assert_eq!(finished, (4, 0));
        stop.store(true, Ordering::Relaxed);
        for _ in 0..8 {
            let (expected, counted) = counts.recv_timeout(30 * SECOND).unwrap();
            assert_eq!(counted.unwrap(), Frame::Integer(expected));
        }
        assert_eq!(server.with(|server, _| server.ledger().accepted(new)), 4, "one dial for each connection");
    });
}

/// Increments `key` until `stop`, then says what the last result should have been and what it was.
async fn count(
    client: Client,
    key: String,
    stop: Arc<AtomicBool>,
    results: mpsc::Sender<(i64, Result<Frame, Error>)>,
) {
    let mut expected = 0;
    loop {
        expected += 1;
        let counted = client.call(cmd("INCR").arg(&key)).await;
        if stop.load(Ordering::Relaxed) || !matches!(counted, Ok(Frame::Integer(n)) if n == expected) {
            // The test has failed already if nobody listens.
            let _ = results.send((expected, counted));
            return;
        }
    }
}
