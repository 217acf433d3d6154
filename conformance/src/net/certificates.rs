//! Certificates that tests make for themselves: an authority, and those whom it vouches for.

use std::sync::Arc;

use hitless_core::config::Tls;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    date_time_ymd,
};
use rustls::crypto::ring;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};

use crate::world::Encryption;

const MAKES: &str = "a certificate can be made";

/// Makes a certificate for each endpoint, valid for these names of it, by an authority that vouches for nobody else. Returns what the
/// endpoints speak, and what makes a client trust them.
#[must_use]
pub fn certify<'a>(names: impl IntoIterator<Item = &'a [&'a str]>) -> (Encryption, Tls) {
    let authority = Authority::new("the endpoints'");
    let servers = names.into_iter().map(|names| authority.certify(names).server(None)).collect();
    let trust = Tls::builder().roots(authority.pem()).build().expect("it is a certificate");
    (Encryption::Tls(servers), trust)
}

/// Vouches for others.
#[derive(Debug)]
pub struct Authority {
    certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// One with a key of its own.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::new([]).expect(MAKES);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect(MAKES);
        let certificate = params.self_signed(&key).expect(MAKES);
        Self { certificate, issuer: Issuer::new(params, key) }
    }

    /// Its certificate in PEM.
    #[must_use]
    pub fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// Its certificate in DER.
    #[must_use]
    pub fn der(&self) -> Vec<u8> {
        self.certificate.der().to_vec()
    }

    /// A certificate that is valid for `names`, which are host names or IP addresses.
    #[must_use]
    pub fn certify(&self, names: &[&str]) -> Identity {
        self.issue(names, |_| ())
    }

    /// One that was valid until the year 2001.
    #[must_use]
    pub fn certify_until_long_ago(&self, names: &[&str]) -> Identity {
        self.issue(names, |params| params.not_after = date_time_ymd(2001, 1, 1))
    }

    /// One that is for servers alone.
    #[must_use]
    pub fn certify_server(&self, names: &[&str]) -> Identity {
        self.issue(names, |params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth])
    }

    /// Another authority, or what calls itself so: without CA:TRUE it is none.
    #[must_use]
    pub fn certify_authority(&self, name: &str, is_authority: bool) -> Self {
        let mut params = CertificateParams::new([]).expect(MAKES);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = ca(is_authority);
        let key = KeyPair::generate().expect(MAKES);
        let certificate = params.signed_by(&key, &self.issuer).expect(MAKES);
        Self { certificate, issuer: Issuer::new(params, key) }
    }

    /// A certificate for `names` that has signed itself, as the one of an authority or not.
    #[must_use]
    pub fn self_signed(names: &[&str], is_authority: bool) -> Identity {
        let names = names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let mut params = CertificateParams::new(names).expect("names that a certificate can hold");
        params.is_ca = ca(is_authority);
        let key = KeyPair::generate().expect(MAKES);
        let certificate = params.self_signed(&key).expect(MAKES);
        Identity { certificate, key, chain: Vec::new() }
    }

    fn issue(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let names = names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let mut params = CertificateParams::new(names).expect("names that a certificate can hold");
        params.not_before = date_time_ymd(2000, 1, 1);
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        let key = KeyPair::generate().expect(MAKES);
        let certificate = params.signed_by(&key, &self.issuer).expect(MAKES);
        Identity { certificate, key, chain: Vec::new() }
    }
}

fn ca(is_authority: bool) -> IsCa {
    if is_authority { IsCa::Ca(BasicConstraints::Unconstrained) } else { IsCa::ExplicitNoCa }
}

/// A certificate and its key.
#[derive(Debug)]
pub struct Identity {
    certificate: Certificate,
    key: KeyPair,
    /// What leads from it to an authority.
    chain: Vec<Vec<u8>>,
}

impl Identity {
    /// The certificate in PEM.
    #[must_use]
    pub fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// The key in PEM.
    #[must_use]
    pub fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }

    /// The certificate and the key in DER.
    #[must_use]
    pub fn der(&self) -> (Vec<u8>, Vec<u8>) {
        (self.certificate.der().to_vec(), self.key.serialize_der())
    }

    /// This certificate, and behind it the one of `issuer`, which a server shows as well.
    #[must_use]
    pub fn behind(self, issuer: &Authority) -> Self {
        Self { chain: vec![issuer.der()], ..self }
    }

    /// A server that shows this certificate, and asks its clients for one by `clients` if there is such an authority.
    #[must_use]
    pub fn server(&self, clients: Option<&Authority>) -> Arc<ServerConfig> {
        self.server_of(rustls::ALL_VERSIONS, clients)
    }

    /// The same, for some versions of TLS.
    #[must_use]
    pub fn server_of(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        clients: Option<&Authority>,
    ) -> Arc<ServerConfig> {
        let provider = Arc::new(ring::default_provider());
        let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions)
            .expect("ring has TLS 1.2 and 1.3");
        let config = match clients {
            None => config.with_no_client_auth(),
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                roots.add(authority.certificate.der().clone()).expect("it is a certificate");
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                config.with_client_cert_verifier(verifier.build().expect("there is a root"))
            }
        };
        let (certificate, key) = self.der();
        let key = PrivateKeyDer::try_from(key).expect("it is a key");
        let chain = [certificate].into_iter().chain(self.chain.iter().cloned()).map(Into::into).collect();
        Arc::new(config.with_single_cert(chain, key).expect("they belong together"))
    }
}
