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
        let mark = match self.look_up(key) {
            Ok(value) => return Ok(value),
            Err(mark) => mark,
        };
        let value: Option<String> = self.client.query(cmd("GET").arg(key)).await?;
        mark.replace(value.clone());
        Ok(value)
    }

    /// Sets the string at `key`. The server tells of that as well, perhaps after its reply.
    async fn set(&self, key: &Bytes, value: &str) -> Result<(), Error> {
        let outcome = self.client.call(cmd("SET").arg(key).arg(value)).await;
        // It may have run, also if it has failed.
        self.entries().by_key.remove(key);
        outcome.map(drop)
    }

    /// What the cache has, or a mark for whoever is to ask the server.
    fn look_up<'a>(&'a self, key: &'a Bytes) -> Result<Option<String>, Mark<'a>> {
        let mut entries = self.entries();
        if let Some(Entry::Value(value)) = entries.by_key.get(key) {
            return Ok(value.clone());
        }
        entries.asked += 1;
        let number = entries.asked;
        entries.by_key.insert(key.clone(), Entry::Asked(number));
        Err(Mark { cache: self, key, number })
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

/// What somebody who asks has left in the cache. It is removed if there is no reply: on an error, and when whoever asks gives up.
struct Mark<'a> {
    cache: &'a Cache,
    key: &'a Bytes,
    number: u64,
}

impl Mark<'_> {
    /// Puts the value in the place of the mark. An invalidation that came meanwhile has removed it: this value may be older than that.
    fn replace(self, value: Option<String>) {
        if let Some(entry) = self.cache.entries().marked(&self) {
            *entry = Entry::Value(value);
        }
    }
}

impl Drop for Mark<'_> {
    fn drop(&mut self) {
        let mut entries = self.cache.entries();
        if entries.marked(self).is_some() {
            entries.by_key.remove(self.key);
        }
    }
}

impl Entries {
    /// The entry that is still `mark`.
    fn marked(&mut self, mark: &Mark<'_>) -> Option<&mut Entry> {
        let entry = self.by_key.get_mut(mark.key)?;
        matches!(entry, Entry::Asked(number) if *number == mark.number).then_some(entry)
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("the server was asked {} times", run().await?);
    Ok(())
}

/// Reads a value again and again, while it changes and the connection moves; says how often the server was asked.
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
    cache.set(&key, "good evening").await?;
    println!("{:?} by this client", cache.get(&key).await?);

    // Whoever gives up leaves nothing in the cache.
    let missing = Bytes::from_static(b"missing");
    let reply = tokio::time::timeout(Duration::ZERO, cache.get(&missing)).await;
    if reply.is_err() && cache.entries().by_key.contains_key(&missing) {
        return Err("a mark was left in the cache".into());
    }
    Ok(cache.asked())
}
