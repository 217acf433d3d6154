//! What is known, by the address that was dialled: whether it supports maintenance notifications, how much a handshake may ask
//! for there, and which connections do without notifications.

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

#[derive(Clone, Copy, Debug)]
struct Known {
    support: Support,
    /// What the next dial asks for, because the last one has failed over what it asked for. If it succeeds, that was why.
    trial: Option<Trial>,
    /// A trial has failed as well, and no handshake has succeeded since: the next trials wait like any other dial.
    in_vain: bool,
    /// What a dial asks for until the re-check of a refusal.
    otherwise: Probe,
    /// A handshake in the configured dialect has succeeded here: whatever goes wrong afterwards passes.
    has_worked: bool,
}

#[derive(Clone, Copy, Debug)]
struct Trial {
    probe: Probe,
    /// Of the refusal that led to it.
    code: Option<ErrorCode>,
}

/// Why a dial has failed that may have asked for too much.
#[derive(Clone, Copy, Debug)]
pub(super) enum TooMuch {
    /// The link ended in the handshake.
    LinkEnded,
    /// HELLO was refused, and not because there is no RESP3. With the code of the error, if it was one.
    Hello(Option<ErrorCode>),
}

impl Known {
    const NOTHING: Self = Self {
        support: Support::Unknown,
        trial: None,
        in_vain: false,
        otherwise: Probe::Skip,
        has_worked: false,
    };
}

impl Knowledge {
    pub(super) const fn new(config: Arc<Config>) -> Self {
        Self { config, known: BTreeMap::new(), unnotified: BTreeMap::new() }
    }

    /// What a handshake with `peer` that begins now asks for.
    pub(super) fn probe(&mut self, now: Instant, peer: &Peer) -> Probe {
        let most = self.most();
        match self.known.get_mut(peer) {
            Some(known) if self.config.maintenance().mode() == Mode::Auto || most == Probe::Resp2 => {
                match known.trial {
                    Some(trial) => trial.probe,
                    None if known.support.take_probe(now) => most,
                    None => known.otherwise.max(most),
                }
            }
            // In the mode `enabled` it asks whatever was learnt: a refusal is to be seen, not worked around.
            _ => most,
        }
    }

    /// Takes in that the handshake of `conn` with `peer`, which asked for `probe`, is done, and what the server said to the
    /// opt-in. The event says so if it is news that the server refuses something.
    pub(super) fn learn(
        &mut self,
        now: Instant,
        conn: ConnId,
        peer: &Peer,
        probe: Probe,
        opt_in: OptIn,
    ) -> Option<Event> {
        let speaks_resp3 = probe <= Probe::Skip && !matches!(opt_in, OptIn::NoResp3(_));
        let most = self.most();
        let known = self.entry(peer);
        known.has_worked |= if most == Probe::Resp2 { probe == most } else { speaks_resp3 };
        known.in_vain = false;
        let news = match opt_in {
            OptIn::Accepted => {
                *known = Known { support: Support::Active, has_worked: true, ..Known::NOTHING };
                return None;
            }
            OptIn::Refused(code) | OptIn::NoResp3(code) => self.learn_refusal(now, peer, Some(code)),
            OptIn::NotAsked if probe >= Probe::Resp2 && probe != most => self.learn_less(now, peer, probe),
            OptIn::NotAsked if probe == most && probe != Probe::OptIn => {
                // The disabled mode, or RESP2 as configured: all is well.
                *known = Known { has_worked: known.has_worked, ..Known::NOTHING };
                None
            }
            OptIn::NotAsked if self.is_tried(peer, probe) => self.learn_refusal(now, peer, None),
            OptIn::Unclear(_) | OptIn::NotAsked => None,
        };
        if self.config.maintenance().mode() != Mode::Disabled && most != Probe::Resp2 && speaks_resp3 {
            self.unnotified.entry(peer.clone()).or_default().insert(conn);
        }
        news
    }

