//! Several futures as one.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// Waits for all of `futures`. Each is polled when it was woken, so that a thousand of them that become ready one after the other
/// cost a thousand polls, and not a million.
pub(super) async fn join_all<F: Future + Unpin>(futures: Vec<F>) -> Vec<F::Output> {
    let all = Arc::new(All { woken: Mutex::new(((0..futures.len()).collect(), None)) });
    let mut children: Vec<Child<F>> = futures
        .into_iter()
        .enumerate()
        .map(|(index, future)| {
            let waker = Waker::from(Arc::new(ChildWaker { index, all: Arc::clone(&all) }));
            Child { future, waker, output: None }
        })
        .collect();
    let mut left = children.len();
    std::future::poll_fn(|cx| {
        for index in all.take_woken(cx.waker().clone()) {
            let Some(child) = children.get_mut(index).filter(|child| child.output.is_none()) else {
                continue;
            };
            let mut cx = Context::from_waker(&child.waker);
            if let Poll::Ready(output) = Pin::new(&mut child.future).poll(&mut cx) {
                child.output = Some(output);
                left -= 1;
            }
        }
        if left == 0 { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    children.into_iter().filter_map(|child| child.output).collect()
}

struct Child<F: Future> {
    future: F,
    waker: Waker,
    output: Option<F::Output>,
}

struct All {
    /// The futures that were woken since the last poll, and whom to wake for them: `None` once that was done.
    woken: Mutex<(Vec<usize>, Option<Waker>)>,
}

struct ChildWaker {
    index: usize,
    all: Arc<All>,
}

impl All {
    /// Whom to poll. `waker` is woken when another one is to be.
    fn take_woken(&self, waker: Waker) -> Vec<usize> {
        let mut woken = self.woken.lock().unwrap_or_else(PoisonError::into_inner);
        let former = woken.1.replace(waker);
        let indexes = std::mem::take(&mut woken.0);
        drop(woken);
        // Dropping a waker runs foreign code, which must not find the lock taken.
        drop(former);
        indexes
    }
}

impl Wake for ChildWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let mut woken = self.all.woken.lock().unwrap_or_else(PoisonError::into_inner);
        woken.0.push(self.index);
        let waker = woken.1.take();
        drop(woken);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::pin::pin;
    use std::rc::Rc;

    use super::*;

    /// What becomes ready costs one poll, however many others wait; outputs stand in the order of the futures. RULE-227
    #[test]
    fn only_what_was_woken_is_polled() {
        const COUNT: usize = 100;
        let (polls, wakers) = (Rc::new(Cell::new(0)), Rc::new(std::cell::RefCell::new(vec![None; COUNT])));
        let future = |index: usize| {
            let (polls, wakers) = (Rc::clone(&polls), Rc::clone(&wakers));
            let mut is_first = true;
            std::future::poll_fn(move |cx| {
                polls.set(polls.get() + 1);
                if std::mem::take(&mut is_first) {
                    wakers.borrow_mut()[index] = Some(cx.waker().clone());
                    return Poll::Pending;
                }
                Poll::Ready(index)
            })
        };
        let mut all = pin!(join_all((0..COUNT).map(future).collect()));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(all.as_mut().poll(&mut cx).is_pending());
        for index in (0..COUNT).rev() {
            assert_eq!(polls.get(), COUNT + (COUNT - 1 - index));
            wakers.borrow_mut()[index].take().unwrap().wake();
            let outputs = all.as_mut().poll(&mut cx);
            match index {
                0 => assert_eq!(outputs, Poll::Ready((0..COUNT).collect())),
                _ => assert!(outputs.is_pending()),
            }
        }
    }
}
