//! Servers that refuse commands although nobody has announced anything: when the name is looked up again because of them, and
//! how often.

#[cfg(feature = "explore")]
mod fingerprint;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::endpoint::Peer;
use crate::error::Refusal;
use crate::rng::Rng;
use crate::timer::after;

/// After the first try, give or take a quarter; it doubles while the new server refuses as well.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause. When nothing was refused for so long, the next refusal is the first one again.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
const PAUSE_JITTER_PERCENT: u32 = 25;

/// The refusals that are to be followed up, and the pace at which that is done. All addresses share it, since a server that a try
/// has led to is at another one; but each kind of refusal has its own, since a server that loads for long says nothing of one that
/// was demoted.
#[derive(Debug)]
#[cfg_attr(feature = "explore", derive(Clone))]
pub(super) struct Demotions {
    rng: Rng,
    paces: BTreeMap<Refusal, Pace>,
    /// By the address that connections are connected to. No more of them than there are connections.
    suspects: BTreeMap<Peer, Suspect>,
    /// A lookup had begun before one of them refused: its answer may be older than the refusal.
    outdates_lookup: bool,
}

#[derive(Clone, Copy, Debug)]
struct Pace {
    pause: Duration,
    /// Until then refusals are not followed up.
    until: Instant,
    refused_at: Instant,
}

/// A server that has refused something.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Suspect {
    /// What was dialled. Behind a tunnel that is not what is connected.
    address: Peer,
    refusal: Refusal,
}

impl Demotions {
    pub(super) const fn new(rng: Rng) -> Self {
        Self { rng, paces: BTreeMap::new(), suspects: BTreeMap::new(), outdates_lookup: false }
    }

    /// The server at `peer`, which was dialled as `address`, has refused something. True if it is to be found out now where the
    /// name leads; until that is known, others that refuse are suspects as well, whatever their pace.
    pub(super) fn handle_refusal(
        &mut self,
        now: Instant,
        peer: &Peer,
        address: &Peer,
        refusal: Refusal,
    ) -> bool {
        let is_news = self.pace(now, refusal);
        if is_news || !self.suspects.is_empty() {
            let suspect = Suspect { address: address.clone(), refusal };
            let known = self.suspects.entry(peer.clone()).or_insert(suspect);
            known.refusal = known.refusal.min(refusal);
        }
        is_news
    }

    /// A lookup is under way that was begun before the last refusal.
    pub(super) fn outdate_lookup(&mut self) {
        self.outdates_lookup = true;
    }

    /// Whether the answer to the lookup that is under way is too old for the suspects.
    pub(super) fn outdates_lookup(&self) -> bool {
        self.outdates_lookup
    }

    /// The lookup that was under way is over. True if the suspects want another one.
    pub(super) fn end_lookup(&mut self) -> bool {
        std::mem::take(&mut self.outdates_lookup)
    }

    /// Takes out the servers that are to be left if the name leads elsewhere, which is known now, or cannot be known.
    pub(super) fn take_suspects(&mut self) -> BTreeMap<Peer, Suspect> {
        std::mem::take(&mut self.suspects)
    }

    /// Whether a refusal at `now` is followed up; if so, the next ones of its kind wait.
    fn pace(&mut self, now: Instant, refusal: Refusal) -> bool {
        self.paces.retain(|_, pace| now < after(pace.refused_at, LONGEST_PAUSE));
        let pace = self.paces.get_mut(&refusal);
        let pause = pace.as_ref().map_or(FIRST_PAUSE, |pace| (pace.pause * 2).min(LONGEST_PAUSE));
        if let Some(pace) = pace {
            pace.refused_at = pace.refused_at.max(now);
            if now < pace.until {
                return false;
            }
        }
        let until = after(now, self.rng.jitter(pause, PAUSE_JITTER_PERCENT));
        self.paces.insert(refusal, Pace { pause, until, refused_at: now });
        true
    }
}

impl Suspect {
    /// What it has refused.
    pub(super) fn refusal(&self) -> Refusal {
        self.refusal
    }

    /// Whether `address` of the name's answer is where this server was dialled.
    pub(super) fn was_dialled_at(&self, address: &Peer) -> bool {
        self.address == *address
    }
}
