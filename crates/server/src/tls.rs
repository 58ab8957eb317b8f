//! TLS settings from certificate and key files.
//!
//! Invariant: a file that cannot be used is an error that names the file.

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
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
            let mut roots = RootCertStore::empty();
            for authority in certificates(path)? {
                roots
                    .add(authority)
                    .map_err(|error| format!("CA file {} cannot be used: {error}", path.display()))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
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

/// The common name in a certificate's subject: the user name for EXTERNAL. Looks for the attribute
/// 2.5.4.3 in the subject, which in a DER certificate is its last occurrence before the public key.
pub(crate) fn common_name(certificate: &[u8]) -> Option<String> {
    const COMMON_NAME: [u8; 5] = [0x06, 0x03, 0x55, 0x04, 0x03];
    const NAMES_MAX: usize = 2;
    let mut found = None;
    let mut from = 0;
    for _ in 0..NAMES_MAX {
        let Some(at) = certificate[from..].windows(5).position(|window| window == COMMON_NAME) else { break };
        let value = from + at + 5;
        let length = usize::from(*certificate.get(value + 1)?);
        let text = certificate.get(value + 2..value + 2 + length)?;
        found = Some(String::from_utf8_lossy(text).into_owned());
        from = value;
    }
    found
}
