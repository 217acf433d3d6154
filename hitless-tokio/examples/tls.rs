//! Encrypted connections: whom the client believes, and what it shows.
//!
//! ```console
//! $ cargo run --example tls -p hitless-tokio --features tls
//! $ cargo run --example tls -p hitless-tokio --features tls -- rediss://redis.example.com:6379 ca.pem
//! ```

use std::error::Error;
use std::{env, fs};

use hitless_conformance::net::certificates::Authority;
use hitless_conformance::net::tcp::TcpServer;
use hitless_conformance::server::{EndpointSpec, Server, ServerConfig};
use hitless_tokio::{Client, Tls, cmd};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut words = env::args().skip(1);
    if let Some(url) = words.next() {
        let roots = words.next().map(fs::read).transpose()?;
        return Ok(run(&url, roots).await?);
    }
    let authority = Authority::new("an example");
    let mut server = Server::new(ServerConfig::default());
    let endpoint = server.add_endpoint(EndpointSpec::loopback());
    let certificate = authority.certify(&["127.0.0.1"]).server(None);
    let server = TcpServer::start_encrypted(server, |_| certificate.clone())?;
    Ok(run(&format!("rediss://{}", server.address(endpoint)), Some(authority.pem().into())).await?)
}

/// Says hello to the server of a URL that begins with `rediss`. Without `roots` those of the system vouch for it.
pub(crate) async fn run(url: &str, roots: Option<Vec<u8>>) -> Result<(), hitless_tokio::Error> {
    let mut builder = Client::builder(url)?;
    if let Some(roots) = roots {
        // `client_certificate` shows the server a certificate of yours. Over TLS, connections follow a move to a host outside of the
        // URL's domain only where `Builder::target_domain` allows it.
        builder = builder.tls(Tls::builder().roots(roots).build()?);
    }
    let client = builder.connect().await?;
    let greeting: String = client.query(cmd("ECHO").arg("nobody else can read this")).await?;
    println!("{greeting}");
    Ok(())
}
