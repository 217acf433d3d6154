//! One command, several commands, a transaction, and what happens meanwhile.
//!
//! ```console
//! $ cargo run --example quick_start -p hitless-tokio
//! $ cargo run --example quick_start -p hitless-tokio -- redis://127.0.0.1:6379
//! ```

use std::time::Duration;

use hitless_tokio::{Client, Error, Pipeline, cmd};

mod server;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (url, _server) = server::url()?;
    Ok(run(&url).await?)
}

pub(crate) async fn run(url: &str) -> Result<(), Error> {
    let builder = Client::builder(url)?.pool_size(3).command_timeout(Duration::from_secs(1));

    // What the client does about maintenance, from the first dial on.
    let mut events = builder.events();
    let observer = tokio::spawn(async move {
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => println!("{}: {event}", event.name()),
                Err(missed) => println!("{missed}"), // this task was too slow
            }
        }
    });

    // A clone is another handle to the same pool.
    let client = builder.connect().await?;

    // One command. An error says whether the command may have run.
    client.call(cmd("SET").arg("greeting").arg("hello").arg("EX").arg(60)).await?;
    let greeting: Option<String> = client.query(cmd("GET").arg("greeting")).await?;
    println!("greeting: {greeting:?}");

    // Several in one write, as a tuple of values. The first error reply is the error of all.
    let (length, seconds): (u64, i64) =
        client.query_pipeline([cmd("STRLEN").arg("greeting"), cmd("TTL").arg("greeting")]).await?;
    println!("{length} bytes for {seconds} seconds");

    // A transaction: wholly executed, on one connection, or not at all. Here each reply is kept, errors among them.
    let visit =
        Pipeline::atomic().command(cmd("INCR").arg("visits")).command(cmd("EXPIRE").arg("visits").arg(60));
    println!("transaction: {:?}", client.pipeline(visit).await?);

    // Finishes what is under way, then closes everything.
    client.shutdown(Duration::from_secs(5)).await;
    // It panics only if the loop above does.
    let _ = observer.await;
    Ok(())
}
