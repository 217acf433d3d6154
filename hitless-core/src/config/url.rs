//! URLs as redis-rs users write them.

use std::path::Path;
use std::sync::Arc;

use super::{ConfigBuilder, ConfigError, Credentials, Protocol, Secret, WhenDisconnected};
use crate::endpoint::Endpoint;

const DEFAULT_PORT: u16 = 6379;
const INSECURE: &str = "#insecure, which switches verification off, is not supported: to trust an authority of your own, leave \
                        it out and set `Tls::builder().roots(..)`; for tests there is `dangerous_accept_any_server()`";
const FRAGMENT: &str = "a # ends a URL: leave out what begins there (#insecure is about TLS, which redis:// has not); \
                        inside user and password, write # as %23";
const TWO_PLACES: &str =
    "the database stands behind the host and in db=, and they differ: write it in one place";
const TWO_USERS: &str =
    "user or password stand in front of the host and behind the ?, and differ: write them in one place";

pub(super) fn parse(url: &str) -> Result<ConfigBuilder, ConfigError> {
    // What was read from a file ends with its line, and may begin with a byte order mark.
    let url = url.trim_matches(|char: char| char.is_whitespace() || char == '\u{feff}');
    let (scheme, rest) = url.split_once(':').ok_or(ConfigError::Scheme)?;
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let builder = match (scheme.to_ascii_lowercase().as_str(), place.strip_prefix("//")) {
        ("redis" | "valkey", Some(place)) => tcp(place, query)?,
        ("unix" | "redis+unix" | "valkey+unix", path) => unix(path.unwrap_or(place))?,
        ("rediss" | "valkeys", Some(_)) if url.ends_with("#insecure") => return Err(wrong("end", INSECURE)),
        // The condition leaves something for the arm behind this one.
        #[cfg(feature = "tls")]
        ("rediss" | "valkeys", Some(place)) if cfg!(feature = "tls") => {
            tcp(place, query)?.tls(super::Tls::default())
        }
        ("rediss" | "valkeys", Some(_)) => return Err(ConfigError::TlsNotBuilt),
        (scheme, slashes) => return Err(unknown(scheme, slashes.is_some())),
    };
    let has_database = builder.endpoint.host().is_some()
        && place.trim_end_matches('/').trim_start_matches('/').contains('/');
    with_parameters(builder, query, has_database)
}

/// The error of a scheme, in small letters, that this client does not speak.
fn unknown(scheme: &str, has_slashes: bool) -> ConfigError {
    let problem = match (scheme, scheme.rsplit(['+', '-']).next(), has_slashes) {
        ("redis" | "rediss" | "valkey" | "valkeys", _, false) => {
            "two slashes follow it, as in redis://user:password@host:port"
        }
        (_, Some("sentinel"), true) => {
            "no Sentinel is asked: write the server, or a name that leads to it, as in redis://host:port"
        }
        (_, Some("cluster"), true) => {
            "a cluster has no scheme of its own: open a `ClusterClient` at redis://host:port"
        }
        (_, Some("socket"), true) => "a unix socket is written as in unix:///path/to/socket",
        _ => return ConfigError::Scheme,
    };
    wrong("scheme", problem)
}

/// `has_database`: the URL has one in front of its parameters.
fn with_parameters(
    mut builder: ConfigBuilder,
    query: &str,
    has_database: bool,
) -> Result<ConfigBuilder, ConfigError> {
    let (before, mut seen) =
        ((has_database.then_some(builder.database), builder.credentials.clone()), Vec::new());
    let mut user = None;
    let mut has_password = false;
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        if pair.ends_with("#insecure") || (pair.contains('#') && !matches!(key, "user" | "pass")) {
            return Err(wrong("end", FRAGMENT));
        }
        let is_list = key == "addr";
        if !is_list && seen.iter().any(|(known, other)| *known == key && *other != value) {
            return Err(wrong("query", "a parameter is there twice, and the values differ: write it once"));
        }
        seen.push((key, value));
        match key {
            "protocol" => builder.protocol = protocol(value)?,
            "db" => builder.database = database(value)?,
            "user" => user = Some(decode("user", value)?),
            "pass" => {
                has_password = true;
                let password = Secret::from(decode("password", value)?);
                let user = builder.credentials.and_then(|before| before.user);
                builder.credentials = Some(Credentials { user, password });
            }
            "client_info" => builder.client_info = truth("client_info", value)?,
            "client_name" => builder = builder.client_name(&decode("client_name", value)?),
            "when_disconnected" => builder.when_disconnected = when_disconnected(value)?,
            // What follows the @ of a password may look like it.
            "addr" if !has_password && !query.contains('@') => {
                builder.further_seeds.push(Endpoint::parse(&decode("addr", value)?, DEFAULT_PORT)?);
            }
            // This may be a part of a password that holds an & or a ?, and so it is not repeated.
            _ if has_password || query.contains('@') || !pair.contains('=') || !is_plain(key) => {
                let problem = "a parameter is unknown (known are protocol, db, user, pass, client_name, client_info and when_disconnected, for a cluster also addr); \
                               inside a password, write & as %26 and ? as %3F";
                return Err(wrong("query", problem));
            }
            _ => return Err(ConfigError::Parameter(key.into())),
        }
    }
    if let Some(user) = user {
        match &mut builder.credentials {
            Some(credentials) => credentials.user = Some(user.into()),
            None => return Err(wrong("query", "a user without a password: write user=..&pass=..")),
        }
    }
    let (database, credentials) = before;
    if database.is_some_and(|database| database != builder.database) {
        return Err(wrong("database", TWO_PLACES));
    }
    match (credentials, &builder.credentials) {
        (Some(before), Some(now)) if before.is_contradicted_by(now) => Err(wrong("query", TWO_USERS)),
        _ => Ok(builder),
    }
}

