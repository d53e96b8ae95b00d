//! A small authoritative server, for machines without a network and for the benchmark: it knows `example.com` and
//! what is numbered below it, and nothing else.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use hickory_server::Server;
use hickory_server::proto::rr::rdata::{A, CNAME, SOA};
use hickory_server::proto::rr::{LowerName, Name, RData, Record};
use hickory_server::store::in_memory::InMemoryZoneHandler;
use hickory_server::zone_handler::{AxfrPolicy, Catalog, ZoneHandler, ZoneType};
use tokio::net::{TcpListener, UdpSocket, lookup_host};
use tokio::time::timeout;

/// The name that is documented, smoked, and never goes away (RFC 2606).
const NAME: &str = "example.com";

const ADDRESS: Ipv4Addr = Ipv4Addr::new(93, 184, 216, 34);

/// How long the system's resolver may take to prove that there is one, and a connection may be idle.
const TIMEOUT: Duration = Duration::from_secs(3);

/// How many ports are tried.
const BIND_TRIES: usize = 20;

const TTL: u32 = 60;

const SERIAL: u32 = 1;

/// Runs until it is dropped.
pub struct NameServer {
    address: String,
    _server: Server<Catalog>,
}

impl std::fmt::Debug for NameServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NameServer").field("address", &self.address).finish_non_exhaustive()
    }
}

impl NameServer {
    /// Starts one on a free port of the loopback, unless this machine can look names up as it is.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn start_if_needed() -> anyhow::Result<Option<Self>> {
        let looked_up = timeout(TIMEOUT, lookup_host((NAME, 0))).await;
        if looked_up.is_ok_and(|addresses| addresses.is_ok()) {
            return Ok(None);
        }
        Self::start(0).await.map(Some)
    }

    /// Starts one on a free port of the loopback that also knows as many names as that: `0.example.com` and so on.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn start(numbered: usize) -> anyhow::Result<Self> {
        let (udp, tcp) = bind().await?;
        let address = udp.local_addr()?;
        let mut server = Server::new(catalog(numbered)?);
        server.register_socket(udp);
        server.register_listener(tcp, TIMEOUT, usize::from(u16::MAX));
        Ok(Self { address: address.to_string(), _server: server })
    }

    /// Where it is, as `DNS_SERVERS` names it.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }
}

/// A port that is free for both; one that is free for UDP may be taken for TCP.
async fn bind() -> std::io::Result<(UdpSocket, TcpListener)> {
    let mut tries = 0;
    loop {
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        match TcpListener::bind(udp.local_addr()?).await {
            Ok(tcp) => return Ok((udp, tcp)),
            Err(error) if tries == BIND_TRIES => return Err(error),
            Err(_) => tries += 1,
        }
    }
}

/// The one zone: of the root, so that all other names do not exist.
fn catalog(numbered: usize) -> anyhow::Result<Catalog> {
    let root = Name::root();
    let mut zone: InMemoryZoneHandler =
        InMemoryZoneHandler::empty(root.clone(), ZoneType::Primary, AxfrPolicy::Deny);
    let name = Name::from_ascii(format!("{NAME}."))?;
    let alias = Name::from_ascii(format!("www.{NAME}."))?;
    let soa = SOA::new(name.clone(), name.clone(), SERIAL, 60, 60, 60, TTL);
    zone.upsert_mut(Record::from_rdata(root.clone(), TTL, RData::SOA(soa)), SERIAL);
    zone.upsert_mut(Record::from_rdata(name.clone(), TTL, RData::A(A(ADDRESS))), SERIAL);
    zone.upsert_mut(Record::from_rdata(alias, TTL, RData::CNAME(CNAME(name))), SERIAL);
    for number in 0..numbered {
        let name = Name::from_ascii(format!("{number}.{NAME}."))?;
        zone.upsert_mut(Record::from_rdata(name, TTL, RData::A(A(ADDRESS))), SERIAL);
    }
    let mut catalog = Catalog::new();
    catalog.upsert(LowerName::from(root), vec![Arc::new(zone) as Arc<dyn ZoneHandler>]);
    Ok(catalog)
}
