//! What orchestrators and Prometheus ask of every service: probes and metrics.

use actix_web::http::StatusCode;
use actix_web::http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, VARY};
use actix_web::{Either, HttpRequest, HttpResponse, get, web};
use common::metrics::Format;
use common::probes::Check;
use common::{Metrics, Problem, Readiness};
use serde::Serialize;
use utoipa::ToSchema;

/// All checks, for people.
#[derive(Debug, Serialize, ToSchema)]
struct Report {
    ready: bool,
    checks: Vec<Check>,
}

/// Whether the process lives; depends on nothing outside it.
#[utoipa::path(
    tag = "operations",
    responses((status = 200, description = "It lives", body = String, content_type = "text/plain", example = "healthy")),
)]
#[get("/healthz")]
pub(crate) async fn get_liveness() -> &'static str {
    "healthy"
}

/// Whether the service can serve: everything it depends on is there, and it is not about to stop.
#[utoipa::path(
    tag = "operations",
    params(("verbose" = Option<String>, Query, description = "Asks for every check as JSON", allow_reserved, example = "")),
    responses(
        (status = 200, description = "Ready", content(
            (String = "text/plain", example = "ready"),
            (Report = "application/json"),
        )),
        (status = 503, description = "Not ready: the member `checks` names what is missing", content(
            (common::problem::ProblemDetails = "application/problem+json"),
            (Report = "application/json"),
        )),
    ),
)]
#[get("/readyz")]
pub(crate) async fn get_readiness(
    request: HttpRequest,
    readiness: web::Data<Readiness>,
) -> Result<Either<&'static str, HttpResponse>, Problem> {
    let ready = readiness.is_ready();
    let verbose = request.query_string().split('&').any(|parameter| {
        parameter.split_once('=').map_or(parameter, |(name, _)| name) == "verbose"
    });
    if verbose {
        let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        let report = Report { ready, checks: readiness.checks() };
        return Ok(Either::Right(HttpResponse::build(status).json(report)));
    }
    if ready {
        return Ok(Either::Left("ready"));
    }
    let checks = readiness.checks();
    let missing: Vec<&str> =
        checks.iter().filter(|check| !check.is_ok()).map(Check::name).collect();
    Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE)
        .detail(format!("not ready: {}", missing.join(", ")))
        .member("checks", missing))
}

/// The metrics in the Prometheus text format 0.0.4, or as OpenMetrics where the client asks for it.
#[utoipa::path(
    tag = "operations",
    responses((status = 200, description = "The metrics", body = String, content_type = "text/plain")),
)]
#[get("/metrics")]
pub(crate) async fn get_metrics(
    request: HttpRequest,
    metrics: web::Data<Metrics>,
) -> Result<HttpResponse, Problem> {
    let format =
        if wants_openmetrics(request.headers()) { Format::OpenMetrics } else { Format::Prometheus };
    let text = metrics.encode(format).map_err(Problem::internal)?;
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, format.content_type()))
        .insert_header((VARY, "Accept"))
        .body(text))
}

fn wants_openmetrics(headers: &HeaderMap) -> bool {
    headers
        .get_all(ACCEPT)
        .filter_map(|value| value.to_str().ok())
        .any(|accept| accept.contains("application/openmetrics-text"))
}
