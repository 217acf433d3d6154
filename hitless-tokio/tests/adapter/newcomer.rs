//! The likely mistakes of somebody new: what they do, what they read, and what that must say, so that they know what to do next.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use hitless_conformance::server::{Fault, Rule};

use super::{EndpointSpec, OptIn, SECOND, ServerConfig, User, delay_replies, mode, serve, serve_with, url};
use crate::block_on;
use crate::hitless::{
    Builder, CheckReplies, Client, Command, ConfigBuilder, Connector, Delivery, Error, Frame, LeaseError,
    Mode, Peer, Pipeline, Protocol, Request, RequestError, Resolver, Stream, Target, WhenDisconnected, cmd,
};

/// What somebody does, what they read, and what must stand in it.
struct Row {
    does: &'static str,
    reads: String,
    says: &'static [&'static str],
}

fn row(does: &'static str, reads: impl ToString, says: &'static [&'static str]) -> Row {
    Row { does, reads: reads.to_string(), says }
}

/// RULE-138
#[test]
fn what_they_do_and_what_they_read() {
    let mut rows = settings();
    block_on(async {
        rows.extend(addresses().await);
        rows.extend(credentials().await);
        rows.extend(servers().await);
        rows.extend(commands().await);
    });
    for Row { does, reads, says } in rows {
        for word in says {
            assert!(reads.contains(word), "{does}: {reads:?} does not say {word:?}");
        }
        assert!(!reads.contains("secr"), "{does}: {reads}");
        assert!(reads.len() < 400, "{does}: {reads}");
    }
}

/// Mistakes that need no server.
fn settings() -> Vec<Row> {
    let of_url = |url: &str| Client::builder(url).expect_err("the URL is wrong");
    let of = |change: fn(ConfigBuilder) -> ConfigBuilder| {
        let settings = ConfigBuilder::from_url("redis://h").unwrap();
        change(settings).build().expect_err("the settings do not fit")
    };
    vec![
        row("a URL without a scheme", of_url("localhost:6379"), &["redis://user:password@host:port"]),
        row("a URL of something else", of_url("http://localhost"), &["redis://user:password@host:port"]),
        row(
            "a URL of the web",
            of_url("https://localhost"),
            &["rediss:// for TLS", "unix:///path/to/socket", "valkey://", "valkeys://", "valkey+unix://"],
        ),
        row(
            "a keepalive of half a second",
            of(|it| it.tcp_keepalive(Some(SECOND / 2))),
            &["tcp_keepalive is 500ms", "from 1 s"],
        ),
        row(
            "a parameter that does not exist",
            of_url("redis://h?timeout=5"),
            &["\"timeout\"", "known are protocol"],
        ),
        row("a slash in a password", of_url("redis://u:se/secret@h"), &["inside a password, write / as %2F"]),
        row("a port that is too large", of_url("redis://h:637900"), &["from 1 to 65535"]),
        row("a database that is no number", of_url("redis://h/cache"), &["database", "must be a number"]),
        row(
            "TLS without verification",
            of_url("rediss://:secret@h#insecure"),
            &["`Tls::builder().roots(..)`", "for tests", "dangerous_accept_any_server"],
        ),
        row(
            "a URL without slashes",
            of_url("redis:localhost"),
            &["two slashes", "redis://user:password@host:port"],
        ),
        row("Sentinel", of_url("redis+sentinel://h:26379/mymaster"), &["no Sentinel", "redis://host:port"]),
        row(
            "a list of hosts",
            of_url("redis://a:6379,b:6379"),
            &["address", "one server", "a name that leads to all"],
        ),
        row("#insecure", of_url("redis://:secret@h#insecure"), &["leave out what begins there", "%23"]),
        row("two databases", of_url("redis://h/1?db=2"), &["database", "write it in one place"]),
        row(
            "two passwords",
            of_url("redis://:secret@h?pass=secrets"),
            &["password", "write them in one place"],
        ),
        row("a pool of none", of(|it| it.pool_size(0)), &["pool_size is 0", "from 1 to 10000"]),
        row(
            "a pool of a million",
            of(|it| it.pool_size(1_000_000)),
            &["pool_size is 1000000", "from 1 to 10000"],
        ),
        row(
            "requests that do not wait",
            of(|it| it.parked_requests(0)),
            &["parked_requests", "`when_disconnected`"],
        ),
        row(
            "notifications over RESP2",
            of(|it| it.protocol(Protocol::Resp2).maintenance(mode(Mode::Enabled))),
            &["needs RESP3", "mode `auto`"],
        ),
        row(
            "SELECT in the setup",
            of(|it| it.setup(cmd("SELECT").arg(1))),
            &["SELECT", "`Builder::database`"],
        ),
    ]
}

/// Where nothing listens, or something else.
async fn addresses() -> Vec<Row> {
    let nobody = closed_port();
    let mut rows = vec![
        row(
            "a host that does not exist",
            broken("redis://nowhere.example").await,
            &[
                "cannot resolve nowhere.example: failed to lookup",
                "Name or service not known",
                "attempts for each connection: 4",
            ],
        ),
        row(
            "no server",
            failure_at(&format!("redis://{nobody}")).await,
            &[
                "cannot connect to 127.0.0.1:",
                "Connection refused (os error",
                "attempts for each connection: 4",
                "given up after",
            ],
        ),
        row(
            "the port of a web server",
            Stranger::saying(b"HTTP/1.1 400 Bad Request\r\n\r\n").failure().await,
            &["not RESP", "Is it a Redis server, and without TLS?"],
        ),
        row(
            "the port for TLS",
            Stranger::saying(b"\x15\x03\x03\x00\x02\x02\x28").failure().await,
            &["Is it a Redis server, and without TLS?"],
        ),
        row(
            "the port for TLS, which hangs up",
            Stranger::saying(b"").failure().await,
            &["connections to 127.0.0.1:", "handshake", "expect TLS (rediss://)?"],
        ),
        row(
            "too many open files",
            broken("redis://127.0.0.1:1").await,
            &["cannot connect to 127.0.0.1:1: Too many open files (os error 24)"],
        ),
    ];
    #[cfg(unix)]
    rows.push(row(
        "a socket file that is missing",
        failure_at("unix:///nowhere/redis.sock").await,
        &["cannot connect to unix:/nowhere/redis.sock", "No such file or directory (os error 2)"],
    ));
    rows
}

async fn credentials() -> Vec<Row> {
    let config =
        ServerConfig::default().with_password("right").with_user(User::new("ann", "right").without("GET"));
    let server = serve_with(config, EndpointSpec::loopback());
    let address = server.addresses()[0];
    let at = async |userinfo: &str| failure_at(&format!("redis://{userinfo}{address}")).await;
    let ann = client(&format!("redis://ann:right@{address}"), |it| it).await;
    vec![
        row(
            "a wrong password",
            at(":secret@").await,
            &[
                "connections to 127.0.0.1:",
                "WRONGPASS",
                "user or password is wrong",
                "attempts for each connection: 1)",
            ],
        ),
        row(
            "no password",
            at("").await,
            &["connections to 127.0.0.1:", "NOAUTH", "asks for a password, and none is configured"],
        ),
        row(
            "a user that does not exist",
            at("bob:secret@").await,
            &["connections to 127.0.0.1:", "WRONGPASS", "user or password is wrong"],
        ),
        row("a command without the right to it", call(&ann, cmd("GET").arg("k")).await, &["NOPERM", "get"]),
        row(
            "a database that does not exist",
            failure_at(&format!("redis://:right@{address}/99")).await,
            &["connections to 127.0.0.1:", "SELECT", "does the database exist?"],
        ),
    ]
}

/// Servers that are full, old, or gone later.
async fn servers() -> Vec<Row> {
    let refusing = |text: &'static str| {
        let server = serve();
        let fault = Fault::Refuse(Frame::error(text));
        server.with(|server, _| server.add_rule(Rule::new(fault).on("HELLO").always()));
        server
    };
    let full = refusing("ERR max number of clients reached");
    let loading = refusing("LOADING Redis is loading the dataset in memory");
    let forbidden = refusing("NOPERM this user has no permissions to run the 'hello' command");
    let plain =
        serve_with(ServerConfig::default(), EndpointSpec::loopback().with_opt_in(OptIn::UnknownSubcommand));
    let enabled = builder(&url(&plain)).maintenance(mode(Mode::Enabled)).connect().await.unwrap_err();
    let setup =
        builder(&url(&plain)).setup(cmd("CLIENT").arg("TRACKING").arg("secret")).connect().await.unwrap_err();
    let later = serve();
    let waits = client(&url(&later), |it| it.command_timeout(SECOND / 2)).await;
    let fails =
        client(&url(&later), |it| it.when_disconnected(WhenDisconnected::Fail).command_timeout(None)).await;
    drop(later);
    let down: &[&str] =
        &["no connection", "cannot connect to 127.0.0.1:", "Connection refused", "(delivery: not sent)"];
    vec![
        row(
            "too many clients",
            failure_at(&url(&full)).await,
            &["connections to 127.0.0.1:", "maxclients", "`pool_size`", "attempts for each connection: 4"],
        ),
        row(
            "notifications of open source Redis",
            enabled,
            &["connections to 127.0.0.1:", "Redis Software 8.0.2", "use mode `auto`"],
        ),
        row(
            "a setup command that the server refuses",
            setup,
            &["connections to 127.0.0.1:", "setup command 1, CLIENT, with ERR"],
        ),
        row(
            "a server that reads its data",
            failure_at(&url(&loading)).await,
            &["connections to 127.0.0.1:", "LOADING", "attempts for each connection: 4"],
        ),
        row(
            "a user without the right to connect",
            failure_at(&url(&forbidden)).await,
            &["connections to 127.0.0.1:", "NOPERM", "attempts for each connection: 1)"],
        ),
        row("a server that is down later", unsent(&waits).await, down),
        row("a server that is down later, at once", unsent(&fails).await, down),
    ]
}

