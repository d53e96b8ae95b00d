//! A body of a gibibyte that a service hands through from an upstream service, beside a bare proxy that
//! does nothing else.

use std::{net::Ipv4Addr, time::Instant};

use actix_web::{App, HttpResponse, HttpServer, body::SizedStream, error::ErrorBadGateway, web};
use anyhow::{Context as _, Result, ensure};
use futures_util::TryStreamExt as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use crate::environment::Environment;
use crate::report::Row;
use crate::request::Request;
use crate::samples::Samples;
use crate::server::Server;

/// MiB of the body.
const BODY_MIB: u32 = 1024;

/// Bytes of the body.
const BODY: usize = (BODY_MIB as usize) << 20;

/// Bytes that upstream and client write and read at once.
const CHUNK: usize = 256 * 1024;

/// A large body handed through.
pub(crate) struct Streaming {
    /// Path of the request.
    pub(crate) target: &'static str,
    /// The variable that names the upstream service's URL.
    pub(crate) upstream: &'static str,
    /// Less than this has to be the most resident memory there ever was, in MiB.
    pub(crate) memory_mib: f64,
    /// Least bytes a second, as a share of those of the bare proxy.
    pub(crate) rate_ratio: f64,
}

impl Streaming {
    /// # Errors
    /// When a body is not complete.
    pub(crate) async fn measure(&self, environment: &Environment<'_>) -> Result<Vec<Row>> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let url = format!("http://{}/", listener.local_addr()?);
        let mut upstream = JoinSet::new();
        upstream.spawn(serve(listener));

        let service = environment.service(&[(self.upstream, &url)]).await?;
        let proxy = environment.own_command(&["bare-proxy", "--upstream", &url]).await?;
        let [mut rate, mut cpu_s] = [(); 2].map(|()| [Samples::default(), Samples::default()]);
        let mut ratio = Samples::default();
        while environment.plan.wants_more(&ratio) {
            let mut rates = [0.0; 2];
            for (side, (server, target)) in
                [(&service, self.target), (&proxy, "/")].into_iter().enumerate()
            {
                let before = server.endpoint.cpu_time()?;
                rates[side] = download(server, target).await?;
                cpu_s[side].push(server.endpoint.cpu_time()?.saturating_sub(before).as_secs_f64());
                rate[side].push(rates[side]);
            }
            ratio.push(rates[0] / rates[1]);
        }
        let peaks = [service.endpoint.peak_mib()?, proxy.endpoint.peak_mib()?];
        service.stop().await?;

        let row = |figure: &str| Row::new(self.target, &format!("1 GiB: {figure}"));
        let both =
            |figure: &str, [service, bare]: [String; 2]| row(figure).service(service).bare(bare);
        Ok(vec![
            both("MiB a second", rate.map(|rate| format!("{:.0}", rate.median()))),
            row("MiB a second, ratio").samples_at_least(&ratio, Some(self.rate_ratio), ""),
            both("CPU", cpu_s.map(|cpu| cpu.with_interval(" s"))),
            both("memory, peak", peaks.map(|peak| format!("{peak:.1} MiB")))
                .target(format!("< {:.0} MiB", self.memory_mib), peaks[0] < self.memory_mib),
        ])
    }
}

/// The upstream service: answers every request with the large body, as fast as it is taken.
async fn serve(listener: TcpListener) -> Result<()> {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await?;
        connections.spawn(serve_connection(stream));
    }
}

async fn serve_connection(mut stream: TcpStream) -> Result<()> {
    let chunk = vec![b'x'; CHUNK];
    let mut head = Vec::new();
    while stream.read_buf(&mut head).await? > 0 {
        if !head.ends_with(b"\r\n\r\n") {
            continue;
        }
        head.clear();
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {BODY}\r\n\r\n"
        );
        stream.write_all(answer.as_bytes()).await?;
        for _ in 0..BODY / CHUNK {
            stream.write_all(&chunk).await?;
        }
    }
    Ok(())
}

/// Downloads the large body. Returns the MiB a second.
async fn download(server: &Server, target: &'static str) -> Result<f64> {
    let started = Instant::now();
    let body = receive(server, target).await?;
    let seconds = started.elapsed().as_secs_f64();
    ensure!(body == BODY, "{body} bytes of {BODY} came");
    Ok(f64::from(BODY_MIB) / seconds)
}

/// Downloads a body and throws it away. Returns the bytes that came behind the head, with the framing where
/// it has chunks.
pub(super) async fn receive(server: &Server, target: &'static str) -> Result<usize> {
    let mut stream = TcpStream::connect(server.addr).await?;
    stream.write_all(Request::get(target).to_http(server.addr, "close").as_bytes()).await?;
    let (mut chunk, mut received) = (vec![0; CHUNK], 0);
    let mut start = Vec::new();
    loop {
        let length = stream.read(&mut chunk).await?;
        if length == 0 {
            break;
        }
        if received < CHUNK {
            start.extend_from_slice(&chunk[..length]);
        }
        received += length;
    }
    let head = start.windows(4).position(|window| window == b"\r\n\r\n").map(|end| end + 4);
    let head = head.context("an answer without an end of its head")?;
    ensure!(start.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&start[..head]));
    Ok(received - head)
}

/// `bench bare-proxy`: hands through what another server answers, until it is killed.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Port on 127.0.0.1.
    #[arg(long)]
    port: u16,
    /// URL of the other server.
    #[arg(long)]
    upstream: reqwest::Url,
}

/// Serves with one worker, reqwest and nothing around it, until the process is stopped.
///
/// # Errors
/// When the port is taken.
pub(crate) async fn run(args: Args) -> Result<()> {
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).build()?;
    let upstream = args.upstream;
    let server = HttpServer::new(move || {
        let (client, upstream) = (client.clone(), upstream.clone());
        let hand_through = move || hand_through(client.clone(), upstream.clone());
        App::new()
            .route("/readyz", web::get().to(HttpResponse::Ok))
            .route("/", web::get().to(hand_through))
    })
    .workers(1)
    .bind((Ipv4Addr::LOCALHOST, args.port))?
    .run();
    Ok(server.await?)
}

async fn hand_through(
    client: reqwest::Client,
    upstream: reqwest::Url,
) -> actix_web::Result<HttpResponse> {
    let answer = client.get(upstream).send().await.map_err(ErrorBadGateway)?;
    let length = answer.content_length().ok_or_else(|| ErrorBadGateway("no length"))?;
    let body = Box::pin(answer.bytes_stream().map_err(ErrorBadGateway));
    Ok(HttpResponse::Ok().body(SizedStream::new(length, body)))
}
