//! Who a request comes from, when it comes by way of proxies.

use std::net::IpAddr;

use actix_web::http::header::{HeaderMap, HeaderName};

use common::config::Networks;
use transport::Scheme;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Where a request comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    /// The client's address; IPv4 addresses mapped into IPv6 as IPv4.
    pub(crate) client: IpAddr,
    /// The scheme of the client's URL, as far as is known: none where nobody trusted tells it and the connection is
    /// a plain one.
    pub(crate) scheme: Option<Scheme>,
}

/// The origin of a request from this peer, on a connection of this scheme. What a peer that is not trusted says of
/// others counts for nothing.
pub(crate) fn origin(
    peer: IpAddr,
    connection: Scheme,
    headers: &HeaderMap,
    trusted: &Networks,
) -> Origin {
    let peer = peer.to_canonical();
    let own = Some(connection).filter(|scheme| *scheme == Scheme::Https);
    if !trusted.contains(peer) {
        return Origin { client: peer, scheme: own };
    }
    Origin {
        client: forwarded_for(peer, headers, trusted),
        scheme: forwarded_proto(headers).or(own),
    }
}

/// Each proxy appends whom it got the request from: the first address from the right that is no trusted
/// proxy is the client's, and all to its left is hearsay. The chain ends where it cannot be read.
fn forwarded_for(peer: IpAddr, headers: &HeaderMap, trusted: &Networks) -> IpAddr {
    let lines: Vec<&str> =
        headers.get_all(FORWARDED_FOR).map(|line| line.to_str().unwrap_or("")).collect();
    let mut client = peer;
    for entry in lines.iter().rev().flat_map(|line| line.rsplit(',')) {
        let Some(address) = address(entry.trim()) else {
            break;
        };
        client = address;
        if !trusted.contains(address) {
            break;
        }
    }
    client
}

/// An address as proxies write it: bare, with a port, in brackets.
fn address(entry: &str) -> Option<IpAddr> {
    let bare = entry.strip_prefix('[').and_then(|rest| rest.split(']').next()).unwrap_or(entry);
    bare.parse()
        .ok()
        .or_else(|| entry.parse::<std::net::SocketAddr>().ok().map(|address| address.ip()))
        .map(|address: IpAddr| address.to_canonical())
}

/// What the nearest proxy says: the last word, because proxies append.
fn forwarded_proto(headers: &HeaderMap) -> Option<Scheme> {
    let last = headers.get_all(FORWARDED_PROTO).last()?.to_str().ok()?.rsplit(',').next()?.trim();
    [Scheme::Https, Scheme::Http]
        .into_iter()
        .find(|known| last.eq_ignore_ascii_case(known.as_str()))
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn ask(peer: &str, chain: &[&str], proto: Option<&str>) -> Origin {
        let mut headers = HeaderMap::new();
        for line in chain {
            headers.append(FORWARDED_FOR, HeaderValue::from_str(line).unwrap());
        }
        if let Some(proto) = proto {
            headers.append(FORWARDED_PROTO, HeaderValue::from_str(proto).unwrap());
        }
        let trusted = "10.0.0.0/8, fd00::/8,192.0.2.7".parse().unwrap();
        origin(peer.parse().unwrap(), Scheme::Http, &headers, &trusted)
    }

    #[test]
    fn the_rightmost_address_that_is_not_trusted_is_the_client() {
        for (peer, chain, client) in [
            ("203.0.113.9", &[] as &[&str], "203.0.113.9"),
            // Hearsay of a stranger.
            ("203.0.113.9", &["1.1.1.1"], "203.0.113.9"),
            ("10.0.0.1", &["1.1.1.1"], "1.1.1.1"),
            ("::ffff:10.0.0.1", &["1.1.1.1"], "1.1.1.1"),
            // The client itself forged the left part.
            ("10.0.0.1", &["9.9.9.9, 1.1.1.1"], "1.1.1.1"),
            ("10.0.0.1", &["9.9.9.9", "1.1.1.1,10.0.0.2"], "1.1.1.1"),
            ("10.0.0.1", &["1.1.1.1", "10.9.9.9 , 192.0.2.7"], "1.1.1.1"),
            ("192.0.2.7", &["1.1.1.1:4711"], "1.1.1.1"),
            ("fd00::1", &["[2001:db8::1]:443"], "2001:db8::1"),
            ("fd00::1", &["2001:db8::1"], "2001:db8::1"),
            ("10.0.0.1", &["::ffff:1.1.1.1"], "1.1.1.1"),
            // The chain ends at what is no address; the last that is one counts.
            ("10.0.0.1", &["1.1.1.1, unknown"], "10.0.0.1"),
            ("10.0.0.1", &["1.1.1.1, , 10.0.0.2"], "10.0.0.2"),
            ("10.0.0.1", &["10.0.0.3,10.0.0.2"], "10.0.0.3"),
            ("10.0.0.1", &[""], "10.0.0.1"),
        ] {
            assert_eq!(ask(peer, chain, None).client.to_string(), client, "{peer} {chain:?}");
        }
    }

    #[test]
    fn only_a_trusted_proxy_says_what_the_client_speaks() {
        assert_eq!(ask("10.0.0.1", &[], Some("https")).scheme, Some(Scheme::Https));
        assert_eq!(ask("10.0.0.1", &[], Some("HTTP")).scheme, Some(Scheme::Http));
        assert_eq!(ask("10.0.0.1", &[], Some("https, http")).scheme, Some(Scheme::Http));
        assert_eq!(ask("10.0.0.1", &[], Some("gopher")).scheme, None);
        assert_eq!(ask("10.0.0.1", &[], None).scheme, None);
        assert_eq!(ask("203.0.113.9", &[], Some("https")).scheme, None);
    }

    proptest! {
        #[test]
        fn whatever_a_client_forges_to_the_left_changes_nothing(forged in "[ -~]{0,60}") {
            let chain = format!("{forged},1.2.3.4, 10.0.0.2");
            prop_assert_eq!(ask("10.0.0.1", &[&chain], None).client.to_string(), "1.2.3.4");
        }
    }
}
