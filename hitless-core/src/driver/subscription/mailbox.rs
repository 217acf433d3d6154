//! What one subscription has not read yet.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::pubsub::Item;

/// Between the client and one subscriber. It has its own lock, so that the subscriber does not need the client's.
#[derive(Debug)]
pub(in super::super) struct Mailbox {
    inbox: Mutex<Inbox>,
}

#[derive(Debug)]
struct Inbox {
    items: VecDeque<Item>,
    capacity: usize,
    /// How many items were dropped in front of the first.
    lagged: u64,
    waker: Option<Waker>,
    is_closed: bool,
}

impl Mailbox {
    /// It keeps at most `capacity` items.
    pub(super) fn new(capacity: usize) -> Self {
        let inbox = Inbox { items: VecDeque::new(), capacity, lagged: 0, waker: None, is_closed: false };
        Self { inbox: Mutex::new(inbox) }
    }

    /// Puts `item` in. Returns an item that is not kept any more, which the caller drops where it holds no lock, and the waker of the
    /// one who waits.
    pub(in super::super) fn put(&self, item: Item) -> (Option<Item>, Option<Waker>) {
        let mut inbox = self.lock();
        let evicted = if inbox.items.len() < inbox.capacity { None } else { inbox.items.pop_front() };
        inbox.lagged += u64::from(evicted.is_some());
        inbox.items.push_back(item);
        (evicted, inbox.waker.take())
    }

    /// Nothing comes any more. Returns the waker of the one who waits.
    pub(in super::super) fn close(&self) -> Option<Waker> {
        let mut inbox = self.lock();
        inbox.is_closed = true;
        inbox.waker.take()
    }

    pub(super) fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Option<Item>> {
        // Cloning and dropping a waker runs foreign code, which must not find the lock taken.
        let waker = cx.waker().clone();
        let mut inbox = self.lock();
        let lagged = std::mem::take(&mut inbox.lagged);
        if lagged > 0 {
            return Poll::Ready(Some(Item::Lagged(lagged)));
        }
        if let Some(item) = inbox.items.pop_front() {
            return Poll::Ready(Some(item));
        }
        if inbox.is_closed {
            return Poll::Ready(None);
        }
        let before = inbox.waker.replace(waker);
        drop(inbox);
        drop(before);
        Poll::Pending
    }

    fn lock(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pubsub::{Message, Topic};

    fn message(payload: &'static str) -> Item {
        Item::Message(Message::new(Topic::from("a"), "a", payload))
    }

    fn poll(mailbox: &Mailbox) -> Poll<Option<Item>> {
        mailbox.poll_next(&mut Context::from_waker(Waker::noop()))
    }

    /// A slow subscriber keeps the latest items, and is told how many it has missed before them. RULE-266, INV-14
    #[test]
    fn who_lags_learns_how_far() {
        let mailbox = Mailbox::new(2);
        assert!(poll(&mailbox).is_pending());
        for payload in ["1", "2", "3", "4"] {
            mailbox.put(message(payload));
        }
        assert_eq!(poll(&mailbox), Poll::Ready(Some(Item::Lagged(2))));
        assert_eq!(poll(&mailbox), Poll::Ready(Some(message("3"))));
        mailbox.put(message("5"));
        mailbox.close();
        assert_eq!(poll(&mailbox), Poll::Ready(Some(message("4"))));
        assert_eq!(poll(&mailbox), Poll::Ready(Some(message("5"))));
        assert_eq!(poll(&mailbox), Poll::Ready(None));
    }
}
