//! A client that others have generated from the document of `/v1`.

use test_support::GeneratedClient;

use crate::Service;

const SCRIPT: &str = r#"
import sys
from client import Client
from client.api.v1 import lookup_domain, queries_history, validate_ip
from client.models import Query, ValidateRequest

client = Client(base_url=sys.argv[1])
found = lookup_domain.sync(client=client, domain="example.com")
assert isinstance(found, Query), found
assert [address.ip for address in found.addresses] == ["192.0.2.1", "192.0.2.2"], found
assert queries_history.sync(client=client) == [found]
assert validate_ip.sync(client=client, body=ValidateRequest(ip="192.168.5.4")).status
assert lookup_domain.sync_detailed(client=client, domain="1.2.3.4").status_code == 400
print("looked up", found.domain)
"#;

#[tokio::test]
async fn a_generated_client_looks_a_name_up() {
    let service = Service::start(&[]).await;
    service.dns.set_addresses("example.com", &["192.0.2.2", "192.0.2.1"]);
    let folder = tempfile::tempdir().unwrap();
    let document = folder.path().join("v1.json");
    let served = service.app.get("/v1/openapi.json").await.bytes().await.unwrap();
    std::fs::write(&document, served).unwrap();
    let Some(client) = GeneratedClient::generate(&document) else { return };

    let said = client.run(SCRIPT, &[&service.app.url("")]).await;

    assert_eq!(said.trim(), "looked up example.com");
}
