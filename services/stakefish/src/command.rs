//! The service's own commands.

use server::cli::{Program, Work};

use crate::{Config, SCHEMA};

/// What `stakefish` can do beside serving.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Apply pending migrations to the database.
    Migrate,
}

impl Command {
    /// What the command comes to.
    #[must_use]
    pub fn work(self, program: Program<Config>) -> Work<Config> {
        match self {
            Self::Migrate => Work::once(program, async |config: Config| {
                storage::migrate(&config.database, &SCHEMA).await
            }),
        }
    }
}
