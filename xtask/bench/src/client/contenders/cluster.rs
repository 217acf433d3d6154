//! The clients of a cluster, and clients of its single nodes to compare them with.

use std::io;
use std::sync::Arc;

use hitless_tokio::{Client, ClusterClient, cmd};

use super::super::load::keys;
use super::super::server::node_of;
use super::{Address, Connection, fred_at, rustis_at};

/// As many as the client of a cluster opens to each node.
const POOL_SIZE: u32 = 2;

/// Ours, with the default pool for each node or one of `pool` connections.
pub(super) async fn hitless(address: &Address, pool: Option<u32>) -> io::Result<ClusterClient> {
    let mut builder = ClusterClient::builder(address.urls()).map_err(io::Error::other)?;
    if let Some(size) = pool {
        builder = builder.pool_size(size);
    }
    builder.connect().await.map_err(io::Error::other)
}

/// Single clients of ours, one for each node, that are chosen by the slot of each key.
#[derive(Clone)]
pub(super) struct BySlot {
    clients: Vec<Client>,
}

pub(super) async fn by_slot(address: &Address) -> io::Result<BySlot> {
    let mut clients = Vec::new();
    for url in address.urls() {
        let builder = Client::builder(&url).map_err(io::Error::other)?.pool_size(POOL_SIZE);
        clients.push(builder.connect().await.map_err(io::Error::other)?);
    }
    Ok(BySlot { clients })
}

/// A single client of ours, and the keys of its node.
#[derive(Clone)]
pub(super) struct Divided {
    client: Client,
    /// Those that tasks have instead.
    all: Arc<[(Client, Arc<Vec<String>>)]>,
}

/// One for each node, among which tasks are divided.
pub(super) async fn divided(address: &Address) -> io::Result<Divided> {
    let BySlot { clients } = by_slot(address).await?;
    let of_node = |node| keys().into_iter().filter(|key| node_of(key) == node).collect();
    let nodes = clients.iter().enumerate();
    let all = nodes.map(|(node, client)| (client.clone(), Arc::new(of_node(node)))).collect();
    Ok(Divided { client: clients[0].clone(), all })
}

/// rustis.
pub(super) async fn rustis(address: &Address) -> io::Result<rustis::client::Client> {
    let nodes: Vec<_> = address.ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
    rustis_at(&format!("redis+cluster://{}", nodes.join(","))).await
}

/// redis.
pub(super) async fn redis(address: &Address) -> io::Result<redis::cluster_async::ClusterConnection> {
    let client = redis::cluster::ClusterClient::builder(address.urls())
        .use_protocol(redis::ProtocolVersion::RESP3)
        .tcp_settings(redis::io::tcp::TcpSettings::default().set_nodelay(true))
        .build();
    client.map_err(io::Error::other)?.get_async_connection().await.map_err(io::Error::other)
}

/// fred.
pub(super) async fn fred(address: &Address) -> io::Result<fred::clients::Client> {
    let nodes: Vec<_> = address.ports.iter().map(|port| format!("node=127.0.0.1:{port}")).collect();
    fred_at(&format!("redis-cluster://127.0.0.1:{}?{}", address.ports[0], nodes[1..].join("&"))).await
}

impl Connection for ClusterClient {
    async fn get(&mut self, key: &str) -> io::Result<usize> {
        let value = self.call(cmd("GET").arg(key)).await.map_err(io::Error::other)?;
        Ok(value.as_bytes().map_or(0, <[u8]>::len))
    }

    async fn set(&mut self, key: &str, value: &[u8]) -> io::Result<()> {
        self.call(cmd("SET").arg(key).arg(value)).await.map_err(io::Error::other)?;
        Ok(())
    }
}

impl Connection for BySlot {
    async fn get(&mut self, key: &str) -> io::Result<usize> {
        self.clients[node_of(key)].get(key).await
    }

    async fn set(&mut self, key: &str, value: &[u8]) -> io::Result<()> {
        self.clients[node_of(key)].set(key, value).await
    }
}

impl Connection for Divided {
    async fn get(&mut self, key: &str) -> io::Result<usize> {
        self.client.get(key).await
    }

    async fn set(&mut self, key: &str, value: &[u8]) -> io::Result<()> {
        self.client.set(key, value).await
    }

    fn of_task(&self, task: usize, _: &Arc<Vec<String>>) -> (Self, Arc<Vec<String>>) {
        let (client, keys) = &self.all[task % self.all.len()];
        (Self { client: client.clone(), all: Arc::clone(&self.all) }, Arc::clone(keys))
    }
}
