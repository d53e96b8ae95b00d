//! A game day: faults on purpose in a running stack, and whether alerts, probes and clients tell what they should.
//!
//! Alerts look at minutes and hours. A scrape every tenth of a second stands for one a minute, and `promtool` evaluates
//! the rules on what was scraped.

mod plays;
mod rules;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use test_support::{Binary, free_port};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep, timeout};
use tooling::workspace::{self, Workspace};

use crate::process::say;
use crate::services::SERVICES;
use crate::table;
use plays::{BROKEN, PLAYS, Play};
use rules::Scrapes;

/// Stands for a minute.
const TICK: Duration = Duration::from_millis(100);

/// How many ticks a play has before its fault, with it, and after it.
const BEFORE: usize = 15;
const DURING: usize = 75;
const AFTER: usize = 40;

/// From which tick of a fault on everybody has noticed it.
const NOTICED: usize = 30;

/// How long the stack may take to be ready, or ready again.
const PATIENCE: Duration = Duration::from_mins(1);

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The program that evaluates rules.
    #[arg(long, value_name = "PATH", default_value = "promtool")]
    promtool: PathBuf,
    /// Play only those whose name has this in it.
    only: Option<String>,
}

/// A service of the game, and where it is.
struct Player {
    name: &'static str,
    port: u16,
    admin_port: u16,
    _binary: Binary,
}

/// # Errors
/// When the stack does not start, an alert does not fire or fires for too long, a probe or a client sees something
/// else than the play says, something does not heal, or `docs/failures.md` says otherwise.
pub(crate) async fn run(args: &Args) -> anyhow::Result<()> {
    let workspace = Workspace::load()?;
    let packages: Vec<_> = SERVICES.iter().map(|service| service.package).collect();
    ensure!(workspace::build(&packages).status()?.success(), "the build failed");
    let client = Client::builder().no_proxy().timeout(Duration::from_secs(20)).build()?;
    let players = start(&workspace);
    for player in &players {
        player.wait_until_ready(&client).await?;
    }
    let only = args.only.as_deref().unwrap_or_default();
    let (mut rows, mut problems) = (Vec::new(), Vec::new());
    for play in PLAYS.iter().filter(|play| play.name.contains(only)) {
        say(&format!("playing: {}", play.name));
        let found = play_one(play, &players, &client, args, &workspace).await;
        let result = if found.is_ok() { "as it should" } else { "NOT AS IT SHOULD" };
        problems.extend(found.err().map(|error| format!("{}: {error:#}", play.name)));
        rows.push([play.name.to_owned(), play.alert.to_owned(), result.to_owned()]);
    }
    say(table::render(["FAULT", "ALERT", "RESULT"], &rows).trim_end());
    let documented = std::fs::read_to_string(workspace.root.join("docs/failures.md"))?;
    let missing = PLAYS.iter().map(Play::row).filter(|row| !documented.contains(row));
    problems.extend(missing.map(|row| format!("docs/failures.md lacks this row:\n{row}")));
    ensure!(problems.is_empty(), "{}", problems.join("\n"));
    Ok(())
}

/// Starts every service, each with an admin port where faults can be set.
fn start(workspace: &Workspace) -> Vec<Player> {
    let data_api = free_port();
    let url = format!("http://127.0.0.1:{data_api}/logs/download");
    SERVICES
        .iter()
        .map(|service| {
            let port = if service.name == "data-api" { data_api } else { free_port() };
            let admin_port = free_port();
            let (own, admin) = (port.to_string(), admin_port.to_string());
            let mut variables: BTreeMap<&str, &str> = service.env.iter().copied().collect();
            variables.extend([
                ("HOST", "127.0.0.1"),
                ("PORT", &own),
                ("ADMIN_PORT", &admin),
                ("FAULT_INJECTION", "true"),
                ("OPERATION_DELAY", "0s"),
                ("PROCESSING_DELAY", "0s"),
            ]);
            if service.name == "backend-api" {
                variables.insert("EXTERNAL_API_URL", &url);
            }
            let variables: Vec<_> = variables.into_iter().collect();
            let program = workspace.binary(service.package);
            let binary = Binary::start(&program.to_string_lossy(), service.args, &variables);
            Player { name: service.name, port, admin_port, _binary: binary }
        })
        .collect()
}

impl Player {
    async fn readyz(&self, client: &Client) -> anyhow::Result<(u16, Value)> {
        let url = format!("http://127.0.0.1:{}/readyz", self.port);
        let answer = client.get(url).send().await?;
        let status = answer.status().as_u16();
        Ok((status, serde_json::from_str(&answer.text().await?).unwrap_or_default()))
    }

