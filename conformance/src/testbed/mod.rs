//! The vocabulary of the cases: a [`World`] with three endpoints, so that a case reads as a dialogue.

mod caching;
mod client;
mod cluster;
mod control;
mod credentials;
mod hooks;
mod leases;
mod load;
mod subscriptions;
mod time;

use std::panic::resume_unwind;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hitless_core::config::{Config, ConfigBuilder, maintenance};
use hitless_core::endpoint::{Endpoint, Host as HostName};
use hitless_core::error::ConnectError;
use resp3_codec::{Command, Frame, cmd};

pub use self::cluster::{KEYS, keys_in, slot};
pub use self::load::{Load, Operation};
#[cfg(feature = "tls")]
use crate::net::certificates;
use crate::server::{EndpointId, EndpointSpec, Server, ServerConfig, ServerMachine};
use crate::world::{Encryption, Host, Layout, Setup, World};

/// One second.
pub const SECOND: Duration = Duration::from_secs(1);
/// The longest that anything may take which must come soon.
const SOON: Duration = Duration::from_secs(5);
/// The name under which the endpoint `a` is known, where a case wants names.
pub const NAME: &str = "redis.test";

/// One millisecond, `count` times.
#[must_use]
pub const fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// Why a case is not run here: thrown by [`Testbed`], caught by the suite.
#[derive(Debug)]
pub(crate) struct Declined(pub(crate) String);

/// A server with the endpoints `a`, `b` and `c` over one data set, and a client that is to be connected.
pub struct Testbed {
    world: Box<dyn World>,
    /// The endpoint that clients are configured with.
    pub a: EndpointId,
    /// Another one.
    pub b: EndpointId,
    /// A third one.
    pub c: EndpointId,
    /// One besides, where the server is a cluster.
    spare: Option<EndpointId>,
    config: Option<Config>,
    /// Somebody has wanted a lease.
    lends: bool,
    /// It has sent commands that block, which have connections beside the pool.
    blocks: bool,
    load: Option<Load>,
    #[cfg(feature = "tls")]
    tls: Option<hitless_core::config::Tls>,
}

/// Collects what a [`Testbed`] is made of.
#[must_use]
pub struct Builder<'a> {
    host: &'a dyn Host,
    server: ServerConfig,
    endpoints: [EndpointSpec; 3],
    layout: Layout,
    is_cluster: bool,
    certificates: Option<[&'static [&'static str]; 3]>,
}

impl Builder<'_> {
    /// Accounts and habits of the server.
    pub fn server(mut self, server: ServerConfig) -> Self {
        self.server = server;
        self
    }

    /// What all endpoints are like.
    pub fn endpoints(mut self, change: impl Fn(EndpointSpec) -> EndpointSpec) -> Self {
        self.endpoints = self.endpoints.map(change);
        self
    }

    /// Puts the endpoint `b` at another address.
    pub fn b_at(mut self, address: &str) -> Self {
        self.endpoints[1] = EndpointSpec::new(address.parse().expect("an address"));
        self
    }

    /// How the endpoints are spread over addresses.
    pub fn layout(mut self, layout: Layout) -> Self {
        self.layout = layout;
        self
    }

    /// Makes the endpoints nodes of a cluster, with a third of the slots each, and adds one that is none.
    pub fn cluster(mut self) -> Self {
        self.is_cluster = true;
        self
    }

    /// Has the endpoints speak TLS, each with a certificate that is valid for these names, by an authority that the client
    /// trusts.
    pub fn certificates(mut self, names: [&'static [&'static str]; 3]) -> Self {
        self.certificates = Some(names);
        self
    }

    /// Makes it.
    #[must_use]
    pub fn build(self) -> Testbed {
        let mut server = Server::new(self.server);
        let [a, b, c] = self.endpoints.map(|spec| server.add_endpoint(spec));
        let spare = self.is_cluster.then(|| {
            server.form_cluster(&[a, b, c]);
            server.add_endpoint(EndpointSpec::loopback().with_host("spare.test"))
        });
        let encryption = Encryption::default();
        #[cfg(feature = "tls")]
        let (encryption, tls) = match self.certificates.map(|names| certify(names, self.is_cluster)) {
            Some((encryption, trust)) => (encryption, Some(trust)),
            None => (encryption, None),
        };
        if self.certificates.is_some() && matches!(encryption, Encryption::None) {
            resume_unwind(Box::new(Declined("this crate was built without its feature `tls`".to_owned())));
        }
        let world = self.host.world(Setup { server, layout: self.layout, encryption });
        let mut world = world.unwrap_or_else(|reason| resume_unwind(Box::new(Declined(reason))));
        let mut address = None;
        world.with_server(&mut |server, _| address = Some(server.address(a).ip()));
        world.set_name(NAME, address.into_iter().collect());
        Testbed {
            world,
            a,
            b,
            c,
            spare,
            config: None,
            lends: false,
            blocks: false,
            load: None,
            #[cfg(feature = "tls")]
            tls,
        }
    }
}

