//! Client-side caching: what each connection has read, and what it is told.

use std::collections::BTreeSet;

use bytes::Bytes;
use resp3_codec::Frame;

use super::super::backend::{Effect, Effects, Protocol};
use super::super::request::Request;
use super::Dataset;
use super::dispatch::{Call, Outcome, SYNTAX, bulk, ok};
use super::session::Session;
use super::table::{Class, Spec};

/// What a connection wants to be told.
#[derive(Clone, Debug)]
pub(super) enum Tracking {
    /// Of these keys, which it has read, each once.
    Read(BTreeSet<Bytes>),
    /// Of all keys that begin like this.
    Broadcast(Vec<Bytes>),
}

impl Tracking {
    /// Whether a change of `key` is told.
    fn take(&mut self, key: &Bytes) -> bool {
        match self {
            Self::Read(keys) => keys.remove(key),
            Self::Broadcast(prefixes) => prefixes.iter().any(|prefix| key.starts_with(prefix)),
        }
    }
}

/// `CLIENT TRACKING ON|OFF [BCAST] [PREFIX prefix ..]`.
pub(super) fn tracking(call: &mut Call<'_>, words: &[Bytes]) -> Outcome {
    let [switch, options @ ..] = words else { return Err(SYNTAX.into()) };
    if switch.eq_ignore_ascii_case(b"OFF") {
        call.session.tracking = None;
        return ok();
    }
    if !switch.eq_ignore_ascii_case(b"ON") {
        return Err(SYNTAX.into());
    }
    let (mut broadcasts, mut prefixes, mut rest) = (false, Vec::new(), options);
    while let Some(option) = rest.first() {
        rest = match (&option.to_ascii_uppercase()[..], rest) {
            (b"BCAST", [_, rest @ ..]) => {
                broadcasts = true;
                rest
            }
            (b"PREFIX", [_, prefix, rest @ ..]) => {
                prefixes.push(Bytes::copy_from_slice(prefix));
                rest
            }
            _ => return Err(SYNTAX.into()),
        };
    }
    if !broadcasts && !prefixes.is_empty() {
        return Err("ERR PREFIX option requires BCAST mode to be enabled".into());
    }
    if broadcasts && prefixes.is_empty() {
        prefixes.push(Bytes::new());
    }
    let on = if broadcasts { Tracking::Broadcast(prefixes) } else { Tracking::Read(BTreeSet::new()) };
    call.session.tracking = Some(on);
    ok()
}

/// A connection has run a command.
pub(super) fn note(session: &mut Session, spec: &Spec, request: &Request) {
    let Some(Tracking::Read(read)) = session.tracking.as_mut().filter(|_| spec.class == Class::Read) else {
        return;
    };
    let words = &request.words()[1..];
    let keys = match spec.name {
        "scan" | "dbsize" => &[],
        "mget" | "exists" => words,
        _ => &words[..1],
    };
    read.extend(keys.iter().map(|key| Bytes::copy_from_slice(key)));
}

/// All keys are gone, in the words of redis: null. The session of `call` is out of the table.
pub(super) fn flush(call: &mut Call<'_>) {
    let others = call.data.sessions.iter_mut().map(|(conn, session)| (*conn, session));
    for (conn, session) in others.chain([(call.conn, &mut *call.session)]) {
        if let Some(Tracking::Read(keys)) = &mut session.tracking {
            keys.clear();
        }
        if session.tracking.is_some() && session.protocol == Protocol::Resp3 {
            let frame = Frame::Push(vec![bulk("invalidate"), Frame::Null]);
            call.effects.push_back(Effect::Push { conn, frame });
        }
    }
}

impl Dataset {
    /// A key was changed.
    pub(super) fn invalidate(&mut self, key: &Bytes, effects: &mut Effects) {
        for (conn, session) in &mut self.sessions {
            let is_told = session.tracking.as_mut().is_some_and(|tracking| tracking.take(key));
            if is_told && session.protocol == Protocol::Resp3 {
                let frame = Frame::Push(vec![bulk("invalidate"), Frame::Array(vec![bulk(key.clone())])]);
                effects.push_back(Effect::Push { conn: *conn, frame });
            }
        }
    }
}
