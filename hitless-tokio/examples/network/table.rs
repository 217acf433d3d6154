//! A resolver of your own: a fixed table of names.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;

use crate::hitless::{Adapter, Connector, Peer, Resolver, Stream, Target};

/// Which addresses each name has. Other names do not exist.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table(pub(crate) HashMap<String, Vec<IpAddr>>);

impl Resolver for Table {
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let known = self.0.get(host).cloned();
        known.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the table has no such name"))
    }
}

impl Connector for Table {
    type Stream = Stream;

    async fn connect(&self, target: Target) -> io::Result<(Stream, Peer)> {
        Adapter.connect(target).await
    }
}
