//! What the nodes speak: RESP as it is, or TLS, if the demo was built with it.

use std::io;

use hitless_conformance::world::Encryption;
use hitless_core::driver::{Builder, Connector, Resolver, Runtime};

/// What the nodes speak, and what makes the client trust them.
#[derive(Default)]
pub(super) struct Security {
    encryption: Encryption,
    #[cfg(feature = "tls")]
    trust: Option<hitless_core::config::Tls>,
}

impl Security {
    /// With TLS each node has a certificate of its own, for its own name and the one that leads to all of them.
    ///
    /// # Errors
    /// TLS is wanted and not built in.
    pub(super) fn new(tls: bool) -> io::Result<Self> {
        let security = Self::default();
        #[cfg(feature = "tls")]
        let security = if tls { Self::tls() } else { security };
        if tls && matches!(security.encryption, Encryption::None) {
            let problem = "this demo was built without TLS: `cargo xtask demo --tls` builds it with";
            return Err(io::Error::new(io::ErrorKind::Unsupported, problem));
        }
        Ok(security)
    }

    #[cfg(feature = "tls")]
    fn tls() -> Self {
        use super::{NAME, Node};
        let names = Node::ALL.map(|node| [node.host(), NAME]);
        let names = names.iter().map(|names| &names[..]);
        let (encryption, trust) = hitless_conformance::net::certificates::certify(names);
        Self { encryption, trust: Some(trust) }
    }

    pub(super) fn encryption(&self) -> Encryption {
        self.encryption.clone()
    }

    /// In words, behind those for the server.
    pub(super) fn description(&self) -> &'static str {
        if matches!(self.encryption, Encryption::None) { "" } else { ", encrypted" }
    }

    /// Makes a client speak as the nodes do.
    pub(super) fn of<R: Runtime, N: Resolver + Connector>(&self, client: Builder<R, N>) -> Builder<R, N> {
        #[cfg(feature = "tls")]
        if let Some(trust) = &self.trust {
            return client.tls(trust.clone());
        }
        client
    }
}
