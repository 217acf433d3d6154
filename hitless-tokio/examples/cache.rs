//! A cache in front of something slow, with the typed commands of the `redis` crate.
//!
//! ```console
//! $ cargo run --example cache -p hitless-tokio --features redis-rs
//! $ cargo run --example cache -p hitless-tokio --features redis-rs -- redis://127.0.0.1:6379
//! ```

use hitless_tokio::{Client, Delivery};
use redis::{AsyncCommands, RedisResult};
use serde_json::{Value, json};

mod server;

const SECONDS: u64 = 300;

/// A clone is another handle to the same pool, so each task has its own.
#[derive(Clone)]
struct Cache {
    client: Client,
}

impl Cache {
    /// The user of this id, from the cache or else from `load`. Without the cache everything is slower, and works.
    async fn user(&mut self, id: u64, load: impl AsyncFnOnce(u64) -> Value) -> Value {
        let key = format!("user:{id}");
        let cached = self.client.get::<_, Option<String>>(&key).await;
        let cached = cached.unwrap_or_else(|error| {
            println!("read without the cache: {error}");
            None
        });
        if let Some(user) = cached.and_then(|text| text.parse().ok()) {
            return user;
        }
        let user = load(id).await;
        let kept: RedisResult<()> = self.client.set_ex(&key, user.to_string(), SECONDS).await;
        if let Err(error) = kept {
            println!("not kept: {error}");
        }
        user
    }

    /// Forgets a user that has changed. An error means that the old one may be served, so the caller must know it.
    async fn forget(&mut self, id: u64) -> RedisResult<()> {
        let forgotten: RedisResult<()> = self.client.del(format!("user:{id}")).await;
        match &forgotten {
            // To delete twice does no harm. What was not answered may have run, and is not sent again by itself.
            Err(error) if Delivery::of_redis_error(error) == Some(Delivery::Unknown) => {
                self.client.del(format!("user:{id}")).await
            }
            _ => forgotten,
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (url, _server) = server::url()?;
    println!("loaded {} times", run(&url).await?);
    Ok(())
}

/// Asks four times for one user, who changes once, and says how often it was loaded.
pub(crate) async fn run(url: &str) -> RedisResult<u32> {
    let mut cache = Cache { client: Client::connect(url).await? };
    let mut loads = 0;
    for visit in 0..4 {
        if visit % 2 == 0 {
            cache.forget(7).await?;
        }
        let load = async |id| {
            loads += 1;
            json!({ "id": id, "name": "Ada", "languages": ["Rust", "Lua"] })
        };
        let user = cache.user(7, load).await;
        println!("visit {visit}: {} speaks {}", user["name"], user["languages"]);
    }
    Ok(loads)
}
