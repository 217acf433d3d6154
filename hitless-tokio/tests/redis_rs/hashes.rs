//! Hashes: arrays in RESP2, maps in RESP3.

use std::collections::{BTreeMap, HashMap};

use redis::{AsyncCommands, RedisResult};

use crate::hitless::Client;

pub(super) async fn one_field_and_all(mut con: Client) -> RedisResult<()> {
    let _: () = con.hset("user", "name", "Ada").await?;
    let added: usize = con.hset("user", "age", 36).await?;
    let name: String = con.hget("user", "name").await?;
    assert_eq!((added, name.as_str()), (1, "Ada"));
    let all: HashMap<String, String> = con.hgetall("user").await?;
    assert_eq!(
        all,
        HashMap::from([("name", "Ada"), ("age", "36")].map(|(k, v)| (k.to_owned(), v.to_owned())))
    );
    let pairs: Vec<(String, String)> = con.hgetall("user").await?;
    assert_eq!(pairs.len(), 2);
    let none: HashMap<String, String> = con.hgetall("none").await?;
    assert!(none.is_empty());
    Ok(())
}

pub(super) async fn many_fields(mut con: Client) -> RedisResult<()> {
    let _: () = con.hset_multiple("h", &[("a", 1), ("b", 2)]).await?;
    let some: Vec<Option<u8>> = con.hmget("h", &["a", "none", "b"]).await?;
    assert_eq!(some, [Some(1), None, Some(2)]);
    let length: usize = con.hlen("h").await?;
    let deleted: usize = con.hdel("h", &["a", "b", "none"]).await?;
    assert_eq!((length, deleted), (2, 2));
    Ok(())
}

pub(super) async fn counters_in_a_hash(mut con: Client) -> RedisResult<()> {
    let one: i64 = con.hincr("h", "n", 1).await?;
    let half: f64 = con.hincr("h", "f", 0.5).await?;
    assert_eq!((one, half), (1, 0.5));
    let fresh: bool = con.hset_nx("h", "n", 7).await?;
    assert!(!fresh);
    Ok(())
}

pub(super) async fn fields_and_values_alone(mut con: Client) -> RedisResult<()> {
    let _: () = con.hset("h", "field", "value").await?;
    let fields: Vec<String> = con.hkeys("h").await?;
    let values: Vec<String> = con.hvals("h").await?;
    let exists: bool = con.hexists("h", "field").await?;
    assert_eq!((fields[0].as_str(), values[0].as_str(), exists), ("field", "value", true));
    Ok(())
}

pub(super) async fn a_struct_out_of_a_hash(mut con: Client) -> RedisResult<()> {
    #[derive(Debug, PartialEq)]
    struct User {
        name: String,
        age: u8,
    }
    impl redis::FromRedisValue for User {
        fn from_redis_value(value: redis::Value) -> Result<Self, redis::ParsingError> {
            let fields: BTreeMap<String, String> = redis::from_redis_value(value)?;
            let age = fields.get("age").and_then(|age| age.parse().ok()).ok_or("no age")?;
            Ok(Self { name: fields.get("name").cloned().ok_or("no name")?, age })
        }
    }
    let _: () = con.hset_multiple("u", &[("name", "Ada"), ("age", "36")]).await?;
    let user: User = con.hgetall("u").await?;
    assert_eq!(user, User { name: "Ada".to_owned(), age: 36 });
    let error = con.hgetall::<_, User>("none").await.unwrap_err();
    assert!(error.to_string().contains("no age"), "{error}");
    Ok(())
}

/// Flat in RESP2, pairs in RESP3.
pub(super) async fn random_fields(mut con: Client) -> RedisResult<()> {
    let _: () = con.hset_multiple("h", &[("a", 1), ("b", 2)]).await?;
    let mut command = redis::cmd("HRANDFIELD");
    command.arg("h").arg(2).arg("WITHVALUES");
    let mut pairs: Vec<(String, u8)> = command.query_async(&mut con).await?;
    pairs.sort();
    assert_eq!(pairs, [("a".to_owned(), 1), ("b".to_owned(), 2)]);
    Ok(())
}
