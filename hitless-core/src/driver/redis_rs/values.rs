//! Replies as values of the `redis` crate.

use bytes::Bytes;
use redis::{PushKind, RedisError, Value, VerbatimFormat, parse_redis_value};
use resp3_codec::Frame;

use super::error;
use crate::driver::Error;
use crate::error::ServerError;
use crate::request::Replies;

/// The value that the `redis` crate's own parser makes of this reply. It is told the few that only it can make.
pub(super) fn value(frame: Frame) -> Value {
    match frame {
        Frame::Simple(text) if text == "OK" => Value::Okay,
        Frame::Simple(text) => Value::SimpleString(lossy(&text)),
        Frame::Error(text) | Frame::BlobError(text) => error::server_value(&text),
        Frame::Integer(number) => Value::Int(number),
        Frame::Bulk(text) => Value::BulkString(text.into()),
        Frame::Double(number) => Value::Double(number),
        Frame::BigNumber(digits) => big_number(digits),
        Frame::Boolean(truth) => Value::Boolean(truth),
        Frame::Verbatim { format, text } => {
            Value::VerbatimString { format: verbatim_format(format), text: lossy(&text) }
        }
        Frame::Null | Frame::NullBulk | Frame::NullArray => Value::Nil,
        Frame::Array(items) => Value::Array(values(items)),
        Frame::Set(items) => Value::Set(values(items)),
        Frame::Map(items) => Value::Map(pairs(items)),
        Frame::Push(items) => push(items),
        Frame::Attribute { attributes, value: inner } => {
            Value::Attribute { data: Box::new(value(*inner)), attributes: pairs(attributes) }
        }
    }
}

/// The last `count` values of the `offset + count` replies to a pipeline. The reply to the EXEC of a transaction is an error if
/// the transaction was not run.
pub(super) fn of_pipeline(
    mut replies: Replies,
    is_transaction: bool,
    offset: usize,
    count: usize,
) -> Result<Vec<Value>, RedisError> {
    if is_transaction && let Some(exec) = replies.pop() {
        // What the server says about the reply is nothing that the pipeline would look for.
        let exec = exec.without_attributes();
        if exec.is_error() {
            return Err(not_executed(&replies, &exec));
        }
        replies.push(exec);
    }
    Ok(replies.into_iter().skip(offset).take(count).map(value).collect())
}

/// The error of a transaction whose EXEC was answered with `exec`, an error.
fn not_executed(queued: &[Frame], exec: &Frame) -> RedisError {
    let mut text = exec.as_error().map(lossy).unwrap_or_default();
    if let [multi, queued @ ..] = queued {
        if let Some(refusal) = ServerError::from_frame(multi) {
            return Error::NotAtomic(refusal).into();
        }
        for (index, reply) in queued.iter().enumerate() {
            if let Some(error) = ServerError::from_frame(reply) {
                text.push_str(&format!(" (command {index}: {error})"));
            }
        }
    }
    error::server(text.as_bytes())
}

// Loops, because what `collect` needs of the stack counts for each level of nesting.
fn values(items: Vec<Frame>) -> Vec<Value> {
    let mut values = Vec::with_capacity(items.len());
    for item in items {
        values.push(value(item));
    }
    values
}

fn pairs(items: Vec<(Frame, Frame)>) -> Vec<(Value, Value)> {
    let mut pairs = Vec::with_capacity(items.len());
    for (key, item) in items {
        pairs.push((value(key), value(item)));
    }
    pairs
}

fn push(items: Vec<Frame>) -> Value {
    let mut items = items.into_iter();
    let name = items.next().and_then(Frame::into_bytes).unwrap_or_default();
    let head = [b">1\r\n$", name.len().to_string().as_bytes(), b"\r\n", &name, b"\r\n"].concat();
    let kind = match parse_redis_value(&head) {
        Ok(Value::Push { kind, .. }) => kind,
        _ => PushKind::Other(lossy(&name)),
    };
    Value::Push { kind, data: values(items.collect()) }
}

