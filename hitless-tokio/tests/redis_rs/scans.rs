//! Iterators over keys and what they hold.

use std::collections::{BTreeMap, BTreeSet};

use redis::{AsyncCommands, AsyncIter, FromRedisValue, RedisResult, ScanOptions, cmd, pipe};

use crate::hitless::Client;

async fn all<T: FromRedisValue + Ord + Unpin + Send>(
    mut iterator: AsyncIter<'_, T>,
) -> RedisResult<BTreeSet<T>> {
    let mut all = BTreeSet::new();
    while let Some(item) = iterator.next_item().await {
        all.insert(item?);
    }
    Ok(all)
}

async fn fill(con: &mut Client, count: usize) -> RedisResult<BTreeSet<String>> {
    let mut pipeline = pipe();
    let names: BTreeSet<String> = (0..count).map(|number| format!("key:{number}")).collect();
    for name in &names {
        pipeline.set(name, 1);
    }
    pipeline.exec_async(con).await?;
    Ok(names)
}

pub(super) async fn all_keys(mut con: Client) -> RedisResult<()> {
    let names = fill(&mut con, 20).await?;
    assert_eq!(all::<String>(con.scan().await?).await?, names);
    Ok(())
}

pub(super) async fn keys_of_a_pattern(mut con: Client) -> RedisResult<()> {
    fill(&mut con, 20).await?;
    let found: BTreeSet<String> = all(con.scan_match("key:1*").await?).await?;
    assert_eq!(found.len(), 11);
    Ok(())
}

pub(super) async fn keys_of_a_type(mut con: Client) -> RedisResult<()> {
    fill(&mut con, 20).await?;
    let _: () = con.rpush("list", 1).await?;
    let options = ScanOptions::default().with_type("list").with_count(5);
    assert_eq!(all(con.scan_options(options).await?).await?, BTreeSet::from(["list".to_owned()]));
    Ok(())
}

pub(super) async fn fields(mut con: Client) -> RedisResult<()> {
    let _: () = con.hset_multiple("h", &[("a", 1), ("b", 2)]).await?;
    let pairs: BTreeSet<(String, u8)> = all(con.hscan("h").await?).await?;
    assert_eq!(BTreeMap::from_iter(pairs), BTreeMap::from([("a".to_owned(), 1), ("b".to_owned(), 2)]));
    let some: BTreeSet<(String, u8)> = all(con.hscan_match("h", "b*").await?).await?;
    assert_eq!(some.len(), 1);
    Ok(())
}

pub(super) async fn members(mut con: Client) -> RedisResult<()> {
    let _: () = con.sadd("s", &[42, 43]).await?;
    let found: BTreeSet<i32> = all(con.sscan("s").await?).await?;
    assert_eq!(found, BTreeSet::from([42, 43]));
    let some: BTreeSet<i32> = all(con.sscan_match("s", "*3").await?).await?;
    assert_eq!(some, BTreeSet::from([43]));
    Ok(())
}

pub(super) async fn members_with_scores(mut con: Client) -> RedisResult<()> {
    let _: () = con.zadd_multiple("z", &[(1, "a"), (2, "b")]).await?;
    let found: BTreeSet<(String, u8)> = all(con.zscan("z").await?).await?;
    assert_eq!(found, BTreeSet::from([("a".to_owned(), 1), ("b".to_owned(), 2)]));
    Ok(())
}

pub(super) async fn a_cursor_by_hand(mut con: Client) -> RedisResult<()> {
    let names = fill(&mut con, 30).await?;
    let mut cursor = 0_u64;
    let mut found = BTreeSet::new();
    loop {
        let (next, page): (u64, Vec<String>) =
            cmd("SCAN").arg(cursor).arg("COUNT").arg(7).query_async(&mut con).await?;
        found.extend(page);
        cursor = next;
        if cursor == 0 {
            break;
        }
    }
    assert_eq!(found, names);
    Ok(())
}

pub(super) async fn more_than_one_page(mut con: Client) -> RedisResult<()> {
    let names = fill(&mut con, 1000).await?;
    let mut command = cmd("SCAN");
    command.cursor_arg(0).arg("COUNT").arg(50);
    let iterator: AsyncIter<'_, String> = command.iter_async(&mut con).await?;
    assert_eq!(all(iterator).await?, names);
    let keys: AsyncIter<'_, String> = cmd("KEYS").arg("key:99*").clone().iter_async(&mut con).await?;
    assert_eq!(all(keys).await?.len(), 11, "what is no cursor is one page");
    Ok(())
}
