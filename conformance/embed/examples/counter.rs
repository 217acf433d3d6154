//! redis-rs as its users know it, over a pool that follows its server's maintenance.
//!
//! ```console
//! $ cargo run -p hitless-embed --example counter -- redis://127.0.0.1:6379
//! ```
//!
//! To see it move, point it at the test server (`cargo xtask server`) and type `moving 0 1 10` there.

use std::error::Error;
use std::time::Duration;

use hitless_core::config::ConfigBuilder;
use hitless_embed::{Pool, Said, SystemNames};
use redis::AsyncCommands;
use tokio::sync::mpsc::unbounded_channel;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "redis://127.0.0.1:6379".to_owned());
    let (observer, mut said) = unbounded_channel();
    tokio::spawn(async move {
        while let Some(said) = said.recv().await {
            match said {
                Said::Event(at, event) => println!("{}", event.line(at)),
                Said::Push(push) => println!("{} has arrived", push.kind),
            }
        }
    });

    let config = ConfigBuilder::from_url(&url)?.pool_size(3).build()?;
    let mut pool = Pool::connect(config, SystemNames, observer, std::process::id().into()).await?;
    let mut ticks = tokio::time::interval(Duration::from_millis(200));
    for _ in 0..100 {
        ticks.tick().await;
        match pool.incr::<_, _, i64>("counter", 1).await {
            Ok(count) => println!("{count}"),
            Err(error) => println!("{error}"),
        }
    }
    pool.shutdown(Duration::from_secs(1)).await;
    Ok(())
}
