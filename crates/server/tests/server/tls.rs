//! HTTPS, and certificates that change.
#![expect(clippy::disallowed_methods, reason = "the load ends with its test")]

use std::path::PathBuf;
use std::time::Duration;

use rcgen::{CertificateParams, CertifiedKey, KeyPair, date_time_ymd, generate_simple_self_signed};
use reqwest::{Certificate, Client};
use test_support::{App, logs, wait_until};
use tokio_util::sync::CancellationToken;

use crate::demo;

const PATIENCE: Duration = Duration::from_secs(40);

/// A folder with a certificate and its key.
struct Files {
    folder: tempfile::TempDir,
}

impl Files {
    fn new(pair: &CertifiedKey<KeyPair>) -> Self {
        let files = Self { folder: tempfile::tempdir().unwrap() };
        files.put(&pair.cert.pem(), &pair.signing_key.serialize_pem());
        files
    }

    fn put(&self, certificate: &str, key: &str) {
        std::fs::write(self.path("tls.crt"), certificate).unwrap();
        std::fs::write(self.path("tls.key"), key).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn start(&self, more: &[(&str, &str)]) -> App {
        let (certificate, key) = (self.path("tls.crt"), self.path("tls.key"));
        let mut variables = vec![
            ("TLS_CERT_FILE", certificate.to_str().unwrap()),
            ("TLS_KEY_FILE", key.to_str().unwrap()),
            ("SECRETS_RELOAD_INTERVAL", "20ms"),
        ];
        variables.extend(more);
        demo::start(&variables)
    }
}

fn pair() -> CertifiedKey<KeyPair> {
    generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap()
}

/// A pair whose certificate expires at the begin of this year.
fn expiring(year: i32) -> CertifiedKey<KeyPair> {
    let mut params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    params.not_after = date_time_ymd(year, 1, 1);
    let signing_key = KeyPair::generate().unwrap();
    CertifiedKey { cert: params.self_signed(&signing_key).unwrap(), signing_key }
}

/// A client that trusts this certificate alone, and keeps no connection.
fn client(trusted: &CertifiedKey<KeyPair>) -> Client {
    client_of(&[trusted])
}

fn client_of(trusted: &[&CertifiedKey<KeyPair>]) -> Client {
    // The process's provider; another test may have installed it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder()
        .tls_certs_only(trusted.iter().copied().map(certificate))
        .pool_max_idle_per_host(0)
        .build()
        .unwrap()
}

fn certificate(pair: &CertifiedKey<KeyPair>) -> Certificate {
    Certificate::from_pem(pair.cert.pem().as_bytes()).unwrap()
}

async fn hello(app: &App, client: &Client) -> Result<String, reqwest::Error> {
    client.get(format!("https://{}/hello", app.addr())).send().await?.text().await
}

#[tokio::test]
async fn https_is_spoken_and_logged() {
    let pair = pair();
    let files = Files::new(&pair);
    let app = files.start(&[("FORCE_HTTPS", "true")]);

    let url = format!("https://{}/hello", app.addr());
    let answer = client(&pair).get(&url).header("x-request-id", "tls").send().await.unwrap();

    assert_eq!(answer.headers()["strict-transport-security"], "max-age=31536000");
    assert_eq!(answer.text().await.unwrap(), "hello");
    assert_eq!(app.logs_of("tls").await[0]["req"]["url"], url);
    assert!(hello(&app, &client(&self::pair())).await.is_err(), "another certificate is expected");
}

#[tokio::test]
async fn large_parts_of_an_answer_arrive_by_tls() {
    let pair = pair();
    let files = Files::new(&pair);
    let app = files.start(&[]);

    let (parts, whole) = ([10, 100_000, 10, 300_000].repeat(20), 20 * 400_020);
    let url = format!("https://{}{}", app.addr(), demo::parts(whole, &parts));
    let answer = client(&pair).get(url).send().await.unwrap();

    assert!(answer.bytes().await.unwrap() == demo::body(whole));
}

#[tokio::test]
async fn the_metric_of_expiry_is_of_the_served_chain_and_follows_a_replacement() {
    let (first, second, intermediate) = (expiring(2040), expiring(2050), expiring(2045));
    let files = Files::new(&first);
    let app = files.start(&[("ADMIN_PORT", "0")]);
    let expiry = async || {
        let url = format!("http://{}/metrics", app.admin_addr());
        let text = Client::new().get(url).send().await.unwrap().text().await.unwrap();
        let sample = "\ntls_certificate_expiry_timestamp_seconds ";
        text.split_once(sample).unwrap().1.lines().next().unwrap().to_owned()
    };
    let of_2040 = "2208988800";
    assert_eq!(expiry().await, of_2040);

    // Of a chain, that which expires first: clients refuse all of it from then on.
    let chain = second.cert.pem() + &intermediate.cert.pem();
    files.put(&chain, &second.signing_key.serialize_pem());
    wait_until("the new chain is served", PATIENCE, async || expiry().await != of_2040).await;

    let of_2045 = "2366841600";
    assert_eq!(expiry().await, of_2045);
    let plain = demo::start(&[]);
    assert_eq!(plain.metric("tls_certificate_expiry_timestamp_seconds").await, None);
}

#[tokio::test]
async fn what_is_no_tls_is_refused_and_disturbs_nobody() {
    let pair = pair();
    let files = Files::new(&pair);
    let app = files.start(&[("REQUEST_TIMEOUT", "200ms")]);

    let mut plain = app.connect().await;
    plain.send("GET /hello HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let said = plain.rest().await;
    assert!(!said.contains("HTTP"), "{said}");
    // A handshake that is never begun ends too.
    app.connect().await.rest().await;

    assert_eq!(hello(&app, &client(&pair)).await.unwrap(), "hello");
}

#[tokio::test]
async fn a_replaced_certificate_is_taken_and_a_bad_one_is_not() {
    let (first, second) = (pair(), pair());
    let files = Files::new(&first);
    let app = files.start(&[]);
    assert_eq!(hello(&app, &client(&first)).await.unwrap(), "hello");
    // Clients who trust both come all the time and notice nothing.
    let (url, both) = (format!("https://{}/hello", app.addr()), client_of(&[&first, &second]));
    let stop = CancellationToken::new();
    let load = tokio::spawn(stop.clone().run_until_cancelled_owned(async move {
        loop {
            let answer = both.get(&url).send().await.unwrap();
            assert_eq!(answer.text().await.unwrap(), "hello");
        }
    }));
    let refused = "New secret rejected; keeping the previous one";
    let wait_for_refusals = async |number: usize| {
        wait_until("the pair is refused", PATIENCE, async || {
            logs(|line| line["message"] == refused && line["secret"]["name"] == "TLS_CERT_FILE")
                .len()
                >= number
        })
        .await;
    };

    // Half of the new pair: its certificate is there, its key is not.
    files.put(&second.cert.pem(), &first.signing_key.serialize_pem());
    wait_for_refusals(1).await;
    assert_eq!(hello(&app, &client(&first)).await.unwrap(), "hello");

    // Half a file.
    let pem = second.cert.pem();
    files.put(&pem[..pem.len() / 2], &second.signing_key.serialize_pem());
    wait_for_refusals(2).await;
    assert_eq!(hello(&app, &client(&first)).await.unwrap(), "hello");

    files.put(&second.cert.pem(), &second.signing_key.serialize_pem());
    let clients = [client(&first), client(&second)];
    let wait_for = async |which: usize| {
        wait_until("the new certificate is served", PATIENCE, async || {
            hello(&app, &clients[which]).await.is_ok()
        })
        .await;
    };
    wait_for(1).await;

    // A hundred times in a row, with a pair that is none in between.
    for n in 0..100 {
        let (which, pair) = if n % 2 == 0 { (0, &first) } else { (1, &second) };
        files.put("", "");
        files.put(&pair.cert.pem(), &pair.signing_key.serialize_pem());
        wait_for(which).await;
    }
    stop.cancel();
    load.await.unwrap();
}
