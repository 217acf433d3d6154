//! Who a connection is: `HELLO`, `AUTH`, `SELECT`, `CLIENT`, `RESET`, `QUIT`.

use bytes::Bytes;
use resp3_codec::Frame;

use super::super::backend::{Effect, Protocol};
use super::super::request::decimal;
use super::Dataset;
use super::admin;
use super::blocking::UnblockReason;
use super::dispatch::{Call, Failure, NOT_AN_INTEGER, Outcome, bulk, ok, wrong_number};
use super::pubsub;
use super::tracking;

const WRONG_PASS: &str = "WRONGPASS invalid username-password pair or user is disabled.";

pub(super) fn hello(call: &mut Call<'_>) -> Outcome {
    let words = call.request.words();
    let protocol = match words.get(1).map(|version| decimal(version)) {
        None => call.session.protocol,
        Some(Some(2)) => Protocol::Resp2,
        Some(Some(3)) => Protocol::Resp3,
        Some(Some(_)) => return Err("NOPROTO unsupported protocol version".into()),
        Some(None) => return Err("ERR Protocol version is not an integer or out of range".into()),
    };
    let (mut user, mut name) = (call.session.user.clone(), None);
    let mut rest = words.get(2..).unwrap_or_default();
    while let Some(option) = rest.first() {
        rest = match (&option.to_ascii_uppercase()[..], rest) {
            (b"AUTH", [_, account, password, rest @ ..]) => {
                user = Some(call.data.login(account, password)?);
                rest
            }
            (b"SETNAME", [_, given, rest @ ..]) => {
                name = Some(client_name(given)?);
                rest
            }
            _ => {
                let option = String::from_utf8_lossy(option);
                return Err(format!("ERR Syntax error in HELLO option '{option}'").into());
            }
        };
    }
    if user.is_none() {
        return Err("NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> \
                    AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol \
                    version at the same time"
            .into());
    }
    call.session.user = user;
    call.session.protocol = protocol;
    if let Some(name) = name {
        call.session.name = name;
    }
    Ok(greeting(call).into())
}

fn greeting(call: &Call<'_>) -> Frame {
    let replica = admin::is_replica(call.data, call.session.endpoint);
    Frame::Map(vec![
        (bulk("server"), bulk("redis")),
        (bulk("version"), bulk(call.data.version.clone())),
        (bulk("proto"), Frame::Integer(if call.session.protocol == Protocol::Resp3 { 3 } else { 2 })),
        (bulk("id"), Frame::Integer(call.session.id)),
        (bulk("mode"), bulk(admin::mode(call.data))),
        (bulk("role"), bulk(if replica { "replica" } else { "master" })),
        (bulk("modules"), Frame::Array(Vec::new())),
    ])
}

pub(super) fn auth(call: &mut Call<'_>) -> Outcome {
    let user = match call.args() {
        [password] => {
            if call.data.anonymous().is_some() {
                return Err("ERR AUTH <password> called without any password configured for the default user. Are you \
                            sure your configuration is correct?"
                    .into());
            }
            call.data.login(b"default", password)?
        }
        [account, password] => call.data.login(account, password)?,
        _ => return Err("ERR syntax error".into()),
    };
    call.session.user = Some(user);
    ok()
}

pub(super) fn select(call: &mut Call<'_>) -> Outcome {
    if call.data.cluster.is_some() && &call.arg(1)[..] != b"0" {
        return Err("ERR SELECT is not allowed in cluster mode".into());
    }
    let db = usize::try_from(call.integer(1)?).ok().filter(|db| *db < call.data.store.databases());
    call.session.db = db.ok_or("ERR DB index is out of range")?;
    ok()
}

pub(super) fn quit(_: &mut Call<'_>) -> Outcome {
    ok()
}

pub(super) fn reset(call: &mut Call<'_>) -> Outcome {
    call.data.end_watch(call.conn, call.session);
    let subscriptions = pubsub::take_all(call.session);
    call.data.forget_all(call.conn, subscriptions);
    let session = &mut *call.session;
    session.transaction = None;
    session.tracking = None;
    session.asking = false;
    session.reads_copies = false;
    session.protocol = Protocol::Resp2;
    session.db = 0;
    session.name = Bytes::new();
    session.user = call.data.anonymous();
    call.effects.push_back(Effect::Reset { conn: call.conn });
    Ok(Frame::Simple(Bytes::from_static(b"RESET")).into())
}

