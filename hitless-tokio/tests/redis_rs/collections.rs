//! Lists, sets, sorted sets, and places.

use std::collections::{BTreeSet, HashSet};
use std::num::NonZeroUsize;

use redis::geo::{Coord, RadiusOptions, RadiusOrder, RadiusSearchResult, Unit};
use redis::{AsyncCommands, Direction, LposOptions, RedisResult, SortedSetAddOptions};

use crate::hitless::Client;

fn owned<const N: usize>(words: [&str; N]) -> [String; N] {
    words.map(str::to_owned)
}

pub(super) async fn lists(mut con: Client) -> RedisResult<()> {
    let _: () = con.rpush("l", &["b", "c"]).await?;
    let length: usize = con.lpush("l", "a").await?;
    let all: Vec<String> = con.lrange("l", 0, -1).await?;
    let second: String = con.lindex("l", 1).await?;
    assert_eq!((length, all, second.as_str()), (3, owned(["a", "b", "c"]).to_vec(), "b"));
    let first: Option<String> = con.lpop("l", None).await?;
    let rest: Vec<String> = con.rpop("l", NonZeroUsize::new(5)).await?;
    let none: Option<Vec<String>> = con.lpop("l", NonZeroUsize::new(2)).await?;
    assert_eq!((first.as_deref(), rest, none), (Some("a"), owned(["c", "b"]).to_vec(), None));
    Ok(())
}

pub(super) async fn lists_that_are_cut(mut con: Client) -> RedisResult<()> {
    let _: () = con.rpush("l", &[1, 2, 3, 2, 1]).await?;
    let removed: usize = con.lrem("l", 1, 2).await?;
    let _: () = con.ltrim("l", 0, 1).await?;
    let _: () = con.lset("l", 0, 9).await?;
    let left: Vec<u8> = con.lrange("l", 0, -1).await?;
    assert_eq!((removed, left), (1, vec![9, 3]));
    let error = con.lset::<_, _, ()>("l", 7, 1).await.unwrap_err();
    assert!(error.to_string().contains("out of range"), "{error}");
    Ok(())
}

pub(super) async fn moving_between_lists(mut con: Client) -> RedisResult<()> {
    let _: () = con.rpush("todo", &["x", "y"]).await?;
    let moved: String = con.lmove("todo", "done", Direction::Left, Direction::Right).await?;
    let other: String = con.rpoplpush("todo", "done").await?;
    let none: Option<String> = con.rpoplpush("todo", "done").await?;
    assert_eq!((moved.as_str(), other.as_str(), none), ("x", "y", None));
    let popped: Option<(String, Vec<String>)> = con.lmpop(2, &["todo", "done"], Direction::Left, 1).await?;
    assert_eq!(popped, Some(("done".to_owned(), vec!["y".to_owned()])));
    Ok(())
}

pub(super) async fn positions(mut con: Client) -> RedisResult<()> {
    let _: () = con.rpush("l", &["a", "b", "a"]).await?;
    let first: Option<usize> = con.lpos("l", "a", LposOptions::default()).await?;
    let all: Vec<usize> = con.lpos("l", "a", LposOptions::default().count(0)).await?;
    assert_eq!((first, all), (Some(0), vec![0, 2]));
    let length: usize = con.linsert_before("l", "b", "x").await?;
    assert_eq!(length, 4);
    Ok(())
}

pub(super) async fn sets(mut con: Client) -> RedisResult<()> {
    let added: usize = con.sadd("s", &["a", "b", "a"]).await?;
    let members: HashSet<String> = con.smembers("s").await?;
    let list: Vec<String> = con.smembers("s").await?;
    assert_eq!((added, members, list.len()), (2, HashSet::from(owned(["a", "b"])), 2));
    let is_member: bool = con.sismember("s", "a").await?;
    let are_members: Vec<bool> = con.smismember("s", &["a", "x"]).await?;
    let removed: usize = con.srem("s", "a").await?;
    assert_eq!((is_member, are_members, removed), (true, vec![true, false], 1));
    Ok(())
}

pub(super) async fn combining_sets(mut con: Client) -> RedisResult<()> {
    let _: () = con.sadd("a", &[1, 2, 3]).await?;
    let _: () = con.sadd("b", &[3, 4]).await?;
    let both: HashSet<u8> = con.sinter(&["a", "b"]).await?;
    let all: BTreeSet<u8> = con.sunion(&["a", "b"]).await?;
    let count: usize = con.sdiffstore("rest", &["a", "b"]).await?;
    let moved: bool = con.smove("b", "a", 4).await?;
    assert_eq!((both, all, count, moved), (HashSet::from([3]), BTreeSet::from([1, 2, 3, 4]), 2, true));
    Ok(())
}

pub(super) async fn members_by_chance(mut con: Client) -> RedisResult<()> {
    let _: () = con.sadd("s", "only").await?;
    let any: Option<String> = con.srandmember("s").await?;
    let three: Vec<String> = con.srandmember_multiple("s", -3).await?;
    let popped: Option<String> = con.spop("s").await?;
    let none: Option<String> = con.spop("s").await?;
    assert_eq!((any.as_deref(), three.len(), popped.as_deref(), none), (Some("only"), 3, Some("only"), None));
    Ok(())
}

pub(super) async fn sorted_sets(mut con: Client) -> RedisResult<()> {
    let _: () = con.zadd("z", "one", 1).await?;
    let added: usize = con.zadd_multiple("z", &[(2.5, "two"), (3.0, "three")]).await?;
    let names: Vec<String> = con.zrange("z", 0, -1).await?;
    let scored: Vec<(String, f64)> = con.zrange_withscores("z", 0, 1).await?;
    assert_eq!((added, names), (2, owned(["one", "two", "three"]).to_vec()));
    assert_eq!(scored, [("one".to_owned(), 1.0), ("two".to_owned(), 2.5)]);
    let options = SortedSetAddOptions::add_only().include_changed_count();
    let added: usize = con.zadd_options("z", "one", 9, &options).await?;
    assert_eq!(added, 0);
    Ok(())
}

