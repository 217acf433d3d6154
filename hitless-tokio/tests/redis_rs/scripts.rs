//! Scripts.

use redis::{AsyncCommands, ErrorKind, RedisResult, Script, ServerErrorKind, Value, cmd, pipe};

use crate::hitless::Client;

pub(super) async fn a_sum(mut con: Client) -> RedisResult<()> {
    let script = Script::new("return tonumber(ARGV[1]) + tonumber(ARGV[2])");
    let sum: i64 = script.arg(1).arg(2).invoke_async(&mut con).await?;
    assert_eq!(sum, 3);
    Ok(())
}

pub(super) async fn keys_and_arguments(mut con: Client) -> RedisResult<()> {
    let script = Script::new("redis.call('SET', KEYS[1], ARGV[1]) return redis.call('GET', KEYS[1])");
    let value: String = script.key("k").arg("v").invoke_async(&mut con).await?;
    assert_eq!(value, "v");
    let kept: String = con.get("k").await?;
    assert_eq!(kept, "v");
    Ok(())
}

/// EVALSHA is answered with NOSCRIPT, the script is loaded, and EVALSHA is sent again.
pub(super) async fn a_script_that_is_not_loaded_yet(mut con: Client) -> RedisResult<()> {
    let script = Script::new("return 'fresh'");
    let sent = cmd("EVALSHA").arg(script.get_hash()).arg(0).query_async::<Value>(&mut con).await;
    assert_eq!(sent.unwrap_err().kind(), ErrorKind::Server(ServerErrorKind::NoScript));
    let first: String = script.invoke_async(&mut con).await?;
    let () = cmd("SCRIPT").arg("FLUSH").query_async(&mut con).await?;
    let again: String = script.invoke_async(&mut con).await?;
    assert_eq!((first.as_str(), again.as_str()), ("fresh", "fresh"));
    Ok(())
}

pub(super) async fn loading_first(mut con: Client) -> RedisResult<()> {
    let script = Script::new("return {KEYS[1], ARGV[1]}");
    let hash = script.load_async(&mut con).await?;
    assert_eq!(hash, script.get_hash());
    let exists: Vec<bool> = cmd("SCRIPT").arg("EXISTS").arg(&hash).query_async(&mut con).await?;
    assert_eq!(exists, [true]);
    let mut invocation = script.prepare_invoke();
    let both: (String, u8) = invocation.key("k").arg(7).invoke_async(&mut con).await?;
    assert_eq!(both, ("k".to_owned(), 7));
    Ok(())
}

pub(super) async fn a_table(mut con: Client) -> RedisResult<()> {
    let script = Script::new("return {1, {'a', 'b'}, false, redis.status_reply('OK')}");
    let table: (u8, Vec<String>, Option<String>, bool) = script.invoke_async(&mut con).await?;
    assert_eq!(table, (1, vec!["a".to_owned(), "b".to_owned()], None, true));
    Ok(())
}

pub(super) async fn a_script_in_a_pipeline(mut con: Client) -> RedisResult<()> {
    let script = Script::new("return redis.call('INCRBY', KEYS[1], ARGV[1])");
    let mut invocation = script.prepare_invoke();
    invocation.key("n").arg(5);
    let (loaded, n): (String, u8) =
        pipe().load_script(&script).invoke_script(&invocation).query_async(&mut con).await?;
    assert_eq!((loaded.as_str(), n), (script.get_hash(), 5));
    Ok(())
}

/// In a pipeline nothing is loaded by itself: the error says so, in its place, and those around it ran.
pub(super) async fn a_script_in_a_pipeline_that_is_not_loaded(mut con: Client) -> RedisResult<()> {
    let script = Script::new("return redis.call('INCR', KEYS[1]) + 100");
    let mut invocation = script.prepare_invoke();
    invocation.key("n");
    for is_atomic in [false, true] {
        let mut pipeline = pipe();
        if is_atomic {
            pipeline.atomic();
        }
        pipeline.incr("n", 1).ignore().invoke_script(&invocation);
        cmd("SCRIPT").arg("FLUSH").exec_async(&mut con).await?;
        let error = pipeline.query_async::<(u8,)>(&mut con).await.unwrap_err();
        let errors = error.into_server_errors().unwrap();
        assert_eq!((errors[0].0, errors[0].1.kind()), (1, Some(ServerErrorKind::NoScript)));
        script.load_async(&mut con).await?;
        let before: u8 = con.get("n").await?;
        let (n,): (u8,) = pipeline.query_async(&mut con).await?;
        assert_eq!(n, before + 102);
    }
    Ok(())
}

pub(super) async fn errors_of_scripts(mut con: Client) -> RedisResult<()> {
    let script = Script::new("return redis.error_reply('MINE went wrong')");
    let error = script.invoke_async::<_, ()>(&mut con).await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Extension, Some("MINE")));
    assert_eq!(error.detail(), Some("went wrong"));
    let inside = Script::new("return {1, redis.error_reply('MINE inside')}");
    let error = inside.invoke_async::<_, Vec<Value>>(&mut con).await.unwrap_err();
    assert_eq!(error.code(), Some("MINE"), "an error inside a reply is the error");
    Ok(())
}

/// A script may have its own replies of RESP3; a client that speaks RESP2 gets what they are there.
pub(super) async fn what_resp3_has_more(mut con: Client) -> RedisResult<()> {
    let hello: Value = cmd("CLIENT").arg("INFO").query_async(&mut con).await?;
    let is_resp3 = matches!(hello, Value::VerbatimString { .. });
    let reply = |what: &str| format!("redis.setresp(3) return {what}");
    let truth: Value = Script::new(&reply("true")).invoke_async(&mut con).await?;
    let number: Value = Script::new(&reply("{double = 1.5}")).invoke_async(&mut con).await?;
    let big: Value =
        Script::new(&reply("{big_number = '12345678901234567890'}")).invoke_async(&mut con).await?;
    let map: Value = Script::new(&reply("{map = {a = 1}}")).invoke_async(&mut con).await?;
    let set: Value = Script::new(&reply("{set = {a = true}}")).invoke_async(&mut con).await?;
    let a = || Value::BulkString(b"a".to_vec());
    if is_resp3 {
        assert_eq!((truth, number), (Value::Boolean(true), Value::Double(1.5)));
        assert!(matches!(big, Value::BigNumber(_)), "{big:?}");
        assert_eq!((map, set), (Value::Map(vec![(a(), Value::Int(1))]), Value::Set(vec![a()])));
    } else {
        assert_eq!((truth, number), (Value::Int(1), Value::BulkString(b"1.5".to_vec())));
        assert_eq!(big, Value::BulkString(b"12345678901234567890".to_vec()));
        assert_eq!((map, set), (Value::Array(vec![a(), Value::Int(1)]), Value::Array(vec![a()])));
    }
    Ok(())
}
