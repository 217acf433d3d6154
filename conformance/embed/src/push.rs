//! From redis-rs's values to the core's frames.

use std::iter;

use hitless_core::Frame;
use hitless_core::notification::{Notification, NotificationError};
use redis::{PushInfo, PushKind, Value};

/// The maintenance notification that a push is, if it is one.
pub(crate) fn notification(push: &PushInfo) -> Result<Option<Notification>, NotificationError> {
    let PushKind::Other(name) = &push.kind else { return Ok(None) };
    let name = Frame::bulk(name.clone());
    let elements: Vec<Frame> = iter::once(name).chain(push.data.iter().cloned().map(frame)).collect();
    Notification::parse(&elements)
}

/// The frame that redis-rs made `value` of.
#[must_use]
pub fn frame(value: Value) -> Frame {
    let frames = |values: Vec<Value>| values.into_iter().map(frame).collect();
    let pairs = |pairs: Vec<(Value, Value)>| {
        pairs.into_iter().map(|(key, value)| (frame(key), frame(value))).collect()
    };
    match value {
        Value::Nil => Frame::Null,
        Value::Int(integer) => Frame::Integer(integer),
        Value::BulkString(bytes) => Frame::bulk(bytes),
        Value::SimpleString(text) => Frame::Simple(text.into()),
        Value::Okay => Frame::simple("OK"),
        Value::Array(values) => Frame::Array(frames(values)),
        Value::Set(values) => Frame::Set(frames(values)),
        Value::Map(fields) => Frame::Map(pairs(fields)),
        Value::Attribute { data, .. } => frame(*data),
        Value::Double(number) => Frame::Double(number),
        Value::Boolean(truth) => Frame::Boolean(truth),
        Value::VerbatimString { text, .. } => Frame::bulk(text),
        Value::Push { kind, data } => Frame::Push(
            iter::once(Frame::bulk(kind.to_string())).chain(data.into_iter().map(frame)).collect(),
        ),
        Value::ServerError(error) => {
            let details = error.details().map(|details| format!(" {details}"));
            Frame::error(format!("{}{}", error.code(), details.unwrap_or_default()))
        }
        // Numbers of any size, whose type depends on redis-rs's features, and kinds to come: no notification has one.
        _ => Frame::Null,
    }
}
