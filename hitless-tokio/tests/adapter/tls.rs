//! Encrypted connections: who is believed, what is said when somebody is not, and how links end.

use std::io::{self, Read as _};
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use hitless_conformance::net::certificates::{Authority, Identity};
use hitless_conformance::net::names::Names;
use hitless_conformance::net::tcp::on_one_port;
use hitless_conformance::server::CloseHow;

use super::{
    EndpointSpec, SECOND, Server, ServerConfig, TcpServer, TestServer, endpoint, serve, serve_encrypted,
};
use crate::block_on;
use crate::hitless::rustls::crypto::{CryptoProvider, ring};
use crate::hitless::rustls::server::{ServerSessionMemoryCache, StoresServerSessions};
use crate::hitless::rustls::{self, version};
use crate::hitless::{
    Adapter, Builder, BytesMut, Client, CloseCause, ConnectError, Connector, Error, Event, Frame, Peer,
    Pipeline, RequestError, Resolver, Stream, Target, Tls, TlsFault, WhenDisconnected, cmd, driver,
};

const HERE: &str = "127.0.0.1";

fn trusting(authority: &Authority) -> Tls {
    Tls::builder().roots(authority.pem()).build().unwrap()
}

fn showing(authority: &Authority, identity: &Identity) -> Tls {
    let tls = Tls::builder().roots(authority.pem());
    tls.client_certificate(identity.pem(), identity.key_pem()).build().unwrap()
}

fn builder(server: &TestServer, tls: Tls) -> Builder {
    let url = format!("rediss://{}", server.addresses()[0]);
    Client::builder(&url).unwrap().tls(tls).pool_size(1)
}

fn failure(server: &TestServer, tls: Tls) -> Error {
    block_on(builder(server, tls).connect()).expect_err("it cannot connect")
}

/// A server is believed if one of the roots vouches for it, in whichever form they come. RULE-180
#[test]
fn a_server_is_believed_by_its_authority() {
    let (authority, other) = (Authority::new("ours"), Authority::new("another"));
    let server = serve_encrypted(&authority.certify(&[HERE]).server(None));
    for tls in [
        trusting(&authority),
        Tls::builder().roots(authority.der()).build().unwrap(),
        Tls::builder().roots(other.pem()).roots(authority.pem()).build().unwrap(),
        Tls::builder().roots(other.pem() + &authority.pem()).build().unwrap(),
        Tls::builder().dangerous_accept_any_server().build().unwrap(),
    ] {
        block_on(async {
            let client = builder(&server, tls).connect().await.unwrap();
            client.call(cmd("PING")).await.unwrap();
        });
    }
}

/// Values that are longer than what a session keeps, and more of them than it keeps, both ways; in each version of TLS.
/// RULE-182
#[test]
fn everything_arrives_whatever_its_length() {
    let authority = Authority::new("ours");
    let identity = authority.certify(&[HERE]);
    for versions in [&[&version::TLS12][..], &[&version::TLS13]] {
        let server = serve_encrypted(&identity.server_of(versions, None));
        block_on(async {
            let client = builder(&server, trusting(&authority)).connect().await.unwrap();
            for length in [0, 1, 16 * 1024, 64 * 1024 + 1, 3 << 20] {
                let value: Vec<u8> = (0..length).map(|i: u32| i.to_le_bytes()[1]).collect();
                client.call(cmd("SET").arg("k").arg(&value[..])).await.unwrap();
                let read = client.call(cmd("GET").arg("k")).await.unwrap();
                assert_eq!(read.as_bytes(), Some(&value[..]), "{length}");
            }
            let many = (0..20_000).fold(Pipeline::new(), |batch, _| batch.command(cmd("INCR").arg("n")));
            let replies = client.pipeline(many).await.unwrap();
            assert_eq!(replies.last(), Some(&Frame::Integer(20_000)));
        });
    }
}

