//! The client with a plain `redis-server` that speaks TLS, which `HITLESS_REDIS_SERVER` names.

#![cfg(feature = "tls")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use hitless_conformance::net::certificates::{Authority, Identity};
use hitless_conformance::net::redis_process::RedisProcess;
use hitless_tokio::{Builder, Client, Frame, Tls, TlsBuilder, cmd};

/// A server with a port for TLS, and the files that it reads at its start.
struct RedisTls {
    _process: RedisProcess,
    port: u16,
    files: PathBuf,
}

impl RedisTls {
    /// Somebody else may take the port before the server does: another one is tried then.
    fn start(authority: &Authority, identity: &Identity, clients: &str) -> Self {
        let mut attempt = Self::attempt(authority, identity, clients);
        for _ in 1..5 {
            match &attempt {
                Err(error) if error.kind() == ErrorKind::AddrInUse => {
                    attempt = Self::attempt(authority, identity, clients);
                }
                _ => break,
            }
        }
        attempt.unwrap()
    }

    fn attempt(authority: &Authority, identity: &Identity, clients: &str) -> io::Result<Self> {
        let program =
            std::env::var_os("HITLESS_REDIS_SERVER").expect("HITLESS_REDIS_SERVER names the program");
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let files = std::env::temp_dir().join(format!("hitless-tls-{}-{port}", std::process::id()));
        std::fs::create_dir_all(&files).unwrap();
        let write = |name: &str, text: String| {
            let path = files.join(name);
            std::fs::write(&path, text).unwrap();
            path.into_os_string().into_string().unwrap()
        };
        let (ca, certificate) = (write("ca.pem", authority.pem()), write("server.pem", identity.pem()));
        let key = write("server.key", identity.key_pem());
        let port_text = port.to_string();
        let options = ["--tls-port", &port_text, "--tls-cert-file", &certificate, "--tls-key-file", &key];
        let options = [&options[..], &["--tls-ca-cert-file", &ca, "--tls-auth-clients", clients]].concat();
        let process = RedisProcess::start(Path::new(&program), &options)?;
        Ok(Self { _process: process, port, files })
    }

    fn client(&self, host: &str, tls: TlsBuilder) -> Builder {
        let url = format!("rediss://{host}:{}", self.port);
        Client::builder(&url).unwrap().tls(tls.build().unwrap()).pool_size(3)
    }
}

impl Drop for RedisTls {
    fn drop(&mut self) {
        // What is left is a few files in the directory for such.
        let _ = std::fs::remove_dir_all(&self.files);
    }
}

/// By name and by address, with values of every length. RULE-180, RULE-182
#[tokio::test]
#[ignore = "needs a redis-server: cargo xtask test-all runs them"]
async fn everything_works_over_tls() {
    let authority = Authority::new("ours");
    let identity = authority.certify(&["localhost", "127.0.0.1"]);
    let server = RedisTls::start(&authority, &identity, "no");
    for host in ["localhost", "127.0.0.1"] {
        let client = server.client(host, Tls::builder().roots(authority.pem())).connect().await.unwrap();
        for length in [0, 1, 16 * 1024, 5 << 20] {
            let value = vec![b'v'; length];
            client.call(cmd("SET").arg("k").arg(&value[..])).await.unwrap();
            assert_eq!(client.call(cmd("GET").arg("k")).await.unwrap().as_bytes(), Some(&value[..]));
        }
        // The server closes the only link that is in use: the client comes back.
        let id = client.call(cmd("CLIENT").arg("ID")).await.unwrap();
        let killed =
            client.call(cmd("CLIENT").args(["KILL", "TYPE", "normal", "SKIPME", "yes"])).await.unwrap();
        assert_eq!((id.as_int().is_some(), killed), (true, Frame::Integer(2)));
        client.call(cmd("PING")).await.unwrap();
    }
}

/// The server asks for certificates, as it does unless it is told otherwise. RULE-183
#[tokio::test]
#[ignore = "needs a redis-server: cargo xtask test-all runs them"]
async fn the_client_shows_its_certificate() {
    let (authority, other) = (Authority::new("ours"), Authority::new("another"));
    let identity = authority.certify(&["127.0.0.1"]);
    let server = RedisTls::start(&authority, &identity, "yes");
    let showing = |client: Identity| {
        Tls::builder().roots(authority.pem()).client_certificate(client.pem(), client.key_pem())
    };
    let right = server.client("127.0.0.1", showing(authority.certify(&["client"])));
    right.connect().await.unwrap().call(cmd("PING")).await.unwrap();

    let wrong = server.client("127.0.0.1", showing(other.certify(&["client"]))).connect().await.unwrap_err();
    assert!(wrong.to_string().contains("does not accept the client certificate"), "{wrong}");
    let none = server.client("127.0.0.1", Tls::builder().roots(authority.pem())).connect().await.unwrap_err();
    assert!(none.to_string().contains("`Tls::builder().client_certificate(..)`"), "{none}");
}

/// A server without TLS waits for the end of a line, and says nothing to the handshake. RULE-238
#[tokio::test]
#[ignore = "needs a redis-server: cargo xtask test-all runs them"]
async fn a_port_without_tls_is_named() {
    let program = std::env::var_os("HITLESS_REDIS_SERVER").expect("HITLESS_REDIS_SERVER names the program");
    let server = RedisProcess::start(Path::new(&program), &[]).unwrap();
    let builder = Client::builder(&format!("rediss://{}", server.address())).unwrap().pool_size(1);
    let builder = builder.tls(Tls::builder().dangerous_accept_any_server().build().unwrap());
    let error = builder.connect_timeout(Duration::from_secs(3)).connect().await.unwrap_err();
    assert!(error.to_string().contains("TLS: the server took the connection and sent nothing"), "{error}");
}

/// The port for TLS is spoken to without. RULE-181
#[tokio::test]
#[ignore = "needs a redis-server: cargo xtask test-all runs them"]
async fn the_port_for_tls_is_named() {
    let authority = Authority::new("ours");
    let identity = authority.certify(&["127.0.0.1"]);
    let server = RedisTls::start(&authority, &identity, "no");
    let plain = format!("redis://127.0.0.1:{}", server.port);
    let error = Client::connect(&plain).await.unwrap_err();
    assert!(error.to_string().contains("TLS"), "{error}");
}
