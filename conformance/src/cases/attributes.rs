//! Attributes: what a RESP3 server may say about any frame. They change nothing.

use bytes::Bytes;
use hitless_core::error::ConnectError;
use hitless_core::event::{Event, Ignored};
use hitless_core::handshake::{HandshakeError, Stage};
use hitless_core::request::Pipeline;
use resp3_codec::Frame;

use super::ignored;
use crate::server::{CloseHow, Condition, Fault, Notice, OptIn, Rule};
use crate::testbed::{SECOND, Testbed, get, incr, maintenance, millis, set};
use crate::world::Host;

/// What stands in front of a frame: two sets of attributes, one of them empty.
const ATTRIBUTES: Bytes = Bytes::from_static(b"|1\r\n+ttl\r\n:3600\r\n|0\r\n");

/// A frame with attributes.
fn attributed(value: Frame) -> Frame {
    Frame::Attribute { attributes: vec![(Frame::simple("ttl"), Frame::Integer(3600))], value: value.into() }
}

/// Every reply of the handshake means what it means without its attributes: success, and each refusal. RULE-148
pub fn in_the_handshake(host: &dyn Host) {
    for opt_in in [OptIn::Supported, OptIn::UnknownSubcommand, OptIn::Loading] {
        let mut bed = Testbed::builder(host).endpoints(|spec| spec.with_opt_in(opt_in)).build();
        bed.rule(Rule::new(Fault::Before(ATTRIBUTES)).always());
        let settings = bed.settings().pool_size(1).database(3);
        bed.connect_with(settings);
        let is_notified = opt_in == OptIn::Supported;
        let ready = bed.count(
            |event| matches!(event, Event::ConnectionReady { notified, .. } if *notified == is_notified),
        );
        let refused = bed.count(|event| matches!(event, Event::OptInRefused { .. }));
        assert_eq!((ready, refused), (1, usize::from(opt_in == OptIn::UnknownSubcommand)), "{opt_in:?}");
        bed.finish();
    }
    let mut bed = Testbed::new(host);
    bed.rule(Rule::new(Fault::Before(ATTRIBUTES)).always());
    let settings = bed.settings().pool_size(1).database(99);
    let error = bed.try_connect(settings).expect_err("there are 16 databases, and no other one is served");
    let is_select =
        matches!(error.last(), ConnectError::Handshake(HandshakeError::Refused { stage: Stage::Select, .. }));
    assert!(is_select, "{error:?}");
    bed.finish();
}

/// A notification is one whatever is said about it and about its elements, also behind the end of the stream. RULE-148
pub fn in_notifications(host: &dyn Host) {
    let moving = |bed: &mut Testbed| {
        let target = bed.address(bed.b).to_string();
        let words = [Frame::bulk("MOVING"), Frame::Integer(7), Frame::Integer(2), Frame::bulk(target)];
        attributed(attributed(Frame::Push(words.map(attributed).into())))
    };
    let mut bed = Testbed::new(host);
    bed.connect();
    bed.start_load(4);
    let push = moving(&mut bed);
    bed.push(bed.a, &push);
    bed.run_until_all_at(bed.b);
    bed.stop_load();
    bed.assert_hitless(millis(50));
    bed.finish();

    let mut bed = Testbed::new(host);
    bed.connect();
    bed.block_reads(true);
    let push = moving(&mut bed);
    bed.push(bed.a, &push);
    bed.kill_all(bed.a, CloseHow::Fin);
    // Over sockets the end arrives a moment later.
    bed.run_for(millis(200) + bed.slack());
    bed.block_reads(false);
    bed.run_until_soon("it is noticed", |bed| ignored(bed, Ignored::ConnectionEnding) == 3);
    bed.run_until_soon("they connect again", |bed| bed.accepted(bed.a) == 6);
    assert_eq!((bed.moves(), bed.accepted(bed.b)), (0, 0), "{}", bed.history());
    bed.finish();
}

/// A reply belongs to its request whatever is said about it, and a refusal inside a window is one: the request is sent
/// again. RULE-148
pub fn in_replies(host: &dyn Host) {
    let mut bed = Testbed::new(host);
    let settings = bed.settings().maintenance(maintenance(|it| it.relaxed_timeout(SECOND * 5)));
    bed.connect_with(settings);
    bed.rule(Rule::new(Fault::Before(ATTRIBUTES)).always());
    let replies = bed.pipeline(Pipeline::from([set("k", "v"), incr("n"), get("k")]));
    let bare: Vec<Frame> = replies.into_iter().map(Frame::without_attributes).collect();
    assert_eq!(bare, [Frame::simple("OK"), Frame::Integer(1), Frame::bulk("v")]);

    bed.server(|server, now| server.failing_over(now, Notice::new(SECOND * 5)));
    bed.run_until_soon("the window opens", |bed| {
        bed.count(|event| matches!(event, Event::WindowOpened { .. })) == 1
    });
    for condition in [Condition::ReadOnly, Condition::Loading, Condition::MasterDown] {
        let (a, before) = (bed.a, bed.arrivals("INCR").len());
        bed.server(|server, now| server.set_condition(now, a, condition));
        let ticket = bed.send(incr("n"));
        bed.run_until_soon("it is sent again", |bed| bed.arrivals("INCR").len() >= before + 2);
        bed.server(|server, now| server.set_condition(now, a, Condition::Serving));
        assert!(bed.reply(ticket).as_int().is_some(), "{condition:?}");
    }
    bed.finish();
}
