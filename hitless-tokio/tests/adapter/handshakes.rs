//! Handshakes of TLS run in tasks of their own: no reply waits for them, however many there are.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker, ready};
use std::time::Instant;

use hitless_conformance::net::certificates::Authority;

use super::{SECOND, serve_encrypted};
use crate::block_on;
use crate::hitless::{
    Adapter, BytesMut, ConfigBuilder, Connector, Frame, Peer, Resolver, Runtime, Stream, Target, Timer, Tls,
    cmd, driver,
};

const HANDSHAKES: usize = 100;

thread_local! {
    /// The task that is being polled on this thread.
    static TASK: Cell<usize> = const { Cell::new(0) };
}

/// The adapter's runtime, whose tasks have numbers from 1 on.
#[derive(Clone, Default)]
struct Numbered(Arc<AtomicUsize>);

impl Runtime for Numbered {
    type Timer = Timer;

    fn now(&self) -> Instant {
        Adapter.now()
    }

    fn timer(&self) -> Timer {
        Adapter.timer()
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let number = self.0.fetch_add(1, Ordering::Relaxed) + 1;
        let mut task = Box::pin(task);
        Adapter.spawn(std::future::poll_fn(move |cx| {
            TASK.set(number);
            let polled = task.as_mut().poll(cx);
            TASK.set(0);
            polled
        }));
    }

    fn seed(&self) -> u64 {
        Adapter.seed()
    }
}

/// A network that can hold the streams that it opens in the middle of their handshakes: they have said hello, and hear nothing.
#[derive(Clone, Default)]
struct Gate(Arc<Mutex<Held>>);

#[derive(Default)]
struct Held {
    is_shut: bool,
    opened: usize,
    /// Streams that want to read, with who polls them.
    waiting: BTreeMap<usize, Waker>,
    /// Which tasks have polled each stream.
    polled_by: BTreeMap<usize, BTreeSet<usize>>,
    watcher: Option<Waker>,
}

impl Gate {
    fn lock(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap()
    }

    fn shut(&self) {
        self.lock().is_shut = true;
    }

    fn open(&self) {
        let waiting = {
            let mut held = self.lock();
            held.is_shut = false;
            std::mem::take(&mut held.waiting)
        };
        waiting.into_values().for_each(Waker::wake);
    }

    /// Waits until as many streams are held.
    async fn holds(&self, count: usize) {
        std::future::poll_fn(|cx| {
            let mut held = self.lock();
            held.watcher = Some(cx.waker().clone());
            if held.waiting.len() == count { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

impl Resolver for Gate {
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        Adapter.resolve(host).await
    }
}

impl Connector for Gate {
    type Stream = Gated;

    async fn connect(&self, target: Target) -> io::Result<(Gated, Peer)> {
        let (stream, peer) = Adapter.connect(target).await?;
        let (number, is_held) = {
            let mut held = self.lock();
            held.opened += 1;
            (held.opened, held.is_shut)
        };
        Ok((Gated { stream, gate: self.clone(), number, is_held }, peer))
    }
}

struct Gated {
    stream: Stream,
    gate: Gate,
    number: usize,
    is_held: bool,
}

impl driver::Stream for Gated {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut BytesMut) -> Poll<io::Result<usize>> {
        ready!(self.poll_gate(cx));
        self.stream.poll_read(cx, buffer)
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.stream.poll_write(cx, bytes)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.poll_flush(cx)
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.poll_close(cx)
    }
}

impl Gated {
    fn poll_gate(&self, cx: &Context<'_>) -> Poll<()> {
        let mut held = self.gate.lock();
        held.polled_by.entry(self.number).or_default().insert(TASK.get());
        if !(self.is_held && held.is_shut) {
            return Poll::Ready(());
        }
        held.waiting.insert(self.number, cx.waker().clone());
        let watcher = held.watcher.take();
        drop(held);
        watcher.into_iter().for_each(Waker::wake);
        Poll::Pending
    }
}

/// A hundred connections are in the middle of their handshakes, and a connection that is there answers; then all of them are
/// there. Each stream is polled in one task alone, which is that of no other one. RULE-186
#[test]
fn handshakes_of_a_hundred_connections_do_not_delay_a_reply() {
    let authority = Authority::new("ours");
    let server = serve_encrypted(&authority.certify(&["127.0.0.1"]).server(None));
    let tls = Tls::builder().roots(authority.pem()).build().unwrap();
    let settings = ConfigBuilder::from_url(&format!("rediss://{}", server.addresses()[0])).unwrap().tls(tls);
    let settings = settings.pool_size(1).max_dedicated(100).connect_timeout(Some(120 * SECOND));
    let gate = Gate::default();
    block_on(async {
        let builder = driver::Builder::from_settings(Numbered::default(), gate.clone(), settings);
        let client = builder.connect().await.unwrap();
        gate.shut();
        let mut wishes: Vec<_> = (0..HANDSHAKES).map(|_| Box::pin(client.lease())).collect();
        std::future::poll_fn(|cx| {
            let ready = wishes.iter_mut().filter_map(|wish| match wish.as_mut().poll(cx) {
                Poll::Pending => None,
                Poll::Ready(lease) => Some(lease),
            });
            assert_eq!(ready.count(), 0);
            Poll::Ready(())
        })
        .await;
        gate.holds(HANDSHAKES).await;
        for _ in 0..3 {
            assert_eq!(client.call(cmd("PING")).await.unwrap(), Frame::simple("PONG"));
        }
        let stats = client.stats();
        assert_eq!((stats.leased, stats.dedicated, stats.waiting_for_lease), (0, HANDSHAKES, HANDSHAKES));
        gate.open();
        let mut leases = Vec::new();
        for wish in wishes {
            leases.push(wish.await.unwrap());
        }
        assert_eq!(client.stats().leased, HANDSHAKES);
        drop(leases);
        client.shutdown(SECOND).await;
    });
    let polled_by: Vec<_> = gate.lock().polled_by.values().cloned().collect();
    let tasks: BTreeSet<usize> = polled_by.iter().flatten().copied().collect();
    assert!(polled_by.iter().all(|tasks| tasks.len() == 1), "{polled_by:?}");
    assert_eq!((polled_by.len(), tasks.len(), tasks.contains(&0)), (HANDSHAKES + 1, HANDSHAKES + 1, false));
}
