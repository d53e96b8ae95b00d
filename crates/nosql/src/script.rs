//! Scripts of Redis, each of which it runs as one step.

use std::sync::OnceLock;

use ::redis::{FromRedisValue, RedisResult, ToRedisArgs};

use crate::redis::Connections;

/// A script in Lua. Redis knows it by its hash, and is sent the text where it does not.
#[derive(Debug)]
pub struct Script {
    text: &'static str,
    hashed: OnceLock<::redis::Script>,
}

impl Script {
    /// The script of this text.
    #[must_use]
    pub const fn new(text: &'static str) -> Self {
        Self { text, hashed: OnceLock::new() }
    }

    /// Runs it with these `KEYS` and `ARGV`.
    ///
    /// # Errors
    /// When Redis fails. What [`was_refused`](crate::redis::was_refused) then has changed nothing.
    pub async fn run<T: FromRedisValue>(
        &self,
        redis: &Connections,
        keys: &[&str],
        arguments: impl ToRedisArgs,
    ) -> RedisResult<T> {
        let script = self.hashed.get_or_init(|| ::redis::Script::new(self.text));
        script.key(keys).arg(arguments).invoke_async(&mut redis.commands()).await
    }
}
