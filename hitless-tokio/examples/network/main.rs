//! A network of your own: connections through a SOCKS5 proxy, and names out of a table.
//!
//! ```console
//! $ cargo run --example network -p hitless-tokio -- redis://10.0.0.5:6379 socks=127.0.0.1:1080
//! $ cargo run --example network -p hitless-tokio -- redis://redis.example.com:6379 socks=127.0.0.1:1080 looks-up=true
//! $ cargo run --example network -p hitless-tokio -- redis://redis.test:6379 redis.test=127.0.0.1
//! ```

mod socks;
mod table;

use std::collections::HashMap;
use std::error::Error;

use hitless::{Client, Frame, cmd};
use hitless_tokio as hitless;

use self::socks::Socks;
use self::table::Table;

const USAGE: &str =
    "write a URL, and socks=ADDRESS:PORT (looks-up=true behind it has names looked up here) or NAME=ADDRESS";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (url, network, looks_up) = match arguments.as_slice() {
        [url, network] => (url, network, false),
        [url, network, option] if option == "looks-up=true" => (url, network, true),
        _ => return Err(USAGE.into()),
    };
    println!("{:?}", run(url, network, looks_up).await?);
    Ok(())
}

/// Sends PING through the network, and returns the answer.
pub(crate) async fn run(url: &str, network: &str, looks_up: bool) -> Result<Frame, Box<dyn Error>> {
    let (name, address) = network.split_once('=').ok_or(USAGE)?;
    let builder = Client::builder(url)?.pool_size(1);
    let client = if name == "socks" {
        builder.network(Socks { proxy: address.parse()?, looks_up }).connect().await?
    } else {
        let names = HashMap::from([(name.to_owned(), vec![address.parse()?])]);
        builder.network(Table(names)).connect().await?
    };
    Ok(client.call(cmd("PING")).await?)
}
