//! Users and their rights.

use redis::acl::Rule;
use redis::{AsyncCommands, RedisResult};

use crate::hitless::Client;

pub(super) async fn users(mut con: Client) -> RedisResult<()> {
    let me: String = con.acl_whoami().await?;
    let rules = [
        Rule::On,
        Rule::AddPass("secret".to_owned()),
        Rule::Pattern("cache:*".to_owned()),
        Rule::AddCategory("read".to_owned()),
    ];
    let () = con.acl_setuser_rules("ann", &rules).await?;
    let users: Vec<String> = con.acl_users().await?;
    assert_eq!((me.as_str(), users.len()), ("default", 2));
    let may: String = con.acl_dryrun("ann", "GET", "cache:1").await?;
    let may_not: String = con.acl_dryrun("ann", "SET", &["cache:1", "x"]).await?;
    assert!(may == "OK" && may_not.contains("no permissions"), "{may} {may_not}");
    let deleted: usize = con.acl_deluser(&["ann"]).await?;
    assert_eq!(deleted, 1);
    Ok(())
}

/// Pairs in RESP2, a map in RESP3.
pub(super) async fn rights_of_a_user(mut con: Client) -> RedisResult<()> {
    let () =
        con.acl_setuser_rules("bob", &[Rule::On, Rule::NoPass, Rule::AllCommands, Rule::AllKeys]).await?;
    let bob: Vec<(String, redis::Value)> = con.acl_getuser("bob").await?;
    assert!(bob.iter().any(|(name, _)| name == "flags"), "{bob:?}");
    let nobody: Option<Vec<(String, redis::Value)>> = con.acl_getuser("nobody").await?;
    assert_eq!(nobody, None);
    let scripting: Vec<String> = con.acl_cat_categoryname("scripting").await?;
    assert!(scripting.contains(&"evalsha".to_owned()), "{scripting:?}");
    Ok(())
}
