//! The service's own commands.

use std::time::Duration;

use server::cli::{Program, Work};

use crate::token::Tokens;
use crate::{Config, store};

/// What `randomize` can do beside serving.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Apply pending migrations to the database.
    Migrate,
    /// Print a token for `GET /api/histories`, signed with `JWT_SECRET`.
    Token {
        /// Whom it is for.
        #[arg(long)]
        subject: String,
        /// How long it is valid.
        #[arg(long, default_value = "1h", value_parser = humantime::parse_duration)]
        ttl: Duration,
    },
}

impl Command {
    /// What the command comes to.
    #[must_use]
    pub fn work(self, program: Program<Config>) -> Work<Config> {
        match self {
            Self::Migrate => Work::once(program, store::migrate),
            Self::Token { subject, ttl } => Work::once(program, async move |config: Config| {
                let secret = config.api.jwt_secret.as_ref().ok_or("JWT_SECRET is required")?;
                Ok(Tokens::new(secret)?.issue(subject, ttl)?)
            }),
        }
    }
}
