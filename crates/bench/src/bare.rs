//! The server that a service is measured against: actix-web with one worker, unless told otherwise, and nothing around
//! the handler, sending bytes it was given.

use std::{
    future::ready,
    net::Ipv4Addr,
    path::{Path, PathBuf},
};

use actix_web::{
    App, HttpResponse, HttpServer,
    http::{
        Method, StatusCode,
        header::{HeaderName, HeaderValue},
    },
    web,
};
use anyhow::{Context, Result};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use serde::{Deserialize, Serialize};

/// What the bare server is told to send, as a service sent it.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Answer {
    /// Method of the request.
    pub(crate) method: String,
    /// Path of the request, without its query.
    pub(crate) path: String,
    /// Status code.
    pub(crate) status: u16,
    /// Headers, but for `date` and `content-length`, which actix writes itself.
    pub(crate) headers: Vec<(String, String)>,
    /// Body.
    pub(crate) body: String,
}

/// `bench bare`: answers requests from a file until it is killed.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Port on 127.0.0.1.
    #[arg(long)]
    port: u16,
    /// JSON file with the answers, as `bench` writes it.
    #[arg(long)]
    answers: PathBuf,
    /// Its threads.
    #[arg(long, default_value_t = 1)]
    workers: usize,
    /// A certificate in PEM form, for HTTPS instead of HTTP.
    #[arg(long, requires = "key")]
    certificate: Option<PathBuf>,
    /// Its key.
    #[arg(long, requires = "certificate")]
    key: Option<PathBuf>,
    /// A port for HTTP beside HTTPS, where it is ready.
    #[arg(long, default_value_t = 0)]
    probe_port: u16,
}

/// Serves until the process is stopped.
///
/// # Errors
/// When the file is no list of answers, or the port is taken.
pub(crate) async fn run(args: Args) -> Result<()> {
    let text = std::fs::read(&args.answers)
        .with_context(|| format!("cannot read {}", args.answers.display()))?;
    let routes = serde_json::from_slice::<Vec<Answer>>(&text)?
        .into_iter()
        .map(Route::try_from)
        .collect::<Result<Vec<_>>>()?;
    let server = HttpServer::new(move || {
        let mut app = App::new();
        for route in routes.clone() {
            let path = route.path.clone();
            let method = web::method(route.method.clone());
            // Only a request with a body pays for reading one.
            app = app.route(
                &path,
                if route.method == Method::GET {
                    method.to(move || ready(route.response()))
                } else {
                    method.to(move |_: web::Bytes| ready(route.response()))
                },
            );
        }
        app
    })
    .workers(args.workers);
    let server = match (args.certificate, args.key) {
        (Some(certificate), Some(key)) => server
            .bind_rustls_0_23((Ipv4Addr::LOCALHOST, args.port), tls(&certificate, &key)?)?
            .bind((Ipv4Addr::LOCALHOST, args.probe_port))?,
        _ => server.bind((Ipv4Addr::LOCALHOST, args.port))?,
    };
    Ok(server.run().await?)
}

fn tls(certificate: &Path, key: &Path) -> Result<ServerConfig> {
    let chain = CertificateDer::pem_file_iter(certificate)?.collect::<Result<_, _>>()?;
    let key = PrivateKeyDer::from_pem_file(key)?;
    Ok(ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key)?)
}

/// An [`Answer`] whose parts are parsed once, so that a request costs no parsing.
#[derive(Clone)]
struct Route {
    method: Method,
    path: String,
    status: StatusCode,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: web::Bytes,
}

impl Route {
    fn response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status);
        for header in &self.headers {
            response.append_header(header.clone());
        }
        response.body(self.body.clone())
    }
}

impl TryFrom<Answer> for Route {
    type Error = anyhow::Error;

    fn try_from(answer: Answer) -> Result<Self> {
        Ok(Self {
            method: answer.method.parse()?,
            path: answer.path,
            status: StatusCode::from_u16(answer.status)?,
            headers: answer
                .headers
                .iter()
                .map(|(name, value)| Ok((name.parse()?, value.parse()?)))
                .collect::<Result<_>>()?,
            body: answer.body.into(),
        })
    }
}
