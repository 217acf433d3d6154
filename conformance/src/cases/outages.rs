//! While the server is away: what callers are told, and how soon.

use hitless_core::config::WhenDisconnected;
use hitless_core::error::{ConnectError, Delivery, RequestError};
use hitless_core::event::Event;
use resp3_codec::Frame;

use crate::server::{CloseHow, Fault, Notice, Rule, ServerConfig};
use crate::testbed::{SECOND, Testbed, incr, millis};
use crate::world::Host;

/// The pool cannot be opened: the error names the address, the cause and the number of attempts, and comes within twice the
/// connect timeout. RULE-132, RULE-134
pub fn start_says_why_and_is_bounded(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    bed.refuse(bed.a, None);
    let settings = bed.settings();
    let error = bed.try_connect(settings).expect_err("dials are refused");
    let text = error.to_string();
    assert!(matches!(error, ConnectError::GaveUp { attempts: 4, .. }), "{error:?}");
    assert!(text.contains(&format!("cannot connect to {}: ", bed.address(bed.a))), "{text}");
    assert!(text.to_lowercase().contains("connection refused"), "{text}");
    bed.finish();

    let mut bed = Testbed::new(host);
    bed.black_hole(bed.a, None);
    let limit = millis(200) + bed.slack();
    let (settings, before) = (bed.settings().connect_timeout(Some(limit)), bed.now());
    let error = bed.try_connect(settings).expect_err("dials are not answered");
    assert!(bed.now() - before <= 2 * limit + bed.slack(), "{error}");
    let ConnectError::GaveUp { attempts: 2, took, last, .. } = error else { panic!("{error:?}") };
    // Of sockets the system takes connections that the server does not.
    let (gone, hung) = (ConnectError::TimedOut(limit), ConnectError::HandshakeTimedOut(limit));
    assert!(took >= 2 * limit && [gone, hung].contains(&last), "{took:?} {last:?}");
    bed.finish();
}

/// A request waits for a server that is down until its timeout, and its error says that the server is down, not that it
/// is slow. RULE-132
pub fn requests_say_why_there_is_no_connection(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    let settings = bed.settings().command_timeout(Some(SECOND));
    bed.connect_with(settings);
    lose_all(&mut bed);
    let waiting = bed.send(incr("n"));
    let error = bed.error(waiting);
    let RequestError::NoConnection { cause, after: SECOND, delivery: Delivery::NotSent, .. } = &error else {
        panic!("{error:?}")
    };
    let ConnectError::Connect(refused) = &**cause else { panic!("{cause:?}") };
    assert_eq!(refused.place(), Some(bed.address(bed.a).to_string().as_str()));
    assert!(error.to_string().to_lowercase().contains("connection refused"), "{error}");
    bed.restore(bed.a);
    bed.run_until_whole();
    assert_eq!(bed.call(incr("n")), Frame::Integer(1), "nothing ran that was said not to be sent");
    bed.finish();
}

/// The password was changed: callers read the code and a hint, and nothing else that the server said. RULE-06, RULE-132
pub fn requests_say_that_credentials_are_refused(host: &dyn Host) {
    const PASSWORD: &str = "a-Secret-5ee0";
    let server = ServerConfig::default().with_password(PASSWORD);
    let mut bed = Testbed::builder(host).server(server).build();
    let settings = bed.settings().pool_size(1).credentials(None, PASSWORD);
    bed.connect_with(settings);
    let rotated = Frame::error(format!("WRONGPASS invalid password '{PASSWORD}'"));
    bed.rule(Rule::new(Fault::Refuse(rotated)).on("HELLO").always());
    bed.kill_all(bed.a, CloseHow::Fin);
    bed.run_until_soon("it is lost", |bed| bed.stats().serving == 0);
    let waiting = bed.send(incr("n"));
    let error = bed.error(waiting);
    let RequestError::NoConnection { cause, .. } = &error else { panic!("{error:?}") };
    assert_eq!(cause.code().map(|code| code.to_string()).as_deref(), Some("WRONGPASS"));
    let shown = format!("{error} {error:?}");
    assert!(shown.contains("user or password is wrong") && !shown.contains(PASSWORD), "{shown}");
    bed.finish();
}

/// Where callers have something else to do, they are told as soon as an attempt to connect has failed, and at once from
/// then on; with the next connection they are served again. RULE-133
pub fn requests_fail_at_once_where_that_is_wanted(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    let settings =
        bed.settings().when_disconnected(WhenDisconnected::Fail).command_timeout(Some(SECOND * 60));
    bed.connect_with(settings);
    lose_all(&mut bed);
    let first = bed.send(incr("n"));
    let error = bed.error(first);
    assert!(matches!(error, RequestError::NoConnection { delivery: Delivery::NotSent, .. }), "{error:?}");
    for _ in 0..10 {
        let ticket = bed.send(incr("n"));
        let error = bed.error(ticket);
        let RequestError::NoConnection { after, .. } = error else { panic!("{error:?}") };
        assert!(after.is_zero(), "it does not wait: {after:?}");
    }
    bed.restore(bed.a);
    bed.run_until_whole();
    assert_eq!(bed.call(incr("n")), Frame::Integer(1));
    bed.finish();
}

/// The server has announced that it will be away for a moment: requests wait for it, whatever is set. RULE-133
pub fn requests_wait_out_maintenance(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    let settings = bed.settings().pool_size(1).when_disconnected(WhenDisconnected::Fail);
    bed.connect_with(settings);
    bed.server(|server, now| server.failing_over(now, Notice::new(SECOND * 5)));
    bed.run_until_soon("it is told", |bed| {
        bed.count(|event| matches!(event, Event::WindowOpened { .. })) > 0
    });
    bed.refuse(bed.a, None);
    bed.kill_all(bed.a, CloseHow::Fin);
    bed.run_until_soon("a dial has failed", |bed| {
        bed.count(|event| matches!(event, Event::ConnectFailed { .. })) > 0
    });
    let waiting = bed.send(incr("n"));
    bed.restore(bed.a);
    assert_eq!(bed.reply(waiting), Frame::Integer(1));
    bed.finish();
}

/// The server is gone, and the client knows it.
fn lose_all(bed: &mut Testbed) {
    bed.refuse(bed.a, None);
    bed.kill_all(bed.a, CloseHow::Fin);
    bed.run_until_soon("they are lost", |bed| bed.stats().serving == 0);
}
