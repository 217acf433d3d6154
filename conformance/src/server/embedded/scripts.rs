//! `EVAL`, `EVALSHA` and `SCRIPT`: Lua, as real servers have it.
//!
//! A script sees `KEYS`, `ARGV`, the functions `call`, `pcall`, `sha1hex`, `error_reply` and `status_reply` of `redis`, and the
//! libraries of Lua that touch nothing outside. It runs in a Lua of its own.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::fmt;

use bytes::Bytes;
use mlua::{Error, HookTriggers, Lua, LuaOptions, LuaString, StdLib, Table, Value, Variadic, VmState};
use resp3_codec::Frame;
use sha1_smol::Sha1;

use super::super::request::Request;
use super::dispatch::{Answer, Call, Outcome, SYNTAX, bulk, ok};
use super::session::downgrade;

/// A script that runs for longer has no end: the server has one thread for all.
const MOST_INSTRUCTIONS: u32 = 10_000_000;

pub(super) fn eval(call: &mut Call<'_>) -> Outcome {
    let source = Bytes::copy_from_slice(call.arg(1));
    known(call).insert(digest(&source), source.clone());
    run(call, &source)
}

pub(super) fn eval_sha(call: &mut Call<'_>) -> Outcome {
    let digest = String::from_utf8_lossy(call.arg(1)).to_ascii_lowercase();
    let Some(source) = known(call).get(&digest).cloned() else {
        return Err("NOSCRIPT No matching script. Please use EVAL.".into());
    };
    run(call, &source)
}

pub(super) fn script(call: &mut Call<'_>) -> Outcome {
    match call.args() {
        [sub, source] if sub.eq_ignore_ascii_case(b"LOAD") => {
            let (digest, source) = (digest(source), Bytes::copy_from_slice(source));
            known(call).insert(digest.clone(), source);
            Ok(bulk(digest).into())
        }
        [sub, ..] if sub.eq_ignore_ascii_case(b"EXISTS") => {
            let digests = call.request.words()[2..].to_vec();
            let known = known(call);
            let is_known =
                |digest: &Bytes| known.contains_key(&String::from_utf8_lossy(digest).to_ascii_lowercase());
            let known = digests.iter().map(|digest| Frame::Integer(is_known(digest).into()));
            Ok(Frame::Array(known.collect()).into())
        }
        [sub, ..] if sub.eq_ignore_ascii_case(b"FLUSH") => {
            known(call).clear();
            ok()
        }
        _ => Err(SYNTAX.into()),
    }
}

/// The scripts that the endpoint of the caller knows.
fn known<'a>(call: &'a mut Call<'_>) -> &'a mut BTreeMap<String, Bytes> {
    call.data.scripts.entry(call.session.endpoint).or_default()
}

fn digest(source: &[u8]) -> String {
    Sha1::from(source).hexdigest()
}

/// An error reply on its way through Lua.
#[derive(Debug)]
struct ErrorReply(String);

impl fmt::Display for ErrorReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl StdError for ErrorReply {}

fn run(call: &mut Call<'_>, source: &[u8]) -> Outcome {
    let count = usize::try_from(call.integer(2)?).map_err(|_| "ERR Number of keys can't be negative")?;
    let words = &call.request.words()[3..];
    let Some((keys, arguments)) = words.split_at_checked(count) else {
        return Err("ERR Number of keys can't be greater than number of args".into());
    };
    let call = RefCell::new(call);
    match in_lua(&call, source, keys, arguments) {
        Ok(frame) => Ok(frame.into()),
        Err(error) => Err(match error.downcast_ref::<ErrorReply>() {
            Some(reply) => reply.0.clone().into(),
            // The rest is a trace.
            None => format!("ERR {}", error.to_string().lines().next().unwrap_or_default()).into(),
        }),
    }
}

