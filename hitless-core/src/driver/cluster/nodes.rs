//! The clients of the nodes, as the control task opens and closes them.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::super::credentials::Provider;
use super::super::dial::Dialer;
use super::super::effects::OnOrphan;
use super::super::handle::{Client, Watchers};
use super::super::hooks::Registry;
use super::super::observer::Broadcast;
use super::super::shared::Shared as NodeShared;
use super::super::traits::{Resolver, Runtime};
use super::inbox::{Report, Sender};
use super::shared::Shared;
use crate::config::{Config, ConfigBuilder, ConfigError};
use crate::endpoint::{Endpoint, Host, Peer, Target};
use crate::error::TlsProgress;
use crate::ids::{IdMap, NodeId};

/// How long the client of a node that is gone may go on for what was written there, and for leases that are out.
const GRACE: Duration = Duration::from_secs(10);

/// What it takes to open the client of a node.
pub(super) struct Opener<D> {
    pub(super) dialer: Arc<D>,
    pub(super) settings: ConfigBuilder,
    /// The same, checked: it knows which names are believed over TLS.
    pub(super) config: Config,
    /// The servers that the application has named.
    pub(super) seeds: Vec<Endpoint>,
    pub(super) address_map: Option<AddressMap>,
    pub(super) hooks: Arc<Registry>,
    pub(super) provider: Provider,
    pub(super) on_orphan: Option<OnOrphan>,
}

/// Where a node is dialled that the cluster announces at an address.
pub(super) type AddressMap = Arc<dyn Fn(&Endpoint) -> Option<Endpoint> + Send + Sync>;

impl<D> Opener<D> {
    /// The settings of the client of a node.
    fn config(&self, announced: Endpoint, hostname: Option<Arc<str>>) -> Result<Config, ConfigError> {
        let mut mapped = Some(None);
        if let Some(map) = &self.address_map {
            mapped = None;
            // A panic is not one of the control task, and is counted.
            self.hooks.failures().guard(|| mapped = Some(map(&announced)));
        }
        let Some(mapped) = mapped else {
            return Err(ConfigError::Cluster { problem: "the map of addresses has panicked" });
        };
        let is_named = mapped.is_some() || self.seeds.contains(&announced);
        if !is_named && !self.config.trusts_target(&announced) {
            let problem = format!(
                "the cluster names a node outside of it, and of the domain of its seeds: {announced}"
            );
            return Err(ConfigError::Tls { setting: "target_domain", problem });
        }
        // What the server says of itself proves nothing, unless it lies where the application looks for it.
        let lies_there = |name: &Arc<str>| {
            Host::parse(name).is_ok_and(|host| self.config.trusts_target(&Endpoint::Tcp { host, port: 1 }))
        };
        let hostname = hostname.filter(lies_there);
        self.settings.clone().for_node(mapped.unwrap_or(announced), hostname).build()
    }
}

/// The network that the clients of all nodes use.
struct Common<D>(Arc<D>);

impl<D: Resolver> Resolver for Common<D> {
    fn resolve(&self, host: &str) -> impl Future<Output = io::Result<Vec<std::net::IpAddr>>> + Send {
        self.0.resolve(host)
    }
}

impl<D: Dialer> Dialer for Common<D> {
    type Stream = D::Stream;

    fn dial(
        &self,
        target: Target,
        report: impl Fn(TlsProgress) + Send + Sync,
    ) -> impl Future<Output = io::Result<(Self::Stream, Peer)>> + Send {
        self.0.dial(target, report)
    }
}

pub(super) struct Nodes<R: Runtime, D> {
    opener: Opener<D>,
    clients: IdMap<NodeId, Client<R>>,
    /// Where the client of each node was opened. A node has no entry while it has moved and its new client cannot be set up.
    places: IdMap<NodeId, Endpoint>,
    /// The number of the client that each node has, and how many there were.
    numbers: IdMap<NodeId, u64>,
    opened: u64,
    /// Those that are still ending.
    ending: Vec<Arc<NodeShared<R>>>,
    /// Where the connections of a node have gone.
    moved: IdMap<NodeId, Endpoint>,
    /// Those whose clients are in no routes yet.
    new: Vec<NodeId>,
    /// The names that nodes have given themselves.
    names: IdMap<NodeId, Arc<str>>,
}

