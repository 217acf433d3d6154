//! A service that was written for redis-rs, on this client: `connection.rs` is all that has changed, and `before.rs` what it was.
//!
//! ```console
//! $ cargo run --example service -p hitless-tokio --features redis-rs
//! $ cargo run --example service -p hitless-tokio --features redis-rs -- redis://127.0.0.1:6379/9
//! ```
//!
//! It empties the database that it works on.

mod connection;
#[path = "../server/mod.rs"]
mod server;
mod shop;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (url, _server) = server::url()?;
    for line in shop::a_day(connection::connect(&url).await?).await? {
        println!("{line}");
    }
    Ok(())
}
