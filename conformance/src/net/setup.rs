//! The server of a world, behind sockets at loopback addresses.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU8, Ordering};

use super::tcp::TcpServer;
use crate::server::{Server, ServerMachine};
use crate::world::{Layout, Setup};

/// Gives the endpoints of a world's server their addresses and listens there: for worlds over sockets.
///
/// # Errors
/// The reason why that is not possible here, for [`Host::world`](crate::world::Host::world).
pub fn start(mut setup: Setup) -> Result<TcpServer<Server>, String> {
    assign_addresses(&mut setup.server, setup.layout)?;
    let server = TcpServer::start_as(setup.server, setup.encryption);
    server.map_err(|error| format!("the endpoints cannot be bound here: {error}"))
}

/// Gives endpoints without a port loopback addresses that no other test uses.
fn assign_addresses(server: &mut Server, layout: Layout) -> Result<(), String> {
    if layout == Layout::Ports {
        // The system picks the ports.
        return Ok(());
    }
    if cfg!(not(target_os = "linux")) {
        return Err("only Linux has all of 127.0.0.0/8".to_owned());
    }
    let mut port = (layout == Layout::DefaultPort).then_some(6379);
    for endpoint in server.endpoints() {
        if server.address(endpoint).port() != 0 {
            continue;
        }
        let host = next_loopback();
        let port = match port {
            Some(port) => port,
            None => *port.insert(free_port(host)?),
        };
        server.set_address(endpoint, SocketAddr::new(host, port));
    }
    Ok(())
}

/// 127.p.q.n: from the process and a count.
fn next_loopback() -> IpAddr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [.., high, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, 64 | (high & 63), low, NEXT.fetch_add(1, Ordering::Relaxed)).into()
}

fn free_port(host: IpAddr) -> Result<u16, String> {
    let probe = TcpListener::bind((host, 0)).and_then(|listener| listener.local_addr());
    Ok(probe.map_err(|error| format!("{host} cannot be bound: {error}"))?.port())
}
