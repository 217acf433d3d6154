//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};

use super::Failure;
use super::hitless::{
    Adapter, Builder, ClusterBuilder, ConfigBuilder, Endpoint, EndpointPreference, Host, Mode, maintenance,
};
use super::target::Opening;

/// A steady load, with every operation written to a file, to see whether an upgrade of the server is hitless.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Options {
    /// URL of the server, in place of host, port, user and password: `redis://user:password@host:port`. `rediss://` encrypts the
    /// connections, and believes whom the system's authorities vouch for; build the example with `--features tls` for it.
    #[arg(long, conflicts_with_all = ["host", "port", "user", "password"])]
    url: Option<String>,
    /// Host name or address of the server.
    #[arg(long, default_value = "127.0.0.1")]
    host: String,
    /// Port of the server.
    #[arg(long, default_value_t = 6379)]
    port: u16,
    /// User to authenticate as; without one, the default user.
    #[arg(long, requires = "password")]
    user: Option<String>,
    /// Password to authenticate with.
    #[arg(long)]
    password: Option<String>,
    /// Workers, each with keys of its own and one operation under way at a time.
    #[arg(long, default_value_t = 32)]
    pub(crate) workers: u32,
    /// Host and port are a seed: one server of a cluster, which tells of the others.
    #[arg(long)]
    cluster: bool,
    /// Connections of the pool [default: 10]; of each node's pool, with `--cluster` [default: what the client has].
    #[arg(long)]
    pool: Option<u32>,
    /// How long to go on, in seconds.
    #[arg(long, default_value_t = 20.0, value_parser = seconds)]
    duration: f64,
    /// Timeout of a command, in milliseconds.
    #[arg(long, default_value_t = 1000)]
    timeout_ms: u64,
    /// Pause of a worker between two operations, in milliseconds.
    #[arg(long, default_value_t = 20)]
    think_ms: u64,
    /// Part of every key, so that runs do not meet.
    #[arg(long)]
    pub(crate) run_id: String,
    /// What the workers do.
    #[arg(long, value_enum, default_value_t = Work::Mix)]
    mode: Work,
    /// Whether to ask for maintenance notifications: enabled, disabled or auto.
    #[arg(long, default_value_t = Mode::Auto)]
    maint: Mode,
    /// Endpoint type to ask for: internal-ip, internal-fqdn, external-ip, external-fqdn, none or auto.
    #[arg(long, default_value_t = EndpointPreference::Auto)]
    endpoint_type: EndpointPreference,
    /// File to write the operations to.
    #[arg(long)]
    pub(crate) out: PathBuf,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Work {
    /// INCR, SET, INCR, GET.
    Mix,
    /// The same, and a subscriber of the channel `ch:<run id>`.
    Pubsub,
    /// The same, and five consumers beside the workers that wait with BLPOP.
    Blpop,
    /// The same, and after each GET an MSET and an MGET of two keys of one slot.
    Pairs,
}

impl Options {
    /// The client that is asked for, to be opened.
    pub(crate) fn opening(&self) -> Result<Opening, Failure> {
        let maintenance =
            maintenance::Config::builder().mode(self.maint).endpoint_type(self.endpoint_type).build()?;
        let mut settings = match &self.url {
            Some(url) => ConfigBuilder::from_url(url)?,
            None => ConfigBuilder::new(Endpoint::Tcp { host: Host::parse(&self.host)?, port: self.port }),
        };
        if let Some(password) = &self.password {
            settings = settings.credentials(self.user.as_deref(), password);
        }
        settings = settings.maintenance(maintenance);
        let opening = if self.cluster {
            Opening::Cluster(ClusterBuilder::from_settings(Adapter, Adapter, settings))
        } else {
            Opening::Server(Builder::from_settings(Adapter, Adapter, settings))
        };
        let opening = opening.command_timeout(Duration::from_millis(self.timeout_ms));
        Ok(match self.pool {
            Some(size) => opening.pool_size(size),
            None => opening,
        })
    }

    /// Whether there is a subscriber.
    pub(crate) fn subscribes(&self) -> bool {
        matches!(self.mode, Work::Pubsub)
    }

    /// Whether there are consumers.
    pub(crate) fn has_consumers(&self) -> bool {
        matches!(self.mode, Work::Blpop)
    }

    /// Whether the workers have pairs of keys.
    pub(crate) fn has_pairs(&self) -> bool {
        matches!(self.mode, Work::Pairs)
    }

    pub(crate) fn duration(&self) -> Duration {
        Duration::from_secs_f64(self.duration)
    }

    pub(crate) fn think_time(&self) -> Duration {
        Duration::from_millis(self.think_ms)
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    // A year is more than anybody waits for, and less than what an instant can hold.
    if (0.0..=31_536_000.0).contains(&seconds) { Ok(seconds) } else { Err("not from 0 to a year".to_owned()) }
}