impl Credentials {
    /// Whether a later part of the URL says something else.
    fn is_contradicted_by(&self, later: &Self) -> bool {
        self.password != later.password || (self.user.is_some() && self.user != later.user)
    }
}

fn tcp(place: &str, query: &str) -> Result<ConfigBuilder, ConfigError> {
    let (authority, path) = place.split_once('/').unwrap_or((place, ""));
    // The last `@`: a password may hold one that its owner forgot to encode.
    let (userinfo, address) = match authority.rsplit_once('@') {
        Some((userinfo, address)) => (Some(userinfo), address),
        None => (None, authority),
    };
    // Behind a / or a ?, an `@` says that what seems to be the host is the beginning of a password.
    let problem = "the host ends at a / or a ?; inside a password, write / as %2F and ? as %3F";
    let cut = |error| if query.contains('@') { wrong("address", problem) } else { error };
    if path.contains('@') {
        return Err(wrong("address", problem));
    }
    if address.contains('#') || path.contains('#') {
        return Err(cut(wrong("end", FRAGMENT)));
    }
    if address.contains(',') {
        let problem = "it is a list: write one server, or a name that leads to all of them; a `ClusterClient` takes a URL for each server";
        return Err(cut(wrong("address", problem)));
    }
    if address.contains('%') {
        let problem =
            "a zone, as in fe80::1%eth0, is not supported; write an address that needs none, or a host name";
        return Err(cut(wrong("address", problem)));
    }
    let address = if address.is_empty() { "127.0.0.1" } else { address };
    let endpoint = Endpoint::parse(address, DEFAULT_PORT).map_err(|error| cut(error.into()))?;
    let mut builder = ConfigBuilder::new(endpoint);
    if let Some(userinfo) = userinfo.filter(|userinfo| !userinfo.is_empty()) {
        builder.credentials = Some(credentials(userinfo)?);
    }
    let path = path.trim_end_matches('/');
    if !path.is_empty() {
        builder.database = database(path)?;
    }
    Ok(builder)
}

/// Whether a parameter could have this name.
fn is_plain(key: &str) -> bool {
    key.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'_'))
}

fn unix(path: &str) -> Result<ConfigBuilder, ConfigError> {
    let is_absolute = path.starts_with('/');
    let has_userinfo = match path.split_once('@') {
        None => false,
        Some(_) if !is_absolute => true,
        // An @ may also be a part of a name, as in /run/redis@1.sock.
        Some((before, behind)) => before.contains(':') || behind.starts_with('/'),
    };
    if has_userinfo {
        let problem = "user and password of a unix socket stand behind it, as in unix:///run/redis.sock?user=..&pass=..; \
                       inside a path, write @ as %40";
        return Err(wrong("path", problem));
    }
    if !is_absolute {
        return Err(wrong("path", "a unix socket needs an absolute path, as in unix:///run/redis.sock"));
    }
    if path.ends_with("#insecure") {
        return Err(wrong("end", FRAGMENT));
    }
    let path = decode("path", path)?;
    Ok(ConfigBuilder::new(Endpoint::Unix(Arc::from(Path::new(&path)))))
}

