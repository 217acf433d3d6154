//! The one name that the client is configured with, and where it leads: the demo's DNS.

use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use hitless_core::driver::{Connector, Resolver};
use hitless_core::endpoint::{Peer, Target};

const NAME: &str = "redis.demo";

/// A name whose addresses change.
#[derive(Debug)]
pub(crate) struct Names {
    port: u16,
    addresses: Mutex<Vec<IpAddr>>,
}

impl Names {
    /// The name leads nowhere yet; what it will lead to listens on `port`.
    pub(crate) fn new(port: u16) -> Self {
        Self { port, addresses: Mutex::default() }
    }

    /// Connections as `adapter` opens them, to where the name leads.
    pub(crate) fn network<A>(names: &Arc<Self>, adapter: A) -> Network<A> {
        Network { names: Arc::clone(names), adapter }
    }

    /// What the client is configured with.
    pub(crate) fn url(&self) -> String {
        format!("redis://{NAME}:{}", self.port)
    }

    /// The name leads there from now on.
    pub(crate) fn point_at(&self, addresses: Vec<IpAddr>) {
        *self.addresses.lock().unwrap_or_else(PoisonError::into_inner) = addresses;
    }

    fn look_up(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        if host != NAME {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(self.addresses.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

/// An adapter that looks names up here.
#[derive(Debug)]
pub(crate) struct Network<A> {
    names: Arc<Names>,
    adapter: A,
}

impl<A: Send + Sync + 'static> Resolver for Network<A> {
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        self.names.look_up(host)
    }
}

impl<A: Connector> Connector for Network<A> {
    type Stream = A::Stream;

    async fn connect(&self, target: Target) -> io::Result<(A::Stream, Peer)> {
        self.adapter.connect(target).await
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn the_name_leads_where_it_was_pointed_at_and_no_other_name_leads_anywhere() {
        let names = Names::new(7000);
        assert_eq!(names.url(), "redis://redis.demo:7000");
        assert!(names.look_up(NAME).unwrap().is_empty());
        names.point_at(vec![Ipv4Addr::LOCALHOST.into()]);
        assert_eq!(names.look_up(NAME).unwrap(), [Ipv4Addr::LOCALHOST]);
        assert_eq!(names.look_up("redis.example").unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
