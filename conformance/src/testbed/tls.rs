//! Certificates for the endpoints of a testbed.

use hitless_core::config::Tls;

use crate::net::certificates::Authority;
use crate::world::Encryption;

/// Endpoints whose certificates are valid for `names`, and what makes a client trust them.
pub(super) fn certify(names: [&[&str]; 3]) -> (Encryption, Option<Tls>) {
    let authority = Authority::new("the testbed's");
    let servers = names.map(|names| authority.certify(names).server(None));
    let tls = Tls::builder().roots(authority.pem()).build().expect("it is a certificate");
    (Encryption::Tls(servers.into()), Some(tls))
}
