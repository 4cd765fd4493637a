//! A service behind TLS, whose certificate an authority of one's own has signed.

use std::{net::SocketAddr, path::Path, sync::Arc};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    runtime::Runtime,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, pki_types::PrivatePkcs8KeyDer},
};

use crate::running::{SETTINGS, Service, TEMPLATE, eight_of, pema_with, sample};

/// What an owner puts before a service. It ends with its runtime.
struct Proxy {
    url: String,
    _runtime: Runtime,
}

impl Proxy {
    /// Before the service at `url`, with a new certificate, which is written to a file.
    fn start(url: &str, certificate: &Path) -> Self {
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(certificate, cert.pem()).unwrap();
        let key = PrivatePkcs8KeyDer::from(signing_key.serialize_der());
        let tls = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![cert.der().clone()], key.into()).unwrap();
        let service: SocketAddr = url.strip_prefix("http://").unwrap().parse().unwrap();
        let runtime = Runtime::new().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        runtime.spawn(async move {
            let acceptor = TlsAcceptor::from(Arc::new(tls));
            while let Ok((socket, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    // A client that does not trust the certificate hangs up.
                    let Ok(mut client) = acceptor.accept(socket).await else { return };
                    let mut service = TcpStream::connect(service).await.unwrap();
                    let _ = copy_bidirectional(&mut client, &mut service).await;
                });
            }
        });
        Self { url, _runtime: runtime }
    }
}

#[test]
fn a_service_behind_tls_is_trusted_as_far_as_the_systems_authorities_go() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (memory, adapter, certificate, train) = (path("memory"), path("adapter"), path("authority.pem"), sample("train"));
    let service = Service::start(&folder.path().join("service"));
    let proxy = Proxy::start(&service.url, Path::new(&certificate));
    let (pairs, at_service, trusted) = (eight_of(&train), ["--service", &proxy.url], [("SSL_CERT_FILE", &*certificate)]);

    let extract = [&["extract", "--out", &memory, "--contexts", "prompt"][..], &at_service, &pairs].concat();
    let refused = pema_with(&[], &extract).unwrap_err();
    assert!(refused.contains("certificate"), "{refused}");
    pema_with(&trusted, &extract).unwrap();
    pema_with(&[], &[&["train", "--from", &memory, "--settings", SETTINGS, "--out", &adapter][..], &pairs].concat()).unwrap();
    let write = ["generate", "gotta run", "--from", &memory, "--adapter", &adapter, "--max-tokens", "4", "--template", TEMPLATE];
    let said = pema_with(&trusted, &[&write[..], &at_service].concat()).unwrap();
    assert!(said.contains("PLM:") && said.contains("mixture:"), "{said}");
}
