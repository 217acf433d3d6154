//! What is known, by the address that was dialled, of the support for maintenance notifications, and which connections do without.

#[cfg(feature = "explore")]
mod fingerprint;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use crate::config::{Config, Protocol};
use crate::endpoint::Peer;
use crate::event::Event;
use crate::handshake::{ErrorCode, OptIn, Probe};
use crate::ids::ConnId;
use crate::mode::{Mode, Support};

/// Addresses of which something is known; beyond it one is forgotten, which means that it is asked again.
const ADDRESSES: usize = 256;

/// What is known of each address.
#[derive(Clone, Debug)]
pub(super) struct Knowledge {
    config: Arc<Config>,
    known: BTreeMap<Peer, Known>,
    /// Established connections that will not be told of maintenance, although the user wants it.
    unnotified: BTreeMap<Peer, BTreeSet<ConnId>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Known {
    support: Support,
    /// The link died at an opt-in: the next dial does not ask, and if it succeeds, that was why.
    is_suspect: bool,
}

impl Knowledge {
    pub(super) const fn new(config: Arc<Config>) -> Self {
        Self { config, known: BTreeMap::new(), unnotified: BTreeMap::new() }
    }

    /// Whether a handshake with `peer` that begins now opts in.
    pub(super) fn probe(&mut self, now: Instant, peer: &Peer) -> Probe {
        let asks = match self.config.maintenance().mode() {
            _ if self.config.protocol() == Protocol::Resp2 => false,
            Mode::Disabled => false,
            // It asks whatever was learnt: a refusal is to be seen, not worked around.
            Mode::Enabled => true,
            Mode::Auto => match self.known.get_mut(peer) {
                Some(known) => !known.is_suspect && known.support.take_probe(now),
                None => true,
            },
        };
        if asks { Probe::OptIn } else { Probe::Skip }
    }

    /// Takes in what the server at `peer` said to the opt-in of `conn`, which is ready. The event says so if it is news that
    /// the server refuses.
    pub(super) fn learn(&mut self, now: Instant, conn: ConnId, peer: &Peer, opt_in: OptIn) -> Option<Event> {
        let news = match opt_in {
            OptIn::Accepted => {
                *self.entry(peer) = Known { support: Support::Active, is_suspect: false };
                return None;
            }
            OptIn::Refused(code) | OptIn::NoResp3(code) => self.learn_refusal(now, peer, Some(code)),
            OptIn::NotAsked if self.is_suspect(peer) => self.learn_refusal(now, peer, None),
            OptIn::Unclear(_) | OptIn::NotAsked => None,
        };
        let is_wanted =
            self.config.maintenance().mode() != Mode::Disabled && self.config.protocol() == Protocol::Resp3;
        if is_wanted && !matches!(opt_in, OptIn::NoResp3(_)) {
            self.unnotified.entry(peer.clone()).or_default().insert(conn);
        }
        news
    }

    /// The link to `peer` died at the opt-in, or failed without it as well.
    pub(super) fn set_suspect(&mut self, peer: &Peer, is_suspect: bool) {
        if is_suspect || self.is_suspect(peer) {
            self.entry(peer).is_suspect = is_suspect;
        }
    }

    /// The connections to `peer` that do without notifications. They count as asked.
    pub(super) fn take_unnotified(&mut self, peer: &Peer) -> BTreeSet<ConnId> {
        self.unnotified.remove(peer).unwrap_or_default()
    }

    /// `conn`, which was dialled at `peer`, is gone.
    pub(super) fn forget(&mut self, peer: &Peer, conn: ConnId) {
        if let Some(conns) = self.unnotified.get_mut(peer) {
            conns.remove(&conn);
            if conns.is_empty() {
                self.unnotified.remove(peer);
            }
        }
    }

    pub(super) fn is_suspect(&self, peer: &Peer) -> bool {
        self.known.get(peer).is_some_and(|known| known.is_suspect)
    }

    pub(super) fn support(&self, peer: &Peer) -> Support {
        self.known.get(peer).map_or(Support::Unknown, |known| known.support)
    }

    /// For the tests: the same knowledge under another policy.
    #[cfg(test)]
    pub(super) fn under(self, config: Arc<Config>) -> Self {
        Self { config, ..self }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    fn learn_refusal(&mut self, now: Instant, peer: &Peer, code: Option<ErrorCode>) -> Option<Event> {
        let known = self.entry(peer);
        known.is_suspect = false;
        if !known.support.probe(now) {
            return None;
        }
        known.support = Support::refused(now);
        let Support::Refused { recheck_at } = known.support else { return None };
        Some(Event::OptInRefused { peer: peer.clone(), code, recheck_at })
    }

    fn entry(&mut self, peer: &Peer) -> &mut Known {
        if !self.known.contains_key(peer) && self.known.len() >= ADDRESSES {
            self.known.pop_first();
        }
        self.known.entry(peer.clone()).or_default()
    }
}