/// What somebody reads says whose certificate it is about, what is wrong with it, and what to do. RULE-181
#[test]
fn a_server_that_is_not_believed_is_an_error_that_says_why() {
    let (authority, other) = (Authority::new("ours"), Authority::new("another"));
    let wrong_name = authority.certify(&["a.example.com", "b.example.com", "c.example.com", "d.example.com"]);
    let made_anew = Authority::new("ours");
    let rows: [(Identity, &[&str]); 5] = [
        (other.certify(&[HERE]), &["no authority that is trusted", "`Tls::builder().roots(..)`"]),
        (
            made_anew.certify(&[HERE]),
            &["has not signed", "made anew", "`Tls::builder().roots(..)`", "damaged"],
        ),
        (authority.certify_until_long_ago(&[HERE]), &["has expired", "clock"]),
        (
            wrong_name,
            &["valid for a.example.com, b.example.com, c.example.com and others only", "`server_name`"],
        ),
        (authority.certify(&["10.0.0.1"]), &["valid for ", "`server_name`"]),
    ];
    for (identity, says) in rows {
        let server = serve_encrypted(&identity.server(None));
        let error = failure(&server, trusting(&authority));
        let Error::Connect(reason) = &error else { panic!("{error:?}") };
        assert!(matches!(reason.last(), ConnectError::Connect(_)), "{error:?}");
        let text = error.to_string();
        let at = format!("cannot connect to {}: TLS with {HERE}: ", server.addresses()[0]);
        for word in says.iter().chain([&at.as_str()]) {
            assert!(text.contains(word), "{text:?} does not say {word:?}");
        }
        assert!(text.len() < 400, "{text}");
    }
}

/// What people make with openssl when they are in a hurry. RULE-181, RULE-238
#[test]
fn certificates_that_do_not_fit_together_are_told_apart() {
    let authority = Authority::new("ours");
    let leaf = authority.certify(&[HERE]);
    // The server's own certificate as a root.
    let error = Tls::builder().roots(leaf.pem()).build().unwrap_err().to_string();
    assert!(
        error.starts_with("roots is not valid") && error.contains("the certificate of a server"),
        "{error}"
    );
    assert!(error.contains("the authority that did"), "{error}");
    // One that has signed itself is a root.
    let own = Authority::self_signed(&[HERE], false);
    let server = serve_encrypted(&own.server(None));
    let tls = Tls::builder().roots(own.pem()).build().unwrap();
    block_on(async { builder(&server, tls).connect().await.unwrap().call(cmd("PING")).await.unwrap() });
    // A bundle with an authority in it is what it is.
    Tls::builder().roots(leaf.pem() + &authority.pem()).build().unwrap();

    // `openssl req -x509` makes an authority, which is none of a server.
    let both = Authority::self_signed(&[HERE], true);
    let server = serve_encrypted(&both.server(None));
    let text = failure(&server, Tls::builder().roots(both.pem()).build().unwrap()).to_string();
    assert!(text.contains("CA:TRUE") && text.contains("CA:FALSE"), "{text}");

    // An authority in the middle that is none.
    let middle = authority.certify_authority("middle", false);
    let server = serve_encrypted(&middle.certify(&[HERE]).behind(&middle).server(None));
    let text = failure(&server, trusting(&authority)).to_string();
    assert!(text.contains("lacks CA:TRUE"), "{text}");
    let middle = authority.certify_authority("middle", true);
    let server = serve_encrypted(&middle.certify(&[HERE]).behind(&middle).server(None));
    block_on(async { builder(&server, trusting(&authority)).connect().await.unwrap() });

    // A certificate for servers, shown by a client.
    let server = serve_encrypted(&authority.certify(&[HERE]).server(Some(&authority)));
    let text = failure(&server, showing(&authority, &authority.certify_server(&["client"]))).to_string();
    assert!(text.contains("does not accept the client certificate") && text.contains("clientAuth"), "{text}");
}

/// The roots of the system do not vouch for what a test makes. RULE-180, RULE-181
#[test]
fn without_roots_of_ones_own_those_of_the_system_count() {
    let server = serve_encrypted(&Authority::new("ours").certify(&[HERE]).server(None));
    let url = format!("rediss://{}", server.addresses()[0]);
    let error = block_on(Client::connect(&url)).unwrap_err().to_string();
    assert!(error.contains("`Tls::builder().roots(..)`"), "{error}");
}

