//! Rust with reqwest, tokio and `serde_json`.
#![expect(clippy::print_stdout, reason = "it is an example that says what it found")]
#![expect(
    clippy::disallowed_methods,
    reason = "it is no service, and where those are is all it reads"
)]

use std::env;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use reqwest::{Client, Method, Response, Url};
use serde_json::{Value, json};

/// How often something that is safe to repeat is sent.
const TRIES: u32 = 5;

fn url(variable: &str, default: &str, path: &str) -> anyhow::Result<Url> {
    let base = env::var(variable).unwrap_or_else(|_| default.to_owned());
    Ok(format!("{base}{path}").parse()?)
}

/// An answer that is a success. What is safe to repeat is repeated, as late as `Retry-After` says.
async fn send(
    client: &Client,
    method: Method,
    url: Url,
    body: Option<(&Value, &str)>,
) -> anyhow::Result<Response> {
    let mut attempt = 1;
    loop {
        let mut request = client.request(method.clone(), url.clone());
        if let Some((body, key)) = body {
            request = request.header("idempotency-key", key).json(body);
        }
        let mut pause = Duration::from_millis(100 << attempt);
        let problem = match request.send().await {
            Ok(answer) if answer.status().is_success() => return Ok(answer),
            Ok(answer) => {
                let is_passing = matches!(answer.status().as_u16(), 429 | 502 | 503 | 504);
                let seconds = answer.headers().get("retry-after");
                let seconds = seconds.and_then(|it| it.to_str().ok()?.parse().ok());
                pause = seconds.map_or(pause, Duration::from_secs);
                // Every error is a problem (RFC 9457).
                let problem: Value = answer.json().await?;
                let text =
                    format!("{} {}", problem["status"], problem["detail"].as_str().unwrap_or(""));
                if !is_passing {
                    bail!(text);
                }
                text
            }
            Err(error) => error.to_string(),
        };
        ensure!(attempt < TRIES, problem);
        tokio::time::sleep(pause).await;
        attempt += 1;
    }
}

/// The next page: it is in the header `Link`, relative to this one.
fn following(answer: &Response) -> Option<Url> {
    let link = answer.headers().get("link")?.to_str().ok()?;
    let reference = link.strip_prefix('<')?.split_once(">; rel=\"next\"")?.0;
    answer.url().join(reference).ok()
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    // With reqwest's feature `rustls-no-provider`, which this workspace has; others leave it out.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = Client::builder().timeout(Duration::from_secs(10)).build()?;

    // With the same key the service stores once what is sent twice.
    let key = format!("rust-{}-{:?}", std::process::id(), std::time::SystemTime::now());
    let key: String = key.chars().filter(char::is_ascii_alphanumeric).collect();
    let data = url("MULTIVAC_URL", "http://127.0.0.1:5003", "/multivac/data")?;
    let mut jobs = Vec::new();
    for _ in 0..2 {
        let datum = json!({"data": "from Rust"});
        let answer = send(&client, Method::POST, data.clone(), Some((&datum, &key))).await?;
        jobs.push(answer.headers().get("location").context("no job")?.clone());
    }
    ensure!(jobs[0] == jobs[1], "the same key made two jobs");
    println!("queued once: {}", jobs[0].to_str()?);

    let words = url("RANDOMIZE_URL", "http://127.0.0.1:5000", "/api/randomizes")?;
    for word in ["one", "two", "three"] {
        let answer = client.post(words.clone()).json(&json!({"word": word})).send().await?;
        answer.error_for_status()?;
    }
    let mut pages = 0;
    let mut page = Some(words.join("?limit=2")?);
    while let Some(url) = page.take_if(|_| pages < 2) {
        let answer = send(&client, Method::GET, url, None).await?;
        page = following(&answer);
        let _: Vec<Value> = answer.json().await?;
        pages += 1;
    }
    println!("pages: {pages}");

    let query = url("SRE_KATA_URL", "http://127.0.0.1:8003", "/query?param=a")?;
    if let Err(problem) = send(&client, Method::GET, query, None).await {
        println!("problem: {problem}");
    }
    Ok(())
}