impl<R: Runtime, D: Dialer> Nodes<R, D> {
    pub(super) fn new(opener: Opener<D>) -> Self {
        Self {
            opener,
            clients: IdMap::new(),
            places: IdMap::new(),
            numbers: IdMap::new(),
            opened: 0,
            ending: Vec::new(),
            moved: IdMap::new(),
            new: Vec::new(),
            names: IdMap::new(),
        }
    }

    /// Opens a client, unless the node has one at this address, which goes on trying by itself. True if there is a new one.
    pub(super) fn open(
        &mut self,
        shared: &Shared<R>,
        node: NodeId,
        endpoint: Endpoint,
        hostname: Option<Arc<str>>,
    ) -> Result<bool, ConfigError> {
        if self.is_open(node) && self.places.get(node) == Some(&endpoint) {
            return Ok(false);
        }
        self.replace(shared, node, endpoint, hostname)
    }

    /// Opens a client in the place of the one that the node may have; that one stays if the settings of the other one cannot work.
    pub(super) fn replace(
        &mut self,
        shared: &Shared<R>,
        node: NodeId,
        endpoint: Endpoint,
        hostname: Option<Arc<str>>,
    ) -> Result<bool, ConfigError> {
        // If that fails, the client that there is stays for the time being. Where its connections have gone says nothing of the node any more.
        self.places.remove(node);
        self.moved.remove(node);
        let config = self.opener.config(endpoint.clone(), hostname.clone())?;
        self.close(node);
        self.places.insert(node, endpoint);
        if let Some(hostname) = hostname {
            self.names.insert(node, hostname);
        }
        let opener = &self.opener;
        let watchers = Watchers {
            events: Arc::new(Broadcast::new(0)),
            hooks: Arc::clone(&opener.hooks),
            provider: opener.provider.clone(),
            on_orphan: opener.on_orphan.clone(),
        };
        let (runtime, dialer) = (shared.runtime.clone(), Common(Arc::clone(&opener.dialer)));
        self.opened += 1;
        self.numbers.insert(node, self.opened);
        let report = Report::new(Sender { node, number: self.opened }, &shared.inbox);
        self.new.push(node);
        self.clients.insert(node, Client::begin(runtime, dialer, config, watchers, Some(report)));
        Ok(true)
    }

    /// Closes the client of a node. What was written is answered; what was not goes back to whoever has sent it.
    pub(super) fn close(&mut self, node: NodeId) {
        if let Some(client) = self.clients.remove(node) {
            // Somebody who has closed it already may have given it more time.
            if client.shared().is_open() {
                client.shared().shutdown(GRACE);
            }
            self.forget_gone();
            self.ending.push(Arc::clone(client.shared()));
        }
        self.places.remove(node);
        self.numbers.remove(node);
        self.moved.remove(node);
        self.names.remove(node);
    }

    /// The node's connections are at this address now, and so are those that are opened later.
    pub(super) fn readdress(&mut self, node: NodeId, endpoint: Endpoint) {
        self.moved.insert(node, endpoint);
    }

    /// The client of a node has lost its connections. Where these had moved, it would look for others at the address of before: another
    /// client takes its place. True if there is one.
    pub(super) fn note_cut_off(&mut self, shared: &Shared<R>, node: NodeId) -> Result<bool, ConfigError> {
        let Some(endpoint) = self.moved.remove(node) else { return Ok(false) };
        let hostname = self.names.get(node).cloned();
        self.replace(shared, node, endpoint, hostname)
    }

    /// Whether it is the client that its node has now, and none that another one has taken the place of.
    pub(super) fn is_current(&self, from: Sender) -> bool {
        self.numbers.get(from.node) == Some(&from.number)
    }

    /// Whether its client takes requests.
    pub(super) fn is_open(&self, node: NodeId) -> bool {
        self.clients.get(node).is_some_and(|client| client.shared().is_open())
    }

    /// Whether its client is opened where the node is.
    pub(super) fn is_placed(&self, node: NodeId) -> bool {
        self.places.get(node).is_some()
    }

    /// Forgets the clients of which nothing is left.
    pub(super) fn forget_gone(&mut self) {
        self.ending.retain(|ending| !ending.gone.is_open());
    }

    /// The clients that were opened since this was last asked.
    pub(super) fn take_new(&mut self) -> Vec<Client<R>> {
        let new = std::mem::take(&mut self.new);
        new.into_iter().filter_map(|node| self.clients.get(node).cloned()).collect()
    }

    pub(super) fn client(&self, node: NodeId) -> Option<&Client<R>> {
        self.clients.get(node)
    }