/// A port without TLS, one that hangs up, and a port for TLS that is spoken to without. RULE-181
#[test]
fn the_wrong_kind_of_port_is_named() {
    let authority = Authority::new("ours");
    let plain = serve();
    let text = failure(&plain, trusting(&authority)).to_string();
    assert!(text.contains("does not speak TLS") && text.contains("redis://"), "{text}");

    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = silent.local_addr().unwrap();
    let url = format!("rediss://{address}");
    let thread = std::thread::spawn(move || {
        for stream in silent.incoming().take(4) {
            let _ = stream.and_then(|mut stream| stream.read(&mut [0; 4096]));
        }
    });
    let builder = Client::builder(&url).unwrap().tls(trusting(&authority)).pool_size(1);
    let text = block_on(builder.connect()).unwrap_err().to_string();
    assert!(text.contains("Does it speak TLS at this port?"), "{text}");
    // It waits for four, and the client may have been content with fewer.
    (0..4).for_each(|_| drop(std::net::TcpStream::connect(address)));
    thread.join().unwrap();

    // A Redis server waits for the end of a line.
    let waits = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("rediss://{}", waits.local_addr().unwrap());
    let builder = Client::builder(&url).unwrap().tls(trusting(&authority)).pool_size(1);
    let error = block_on(builder.connect_timeout(2 * SECOND).connect()).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("TLS: the server took the connection and sent nothing within 2s"), "{text}");
    assert!(text.contains("redis:// (valkey://)"), "{text}");

    let encrypted = serve_encrypted(&authority.certify(&[HERE]).server(None));
    let url = format!("redis://{}", encrypted.addresses()[0]);
    let text = block_on(Client::connect(&url)).unwrap_err().to_string();
    assert!(text.contains("TLS"), "{text}");
}

/// The server asks for a certificate of the client: one that it trusts, another one, none. RULE-183
#[test]
fn the_client_shows_its_certificate() {
    let (authority, other) = (Authority::new("ours"), Authority::new("another"));
    let (right, wrong) = (authority.certify(&["client"]), other.certify(&["client"]));
    for versions in [&[&version::TLS12][..], &[&version::TLS13]] {
        let config = authority.certify(&[HERE]).server_of(versions, Some(&authority));
        let server = serve_encrypted(&config);
        block_on(async {
            let client = builder(&server, showing(&authority, &right)).connect().await.unwrap();
            client.call(cmd("PING")).await.unwrap();
            let (certificate, key) = right.der();
            let der = Tls::builder().roots(authority.der()).client_certificate(certificate, key);
            builder(&server, der.build().unwrap()).connect().await.unwrap();
        });
        let text = failure(&server, showing(&authority, &wrong)).to_string();
        assert!(text.contains("does not accept the client certificate"), "{text}");
        let error = failure(&server, trusting(&authority));
        let text = error.to_string();
        assert!(text.contains("`Tls::builder().client_certificate(..)`"), "{text}");
        assert!(!text.contains("PRIVATE KEY"), "{text}");
    }
}

/// After the handshake only the driver hears what TLS 1.3 says of the client. RULE-183
#[test]
fn a_client_that_lacks_a_certificate_is_told_so_in_each_version() {
    let authority = Authority::new("ours");
    let server = serve_encrypted(&authority.certify(&[HERE]).server(Some(&authority)));
    let Error::Connect(error) = failure(&server, trusting(&authority)) else { panic!("it is refused") };
    let lost = ConnectError::LostInHandshake(CloseCause::Tls(TlsFault::CertificateRequired));
    assert_eq!(error.last(), &lost);
}

/// A tunnel: the address is not that of the name. RULE-184
#[test]
fn the_name_to_verify_can_be_set() {
    let authority = Authority::new("ours");
    let server = serve_encrypted(&authority.certify(&["redis.example.com"]).server(None));
    block_on(async {
        let named = builder(&server, trusting(&authority)).server_name("redis.example.com");
        named.connect().await.unwrap().call(cmd("PING")).await.unwrap();
    });
    let wrong = builder(&server, trusting(&authority)).server_name("redis.example.org");
    let text = block_on(wrong.connect()).unwrap_err().to_string();
    assert!(text.contains("TLS with redis.example.org") && text.contains("redis.example.com"), "{text}");
}

/// What a call without a connection reads names the certificate. RULE-181
#[test]
fn a_call_without_a_connection_is_told_of_the_certificate() {
    let (authority, other) = (Authority::new("ours"), Authority::new("another"));
    let server = serve_encrypted(&authority.certify(&[HERE]).server(None));
    let address = server.addresses()[0];
    block_on(async {
        let client = builder(&server, trusting(&authority)).when_disconnected(WhenDisconnected::Fail);
        let client = client.command_timeout(None).connect().await.unwrap();
        let mut events = client.events();
        drop(server);
        // Somebody else listens there now.
        let mut stranger = Server::new(ServerConfig::default());
        stranger.add_endpoint(EndpointSpec::new(address));
        let config = other.certify(&[HERE]).server(None);
        let _stranger = TcpServer::start_encrypted(stranger, |_| Arc::clone(&config)).unwrap();
        let is_about_it = |error: &ConnectError| error.to_string().contains("no authority that is trusted");
        while !matches!(events.next().await.unwrap().unwrap(), Event::ConnectFailed { error, .. } if is_about_it(&error))
        {
        }
        let error = client.call(cmd("PING")).await.unwrap_err();
        assert!(
            matches!(error, Error::Request(RequestError::NoConnection { .. }))
                || matches!(error, Error::Send(_)),
            "{error:?}"
        );
        assert!(error.to_string().contains("no authority that is trusted"), "{error}");
    });
}

