//! What a cache in the application must not believe any more: a stream for each reader.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use super::effects::Effects;
use super::error::Error;
use super::handle::Client;
use super::traits::Runtime;
use crate::client::Invalidation;
use crate::config::ConfigError;

/// What a cache in the application must not believe any more: a stream of [`Invalidation`]s, from the moment it was made.
/// [`Client::invalidations`] makes one; any number of them may exist, and each is told everything.
///
/// # What is promised
/// The stream tells of everything that was read by way of the pool: by [`call`](Client::call) and its kin, in pipelines, and by the typed
/// commands of `redis`. What is read on a [lease](Client::lease) or by a command that blocks is not watched, and must not be cached.
///
/// [`Keys`](Invalidation::Keys) is what the server says. [`All`](Invalidation::All) is said when nobody vouches any more for what was read:
/// when a connection moves to another server, once the new one serves; when the old one has given its last reply; when the server says
/// that shards have moved or failed over behind a connection that stays; when a connection is lost or does not answer any more; when the
/// server says so (FLUSHALL) or what it says makes no sense; and at the end of the client, behind which the stream ends. Only
/// connections that have answered or owe a reply count.
///
/// An invalidation can be read before the replies that follow it on its connection are given to their callers.
///
/// # Too slow
/// What is not read is gathered: [`next`](Self::next) returns all the keys at once, each of them once, in the order of their bytes. Beyond
/// [`invalidation_capacity`](crate::config::ConfigBuilder::invalidation_capacity) of them, all of them give way to one
/// [`All`](Invalidation::All), and so does a single push that names more. So nothing is missed, and nothing grows.
///
/// # How to cache
/// A reply may reach its caller after an invalidation that was sent behind it: then the value is outdated, and no other invalidation
/// follows. So leave a mark in the cache before you send:
///
/// 1. Read the stream, as below. If the cache has the value, that is the answer. Otherwise put a mark in its place and send the question.
/// 2. When the reply is there, read the stream again. Put the value in only where your mark is still there. The mark must be yours
///    alone: that of another task may stand for a newer question.
/// 3. Remove your mark if there is no reply: on an error, and when the future that waits for it is dropped.
///
/// The server tells your own changes like all others, at any time, so your cache may have the old value when the reply to a SET is there.
/// Remove what you change from your cache yourself, when the reply is there.
///
/// ```no_run
/// use std::collections::HashMap;
///
/// use hitless_core::Bytes;
/// use hitless_core::client::Invalidation;
/// use hitless_core::driver::Invalidations;
///
/// /// Removes values and marks that are invalid.
/// fn forget_invalid<T>(cache: &mut HashMap<Bytes, T>, invalidations: &mut Invalidations) {
///     while let Some(invalidation) = invalidations.try_next() {
///         match invalidation {
///             Invalidation::Keys(keys) => keys.iter().for_each(|key| drop(cache.remove(key))),
///             Invalidation::All => cache.clear(),
///         }
///     }
/// }
/// ```
///
/// All of it is in the example `client_side_cache` of `hitless-tokio`.
#[derive(Debug)]
pub struct Invalidations {
    readers: Arc<Readers>,
    index: usize,
}

impl<R: Runtime> Client<R> {
    /// What a cache in the application must not believe any more, from now on. Make it before you read what you cache.
    ///
    /// # Errors
    /// [`Error::Config`] unless the client was built with [`tracking`](super::Builder::tracking): the server would tell nothing.
    pub fn invalidations(&self) -> Result<Invalidations, Error> {
        self.shared().invalidations().ok_or_else(|| {
            let problem = "the server is not asked to tell: set `tracking` when the client is built (`Builder::tracking`)";
            ConfigError::Tracking { problem }.into()
        })
    }
}

impl Invalidations {
    /// The next word, as soon as there is one; `None` once the client has terminated.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Invalidation> {
        std::future::poll_fn(|cx| self.poll(cx)).await
    }

    /// The next word if there is one now. `None` means none yet, or none any more.
    pub fn try_next(&mut self) -> Option<Invalidation> {
        let unread = self.readers.lock().take(self.index);
        unread.map(Invalidation::from)
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Invalidation>> {
        // Cloning and dropping a waker runs foreign code, which must not find the lock taken.
        let waker = cx.waker().clone();
        let mut all = self.readers.lock();
        if let Some(unread) = all.take(self.index) {
            drop(all);
            return Poll::Ready(Some(unread.into()));
        }
        if all.is_closed {
            return Poll::Ready(None);
        }
        let before = all.readers[self.index].as_mut().and_then(|reader| reader.waker.replace(waker));
        drop(all);
        drop(before);
        Poll::Pending
    }
}

