//! Names with several addresses, over real sockets.

use std::future::pending;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener};

use hitless_conformance::net::tcp::TcpServer;
use hitless_conformance::server::{Dataset, EndpointSpec, Server, ServerConfig};

use super::{TestServer, block_on};
use crate::hitless::{Adapter, Client, Connector, Peer, Resolver, Stream, Target, cmd};

const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

/// The sockets of the adapter, with a name as `localhost` is.
struct Localhost {
    answer: [IpAddr; 2],
    /// An address that swallows every dial.
    swallows: Option<IpAddr>,
}

impl Resolver for Localhost {
    async fn resolve(&self, _: &str) -> io::Result<Vec<IpAddr>> {
        Ok(self.answer.to_vec())
    }
}

impl Connector for Localhost {
    type Stream = Stream;

    async fn connect(&self, target: Target) -> io::Result<(Stream, Peer)> {
        if target.address.ip() == self.swallows {
            return pending().await;
        }
        Adapter.connect(target).await
    }
}

fn serve_at(address: IpAddr) -> TestServer {
    let mut server = Server::<Dataset>::new(ServerConfig::default());
    server.add_endpoint(EndpointSpec::new((address, 0).into()));
    TcpServer::start(server).unwrap()
}

async fn connect(port: u16, pool: u32, network: Localhost) {
    let builder = Client::builder(&format!("redis://localhost:{port}")).unwrap().pool_size(pool);
    let client = builder.network(network).connect().await.unwrap();
    assert_eq!(client.stats().serving, pool as usize);
    client.call(cmd("PING")).await.unwrap();
}

/// The name leads to ::1 and 127.0.0.1, and the server is at one of them: every connection is opened every time, whatever the size
/// of the pool, whichever address comes first, and whether the other one refuses or swallows dials. RULE-124
#[test]
fn a_client_connects_whichever_of_two_addresses_answers() {
    let has_v6 = TcpListener::bind((V6, 0)).is_ok();
    let well: Vec<IpAddr> = if has_v6 { vec![V4, V6] } else { vec![V4] };
    for well in well {
        let server = serve_at(well);
        let port = server.addresses()[0].port();
        let dead = if well == V4 { V6 } else { V4 };
        block_on(async {
            for nth in 0..20 {
                let answer = if nth % 2 == 0 { [V6, V4] } else { [V4, V6] };
                let swallows = (nth < 4).then_some(dead);
                connect(port, [1, 8, 10, 25][nth / 2 % 4], Localhost { answer, swallows }).await;
            }
        });
    }
}