    /// A dial of `peer` that asked for `probe` has failed, perhaps because that was too much: the next one asks for less. True if
    /// it is to do so at once, which it is until less was asked for in vain: names whose addresses all hang up are not dialled in
    /// a ring. Where RESP3 is needed, for tracking, a handshake that asks for less could only fail, and hide why this one has.
    pub(super) fn ask_for_less(&mut self, peer: &Peer, probe: Probe, why: TooMuch) -> bool {
        let most = self.most();
        if self.config.maintenance().mode() != Mode::Auto && most != Probe::Resp2 {
            return false;
        }
        let has_worked = self.known.get(peer).is_some_and(|known| known.has_worked);
        let less = match (probe, why) {
            (Probe::OptIn, TooMuch::LinkEnded) => Probe::Skip,
            // Where more has worked, less would be a silent loss of what a server in trouble will have again.
            _ if has_worked || self.config.tracking().is_some() => return false,
            (Probe::OptIn | Probe::Skip, TooMuch::Hello(_)) => Probe::Resp2,
            (Probe::Skip | Probe::Resp2, TooMuch::LinkEnded) => Probe::Bare,
            (Probe::Resp2 | Probe::Bare, _) => return false,
        };
        let known = self.entry(peer);
        let told = match why {
            TooMuch::Hello(code) => code,
            TooMuch::LinkEnded => None,
        };
        let before = known.trial;
        known.trial = Some(Trial {
            // Another dial may have got further.
            probe: before.map_or(less, |trial| trial.probe.max(less)),
            code: told.or_else(|| before?.code),
        });
        !known.in_vain
    }

    /// A dial of `peer` that asked for `probe` has failed: if that was a trial, what was left out was not why.
    pub(super) fn handle_failed(&mut self, peer: &Peer, probe: Probe) {
        if let Some(known) = self.known.get_mut(peer) {
            known.in_vain |= known.trial.take_if(|trial| trial.probe == probe).is_some();
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

    /// Whether the next dial of `peer` is a trial.
    pub(super) fn is_suspect(&self, peer: &Peer) -> bool {
        self.known.get(peer).is_some_and(|known| known.trial.is_some())
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
        known.trial = None;
        known.otherwise = Probe::Skip;
        if !known.support.probe(now) {
            return None;
        }
        known.support = Support::refused(now);
        let Support::Refused { recheck_at } = known.support else { return None };
        Some(Event::OptInRefused { peer: peer.clone(), code, recheck_at })
    }

    /// A handshake that asked for `probe`, which is less than RESP3 or than the configured RESP2, has succeeded.
    fn learn_less(&mut self, now: Instant, peer: &Peer, probe: Probe) -> Option<Event> {
        let known = self.entry(peer);
        let code = known.trial.take().and_then(|trial| trial.code);
        let is_news = known.support.probe(now) || known.otherwise != probe;
        if !is_news {
            return None;
        }
        (known.support, known.otherwise) = (Support::refused(now), probe);
        let Support::Refused { recheck_at } = known.support else { return None };
        Some(Event::FellBack { peer: peer.clone(), code, recheck_at })
    }

    /// The most that the configuration lets a handshake ask for.
    fn most(&self) -> Probe {
        match (self.config.protocol(), self.config.maintenance().mode()) {
            (Protocol::Resp2, _) => Probe::Resp2,
            (Protocol::Resp3, Mode::Disabled) => Probe::Skip,
            (Protocol::Resp3, Mode::Auto | Mode::Enabled) => Probe::OptIn,
        }
    }

    fn is_tried(&self, peer: &Peer, probe: Probe) -> bool {
        self.known.get(peer).and_then(|known| known.trial).is_some_and(|trial| trial.probe == probe)
    }

    fn entry(&mut self, peer: &Peer) -> &mut Known {
        if !self.known.contains_key(peer) && self.known.len() >= ADDRESSES {
            self.known.pop_first();
        }
        self.known.entry(peer.clone()).or_insert(Known::NOTHING)
    }
}
