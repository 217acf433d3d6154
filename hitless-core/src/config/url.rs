//! URLs as redis-rs users write them.

use std::path::Path;
use std::sync::Arc;

use super::{ConfigBuilder, ConfigError, Credentials, Protocol, Secret};
use crate::endpoint::Endpoint;

const DEFAULT_PORT: u16 = 6379;

pub(super) fn parse(url: &str) -> Result<ConfigBuilder, ConfigError> {
    let (scheme, rest) = url.split_once("://").ok_or_else(|| ConfigError::Scheme(scheme_of(url)))?;
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let mut builder = match scheme {
        "redis" | "valkey" => tcp(rest)?,
        "unix" | "redis+unix" | "valkey+unix" => unix(rest)?,
        "rediss" | "valkeys" => return Err(ConfigError::TlsNotBuilt),
        other => return Err(ConfigError::Scheme(other.into())),
    };
    let mut user = None;
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        match key {
            "protocol" => builder.protocol = protocol(value)?,
            "db" => builder.database = database(value)?,
            "user" => user = Some(decode("user", value)?),
            "pass" => {
                builder.credentials =
                    Some(Credentials { user: None, password: Secret::from(decode("password", value)?) });
            }
            "client_name" => builder = builder.client_name(&decode("client_name", value)?),
            _ => return Err(wrong("query", "a parameter is unknown")),
        }
    }
    if let Some(user) = user {
        match &mut builder.credentials {
            Some(credentials) => credentials.user = Some(user.into()),
            None => return Err(wrong("query", "a user without a password")),
        }
    }
    Ok(builder)
}

/// What stands where the scheme should be, without anything that may be a secret.
fn scheme_of(url: &str) -> String {
    url.split([':', '/', '@']).next().unwrap_or_default().chars().take(16).collect()
}

fn tcp(rest: &str) -> Result<ConfigBuilder, ConfigError> {
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    // The last `@`: a password may hold one that its owner forgot to encode.
    let (userinfo, address) = match authority.rsplit_once('@') {
        Some((userinfo, address)) => (Some(userinfo), address),
        None => (None, authority),
    };
    let address = if address.is_empty() { "127.0.0.1" } else { address };
    let mut builder = ConfigBuilder::new(Endpoint::parse(address, DEFAULT_PORT)?);
    if let Some(userinfo) = userinfo.filter(|userinfo| !userinfo.is_empty()) {
        builder.credentials = Some(credentials(userinfo)?);
    }
    let path = path.trim_end_matches('/');
    if !path.is_empty() {
        builder.database = database(path)?;
    }
    Ok(builder)
}

fn unix(path: &str) -> Result<ConfigBuilder, ConfigError> {
    if !path.starts_with('/') {
        return Err(wrong("path", "a unix socket needs an absolute path, as in unix:///run/redis.sock"));
    }
    let path = decode("path", path)?;
    Ok(ConfigBuilder::new(Endpoint::Unix(Arc::from(Path::new(&path)))))
}

fn credentials(userinfo: &str) -> Result<Credentials, ConfigError> {
    let Some((user, password)) = userinfo.split_once(':') else {
        return Err(wrong("user", "a user without a password: write user:password@ or :password@"));
    };
    let user = decode("user", user)?;
    Ok(Credentials {
        user: (!user.is_empty()).then(|| user.into()),
        password: Secret::from(decode("password", password)?),
    })
}

fn database(text: &str) -> Result<u32, ConfigError> {
    text.parse().map_err(|_| wrong("database", "it must be a number"))
}

fn protocol(text: &str) -> Result<Protocol, ConfigError> {
    match text {
        "2" | "resp2" => Ok(Protocol::Resp2),
        "3" | "resp3" => Ok(Protocol::Resp3),
        _ => Err(wrong("protocol", "it must be 2, 3, resp2 or resp3")),
    }
}

fn decode(part: &'static str, text: &str) -> Result<String, ConfigError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |at: usize| tail.get(at).and_then(|&byte| char::from(byte).to_digit(16));
        let (Some(high), Some(low)) = (digit(0), digit(1)) else {
            return Err(wrong(part, "a % must be followed by two hexadecimal digits"));
        };
        // Two hexadecimal digits fit a byte.
        bytes.push((high * 16 + low) as u8);
        rest = &tail[2..];
    }
    String::from_utf8(bytes).map_err(|_| wrong(part, "it is not UTF-8"))
}

fn wrong(part: &'static str, problem: &'static str) -> ConfigError {
    ConfigError::Url { part, problem }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_as_users_write_them() {
        let config = parse("redis://ann:p%40ss:word@[::1]:6380/5?protocol=resp2&client_name=x")
            .unwrap()
            .build()
            .unwrap();
        assert_eq!(config.endpoint().to_string(), "[::1]:6380");
        assert_eq!(config.credentials().unwrap().user.as_deref(), Some("ann"));
        assert_eq!(config.credentials().unwrap().password.expose(), "p@ss:word");
        assert_eq!(
            (config.database(), config.protocol(), config.client_name()),
            (5, Protocol::Resp2, Some("x"))
        );

        let config = parse("redis://:secret@redis.example.com").unwrap().build().unwrap();
        assert_eq!(config.endpoint().to_string(), "redis.example.com:6379");
        assert_eq!(config.credentials().unwrap().user, None);

        let config = parse("unix:///run/redis.sock?db=3&user=ann&pass=x").unwrap().build().unwrap();
        assert_eq!(config.endpoint(), &Endpoint::Unix(Arc::from(Path::new("/run/redis.sock"))));
        assert_eq!(config.database(), 3);
        assert_eq!(config.credentials().unwrap().user.as_deref(), Some("ann"));
    }

    #[test]
    fn a_wrong_url_names_the_part_and_never_the_password() {
        for (url, part) in [
            ("secret@host", "scheme"),
            ("http://h", "scheme"),
            ("redis://user-only@h", "user"),
            ("redis://:secret@h/notanumber", "database"),
            ("redis://:secr%zzet@h", "password"),
            ("redis://:secret@h:99999", "address"),
            ("redis://h?nosuch=1", "query"),
            ("redis://h?protocol=4", "protocol"),
            ("unix://relative", "path"),
        ] {
            let text = parse(url).unwrap_err().to_string();
            assert!(text.contains(part), "{url}: {text}");
            assert!(!text.contains("secr") || url.starts_with("secret@"), "{url}: {text}");
        }
    }
}
