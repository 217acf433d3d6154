//! How connections are encrypted: whom the client trusts, and who it says it is.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::ServerCertVerifier;
use rustls::client::{WebPkiServerVerifier, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{CertificateError, ClientConfig, RootCertStore};

use self::anybody::AcceptAnybody;
use super::ConfigError;

mod anybody;

/// How the connections of a client are encrypted. The default trusts whom the system trusts, and shows no certificate.
///
/// A URL that begins with `rediss://` or `valkeys://` has the default;
/// [`ConfigBuilder::tls`](super::ConfigBuilder::tls) sets another one, and encrypts whatever the URL begins with.
///
/// ```no_run
/// use hitless_core::config::{ConfigBuilder, Tls};
///
/// let tls = Tls::builder()
///     .roots(std::fs::read("ca.pem")?)
///     .client_certificate(std::fs::read("client.pem")?, std::fs::read("client.key")?)
///     .build()?;
/// let settings = ConfigBuilder::from_url("rediss://redis.example.com:6380")?.tls(tls);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Which name a certificate must be valid for is a matter of the address that is dialled, see
/// [`Target`](crate::endpoint::Target) and [`ConfigBuilder::server_name`](super::ConfigBuilder::server_name).
///
/// Its cryptography is `ring`'s, whatever the process has made the default of rustls. TLS 1.3 and 1.2 are spoken.
/// Sessions are resumed: a connection that is opened again costs one signature less on each side.
#[derive(Clone)]
pub struct Tls(Kind);

#[derive(Clone)]
enum Kind {
    Built { trust: Trust, identity: Option<Arc<CertifiedKey>> },
    Rustls(Arc<ClientConfig>),
}

/// Which servers are believed.
#[derive(Clone)]
enum Trust {
    /// Those that the system's authorities vouch for.
    System,
    /// Those that these authorities vouch for.
    Roots(Arc<RootCertStore>),
    Anybody,
}

impl Tls {
    /// A builder that begins with the defaults.
    pub fn builder() -> TlsBuilder {
        TlsBuilder::default()
    }

    /// What rustls is configured with, as it is: for what the builder does not have, such as revocation lists, other
    /// cryptography or a store of sessions of your own.
    ///
    /// Several clients may share it, and resume each other's sessions then.
    #[must_use]
    pub const fn from_rustls(config: Arc<ClientConfig>) -> Self {
        Self(Kind::Rustls(config))
    }

    /// What rustls is configured with. `system_roots` is asked for certificates in DER if those of the system count.
    pub(crate) fn client_config(
        &self,
        system_roots: impl FnOnce() -> io::Result<Vec<Vec<u8>>>,
    ) -> Result<Arc<ClientConfig>, ConfigError> {
        let (trust, identity) = match &self.0 {
            Kind::Rustls(config) => return Ok(Arc::clone(config)),
            Kind::Built { trust, identity } => (trust, identity),
        };
        let provider = Arc::new(ring::default_provider());
        let verifier: Arc<dyn ServerCertVerifier> = match trust {
            Trust::System => verifier(Arc::new(roots_of_system(system_roots)?), &provider)?,
            Trust::Roots(roots) => verifier(Arc::clone(roots), &provider)?,
            Trust::Anybody => Arc::new(AcceptAnybody::new(Arc::clone(&provider))),
        };
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| wrong("tls", error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        Ok(Arc::new(match identity {
            Some(identity) => {
                config.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(identity))))
            }
            None => config.with_no_client_auth(),
        }))
    }
}

impl Default for Tls {
    fn default() -> Self {
        Self(Kind::Built { trust: Trust::System, identity: None })
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (trust, identity) = match &self.0 {
            Kind::Rustls(_) => ("as rustls is configured", None),
            Kind::Built { trust: Trust::System, identity } => ("the system's roots", identity.as_ref()),
            Kind::Built { trust: Trust::Roots(_), identity } => ("own roots", identity.as_ref()),
            Kind::Built { trust: Trust::Anybody, identity } => ("DANGEROUS: anybody", identity.as_ref()),
        };
        let identity = identity.map_or("none", |_| "..");
        f.debug_struct("Tls").field("trust", &trust).field("client_certificate", &identity).finish()
    }
}

/// Collects the settings of [`Tls`].
#[derive(Clone, Default)]
#[must_use]
pub struct TlsBuilder {
    roots: Vec<Vec<u8>>,
    identity: Option<(Vec<u8>, Vec<u8>)>,
    accepts_anybody: bool,
}

impl TlsBuilder {
    /// The certificates of authorities that vouch for servers: one or more in PEM, or one in DER. May be called more than
    /// once. Default: those of the system, which count no more once this is set.
    pub fn roots(mut self, certificates: impl Into<Vec<u8>>) -> Self {
        self.roots.push(certificates.into());
        self
    }

    /// The certificate by which the server knows the client, with those that lead from it to an authority, and its private
    /// key: in PEM or DER. The key must not be encrypted. Default: none.
    pub fn client_certificate(mut self, chain: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        self.identity = Some((chain.into(), key.into()));
        self
    }

    /// Believes every server, whatever its certificate says: whoever is on the way can read and change everything, passwords
    /// included. For tests alone. To talk to a server whose certificate no public authority vouches for, set
    /// [`roots`](Self::roots) to that certificate or to its authority's.
    pub fn dangerous_accept_any_server(mut self) -> Self {
        self.accepts_anybody = true;
        self
    }

