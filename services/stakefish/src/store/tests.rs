//! How the databases read, where there is much to read.

use sqlx::{AssertSqlSafe, Connection as _, PgConnection, SqliteConnection};
use test_support::Sql;

use super::SCHEMA;

/// A statement with values in the place of its parameters.
fn with_values(sql: &str, values: [&str; 2]) -> String {
    sql.replace("$1", values[0]).replace("$2", values[1])
}

#[tokio::test]
async fn postgres_reads_the_history_and_the_counts_by_their_keys() {
    let Some(database) = Sql::Postgres.database().await else { return };
    let mut connection = PgConnection::connect(database.url()).await.unwrap();
    SCHEMA.postgres.run(&mut connection).await.unwrap();
    for fill in [
        "INSERT INTO addresses SELECT '10.0.0.0'::inet + n FROM generate_series(0, 999) AS n",
        "INSERT INTO queries (domain, client_ip, created_at) \
         SELECT n || '.example', '127.0.0.1', now() FROM generate_series(1, 100000) AS n",
        "INSERT INTO query_addresses SELECT id, '10.0.0.0'::inet + id % 1000 FROM queries",
        "INSERT INTO domain_counts SELECT domain, 1, 1 FROM queries",
        "ANALYZE",
    ] {
        sqlx::query(fill).execute(&mut connection).await.unwrap();
    }

    for (sql, values, indexes) in [
        (
            include_str!("postgres/history.sql"),
            ["50000", "21"],
            ["Index Scan Backward using queries_pkey", "using query_addresses_pkey"],
        ),
        (
            include_str!("top.sql"),
            ["100", ""],
            ["using domain_counts_most_queries", "Seq Scan on domain_totals"],
        ),
    ] {
        let explain = format!("EXPLAIN {}", with_values(sql, values));
        let plan: Vec<String> =
            sqlx::query_scalar(AssertSqlSafe(explain)).fetch_all(&mut connection).await.unwrap();
        let plan = plan.join("\n");
        for index in indexes {
            assert!(plan.contains(index), "{plan}");
        }
        for table in ["queries", "query_addresses", "domain_counts"] {
            assert!(!plan.contains(&format!("Seq Scan on {table} ")), "{plan}");
        }
    }
}

#[tokio::test]
async fn sqlite_reads_the_history_and_the_counts_by_their_keys() {
    let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
    SCHEMA.sqlite.run(&mut connection).await.unwrap();

    for (sql, values, expected) in [
        (
            include_str!("sqlite/history.sql"),
            ["50000", "21"],
            vec![
                "SEARCH queries USING INTEGER PRIMARY KEY (rowid<?)",
                "SEARCH query_addresses USING PRIMARY KEY (query_id=?)",
            ],
        ),
        (
            include_str!("top.sql"),
            ["100", ""],
            vec!["SCAN domain_counts USING INDEX domain_counts_most_queries"],
        ),
    ] {
        let explain = format!("EXPLAIN QUERY PLAN {}", with_values(sql, values));
        let plan: Vec<(i64, i64, i64, String)> =
            sqlx::query_as(AssertSqlSafe(explain)).fetch_all(&mut connection).await.unwrap();
        let plan: Vec<String> = plan.into_iter().map(|(.., detail)| detail).collect();
        for step in expected {
            assert!(plan.iter().any(|found| found == step), "{plan:?}");
        }
        assert!(!plan.iter().any(|step| step.contains("TEMP B-TREE")), "{plan:?}");
    }
}
