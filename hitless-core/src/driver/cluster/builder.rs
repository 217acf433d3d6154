//! From URLs to a cluster client.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use resp3_codec::{Command, Limits};

use super::super::credentials::{CredentialsProvider, Provider};
use super::super::effects::OnOrphan;
use super::super::error::Error;
use super::super::hooks::{Hooks, NotificationHook};
use super::super::observer::{Broadcast, Observer};
use super::super::traits::{Connector, Resolver, Runtime};
use super::control;
use super::handle::ClusterClient;
use super::nodes::{AddressMap, Opener};
use super::shared::{Policy, Shared};
use crate::cluster::{ClusterEvent, ReadFrom, Settings, SettingsBuilder};
use crate::config::{
    ConfigBuilder, ConfigError, Protocol, Tracking, WhenDisconnected, WhenFull, maintenance,
};
use crate::endpoint::Endpoint;
use crate::request::Orphan;

/// How many connections a node has that the whole of its load goes over. Commands are pipelined, and gather on one of them; the
/// second takes over while that is busy. A cluster of a hundred nodes has two hundred.
const POOL_SIZE: u32 = 2;

/// Collects the settings of a [`ClusterClient`] and opens it.
///
/// They are those of a [`Builder`](super::super::Builder), and each node has them: with three nodes, `max_dedicated` allows three times as many
/// leases. Nothing has to be set. [`when_disconnected`](Self::when_disconnected) is about the cluster; the client of a single
/// [`Node`](super::Node) never waits. `tracking` is refused: no stream covers all nodes.
#[must_use]
pub struct ClusterBuilder<R, N = R> {
    runtime: R,
    network: N,
    settings: ConfigBuilder,
    topology: SettingsBuilder,
    events: Arc<Broadcast<ClusterEvent>>,
    hooks: Hooks,
    provider: Provider,
    on_orphan: Option<OnOrphan>,
    address_map: Option<AddressMap>,
}

impl<R: Runtime, N: Resolver + Connector> ClusterBuilder<R, N> {
    /// A builder for the cluster that the servers at `urls` belong to, whose client runs on `runtime` and opens its connections through
    /// `network`. See [`ClusterClient::builder`].
    ///
    /// # Errors
    /// [`Error::Config`] if a URL does not parse, if they say different things of user, password, database, TLS or protocol, and if there is
    /// none.
    pub fn new<U: AsRef<str>>(
        runtime: R,
        network: N,
        urls: impl IntoIterator<Item = U>,
    ) -> Result<Self, Error> {
        let mut all = urls.into_iter().map(|url| ConfigBuilder::from_url(url.as_ref()));
        let none = ConfigError::Urls("a cluster needs that of one server at least");
        let mut settings = all.next().ok_or(none)??;
        for other in all {
            let other = other?;
            if !settings.agrees_with(&other) {
                return Err(ConfigError::Urls("they must say the same but for host and port").into());
            }
            settings = settings.with_seeds(other.seeds());
        }
        Ok(Self::from_settings(runtime, network, settings.pool_size(POOL_SIZE)))
    }

    /// A builder that begins with `settings`, whose endpoint is a server of the cluster.
    pub fn from_settings(runtime: R, network: N, settings: ConfigBuilder) -> Self {
        // The capacity is set when the settings are complete.
        let events = Arc::new(Broadcast::new(0));
        let (topology, hooks) = (Settings::builder(), Hooks::default());
        Self {
            runtime,
            network,
            settings,
            topology,
            events,
            hooks,
            provider: None,
            on_orphan: None,
            address_map: None,
        }
    }

    /// Opens connections through `network` instead, such as a tunnel or a resolver of your own. Default: the adapter's sockets and the
    /// system's resolver.
    pub fn network<M: Resolver + Connector>(self, network: M) -> ClusterBuilder<R, M> {
        let Self { runtime, settings, topology, events, hooks, provider, on_orphan, address_map, .. } = self;
        ClusterBuilder {
            runtime,
            network,
            settings,
            topology,
            events,
            hooks,
            provider,
            on_orphan,
            address_map,
        }
    }

    /// How many shared connections each node has, opened when the node becomes known: 1 to 10 000. Default: 2. One carries most loads; the
    /// other takes over while it is busy. See [`ConfigBuilder::pool_size`].
    pub fn pool_size(self, size: u32) -> Self {
        self.with(|settings| settings.pool_size(size))
    }

    /// The time between two reads of the topology that nothing has asked for, up to a quarter longer or shorter at random. Default: 60 s. See
    /// [`SettingsBuilder::refresh_interval`].
    pub fn refresh_interval(mut self, interval: Duration) -> Self {
        self.topology = self.topology.refresh_interval(interval);
        self
    }

    /// The least time between two reads of the topology, however many commands were redirected. Default: 250 ms. See
    /// [`SettingsBuilder::min_refresh_interval`].
    pub fn min_refresh_interval(mut self, interval: Duration) -> Self {
        self.topology = self.topology.min_refresh_interval(interval);
        self
    }

    /// How many times one command follows MOVED and ASK. Default: 16. See [`SettingsBuilder::max_redirects`].
    pub fn max_redirects(mut self, redirects: u32) -> Self {
        self.topology = self.topology.max_redirects(redirects);
        self
    }

