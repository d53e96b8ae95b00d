//! That no client can grow the number of series.

use test_support::hammer;

use crate::Service;

#[tokio::test]
async fn no_client_can_grow_the_number_of_series() {
    hammer(&Service::start(&[]).await.app).await;
}
