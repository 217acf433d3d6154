//! Where the redis-server is.

use std::env;
use std::path::PathBuf;

/// The environment variable that says where the program is, if it is not the one on the `PATH`.
const VARIABLE: &str = "HITLESS_REDIS_SERVER";

/// The redis-server that the environment names, or the one on the `PATH`.
pub(crate) fn redis_server() -> PathBuf {
    env::var_os(VARIABLE).map_or_else(|| "redis-server".into(), PathBuf::from)
}
