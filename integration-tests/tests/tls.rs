//! AMQPS: the broker's certificate, and clients' certificates with EXTERNAL.

use crate::authority::Authority;
use integration_tests::{Broker, Payload, Peer, frame, publish_frames, with_broker_args};
use rcgen::{CertificateParams, DnType, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

impl Authority {
    /// Runs a test against a broker with TLS.
    fn with_broker(&self, more: &[&str], test: impl AsyncFnOnce(&Broker)) {
        let (cert, key) = (self.file("cert.pem"), self.file("key.pem"));
        let flags = ["--amqps-addr", "127.0.0.1:0", "--tls-cert", &cert, "--tls-key", &key];
        with_broker_args(&[&flags, more].concat(), test);
    }

    /// A client's certificate with these names in its subject, and its key.
    fn client(&self, names: &[(DnType, &str)]) -> Identity {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::<String>::new()).expect("parameters");
        params.distinguished_name = rcgen::DistinguishedName::new();
        for (kind, name) in names {
            params.distinguished_name.push(kind.clone(), *name);
        }
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        (vec![certificate.der().clone()], key)
    }

    /// Connects with or without a certificate.
    async fn connect(
        &self,
        broker: &Broker,
        identity: Option<Identity>,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.clone()).expect("a root");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots);
        let config = match identity {
            Some((chain, key)) => builder.with_client_auth_cert(chain, key).expect("a client certificate"),
            None => builder.with_no_client_auth(),
        };
        let stream = TcpStream::connect(broker.amqps.expect("AMQPS is on")).await?;
        let name = ServerName::try_from("localhost").expect("a name");
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }
}

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

#[test]
fn messages_of_any_size_pass_over_tls() {
    let authority = Authority::new();
    authority.with_broker(&[], async |broker| {
        let mut peer = Peer::over(authority.connect(broker, None).await.expect("TLS"));
        peer.log_in("PLAIN", b"\0guest\0guest").await;
        peer.tune_and_open((2047, 131_072, 0), "/").await;
        peer.channel(1).await;
        peer.queue(1, "q").await;
        for size in [0, 10, 20_000, 3_000_000] {
            let body: Vec<u8> = (0..size).map(|at: u32| (at >> 4) as u8).collect();
            peer.send(&publish_frames(1, ("", "q"), 0, &[0, 0], &body)).await;
            let get = Payload::method(60, 70).short(0).text("q").octet(1);
            assert_eq!(peer.call(1, get).await.ids(), (60, 71));
            assert!(peer.content().await.1 == body, "{size} bytes");
        }
        let close = Payload::method(10, 50).short(200).text("").short(0).short(0);
        assert_eq!(peer.call(0, close).await.ids(), (10, 51));
        // The plain port is there as well.
        broker.peer().await.channel(1).await;
    });
}

#[test]
fn what_is_not_tls_is_closed() {
    let authority = Authority::new();
    authority.with_broker(&[], async |broker| {
        let mut plain = Peer::connect(broker.amqps.expect("AMQPS is on")).await;
        plain.send(b"AMQP\0\0\x09\x01").await;
        let rest = plain.rest().await;
        assert!(!rest.starts_with(b"AMQP") && !rest.starts_with(&[1, 0, 0]), "{rest:?}");
        let mut peer = Peer::over(authority.connect(broker, None).await.expect("TLS"));
        peer.log_in("PLAIN", b"\0guest\0guest").await;
        peer.tune_and_open((2047, 131_072, 0), "/").await;
        peer.send(&frame(7, 0, b"")).await;
        assert_eq!(peer.next_close().await.code, 501);
    });
}