/// Whether it holds digits or a number depends on a feature of the `redis` crate, so only its parser can make it.
fn big_number(digits: Bytes) -> Value {
    let line = [b"(", &digits[..], b"\r\n"].concat();
    parse_redis_value(&line).unwrap_or_else(|_| Value::BulkString(digits.into()))
}

fn verbatim_format(format: [u8; 3]) -> VerbatimFormat {
    match &format {
        b"txt" => VerbatimFormat::Text,
        b"mkd" => VerbatimFormat::Markdown,
        other => VerbatimFormat::Unknown(lossy(other)),
    }
}

fn lossy(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}

#[cfg(test)]
mod tests {
    use redis::{ErrorKind, ServerErrorKind};
    use resp3_codec::{Decoder, Limits};

    use super::*;

    /// The frame in these bytes.
    fn frame(wire: &[u8]) -> Frame {
        let mut decoder = Decoder::new(Limits::default());
        decoder.buffer().extend_from_slice(wire);
        decoder.poll_frame().unwrap().expect("a whole frame")
    }

    fn replies(wire: &[&str]) -> Replies {
        wire.iter().map(|wire| frame(wire.as_bytes())).collect()
    }

    /// Every type of RESP is what the `redis` crate's own parser makes of the same bytes. RULE-193
    #[test]
    fn values_are_those_of_its_own_parser() {
        for wire in [
            "+OK\r\n",
            "+PONG\r\n",
            "+\r\n",
            "-ERR no\r\n",
            "-OOPS\r\n",
            "-MOVED 1 host:6379\r\n",
            "!9\r\nERR a\r\nbc\r\n",
            ":-7\r\n",
            "$2\r\nOK\r\n",
            "$0\r\n\r\n",
            "$-1\r\n",
            "*-1\r\n",
            "_\r\n",
            ",1.5\r\n",
            ",inf\r\n",
            ",-inf\r\n",
            "#t\r\n",
            "#f\r\n",
            "(12345678901234567890123\r\n",
            "(-1\r\n",
            "=7\r\ntxt:abc\r\n",
            "=7\r\nmkd:abc\r\n",
            "=7\r\nxyz:abc\r\n",
            "*3\r\n:1\r\n$1\r\na\r\n*1\r\n+OK\r\n",
            "*0\r\n",
            "*2\r\n:1\r\n-ERR inside\r\n",
            "%2\r\n$1\r\na\r\n:1\r\n$1\r\nb\r\n~1\r\n#t\r\n",
            "~2\r\n:1\r\n:2\r\n",
            ">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n",
            ">1\r\n+message\r\n",
            ">2\r\n$5\r\nother\r\n:1\r\n",
            "|1\r\n+ttl\r\n:3600\r\n$1\r\nv\r\n",
            "*1\r\n|1\r\n+a\r\n:1\r\n:2\r\n",
        ] {
            let theirs = parse_redis_value(wire.as_bytes()).unwrap();
            assert_eq!(value(frame(wire.as_bytes())), theirs, "{wire:?}");
        }
        let Value::Double(nan) = value(frame(b",nan\r\n")) else { panic!("a double") };
        assert!(nan.is_nan());
    }