impl futures_core::Stream for Invalidations {
    type Item = Invalidation;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Invalidation>> {
        self.poll(cx)
    }
}

impl Drop for Invalidations {
    fn drop(&mut self) {
        let reader = self.readers.lock().readers[self.index].take();
        drop(reader);
    }
}

/// Everyone who reads the invalidations of a client. It has its own lock, so that readers do not need the client's.
#[derive(Debug)]
pub(super) struct Readers {
    all: Mutex<All>,
    /// How many keys each may leave unread.
    capacity: usize,
}

#[derive(Debug, Default)]
struct All {
    readers: Vec<Option<Reader>>,
    is_closed: bool,
}

#[derive(Debug)]
struct Reader {
    unread: Unread,
    waker: Option<Waker>,
}

/// That everything is invalid covers what was said before it, and whatever is said until it is read.
#[derive(Debug, PartialEq, Eq)]
enum Unread {
    Keys(BTreeSet<Bytes>),
    All,
}

impl Readers {
    pub(super) fn new(capacity: usize) -> Self {
        Self { all: Mutex::default(), capacity }
    }

    /// A reader of everything from now on.
    pub(super) fn read(self: &Arc<Self>) -> Invalidations {
        let mut all = self.lock();
        let unread = if all.is_closed { Unread::All } else { Unread::Keys(BTreeSet::new()) };
        let index = match all.readers.iter().position(Option::is_none) {
            Some(free) => free,
            None => {
                all.readers.push(None);
                all.readers.len() - 1
            }
        };
        all.readers[index] = Some(Reader { unread, waker: None });
        drop(all);
        Invalidations { readers: Arc::clone(self), index }
    }

    /// Tells every reader. What is not kept goes to `effects`.
    pub(super) fn tell(&self, invalidation: Invalidation, effects: &mut Effects) {
        let keys = match invalidation {
            Invalidation::Keys(keys) => keys,
            Invalidation::All => return self.lock().invalidate_all(effects),
        };
        for reader in self.lock().readers.iter_mut().flatten().filter(|_| !keys.is_empty()) {
            match &mut reader.unread {
                Unread::Keys(unread) => {
                    // One beyond what fits is enough to know: the client's lock is held.
                    let fits = keys.iter().all(|key| {
                        unread.insert(key.clone());
                        unread.len() <= self.capacity
                    });
                    if !fits {
                        reader.invalidate_all(effects);
                    }
                    effects.wakers.extend(reader.waker.take());
                }
                Unread::All => {}
            }
        }
        effects.unclaimed.push(keys.into());
    }

    /// Nobody tells anything any more.
    pub(super) fn close(&self, effects: &mut Effects) {
        self.lock().end(effects);
    }

    fn lock(&self) -> MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl All {
    fn invalidate_all(&mut self, effects: &mut Effects) {
        self.readers.iter_mut().flatten().for_each(|reader| reader.invalidate_all(effects));
    }

    /// The last word and the end are told together: a reader that took the word in between would wait for another one.
    fn end(&mut self, effects: &mut Effects) {
        self.invalidate_all(effects);
        self.is_closed = true;
    }

    fn take(&mut self, index: usize) -> Option<Unread> {
        let unread = &mut self.readers[index].as_mut()?.unread;
        match std::mem::replace(unread, Unread::Keys(BTreeSet::new())) {
            Unread::Keys(keys) if keys.is_empty() => None,
            unread => Some(unread),
        }
    }
}

impl From<Unread> for Invalidation {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::Keys(keys) => Self::Keys(keys.into_iter().collect()),
            Unread::All => Self::All,
        }
    }
}

