//! The schema: applied, pending, newer, changed.

use storage::{DatabaseConfig, migrate};
use test_support::on_both_databases;

use crate::{SCHEMA, SqlDatabase, Words, schema};

const ADDITIVE: (i64, &str, &str) =
    (20_270_101_000_000, "add language", "ALTER TABLE words ADD COLUMN language TEXT");
const BREAKING: (i64, &str, &str) =
    (20_270_101_000_000, "breaking rename words", "ALTER TABLE words RENAME TO terms");

fn config(database: &SqlDatabase) -> DatabaseConfig {
    DatabaseConfig { database_url: Some(database.url().into()), ..DatabaseConfig::default() }
}

on_both_databases! {
    async fn several_replicas_migrate_an_empty_database_at_once(sql: Sql) {
        let Some(database) = sql.database().await else { return };

        let variables = [("DATABASE_URL", database.url())];
        let replicas: Vec<_> = (0..4).map(|_| Words::begin(&variables, &SCHEMA)).collect();

        for (n, words) in replicas.iter().enumerate() {
            words.wait_until_ready(true).await;
            words.writer.write(format!("word {n}")).await.unwrap();
        }
        assert_eq!(replicas[0].count().await.unwrap(), 4);
    }

    async fn a_pending_migration_waits_for_the_command(sql: Sql) {
        let Some(database) = sql.database().await else { return };
        let variables = [("DATABASE_URL", database.url()), ("AUTO_MIGRATE", "false")];
        let words = Words::begin(&variables, &SCHEMA);
        words.wait_until_ready(false).await;
        assert!(words.writer.write("word".into()).await.is_err());
        test_support::wait_until("the check has run", crate::TIMEOUT, async || {
            let readyz = words.readyz().await;
            readyz.contains("migrations") && !readyz.contains("database")
        })
        .await;

        let told = migrate(&config(&database), &SCHEMA).await.unwrap();

        assert_eq!(told, "applied 20260101000000_words");
        words.wait_until_ready(true).await;
        words.writer.write("word".into()).await.unwrap();
        assert_eq!(migrate(&config(&database), &SCHEMA).await.unwrap(), "nothing to apply");
    }

    async fn a_newer_database_that_only_adds_is_served(sql: Sql) {
        let Some(database) = sql.database().await else { return };
        migrate(&config(&database), schema(&[ADDITIVE])).await.unwrap();

        let words = Words::start(&database).await;

        words.writer.write("word".into()).await.unwrap();
        let told = migrate(&config(&database), &SCHEMA).await.unwrap();
        assert_eq!(
            told,
            "unknown to this release: 20270101000000_add_language\nnothing to apply"
        );
    }

    async fn a_newer_database_that_breaks_with_the_older_is_not(sql: Sql) {
        let Some(database) = sql.database().await else { return };
        migrate(&config(&database), schema(&[BREAKING])).await.unwrap();

        let words = Words::begin(&[("DATABASE_URL", database.url())], &SCHEMA);

        let error = words_error(&words).await;
        assert!(error.contains("newer than this release"), "{error}");
        assert!(error.contains("20270101000000_breaking_rename_words"), "{error}");
        assert!(!words.readiness.is_ready());
        migrate(&config(&database), &SCHEMA).await.unwrap_err();
    }

    async fn a_migration_that_was_changed_after_it_was_applied_is_noticed(sql: Sql) {
        let Some(database) = sql.database().await else { return };
        migrate(&config(&database), schema(&[ADDITIVE])).await.unwrap();
        let (version, name, _) = ADDITIVE;
        let other = schema(&[(version, name, "ALTER TABLE words ADD COLUMN lang TEXT")]);

        let words = Words::begin(&[("DATABASE_URL", database.url())], other);

        let error = words_error(&words).await;
        assert!(error.contains("20270101000000 has been changed"), "{error}");
    }

    async fn a_migration_that_fails_leaves_the_service_not_ready(sql: Sql) {
        let Some(database) = sql.database().await else { return };
        let broken = schema(&[(20_270_101_000_000, "broken", "CREATE TABLE words (id INT)")]);

        let words = Words::begin(&[("DATABASE_URL", database.url())], broken);

        let error = words_error(&words).await;
        assert!(error.contains("a migration failed"), "{error}");
        assert!(error.contains("already exists"), "{error}");
        assert!(words.readyz().await.contains("migrations"));
    }
}

/// Why the schema is not the one that is needed, once that has been found out.
async fn words_error(words: &Words) -> String {
    let mut error = String::new();
    test_support::wait_until("the schema was judged", crate::TIMEOUT, async || {
        error = common::causes(&words.count().await.unwrap_err());
        !error.contains("not connected yet") && !error.contains("being applied")
    })
    .await;
    error
}
