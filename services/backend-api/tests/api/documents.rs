//! The OpenAPI document and the behaviour are one.

use test_support::check_document;

use crate::start;

#[tokio::test]
async fn the_document_in_the_repository_is_complete_and_the_one_that_is_served() {
    check_document(&start(&[]), "backend-api").await;
}
