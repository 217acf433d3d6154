//! The networks of the example `network`: a SOCKS5 proxy, and a table of names.

use std::collections::HashMap;
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::serve;
use crate::block_on;
use crate::hitless::{Client, Frame, Peer, cmd};

#[path = "../../examples/network/socks.rs"]
mod socks;
#[path = "../../examples/network/table.rs"]
mod table;

use self::socks::Socks;
use self::table::Table;

/// Every connection goes through the proxy, and is known by the address of the server behind it. RULE-237
#[test]
fn connections_may_go_through_a_proxy() {
    let server = serve();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let proxy = listener.local_addr().unwrap();
    let upstream = server.addresses()[0];
    let thread = thread::spawn(move || serve_one(listener.accept().unwrap().0, 0).unwrap());
    block_on(async {
        let builder = Client::builder(&format!("redis://{upstream}")).unwrap().pool_size(1);
        let client = builder.network(Socks { proxy, looks_up: false }).connect().await.unwrap();
        assert_eq!(client.call(cmd("PING")).await.unwrap(), Frame::simple("PONG"));
        let peers: Vec<Peer> = client.stats().coordinator.connections.keys().cloned().collect();
        assert_eq!(peers, [Peer::from(upstream)]);
    });
    assert_eq!(thread.join().unwrap(), upstream, "what the proxy was asked for");
}

/// What the proxy says is what is read.
#[test]
fn a_proxy_that_refuses_is_named() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let proxy = listener.local_addr().unwrap();
    let is_over = Arc::new(AtomicBool::new(false));
    let thread = thread::spawn({
        let is_over = Arc::clone(&is_over);
        move || {
            loop {
                let (client, _) = listener.accept().unwrap();
                if is_over.load(Ordering::Acquire) {
                    return;
                }
                // Who has given up in between reads no refusal.
                let _ = serve_one(client, 5);
            }
        }
    });
    let builder = Client::builder("redis://127.0.0.1:1").unwrap().pool_size(1);
    let error =
        block_on(builder.network(Socks { proxy, looks_up: false }).connect()).unwrap_err().to_string();
    is_over.store(true, Ordering::Release);
    // It is accepted, or the thread has ended at another one.
    let _ = TcpStream::connect(proxy);
    let said = format!(
        "cannot connect to 127.0.0.1:1: SOCKS proxy {proxy}: it cannot connect: the connection is refused"
    );
    assert!(error.contains(&said), "{error}");
    thread.join().unwrap();
}

/// A proxy that is not there is told from a server that is not there, and names stay on this side unless somebody wants them looked up.
#[test]
fn a_proxy_that_is_not_there_is_named() {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let connect = |url: &str, looks_up| {
        let builder = Client::builder(url).unwrap().pool_size(1).network(Socks { proxy: free, looks_up });
        block_on(builder.connect()).unwrap_err().to_string()
    };
    let error = connect("redis://127.0.0.1:1", false);
    assert!(error.contains(&format!("cannot connect to 127.0.0.1:1: SOCKS proxy {free}: ")), "{error}");
    let error = connect("redis://localhost:1", false);
    assert!(error.contains("cannot resolve localhost: names are not looked up"), "{error}");
    let error = connect("redis://localhost:1", true);
    assert!(error.contains(&format!(":1: SOCKS proxy {free}: ")), "{error}");
}

/// Names lead where the table says, and to nowhere else. RULE-237
#[test]
fn names_may_come_from_a_table() {
    let server = serve();
    let address = server.addresses()[0];
    let table = Table(HashMap::from([("redis.test".to_owned(), vec![IpAddr::from(Ipv4Addr::LOCALHOST)])]));
    let builder = |host: &str| {
        let url = format!("redis://{host}:{}", address.port());
        Client::builder(&url).unwrap().pool_size(1).network(table.clone())
    };
    block_on(async {
        let client = builder("redis.test").connect().await.unwrap();
        assert_eq!(client.call(cmd("PING")).await.unwrap(), Frame::simple("PONG"));
        let error = builder("elsewhere.test").connect().await.unwrap_err().to_string();
        assert!(error.contains("cannot resolve elsewhere.test: the table has no such name"), "{error}");
    });
}

/// A SOCKS5 proxy for one connection, which answers with `code`. Returns what it was asked for.
fn serve_one(mut client: TcpStream, code: u8) -> io::Result<SocketAddr> {
    let mut hello = [0; 3];
    client.read_exact(&mut hello)?;
    assert_eq!(hello, [5, 1, 0]);
    client.write_all(&[5, 0])?;
    let mut request = [0; 10];
    client.read_exact(&mut request)?;
    assert_eq!(request[..4], [5, 1, 0, 1]);
    let ip = Ipv4Addr::new(request[4], request[5], request[6], request[7]);
    let address = SocketAddr::from((ip, u16::from_be_bytes([request[8], request[9]])));
    client.write_all(&[5, code, 0, 1, 0, 0, 0, 0, 0, 0])?;
    if code == 0 {
        let server = TcpStream::connect(address)?;
        let (from_client, to_server) = (client.try_clone()?, server.try_clone()?);
        let upwards = thread::spawn(move || join(from_client, to_server));
        join(server, client);
        upwards.join().unwrap();
    }
    Ok(address)
}

/// Hands on what comes until either side ends.
fn join(mut from: TcpStream, mut to: TcpStream) {
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Both);
}
