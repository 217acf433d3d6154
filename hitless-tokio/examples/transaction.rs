//! Several tills sell from one stock, and none sells what is not there: optimistic locking as one call.
//!
//! ```console
//! $ cargo run --example transaction -p hitless-tokio
//! $ cargo run --example transaction -p hitless-tokio -- redis://127.0.0.1:6379
//! ```

use hitless_tokio::{Client, Error, Pipeline, cmd};
use tokio::task::JoinSet;

mod server;

const STOCK: u32 = 10;
const TILLS: u32 = 4;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (url, _server) = server::url()?;
    println!("{} of {STOCK} are sold", run(&url).await?);
    Ok(())
}

/// Sells everything, and says how much that was.
pub(crate) async fn run(url: &str) -> Result<u32, Error> {
    let client = Client::connect(url).await?;
    client.query_pipeline::<((), ())>([cmd("SET").arg("stock").arg(STOCK), cmd("DEL").arg("sales")]).await?;

    let mut tills = JoinSet::new();
    for _ in 0..TILLS {
        let client = client.clone();
        tills.spawn(async move {
            let mut sold = 0;
            while sell(&client).await? {
                sold += 1;
            }
            Ok::<u32, Error>(sold)
        });
    }
    tills.join_all().await.into_iter().sum()
}

/// Takes one from the stock and writes the sale down. False if there is none left.
async fn sell(client: &Client) -> Result<bool, Error> {
    // The key is watched on a connection that nobody else uses. If somebody changes it before EXEC, this begins again; `None` gives up.
    let replies = client
        .transaction(["stock"], |lease| async move {
            let left: Option<u32> = lease.query(cmd("GET").arg("stock")).await?;
            let Some(left) = left.filter(|left| *left > 0) else { return Ok(None) };
            Ok(Some(Pipeline::from([cmd("DECR").arg("stock"), cmd("RPUSH").arg("sales").arg(left)])))
        })
        .await?;
    Ok(replies.is_some())
}
