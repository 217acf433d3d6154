//! What the types forbid: each example compiles but for its last line, which is why the second form of it does not. So
//! none is refused for another reason; nightly compilers check the codes as well.

/// A configuration comes from its builder, which checks it.
///
/// ```
/// use hitless_core::config::{Config, ConfigBuilder, ConfigError};
///
/// fn config(builder: ConfigBuilder) -> Result<Config, ConfigError> {
///     builder.build()
/// }
/// ```
/// ```compile_fail,E0451
/// use hitless_core::config::{Config, ConfigBuilder, ConfigError};
///
/// fn config(builder: ConfigBuilder, ready: Config) -> Result<Config, ConfigError> {
///     Ok(Config { settings: builder, ..ready })
/// }
/// ```
/// So does that of maintenance.
///
/// ```
/// use hitless_core::maintenance::{Config, ConfigBuilder};
///
/// fn retries(builder: ConfigBuilder) -> ConfigBuilder {
///     builder.max_handoff_retries(99)
/// }
/// ```
/// ```compile_fail,E0451
/// use hitless_core::maintenance::{Config, ConfigBuilder};
///
/// fn retries(config: Config) -> Config {
///     Config { max_handoff_retries: 99, ..config }
/// }
/// ```
struct SettingsAreChecked;

/// Workers and queue are resolved once, by the builder: what it found can be read, not worked out anew or invented.
///
/// ```
/// use hitless_core::config::{Config, HandoffCapacity};
///
/// fn capacity(config: &Config) -> HandoffCapacity {
///     config.handoff_capacity()
/// }
/// ```
/// ```compile_fail,E0624
/// use hitless_core::config::{Config, HandoffCapacity};
///
/// fn capacity(config: &Config) -> HandoffCapacity {
///     config.maintenance().capacity(config.pool_size())
/// }
/// ```
/// ```compile_fail,E0451
/// use hitless_core::config::{Config, HandoffCapacity};
///
/// fn capacity(config: &Config) -> HandoffCapacity {
///     HandoffCapacity { workers: 100, ..config.handoff_capacity() }
/// }
/// ```
struct CapacityIsResolvedOnce;

/// `auto` is a wish, not a word of the protocol: it must be resolved for a connection before there is a word.
///
/// ```
/// use hitless_core::endpoint::Peer;
/// use hitless_core::endpoint_type::EndpointPreference;
///
/// fn word(wish: EndpointPreference, peer: &Peer) -> &'static str {
///     wish.resolve(false, peer).as_str()
/// }
/// ```
/// ```compile_fail,E0599
/// use hitless_core::endpoint::Peer;
/// use hitless_core::endpoint_type::EndpointPreference;
///
/// fn word(wish: EndpointPreference, peer: &Peer) -> &'static str {
///     wish.as_str()
/// }
/// ```
struct AutoIsNoWireType;

/// The answer to the opt-in can be judged with the proof of RESP3 only, and none but an accepted HELLO gives that.
///
/// ```
/// use hitless_core::handshake::OptIn;
///
/// fn judge(error: &[u8]) -> OptIn {
///     OptIn::of_error(error)
/// }
/// ```
/// ```compile_fail,E0603
/// use hitless_core::handshake::{OptIn, Resp3};
///
/// fn judge(error: &[u8]) -> OptIn {
///     OptIn::of_error(error)
/// }
/// ```
struct TheOptInNeedsResp3;

/// A request is in one place: with the caller, or with the machine that has taken it.
///
/// ```
/// use hitless_core::connection::{Accepted, Connection};
///
/// fn enqueue(first: &mut Connection, second: &mut Connection, request: Accepted) {
///     if let Err(request) = first.enqueue(request) {
///         let _ = second.enqueue(request);
///     }
/// }
/// ```
/// ```compile_fail,E0382
/// use hitless_core::connection::{Accepted, Connection};
///
/// fn enqueue(first: &mut Connection, second: &mut Connection, request: Accepted) {
///     if let Err(_) = first.enqueue(request) {
///         let _ = second.enqueue(request);
///     }
/// }
/// ```
struct RequestsAreInOnePlace;

/// What names a connection does not name a request.
///
/// ```
/// use std::time::Instant;
/// use hitless_core::Client;
/// use hitless_core::ids::{ConnId, RequestId};
///
/// fn cancel(now: Instant, client: &mut Client, conn: ConnId, request: RequestId) {
///     client.cancel(now, request);
/// }
/// ```
/// ```compile_fail,E0308
/// use std::time::Instant;
/// use hitless_core::Client;
/// use hitless_core::ids::{ConnId, RequestId};
///
/// fn cancel(now: Instant, client: &mut Client, conn: ConnId, request: RequestId) {
///     client.cancel(now, conn);
/// }
/// ```
struct IdsAreOfOneKind;
