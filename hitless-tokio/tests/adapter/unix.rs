//! Unix sockets.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;

use hitless_conformance::server::OptInOutcome;

use super::{EndpointSpec, ServerConfig, endpoint, serve_with};
use crate::block_on;
use crate::hitless::{Client, Frame, Peer, cmd};

/// They work, and ask for notifications without naming an endpoint type. PITFALL-34, RULE-21
#[test]
fn a_unix_socket_is_an_address_too() {
    let server = serve_with(ServerConfig::default(), EndpointSpec::loopback());
    let name = format!("{}-{}.sock", env!("CARGO_PKG_NAME"), std::process::id());
    let path = std::env::temp_dir().join(name);
    let listener = UnixListener::bind(&path).unwrap();
    let upstream = server.addresses()[0];
    let proxy = thread::spawn(move || serve_one(&listener, upstream));
    block_on(async {
        let url = format!("unix://{}", path.display());
        let client = Client::builder(&url).unwrap().pool_size(1).connect().await.unwrap();
        assert_eq!(client.call(cmd("PING")).await.unwrap(), Frame::simple("PONG"));
        let peers: Vec<Peer> = client.stats().coordinator.connections.keys().cloned().collect();
        assert_eq!(peers, [Peer::Unix(path.as_path().into())]);
    });
    let asked_for = server.with(|server, _| {
        let ledger = server.ledger();
        ledger.opt_ins(endpoint(server)).map(|(_, outcome)| outcome.clone()).collect::<Vec<_>>()
    });
    assert_eq!(asked_for, [OptInOutcome::Accepted(Some("none".into()))]);
    proxy.join().unwrap();
    std::fs::remove_file(&path).unwrap();
}

/// Joins the next connection to `upstream` until either side ends.
fn serve_one(listener: &UnixListener, upstream: SocketAddr) {
    let (client, _) = listener.accept().unwrap();
    let server = TcpStream::connect(upstream).unwrap();
    let (mut from_client, mut to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    let upwards = thread::spawn(move || {
        let _ = io::copy(&mut from_client, &mut to_server);
        let _ = to_server.shutdown(Shutdown::Both);
    });
    downwards(server, client);
    upwards.join().unwrap();
}

fn downwards(mut server: TcpStream, mut client: UnixStream) {
    let _ = io::copy(&mut server, &mut client);
    let _ = client.shutdown(Shutdown::Both);
}
