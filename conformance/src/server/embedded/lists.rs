//! Lists, and the commands that wait for an element.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use resp3_codec::Frame;

use super::super::backend::{Condition, Protocol};
use super::dispatch::{Answer, Call, Failure, Outcome, bulk, integer};
use super::session::{Blocked, Side};

pub(super) fn lpush(call: &mut Call<'_>) -> Outcome {
    push(call, Side::Left)
}

pub(super) fn rpush(call: &mut Call<'_>) -> Outcome {
    push(call, Side::Right)
}

pub(super) fn lpop(call: &mut Call<'_>) -> Outcome {
    pop(call, Side::Left)
}

pub(super) fn rpop(call: &mut Call<'_>) -> Outcome {
    pop(call, Side::Right)
}

pub(super) fn blpop(call: &mut Call<'_>) -> Outcome {
    blocking_pop(call, Side::Left)
}

pub(super) fn brpop(call: &mut Call<'_>) -> Outcome {
    blocking_pop(call, Side::Right)
}

pub(super) fn llen(call: &mut Call<'_>) -> Outcome {
    let key = &call.request.words()[1];
    let list = call.data.store.list(call.now, call.session.db, key)?;
    Ok(integer(list.map_or(0, VecDeque::len)).into())
}

pub(super) fn lrange(call: &mut Call<'_>) -> Outcome {
    let (start, stop) = (call.integer(2)?, call.integer(3)?);
    let key = &call.request.words()[1];
    let Some(list) = call.data.store.list(call.now, call.session.db, key)? else {
        return Ok(Frame::Array(Vec::new()).into());
    };
    let length = i64::try_from(list.len()).unwrap_or(i64::MAX);
    let from_start = |index: i64| if index < 0 { index.saturating_add(length) } else { index };
    let first = usize::try_from(from_start(start).max(0)).unwrap_or(usize::MAX);
    let end = usize::try_from(from_start(stop).saturating_add(1).clamp(0, length)).unwrap_or(0);
    let elements = list.iter().take(end).skip(first).cloned().map(bulk).collect();
    Ok(Frame::Array(elements).into())
}

fn push(call: &mut Call<'_>, side: Side) -> Outcome {
    let key = &call.request.words()[1];
    let elements = call.request.words()[2..].iter().map(|element| Bytes::copy_from_slice(element));
    let length = call.data.store.change_list(call.now, call.session.db, key, |list| {
        for element in elements {
            match side {
                Side::Left => list.push_front(element),
                Side::Right => list.push_back(element),
            }
        }
        list.len()
    })?;
    Ok(integer(length).into())
}

fn pop(call: &mut Call<'_>, side: Side) -> Outcome {
    let words = call.request.words();
    let count = match words.len() {
        2 => None,
        3 => Some(
            call.integer(2)
                .ok()
                .and_then(|count| usize::try_from(count).ok())
                .ok_or("ERR value is out of range, must be positive")?,
        ),
        _ => return Err("ERR syntax error".into()),
    };
    let none = match (count, call.session.protocol) {
        (Some(_), Protocol::Resp2) => Frame::NullArray,
        _ => Frame::Null,
    };
    if call.data.store.list(call.now, call.session.db, &words[1])?.is_none() {
        return Ok(none.into());
    }
    let popped: Vec<Bytes> = call.data.store.change_list(call.now, call.session.db, &words[1], |list| {
        std::iter::from_fn(|| take(list, side)).take(count.unwrap_or(1)).collect()
    })?;
    let mut popped = popped.into_iter().map(bulk);
    match count {
        Some(_) => Ok(Frame::Array(popped.collect()).into()),
        None => Ok(popped.next().unwrap_or(none).into()),
    }
}

fn blocking_pop(call: &mut Call<'_>, side: Side) -> Outcome {
    let words = call.request.words();
    let last = words.len() - 1;
    if !call.in_exec && call.data.condition(call.session.endpoint) == Condition::Paused {
        call.data.hold_up(call.conn, call.session, call.request, call.effects);
        return Ok(Answer::Later);
    }
    let timeout = parse_timeout(&words[last])?;
    let keys = &words[1..last];
    for key in keys {
        if call.data.store.list(call.now, call.session.db, key)?.is_some() {
            let popped =
                call.data.store.change_list(call.now, call.session.db, key, |list| take(list, side))?;
            if let Some(element) = popped {
                return Ok(Frame::Array(vec![bulk(key.clone()), bulk(element)]).into());
            }
        }
    }
    if call.in_exec {
        return Ok(nothing_popped(call.session.protocol).into());
    }
    let blocked = Blocked {
        request: call.request.clone(),
        db: call.session.db,
        keys: keys.to_vec(),
        side,
        until: timeout.and_then(|timeout| call.now.checked_add(timeout)),
        is_held_up: false,
    };
    call.data.block(call.conn, call.session, blocked);
    Ok(Answer::Later)
}

/// What a blocking pop answers when its time is over.
pub(super) fn nothing_popped(protocol: Protocol) -> Frame {
    match protocol {
        Protocol::Resp2 => Frame::NullArray,
        Protocol::Resp3 => Frame::Null,
    }
}

pub(super) fn take(list: &mut VecDeque<Bytes>, side: Side) -> Option<Bytes> {
    match side {
        Side::Left => list.pop_front(),
        Side::Right => list.pop_back(),
    }
}

/// Seconds, with a fraction; 0 is for ever.
fn parse_timeout(text: &[u8]) -> Result<Option<Duration>, Failure> {
    let seconds: f64 = std::str::from_utf8(text)
        .ok()
        .and_then(|text| text.parse().ok())
        .filter(|seconds: &f64| seconds.is_finite())
        .ok_or("ERR timeout is not a float or out of range")?;
    if seconds < 0.0 {
        return Err("ERR timeout is negative".into());
    }
    let timeout =
        Duration::try_from_secs_f64(seconds).map_err(|_| "ERR timeout is not a float or out of range")?;
    Ok((!timeout.is_zero()).then_some(timeout))
}
