//! Replies at the edges of what the client takes, and replies that break the link: what a server answers to keys with such
//! names.

use bytes::Bytes;
use hitless_core::Limits;
use resp3_codec::Frame;

use crate::server::{CloseHow, Fault, Rule};

/// Levels of the deepest reply.
const DEPTH: usize = 12;
/// Bytes of the longest line.
const LINE: usize = 2_000;
/// Bytes of the largest bulk string: more than the load has otherwise.
const BULK: usize = 48 * 1024;
/// Levels that no limit allows.
const TOO_DEEP: usize = Limits::MAX_DEPTH + 1;

/// What the client is set to take.
pub(super) fn limits() -> Limits {
    Limits::default().depth(DEPTH).line_bytes(LINE).bulk_bytes(BULK)
}

/// The keys whose replies are at an edge, by the end of their names.
pub(super) const EDGES: &[&str] = &["edge.depth", "edge.status", "edge.error", "edge.bulk"];

/// The reply to a key that ends so.
pub(super) fn reply(edge: &str) -> Frame {
    let text = |len: usize| "x".repeat(len);
    match edge {
        "edge.depth" => (0..DEPTH).fold(Frame::Integer(1), |inner, _| Frame::Array(vec![inner])),
        "edge.status" => Frame::Simple(text(LINE).into()),
        "edge.error" => Frame::error(format!("ERR {}", text(LINE - 4))),
        _ => Frame::bulk(text(BULK)),
    }
}

/// The keys whose replies kill the link, by the end of their names; behind each how often it may travel. What the server
/// cuts off may come again twice, what cannot be read is not asked for again.
pub(super) const POISONS: &[(&str, usize)] =
    &[("poison.unexecuted", 3), ("poison.unanswered", 3), ("poison.depth", 1), ("poison.garbage", 1)];

/// What a server does that has such keys.
pub(super) fn rules() -> Vec<Rule> {
    let rule = |fault, text| Rule::new(fault).on("GET").holding(text).always();
    let mut rules: Vec<Rule> = EDGES.iter().map(|edge| rule(Fault::Instead(reply(edge)), edge)).collect();
    rules.push(rule(Fault::CloseUnexecuted(CloseHow::Fin), "poison.unexecuted"));
    rules.push(rule(Fault::CloseUnanswered(CloseHow::Reset), "poison.unanswered"));
    rules.push(rule(Fault::Before(Bytes::from("*1\r\n".repeat(TOO_DEEP))), "poison.depth"));
    rules.push(rule(Fault::Before(Bytes::from_static(b"?\r\n")), "poison.garbage"));
    rules
}

/// How a command is refused that is `HELLO` or not: in the words of proxies and servers that do not want it, as they were seen,
/// or in the form of RESP2.
pub(super) fn refusals(is_hello: bool) -> Vec<Frame> {
    let mut refusals: Vec<Frame> = REFUSALS.iter().map(|text| Frame::error(*text)).collect();
    if is_hello {
        let reply = ["server", "redis", "proto"].map(Frame::bulk).into_iter().chain([Frame::Integer(2)]);
        refusals.push(Frame::Array(reply.collect()));
    }
    refusals
}

/// The words in which proxies and servers refuse a command that they do not want, as they were seen.
const REFUSALS: &[&str] = &[
    "unsupported command",
    "ERR syntax error",
    "ERR this command is not allowed here",
    "ERR unknown command",
    "ERR unsupported command",
    "invalid request: unsupported command",
];
