//! The client under test, on tokio: the only place that names a runtime.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use hitless_tokio::{Adapter, Client, Error, Mode, maintenance};

use crate::load::Load;
use crate::log::Log;
use crate::meter::Meter;
use crate::narrator::Narrator;

/// Connections of the pool.
pub(crate) const CONNECTIONS: u32 = 10;
/// The longest that a command may take while the server announces nothing.
pub(crate) const COMMAND_TIMEOUT: Duration = Duration::from_secs(1);
/// Dials of one handoff after its first.
pub(crate) const HANDOFF_RETRIES: u32 = 3;

/// Short, so that no step is made easier by the one before it.
const RELAXED_AFTER_HANDOFF: Duration = Duration::from_secs(1);
/// Of these the demo reads a few at a time.
const EVENTS_KEPT: usize = 64 * 1024;
const GRACE: Duration = Duration::from_secs(1);

/// A pool of connections and the runtime that it lives on.
pub(crate) struct Pool {
    runtime: tokio::runtime::Runtime,
    client: Client,
}

impl Pool {
    /// The name of the runtime.
    pub(crate) const RUNTIME: &'static str = "tokio";

    /// Opens the pool. What happens to it is told by `narrator`; `interrupt` gets a message at each Ctrl-C.
    ///
    /// # Errors
    /// The pool cannot be opened: servers that announce nothing are refused.
    pub(crate) fn open(
        server: SocketAddr,
        narrator: Narrator,
        interrupt: Sender<()>,
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.spawn(
            async move { while tokio::signal::ctrl_c().await.is_ok() && interrupt.send(()).is_ok() {} },
        );
        let client = runtime.block_on(connect(server, narrator))?;
        Ok(Self { runtime, client })
    }

    /// Puts the load on the pool.
    pub(crate) fn start_load(&self, meter: &Arc<Meter>, log: &Arc<Log>) -> Load {
        let _inside = self.runtime.enter();
        Load::start(&Adapter, &self.client, meter, log)
    }

    /// Closes the pool.
    pub(crate) fn close(self) {
        self.runtime.block_on(self.client.shutdown(GRACE));
    }
}

async fn connect(server: SocketAddr, narrator: Narrator) -> Result<Client, Error> {
    let maintenance = maintenance::Config::builder()
        .mode(Mode::Enabled)
        .max_handoff_retries(HANDOFF_RETRIES)
        .post_handoff_relaxed_duration(RELAXED_AFTER_HANDOFF)
        .build()?;
    let builder = Client::builder(&format!("redis://{server}"))?
        .pool_size(CONNECTIONS)
        .command_timeout(COMMAND_TIMEOUT)
        .event_capacity(EVENTS_KEPT)
        .maintenance(maintenance);
    tokio::spawn(narrator.run(builder.events()));
    builder.connect().await
}
