//! `MULTI`, `EXEC` and `WATCH`.

use resp3_codec::Frame;

use super::super::backend::Protocol;
use super::super::machine::ServerConn;
use super::Dataset;
use super::dispatch::{Answer, Call, Outcome, ok};
use super::session::{Session, Transaction};
use super::table;

pub(super) fn multi(call: &mut Call<'_>) -> Outcome {
    if call.session.transaction.is_some() {
        return Err("ERR MULTI calls can not be nested".into());
    }
    call.session.transaction = Some(Transaction::default());
    ok()
}

pub(super) fn discard(call: &mut Call<'_>) -> Outcome {
    if call.session.transaction.take().is_none() {
        return Err("ERR DISCARD without MULTI".into());
    }
    call.data.end_watch(call.conn, call.session);
    ok()
}

pub(super) fn exec(call: &mut Call<'_>) -> Outcome {
    let Some(transaction) = call.session.transaction.take() else {
        return Err("ERR EXEC without MULTI".into());
    };
    let dirty = call.session.dirty;
    call.data.end_watch(call.conn, call.session);
    if transaction.aborted {
        return Err("EXECABORT Transaction discarded because of previous errors.".into());
    }
    // As a Redis server does, which looks at EXEC as at the commands that it would run.
    let queued =
        || transaction.queue.iter().filter_map(|request| Some((table::find(request.name())?, request)));
    let elsewhere =
        queued().find_map(|(spec, request)| call.data.redirection(call.now, call.session, spec, request));
    if let Some(elsewhere) = elsewhere {
        return Err(elsewhere.into());
    }
    let specs = queued().map(|(spec, _)| spec);
    if let Some(refusal) = specs.into_iter().find_map(|spec| call.data.refusal(call.session, spec)) {
        return Err(format!("EXECABORT Transaction discarded because of: {refusal}").into());
    }
    if dirty {
        let none = if call.session.protocol == Protocol::Resp2 { Frame::NullArray } else { Frame::Null };
        return Ok(none.into());
    }
    let mut replies = Vec::with_capacity(transaction.queue.len());
    for request in &transaction.queue {
        let Some(spec) = table::find(request.name()) else { continue };
        match call.data.run(call.now, call.conn, call.session, spec, request, call.effects, true) {
            Ok(Answer::Frame(frame)) => replies.push(frame),
            Ok(Answer::Frames(frames)) => replies.extend(frames),
            Ok(Answer::Later) => replies.push(Frame::Null),
            Err(failure) => replies.push(failure.frame()),
        }
    }
    Ok(Frame::Array(replies).into())
}

pub(super) fn watch(call: &mut Call<'_>) -> Outcome {
    if call.session.transaction.is_some() {
        return Err("ERR WATCH inside MULTI is not allowed".into());
    }
    for key in &call.request.words()[1..] {
        let key = (call.session.db, key.clone());
        call.session.watched.insert(key.clone());
        call.data.watchers.entry(key).or_default().insert(call.conn);
    }
    ok()
}

pub(super) fn unwatch(call: &mut Call<'_>) -> Outcome {
    call.data.end_watch(call.conn, call.session);
    ok()
}

impl Dataset {
    /// Ends what a connection watches. Its session may be out of the table.
    pub(super) fn end_watch(&mut self, conn: ServerConn, session: &mut Session) {
        session.dirty = false;
        for key in std::mem::take(&mut session.watched) {
            if let Some(conns) = self.watchers.get_mut(&key) {
                conns.remove(&conn);
                if conns.is_empty() {
                    self.watchers.remove(&key);
                }
            }
        }
    }

    pub(super) fn unwatch(&mut self, conn: ServerConn) {
        if let Some(mut session) = self.sessions.remove(&conn) {
            self.end_watch(conn, &mut session);
            self.sessions.insert(conn, session);
        }
    }
}