    /// Reads the certificates and the key.
    ///
    /// # Errors
    /// [`ConfigError::Tls`] names the setting that is wrong, and repeats nothing of it.
    pub fn build(self) -> Result<Tls, ConfigError> {
        let trust = match (self.accepts_anybody, self.roots.as_slice()) {
            (true, []) => Trust::Anybody,
            (true, _) => {
                let problem =
                    "they are not looked at where `dangerous_accept_any_server` is set: leave one out";
                return Err(wrong("roots", problem));
            }
            (false, []) => Trust::System,
            (false, roots) => Trust::Roots(Arc::new(own_roots(roots)?)),
        };
        let identity = self.identity.map(|(chain, key)| identity(&chain, &key)).transpose()?;
        Ok(Tls(Kind::Built { trust, identity: identity.map(Arc::new) }))
    }
}

impl fmt::Debug for TlsBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsBuilder")
            .field("roots", &self.roots.len())
            .field("client_certificate", &self.identity.as_ref().map(|_| ".."))
            .field("accepts_anybody", &self.accepts_anybody)
            .finish()
    }
}

fn own_roots(settings: &[Vec<u8>]) -> Result<RootCertStore, ConfigError> {
    let (mut roots, mut all) = (RootCertStore::empty(), Vec::new());
    for setting in settings {
        for certificate in certificates("roots", setting)? {
            let added = roots.add(certificate.clone());
            all.push(certificate);
            added.map_err(|_| wrong("roots", "one of them is not an X.509 certificate of an authority"))?;
        }
    }
    if roots.is_empty() || all.iter().any(|certificate| !vouches_for_nobody(certificate)) {
        return Ok(roots);
    }
    let problem = "what is there is the certificate of a server (it lacks CA:TRUE), and another one has issued it: set the certificate \
                   of the authority that did";
    Err(wrong("roots", problem))
}

/// Whether `certificate` cannot be the root of anything: it is none of an authority, and has not signed itself.
fn vouches_for_nobody(certificate: &CertificateDer<'_>) -> bool {
    let Ok(parsed) = ParsedCertificate::try_from(certificate) else { return false };
    let mut itself = RootCertStore::empty();
    if itself.add(certificate.clone()).is_err() {
        return false;
    }
    let algorithms = ring::default_provider().signature_verification_algorithms.all;
    let verify = |now| verify_server_cert_signed_by_trust_anchor(&parsed, &itself, &[], now, algorithms);
    // Whether it has expired is for the handshake to say. The core has no clock: the certificate knows a time at which it is valid.
    let verified = match verify(UnixTime::since_unix_epoch(Duration::ZERO)) {
        Err(rustls::Error::InvalidCertificate(CertificateError::NotValidYetContext {
            not_before, ..
        })) => verify(not_before),
        verified => verified,
    };
    matches!(verified, Err(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer)))
}

fn roots_of_system(
    system_roots: impl FnOnce() -> io::Result<Vec<Vec<u8>>>,
) -> Result<RootCertStore, ConfigError> {
    const SET: &str = "set your own by `Tls::builder().roots(..)`";
    let found = system_roots()
        .map_err(|error| wrong("roots", format!("those of the system cannot be had: {error}; {SET}")))?;
    let mut roots = RootCertStore::empty();
    // Some systems keep certificates that are older than the rules by which they are read today.
    roots.add_parsable_certificates(found.into_iter().map(CertificateDer::from));
    if roots.is_empty() {
        return Err(wrong("roots", format!("the system has none: install its CA certificates, or {SET}")));
    }
    Ok(roots)
}

fn verifier(
    roots: Arc<RootCertStore>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>, ConfigError> {
    WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(provider))
        .build()
        .map_err(|error| wrong("roots", error.to_string()))
}

fn identity(chain: &[u8], key: &[u8]) -> Result<CertifiedKey, ConfigError> {
    const SETTING: &str = "client_certificate";
    let chain = certificates(SETTING, chain)?;
    let key = if is_der(key) {
        PrivateKeyDer::try_from(key.to_vec()).ok()
    } else {
        PrivateKeyDer::from_pem_slice(key).ok()
    };
    let Some(key) = key else {
        return Err(wrong(
            SETTING,
            "its key is no private key in PEM or DER; one that is encrypted must be decrypted first",
        ));
    };
    // The errors of rustls name neither of the two, and say nothing of the key.
    CertifiedKey::from_der(chain, key, &ring::default_provider()).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => wrong(SETTING, "its key is that of another certificate"),
        _ => wrong(SETTING, "its certificate or its key cannot be used"),
    })
}

/// The certificates in `setting`. What stands there instead may be a key, and is not repeated.
fn certificates(name: &'static str, setting: &[u8]) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    if is_der(setting) {
        return Ok(vec![CertificateDer::from(setting.to_vec())]);
    }
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(setting).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(wrong(name, "there is no certificate in PEM or DER in it (is it the name of a file?)")),
    }
}

/// In DER a certificate and a key begin with the tag of a sequence, which is a digit in PEM's alphabet, and no dash.
fn is_der(bytes: &[u8]) -> bool {
    bytes.first() == Some(&0x30)
}

fn wrong(setting: &'static str, problem: impl Into<String>) -> ConfigError {
    ConfigError::Tls { setting, problem: problem.into() }
}

#[cfg(test)]
mod tests;