pub(super) fn client(call: &mut Call<'_>) -> Outcome {
    let sub = call.arg(1).to_ascii_lowercase();
    let words = call.request.words();
    match (&sub[..], &words[2..]) {
        (b"id", []) => Ok(Frame::Integer(call.session.id).into()),
        (b"getname", []) => {
            let name = call.session.name.clone();
            Ok(if name.is_empty() { Frame::Null } else { Frame::Bulk(name) }.into())
        }
        (b"setname", [name]) => {
            call.session.name = client_name(name)?;
            ok()
        }
        (b"setinfo", [option, value]) => set_info(call, option, value),
        (b"list", rest) => list(call, rest),
        (b"tracking", rest) => tracking::tracking(call, rest),
        (b"info", []) => Ok(text(call.session.describe()).into()),
        (b"unblock", [id, reason @ ..]) => unblock(call, id, reason),
        (b"id" | b"getname" | b"setname" | b"setinfo" | b"info" | b"unblock", _) => {
            Err(wrong_number(&format!("client|{}", String::from_utf8_lossy(&sub))))
        }
        _ => {
            let sub = String::from_utf8_lossy(call.arg(1));
            Err(format!("ERR unknown subcommand '{sub}'. Try CLIENT HELP.").into())
        }
    }
}

fn set_info(call: &mut Call<'_>, option: &Bytes, value: &Bytes) -> Outcome {
    let index = match &option.to_ascii_lowercase()[..] {
        b"lib-name" => 0,
        b"lib-ver" => 1,
        _ => return Err(format!("ERR Unrecognized option '{}'", String::from_utf8_lossy(option)).into()),
    };
    if !is_plain(value) {
        let option = String::from_utf8_lossy(option);
        return Err(format!("ERR {option} cannot contain spaces, newlines or special characters.").into());
    }
    call.session.library[index] = Bytes::copy_from_slice(value);
    ok()
}

/// Connections are listed per endpoint, as a proxy does.
fn list(call: &mut Call<'_>, rest: &[Bytes]) -> Outcome {
    let ids = match rest {
        [] => None,
        [option, ids @ ..] if option.eq_ignore_ascii_case(b"ID") && !ids.is_empty() => {
            let ids: Option<Vec<i64>> = ids.iter().map(|id| decimal(id)).collect();
            Some(ids.ok_or("ERR Invalid client ID")?)
        }
        _ => return Err("ERR syntax error".into()),
    };
    let endpoint = call.session.endpoint;
    let others = call.data.sessions.values().filter(|session| session.endpoint == endpoint);
    let mut sessions: Vec<_> = others.chain([&*call.session]).collect();
    sessions.sort_by_key(|session| session.id);
    let lines = sessions
        .into_iter()
        .filter(|session| ids.as_ref().is_none_or(|ids| ids.contains(&session.id)))
        .map(super::session::Session::describe)
        .collect();
    Ok(text(lines).into())
}

fn unblock(call: &mut Call<'_>, id: &Bytes, reason: &[Bytes]) -> Outcome {
    let reason = match reason {
        [] => UnblockReason::Timeout,
        [word] if word.eq_ignore_ascii_case(b"TIMEOUT") => UnblockReason::Timeout,
        [word] if word.eq_ignore_ascii_case(b"ERROR") => UnblockReason::Error,
        [_] => return Err("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR".into()),
        _ => return Err("ERR syntax error".into()),
    };
    let id = decimal(id).ok_or(NOT_AN_INTEGER)?;
    let found = call.data.unblock_by_id(call.session.endpoint, id, reason, call.effects);
    Ok(Frame::Integer(i64::from(found)).into())
}

fn text(text: String) -> Frame {
    Frame::Verbatim { format: *b"txt", text: Bytes::from(text) }
}

fn client_name(name: &Bytes) -> Result<Bytes, Failure> {
    if !is_plain(name) {
        return Err("ERR Client names cannot contain spaces, newlines or special characters.".into());
    }
    Ok(Bytes::copy_from_slice(name))
}

fn is_plain(text: &[u8]) -> bool {
    text.iter().all(|byte| (b'!'..=b'~').contains(byte))
}

impl Dataset {
    /// The account's name if the password opens it.
    fn login(&self, account: &[u8], password: &[u8]) -> Result<String, Failure> {
        let user =
            std::str::from_utf8(account).ok().and_then(|name| self.users.get(name)).ok_or(WRONG_PASS)?;
        let opens = user.password.as_ref().is_none_or(|secret| secret.as_bytes() == password);
        if opens { Ok(user.name.clone()) } else { Err(WRONG_PASS.into()) }
    }
}