fn in_lua(
    call: &RefCell<&mut Call<'_>>,
    source: &[u8],
    keys: &[Bytes],
    arguments: &[Bytes],
) -> mlua::Result<Frame> {
    let lua = Lua::new_with(StdLib::STRING | StdLib::TABLE | StdLib::MATH, LuaOptions::default())?;
    lua.set_hook(
        HookTriggers::new().every_nth_instruction(MOST_INSTRUCTIONS),
        |_, _| -> mlua::Result<VmState> { Err(Error::runtime("the script does not end")) },
    )?;
    let globals = lua.globals();
    for outside in ["dofile", "loadfile", "print"] {
        globals.set(outside, Value::Nil)?;
    }
    for (name, words) in [("KEYS", keys), ("ARGV", arguments)] {
        let words = words.iter().map(|word| lua.create_string(word)).collect::<mlua::Result<Vec<_>>>()?;
        globals.set(name, words)?;
    }
    lua.scope(|scope| {
        let redis = lua.create_table()?;
        let command = |words: Variadic<LuaString>| {
            let words = words.iter().map(|word| Bytes::copy_from_slice(&word.as_bytes()));
            execute(&mut call.borrow_mut(), &Request::new(words))
        };
        let call = scope.create_function(move |lua, words| match command(words) {
            Frame::Error(text) => {
                Err(Error::external(ErrorReply(String::from_utf8_lossy(&text).into_owned())))
            }
            frame => to_lua(lua, frame),
        })?;
        redis.set("call", call)?;
        redis.set("pcall", scope.create_function(move |lua, words| to_lua(lua, command(words)))?)?;
        let sha1 = |_: &Lua, text: LuaString| Ok(digest(&text.as_bytes()));
        redis.set("sha1hex", lua.create_function(sha1)?)?;
        for (name, field) in [("error_reply", "err"), ("status_reply", "ok")] {
            let reply = move |lua: &Lua, text: LuaString| lua.create_table_from([(field, text)]);
            redis.set(name, lua.create_function(reply)?)?;
        }
        globals.set("redis", redis)?;
        to_frame(lua.load(source).set_name("@user_script").eval()?)
    })
}

/// Runs a command of a script. It is part of the script, and not in the ledger.
fn execute(call: &mut Call<'_>, request: &Request) -> Frame {
    let outcome = call.data.admit(call.now, call.session, request).and_then(|spec| {
        if !spec.class.touches_data() || spec.name.starts_with("eval") {
            return Err("ERR This Redis command is not allowed from script".into());
        }
        (spec.run)(&mut Call {
            now: call.now,
            conn: call.conn,
            request,
            data: call.data,
            session: call.session,
            effects: call.effects,
            in_exec: true,
        })
    });
    match outcome {
        Ok(Answer::Frame(frame)) => frame,
        Ok(Answer::Frames(_) | Answer::Later) => Frame::Null,
        Err(failure) => failure.frame(),
    }
}

/// A reply as a script sees it.
fn to_lua(lua: &Lua, frame: Frame) -> mlua::Result<Value> {
    Ok(match downgrade(frame) {
        Frame::Integer(number) => Value::Number(number as f64),
        Frame::Bulk(text) => Value::String(lua.create_string(text)?),
        Frame::Simple(text) => Value::Table(lua.create_table_from([("ok", lua.create_string(text)?)])?),
        Frame::Error(text) => Value::Table(lua.create_table_from([("err", lua.create_string(text)?)])?),
        Frame::Array(items) => {
            let items = items.into_iter().map(|item| to_lua(lua, item)).collect::<mlua::Result<Vec<_>>>()?;
            Value::Table(lua.create_sequence_from(items)?)
        }
        _ => Value::Boolean(false),
    })
}

/// The reply that a script returns.
fn to_frame(value: Value) -> mlua::Result<Frame> {
    Ok(match value {
        Value::Boolean(true) => Frame::Integer(1),
        Value::Integer(number) => Frame::Integer(number),
        // Without what is behind the point.
        Value::Number(number) => Frame::Integer(number as i64),
        Value::String(text) => bulk(text.as_bytes().to_vec()),
        Value::Table(table) => of_table(&table)?,
        _ => Frame::Null,
    })
}

fn of_table(table: &Table) -> mlua::Result<Frame> {
    let text = |name: &str| -> mlua::Result<Option<Bytes>> {
        Ok(table.raw_get::<Option<LuaString>>(name)?.map(|text| text.as_bytes().to_vec().into()))
    };
    if let Some(error) = text("err")? {
        return Ok(Frame::Error(error));
    }
    if let Some(status) = text("ok")? {
        return Ok(Frame::Simple(status));
    }
    let items = table.sequence_values::<Value>().map(|item| to_frame(item?));
    Ok(Frame::Array(items.collect::<mlua::Result<_>>()?))
}
