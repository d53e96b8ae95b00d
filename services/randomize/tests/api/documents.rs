//! The OpenAPI document and the behaviour are one.

use test_support::{Sql, check_document};

use crate::Service;

#[tokio::test]
async fn the_document_in_the_repository_is_complete_and_the_one_that_is_served() {
    let service = Service::start(Sql::Sqlite, &[]).await.unwrap();

    check_document(&service.app, "randomize").await;
}
