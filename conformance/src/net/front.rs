//! A front of a real `redis-server`: its data and its answers, with maintenance that we command.

use std::io;
use std::net::SocketAddr;

use super::tcp::TcpServer;
use crate::server::{EndpointSpec, Server, ServerConfig, Upstream};

/// Endpoints in front of a real server. Each client has a connection of its own to it.
pub type Front = TcpServer<Server<Upstream>>;

/// Starts endpoints in front of the real server at `redis`.
///
/// # Errors
/// An endpoint cannot be bound, or a thread not be started.
pub fn start(
    config: ServerConfig,
    redis: SocketAddr,
    endpoints: impl IntoIterator<Item = EndpointSpec>,
) -> io::Result<Front> {
    let mut server = Server::in_front_of(config, redis);
    for spec in endpoints {
        server.add_endpoint(spec);
    }
    TcpServer::start(server)
}
