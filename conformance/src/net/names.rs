//! Names whose addresses a test decides on.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use hitless_core::driver::{Connector, Resolver};
use hitless_core::endpoint::{Peer, Target};

use super::lock;

/// Where names lead; a clone is another handle to the same names.
#[derive(Clone, Debug, Default)]
pub struct Names(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    addresses: BTreeMap<String, Vec<IpAddr>>,
    lookups: BTreeMap<String, usize>,
}

impl Names {
    /// Leads a name to these addresses from now on.
    pub fn set(&self, host: &str, addresses: Vec<IpAddr>) {
        lock(&self.0).addresses.insert(host.to_owned(), addresses);
    }

    /// How often a name was looked up.
    #[must_use]
    pub fn lookups(&self, host: &str) -> usize {
        lock(&self.0).lookups.get(host).copied().unwrap_or(0)
    }

    /// Looks a name up.
    ///
    /// # Errors
    /// [`NotFound`](io::ErrorKind::NotFound): the name was never set.
    pub fn look_up(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let mut state = lock(&self.0);
        *state.lookups.entry(host.to_owned()).or_default() += 1;
        state.addresses.get(host).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// The sockets of `adapter` under these names.
    #[must_use]
    pub fn over<A>(&self, adapter: A) -> Named<A> {
        Named { names: self.clone(), adapter }
    }
}

/// The sockets of an adapter, under [`Names`].
#[derive(Clone, Debug)]
pub struct Named<A> {
    names: Names,
    adapter: A,
}

impl<A: Send + Sync + 'static> Resolver for Named<A> {
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        self.names.look_up(host)
    }
}

impl<A: Connector> Connector for Named<A> {
    type Stream = A::Stream;

    async fn connect(&self, target: Target) -> io::Result<(A::Stream, Peer)> {
        self.adapter.connect(target).await
    }
}
