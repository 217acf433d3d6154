//! Where an example connects to.

use std::io;

use hitless_conformance::net::tcp::TcpServer;
use hitless_conformance::server::{EndpointSpec, Server, ServerConfig};

/// The URL on the command line; without one that of a server of the example's own, which ends when it is dropped.
pub(crate) fn url() -> io::Result<(String, Option<TcpServer<Server>>)> {
    if let Some(url) = std::env::args().nth(1) {
        return Ok((url, None));
    }
    let mut server = Server::new(ServerConfig::default());
    let endpoint = server.add_endpoint(EndpointSpec::loopback());
    let server = TcpServer::start(server)?;
    Ok((format!("redis://{}", server.address(endpoint)), Some(server)))
}