async fn commands() -> Vec<Row> {
    let server = serve();
    let change = |it: Builder| it.requests_in_flight(1).max_dedicated(1).lease_timeout(SECOND / 4);
    let client = client(&url(&server), change).await;
    client.call(cmd("RPUSH").arg("list").arg("a")).await.unwrap();
    let wrong = Pipeline::new().command(cmd("PING")).command(cmd("INCR").arg("list"));
    let wrong = client.pipeline(wrong).await.unwrap().check().unwrap_err();
    let blocks = Pipeline::new().command(cmd("BLPOP").arg("q").arg(0)).command(cmd("PING"));
    let blocks = client.pipeline(blocks).await.unwrap_err();
    let mut rows = vec![
        row("BLPOP in a pipeline", blocks, &["BLPOP", "LPOP", "client.call", "client.lease()"]),
        row("SELECT", call(&client, cmd("SELECT").arg(1)).await, &["SELECT", "`Builder::database`"]),
        row("AUTH", call(&client, cmd("AUTH").arg("secret")).await, &["AUTH", "`Builder::credentials`"]),
        row("SUBSCRIBE", call(&client, cmd("SUBSCRIBE").arg("c")).await, &["SUBSCRIBE", "client.subscribe"]),
        row(
            "WATCH",
            call(&client, cmd("WATCH").arg("k")).await,
            &["WATCH", "client.transaction", "client.lease()"],
        ),
        row("MULTI", call(&client, cmd("MULTI")).await, &["MULTI", "atomic pipeline"]),
        row("an error inside a pipeline", wrong, &["reply 1 of the pipeline", "WRONGTYPE"]),
        row("a value of the wrong type", call(&client, cmd("INCR").arg("list")).await, &["WRONGTYPE"]),
        row(
            "a command that does not exist",
            call(&client, cmd("GTE").arg("k")).await,
            &["unknown command", "GTE"],
        ),
    ];
    rows.extend(leases(&client).await);
    rows.extend(values(&client).await);
    delay_replies(&server, 60 * SECOND);
    let request = || Request::command(cmd("PING")).unwrap();
    let _under_way = client.send(request()).unwrap();
    let full = client.send(request()).unwrap_err();
    rows.push(row("more at a time than may be", full, &["`when_full`", "`requests_in_flight`"]));
    rows
}

