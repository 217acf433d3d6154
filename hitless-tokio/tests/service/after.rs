//! The service on the client.

#[path = "../../examples/service/connection.rs"]
pub(super) mod connection;
#[path = "../../examples/service/shop.rs"]
pub(super) mod shop;
