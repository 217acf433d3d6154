//! What is known, by the address that was dialled, of the support for maintenance notifications, and which connections ask again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use super::{Coordinator, Directive, Phase};
use crate::config::Protocol;
use crate::endpoint::Peer;
use crate::event::Event;
use crate::handshake::{ErrorCode, OptIn, Probe};
use crate::ids::ConnId;
use crate::mode::{Mode, Support};

/// Addresses of which something is known; beyond it one is forgotten, which means that it is asked again.
const ADDRESSES: usize = 256;

#[derive(Clone, Debug, Default)]
pub(super) struct Knowledge {
    of: BTreeMap<Peer, Known>,
    /// Established connections that will not be told of maintenance, although the user wants it.
    unnotified: BTreeMap<Peer, BTreeSet<ConnId>>,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Known {
    pub(super) support: Support,
    /// The link died at an opt-in: the next dial does not ask, and if it succeeds, that was why.
    pub(super) suspect: bool,
}

impl Knowledge {
    pub(super) fn is_suspect(&self, peer: &Peer) -> bool {
        self.of.get(peer).is_some_and(|known| known.suspect)
    }

    pub(super) fn set_suspect(&mut self, peer: &Peer, suspect: bool) {
        if suspect || self.is_suspect(peer) {
            self.known(peer).suspect = suspect;
        }
    }

    /// `conn` is gone.
    pub(super) fn forget(&mut self, peer: &Peer, conn: ConnId) {
        if let Some(conns) = self.unnotified.get_mut(peer) {
            conns.remove(&conn);
            if conns.is_empty() {
                self.unnotified.remove(peer);
            }
        }
    }

    fn support(&self, peer: &Peer) -> Support {
        self.of.get(peer).map_or(Support::Unknown, |known| known.support)
    }

    fn known(&mut self, peer: &Peer) -> &mut Known {
        if !self.of.contains_key(peer) && self.of.len() >= ADDRESSES {
            self.of.pop_first();
        }
        self.of.entry(peer.clone()).or_default()
    }
}

impl Coordinator {
    /// What is known of the support for maintenance notifications at `peer`.
    #[must_use]
    pub fn support(&self, peer: &Peer) -> Support {
        self.knowledge.support(peer)
    }

    #[cfg(test)]
    pub(super) fn known_addresses(&self) -> usize {
        self.knowledge.of.len()
    }

    /// The answer to [`Directive::OptIn`].
    pub fn handle_opt_in(&mut self, now: Instant, conn: ConnId, opt_in: OptIn) {
        let Some(entry) = self.conns.get(conn).filter(|entry| entry.phase == Phase::Serving) else { return };
        let Some(peer) = entry.peer.clone() else { return };
        let address = entry.address.clone().unwrap_or_else(|| peer.clone());
        if opt_in == OptIn::Accepted {
            self.emit(Event::OptedIn { conn, peer });
        }
        self.learn(now, conn, &address, opt_in);
        if opt_in == OptIn::Accepted {
            self.ask_again(&address);
        }
    }

    /// Whether a handshake with `peer` that begins now opts in.
    pub(super) fn probe(&mut self, now: Instant, peer: &Peer) -> Probe {
        let asks = match self.config.maintenance().mode() {
            _ if self.config.protocol() == Protocol::Resp2 => false,
            Mode::Disabled => false,
            // It asks whatever was learnt: a refusal is to be seen, not worked around.
            Mode::Enabled => true,
            Mode::Auto if !self.knowledge.of.contains_key(peer) => true,
            Mode::Auto => {
                let known = self.knowledge.known(peer);
                !known.suspect && known.support.take_probe(now)
            }
        };
        if asks { Probe::OptIn } else { Probe::Skip }
    }

    /// What the server at `peer` said to the opt-in of `conn`, which is ready.
    pub(super) fn learn(&mut self, now: Instant, conn: ConnId, peer: &Peer, opt_in: OptIn) {
        match opt_in {
            OptIn::Accepted => {
                *self.knowledge.known(peer) = Known { support: Support::Active, suspect: false };
                return;
            }
            OptIn::Refused(code) | OptIn::NoResp3(code) => self.learn_refusal(now, peer, Some(code)),
            OptIn::NotAsked if self.knowledge.is_suspect(peer) => self.learn_refusal(now, peer, None),
            OptIn::Unclear(_) | OptIn::NotAsked => {}
        }
        let wanted =
            self.config.maintenance().mode() != Mode::Disabled && self.config.protocol() == Protocol::Resp3;
        if wanted && !matches!(opt_in, OptIn::NoResp3(_)) {
            self.knowledge.unnotified.entry(peer.clone()).or_default().insert(conn);
        }
    }

    /// Those that do without notifications at `peer` ask for them.
    pub(super) fn ask_again(&mut self, peer: &Peer) {
        for conn in self.knowledge.unnotified.remove(peer).into_iter().flatten() {
            if self.conns.get(conn).is_some_and(|entry| entry.phase == Phase::Serving) {
                self.directives.push_back(Directive::OptIn { conn });
            }
        }
    }

    fn learn_refusal(&mut self, now: Instant, peer: &Peer, code: Option<ErrorCode>) {
        let known = self.knowledge.known(peer);
        known.suspect = false;
        if !known.support.probe(now) {
            return;
        }
        known.support = Support::refused(now);
        if let Support::Refused { recheck_at } = known.support {
            self.emit(Event::OptInRefused { peer: peer.clone(), code, recheck_at });
        }
    }
}

#[cfg(feature = "explore")]
mod fingerprint {
    use std::hash::Hasher;

    use super::{Knowledge, Known};
    use crate::fingerprint::{Digest, Fingerprint};

    impl Fingerprint for Knowledge {
        fn fingerprint<H: Hasher>(&self, digest: &mut Digest<'_, H>) {
            let Self { of, unnotified } = self;
            digest.each(of, |digest, (peer, Known { support, suspect })| {
                digest.value(&(peer, suspect));
                digest.part(support);
            });
            digest.each(unnotified, |digest, (peer, conns)| {
                digest.value(peer);
                digest.part(conns);
            });
        }
    }
}
