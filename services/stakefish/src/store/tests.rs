//! How the databases run the statements, where there is much in the tables.

use sqlx::{AssertSqlSafe, Connection as _, PgConnection, SqliteConnection};
use test_support::Sql;

use super::SCHEMA;

/// What is saved: two lookups of a name. On one line, because comments name parameters too.
const ITEMS: &str = concat!(
    "'[",
    r#"{"domain":"a.example","client_ip":"::1","created_at":"2026-01-01T00:00:00.000Z","#,
    r#""addresses":["192.0.2.1","192.0.2.2"]},"#,
    r#"{"domain":"a.example","client_ip":"::1","created_at":"2026-01-01T00:00:00.000Z","#,
    r#""addresses":["192.0.2.1"]}"#,
    "]'",
);

/// A statement with values in the place of its parameters.
fn with_values(sql: &str, values: [&str; 2]) -> String {
    sql.replace("$1", values[0]).replace("$2", values[1])
}

/// How PostgreSQL runs a statement, in a database with much in each table.
async fn postgres_plans<const N: usize>(statements: [(&str, [&str; 2]); N]) -> Option<[String; N]> {
    let database = Sql::Postgres.database().await?;
    let mut connection = PgConnection::connect(database.url()).await.unwrap();
    SCHEMA.postgres.run(&mut connection).await.unwrap();
    for fill in [
        "INSERT INTO addresses SELECT '10.0.0.0'::inet + n FROM generate_series(0, 9999) AS n",
        "INSERT INTO queries (domain, client_ip, created_at) \
         SELECT n || '.example', '127.0.0.1', now() FROM generate_series(1, 100000) AS n",
        "INSERT INTO query_addresses SELECT id, '10.0.0.0'::inet + id % 10000 FROM queries",
        "INSERT INTO domain_counts SELECT domain, 1, 1 FROM queries",
        "INSERT INTO domain_deltas (domain, queries, addresses) SELECT domain, 1, 1 FROM queries",
        "ANALYZE",
    ] {
        sqlx::query(fill).execute(&mut connection).await.unwrap();
    }
    let mut plans = [const { String::new() }; N];
    for (plan, (sql, values)) in plans.iter_mut().zip(statements) {
        let explain = AssertSqlSafe(format!("EXPLAIN {}", with_values(sql, values)));
        let steps: Vec<String> =
            sqlx::query_scalar(explain).fetch_all(&mut connection).await.unwrap();
        *plan = steps.join("\n");
    }
    Some(plans)
}

/// How SQLite runs each of some statements.
async fn sqlite_plans(statements: &str, values: [&str; 2]) -> Vec<Vec<String>> {
    let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
    SCHEMA.sqlite.run(&mut connection).await.unwrap();
    // What refers to a new row is looked for only where a violation is pending, which the plan does not tell.
    sqlx::query("PRAGMA foreign_keys = OFF").execute(&mut connection).await.unwrap();
    let mut plans = Vec::new();
    let statements = with_values(statements, values);
    for statement in statements.split(';').filter(|statement| !statement.trim().is_empty()) {
        let explain = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}"));
        let steps: Vec<(i64, i64, i64, String)> =
            sqlx::query_as(explain).fetch_all(&mut connection).await.unwrap();
        plans.push(steps.into_iter().map(|(.., detail)| detail).collect());
    }
    plans
}

/// A plan that has these steps, and reads no large table as a whole.
fn assert_by_keys(plan: &str, steps: &[&str]) {
    for step in steps {
        assert!(plan.contains(step), "{step}:\n{plan}");
    }
    for table in ["queries", "query_addresses", "addresses", "domain_counts", "domain_deltas"] {
        assert!(!plan.contains(&format!("Seq Scan on {table} ")), "{plan}");
    }
}

#[tokio::test]
async fn postgres_reads_and_writes_by_keys() {
    let statements = [
        (include_str!("postgres/history.sql"), ["50000", "21"]),
        (include_str!("top.sql"), ["100", ""]),
        (include_str!("postgres/save.sql"), [ITEMS, ""]),
        (include_str!("postgres/fold.sql"), ["10000", ""]),
    ];
    let Some([history, top, save, fold]) = postgres_plans(statements).await else { return };

    let latest = "Index Scan Backward using queries_pkey on queries";
    assert_by_keys(&history, &[latest, "using query_addresses_pkey"]);
    assert_by_keys(&top, &["using domain_counts_most_queries", "Seq Scan on domain_totals"]);
    // It finds nothing but its own rows; keys alone are looked up, by the indexes that they have.
    assert_by_keys(&save, &["Function Scan on jsonb_to_recordset", "Insert on addresses"]);
    assert!(!save.contains("Index"), "{save}");
    let conflicts = "Conflict Arbiter Indexes: domain_counts_pkey";
    let deltas = "Index Scan using domain_deltas_pkey on domain_deltas";
    let oldest = "Index Only Scan using domain_deltas_pkey on domain_deltas";
    assert_by_keys(&fold, &[conflicts, deltas, oldest]);
    assert!(!fold.contains("Sort"), "{fold}");
}

#[tokio::test]
async fn sqlite_reads_by_keys() {
    let history = sqlite_plans(include_str!("sqlite/history.sql"), ["50000", "21"]).await;
    let top = sqlite_plans(include_str!("top.sql"), ["100", ""]).await;

    for (plan, steps) in [
        (
            &history[0],
            &[
                "SEARCH queries USING INTEGER PRIMARY KEY (rowid<?)",
                "SEARCH query_addresses USING PRIMARY KEY (query_id=?)",
            ][..],
        ),
        (&top[0], &["SCAN domain_counts USING INDEX domain_counts_most_queries"]),
    ] {
        for step in steps {
            assert!(plan.iter().any(|found| found == step), "{plan:?}");
        }
        assert!(!plan.iter().any(|step| step.contains("TEMP B-TREE")), "{plan:?}");
    }
}

#[tokio::test]
async fn sqlite_saves_without_reading_a_table() {
    let plans = sqlite_plans(include_str!("sqlite/save.sql"), [ITEMS, ""]).await;

    assert_eq!(plans.len(), 7, "{plans:?}");
    for step in plans.iter().flatten() {
        let of_the_items = step.contains("VIRTUAL TABLE") || step == "USE TEMP B-TREE FOR GROUP BY";
        // The greatest id, at the end of the tree.
        let of_the_last = step == "SEARCH queries" || step.starts_with("SCALAR SUBQUERY");
        assert!(of_the_items || of_the_last, "{plans:?}");
    }
}

#[tokio::test]
async fn sqlite_folds_the_oldest_deltas_in_the_order_of_their_keys() {
    let plans = sqlite_plans(include_str!("sqlite/fold.sql"), ["10000", ""]).await;

    let [total, counted, removed] = &plans[..] else { panic!("{plans:?}") };
    // In the order of the key, so that LIMIT ends it: nothing is sorted before.
    for plan in [total, counted, removed] {
        assert!(plan.iter().any(|step| step == "SCAN domain_deltas"), "{plan:?}");
        assert!(!plan.iter().any(|step| step.contains("ORDER BY")), "{plan:?}");
    }
    let by_key = "SEARCH domain_deltas USING INTEGER PRIMARY KEY (rowid=?)";
    assert!(removed.iter().any(|step| step == by_key), "{removed:?}");
}