/// A link may end with TLS's closing message, without one, or in the middle of everything: it is an end like any other, and
/// the client comes back. RULE-182
#[test]
fn ends_of_links_are_ends() {
    let authority = Authority::new("ours");
    let server = serve_encrypted(&authority.certify(&[HERE]).server(None));
    block_on(async {
        let client = builder(&server, trusting(&authority)).connect().await.unwrap();
        let mut events = client.events();
        for how in [CloseHow::Fin, CloseHow::Reset] {
            client.call(cmd("PING")).await.unwrap();
            server.with(|server, now| server.kill_all(now, endpoint(server), how));
            let cause = loop {
                if let Event::ConnectionClosed { cause, .. } = events.next().await.unwrap().unwrap() {
                    break cause;
                }
            };
            assert!(how == CloseHow::Reset || cause == CloseCause::ByServer, "{cause:?}");
        }
        client.call(cmd("PING")).await.unwrap();
    });
}

/// A connection that is opened again resumes a session of the one before. RULE-185
#[test]
fn sessions_are_resumed() {
    let authority = Authority::new("ours");
    let taken = Arc::new(Resumptions::default());
    let mut config = rustls::ServerConfig::clone(&authority.certify(&[HERE]).server(None));
    config.session_storage = Arc::clone(&taken) as Arc<dyn StoresServerSessions>;
    let server = serve_encrypted(&Arc::new(config));
    block_on(async {
        let client = builder(&server, trusting(&authority)).connect().await.unwrap();
        client.call(cmd("PING")).await.unwrap();
        assert_eq!(taken.count.load(Ordering::Relaxed), 0);
        server.with(|server, now| server.kill_all(now, endpoint(server), CloseHow::Fin));
        client.call(cmd("PING")).await.unwrap();
        assert_eq!(taken.count.load(Ordering::Relaxed), 1);
    });
}

/// Counts the sessions that clients take up again.
#[derive(Debug)]
struct Resumptions {
    sessions: Arc<ServerSessionMemoryCache>,
    count: AtomicUsize,
}

impl Default for Resumptions {
    fn default() -> Self {
        Self { sessions: ServerSessionMemoryCache::new(16), count: AtomicUsize::new(0) }
    }
}

impl StoresServerSessions for Resumptions {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        self.sessions.put(key, value)
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.sessions.get(key)
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        let session = self.sessions.take(key);
        self.count.fetch_add(usize::from(session.is_some()), Ordering::Relaxed);
        session
    }

    fn can_cache(&self) -> bool {
        true
    }
}

/// Who gives up while the server says nothing in the handshake leaves no socket behind. INV-15, RULE-186
#[test]
fn a_handshake_that_is_given_up_leaves_nothing() {
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("rediss://{}", silent.local_addr().unwrap());
    let tls = trusting(&Authority::new("ours"));
    block_on(async {
        let builder = Client::builder(&url).unwrap().tls(tls).pool_size(1);
        let mut connecting = Some(Box::pin(builder.connect_timeout(60 * SECOND).connect()));
        let hello = std::thread::spawn(move || {
            let mut stream = silent.accept().unwrap().0;
            assert!(stream.read(&mut [0; 4096]).unwrap() > 0);
            stream
        });
        std::future::poll_fn(|cx| {
            let _ = connecting.as_mut().map(|connecting| connecting.as_mut().poll(cx));
            Poll::Ready(())
        })
        .await;
        let mut stream = hello.join().unwrap();
        drop(connecting.take());
        assert_eq!(stream.read(&mut [0; 4096]).unwrap_or(0), 0, "the socket is closed");
    });
}

