//! Bounded streams of events and pushes for any number of observers. An observer that lags learns how much it has missed.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use resp3_codec::Frame;
use thiserror::Error;

use crate::event::Event;
use crate::ids::ConnId;

/// What happens to the client, in order: see [`Event`].
pub type Events = Observer<Event>;

/// Pushes that are not maintenance notifications, in the order of their arrival on each connection.
pub type Pushes = Observer<Push>;

/// A push of the server that is not a maintenance notification. It is never taken for a reply.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Push {
    /// The connection that received it.
    pub conn: ConnId,
    /// Its elements, the name first.
    pub elements: Vec<Frame>,
}

/// The observer was too slow: so many items were dropped before the next one. Raise `event_capacity`, or read faster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{0} items were missed")]
pub struct Missed(pub u64);

/// A stream of items from the moment it was made, until the client has terminated.
///
/// The client keeps as many unread items as `event_capacity` says, and drops the oldest beyond that. The observer
/// learns how many, as [`Missed`], before it gets the next one. An observer does not keep the client alive.
///
/// With the `futures` crate it is a stream by way of
/// `futures::stream::poll_fn(move |cx| observer.poll_next(cx))`.
#[derive(Debug)]
pub struct Observer<T> {
    ring: Arc<Broadcast<T>>,
    index: usize,
}

impl<T: Clone> Observer<T> {
    /// The next item, [`Missed`] if items were lost before it, or `None` after the last.
    ///
    /// # Errors
    /// [`Missed`]; the stream goes on after it.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Result<T, Missed>> {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }

    /// Like [`next`](Self::next), as a poll function.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<T, Missed>>> {
        let mut ring = self.ring.lock();
        if let Some(item) = ring.next_of(self.index) {
            return Poll::Ready(Some(item));
        }
        if ring.closed {
            return Poll::Ready(None);
        }
        let old =
            ring.cursors[self.index].as_mut().and_then(|cursor| cursor.waker.replace(cx.waker().clone()));
        drop(ring);
        drop(old);
        Poll::Pending
    }

    /// The next item if there is one now. `None` means none yet, or none any more.
    ///
    /// # Errors
    /// [`Missed`]; the stream goes on after it.
    pub fn try_next(&mut self) -> Option<Result<T, Missed>> {
        self.ring.lock().next_of(self.index)
    }
}

impl<T> Drop for Observer<T> {
    fn drop(&mut self) {
        let mut ring = self.ring.lock();
        let cursor = ring.cursors[self.index].take();
        // A ring without observers keeps nothing.
        let unread = if ring.is_observed() { VecDeque::new() } else { ring.clear() };
        drop(ring);
        drop(cursor);
        drop(unread);
    }
}

/// The sending side of [`Observer`].
#[derive(Debug)]
pub(super) struct Broadcast<T> {
    ring: Mutex<Ring<T>>,
}

#[derive(Debug)]
struct Ring<T> {
    items: VecDeque<T>,
    /// The number of the oldest item kept.
    first: u64,
    capacity: usize,
    cursors: Vec<Option<Cursor>>,
    closed: bool,
}

#[derive(Debug)]
struct Cursor {
    /// The number of the next item to be read.
    next: u64,
    waker: Option<Waker>,
}

impl<T> Broadcast<T> {
    pub(super) fn new(capacity: usize) -> Self {
        let ring = Ring { items: VecDeque::new(), first: 0, capacity, cursors: Vec::new(), closed: false };
        Self { ring: Mutex::new(ring) }
    }

    /// An observer of everything from now on.
    pub(super) fn observe(self: &Arc<Self>) -> Observer<T> {
        let mut ring = self.lock();
        let cursor = Some(Cursor { next: ring.end(), waker: None });
        let index = match ring.cursors.iter().position(Option::is_none) {
            Some(free) => free,
            None => {
                ring.cursors.push(None);
                ring.cursors.len() - 1
            }
        };
        ring.cursors[index] = cursor;
        drop(ring);
        Observer { ring: Arc::clone(self), index }
    }

    pub(super) fn set_capacity(&self, capacity: usize) {
        self.lock().capacity = capacity;
    }

    /// Appends `item`. The wakers of waiting observers go to `wakers`. Returns an item that is not kept any more, which
    /// the caller drops where it holds no lock.
    pub(super) fn publish(&self, item: T, wakers: &mut Vec<Waker>) -> Option<T> {
        let mut ring = self.lock();
        if !ring.is_observed() {
            return Some(item);
        }
        let evicted = if ring.items.len() < ring.capacity { None } else { ring.pop() };
        ring.items.push_back(item);
        ring.take_wakers(wakers);
        evicted
    }

