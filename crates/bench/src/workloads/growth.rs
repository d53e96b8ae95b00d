//! How the cost of a request grows with what a service has to keep up.

use std::iter::successors;

use anyhow::Result;

use super::rows::filled;
use crate::environment::Environment;
use crate::load;
use crate::request::Request;
use crate::samples::Samples;

/// Keep-alive connections, ten times as many each time; wrk is a process on the same machine, and keeps as many.
const CONNECTIONS: [u16; 5] = [1, 10, 100, 1000, 10_000];

/// Rows that a table begins with.
const FIRST_ROWS: u64 = 10;

/// Rounds of each size; of each point the middle one counts.
const ROUNDS: usize = 3;

/// A request that is asked again and again while something grows.
pub(crate) struct Growth {
    /// What its curve is called.
    pub(crate) name: &'static str,
    /// The scenario whose subject is asked.
    pub(crate) subject: &'static str,
    pub(crate) request: Request,
    pub(crate) of: Grows,
}

/// What grows.
pub(crate) enum Grows {
    /// Connections that all ask at once, up to so many.
    Connections { most: u16 },
    /// The rows of a table that this statement for SQLite fills.
    Rows { variable: &'static str, fill: &'static str },
}

impl Growth {
    /// Sizes, and the CPU time a request with each in microseconds.
    ///
    /// # Errors
    /// When an answer is no 2xx.
    pub(crate) async fn measure(&self, environment: &Environment<'_>) -> Result<Vec<(u64, f64)>> {
        let mut points = Vec::new();
        match self.of {
            Grows::Connections { most } => {
                for connections in CONNECTIONS.into_iter().filter(|number| *number <= most) {
                    let cpu_us = self.cpu_us(environment, &[], connections).await?;
                    points.push((connections.into(), cpu_us));
                }
            }
            Grows::Rows { variable, fill } => {
                let most = environment.plan.grown_rows;
                let sizes = successors(Some(FIRST_ROWS), |rows| Some(rows * 10));
                for rows in sizes.take_while(|rows| *rows <= most) {
                    let file = filled(environment, variable, fill, rows, "grown.db").await?;
                    let url = format!("sqlite://{}", file.display());
                    let env = [(variable, url.as_str())];
                    points.push((rows, self.cpu_us(environment, &env, load::CONNECTIONS).await?));
                    tokio::fs::remove_file(file).await?;
                }
            }
        }
        Ok(points)
    }

    async fn cpu_us(
        &self,
        environment: &Environment<'_>,
        env: &[(&str, &str)],
        connections: u16,
    ) -> Result<f64> {
        let server = environment.service(env).await?;
        let script = environment.path("growth.lua");
        let time = environment.plan.round;
        let mut samples = Samples::default();
        for round in 0..=ROUNDS {
            let load =
                load::closed(&server.endpoint, &self.request, &script, connections, time).await?;
            // The first fills caches, and makes the connections.
            if round > 0 {
                samples.push(load.cpu_us);
            }
        }
        server.stop().await?;
        Ok(samples.median())
    }
}
