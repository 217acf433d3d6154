//! Tasks that hold leases and run transactions, and what the server's ledger must say of them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hitless_core::driver::{Client, Error, Lease, Runtime as _};
use hitless_core::error::Delivery;
use hitless_core::guide::Rng;
use hitless_core::request::{Pipeline, Request};
use resp3_codec::cmd;

use super::faults::up_to;
use super::runtime::Executor;
use super::trace::{Trace, What};
use crate::server::{Event, Ledger, ServerConn};

/// The counter that all of them raise.
const COUNTER: &str = "held.counter";
/// The longest that a caller waits who gives up.
const PATIENCE: Duration = Duration::from_millis(100);

/// A task that leases connections, now for a transaction and now for itself.
pub(super) struct Holder {
    pub(super) executor: Executor,
    pub(super) client: Client<Executor>,
    pub(super) trace: Trace,
    pub(super) rng: Rng,
    pub(super) number: usize,
    /// It goes on until then.
    pub(super) until: Instant,
    pub(super) think: Duration,
}

/// What came of it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    /// Transactions that were answered.
    raised: usize,
    /// Transactions of which it is not known.
    unsure: usize,
}

impl Holder {
    /// Raises the counter and sends tokens until its time is over.
    pub(super) async fn run(mut self) -> Tally {
        let mut tally = Tally::default();
        let mut turn = 0;
        while self.executor.now() < self.until {
            turn += 1;
            let ran = match self.rng.below(4) {
                0 => self.hold(turn).await,
                _ => self.raise(&mut tally).await,
            };
            self.trace.note(What::Held { task: self.number, ran });
            let pause = up_to(&mut self.rng, self.think * 2);
            self.executor.sleep(pause).await;
        }
        tally
    }

    /// Raises the counter. True if it was raised.
    async fn raise(&mut self, tally: &mut Tally) -> bool {
        let result = self.client.transaction([COUNTER], |lease| async move {
            let value = lease.call(cmd("GET").arg(COUNTER)).await?;
            let value = value.as_str().map_or(0, |value| value.parse().expect("a number"));
            let value: i64 = value;
            Ok(Some(Pipeline::from([cmd("SET").arg(COUNTER).arg(value + 1)])))
        });
        match result.await {
            Ok(Some(replies)) => {
                let raised = replies.iter().all(|reply| !reply.is_error());
                tally.raised += usize::from(raised);
                raised
            }
            Ok(None) => false,
            Err(error) => {
                tally.unsure += usize::from(error.delivery() == Some(Delivery::Unknown));
                false
            }
        }
    }

    /// Sends tokens on one lease, and leaves it in one state or another. True if all were answered.
    async fn hold(&mut self, turn: usize) -> bool {
        let lease = match self.rng.below(4) {
            0 => {
                let patience = up_to(&mut self.rng, PATIENCE);
                self.lease_within(patience).await
            }
            _ => self.client.lease().await.ok(),
        };
        let Some(lease) = lease else { return false };
        if self.rng.below(3) == 0 && lease.call(cmd("WATCH").arg("held.key")).await.is_err() {
            return false;
        }
        let tokens = (0..3).map(|place| format!("h{}.{turn}.{place}", self.number));
        let sent: Result<Vec<_>, _> =
            tokens.map(|token| Ok::<_, Error>((self.send(&lease, &token)?, token))).collect();
        let Ok(sent) = sent else { return false };
        let gives_up = self.rng.below(6) == 0;
        drop(lease);
        for (reply, token) in sent {
            if gives_up {
                continue;
            }
            let Ok(replies) = reply.await else { return false };
            if !replies[0].is_error() {
                assert_eq!(replies[0].as_str(), Some(token.as_str()), "INV-02: the reply on a lease");
            }
        }
        !gives_up
    }

    fn send(
        &self,
        lease: &Lease<Executor>,
        token: &str,
    ) -> Result<hitless_core::driver::Reply<Executor>, Error> {
        let request = Request::leased(cmd("ECHO").arg(token)).expect("a command for a lease");
        Ok(lease.send(request)?)
    }

    /// A lease, unless it takes longer.
    async fn lease_within(&self, patience: Duration) -> Option<Lease<Executor>> {
        let mut lease = std::pin::pin!(self.client.lease());
        let mut alarm = std::pin::pin!(self.executor.sleep(patience));
        std::future::poll_fn(|cx| {
            use std::future::Future as _;
            match lease.as_mut().poll(cx) {
                std::task::Poll::Ready(lease) => std::task::Poll::Ready(lease.ok()),
                std::task::Poll::Pending => alarm.as_mut().poll(cx).map(|()| None),
            }
        })
        .await
    }
}

/// No update is lost: each SET of the counter is one more than the one before, and there are as many as were answered, or may have been. What
/// was sent on one lease arrived on one connection. RULE-209, INV-18
pub(super) fn check(ledger: &Ledger, tallies: &[Tally]) {
    let mut value = 0;
    for entry in ledger.executions("SET", COUNTER.as_bytes()) {
        let Event::Executed { request, ok: true } = &entry.event else { continue };
        let next = request.words().get(2).and_then(|word| std::str::from_utf8(word).ok()?.parse().ok());
        assert_eq!(next, Some(value + 1), "RULE-209: an update was lost");
        value += 1;
    }
    let raised: usize = tallies.iter().map(|tally| tally.raised).sum();
    let unsure: usize = tallies.iter().map(|tally| tally.unsure).sum();
    let possible = raised..=raised + unsure;
    assert!(possible.contains(&value), "RULE-209: raised {value} times of {possible:?}");
    let mut conns: BTreeMap<&[u8], ServerConn> = BTreeMap::new();
    for entry in ledger.entries() {
        let Event::Received(request) = &entry.event else { continue };
        let (Some(token), Some(conn)) = (request.key().filter(|key| key.starts_with(b"h")), entry.conn)
        else {
            continue;
        };
        if !request.is("ECHO") {
            continue;
        }
        let end = token.iter().rposition(|byte| *byte == b'.').unwrap_or(token.len());
        let first = *conns.entry(&token[..end]).or_insert(conn);
        assert_eq!(first, conn, "INV-18: one lease, two connections: {request:?}");
    }
}
