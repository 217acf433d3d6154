//! What the driver relies on in a runtime. An adapter's tests call these beside the suite.

use std::future::poll_fn;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use hitless_core::driver::{Runtime, Timer};

use crate::driver_world::Adapter;

/// Longer than everything here takes on the slowest machine: a poll that never returns has no other end.
const PATIENCE: Duration = Duration::from_secs(30);

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
