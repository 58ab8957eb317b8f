//! An authority for certificates, and the files that a broker reads.

use integration_tests::TestDir;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::CertificateDer;

/// An authority with a certificate for the broker, and the files the broker reads.
pub struct Authority {
    pub issuer: Issuer<'static, KeyPair>,
    pub root: CertificateDer<'static>,
    dir: TestDir,
}

impl Authority {
    /// The authority itself has guest's name: that must not help anybody.
    pub fn new() -> Authority {
        let dir = TestDir::new("tls");
        std::fs::create_dir_all(dir.path()).expect("a directory");
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::<String>::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "guest");
        let certificate = params.self_signed(&key).expect("a certificate");
        std::fs::write(dir.path().join("ca.pem"), certificate.pem()).expect("a file");
        let root = certificate.der().clone();
        let authority = Authority { issuer: Issuer::new(params, key), root, dir };
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec!["localhost".to_owned()]).expect("parameters");
        let certificate = params.signed_by(&key, &authority.issuer).expect("a certificate");
        std::fs::write(authority.file("cert.pem"), certificate.pem()).expect("a file");
        std::fs::write(authority.file("key.pem"), key.serialize_pem()).expect("a file");
        authority
    }

    /// The path of `ca.pem`, `cert.pem` (for localhost) or `key.pem`.
    pub fn file(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().expect("a path").to_owned()
    }
}
