//! A cache in the application, whose server tells what has changed (client-side caching), also while the connection moves.
//!
//! It moves between two nodes of its own:
//!
//! ```console
//! $ cargo run --example client_side_cache -p hitless-tokio
//! ```

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hitless_conformance::net::tcp::TcpServer;
use hitless_conformance::server::{EndpointSpec, Moving, Server, ServerConfig, Target};
use hitless_tokio::{Bytes, Client, Error, Event, Invalidation, Invalidations, Tracking, cmd};

/// What the cache knows of a key.
enum Entry {
    /// Somebody has asked for it: whoever left this mark.
    Asked(u64),
    Value(Option<String>),
}

struct Entries {
    by_key: HashMap<Bytes, Entry>,
    invalidations: Invalidations,
    /// How often a key was asked for, which is the mark of the last one who did.
    asked: u64,
}

/// To be shared by all tasks.
struct Cache {
    client: Client,
    entries: Mutex<Entries>,
}

impl Cache {
    fn new(client: Client) -> Result<Self, Error> {
        let invalidations = client.invalidations()?;
        let entries = Entries { by_key: HashMap::new(), invalidations, asked: 0 };
        Ok(Self { client, entries: Mutex::new(entries) })
    }

    /// The string at `key`, from the cache or else from the server.
    async fn get(&self, key: &Bytes) -> Result<Option<String>, Error> {
        let mark = {
            let mut entries = self.entries();
            if let Some(Entry::Value(value)) = entries.by_key.get(key) {
                return Ok(value.clone());
            }
            entries.asked += 1;
            let mark = entries.asked;
            entries.by_key.insert(key.clone(), Entry::Asked(mark));
            mark
        };
        let value: Option<String> = self.client.query(cmd("GET").arg(key)).await?;
        let mut entries = self.entries();
        // An invalidation that came meanwhile has removed the mark: this value may be older than it.
        if matches!(entries.by_key.get(key), Some(Entry::Asked(found)) if *found == mark) {
            entries.by_key.insert(key.clone(), Entry::Value(value.clone()));
        }
        Ok(value)
    }

    /// How often the server was asked.
    fn asked(&self) -> u64 {
        self.entries().asked
    }

    /// What may be believed now.
    fn entries(&self) -> MutexGuard<'_, Entries> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(invalidation) = entries.invalidations.try_next() {
            match invalidation {
                Invalidation::Keys(keys) => {
                    for key in &keys {
                        entries.by_key.remove(key);
                    }
                }
                Invalidation::All => entries.by_key.clear(),
            }
        }
        entries
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("the server was asked {} times", run().await?);
    Ok(())
}

/// Reads a value again and again, while it changes once and the connection moves once; says how often the server was asked.
pub(crate) async fn run() -> Result<u64, Box<dyn std::error::Error>> {
    let mut server = Server::new(ServerConfig::default());
    let [old, new] =
        [EndpointSpec::loopback(), EndpointSpec::loopback()].map(|spec| server.add_endpoint(spec));
    let server = TcpServer::start(server)?;
    let url = format!("redis://{}", server.address(old));
    let somebody = Client::connect(&url).await?;
    let client = Client::builder(&url)?.pool_size(1).tracking(Tracking::default_mode()).connect().await?;
    let cache = Cache::new(client.clone())?;

    let key = Bytes::from_static(b"greeting");
    for greeting in ["hello", "good morning"] {
        somebody.call(cmd("SET").arg(&key).arg(greeting)).await?;
        // What the server has said before it answers this is read before this is answered: here there is one connection.
        client.call(cmd("PING")).await?;
        for _ in 0..3 {
            println!("{:?}", cache.get(&key).await?);
        }
    }

    let mut events = client.events();
    server.with(|server, now| {
        server.moving(now, old, Moving::new(Target::Endpoint(new), Duration::from_secs(5)))
    });
    while !matches!(events.next().await.ok_or("the client has ended")??, Event::MoveFinished { .. }) {}
    println!("{:?} at the new node", cache.get(&key).await?);
    Ok(cache.asked())
}
