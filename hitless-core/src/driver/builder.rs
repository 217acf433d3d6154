//! From a URL to a client.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use resp3_codec::{Command, Limits};

use super::credentials::{CredentialsProvider, Provider};
use super::effects::OnOrphan;
use super::error::Error;
use super::handle::{Client, Watchers};
use super::hooks::{Hooks, NotificationHook};
use super::observer::{Broadcast, Events};
use super::traits::{Connector, Resolver, Runtime};
use crate::config::{ConfigBuilder, Protocol, Tracking, WhenDisconnected, WhenFull, maintenance};
use crate::event::Event;
use crate::request::Orphan;

/// Collects the settings of a [`Client`] and opens it.
///
/// Nothing has to be set: the defaults are right for an application that sets nothing. No method fails; what does not fit is told by
/// [`connect`](Self::connect), as [`Error::Config`], which names the setting. What more or less of a setting costs, [`ConfigBuilder`]
/// says under the same name.
#[must_use]
pub struct Builder<R, N = R> {
    runtime: R,
    network: N,
    settings: ConfigBuilder,
    events: Arc<Broadcast<Event>>,
    hooks: Hooks,
    provider: Provider,
    on_orphan: Option<OnOrphan>,
}

impl<R: Runtime, N: Resolver + Connector> Builder<R, N> {
    /// A builder for the server at `url`, whose client runs on `runtime` and opens its connections through `network`.
    ///
    /// # Errors
    /// [`Error::Config`] if the URL does not parse.
    pub fn new(runtime: R, network: N, url: &str) -> Result<Self, Error> {
        Ok(Self::from_settings(runtime, network, ConfigBuilder::from_url(url)?))
    }

    /// A builder that begins with `settings`.
    pub fn from_settings(runtime: R, network: N, settings: ConfigBuilder) -> Self {
        // The capacity is set when the settings are complete.
        let events = Arc::new(Broadcast::new(0));
        Self { runtime, network, settings, events, hooks: Hooks::default(), provider: None, on_orphan: None }
    }

    /// Opens connections through `network` instead, such as a tunnel or a resolver of your own. Default: the adapter's sockets and the
    /// system's resolver.
    pub fn network<M: Resolver + Connector>(self, network: M) -> Builder<R, M> {
        let Self { runtime, settings, events, hooks, provider, on_orphan, .. } = self;
        Builder { runtime, network, settings, events, hooks, provider, on_orphan }
    }

    /// The number of the database that every connection selects. Default: that of the URL, or 0. One that the server has not ends
    /// [`connect`](Self::connect) at once.
    pub fn database(self, database: u32) -> Self {
        self.with(|settings| settings.database(database))
    }

    /// How many shared connections there are, opened when the client connects: 1 to 10 000. Default: 10. One carries most loads; the
    /// others take over while it is busy. See [`ConfigBuilder::pool_size`].
    pub fn pool_size(self, size: u32) -> Self {
        self.with(|settings| settings.pool_size(size))
    }

    super::settings::common_settings!();

    /// A stream of what will happen to the client, from its first dial on.
    #[must_use]
    pub fn events(&self) -> Events {
        self.events.observe()
    }

    /// Checks the settings and opens the pool. It is done when every connection of the pool is ready.
    ///
    /// Over TLS with the roots of the system it reads them first, on the thread that polls it: a few milliseconds, once for each
    /// client. `Tls::builder().roots(..)`, given to `tls`, avoids that.
    ///
    /// It gives up when one of the connections could not be opened in four attempts, or after twice the connect timeout
    /// (10 s by default), or at once where another attempt cannot help, such as with a wrong password.
    ///
    /// # Errors
    /// [`Error::Config`] if the settings do not fit together; [`Error::Connect`] if the pool cannot be opened: it says
    /// how many attempts there were, how long they took, and why the last one failed.
    ///
    /// # Panics
    /// When it is first polled where [`Runtime::spawn`] panics: with tokio outside of a runtime. A runtime that lacks I/O or timers is
    /// an error instead ([`Error::Connect`]), whose text says so.
    ///
    /// # Cancel safety
    /// Dropping the future closes what was opened.
    pub async fn connect(self) -> Result<Client<R>, Error> {
        let Self { runtime, network, settings, events, hooks, provider, on_orphan } = self;
        let config = settings.build()?;
        let watchers = Watchers { events, hooks: hooks.into_registry(), provider, on_orphan };
        Client::open_observed(runtime, network, config, watchers).await
    }
}

/// Shows that there is a credentials provider, and not what it holds.
impl<R: fmt::Debug, N: fmt::Debug> fmt::Debug for Builder<R, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { runtime, network, settings, events, hooks, provider, on_orphan } = self;
        f.debug_struct("Builder")
            .field("runtime", runtime)
            .field("network", network)
            .field("settings", settings)
            .field("events", events)
            .field("hooks", hooks)
            .field("asks_a_provider", &provider.is_some())
            .field("on_orphan", &on_orphan.is_some())
            .finish()
    }
}
