//! One command, several commands, a transaction, and what happens meanwhile.
//!
//! ```console
//! $ cargo run --example basic -p hitless-tokio -- redis://127.0.0.1:6379
//! ```

use std::time::Duration;

use hitless_tokio::{CheckReplies, Client, Error, Pipeline, cmd};

#[tokio::main]
async fn main() -> Result<(), Error> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "redis://127.0.0.1:6379".to_owned());
    let builder = Client::builder(&url)?.pool_size(3).command_timeout(Duration::from_secs(1));

    // What the client does about maintenance, from the first dial on.
    let mut events = builder.events();
    let observer = tokio::spawn(async move {
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => println!("{}: {event}", event.name()),
                Err(missed) => println!("{missed}"),
            }
        }
    });

    let client = builder.connect().await?;

    // One command. An error says whether the command may have run.
    client.call(cmd("SET").arg("greeting").arg("hello").arg("EX").arg(60)).await?;
    let greeting: Option<String> = client.query(cmd("GET").arg("greeting")).await?;
    println!("greeting: {greeting:?}");

    // Several as a tuple of values.
    let (length, seconds): (u64, i64) =
        client.query_pipeline([cmd("STRLEN").arg("greeting"), cmd("TTL").arg("greeting")]).await?;
    println!("{length} bytes for {seconds} seconds");

    // Several commands as one unit. The reply of each is there, errors among them.
    let pipeline = Pipeline::new().command(cmd("STRLEN").arg("greeting")).command(cmd("TTL").arg("greeting"));
    let replies = client.pipeline(pipeline).await?;
    println!("pipeline: {replies:?}");

    // `check` makes an error of the first that is one.
    replies.check()?;

    // A transaction: wholly executed, on one connection, or not at all.
    let transaction =
        Pipeline::atomic().command(cmd("INCR").arg("visits")).command(cmd("EXPIRE").arg("visits").arg(60));
    println!("transaction: {:?}", client.pipeline(transaction).await?);

    // Finishes what is under way, then closes everything.
    client.shutdown(Duration::from_secs(5)).await;
    // It panics only if the loop above does.
    let _ = observer.await;
    Ok(())
}