    /// What its parser would refuse, and with it the connection, is a value all the same. INV-11, RULE-193
    #[test]
    fn what_its_parser_would_refuse_is_a_value() {
        let text = |text: Value| match text {
            Value::SimpleString(text) | Value::VerbatimString { text, .. } => text,
            Value::ServerError(error) => format!("{} {}", error.code(), error.details().unwrap_or_default()),
            other => panic!("{other:?}"),
        };
        assert_eq!(text(value(frame(b"+caf\xe9\r\n"))), "caf\u{fffd}");
        assert_eq!(text(value(frame(b"-ERR caf\xe9\r\n"))), "ERR caf\u{fffd}");
        assert_eq!(text(value(frame(b"=5\r\ntxt:\xe9\r\n"))), "\u{fffd}");
        assert!(matches!(value(Frame::Push(vec![])), Value::Push { .. }));
        assert!(matches!(value(Frame::Push(vec![Frame::Null, Frame::Integer(1)])), Value::Push { .. }));
        let garbage = value(Frame::BigNumber(Bytes::from_static(b"1x")));
        assert!(matches!(garbage, Value::BigNumber(_) | Value::BulkString(_)), "{garbage:?}");

        let nested = (0..512).fold(Frame::Integer(1), |inner, _| Frame::Array(vec![inner]));
        let levels =
            std::iter::successors(Some(&value(nested)), |value| value.as_sequence()?.first()).count();
        assert_eq!(levels, 513);
    }

    /// The replies that were asked for, whatever was sent before them. RULE-194
    #[test]
    fn the_last_replies_are_returned() {
        let three = || replies(&[":1\r\n", "-ERR no\r\n", ":3\r\n"]);
        let all = of_pipeline(three(), false, 0, 3).unwrap();
        assert_eq!((&all[0], &all[2]), (&Value::Int(1), &Value::Int(3)));
        assert!(matches!(&all[1], Value::ServerError(error) if error.code() == "ERR"), "it is in its place");
        assert_eq!(of_pipeline(three(), false, 2, 1).unwrap(), [Value::Int(3)]);
        assert_eq!(of_pipeline(three(), false, 0, 1).unwrap(), [Value::Int(1)]);
        assert_eq!(of_pipeline(three(), false, 3, 2).unwrap(), []);
        assert_eq!(of_pipeline(Replies::new(), true, 1, 1).unwrap(), []);
    }

    /// A discarded EXEC is nil, an error inside one is an element, and one that was not run is an error. RULE-194
    #[test]
    fn the_reply_to_exec_is_what_became_of_the_transaction() {
        let queued = |exec: &str| replies(&["+OK\r\n", "+QUEUED\r\n", "+QUEUED\r\n", exec]);
        for nil in ["_\r\n", "*-1\r\n", "$-1\r\n", "|1\r\n+a\r\n:1\r\n_\r\n"] {
            assert_eq!(of_pipeline(queued(nil), true, 3, 1).unwrap(), [Value::Nil], "{nil:?}");
        }
        let mixed = of_pipeline(queued("|0\r\n*2\r\n:1\r\n-WRONGTYPE no\r\n"), true, 3, 1).unwrap();
        let [Value::Array(elements)] = &mixed[..] else { panic!("{mixed:?}") };
        assert_eq!(elements[0], Value::Int(1));
        assert!(matches!(&elements[1], Value::ServerError(error) if error.code() == "WRONGTYPE"));

        let wire = [
            "+OK\r\n",
            "+QUEUED\r\n",
            "-ERR unknown command 'X'\r\n",
            "-EXECABORT Transaction discarded\r\n",
        ];
        let error = of_pipeline(replies(&wire), true, 3, 1).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Server(ServerErrorKind::ExecAbort));
        let shown = error.to_string();
        assert!(shown.contains("Transaction discarded (command 1: ERR unknown command 'X')"), "{shown}");
        assert_eq!(crate::error::Delivery::of_redis_error(&error), None, "the server has answered");

        let error = of_pipeline(queued("-READONLY replica\r\n"), true, 3, 1).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Server(ServerErrorKind::ReadOnly));

        let refused = ["-NOPERM no\r\n", ":1\r\n", ":2\r\n", "-ERR EXEC without MULTI\r\n"];
        let error = of_pipeline(replies(&refused), true, 3, 1).unwrap_err();
        assert!(error.to_string().contains("refused MULTI: NOPERM no"), "{error}");
        assert_eq!(crate::error::Delivery::of_redis_error(&error), Some(crate::error::Delivery::Unknown));
        assert!(matches!(error.retry_method(), redis::RetryMethod::NoRetry));
    }
}
