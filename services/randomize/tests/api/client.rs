//! A client that others have generated.

use std::path::Path;

use test_support::{GeneratedClient, Sql};

use crate::Service;

const SCRIPT: &str = r#"
import sys
from client import Client
from client.api.randomize import create_randomize, get_histories, get_randomize
from client.models import NewRandomize, Problem

client = Client(base_url=sys.argv[1])
created = create_randomize.sync(client=client, body=NewRandomize(word="string"))
assert sorted(created.jumbled) == sorted("string"), created
assert get_randomize.sync(id=created.id, client=client) == created
assert isinstance(get_randomize.sync(id=created.id + 1, client=client), Problem)
assert get_histories.sync(client=client)[0].status == "201 CREATED"
print("created and read", created.original)
"#;

#[tokio::test]
async fn a_generated_client_creates_and_reads_a_word() {
    let document = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi/randomize.json");
    let Some(client) = GeneratedClient::generate(Path::new(document)) else { return };
    let service = Service::start(Sql::Sqlite, &[]).await.unwrap();

    let printed = client.run(SCRIPT, &[&service.app.url("")]).await;

    assert_eq!(printed, "created and read string\n");
}
