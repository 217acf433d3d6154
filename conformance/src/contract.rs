//! What the driver relies on in a runtime. An adapter's tests call these beside the suite.

use std::future::poll_fn;
use std::io::Read as _;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use hitless_core::driver::{Connector, Runtime, Stream, Timer};
use hitless_core::endpoint::Peer;

use crate::driver_world::Adapter;

/// Longer than everything here takes on the slowest machine: a poll that never returns has no other end.
const PATIENCE: Duration = Duration::from_secs(30);
/// More than the buffers of a socket hold.
const FLUSHED: usize = 8 << 20;

/// A timer rings when its time has come and not before, however little was left when it was armed or polled, and again at
/// each poll until it is armed anew.
///
/// # Panics
/// When it does not.
pub fn timers_ring<A: Adapter>() {
    let (done, ended) = mpsc::channel();
    let check = thread::spawn(move || {
        let (adapter, runtime) = (A::default(), A::Runtime::default());
        adapter.block_on(async {
            let mut timer = runtime.timer();
            // From less than it takes to make a timer to more than the resolution of any.
            for nanos in (0..2_000).chain((2_000..4_000_000).step_by(50_021)) {
                let at = runtime.now() + Duration::from_nanos(nanos);
                timer.reset(at);
                for _ in 0..2 {
                    poll_fn(|cx| timer.poll_expired(cx)).await;
                    assert!(runtime.now() >= at, "{nanos} ns: it rang early");
                }
            }
        });
        // Nobody listens any more if this took too long.
        let _ = done.send(());
    });
    match ended.recv_timeout(PATIENCE) {
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("a timer has not rung for {PATIENCE:?}"),
        Ok(()) | Err(mpsc::RecvTimeoutError::Disconnected) => check.join().expect("see above"),
    }
}

/// Everything that was written arrives once a flush is ready, without a further call: also what did not fit into the
/// buffers of the system at first.
///
/// # Panics
/// When it does not.
pub fn what_is_flushed_arrives<A: Adapter>() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("the system has a port");
    let address = listener.local_addr().expect("it is bound");
    let sent: Vec<u8> = (0..FLUSHED).map(|at| (at % 251) as u8).collect();
    let reading = thread::spawn(move || {
        let (mut socket, _) = listener.accept().expect("the adapter dials");
        socket.set_read_timeout(Some(PATIENCE)).expect("it is not zero");
        let mut received = vec![0; FLUSHED];
        socket.read_exact(&mut received).map(|()| received)
    });
    let (adapter, runtime) = (A::default(), A::Runtime::default());
    let (stream, _) =
        adapter.block_on(runtime.connect(Peer::from(address).into())).expect("somebody listens");
    let stream = adapter.block_on(write_and_flush(stream, &sent));
    // The stream is alive and nobody polls it: closing it must not be what sends the last bytes.
    let received = reading.join().expect("see above");
    drop(stream);
    assert!(received.expect("everything arrives") == sent, "what arrives is what was written");
}

async fn write_and_flush<S: Stream>(mut stream: S, mut bytes: &[u8]) -> S {
    while !bytes.is_empty() {
        let count = poll_fn(|cx| stream.poll_write(cx, bytes)).await.expect("the peer reads");
        bytes = &bytes[count..];
    }
    poll_fn(|cx| stream.poll_flush(cx)).await.expect("the peer reads");
    stream
}
