//! The OpenAPI document and the behaviour are one.

use test_support::check_document;

use crate::Stores;

#[tokio::test]
async fn the_document_in_the_repository_is_complete_and_the_one_that_is_served() {
    let multivac = Stores::embedded().start(&[]).await;

    check_document(&multivac.server, "multivac").await;
}
