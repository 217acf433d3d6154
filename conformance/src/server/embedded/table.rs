//! The commands: name, number of words, where they may run, and the function that runs them.

use super::dispatch::{Call, Outcome};
#[cfg(feature = "scripts")]
use super::scripts;
use super::{admin, clients, cluster, hashes, keys, lists, pubsub, strings, transactions};

/// One command.
pub(super) struct Spec {
    pub(super) name: &'static str,
    /// Number of words, the name included; negative: at least as many.
    pub(super) arity: i16,
    pub(super) class: Class,
    pub(super) run: fn(&mut Call<'_>) -> Outcome,
}

/// What a command does to data, which decides when it is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Touches no data.
    Control,
    /// As `Control`, and may come before authentication.
    Open,
    /// As `Control`, and allowed to a RESP2 subscriber.
    Subscriber,
    /// As `Open`, and allowed to a RESP2 subscriber.
    OpenSubscriber,
    /// Reads data.
    Read,
    /// Changes data.
    Write,
}

impl Class {
    pub(super) fn before_authentication(self) -> bool {
        matches!(self, Self::Open | Self::OpenSubscriber)
    }

    pub(super) fn while_subscribed(self) -> bool {
        matches!(self, Self::Subscriber | Self::OpenSubscriber)
    }

    pub(super) fn touches_data(self) -> bool {
        matches!(self, Self::Read | Self::Write)
    }
}

/// The command of this name, in any case.
pub(super) fn find(name: &[u8]) -> Option<&'static Spec> {
    COMMANDS.iter().find(|spec| spec.name.as_bytes().eq_ignore_ascii_case(name))
}

const fn spec(name: &'static str, arity: i16, class: Class, run: fn(&mut Call<'_>) -> Outcome) -> Spec {
    Spec { name, arity, class, run }
}

/// The most frequent first: the table is searched from the start.
static COMMANDS: &[Spec] = &[
    spec("get", 2, Class::Read, strings::get),
    spec("set", -3, Class::Write, strings::set),
    spec("incr", 2, Class::Write, strings::incr),
    spec("ping", -1, Class::Subscriber, admin::ping),
    spec("echo", 2, Class::Control, admin::echo),
    spec("incrby", 3, Class::Write, strings::incr_by),
    spec("decr", 2, Class::Write, strings::decr),
    spec("decrby", 3, Class::Write, strings::decr_by),
    spec("append", 3, Class::Write, strings::append),
    spec("strlen", 2, Class::Read, strings::strlen),
    spec("getdel", 2, Class::Write, strings::get_del),
    spec("mget", -2, Class::Read, strings::mget),
    spec("mset", -3, Class::Write, strings::mset),
    spec("setex", 4, Class::Write, strings::set_ex),
    spec("del", -2, Class::Write, strings::del),
    spec("unlink", -2, Class::Write, strings::del),
    spec("exists", -2, Class::Read, strings::exists),
    spec("expire", 3, Class::Write, keys::expire),
    spec("pexpire", 3, Class::Write, keys::pexpire),
    spec("ttl", 2, Class::Read, keys::ttl),
    spec("pttl", 2, Class::Read, keys::pttl),
    spec("scan", -2, Class::Read, keys::scan),
    spec("hget", 3, Class::Read, hashes::hget),
    spec("hset", -4, Class::Write, hashes::hset),
    spec("hmset", -4, Class::Write, hashes::hmset),
    spec("hmget", -3, Class::Read, hashes::hmget),
    spec("hgetall", 2, Class::Read, hashes::hgetall),
    spec("hincrby", 4, Class::Write, hashes::hincrby),
    spec("hdel", -3, Class::Write, hashes::hdel),
    spec("hlen", 2, Class::Read, hashes::hlen),
    spec("lpush", -3, Class::Write, lists::lpush),
    spec("rpush", -3, Class::Write, lists::rpush),
    spec("lpop", -2, Class::Write, lists::lpop),
    spec("rpop", -2, Class::Write, lists::rpop),
    spec("llen", 2, Class::Read, lists::llen),
    spec("lrange", 4, Class::Read, lists::lrange),
    spec("blpop", -3, Class::Write, lists::blpop),
    spec("brpop", -3, Class::Write, lists::brpop),
    spec("publish", 3, Class::Control, pubsub::publish),
    spec("subscribe", -2, Class::Subscriber, pubsub::subscribe),
    spec("unsubscribe", -1, Class::Subscriber, pubsub::unsubscribe),
    spec("psubscribe", -2, Class::Subscriber, pubsub::psubscribe),
    spec("punsubscribe", -1, Class::Subscriber, pubsub::punsubscribe),
    spec("spublish", 3, Class::Control, pubsub::spublish),
    spec("ssubscribe", -2, Class::Subscriber, pubsub::ssubscribe),
    spec("sunsubscribe", -1, Class::Subscriber, pubsub::sunsubscribe),
    spec("multi", 1, Class::Control, transactions::multi),
    spec("exec", 1, Class::Control, transactions::exec),
    spec("discard", 1, Class::Control, transactions::discard),
    spec("watch", -2, Class::Control, transactions::watch),
    spec("unwatch", 1, Class::Control, transactions::unwatch),
    #[cfg(feature = "scripts")]
    spec("eval", -3, Class::Write, scripts::eval),
    #[cfg(feature = "scripts")]
    spec("evalsha", -3, Class::Write, scripts::eval_sha),
    #[cfg(feature = "scripts")]
    spec("script", -2, Class::Control, scripts::script),
    spec("hello", -1, Class::Open, clients::hello),
    spec("auth", -2, Class::Open, clients::auth),
    spec("select", 2, Class::Control, clients::select),
    spec("client", -2, Class::Control, clients::client),
    spec("quit", -1, Class::OpenSubscriber, clients::quit),
    spec("reset", 1, Class::OpenSubscriber, clients::reset),
    spec("asking", 1, Class::Control, cluster::asking),
    spec("cluster", -2, Class::Control, cluster::cluster),
    spec("readonly", 1, Class::Control, cluster::readonly),
    spec("readwrite", 1, Class::Control, cluster::readwrite),
    spec("info", -1, Class::Control, admin::info),
    spec("command", -1, Class::Control, admin::command),
    spec("config", -2, Class::Control, admin::config),
    spec("dbsize", 1, Class::Read, admin::dbsize),
    spec("flushall", -1, Class::Write, admin::flushall),
    spec("flushdb", -1, Class::Write, admin::flushdb),
    spec("wait", 3, Class::Control, admin::wait),
    spec("time", 1, Class::Control, admin::time),
];
