//! At most so many requests of a caller within a window, counted by a script: one round trip, and no race.
//!
//! ```console
//! $ cargo run --example rate_limiter -p hitless-tokio --features redis-rs
//! $ cargo run --example rate_limiter -p hitless-tokio --features redis-rs -- redis://127.0.0.1:6379
//! ```

use std::time::Duration;

use hitless_tokio::Client;
use redis::{RedisResult, Script};

mod server;

/// Counts a request, and answers how long the caller must wait: 0 if it may go on.
const TAKE: &str = "
    local taken = redis.call('INCR', KEYS[1])
    if taken == 1 then
        redis.call('PEXPIRE', KEYS[1], ARGV[2])
    end
    if taken <= tonumber(ARGV[1]) then
        return 0
    end
    return math.max(1, redis.call('PTTL', KEYS[1]))
";

/// A clone shares the limits, as whoever uses the same server does.
#[derive(Clone)]
pub(crate) struct RateLimiter {
    client: Client,
    script: Script,
    limit: u32,
    window: Duration,
}

impl RateLimiter {
    pub(crate) fn new(client: Client, limit: u32, window: Duration) -> Self {
        Self { client, script: Script::new(TAKE), limit, window }
    }

    /// Lets a caller through, or says when it may come again.
    pub(crate) async fn take(&self, caller: &str) -> RedisResult<Result<(), Duration>> {
        let mut invocation = self.script.key(format!("limit:{caller}"));
        invocation.arg(self.limit).arg(self.window.as_millis() as u64);
        // By its digest. Where the server does not know that, as after a move to a new node, the script is sent.
        let wait: u64 = invocation.invoke_async(&mut self.client.clone()).await?;
        Ok(if wait == 0 { Ok(()) } else { Err(Duration::from_millis(wait)) })
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (url, _server) = server::url()?;
    run(&url).await?;
    Ok(())
}

/// Comes five times where three are allowed, and says how often it got through.
pub(crate) async fn run(url: &str) -> RedisResult<u32> {
    let limiter = RateLimiter::new(Client::connect(url).await?, 3, Duration::from_secs(60));
    let mut passed = 0;
    for request in 1..=5 {
        match limiter.take("ada").await? {
            Ok(()) => passed += 1,
            Err(wait) => println!("request {request} must wait for {} seconds", wait.as_secs()),
        }
    }
    println!("{passed} requests got through");
    Ok(passed)
}
