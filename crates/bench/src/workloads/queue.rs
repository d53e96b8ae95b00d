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
use crate::report::{Row, Samples};
use crate::request::Request;
use crate::server::Server;

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
        let mut connection = connect(redis.url()).await?;
        let [mut rate, mut cpu_us] = [(); 2].map(|()| [Samples::default(), Samples::default()]);
        let mut ratio = Samples::default();
        for round in 0..=environment.plan.rounds {
            let mut rates = [0.0; 2];
            for (side, server) in [&service, &bare].into_iter().enumerate() {
                let load = self.load(environment, server).await?;
                rates[side] = load.rate;
                // The first makes both warm.
                if round > 0 {
                    rate[side].push(load.rate);
                    cpu_us[side].push(load.cpu_us);
                }
                // As many wait at the start of each round, for both.
                redis::cmd("FLUSHALL").exec_async(&mut connection).await?;
            }
            if round > 0 {
                ratio.push(rates[0] / rates[1]);
            }
        }
        service.stop().await?;

        let row = |figure: &str| {
            let figure = format!("Redis, {MANY_CONNECTIONS} connections: {figure}");
            Row::new(self.request.target, &figure)
        };
        let both =
            |figure: &str, [service, bare]: [String; 2]| row(figure).service(service).bare(bare);
        let least = self.rate_ratio;
        Ok(vec![
            both("requests a second", rate.map(|rate| format!("{:.0}", rate.median()))),
            row("requests a second, ratio")
                .service(ratio.with_range(""))
                .target(format!("≥ {least:.2}"), ratio.median() >= least),
            both("CPU a request", cpu_us.map(|cpu| cpu.with_range(" µs"))),
        ])
    }

    async fn load(&self, environment: &Environment<'_>, server: &Server) -> Result<load::Closed> {
        let (script, time) = (environment.path("request.lua"), environment.plan.round);
        load::closed(server, &self.request, &script, MANY_CONNECTIONS, time).await
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