impl Testbed {
    /// A testbed as most cases need it.
    #[must_use]
    pub fn new(host: &dyn Host) -> Self {
        Self::builder(host).build()
    }

    /// A builder for another one.
    pub fn builder(host: &dyn Host) -> Builder<'_> {
        let endpoints = ["a.test", "b.test", "c.test"].map(|name| EndpointSpec::loopback().with_host(name));
        Builder {
            host,
            server: ServerConfig::default(),
            endpoints,
            layout: Layout::Ports,
            is_cluster: false,
            certificates: None,
        }
    }

    /// Settings of a client of the endpoint `a`, with three connections and short times.
    pub fn settings(&mut self) -> ConfigBuilder {
        let address = self.address(self.a);
        self.settings_of(Endpoint::Tcp { host: address.ip().into(), port: address.port() })
    }

    /// The same for a client that knows the endpoint `a` by [`NAME`].
    pub fn settings_by_name(&mut self) -> ConfigBuilder {
        self.settings_by(NAME)
    }

    /// The same for a client that knows the endpoint `a` by another name, which the case leads there.
    pub fn settings_by(&mut self, name: &str) -> ConfigBuilder {
        let port = self.address(self.a).port();
        self.settings_of(Endpoint::Tcp { host: HostName::Name(name.into()), port })
    }

    fn settings_of(&self, endpoint: Endpoint) -> ConfigBuilder {
        let settings = Config::builder(endpoint)
            .pool_size(3)
            .connect_timeout(Some(SECOND))
            .command_timeout(Some(self.command_timeout()))
            .maintenance(maintenance(|settings| settings));
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            return settings.tls(tls.clone());
        }
        settings
    }

    /// The command timeout where a case sets none: one second. Over sockets it is longer, because a busy machine may hold up both the client and
    /// the server.
    fn command_timeout(&self) -> Duration {
        let slack = self.slack();
        // In virtual time nothing is held up, and the slack is a few milliseconds.
        if slack > millis(100) { SECOND + 2 * slack } else { SECOND }
    }

    /// Opens the client.
    ///
    /// # Errors
    /// The pool could not be opened.
    pub fn try_connect(&mut self, settings: ConfigBuilder) -> Result<(), ConnectError> {
        self.config = settings.clone().build().ok();
        self.world.connect(settings)
    }

    /// Opens the client, which must succeed.
    pub fn connect_with(&mut self, settings: ConfigBuilder) {
        let result = self.try_connect(settings);
        assert_eq!(result, Ok(()), "the client connects");
    }

    /// Opens the client with the usual settings.
    pub fn connect(&mut self) {
        let settings = self.settings();
        self.connect_with(settings);
    }

    /// Opens the client with so many connections.
    pub fn connect_pool(&mut self, size: u32) {
        let settings = self.settings().pool_size(size);
        self.connect_with(settings);
    }
}

/// Certificates for all endpoints; the one besides those three has the names of the first.
#[cfg(feature = "tls")]
fn certify(names: [&'static [&'static str]; 3], has_spare: bool) -> (Encryption, hitless_core::config::Tls) {
    certificates::certify(names.into_iter().chain(has_spare.then_some(names[0])))
}

/// Settings of maintenance with short times, changed by the case.
#[must_use]
pub fn maintenance(
    change: impl FnOnce(maintenance::ConfigBuilder) -> maintenance::ConfigBuilder,
) -> maintenance::Config {
    let usual =
        maintenance::Config::builder().relaxed_timeout(SECOND).handoff_timeout(SECOND).max_handoff_retries(3);
    change(usual).build().expect("the settings of a case fit together")
}

/// The bytes of these frames, one after the other.
#[must_use]
pub fn encoded(frames: &[Frame]) -> Bytes {
    let mut buffer = BytesMut::new();
    frames.iter().for_each(|frame| frame.encode(&mut buffer));
    buffer.freeze()
}

/// `INCR key`.
pub fn incr(key: &str) -> Command {
    cmd("INCR").arg(key)
}

/// `GET key`.
pub fn get(key: &str) -> Command {
    cmd("GET").arg(key)
}

/// `SET key value`.
pub fn set(key: &str, value: &str) -> Command {
    cmd("SET").arg(key).arg(value)
}
