//! TLS settings from certificate and key files.
//!
//! Invariant: a file that cannot be used is an error that names the file.

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use std::path::Path;
use std::sync::Arc;

/// What clients must show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientCertificates {
    /// Nothing.
    NotAsked,
    /// A certificate if they have one.
    Optional,
    /// A certificate.
    Required,
}

/// Server settings for rustls, or which file is wrong and why.
pub fn server_config(
    certificate: &Path,
    key: &Path,
    client_authority: Option<&Path>,
    clients: ClientCertificates,
) -> Result<Arc<ServerConfig>, String> {
    let chain = certificates(certificate)?;
    let key = PrivateKeyDer::from_pem_file(key)
        .map_err(|error| format!("key file {} cannot be used: {error}", key.display()))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS: {error}"))?;
    let builder = match (client_authority, clients) {
        (Some(path), ClientCertificates::Optional | ClientCertificates::Required) => {
            let roots = Arc::new(roots(path)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
            let verifier = match clients {
                ClientCertificates::Optional => verifier.allow_unauthenticated(),
                _ => verifier,
            };
            let verifier = verifier
                .build()
                .map_err(|error| format!("CA file {} cannot be used: {error}", path.display()))?;
            builder.with_client_cert_verifier(verifier)
        }
        _ => builder.with_no_client_auth(),
    };
    let config = builder
        .with_single_cert(chain, key)
        .map_err(|error| format!("certificate file {}: {error}", certificate.display()))?;
    Ok(Arc::new(config))
}

/// Client settings for rustls, for a node that shows a certificate itself; or which file is wrong and why.
pub fn client_config(certificate: &Path, key: &Path, authority: &Path) -> Result<Arc<ClientConfig>, String> {
    let chain = certificates(certificate)?;
    let key = PrivateKeyDer::from_pem_file(key)
        .map_err(|error| format!("key file {} cannot be used: {error}", key.display()))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS: {error}"))?
        .with_root_certificates(roots(authority)?)
        .with_client_auth_cert(chain, key)
        .map_err(|error| format!("certificate file {}: {error}", certificate.display()))?;
    Ok(Arc::new(config))
}

fn roots(path: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for authority in certificates(path)? {
        roots
            .add(authority)
            .map_err(|error| format!("CA file {} cannot be used: {error}", path.display()))?;
    }
    Ok(roots)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let unusable = |error: String| format!("certificate file {} cannot be used: {error}", path.display());
    let chain: Vec<_> = CertificateDer::pem_file_iter(path)
        .map_err(|error| unusable(error.to_string()))?
        .collect::<Result<_, _>>()
        .map_err(|error| unusable(error.to_string()))?;
    if chain.is_empty() {
        return Err(unusable("it holds no certificate".into()));
    }
    Ok(chain)
}

/// The common name in a certificate's subject: the user name for EXTERNAL. None when there is none or
/// the certificate is not well formed.
///
/// Source: RFC 5280 section 4.1: Certificate, TBSCertificate, Name.
pub(crate) fn common_name(certificate: &[u8]) -> Option<String> {
    const SEQUENCE: u8 = 0x30;
    const VERSION: u8 = 0xa0;
    const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
    let (_, certificate, _) = der_element(certificate)?;
    let (_, mut rest, _) = der_element(certificate)?;
    if rest.first() == Some(&VERSION) {
        rest = der_element(rest)?.2;
    }
    // Serial number, signature algorithm, issuer, validity.
    for _ in 0..4 {
        rest = der_element(rest)?.2;
    }
    let (SEQUENCE, mut names, _) = der_element(rest)? else { return None };
    let mut found = None;
    while !names.is_empty() {
        let (_, mut set, others) = der_element(names)?;
        names = others;
        while !set.is_empty() {
            let (_, attribute, more) = der_element(set)?;
            set = more;
            let (_, kind, value) = der_element(attribute)?;
            if kind == COMMON_NAME {
                found = String::from_utf8(der_element(value)?.1.to_vec()).ok();
            }
        }
    }
    found
}

/// The first element of DER: its tag, its contents and what comes after it.
fn der_element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    const LONG_FORM: u8 = 0x80;
    let (tag, rest) = bytes.split_first()?;
    let (first, mut rest) = rest.split_first()?;
    let mut length = usize::from(*first);
    if first & LONG_FORM != 0 {
        let count = usize::from(first & !LONG_FORM);
        let (digits, after) = rest.split_at_checked(count)?;
        if count > 4 {
            return None;
        }
        length = digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit));
        rest = after;
    }
    let (contents, after) = rest.split_at_checked(length)?;
    Some((*tag, contents, after))
}
