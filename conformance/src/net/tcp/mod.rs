//! Any [`ServerMachine`] behind TCP sockets, with plain threads: one for each connection, one for each endpoint, one
//! for the time.
//!
//! Whoever makes a connection ready also writes to it: the replies to what one read brought leave in one write, from
//! the thread that read. Nothing polls. When a [`TcpServer`] is dropped, its sockets are closed and its threads joined.

mod acceptor;
mod link;
mod shared;
mod transport;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use crate::server::{EndpointId, ServerMachine};
use crate::world::Encryption;
use acceptor::{Acceptor, Slot};
use shared::{Port, Shared, spawn};
use transport::Security;

/// Ports that are tried before [`on_one_port`] gives up.
const PORTS: usize = 16;

/// Calls `start` with a port that the system picked: for servers that listen at one port of several addresses, as the
/// nodes behind one name do. It is called again with another port if that one is taken at one of them.
///
/// # Errors
/// Those of `start`; [`AddrInUse`](io::ErrorKind::AddrInUse) only after many ports.
pub fn on_one_port<T>(mut start: impl FnMut(u16) -> io::Result<T>) -> io::Result<T> {
    let mut attempt = || {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        start(port)
    };
    let mut result = attempt();
    for _ in 1..PORTS {
        match &result {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => result = attempt(),
            _ => break,
        }
    }
    result
}

/// A server machine that listens on TCP.
///
/// ```
/// use hitless_conformance::net::tcp::TcpServer;
/// use hitless_conformance::server::{EndpointSpec, Moving, Server, ServerConfig, Target};
/// use std::time::Duration;
///
/// let mut server = Server::new(ServerConfig::default());
/// let [old, new] = [EndpointSpec::loopback(), EndpointSpec::loopback()].map(|spec| server.add_endpoint(spec));
/// let server = TcpServer::start(server)?;
/// let _url = format!("redis://{}", server.address(old));
/// server.with(|server, now| server.moving(now, old, Moving::new(Target::Endpoint(new), Duration::from_secs(5))));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct TcpServer<M: ServerMachine + Send + 'static> {
    shared: Arc<Shared<M>>,
    acceptors: Vec<Acceptor>,
    pump: Option<JoinHandle<()>>,
}

impl<M: ServerMachine + Send + 'static> TcpServer<M> {
    /// Binds every endpoint at its address and serves it. The machine is told the ports that the system picked.
    ///
    /// # Errors
    /// An address cannot be bound, or a thread not be started.
    pub fn start(machine: M) -> io::Result<Self> {
        Self::start_with(machine, |_| Security::Plain)
    }

    /// The same, where the endpoints speak what `encryption` says.
    ///
    /// # Errors
    /// Those of [`start`](Self::start).
    ///
    /// # Panics
    /// If `encryption` is for fewer endpoints than there are.
    pub fn start_as(machine: M, encryption: Encryption) -> io::Result<Self> {
        match encryption {
            Encryption::None => Self::start(machine),
            #[cfg(feature = "tls")]
            Encryption::Tls(configs) => {
                let mut configs = configs.into_iter();
                Self::start_encrypted(machine, |_| configs.next().expect("one for each endpoint"))
            }
        }
    }

    /// The same, where each endpoint speaks TLS as `config` says.
    ///
    /// # Errors
    /// Those of [`start`](Self::start).
    #[cfg(feature = "tls")]
    pub fn start_encrypted(
        machine: M,
        mut config: impl FnMut(EndpointId) -> Arc<rustls::ServerConfig>,
    ) -> io::Result<Self> {
        Self::start_with(machine, |endpoint| Security::Tls(config(endpoint)))
    }

    fn start_with(mut machine: M, mut security: impl FnMut(EndpointId) -> Security) -> io::Result<Self> {
        let mut bound = Vec::new();
        for endpoint in machine.endpoints() {
            let (slot, socket, address) = acceptor::bind(machine.address(endpoint))?;
            machine.set_address(endpoint, address);
            bound.push((endpoint, slot, socket));
        }
        let slot_of = |(endpoint, slot, _): &(EndpointId, Arc<Slot>, TcpListener)| Port {
            endpoint: *endpoint,
            slot: Arc::clone(slot),
            security: security(*endpoint),
        };
        let slots = bound.iter().map(slot_of).collect();
        let shared = Arc::new(Shared::new(machine, slots));
        // Made before the threads, so that they are stopped if one of them cannot be started.
        let mut server = Self { shared: Arc::clone(&shared), acceptors: Vec::new(), pump: None };
        for (endpoint, slot, socket) in bound {
            server.acceptors.push(Acceptor::start(Arc::clone(&shared), endpoint, slot, socket)?);
        }
        server.pump = Some(spawn("server-timer", move || shared.pump())?);
        Ok(server)
    }

    /// Where an endpoint can be dialled.
    #[must_use]
    pub fn address(&self, endpoint: EndpointId) -> SocketAddr {
        self.shared.peek(|machine| machine.address(endpoint))
    }

    /// The addresses of all endpoints, in the order in which they were added.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.shared.peek(|machine| {
            machine.endpoints().into_iter().map(|endpoint| machine.address(endpoint)).collect()
        })
    }

    /// Looks at the machine, or does something to it. What follows from it has been carried out when this returns:
    /// bytes are written, connections closed, and endpoints that are to refuse dials refuse them.
    pub fn with<T>(&self, act: impl FnOnce(&mut M, Instant) -> T) -> T {
        self.shared.with(act)
    }
}

impl<M: ServerMachine + Send + 'static> Drop for TcpServer<M> {
    fn drop(&mut self) {
        self.shared.begin_stop();
        // The acceptors first: after them no connection begins.
        self.acceptors.drain(..).for_each(Acceptor::stop);
        self.shared.finish_stop();
        if let Some(pump) = self.pump.take() {
            // A panic of the thread has been printed; dropping must not panic as well.
            let _ = pump.join();
        }
    }
}
