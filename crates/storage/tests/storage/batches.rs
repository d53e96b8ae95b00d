//! Many requests' items, and their commits.

use futures_util::future::join_all;
use futures_util::poll;
use storage::Error;
use test_support::{on_both_databases, wait_until};
use tokio::time::timeout;

use crate::{SCHEMA, TIMEOUT, Words};

on_both_databases! {
    async fn items_of_many_requests_share_commits(sql: Sql) {
        let Some(database) = sql.database().await else { return };
        let words = Words::start(&database).await;

        let writes = (0..500).map(|n| words.writer.write(format!("word {n}")));
        let ids: Vec<_> = join_all(writes).await.into_iter().map(Result::unwrap).collect();

        let mut sorted = ids.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(sorted.len(), 500, "each has an id of its own");
        assert_eq!(words.count().await.unwrap(), 500);
        assert!(words.metric("db_client_batch_size_count").await <= 5);
        assert_eq!(words.metric("db_client_batch_size_sum").await, 500);
    }

    async fn items_that_wait_take_from_the_memory_budget(sql: Sql) {
        let Some(database) = sql.database().await else { return };
        // A budget of 1 MiB, whatever is in it.
        let variables = [("DATABASE_URL", database.url()), ("MEMORY_LIMIT", "4MiB")];
        let words = Words::begin(&variables, &SCHEMA);
        words.wait_until_ready(true).await;

        let writes = (0..30).map(|n| words.writer.write(format!("{n:060000}")));
        let outcomes = join_all(writes).await;

        let stored = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        assert_eq!(stored, 17, "{outcomes:?}");
        assert!(outcomes.iter().all(|outcome| matches!(outcome, Ok(_) | Err(Error::Overloaded))));
        assert_eq!(words.metric("memory_budget_used_bytes{kind=\"queues\"}").await, 0);
        words.writer.write("again".into()).await.unwrap();
    }

    async fn an_item_that_is_refused_fails_alone(sql: Sql) {
        let Some(database) = sql.database().await else { return };
        let words = Words::start(&database).await;
        words.writer.write("taken".into()).await.unwrap();

        let writes = ["a", "taken", "b", "c"].map(|word| words.writer.write(word.to_owned()));
        let outcomes = join_all(writes).await;

        assert!(matches!(outcomes[1], Err(Error::Refused(_))), "{outcomes:?}");
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 3);
        assert_eq!(words.count().await.unwrap(), 4);
    }

    async fn items_are_written_also_where_those_who_write_them_are_gone(sql: Sql) {
        let Some(database) = sql.database().await else { return };
        let words = Words::start(&database).await;
        let write = |n| Box::pin(words.writer.write(format!("word {n}")));
        let mut writes: Vec<_> = (0..4).map(write).collect();
        for write in &mut writes {
            assert!(poll!(write).is_pending());
        }

        // The first is writing, the second is to write for the others.
        drop(writes.drain(..2));

        for outcome in timeout(TIMEOUT, join_all(writes)).await.unwrap() {
            outcome.unwrap();
        }
        wait_until("all are written", TIMEOUT, async || words.count().await.unwrap() == 4).await;
    }

    async fn an_item_that_nobody_waits_for_is_written_soon(sql: Sql) {
        let Some(database) = sql.database().await else { return };
        let words = Words::start(&database).await;

        words.writer.write_later("later".into());

        wait_until("it is written", TIMEOUT, async || words.count().await.unwrap() == 1).await;
    }

    async fn what_is_queued_at_a_stop_is_written_before_the_end(sql: Sql) {
        let Some(database) = sql.database().await else { return };
        let words = Words::start(&database).await;
        let writer = words.writer.clone();
        for n in 0..1000 {
            writer.write_later(format!("later {n}"));
        }

        assert!(words.stop().await);

        let words = Words::start(&database).await;
        assert_eq!(words.count().await.unwrap(), 1000);
        assert!(matches!(writer.write("too late".into()).await, Err(Error::Unavailable(_))));
    }

    async fn a_refused_item_that_nobody_waits_for_is_counted(sql: Sql) {
        let Some(database) = sql.database().await else { return };
        let words = Words::start(&database).await;
        words.writer.write("taken".into()).await.unwrap();

        words.writer.write_later("taken".into());
        words.writer.write_later("free".into());

        wait_until("both are done", TIMEOUT, async || words.count().await.unwrap() == 2).await;
        assert_eq!(words.metric("db_client_rows_lost_total").await, 1);
    }
}
