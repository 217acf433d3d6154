//! What holds in every state of a client, and what it must come to once the world is kind.

use hitless_core::error::Delivery;
use hitless_core::ids::RequestId;
use hitless_core::request::Outcome;
use resp3_codec::Frame;

use super::client::ClientModel;
use super::fact::Fact;
use super::scope::LENT;
use super::search::{MOST_FACTS, Model as _, PATIENCE, Violation};
use super::world::{Holding, Stage};

impl ClientModel {
    /// The laws, after `fact`.
    pub(super) fn check(&self, fact: Fact) -> Result<(), Violation> {
        self.check_time(fact)?;
        let stats = self.stats();
        let held = self.world.ledger.len() + self.world.consumers.waiting();
        if stats.requests != held {
            return Violation::of(format!(
                "INV-01: {held} requests are under way, {} are held",
                stats.requests
            ));
        }
        // What may have run waits for a connection that carries nothing else.
        let alone = self.world.alone();
        if stats.parked > alone && stats.serving > 0 {
            return Violation::of("a request waits for a connection although one serves");
        }
        let known = stats.coordinator.connections.values().sum::<u32>() as usize + stats.coordinator.dialing;
        let open = self.world.sockets.len();
        // A lookup need not belong to a dial: it may be for the sake of the answer alone.
        let lookups = self.world.sockets.iter().filter(|socket| socket.stage == Stage::Resolving).count();
        if !(open - lookups..=open).contains(&known) {
            return Violation::of(format!("INV-20: there are {open} sockets and dials, {known} are known"));
        }
        let lends = self.scope.budget.leases > 0 || self.scope.has_consumers();
        let places = self.scope.pool + if lends { LENT } else { 0 };
        let helpers = usize::from(self.scope.budget.calls > 0);
        if self.world.count() > 2 * places + helpers {
            return Violation::of(format!("INV-20: {} sockets for {places} places", self.world.count()));
        }
        let holders = self.world.holders.iter();
        let has = holders.filter(|holder| holder.stage == Holding::Has).count();
        if has > LENT || (has != stats.leased && !self.scope.has_consumers()) {
            return Violation::of(format!("RULE-200: {has} have a lease, {} are lent", stats.leased));
        }
        for socket in &self.world.sockets {
            if socket.retired.is_some_and(|retired| retired.until < self.now) {
                return Violation::of(format!("INV-06: {} outlives its deadline", socket.conn));
            }
        }
        self.check_consumers()?;
        if self.is_terminated && (open > 0 || held > 0 || self.client.poll_timeout().is_some()) {
            return Violation::of("INV-15: something is left after the end");
        }
        Ok(())
    }

    /// Holds the end of a request against what is known of it.
    pub(super) fn judge(&mut self, request: RequestId, outcome: &Outcome) -> Result<(), Violation> {
        let Some(entry) = self.world.end(request) else {
            return Violation::of(format!("INV-01: {request} ends a second time, or after it was cancelled"));
        };
        let may_have_run = entry.was_written && !entry.was_refused;
        match outcome {
            Ok(replies) => {
                let is_own = matches!(replies.as_slice(), [Frame::Integer(number)] if *number == i64::from(entry.number));
                let is_refusal = matches!(replies.as_slice(), [Frame::Error(_)]) && entry.was_refused;
                if is_own || is_refusal {
                    return Ok(());
                }
                Violation::of(format!("INV-02: {request} has the replies {replies:?}"))
            }
            Err(error) if error.delivery() == Delivery::NotSent && may_have_run => {
                Violation::of(format!("INV-05: {request} was written, and ends with: {error}"))
            }
            Err(error) if error.delivery() == Delivery::Unknown && !entry.was_written => {
                Violation::of(format!("INV-05: {request} was not written, and ends with: {error}"))
            }
            Err(_) => Ok(()),
        }
    }

    fn check_time(&self, fact: Fact) -> Result<(), Violation> {
        let timeout = self.client.poll_timeout();
        if timeout.is_none() && !self.world.ledger.is_empty() {
            return Violation::of("INV-08: a request has no end");
        }
        let is_due = match fact {
            Fact::TimePasses => timeout.is_some_and(|at| at <= self.now),
            _ => timeout.is_some_and(|at| at < self.now),
        };
        if is_due { Violation::of("INV-12: after a timeout something is still due") } else { Ok(()) }
    }

    /// Everything is answered, every dial succeeds, time passes: all must come to rest.
    pub(super) fn come_to_an_end(&mut self) -> Result<(), Violation> {
        self.note(format_args!("from here on the world is kind"));
        let limit = self.elapsed() + PATIENCE;
        for _ in 0..MOST_FACTS {
            if let Some(fact) = self.kind_fact(self.last_answer()) {
                self.step(fact)?;
                continue;
            }
            if let Some(fact) = self.ending_of_calls() {
                self.step(fact)?;
                continue;
            }
            self.check_nothing_lingers()?;
            if self.is_at_rest() {
                return self.check_accounts();
            }
            if self.elapsed() > limit || self.client.poll_timeout().is_none() {
                break;
            }
            self.step(Fact::TimePasses)?;
        }
        Violation::of(format!("INV-08, INV-20: this does not come to rest: {:?}", self.stats()))
    }

    /// Where a connection serves and everything written is answered, nobody waits but those who were refused.
    fn check_nothing_lingers(&self) -> Result<(), Violation> {
        let refused = self.world.ledger.iter().filter(|entry| entry.was_refused).count();
        let stats = self.stats();
        let waiting = self.world.consumers.waiting();
        if stats.requests > stats.parked + refused + waiting {
            return Violation::of("INV-03: a request is on no socket, although one serves");
        }
        Ok(())
    }

    fn is_at_rest(&self) -> bool {
        if self.is_terminated {
            return true;
        }
        let stats = self.stats();
        let of = &stats.coordinator;
        let idle = stats.requests + of.windows + of.moves + of.dialing + of.handoffs_queued;
        let is_whole =
            stats.serving == self.scope.pool && self.world.sockets.len() == self.scope.pool + stats.dedicated;
        is_whole
            && self.is_subscribed()
            && self.world.holders.is_empty()
            && stats.leased == 0
            && idle + of.handoffs_working == 0
    }
}
