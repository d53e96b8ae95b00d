//! The commands beside those that every service has.

use std::fmt::Write as _;
use std::time::Duration;

use clap::Subcommand;
use server::Application;
use server::cli::{Outcome, Program, Work};

use crate::config::{Config, SERVICE, WORKER};
use crate::{store, worker};

/// How long a command waits for the stores.
const READY_TIMEOUT: Duration = Duration::from_secs(10);

/// The commands of this program.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve, as without a command.
    Server,
    /// Move jobs from the queue into the store, with Redis and MongoDB.
    Worker,
    /// List or retry the jobs that the store has refused too often.
    #[command(subcommand)]
    DeadLetters(DeadLetters),
}

/// The commands for dead letters.
#[derive(Debug, Subcommand)]
pub enum DeadLetters {
    /// Print the oldest, a JSON object in each line.
    List {
        /// How many.
        #[arg(long, default_value_t = 100)]
        limit: usize,
    },
    /// Queue them again, with no attempts counted.
    Retry(Selection),
}

/// Which dead letters.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub struct Selection {
    /// That of this job.
    id: Option<String>,
    /// All of them.
    #[arg(long)]
    all: bool,
}

impl Command {
    /// What the program does for a command.
    #[must_use]
    pub fn work(self, program: Program<Config>) -> Work<Config> {
        match self {
            Self::Server => Work::Serve(program),
            Self::Worker => Work::Serve(Program {
                service: WORKER,
                load: Config::load_worker,
                build: worker::build,
                ..program
            }),
            Self::DeadLetters(command) => Work::once(program, |config| command.run(config)),
        }
    }
}

impl DeadLetters {
    async fn run(self, config: Config) -> Outcome {
        let application = Application::new(SERVICE, &config.common);
        let store = store::open(&config, &application.context)?;
        let readiness = &application.context.readiness;
        let ready = readiness.wait(READY_TIMEOUT).await;
        ready.map_err(|failing| format!("cannot be reached: {failing}"))?;
        let mut text = String::new();
        match self {
            Self::List { limit } => {
                for dead_letter in store.dead_letters(limit).await? {
                    writeln!(text, "{}", serde_json::to_string(&dead_letter)?)?;
                }
            }
            Self::Retry(Selection { id, .. }) => match (store.retry(id.as_deref()).await?, id) {
                (0, Some(id)) => return Err(format!("there is no dead letter {id}").into()),
                (count, _) => writeln!(text, "queued anew: {count}")?,
            },
        }
        Ok(text)
    }
}
