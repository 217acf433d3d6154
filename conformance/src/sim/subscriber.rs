//! Tasks that publish and subscribe, and what the server's ledger must say of them.

use std::time::{Duration, Instant};

use hitless_core::driver::{Client, Runtime as _};
use hitless_core::pubsub::{Item, Topic};
use resp3_codec::cmd;

use super::runtime::Executor;
use super::trace::{Trace, What};
use crate::server::{Event, Ledger};

/// What is published to.
const CHANNEL: &str = "sim.channel";
/// The last message.
const LAST: &str = "last";
/// Between two attempts to subscribe, or to publish the last message.
const PAUSE: Duration = Duration::from_millis(50);

/// Publishes numbers until its time is over.
pub(super) async fn publish(executor: Executor, client: Client<Executor>, until: Instant, think: Duration) {
    let mut number = 0;
    while executor.now() < until {
        // What a failed attempt has come to is known by the ledger.
        let _ = client.call(cmd("PUBLISH").arg(CHANNEL).arg(number)).await;
        number += 1;
        executor.sleep(think).await;
    }
}

/// Publishes the last message, which may be published more than once.
pub(super) async fn publish_last(executor: Executor, client: Client<Executor>) {
    let _ = client.call(cmd("PUBLISH").arg(CHANNEL).arg(LAST)).await;
    executor.sleep(PAUSE).await;
}

/// Subscribes, and returns all that came until the last message.
pub(super) async fn listen(executor: Executor, client: Client<Executor>, trace: Trace) -> Vec<Item> {
    let mut subscription = loop {
        match client.subscribe([Topic::from(CHANNEL)]).await {
            Ok(subscription) => break subscription,
            Err(_) => executor.sleep(PAUSE).await,
        }
    };
    trace.note(What::Heard("subscribed"));
    let mut items = Vec::new();
    while let Some(item) = subscription.next().await {
        trace.note(What::Heard(match &item {
            Item::Message(_) => "message",
            Item::Gap { .. } => "gap",
            Item::Ambiguous { .. } => "ambiguous",
            _ => "other",
        }));
        let is_last = matches!(&item, Item::Message(message) if message.payload == LAST);
        items.push(item);
        if is_last {
            break;
        }
    }
    items
}

/// What was received is what was published, in its order, and each message once; from the first one on something is missing only where a gap
/// is told. INV-19, RULE-263
pub(super) fn check(ledger: &Ledger, items: &[Item]) {
    let published = ledger.executions("PUBLISH", CHANNEL.as_bytes()).filter_map(|entry| match &entry.event {
        Event::Executed { request, ok: true } => request.words().get(2).cloned(),
        _ => None,
    });
    let mut published = published.peekable();
    let mut may_miss = true;
    for item in items {
        let Item::Message(message) = item else {
            assert!(
                matches!(item, Item::Gap { .. } | Item::Ambiguous { .. }),
                "INV-19: nobody lags, and nothing is refused: {item:?}"
            );
            may_miss |= matches!(item, Item::Gap { .. });
            continue;
        };
        if may_miss {
            while published.next_if(|payload| *payload != message.payload).is_some() {}
        }
        may_miss = false;
        assert_eq!(
            published.next().as_ref(),
            Some(&message.payload),
            "INV-19: lost, repeated or out of order"
        );
    }
}