/// Another crate has made cryptography that can do nothing the default of the process. RULE-180
#[test]
fn the_default_cryptography_of_the_process_does_not_matter() {
    let useless = CryptoProvider { cipher_suites: Vec::new(), ..ring::default_provider() };
    // Whichever test of this process comes first.
    let _ = useless.install_default();
    let authority = Authority::new("ours");
    let server = serve_encrypted(&authority.certify(&[HERE]).server(None));
    block_on(async {
        let client = builder(&server, trusting(&authority)).connect().await.unwrap();
        client.call(cmd("PING")).await.unwrap();
    });
}

/// RULE-183
#[test]
fn a_key_of_another_certificate_is_an_error_at_once() {
    let authority = Authority::new("ours");
    let (one, other) = (authority.certify(&["one"]), authority.certify(&["other"]));
    let error = Tls::builder().client_certificate(one.pem(), other.key_pem()).build().unwrap_err();
    assert!(error.to_string().contains("its key is that of another certificate"), "{error}");
}

/// The streams of the adapter, a few bytes at a time, and often not at once. RULE-182
#[test]
fn records_may_come_and_go_in_pieces() {
    let authority = Authority::new("ours");
    let server = serve_encrypted(&authority.certify(&[HERE]).server(None));
    block_on(async {
        let client = builder(&server, trusting(&authority)).network(Trickle).connect().await.unwrap();
        let value: Vec<u8> = (0..40_000).map(|i: u32| i.to_le_bytes()[1]).collect();
        client.call(cmd("SET").arg("k").arg(&value[..])).await.unwrap();
        assert_eq!(client.call(cmd("GET").arg("k")).await.unwrap().as_bytes(), Some(&value[..]));
    });
}

struct Trickle;

impl Resolver for Trickle {
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        Adapter.resolve(host).await
    }
}

impl Connector for Trickle {
    type Stream = Drops;

    async fn connect(&self, target: Target) -> io::Result<(Drops, Peer)> {
        let (stream, peer) = Adapter.connect(target).await?;
        Ok((Drops { stream, polls: 0 }, peer))
    }
}

struct Drops {
    stream: Stream,
    polls: u32,
}

impl Drops {
    /// Every third poll comes to nothing.
    fn poll_turn(&mut self, cx: &Context<'_>) -> Poll<()> {
        self.polls = self.polls.wrapping_add(1);
        if self.polls.is_multiple_of(3) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(())
    }
}

impl driver::Stream for Drops {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut BytesMut) -> Poll<io::Result<usize>> {
        ready!(self.poll_turn(cx));
        let mut drop = BytesMut::with_capacity(7);
        let count = ready!(self.stream.poll_read(cx, &mut drop))?;
        buffer.extend_from_slice(&drop);
        Poll::Ready(Ok(count))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_turn(cx));
        self.stream.poll_write(cx, &bytes[..bytes.len().min(5)])
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_turn(cx));
        self.stream.poll_flush(cx)
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.poll_close(cx)
    }
}

/// One of the addresses of a name takes connections and says nothing to them: it costs no attempt its time. RULE-186
#[cfg(target_os = "linux")]
#[test]
fn an_address_that_does_not_answer_the_handshake_is_passed_over() {
    let authority = Authority::new("ours");
    let config = authority.certify(&["redis.test"]).server(None);
    let (_silent, server) = on_one_port(|port| {
        let silent = TcpListener::bind((Ipv4Addr::new(127, 0, 0, 2), port))?;
        let mut server = Server::new(ServerConfig::default());
        server.add_endpoint(EndpointSpec::new((Ipv4Addr::LOCALHOST, port).into()));
        Ok((silent, TcpServer::start_encrypted(server, |_| Arc::clone(&config))?))
    })
    .unwrap();
    let names = Names::default();
    names.set("redis.test", vec![[127, 0, 0, 2].into(), [127, 0, 0, 1].into()]);
    let url = format!("rediss://redis.test:{}", server.addresses()[0].port());
    block_on(async {
        let builder = Client::builder(&url).unwrap().tls(trusting(&authority)).pool_size(4);
        let builder = builder.connect_timeout(30 * SECOND).network(names.over(Adapter));
        let mut events = builder.events();
        let client = builder.connect().await.unwrap();
        client.call(cmd("PING")).await.unwrap();
        let failed = std::iter::from_fn(|| events.try_next())
            .filter(|event| matches!(event, Ok(Event::ConnectFailed { .. })))
            .count();
        assert_eq!(failed, 0);
    });
}