/// What somebody does with a connection of their own.
async fn leases(client: &Client) -> Vec<Row> {
    // The time for one is short, for the row below.
    let lease = loop {
        match client.lease().await {
            Ok(lease) => break lease,
            Err(Error::Lease(LeaseError::TimedOut { .. })) => {}
            Err(error) => panic!("{error}"),
        }
    };
    let on_lease = async |command: Command| lease.call(command).await.expect_err("it is a mistake");
    let nested = Pipeline::atomic().command(cmd("EXEC"));
    vec![
        row(
            "SUBSCRIBE on a lease",
            on_lease(cmd("SUBSCRIBE").arg("c")).await,
            &["the client refuses SUBSCRIBE"],
        ),
        row("QUIT", on_lease(cmd("QUIT")).await, &["the client refuses QUIT", "given back by dropping it"]),
        row("EXEC in a batch", client.pipeline(nested).await.unwrap_err(), &["the client refuses EXEC"]),
        row(
            "more leases than there are",
            too_many_leases(client).await,
            &[
                "no connection was returned within ",
                "ms: as many are lent as `max_dedicated` allows",
                "Return leases sooner",
                "`lease_timeout`",
            ],
        ),
    ]
}

/// Asks for a lease where all are lent. The text says the time as it was set, or to the millisecond.
async fn too_many_leases(client: &Client) -> Error {
    let error = client.lease().await.expect_err("the other one is lent");
    let text = error.to_string();
    assert!(
        !text.contains('.') || text.split_once("ms").is_some_and(|(before, _)| !before.contains('.')),
        "{text}"
    );
    error
}

