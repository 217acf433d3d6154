//! BLPOP: consumers that wait for items, which all of them have from one queue.

use std::collections::BTreeSet;
use std::sync::Arc;

use hitless_core::cmd;
use hitless_core::driver::Runtime;
use hitless_core::error::Delivery;

use super::{AFTER_ERROR, Known, Worker};
use crate::feeder::{END, QUEUE};

/// How many there are, each on a connection of its own.
pub(crate) const CONSUMERS: usize = 3;
/// Connections that they may need besides: while an item races with a command that calls its consumer back, the connection is not
/// free at once, and the consumer waits on another one. One more than that, so that all connections together can be halved.
pub(crate) const SPARES: usize = CONSUMERS + 1;

/// What consumers have taken.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    pub(crate) items: BTreeSet<u64>,
    /// Items that were taken before.
    pub(crate) repeated: u64,
    /// Commands that failed and may have taken an item, as those do whose connection is lost.
    pub(crate) uncertain: u64,
    /// Other failures.
    pub(crate) errors: u64,
}

impl Taken {
    /// Adds what another consumer of the queue has taken.
    pub(super) fn add(&mut self, other: Self) {
        other.items.into_iter().for_each(|item| self.put(item));
        self.repeated += other.repeated;
        self.uncertain += other.uncertain;
        self.errors += other.errors;
    }

    fn put(&mut self, item: u64) {
        self.repeated += u64::from(!self.items.insert(item));
    }
}

impl<R: Runtime> Worker<R> {
    /// Takes items until the end of them.
    pub(super) async fn consume(self: Arc<Self>) {
        let mut taken = Taken::default();
        loop {
            match self.client.query::<(String, String)>(cmd("BLPOP").arg(QUEUE).arg(0)).await {
                Ok((_, item)) if item == END => break,
                Ok((_, item)) => match item.parse() {
                    Ok(item) => taken.put(item),
                    Err(_) => taken.errors += 1,
                },
                Err(error) if error.delivery() == Some(Delivery::Unknown) => taken.uncertain += 1,
                Err(error) => {
                    taken.errors += 1;
                    self.tell(&error.into());
                    self.pause(AFTER_ERROR).await;
                }
            }
        }
        // Nobody waits any more for a task that is late.
        let _ = self.done.send(Known::Taken(taken));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_of_two_consumers_is_repeated() {
        let taken = |items: &[u64]| {
            let mut taken = Taken::default();
            items.iter().for_each(|item| taken.put(*item));
            taken
        };
        let mut all = taken(&[0, 2]);
        all.add(taken(&[1, 2, 1]));
        assert_eq!((all.items, all.repeated), (BTreeSet::from([0, 1, 2]), 2));
    }
}