pub(super) async fn ranges_by_score(mut con: Client) -> RedisResult<()> {
    let _: () = con.zadd_multiple("z", &[(1, "a"), (2, "b"), (3, "c")]).await?;
    let some: Vec<String> = con.zrangebyscore("z", 2, "+inf").await?;
    let scored: Vec<(String, usize)> = con.zrangebyscore_withscores("z", "-inf", "(2").await?;
    let limited: Vec<String> = con.zrevrangebyscore_limit("z", 3, 1, 1, 1).await?;
    let count: usize = con.zcount("z", 1, 2).await?;
    let removed: usize = con.zrembyscore("z", 1, 2).await?;
    assert_eq!((some, scored), (owned(["b", "c"]).to_vec(), vec![("a".to_owned(), 1)]));
    assert_eq!((limited, count, removed), (owned(["b"]).to_vec(), 2, 2));
    Ok(())
}

pub(super) async fn ranges_by_name(mut con: Client) -> RedisResult<()> {
    let _: () = con.zadd_multiple("z", &[(0, "a"), (0, "b"), (0, "c")]).await?;
    let some: Vec<String> = con.zrangebylex("z", "[b", "+").await?;
    let count: usize = con.zlexcount("z", "-", "+").await?;
    assert_eq!((some, count), (owned(["b", "c"]).to_vec(), 3));
    Ok(())
}

/// A bulk string in RESP2, a double in RESP3.
pub(super) async fn scores(mut con: Client) -> RedisResult<()> {
    let _: () = con.zadd("z", "a", 1.5).await?;
    let score: f64 = con.zscore("z", "a").await?;
    let none: Option<f64> = con.zscore("z", "none").await?;
    let grown: f64 = con.zincr("z", "a", 0.5).await?;
    let all: Vec<Option<f64>> = con.zscore_multiple("z", &["a", "none"]).await?;
    assert_eq!((score, none, grown, all), (1.5, None, 2.0, vec![Some(2.0), None]));
    let _: () = con.zadd("z", "most", "+inf").await?;
    let endless: f64 = con.zscore("z", "most").await?;
    assert_eq!(endless, f64::INFINITY);
    Ok(())
}

pub(super) async fn ranks(mut con: Client) -> RedisResult<()> {
    let _: () = con.zadd_multiple("z", &[(1, "a"), (2, "b")]).await?;
    let first: Option<usize> = con.zrank("z", "a").await?;
    let last: Option<usize> = con.zrevrank("z", "a").await?;
    let none: Option<usize> = con.zrank("z", "none").await?;
    assert_eq!((first, last, none), (Some(0), Some(1), None));
    Ok(())
}

pub(super) async fn popping_the_smallest(mut con: Client) -> RedisResult<()> {
    let _: () = con.zadd_multiple("z", &[(1, "a"), (2, "b"), (3, "c")]).await?;
    let two: Vec<(String, f64)> = con.zpopmin("z", 2).await?;
    assert_eq!(two, [("a".to_owned(), 1.0), ("b".to_owned(), 2.0)]);
    let popped: Option<(String, Vec<(String, f64)>)> = con.zmpop_max("z", 1).await?;
    assert_eq!(popped, Some(("z".to_owned(), vec![("c".to_owned(), 3.0)])));
    Ok(())
}

pub(super) async fn combining_sorted_sets(mut con: Client) -> RedisResult<()> {
    let _: () = con.zadd_multiple("a", &[(1, "x"), (2, "y")]).await?;
    let _: () = con.zadd_multiple("b", &[(10, "x")]).await?;
    let both: usize = con.zinterstore("both", &["a", "b"]).await?;
    let all: usize = con.zunionstore_weights("all", &[("a", 1), ("b", 2)]).await?;
    let score: f64 = con.zscore("all", "x").await?;
    assert_eq!((both, all, score), (1, 2, 21.0));
    Ok(())
}

pub(super) async fn places(mut con: Client) -> RedisResult<()> {
    let places = [
        (Coord::lon_lat("13.361389", "38.115556"), "Palermo"),
        (Coord::lon_lat("15.087269", "37.502669"), "Catania"),
    ];
    let added: usize = con.geo_add("sicily", &places).await?;
    let distance: Option<f64> = con.geo_dist("sicily", "Palermo", "Catania", Unit::Kilometers).await?;
    assert_eq!((added, distance.map(f64::round)), (2, Some(166.0)));
    let positions: Vec<Option<Coord<f64>>> = con.geo_pos("sicily", &["Palermo", "none"]).await?;
    assert!(
        positions[0].as_ref().is_some_and(|at| (at.longitude - 13.361).abs() < 0.01)
            && positions[1].is_none()
    );
    let options = RadiusOptions::default().with_dist().order(RadiusOrder::Asc);
    let near: Vec<RadiusSearchResult> =
        con.geo_radius("sicily", 15.0, 37.0, 200.0, Unit::Kilometers, options).await?;
    assert_eq!(near.iter().map(|place| place.name.as_str()).collect::<Vec<_>>(), ["Catania", "Palermo"]);
    assert!(near[0].dist.is_some_and(|distance| distance < 60.0));
    Ok(())
}

pub(super) async fn publishing(mut con: Client) -> RedisResult<()> {
    let receivers: usize = con.publish("news", "hello").await?;
    assert_eq!(receivers, 0);
    Ok(())
}
