//! How the databases answer: by key, however many rows there are.

use sqlx::{Connection as _, PgConnection, SqliteConnection};
use test_support::Sql;

use crate::database;

/// Each query and what stands in it for its parameters.
fn queries() -> [(&'static str, String); 4] {
    randomize::queries().map(|(name, query)| {
        let time = "'2026-01-01T00:00:00Z'";
        let literal =
            if name == "expire" { query.replace("$1", time) } else { query.replace("$1", "7") };
        (name, literal.replace("$2", "20"))
    })
}

#[tokio::test]
async fn sqlite_searches_by_key_and_sorts_nothing() {
    let database = database(Sql::Sqlite).await.unwrap();
    let mut connection = SqliteConnection::connect(database.url()).await.unwrap();
    for (name, query) in queries() {
        let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {query}"));
        let plan: Vec<(i64, i64, i64, String)> =
            sqlx::query_as(explain).fetch_all(&mut connection).await.unwrap();
        let plan: Vec<_> = plan.into_iter().map(|(.., step)| step).collect();

        assert!(
            plan.iter().any(|step| step.contains("USING INTEGER PRIMARY KEY")),
            "{name}: {plan:?}"
        );
        assert!(!plan.iter().any(|step| step.contains("TEMP B-TREE")), "{name}: {plan:?}");
    }
}

#[tokio::test]
async fn postgres_searches_by_key_and_sorts_nothing() {
    let Some(database) = database(Sql::Postgres).await else { return };
    let mut connection = PgConnection::connect(database.url()).await.unwrap();
    // With few rows it would read the whole table.
    sqlx::query("SET enable_seqscan = off").execute(&mut connection).await.unwrap();
    for (name, query) in queries() {
        let explain = sqlx::AssertSqlSafe(format!("EXPLAIN (COSTS OFF) {query}"));
        let plan: Vec<String> =
            sqlx::query_scalar(explain).fetch_all(&mut connection).await.unwrap();

        assert!(plan.iter().any(|step| step.contains("_pkey")), "{name}: {plan:?}");
        assert!(!plan.iter().any(|step| step.contains("Sort")), "{name}: {plan:?}");
    }
}