impl Reader {
    fn invalidate_all(&mut self, effects: &mut Effects) {
        if let Unread::Keys(unread) = std::mem::replace(&mut self.unread, Unread::All) {
            effects.unclaimed.push(unread.into());
        }
        effects.wakers.extend(self.waker.take());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;
    use crate::driver::effects::Unclaimed;

    /// How often a reader races with the end.
    const RACES: usize = 10_000;

    fn keys(names: &[&'static str]) -> Invalidation {
        Invalidation::Keys(names.iter().map(|name| Bytes::from_static(name.as_bytes())).collect())
    }

    fn tell(readers: &Readers, invalidation: Invalidation) -> usize {
        let mut effects = Effects::default();
        readers.tell(invalidation, &mut effects);
        effects.wakers.len()
    }

    fn poll(reader: &mut Invalidations) -> Poll<Option<Invalidation>> {
        reader.poll(&mut Context::from_waker(Waker::noop()))
    }

    /// RULE-276
    #[test]
    fn each_reader_is_told_everything_from_its_beginning() {
        let readers = Arc::new(Readers::new(8));
        assert_eq!(tell(&readers, keys(&["a"])), 0);
        let mut early = readers.read();
        assert!(poll(&mut early).is_pending());
        assert_eq!(tell(&readers, keys(&["b", "c"])), 1, "it is woken");
        let mut late = readers.read();
        assert_eq!(tell(&readers, keys(&["d"])), 0);
        assert_eq!(early.try_next(), Some(keys(&["b", "c", "d"])));
        assert_eq!(late.try_next(), Some(keys(&["d"])));
        assert_eq!((early.try_next(), late.try_next()), (None, None));
    }

    /// More keys than a reader may leave unread give way to one word, for that reader alone. RULE-276, INV-14
    #[test]
    fn who_lags_is_told_that_everything_is_invalid() {
        let readers = Arc::new(Readers::new(2));
        let (mut slow, mut fast) = (readers.read(), readers.read());
        tell(&readers, keys(&["a", "b"]));
        assert_eq!(fast.try_next(), Some(keys(&["a", "b"])));
        assert!(poll(&mut slow).is_ready());
        tell(&readers, keys(&["a", "b"]));
        assert_eq!(fast.try_next(), Some(keys(&["a", "b"])));
        assert_eq!(tell(&readers, keys(&["c"])), 0);
        assert_eq!(readers.lock().readers[0].as_ref().unwrap().unread, Unread::All, "nothing is kept");
        tell(&readers, keys(&["d"]));
        assert_eq!(slow.try_next(), Some(Invalidation::All));
        assert_eq!(slow.try_next(), None, "that covers the key behind it as well");
        assert_eq!(fast.try_next(), Some(keys(&["c", "d"])));
        assert!(poll(&mut slow).is_pending());
        assert_eq!(tell(&readers, keys(&["e", "f", "g"])), 1, "it is woken");
        assert_eq!(slow.try_next(), Some(Invalidation::All));
    }

    /// Keys are put in up to the capacity, however many have come. RULE-276, INV-14
    #[test]
    fn what_does_not_fit_is_not_put_in() {
        let readers = Arc::new(Readers::new(2));
        let mut reader = readers.read();
        let mut effects = Effects::default();
        readers.tell(keys(&["a", "b", "c", "d", "e"]), &mut effects);
        assert_eq!(reader.try_next(), Some(Invalidation::All));
        let put_in = effects.unclaimed.iter().find_map(|unclaimed| match unclaimed {
            Unclaimed::Unread { _dropped: unread } => Some(unread.len()),
            _ => None,
        });
        assert_eq!(put_in, Some(3), "one more than fits");
    }

    /// RULE-276
    #[test]
    fn the_last_word_is_that_everything_is_invalid() {
        let readers = Arc::new(Readers::new(8));
        let mut reader = readers.read();
        tell(&readers, keys(&["a"]));
        readers.close(&mut Effects::default());
        assert_eq!(poll(&mut reader), Poll::Ready(Some(Invalidation::All)));
        assert_eq!(poll(&mut reader), Poll::Ready(None));
        let mut late = readers.read();
        assert_eq!(poll(&mut late), Poll::Ready(Some(Invalidation::All)));
        assert_eq!(poll(&mut late), Poll::Ready(None));
    }

    /// A reader that is polled all the time while the client ends: it never waits for a word that does not come. RULE-276
    #[test]
    fn who_reads_while_the_client_ends_sees_the_end() {
        for _ in 0..RACES {
            let readers = Arc::new(Readers::new(8));
            let mut reader = readers.read();
            let begin = Barrier::new(2);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    begin.wait();
                    while poll(&mut reader).is_pending() {}
                    assert_eq!(poll(&mut reader), Poll::Ready(None), "nothing else would wake it");
                });
                begin.wait();
                readers.close(&mut Effects::default());
            });
        }
    }

    /// With a pool that is told everything on each connection, a key counts once. RULE-276, INV-14
    #[test]
    fn a_key_that_is_unread_counts_once() {
        let readers = Arc::new(Readers::new(2));
        let mut reader = readers.read();
        for _ in 0..10 {
            tell(&readers, keys(&["b", "a"]));
        }
        assert_eq!(reader.try_next(), Some(keys(&["a", "b"])));
        tell(&readers, keys(&["a", "a", "b"]));
        assert_eq!(reader.try_next(), Some(keys(&["a", "b"])));
        assert_eq!(reader.try_next(), None);
    }

    #[test]
    fn nothing_is_kept_for_nobody() {
        let readers = Arc::new(Readers::new(8));
        let reader = readers.read();
        tell(&readers, keys(&["a"]));
        drop(reader);
        let mut next = readers.read();
        assert_eq!(next.try_next(), None);
        assert_eq!(readers.lock().readers.len(), 1);
    }
}
