//! HTTPS beside the bare server with the same certificate: requests on connections that stay, and handshakes.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use futures_util::future::try_join_all;
use rcgen::CertifiedKey;
use rustls::{
    ClientConfig, RootCertStore,
    client::Resumption,
    pki_types::{CertificateDer, ServerName},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use crate::environment::Environment;
use crate::load::Closed;
use crate::report::Row;
use crate::request::Request;
use crate::rounds::{Ratio, Rounds};
use crate::server::Endpoint;

/// Clients that each make one handshake after the other.
const CLIENTS: usize = 8;

/// A service that speaks HTTPS.
pub(crate) struct Tls {
    pub(crate) request: Request,
    /// Most CPU time a request on a connection that stays, as a multiple of the bare server's.
    pub(crate) cpu_ratio: f64,
    /// Fewest full handshakes, each with a request, that a second of CPU time is enough for, as a share of the bare
    /// server's.
    pub(crate) handshake_ratio: f64,
}

impl Tls {
    /// # Errors
    /// When an answer is no 2xx, or a handshake fails.
    pub(crate) async fn measure(&self, environment: &Environment<'_>) -> Result<Vec<Row>> {
        let CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
        let files = ["tls.crt", "tls.key"].map(|name| environment.path(name));
        std::fs::write(&files[0], cert.pem())?;
        std::fs::write(&files[1], signing_key.serialize_pem())?;
        let [cert_file, key_file] = files.map(|path| path.display().to_string());
        let plain = environment.service(&[]).await?;
        let answers = [
            plain.ready().await?.to_answer(&Request::get("/readyz"))?,
            plain.fetch(&self.request).await?.to_answer(&self.request)?,
        ];
        plain.stop().await?;
        let service = environment.https_service(&cert_file, &key_file).await?;
        let bare = environment.https_bare(&answers, &cert_file, &key_file).await?;
        let sides = [&service, &bare];
        let cpu: Ratio<2> = |[service, bare]| service.cpu_us / bare.cpu_us;
        let kept = Rounds::of_request(
            environment,
            &[cpu],
            &self.request,
            sides.map(|server| &server.endpoint),
        )
        .await?;

        let connector = connector(cert.der())?;
        // Of what a second of CPU time is enough for.
        let handshakes: Ratio<2> = |[service, bare]| bare.cpu_us / service.cpu_us;
        let new = Rounds::run(environment.plan, &[handshakes], async |side, time| {
            let server = sides[side];
            self.shake_hands(&connector, &server.endpoint, server.addr, time).await
        })
        .await?;
        service.stop().await?;

        let row = |figure: &str| Row::new(self.request.target, &format!("HTTPS: {figure}"));
        let both =
            |figure: &str, [service, bare]: [String; 2]| row(figure).service(service).bare(bare);
        Ok(vec![
            both("CPU a request", kept.cpu_us().map(|cpu| cpu.with_interval(" µs"))),
            row("CPU a request, ratio").samples_at_most(
                &kept.samples(cpu),
                Some(self.cpu_ratio),
                "",
            ),
            both(
                "full handshakes with a request, a second of CPU time",
                new.cpu_us().map(|cpu| format!("{:.0}", 1e6 / cpu.median())),
            ),
            row("full handshakes, ratio").samples_at_least(
                &new.samples(handshakes),
                Some(self.handshake_ratio),
                "",
            ),
        ])
    }

    /// Makes connections for that time, each with a full handshake and one request.
    async fn shake_hands(
        &self,
        connector: &TlsConnector,
        endpoint: &Endpoint,
        addr: SocketAddr,
        time: Duration,
    ) -> Result<Closed> {
        let request = self.request.to_http(addr, "close");
        let (made, started) = (AtomicU32::new(0), Instant::now());
        let before = endpoint.cpu_time()?;
        try_join_all((0..CLIENTS).map(|_| async {
            while started.elapsed() < time {
                let stream = TcpStream::connect(addr).await?;
                let name = ServerName::try_from("localhost")?;
                let mut stream = connector.connect(name, stream).await?;
                stream.write_all(request.as_bytes()).await?;
                let mut answer = Vec::new();
                stream.read_to_end(&mut answer).await?;
                ensure!(answer.starts_with(b"HTTP/1.1 200 "), "an answer is no success");
                made.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        }))
        .await?;
        let spent = endpoint.cpu_time()?.saturating_sub(before).as_secs_f64();
        let requests = made.into_inner();
        let rate = f64::from(requests) / started.elapsed().as_secs_f64();
        Ok(Closed { requests, rate, cpu_us: spent * 1e6 / f64::from(requests) })
    }
}

/// A client that trusts the certificate, and resumes nothing.
fn connector(certificate: &CertificateDer<'static>) -> Result<TlsConnector> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).context("a certificate of no use")?;
    let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(TlsConnector::from(Arc::new(config)))
}