/// Replies that are not what was asked for.
async fn values(client: &Client) -> Vec<Row> {
    use std::collections::HashMap;

    let map = async |command: Command| client.query::<HashMap<String, String>>(command).await.unwrap_err();
    let says: &[&str] = &["expected a map, or an array of keys and values by turns, got "];
    vec![
        row("a map of a string", map(cmd("ECHO").arg("x")).await, says),
        row("a map of a list that is odd", map(cmd("LRANGE").args(["list", "0", "-1"])).await, says),
    ]
}

fn builder(url: &str) -> Builder {
    Client::builder(url).unwrap().pool_size(1).connect_timeout(30 * SECOND)
}

async fn client(url: &str, change: impl FnOnce(Builder) -> Builder) -> Client {
    change(builder(url)).connect().await.unwrap()
}

async fn failure_at(url: &str) -> Error {
    builder(url).connect().await.expect_err("it cannot connect")
}

async fn call(client: &Client, command: Command) -> Error {
    client.call(command).await.expect_err("it is a mistake")
}

/// The error of a call that was not sent, because the server is gone. What was written before that was known may have run, and its time may be over before anybody
/// has found that the server cannot be reached.
async fn unsent(client: &Client) -> Error {
    loop {
        let error = call(client, cmd("INCR").arg("n")).await;
        match &error {
            Error::Request(RequestError::NoConnection { delivery: Delivery::NotSent, .. }) => return error,
            Error::Request(RequestError::ConnectionLost { .. } | RequestError::TimedOut { .. }) => {}
            _ => panic!("{error}"),
        }
    }
}

/// An address at which nobody listens.
fn closed_port() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}

/// Something else than a Redis server: it answers the first bytes of each connection in its own way and hangs up.
struct Stranger {
    address: SocketAddr,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Stranger {
    fn saying(greeting: &'static [u8]) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let is_over = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&is_over);
        let thread = thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                if ends.load(Ordering::Relaxed) {
                    return;
                }
                // The client may have hung up.
                let _ = stream.read(&mut [0; 4096]).and_then(|_| stream.write_all(greeting));
            }
        });
        Self { address, is_over, thread: Some(thread) }
    }

    async fn failure(self) -> Error {
        failure_at(&format!("redis://{}", self.address)).await
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        // It waits for a connection.
        drop(TcpStream::connect(self.address));
        drop(self.thread.take().map(JoinHandle::join));
    }
}

/// A network that knows no name, of a process that may open no more files.
struct Broken;

impl Resolver for Broken {
    async fn resolve(&self, _: &str) -> io::Result<Vec<IpAddr>> {
        // As the system's resolver says it; asking that one here would depend on the machine.
        Err(io::Error::other("failed to lookup address information: Name or service not known"))
    }
}

impl Connector for Broken {
    type Stream = Stream;

    async fn connect(&self, _: Target) -> io::Result<(Stream, Peer)> {
        Err(io::Error::from_raw_os_error(24))
    }
}

async fn broken(url: &str) -> Error {
    builder(url).network(Broken).connect().await.expect_err("it cannot connect")
}
