//! An authoritative server, on UDP and TCP, that answers as a test tells it to.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hickory_server::Server;
use hickory_server::net::runtime::Time;
use hickory_server::net::xfer::Protocol;
use hickory_server::proto::op::{Header, HeaderCounts, Metadata, ResponseCode};
use hickory_server::proto::rr::rdata::{A, AAAA, CNAME, NS, SOA};
use hickory_server::proto::rr::{Name, RData, Record};
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::zone_handler::MessageResponseBuilder;
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::watch;

/// How long a TCP connection may be idle.
const TCP_TIMEOUT: Duration = Duration::from_secs(30);

/// What a TCP connection may have waiting to be sent.
const TCP_BUFFER: usize = 64 * 1024;

/// What is answered for a name.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// These records, each with its own owner.
    Records(Vec<Record>),
    /// Nothing of that kind, for as many seconds.
    NoData(u32),
    /// No such name, for as many seconds.
    NxDomain(u32),
    /// No answer, but who is to be asked.
    Referral(&'static str),
    /// An error.
    Code(ResponseCode),
    /// Over UDP nothing but that it does not fit, over TCP this.
    Truncated(Box<Reply>),
    /// This under another id than was asked.
    WrongId(Box<Reply>),
    /// This, after [`Dns::release`].
    Held(Box<Reply>),
    /// Nothing at all.
    Silence,
}

/// The server; it ends when it is dropped.
pub(crate) struct Dns {
    addr: SocketAddr,
    zone: Zone,
    held: watch::Sender<bool>,
    _server: Server<Zone>,
}

#[derive(Clone)]
struct Zone {
    replies: Arc<Mutex<HashMap<String, Reply>>>,
    asked: Arc<Mutex<Vec<(String, Protocol)>>>,
    held: watch::Receiver<bool>,
}

impl Dns {
    /// A server that knows no name.
    pub(crate) async fn start() -> Self {
        let (udp, tcp) = loop {
            let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            // Somebody else may have it.
            if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()).await {
                break (udp, tcp);
            }
        };
        let (held, gate) = watch::channel(true);
        let zone = Zone { replies: Arc::default(), asked: Arc::default(), held: gate };
        let addr = udp.local_addr().unwrap();
        let mut server = Server::new(zone.clone());
        server.register_socket(udp);
        server.register_listener(tcp, TCP_TIMEOUT, TCP_BUFFER);
        Self { addr, zone, held, _server: server }
    }

    /// What `DNS_SERVERS` is to be.
    pub(crate) fn addr(&self) -> String {
        self.addr.to_string()
    }

    /// From now on this is answered for a name; others do not exist.
    pub(crate) fn set(&self, name: &str, reply: Reply) {
        self.zone.replies.lock().unwrap().insert(absolute(name).to_string(), reply);
    }

    /// From now on a name has these addresses, for an hour.
    pub(crate) fn set_addresses(&self, name: &str, addresses: &[&str]) {
        self.set(name, Reply::Records(a(name, 3600, addresses)));
    }

    /// How often a name was asked for.
    pub(crate) fn asked(&self, name: &str) -> usize {
        self.count(name, |_| true)
    }

    /// How often a name was asked for over TCP.
    pub(crate) fn asked_over_tcp(&self, name: &str) -> usize {
        self.count(name, |protocol| protocol == Protocol::Tcp)
    }

    fn count(&self, name: &str, wanted: impl Fn(Protocol) -> bool) -> usize {
        let name = absolute(name).to_string();
        let asked = self.zone.asked.lock().unwrap();
        asked.iter().filter(|(asked, protocol)| *asked == name && wanted(*protocol)).count()
    }

    /// Sends what is held, now and later.
    pub(crate) fn release(&self) {
        self.held.send_replace(false);
    }
}

/// A records of a name.
pub(crate) fn a(name: &str, ttl: u32, addresses: &[&str]) -> Vec<Record> {
    let record = |address: &&str| {
        Record::from_rdata(absolute(name), ttl, RData::A(A(address.parse().unwrap())))
    };
    addresses.iter().map(record).collect()
}

/// An AAAA record of a name.
pub(crate) fn aaaa(name: &str, address: &str) -> Record {
    Record::from_rdata(absolute(name), 3600, RData::AAAA(AAAA(address.parse().unwrap())))
}

/// A CNAME record of a name.
pub(crate) fn cname(name: &str, ttl: u32, target: &str) -> Record {
    Record::from_rdata(absolute(name), ttl, RData::CNAME(CNAME(absolute(target))))
}

fn absolute(name: &str) -> Name {
    let mut name = Name::from_ascii(name).unwrap();
    name.set_fqdn(true);
    name
}

/// What makes a negative answer one that may be kept (RFC 2308).
fn soa(ttl: u32) -> Record {
    let name = |text| absolute(text);
    let data = SOA::new(name("ns.example"), name("admin.example"), 1, 60, 60, 60, ttl);
    Record::from_rdata(Name::root(), ttl, RData::SOA(data))
}

#[async_trait::async_trait]
impl RequestHandler for Zone {
    async fn handle_request<R: ResponseHandler, T: Time>(
        &self,
        request: &Request,
        mut response: R,
    ) -> ResponseInfo {
        let name =
            request.request_info().unwrap().query.original().name().to_lowercase().to_string();
        let protocol = request.protocol();
        self.asked.lock().unwrap().push((name.clone(), protocol));
        let reply = self.replies.lock().unwrap().get(&name).cloned();
        let mut reply = reply.unwrap_or(Reply::NxDomain(0));

        let mut metadata = Metadata::response_from_request(&request.metadata);
        metadata.recursion_available = true;
        let (mut answers, mut authority) = (Vec::new(), None);
        loop {
            reply = match reply {
                Reply::Truncated(_) if protocol == Protocol::Udp => {
                    metadata.truncation = true;
                    break;
                }
                Reply::Truncated(reply) => *reply,
                Reply::WrongId(reply) => {
                    metadata.id = metadata.id.wrapping_add(1);
                    *reply
                }
                Reply::Held(reply) => {
                    let _ = self.held.clone().wait_for(|held| !held).await;
                    *reply
                }
                Reply::Records(records) => {
                    answers = records;
                    break;
                }
                Reply::NoData(ttl) => {
                    authority = Some(soa(ttl));
                    break;
                }
                Reply::NxDomain(ttl) => {
                    metadata.response_code = ResponseCode::NXDomain;
                    authority = Some(soa(ttl));
                    break;
                }
                Reply::Referral(server) => {
                    let data = RData::NS(NS(absolute(server)));
                    authority = Some(Record::from_rdata(absolute("example"), 60, data));
                    break;
                }
                Reply::Code(code) => {
                    metadata.response_code = code;
                    break;
                }
                Reply::Silence => {
                    return Header { metadata, counts: HeaderCounts::default() }.into();
                }
            };
        }
        let message = MessageResponseBuilder::from_message_request(request);
        let message = message.build(metadata, &answers, &[], &authority, &[]);
        response.send_response(message).await.unwrap()
    }
}
