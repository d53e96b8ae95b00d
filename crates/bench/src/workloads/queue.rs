//! Requests that queue a job in Redis, beside a bare server that does one `XADD` for each.

use std::net::Ipv4Addr;

use actix_web::{App, HttpResponse, HttpServer, error::ErrorBadGateway, web};
use anyhow::{Context as _, Result};
use redis::{
    AsyncConnectionConfig, Client, IntoConnectionInfo as _, aio::MultiplexedConnection,
    io::tcp::TcpSettings,
};

use crate::environment::Environment;
use crate::load::{self, MANY_CONNECTIONS};
use crate::report::Row;
use crate::request::Request;
use crate::rounds::{Ratio, Rounds};

/// Requests that queue a job, while nobody takes any.
pub(crate) struct Queue {
    /// A request that queues a job.
    pub(crate) request: Request,
    /// Fewest requests a second, as a share of the bare server's.
    pub(crate) rate_ratio: f64,
}

impl Queue {
    /// # Errors
    /// When an answer is no 2xx.
    pub(crate) async fn measure(&self, environment: &Environment<'_>) -> Result<Vec<Row>> {
        let redis = &environment.stores().context("the subject has no stores")?.redis;
        let service = environment.service(&[]).await?;
        let bare = environment.own_command(&["bare-queue", "--redis", redis.url()]).await?;
        let connection = connect(redis.url()).await?;
        let ratio: Ratio<2> = |[service, bare]| service.rate / bare.rate;
        let rounds = Rounds::run(environment.plan, &[ratio], async |side, time| {
            let (server, script) = ([&service, &bare][side], environment.path("request.lua"));
            let (endpoint, request) = (&server.endpoint, &self.request);
            let load = load::closed(endpoint, request, &script, MANY_CONNECTIONS, time).await?;
            // As many wait at the start of each round, for both.
            redis::cmd("FLUSHALL").exec_async(&mut connection.clone()).await?;
            Ok(load)
        })
        .await?;
        service.stop().await?;

        let row = |figure: &str| {
            let figure = format!("Redis, {MANY_CONNECTIONS} connections: {figure}");
            Row::new(self.request.target, &figure)
        };
        let both =
            |figure: &str, [service, bare]: [String; 2]| row(figure).service(service).bare(bare);
        Ok(vec![
            both("requests a second", rounds.rates().map(|rate| format!("{rate:.0}"))),
            row("requests a second, ratio").samples_at_least(
                &rounds.samples(ratio),
                Some(self.rate_ratio),
                "",
            ),
            both("CPU a request", rounds.cpu_us().map(|cpu| cpu.with_interval(" µs"))),
        ])
    }
}

/// A connection that many may use at once.
pub(crate) async fn connect(url: &str) -> Result<MultiplexedConnection> {
    let tcp = TcpSettings::default().set_nodelay(true);
    let client = Client::open(url.into_connection_info()?.set_tcp_settings(tcp))?;
    let config = AsyncConnectionConfig::new().set_response_timeout(None);
    Ok(client.get_multiplexed_async_connection_with_config(&config).await?)
}

/// `bench bare-queue`: adds what is posted to a stream until it is killed.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Port on 127.0.0.1.
    #[arg(long)]
    port: u16,
    /// URL of Redis.
    #[arg(long)]
    redis: String,
}

/// Serves with one worker, one connection and nothing around the handler, until the process is stopped.
///
/// # Errors
/// When the port is taken.
pub(crate) async fn run(args: Args) -> Result<()> {
    let server = HttpServer::new(move || {
        let redis = args.redis.clone();
        App::new()
            .data_factory(move || {
                let redis = redis.clone();
                // In the worker's own thread, as the service's connection is.
                async move { connect(&redis).await }
            })
            .route("/readyz", web::get().to(HttpResponse::Ok))
            .route("/multivac/data", web::post().to(add))
    })
    .workers(1)
    .bind((Ipv4Addr::LOCALHOST, args.port))?
    .run();
    Ok(server.await?)
}

async fn add(
    body: web::Bytes,
    connection: web::Data<MultiplexedConnection>,
) -> actix_web::Result<HttpResponse> {
    let mut add = redis::cmd("XADD");
    add.arg("bare").arg("*").arg("data").arg(&*body);
    let mut connection = MultiplexedConnection::clone(&connection);
    let id: String = add.query_async(&mut connection).await.map_err(ErrorBadGateway)?;
    let mut answer = HttpResponse::Ok();
    answer.insert_header(("location", id)).content_type("application/json");
    Ok(answer.body(r#"{"response":"MultiVAC updated!"}"#))
}
