//! Settings of a cluster, and what becomes of them at each of its nodes.

use super::{Config, ConfigBuilder, ConfigError};

impl Config {
    /// Whether every connection asks for what its server has as a replica. A server that refuses is no error.
    pub(crate) fn sends_readonly(&self) -> bool {
        self.settings.sends_readonly
    }
}

impl ConfigBuilder {
    /// A client for one server has no other ones.
    pub(super) fn check_seeds(&self) -> Result<(), ConfigError> {
        if self.further_seeds.is_empty() {
            return Ok(());
        }
        let problem = "addr names another server of a cluster, and this client is for one server: open a `ClusterClient`";
        Err(ConfigError::Url { part: "query", problem })
    }
}

#[cfg(feature = "driver")]
mod nodes {
    use std::sync::Arc;

    use super::super::{ConfigBuilder, WhenDisconnected};
    use crate::endpoint::{Endpoint, Host};

    impl ConfigBuilder {
        /// The same settings for one node of a cluster. Its client hands requests back that the node has refused to run, instead of sending
        /// them there again, and does not keep any while it has no connection: another node may run them.
        pub(crate) fn for_node(mut self, endpoint: Endpoint, hostname: Option<Arc<str>>) -> Self {
            if self.server_name.is_none() && matches!(endpoint.host(), Some(Host::Ip(_))) {
                // A certificate names the node or the cluster, and seldom an address.
                self.server_name = hostname.or_else(|| match &self.endpoint {
                    Endpoint::Tcp { host: Host::Name(name), .. } => Some(Arc::clone(name)),
                    Endpoint::Tcp { host: Host::Ip(_), .. } | Endpoint::Unix(_) => None,
                });
            }
            let when_disconnected = WhenDisconnected::Fail;
            Self { endpoint, is_node: true, when_disconnected, further_seeds: Vec::new(), ..self }
        }

        /// Whether every connection of a node sends READONLY in its handshake.
        pub(crate) fn send_readonly(self, sends_readonly: bool) -> Self {
            Self { sends_readonly, ..self }
        }

        /// The configured server, and those that `addr` in the URL names besides.
        pub(crate) fn seeds(&self) -> Vec<Endpoint> {
            [&self.endpoint].into_iter().chain(&self.further_seeds).cloned().collect()
        }

        /// Whether two URLs say the same but for their addresses.
        pub(crate) fn agrees_with(&self, other: &Self) -> bool {
            let said = |it: &Self| {
                let Self { database, protocol, when_disconnected, client_info, .. } = *it;
                (database, protocol, when_disconnected, client_info, it.is_encrypted())
            };
            let names = |it: &Self| (it.client_name.clone(), it.credentials.clone());
            said(self) == said(other) && names(self) == names(other)
        }

        /// The same with further servers of the cluster.
        pub(crate) fn with_seeds(mut self, seeds: Vec<Endpoint>) -> Self {
            self.further_seeds.extend(seeds);
            self
        }

        /// The same for one of them.
        pub(crate) fn without_seeds(self) -> Self {
            Self { further_seeds: Vec::new(), ..self }
        }

        /// Whether the server is to tell which keys have changed.
        pub(crate) fn tracks(&self) -> bool {
            self.tracking.is_some()
        }

        /// Whether it is another database than the one that a cluster has.
        pub(crate) fn selects_database(&self) -> bool {
            self.database != 0
        }
    }
}
