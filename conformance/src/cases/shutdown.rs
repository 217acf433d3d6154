//! The end: prompt, graceful, and nothing is left.

use hitless_core::error::{Delivery, RequestError};
use hitless_core::event::Event;
use hitless_core::request::{Request, SendError};
use resp3_codec::Frame;

use crate::server::{CloseHow, Moving, Target};
use crate::testbed::{SECOND, Testbed, incr, millis};
use crate::world::Host;

fn assert_prompt(bed: &mut Testbed) {
    let before = bed.now();
    bed.shutdown(SECOND * 60);
    let took = bed.now() - before;
    assert!(took <= millis(50) + bed.slack(), "it took {took:?}");
}

/// Nothing is under way: the client is gone at once, however long the grace is, and says so. PITFALL-13, INV-15
pub fn idle(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    bed.connect();
    assert_prompt(&mut bed);
    assert_eq!(bed.count(|event| matches!(event, Event::Terminated)), 1);
    bed.finish();
}

/// A move, its windows and its timers do not keep the client alive. PITFALL-13, INV-15
pub fn in_the_middle_of_a_move(host: &dyn Host) {
    for target_drops_dials in [false, true] {
        let mut bed = Testbed::new(host);
        bed.connect();
        if target_drops_dials {
            bed.black_hole(bed.b, None);
        }
        bed.announce(bed.a, Moving::new(Target::Endpoint(bed.b), SECOND * 3600));
        bed.run_until_soon("the move has begun", |bed| bed.moves() == 1);
        bed.run_for(millis(50));
        assert_prompt(&mut bed);
        bed.finish();
    }
}

/// Nor does the search for a server that is gone. PITFALL-13, INV-15
pub fn while_nothing_is_connected(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    bed.connect();
    bed.black_hole(bed.a, None);
    bed.kill_all(bed.a, CloseHow::Fin);
    bed.run_until_soon("they are lost", |bed| bed.stats().serving == 0);
    let ticket = bed.send(incr("n"));
    bed.run_for(millis(200));
    assert_prompt(&mut bed);
    assert_eq!(bed.error(ticket), RequestError::ShutDown { delivery: Delivery::NotSent });
    bed.finish();
}

/// What is under way is finished within the grace. INV-01
pub fn graceful(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    bed.connect();
    bed.slow_down(bed.a, millis(300));
    let tickets: Vec<_> = (0..10).map(|_| bed.send(incr("n"))).collect();
    let before = bed.now();
    bed.shutdown(SECOND * 60);
    let took = bed.now() - before;
    assert!(took <= millis(400) + bed.slack(), "no longer than needed: {took:?}");
    let mut numbers: Vec<_> = tickets.into_iter().map(|ticket| bed.reply(ticket)).collect();
    numbers.sort_by_key(Frame::as_int);
    assert_eq!(numbers, (1..=10).map(Frame::Integer).collect::<Vec<_>>());
    bed.finish();
}

/// What is not answered when the grace is over fails, and says that it may have run. INV-01, INV-15
pub fn after_the_grace(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    bed.connect();
    bed.slow_down(bed.a, SECOND * 60);
    let ticket = bed.send(incr("n"));
    bed.run_until_soon("it is executed", |bed| bed.increments("n") == 1);
    let before = bed.now();
    bed.shutdown(millis(200));
    let took = bed.now() - before;
    assert!(took >= millis(200), "{took:?}");
    assert_eq!(bed.error(ticket), RequestError::ShutDown { delivery: Delivery::Unknown });
    bed.finish();
}

/// After the end nothing is accepted.
pub fn nothing_is_accepted_any_more(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    bed.connect();
    bed.shutdown(SECOND);
    let request = Request::command(incr("n")).expect("a shared command");
    let error = bed.try_send(request).expect_err("the client is gone");
    assert!(matches!(error, SendError::ShuttingDown(_)), "{error}");
    bed.finish();
}