    pub(super) fn clients(&self) -> IdMap<NodeId, Client<R>> {
        self.clients.clone()
    }

    /// Ends all of them within `grace`.
    pub(super) fn shutdown(&mut self, grace: Duration) {
        let clients = self.clients.iter().map(|(_, client)| client.shared());
        clients.chain(&self.ending).for_each(|shared| shared.shutdown(grace));
    }

    /// Ready when nothing of them is left.
    pub(super) fn gone(&self) -> impl Future<Output = ()> + Send + 'static + use<R, D> {
        let clients = self.clients.iter().map(|(_, client)| client.shared());
        let all: Vec<_> = clients.chain(&self.ending).cloned().collect();
        async move {
            for shared in all {
                shared.gone.wait().await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opener(url: &str) -> Opener<()> {
        let settings = ConfigBuilder::from_url(url).unwrap();
        let settings = if url.contains("encrypted") { settings.encrypted_by_connector() } else { settings };
        let (seeds, config) = (settings.seeds(), settings.clone().build().unwrap());
        let (dialer, hooks) = (Arc::new(()), Arc::default());
        let address_map = None;
        Opener { dialer, settings, config, seeds, address_map, hooks, provider: None, on_orphan: None }
    }

    fn endpoint(text: &str) -> Endpoint {
        Endpoint::parse(text, 6379).unwrap()
    }

    /// A certificate proves that a server has a name, and not that it is a node: over TLS nodes lie in the domain of the seeds, and what they
    /// say of their names counts there only. RULE-378, CLUSTER-04
    #[test]
    fn over_tls_nodes_lie_in_the_domain_of_the_seeds() {
        let opener = opener("redis://seed.encrypted.example.com");
        let name = |announced: &str, hostname: Option<&str>| {
            let config = opener.config(endpoint(announced), hostname.map(Arc::from))?;
            Ok::<_, ConfigError>(config.name_of(None).map(|name| name.to_string()))
        };
        assert_eq!(name("node.encrypted.example.com", None).unwrap().unwrap(), "node.encrypted.example.com");
        assert_eq!(name("seed.encrypted.example.com", None).unwrap().unwrap(), "seed.encrypted.example.com");
        let stranger = name("node.example.org", None).unwrap_err();
        assert!(stranger.to_string().contains("target_domain"), "{stranger}");
        let listed = "n1.encrypted.example.com";
        assert_eq!(name("10.0.0.1", Some(listed)).unwrap().unwrap(), listed);
        let of_the_seed = name("10.0.0.1", Some("evil.example.org")).unwrap().unwrap();
        assert_eq!(of_the_seed, "seed.encrypted.example.com");
    }

    /// RULE-379
    #[test]
    fn nodes_are_dialled_where_the_map_says() {
        let mut opener = opener("redis://10.0.0.1");
        let dialled = |opener: &Opener<()>, announced: &str| {
            opener.config(endpoint(announced), None).unwrap().endpoint().to_string()
        };
        assert_eq!(dialled(&opener, "10.0.0.2"), "10.0.0.2:6379");
        let inside = endpoint("10.0.0.2");
        opener.address_map =
            Some(Arc::new(move |announced| (*announced == inside).then(|| endpoint("outside:7002"))));
        assert_eq!(dialled(&opener, "10.0.0.2"), "outside:7002");
        assert_eq!(dialled(&opener, "10.0.0.3"), "10.0.0.3:6379");
    }

    /// The map is foreign code. RULE-383
    #[test]
    fn a_map_that_panics_costs_its_node_alone() {
        let mut opener = opener("redis://10.0.0.1");
        let inside = endpoint("10.0.0.2");
        opener.address_map = Some(Arc::new(move |announced| {
            assert!(*announced != inside, "a node that the map does not expect");
            None
        }));
        let error = opener.config(endpoint("10.0.0.2"), None).unwrap_err();
        assert!(error.to_string().contains("panicked"), "{error}");
        assert_eq!(opener.hooks.failures().snapshot().panics, 1);
        assert!(opener.config(endpoint("10.0.0.3"), None).is_ok());
    }

    /// A node does not keep what another one may run. RULE-364
    #[test]
    fn a_node_hands_back_what_it_cannot_run() {
        let config = opener("redis://10.0.0.1").config(endpoint("10.0.0.2"), None).unwrap();
        assert!(config.is_node());
        assert_eq!(config.when_disconnected(), crate::config::WhenDisconnected::Fail);
    }
}
