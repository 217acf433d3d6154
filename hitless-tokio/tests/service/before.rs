//! The service as it was: on redis-rs's own connection.

#[path = "../../examples/service/before.rs"]
pub(super) mod connection;
#[path = "../../examples/service/shop.rs"]
pub(super) mod shop;