#[test]
fn a_certificate_logs_in_with_external() {
    let authority = Authority::new();
    let ca = authority.file("ca.pem");
    authority.with_broker(&["--tls-client-ca", &ca], async |broker| {
        let guest = authority.client(&[(DnType::OrganizationName, "Org"), (DnType::CommonName, "guest")]);
        let mut peer = Peer::over(authority.connect(broker, Some(guest)).await.expect("TLS"));
        let start = peer.log_in("EXTERNAL", b"").await;
        let offered = String::from_utf8_lossy(&start.payload).into_owned();
        assert!(offered.contains("EXTERNAL"), "{offered}");
        peer.tune_and_open((2047, 131_072, 0), "/").await;
        peer.channel(1).await;
        // Without a certificate a password still does.
        let mut peer = Peer::over(authority.connect(broker, None).await.expect("TLS"));
        peer.log_in("PLAIN", b"\0guest\0guest").await;
        peer.tune_and_open((2047, 131_072, 0), "/").await;
        // Nobody is external on the plain port.
        let mut peer = Peer::connect(broker.amqp).await;
        let start = peer.log_in("EXTERNAL", b"guest").await;
        assert!(!String::from_utf8_lossy(&start.payload).contains("EXTERNAL"));
        let rest = peer.next_frame().await;
        assert!(rest.is_none_or(|frame| frame.ids() == (10, 50)));
    });
}

#[test]
fn only_the_common_name_of_the_subject_counts() {
    let authority = Authority::new();
    let ca = authority.file("ca.pem");
    authority.with_broker(&["--tls-client-ca", &ca], async |broker| {
        // An organisation that looks like a common name inside.
        let forged = "\u{6}\u{3}U\u{4}\u{3}\u{c}\u{5}guest";
        let refused = [
            Some(authority.client(&[(DnType::CommonName, "nobody")])),
            Some(authority.client(&[(DnType::OrganizationName, "no common name")])),
            Some(authority.client(&[(DnType::OrganizationName, forged), (DnType::CommonName, "nobody")])),
            Some(authority.client(&[(DnType::OrganizationName, forged)])),
            None,
        ];
        for (number, identity) in refused.into_iter().enumerate() {
            let mut peer = Peer::over(authority.connect(broker, identity).await.expect("TLS"));
            peer.log_in("EXTERNAL", b"guest").await;
            let close = peer.next_close().await;
            assert_eq!(close.code, 403, "case {number}");
        }
    });
}

#[test]
fn a_required_certificate_is_required() {
    let authority = Authority::new();
    let ca = authority.file("ca.pem");
    let flags = ["--tls-client-ca", &ca, "--tls-client-required"];
    authority.with_broker(&flags, async |broker| {
        // In TLS 1.3 the client hears of it with the first answer.
        if let Ok(stream) = authority.connect(broker, None).await {
            let mut peer = Peer::over(stream);
            peer.send(b"AMQP\0\0\x09\x01").await;
            use tokio::io::AsyncReadExt;
            let mut some = [0; 64];
            let read = integration_tests::soon("an end", peer.stream.read(&mut some)).await;
            assert!(!matches!(read, Ok(count) if count > 0), "{read:?}");
        }
        let stranger = Authority::new();
        let unknown = stranger.client(&[(DnType::CommonName, "guest")]);
        if let Ok(stream) = authority.connect(broker, Some(unknown)).await {
            use tokio::io::AsyncReadExt;
            let mut peer = Peer::over(stream);
            peer.send(b"AMQP\0\0\x09\x01").await;
            let mut some = [0; 64];
            let read = integration_tests::soon("an end", peer.stream.read(&mut some)).await;
            assert!(!matches!(read, Ok(count) if count > 0), "{read:?}");
        }
        let guest = authority.client(&[(DnType::CommonName, "guest")]);
        let mut peer = Peer::over(authority.connect(broker, Some(guest)).await.expect("TLS"));
        peer.log_in("EXTERNAL", b"").await;
        peer.tune_and_open((2047, 131_072, 0), "/").await;
    });
}

#[test]
fn unusable_files_are_named() {
    let authority = Authority::new();
    let (cert, key) = (authority.file("cert.pem"), authority.file("key.pem"));
    let empty = authority.file("empty.pem");
    std::fs::write(&empty, "nothing").expect("a file");
    for (cert, key, named) in [(&empty, &key, &empty), (&cert, &empty, &empty), (&cert, &cert, &cert)] {
        let output = Broker::command()
            .args([
                "--amqp-addr",
                "127.0.0.1:0",
                "--http-addr",
                "none",
                "--data-dir",
                &authority.file("data"),
            ])
            .args(["--amqps-addr", "127.0.0.1:0", "--tls-cert", cert, "--tls-key", key])
            .output()
            .expect("the binary runs");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains(named.as_str()), "{text}");
    }
}