fn credentials(userinfo: &str) -> Result<Credentials, ConfigError> {
    let Some((user, password)) = userinfo.split_once(':') else {
        return Err(wrong(
            "user",
            "a user without a password: write user:password@ or :password@, and user:@ where it is empty",
        ));
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

fn truth(part: &'static str, text: &str) -> Result<bool, ConfigError> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(wrong(part, "it must be true or false")),
    }
}

fn when_disconnected(text: &str) -> Result<WhenDisconnected, ConfigError> {
    match text {
        "wait" => Ok(WhenDisconnected::Wait),
        "fail" => Ok(WhenDisconnected::Fail),
        _ => Err(wrong("when_disconnected", "it must be wait or fail")),
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
        let config =
            parse("redis://ann:p%40ss:word@[::1]:6380/5?protocol=resp2&client_name=x&client_info=false")
                .unwrap()
                .build()
                .unwrap();
        assert_eq!(config.endpoint().to_string(), "[::1]:6380");
        assert_eq!(config.credentials().unwrap().user.as_deref(), Some("ann"));
        assert_eq!(config.credentials().unwrap().password.expose(), "p@ss:word");
        assert_eq!(
            (config.database(), config.protocol(), config.client_name(), config.client_info()),
            (5, Protocol::Resp2, Some("x"), false)
        );

        let config = parse("redis://:secret@redis.example.com").unwrap().build().unwrap();
        assert_eq!(config.endpoint().to_string(), "redis.example.com:6379");
        assert_eq!(config.credentials().unwrap().user, None);

        let config = parse("unix:///run/redis.sock?db=3&user=ann&pass=x").unwrap().build().unwrap();
        assert_eq!(config.endpoint(), &Endpoint::Unix(Arc::from(Path::new("/run/redis.sock"))));
        assert_eq!(config.database(), 3);
        assert_eq!(config.credentials().unwrap().user.as_deref(), Some("ann"));
    }

    /// go-redis names the servers of a cluster in one URL. A client of one server does not take the first of them for all. RULE-366
    #[test]
    fn further_servers_of_a_cluster_stand_behind_the_first() {
        let builder =
            parse("redis://u:p@10.0.0.1:7000?addr=10.0.0.2:7001&addr=h&client_name=x&addr=[::1]:3").unwrap();
        let further: Vec<String> = builder.further_seeds.iter().map(ToString::to_string).collect();
        assert_eq!(further, ["10.0.0.2:7001", "h:6379", "[::1]:3"]);
        let error = builder.clone().build().unwrap_err();
        assert!(error.to_string().contains("ClusterClient"), "{error}");
        for url in ["redis://h?addr=", "redis://h?addr=h:0", "redis://h?addr=a b", "redis://h?pass=x&addr=h"]
        {
            assert!(parse(url).is_err(), "{url}");
        }
    }

    /// What users of other clients have in their settings: Unix sockets of each scheme with database, user and password, percent-encoded
    /// where they must be, and `?protocol=` everywhere. RULE-122
    #[test]
    fn urls_as_users_of_other_clients_write_them() {
        let said = |url: &str| {
            let config = parse(url).unwrap().build().unwrap();
            let credentials = config
                .credentials()
                .map(|it| format!("{}:{}", it.user.as_deref().unwrap_or("default"), it.password.expose()));
            let credentials = credentials.unwrap_or_default();
            format!("{} {credentials} {} {:?}", config.endpoint(), config.database(), config.protocol())
        };
        for scheme in ["unix", "redis+unix", "valkey+unix", "VALKEY+UNIX"] {
            let url =
                format!("{scheme}:///run/my%20redis.sock?db=7&user=an%26n&pass=p%3Ds%25&protocol=resp2");
            assert_eq!(said(&url), "unix:/run/my redis.sock an&n:p=s% 7 Resp2");
        }
        for (url, expected) in [
            ("redis://h", "h:6379  0 Resp3"),
            ("redis://h?protocol=2", "h:6379  0 Resp2"),
            ("valkey://h/?protocol=resp3", "h:6379  0 Resp3"),
            ("valkey://a%3An:%3A%40%2F@h:1/15?protocol=2", "h:1 a:n::@/ 15 Resp2"),
            ("redis://:p@[::1]/1", "[::1]:6379 default:p 1 Resp3"),
            ("redis://", "127.0.0.1:6379  0 Resp3"),
            ("unix:/s?pass=p", "unix:/s default:p 0 Resp3"),
        ] {
            assert_eq!(said(url), expected, "{url}");
        }
        #[cfg(feature = "tls")]
        for scheme in ["rediss", "valkeys"] {
            let url = format!("{scheme}://ann:x@h:6380/2?protocol=3");
            assert_eq!(said(&url), "h:6380 ann:x 2 Resp3");
        }
    }

    /// What a file holds ends with a line end, schemes have no case, and a path needs no authority. RULE-122
    #[test]
    fn spellings_that_mean_the_same_are_the_same() {
        let endpoint = |url: &str| parse(url).unwrap().build().unwrap().endpoint().to_string();
        for url in [
            "REDIS://h",
            "Redis://h",
            "VALKEY://h",
            "valkey://h",
            "redis://h\n",
            "redis://h\r\n",
            " redis://h/\t",
            "\u{feff}redis://h",
        ] {
            assert_eq!(endpoint(url), "h:6379", "{url:?}");
        }
        for url in [
            "unix:/run/redis.sock",
            "unix:///run/redis.sock",
            "UNIX:///run/redis.sock\n",
            "redis+unix:/run/redis.sock",
            "valkey+unix:///run/redis.sock",
        ] {
            assert_eq!(endpoint(url), "unix:/run/redis.sock", "{url:?}");
        }
        assert_eq!(endpoint("unix:///run/redis@1.sock"), "unix:/run/redis@1.sock");
        assert_eq!(endpoint("unix:///run/a%40/b:c.sock"), "unix:/run/a@/b:c.sock");
        assert_eq!(parse("unix:/run/redis.sock?db=3\n").unwrap().build().unwrap().database(), 3);
        let config = parse("redis://:secret@h\n").unwrap().build().unwrap();
        assert_eq!(config.credentials().unwrap().password.expose(), "secret");
        // What is said twice is said once.
        let config = parse("redis://ann:x@h/3?db=3&user=ann&pass=x&db=3").unwrap().build().unwrap();
        assert_eq!((config.database(), config.credentials().unwrap().user.as_deref()), (3, Some("ann")));
        let config = parse("redis://:x@h?user=ann").unwrap().build().unwrap();
        assert_eq!(config.credentials().unwrap().user.as_deref(), Some("ann"));
        let config = parse("unix:///run/redis.sock?db=3&pass=a#b").unwrap().build().unwrap();
        assert_eq!((config.database(), config.credentials().unwrap().password.expose()), (3, "a#b"));
    }

    /// Each error says what to write instead, and repeats nothing that could be a secret, wherever that stands. RULE-122
    #[test]
    fn a_wrong_url_gets_an_error_that_says_what_to_write_and_no_secret() {
        for (url, help) in [
            ("secret@host", "redis://user:password@host:port"),
            ("user:secret@host", "redis://user:password@host:port"),
            ("user:secret@redis://h", "redis://user:password@host:port"),
            ("secret://h", "redis://user:password@host:port"),
            ("redis-secret:6379", "redis://user:password@host:port"),
            ("redis:secret@h", "redis://user:password@host:port"),
            ("http://:secret@h", "redis://user:password@host:port"),
            ("https://h", "rediss:// for TLS"),
            ("ftp://h", "valkey://, valkeys://, redis+unix:// or valkey+unix://"),
            ("/run/secret.sock", "unix:///path/to/socket"),
            ("secret", "unix:///path/to/socket"),
            ("redis://secret@h", "user:password@"),
            ("redis://:secret@h/secret", "must be a number"),
            ("redis://:secr%zzet@h", "hexadecimal"),
            ("redis://:secret@h:99999", "from 1 to 65535"),
            ("redis://:secret@h:secret", "from 1 to 65535"),
            ("redis://:pass/secret@h", "%2F"),
            ("redis://user:1234/secret@h", "%2F"),
            ("redis://:secret@secret/secret@h", "%2F"),
            ("redis://:pass?secret@h", "%3F"),
            ("redis://user:1234?secret=1@h", "%3F"),
            ("redis://user:%41?secret=1@h", "%3F"),
            ("redis://h?pass=pass&secret=1", "%26"),
            ("redis://h?secret", "client_name, client_info and when_disconnected"),
            (
                "redis://h?password=secret",
                "\"password\": known are protocol, db, user, pass, client_name, client_info and when_disconnected",
            ),
            ("redis://h?timeout=5&pass=secret", "\"timeout\": known are"),
            ("redis://h?secret1=x", "a parameter is unknown"),
            ("redis://h?Secret=x", "a parameter is unknown"),
            ("unix:///run/redis.sock?a+secret=x", "a parameter is unknown"),
            ("redis://h?user=secret", "user=..&pass=.."),
            ("redis://h?protocol=secret", "2, 3, resp2 or resp3"),
            ("redis://h?when_disconnected=secret", "wait or fail"),
            ("redis://h?db=secret", "must be a number"),
            ("redis://h?client_info=secret", "true or false"),
            ("unix://:secret@/run/redis.sock", "?user=..&pass=.."),
            ("unix:///:secret@/run/redis.sock", "?user=..&pass=.."),
            ("unix:///ann:secret/se@cret@run/redis.sock", "?user=..&pass=.."),
            ("unix:///secret@/run/redis.sock", "?user=..&pass=.."),
            ("redis+unix:/:secret@run/redis.sock?db=1", "?user=..&pass=.."),
            ("unix:secret", "unix:///run/redis.sock"),
            ("unix://secret", "unix:///run/redis.sock"),
            ("redis://:secret@[fe80::1%eth0]:6379", "a host name"),
            ("redis://:secret@[fe80::1%25eth0]", "a host name"),
            ("redis://:secret@fe80::1%1", "a host name"),
            ("rediss://:secret@h#insecure", "`Tls::builder().roots(..)`"),
            ("VALKEYS://:secret@h/3#insecure\n", "dangerous_accept_any_server"),
            ("redis:secret", "two slashes follow it, as in redis://user:password@host:port"),
            ("redis:6379", "two slashes follow it"),
            ("VALKEY:secret:6379", "two slashes follow it"),
            ("redis+sentinel://:secret@h:26379/secret", "redis://host:port"),
            ("redis-sentinel://secret@h", "no Sentinel is asked"),
            ("rediss+sentinel://h", "no Sentinel is asked"),
            ("redis+cluster://:secret@h", "open a `ClusterClient`"),
            ("redis-socket:///run/secret.sock", "unix:///path/to/socket"),
            ("redis-sentinel:6379", "redis://user:password@host:port"),
            ("redis://secret,h", "a name that leads to all of them"),
            ("redis://:secret@a:1,b:2/0", "write one server"),
            ("redis://h#insecure", "leave out what begins there"),
            ("redis://:secret@h:6379/0#insecure", "leave out what begins there"),
            ("redis://h?protocol=3#insecure", "leave out what begins there"),
            ("redis://h?pass=secret#insecure", "leave out what begins there"),
            ("redis://:sec#secret", "write # as %23"),
            ("unix:///run/redis.sock#insecure", "leave out what begins there"),
            ("redis://h/1?db=2", "behind the host and in db="),
            ("redis://h/0?db=2", "write it in one place"),
            ("redis://h?db=1&db=2", "write it once"),
            ("redis://h?pass=secret&pass=secrets", "write it once"),
            ("redis://:secret@h?pass=secrets", "in front of the host and behind the ?"),
            ("redis://ann:secret@h?user=secret", "write them in one place"),
        ] {
            let error = parse(url).unwrap_err();
            assert!(error.to_string().contains(help), "{url}: {error}");
            assert!(!format!("{error} {error:?}").contains("secr"), "{url}: {error:?}");
        }
    }

    #[test]
    fn a_wrong_url_names_the_part() {
        for (url, part) in [
            ("http://h", "scheme"),
            ("redis://user-only@h", "user"),
            ("redis://h/notanumber", "database"),
            ("redis://:%zz@h", "password"),
            ("redis://h:99999", "address"),
            ("redis://h?nosuch=1", "\"nosuch\""),
            ("redis://h?protocol=4", "protocol"),
            ("unix://relative", "path"),
        ] {
            let text = parse(url).unwrap_err().to_string();
            assert!(text.contains(part), "{url}: {text}");
        }
    }
    /// RULE-189
    #[cfg(feature = "tls")]
    #[test]
    fn a_scheme_with_an_s_encrypts() {
        for (url, encrypted) in [
            ("rediss://:x@h:6380/2", true),
            ("VALKEYS://h", true),
            ("redis://h", false),
            ("valkey://h", false),
        ] {
            let config = parse(url).unwrap().build().unwrap();
            assert_eq!((config.tls(), config.tls_settings().is_some()), (encrypted, encrypted), "{url}");
        }
        assert!(parse("redis://h").unwrap().tls(crate::config::Tls::default()).build().unwrap().tls());
        assert!(parse("redis://h").unwrap().encrypted_by_connector().build().unwrap().tls());
        // Twice is one time too many.
        let error = parse("rediss://h").unwrap().encrypted_by_connector().build().unwrap_err().to_string();
        assert!(error.contains("encrypted_by_connector") && error.contains("`tls`"), "{error}");
    }

    /// RULE-189
    #[test]
    fn without_the_feature_the_error_names_it() {
        for url in ["rediss://:secret@h", "VALKEYS://:secret@h"] {
            let parsed = parse(url);
            assert_eq!(parsed.is_ok(), cfg!(feature = "tls"), "{url}");
            if let Err(error) = parsed {
                let text = error.to_string();
                assert!(text.contains("the feature `tls`") && text.contains("valkey://"), "{text}");
                assert!(!text.contains("secr"), "{text}");
            }
        }
    }
}