    /// No further item will come.
    pub(super) fn close(&self, wakers: &mut Vec<Waker>) {
        let mut ring = self.lock();
        ring.closed = true;
        ring.take_wakers(wakers);
    }

    fn lock(&self) -> MutexGuard<'_, Ring<T>> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Ring<T> {
    fn pop(&mut self) -> Option<T> {
        let item = self.items.pop_front()?;
        self.first += 1;
        Some(item)
    }

    fn clear(&mut self) -> VecDeque<T> {
        self.first = self.end();
        std::mem::take(&mut self.items)
    }

    fn take_wakers(&mut self, wakers: &mut Vec<Waker>) {
        wakers.extend(self.cursors.iter_mut().flatten().filter_map(|cursor| cursor.waker.take()));
    }

    /// The number of the item that will be appended next.
    fn end(&self) -> u64 {
        self.first + self.items.len() as u64
    }

    fn is_observed(&self) -> bool {
        self.cursors.iter().any(Option::is_some)
    }
}

impl<T: Clone> Ring<T> {
    fn next_of(&mut self, index: usize) -> Option<Result<T, Missed>> {
        let cursor = self.cursors[index].as_mut()?;
        if cursor.next < self.first {
            let missed = self.first - cursor.next;
            cursor.next = self.first;
            return Some(Err(Missed(missed)));
        }
        let item = self.items.get((cursor.next - self.first) as usize)?.clone();
        cursor.next += 1;
        Some(Ok(item))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publish(ring: &Arc<Broadcast<u32>>, items: std::ops::Range<u32>) {
        for item in items {
            ring.publish(item, &mut Vec::new());
        }
    }

    #[test]
    fn each_observer_sees_everything_from_its_beginning() {
        let ring = Arc::new(Broadcast::new(8));
        publish(&ring, 0..1);
        let mut early = ring.observe();
        publish(&ring, 1..3);
        let mut late = ring.observe();
        publish(&ring, 3..4);
        assert_eq!(std::iter::from_fn(|| early.try_next()).collect::<Vec<_>>(), [Ok(1), Ok(2), Ok(3)]);
        assert_eq!(std::iter::from_fn(|| late.try_next()).collect::<Vec<_>>(), [Ok(3)]);
    }

    /// The ring is bounded, and an observer that lags learns it. INV-14, RULE-104
    #[test]
    fn a_lagging_observer_is_told_how_much_it_missed() {
        let ring = Arc::new(Broadcast::new(2));
        let mut slow = ring.observe();
        publish(&ring, 0..5);
        assert_eq!(ring.lock().items.len(), 2);
        assert_eq!(slow.try_next(), Some(Err(Missed(3))));
        assert_eq!(slow.try_next(), Some(Ok(3)));
        publish(&ring, 5..6);
        assert_eq!(std::iter::from_fn(|| slow.try_next()).collect::<Vec<_>>(), [Ok(4), Ok(5)]);
    }

    #[test]
    fn nothing_is_kept_for_nobody() {
        let ring = Arc::new(Broadcast::new(8));
        assert_eq!(ring.publish(1, &mut Vec::new()), Some(1));
        let observer = ring.observe();
        publish(&ring, 0..3);
        drop(observer);
        assert!(ring.lock().items.is_empty());
        let mut next = ring.observe();
        assert_eq!(next.try_next(), None);
        publish(&ring, 7..8);
        assert_eq!(next.try_next(), Some(Ok(7)));
        assert_eq!(ring.lock().cursors.len(), 1);
    }

    #[test]
    fn the_end_comes_after_the_last_item() {
        let ring = Arc::new(Broadcast::new(8));
        let mut observer = ring.observe();
        let mut cx = Context::from_waker(Waker::noop());
        assert!(observer.poll_next(&mut cx).is_pending());
        let mut wakers = Vec::new();
        ring.publish(1, &mut wakers);
        assert_eq!(wakers.len(), 1);
        ring.close(&mut wakers);
        assert_eq!(observer.poll_next(&mut cx), Poll::Ready(Some(Ok(1))));
        assert_eq!(observer.poll_next(&mut cx), Poll::Ready(None));
    }
}