    async fn wait_until_ready(&self, client: &Client) -> anyhow::Result<()> {
        let ready = async {
            while !self.readyz(client).await.is_ok_and(|(status, _)| status == 200) {
                sleep(TICK).await;
            }
        };
        let ready = timeout(PATIENCE, ready).await;
        ready.with_context(|| format!("{} is not ready after {PATIENCE:?}", self.name))
    }

    async fn set_faults(&self, client: &Client, rules: &Value) -> anyhow::Result<()> {
        let url = format!("http://127.0.0.1:{}/faults", self.admin_port);
        let answer = client.put(url).json(&json!({ "rules": rules })).send().await?;
        let status = answer.status();
        ensure!(status.is_success(), "the rules are refused: {}", answer.text().await?);
        Ok(())
    }

    async fn metrics(&self, client: &Client) -> anyhow::Result<String> {
        let url = format!("http://127.0.0.1:{}/metrics", self.admin_port);
        Ok(client.get(url).send().await?.error_for_status()?.text().await?)
    }
}

fn player<'a>(players: &'a [Player], name: &str) -> anyhow::Result<&'a Player> {
    players.iter().find(|player| player.name == name).with_context(|| format!("no {name}"))
}

async fn play_one(
    play: &Play,
    players: &[Player],
    client: &Client,
    args: &Args,
    workspace: &Workspace,
) -> anyhow::Result<()> {
    let (faulty, seen_at) = (player(players, play.faulty)?, player(players, play.seen_at)?);
    let mut scrapes = Scrapes::new(play.seen_at);
    let mut ticks = interval(TICK);
    let url = format!("http://127.0.0.1:{}{}", seen_at.port, play.path);
    let ask = async |number: usize, scrapes: &mut Scrapes, ticks: &mut tokio::time::Interval| {
        let mut requests = JoinSet::new();
        for _ in 0..number {
            ticks.tick().await;
            requests.spawn(status_of(client.clone(), play.method.clone(), url.clone(), play.body));
            scrapes.push(&seen_at.metrics(client).await?);
        }
        Ok::<_, anyhow::Error>(requests)
    };

    let statuses = ask(BEFORE, &mut scrapes, &mut ticks).await?.join_all().await;
    ensure!(statuses.iter().all(|it| *it == play.usual), "before the fault: {statuses:?}");

    faulty.set_faults(client, &play.rules()).await?;
    let mut during = ask(NOTICED, &mut scrapes, &mut ticks).await?;
    let (status, problem) = seen_at.readyz(client).await?;
    let failing = problem["checks"][0].as_str();
    ensure!(failing == play.check, "/readyz: {status} {problem}");
    let healthz = format!("http://127.0.0.1:{}/healthz", faulty.port);
    ensure!(client.get(healthz).send().await?.status() == StatusCode::OK, "it is not alive");
    let more = ask(DURING - NOTICED, &mut scrapes, &mut ticks).await?;
    let mut statuses = more.join_all().await;
    while let Some(status) = during.join_next().await {
        statuses.push(status?);
    }
    ensure!(statuses.contains(&play.promised), "nobody got {}: {statuses:?}", play.promised);
    let other = statuses.iter().find(|it| ![play.promised, play.usual].contains(it));
    ensure!(other.is_none(), "somebody got {other:?}");
    ensure!(
        play.is_partial || statuses.iter().all(|it| *it == play.promised),
        "not everybody got {}: {statuses:?}",
        play.promised
    );

    faulty.set_faults(client, &json!([])).await?;
    for player in [faulty, seen_at] {
        player.wait_until_ready(client).await?;
    }
    let deadline = Instant::now() + PATIENCE;
    while status_of(client.clone(), play.method.clone(), url.clone(), play.body).await != play.usual
    {
        if Instant::now() >= deadline {
            bail!("it does not heal");
        }
        sleep(TICK).await;
    }
    ticks.reset();
    let statuses = ask(AFTER, &mut scrapes, &mut ticks).await?.join_all().await;
    ensure!(statuses.iter().all(|it| *it == play.usual), "after the fault: {statuses:?}");

    scrapes.evaluate(args.promtool.as_path(), &workspace.root, play.alert, BEFORE, BEFORE + DURING)
}

/// The status of an answer that came whole, else [`BROKEN`].
async fn status_of(client: Client, method: Method, url: String, body: Option<&'static str>) -> u16 {
    let mut request = client.request(method, url);
    if let Some(body) = body {
        request = request.header("content-type", "application/json").body(body);
    }
    let Ok(answer) = request.send().await else { return BROKEN };
    let status = answer.status().as_u16();
    if answer.bytes().await.is_ok() { status } else { BROKEN }
}