    /// Which nodes reads go to. Default: [`ReadFrom::Primary`]. With [`ReadFrom::PreferReplica`] a command that only reads goes to a replica of its slot's
    /// shard that is connected and in order, and otherwise to the primary: reads then scale with the replicas and go on while a primary is away, and
    /// may see less than what was written. [`ReadFrom`] says what a replica may answer, also while slots move.
    ///
    /// To replicas go single commands with keys that the client [knows as reads](crate::cluster::only_reads), and pipelines all of whose commands are such; by
    /// [`call_split`](ClusterClient::call_split) the parts of MGET and EXISTS. Everything else goes to primaries: a pipeline with a write in it, an atomic one, leases and
    /// transactions, what blocks, subscriptions, commands without keys, those of modules, TOUCH and EVALSHA_RO. Each replica of a shard has its part
    /// of the slots.
    ///
    /// A read that a replica refuses (MOVED, LOADING, MASTERDOWN, CLUSTERDOWN) or loses is run by the primary at once, within its time; the replica is
    /// left alone for up to 2 s then. One that a replica does not answer times out, and the next ones go to the primary for 10 s. To read a key from its
    /// primary, send the command in an [atomic](crate::request::Pipeline::atomic) pipeline. Where a server refuses READONLY, as some services do, nothing is read from it as a replica, nothing fails, and an
    /// [event](ClusterEvent::ReadonlyRefused) says so.
    ///
    /// It costs a pool of connections to each replica ([`pool_size`](Self::pool_size)), and READONLY in each handshake, without another round trip.
    pub fn read_from(mut self, from: ReadFrom) -> Self {
        let from_replicas = from == ReadFrom::PreferReplica;
        self.topology = self.topology.open_replicas(from_replicas);
        self.with(|settings| settings.send_readonly(from_replicas))
    }

    /// Where a node is dialled that the cluster announces at an address which leads nowhere from here, as behind NAT or a tunnel: what `map`
    /// returns, or that address itself for `None`. Default: each is dialled where it is announced. It runs on the task that opens nodes, and
    /// must answer at once; if it panics, the node is not opened, and that counts among the [failures](ClusterClient::hook_failures) of hooks.
    /// Over TLS an address that it returns is believed.
    pub fn address_map(
        mut self,
        map: impl Fn(&Endpoint) -> Option<Endpoint> + Send + Sync + 'static,
    ) -> Self {
        self.address_map = Some(Arc::new(map));
        self
    }

    super::super::settings::common_settings!();

    /// A stream of what will happen to the cluster, from the beginning on.
    #[must_use]
    pub fn events(&self) -> Observer<ClusterEvent> {
        self.events.observe()
    }

    /// Checks the settings and opens the client. It is done as soon as one of the servers has said which node serves what: commands for nodes
    /// that are not connected yet wait for them. A node that cannot be opened is a [`ClusterEvent::NodeNotOpened`], with the reason.
    ///
    /// Over TLS nodes lie in the domain of the servers named here, or in one that `target_domain` allows. One that is announced by its address is verified by
    /// the host name that the cluster has for it, and by the name of the first server otherwise.
    ///
    /// All servers are tried at the same time, so that one that is away delays nothing. It gives up when all of them have failed, as those of
    /// [`Builder::connect`](super::super::Builder::connect) do, or after twice the connect timeout (10 s by default).
    ///
    /// # Errors
    /// [`Error::Config`] if the settings do not fit together, and where a database other than 0 is chosen; [`Error::Connect`] if no server can
    /// be connected to, and [`Error::Topology`] if none says what the cluster is, such as a server that is none of a cluster.
    ///
    /// # Panics
    /// When it is first polled where [`Runtime::spawn`] panics: with tokio outside of a runtime.
    ///
    /// # Cancel safety
    /// Dropping the future closes what was opened.
    pub async fn connect(self) -> Result<ClusterClient<R>, Error> {
        let Self { runtime, network, settings, topology, events, hooks, provider, on_orphan, address_map } =
            self;
        let problem = if settings.selects_database() {
            Some("a cluster has database 0 alone: leave the database out")
        } else {
            let problem = "no stream of invalidations covers all nodes: leave `tracking` out, and open a `Client` for each node whose keys are cached";
            settings.tracks().then_some(problem)
        };
        if let Some(problem) = problem {
            return Err(ConfigError::Cluster { problem }.into());
        }
        let seeds = settings.seeds();
        let settings = settings.without_seeds();
        let config = settings.clone().build()?;
        events.set_capacity(config.event_capacity());
        let topology = topology.encrypted(config.tls()).build()?;
        #[cfg(feature = "tls")]
        let network = super::super::tls::Secured::new(network, &config, || runtime.system_roots())?;
        let policy = Policy::of(&config);
        let hooks = hooks.into_registry();
        let shared = Shared::new(runtime, topology, seeds.clone(), policy, (events, Arc::clone(&hooks)));
        let client = ClusterClient::new(shared);
        let dialer = Arc::new(network);
        let opener = Opener { dialer, settings, config, seeds, address_map, hooks, provider, on_orphan };
        control::spawn(client.shared(), opener);
        let shared = client.shared();
        std::future::poll_fn(|cx| shared.started.poll(cx)).await?;
        Ok(client)
    }
}

/// Shows that there is a credentials provider, and not what it holds.
impl<R: fmt::Debug, N: fmt::Debug> fmt::Debug for ClusterBuilder<R, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { runtime, network, settings, topology, events, hooks, provider, on_orphan, address_map } =
            self;
        f.debug_struct("ClusterBuilder")
            .field("runtime", runtime)
            .field("network", network)
            .field("settings", settings)
            .field("topology", topology)
            .field("events", events)
            .field("hooks", hooks)
            .field("asks_a_provider", &provider.is_some())
            .field("on_orphan", &on_orphan.is_some())
            .field("has_address_map", &address_map.is_some())
            .finish()
    }
}
