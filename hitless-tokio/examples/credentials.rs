//! A password that is rotated while the client works: its connections authenticate again, and nobody notices.
//!
//! It rotates the password of a server of its own:
//!
//! ```console
//! $ cargo run --example credentials -p hitless-tokio
//! ```

use std::sync::{Arc, Mutex};

use hitless_conformance::net::tcp::TcpServer;
use hitless_conformance::server::{EndpointSpec, Server, ServerConfig, User};
use hitless_tokio::{Client, Credentials, CredentialsProvider, Event, ProviderError, ProviderFuture, cmd};
use tokio::sync::Notify;

/// What an agent, such as that of a vault, has told the process.
struct Secrets {
    password: Mutex<String>,
    rotated: Notify,
}

impl Secrets {
    fn new(password: &str) -> Arc<Self> {
        Arc::new(Self { password: Mutex::new(password.to_owned()), rotated: Notify::new() })
    }

    fn rotate(&self, password: &str) {
        password.clone_into(&mut self.password.lock().expect("nobody panics with it"));
        self.rotated.notify_one();
    }
}

/// The client asks before each dial; a provider that has to ask somebody itself does so here, and may take its time.
impl CredentialsProvider for Secrets {
    fn credentials(&self) -> ProviderFuture<'_, Result<Credentials, ProviderError>> {
        let password = self.password.lock().expect("nobody panics with it").clone();
        Box::pin(async { Ok(Credentials::new(Some("app"), password)) })
    }

    fn changed(&self) -> ProviderFuture<'_, ()> {
        Box::pin(self.rotated.notified())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let again = run().await?;
    println!("{again} connections have authenticated again");
    Ok(())
}

/// Rotates a password under a client, and says how many connections have shown the new one.
pub(crate) async fn run() -> Result<usize, Box<dyn std::error::Error>> {
    let mut server = Server::new(ServerConfig::default().with_user(User::new("app", "first")));
    let endpoint = server.add_endpoint(EndpointSpec::loopback());
    let server = TcpServer::start(server)?;

    let secrets = Secrets::new("first");
    let builder = Client::builder(&format!("redis://{}", server.address(endpoint)))?.pool_size(3);
    let builder = builder.credentials_provider(Arc::clone(&secrets));
    let mut events = builder.events();
    let client = builder.connect().await?;

    server.with(|server, _| server.set_password("app", "second"));
    secrets.rotate("second");
    let mut again = 0;
    while again < client.stats().serving {
        match events.next().await.ok_or("the client has ended")?? {
            Event::Reauthenticated { .. } => again += 1,
            Event::ReauthenticationRefused { .. } => return Err("the server refuses the password".into()),
            _ => {}
        }
    }
    client.call(cmd("PING")).await?;
    Ok(again)
}
