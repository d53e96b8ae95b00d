//! Names that can be looked up.

use std::net::Ipv4Addr;

use idna::AsciiDenyList;
use idna::uts46::{DnsLength, Hyphens, Uts46};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What no label has: all ASCII but letters, digits, hyphens and underscores.
const DENIED: AsciiDenyList = AsciiDenyList::new(true, "!\"#$%&'()*+,/:;<=>?@[\\]^`{|}~");

/// More bytes than any name of 253 octets can be written with.
const MAX_BYTES: usize = 4 * 254;

/// A domain name as the DNS has it: A-labels, in lower case, without the final dot, at most 253 octets.
/// It is absolute, and no address.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize, Serialize, ToSchema)]
#[serde(try_from = "String")]
#[schema(value_type = String, format = IdnHostname, min_length = 1, example = "example.com")]
pub(crate) struct Domain(String);

impl Domain {
    /// A name that was saved as one.
    pub(crate) fn saved(name: String) -> Self {
        Self(name)
    }

    /// The name's text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Domain {
    type Error = &'static str;

    /// Converts by UTS 46, non-transitional. Hyphens are refused only where the rules for host names (RFC 1123)
    /// refuse them, at the ends of a label; the DNS is full of names with two in the middle.
    fn try_from(text: String) -> Result<Self, Self::Error> {
        let (text, length) = (text.as_bytes(), DnsLength::VerifyAllowRootDot);
        if text.len() > MAX_BYTES {
            return Err("a domain name has at most 253 octets");
        }
        let ascii = Uts46::new().to_ascii(text, DENIED, Hyphens::CheckFirstLast, length);
        let ascii = ascii.map_err(|_| "expected a domain name such as example.com")?;
        let name = ascii.strip_suffix('.').unwrap_or(&ascii);
        // No top-level domain is a number (RFC 3696, 2), so what ends in one was meant as an address.
        let last = name.rsplit('.').next().unwrap_or_default();
        if last.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err("expected a domain name such as example.com, not an address");
        }
        Ok(Self(name.to_owned()))
    }
}

/// Whether a text is an IPv4 address: four decimal numbers without leading zeros, and nothing else.
pub(crate) fn is_ipv4(text: &str) -> bool {
    text.parse::<Ipv4Addr>().is_ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<String, &'static str> {
        Domain::try_from(text.to_owned()).map(|domain| domain.0)
    }

    #[test]
    fn names_are_converted_to_what_the_dns_has() {
        let longest =
            format!("{}.{}.{}.{}", "a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(61));
        for (text, name) in [
            ("example.com", "example.com"),
            ("EXAMPLE.Com.", "example.com"),
            ("localhost", "localhost"),
            ("_dmarc.example.com", "_dmarc.example.com"),
            ("r3---sn-4g5e6nsz.example", "r3---sn-4g5e6nsz.example"),
            ("3com.com", "3com.com"),
            ("1.2.3.4.example", "1.2.3.4.example"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("BÜCHER.example", "xn--bcher-kva.example"),
            ("xn--BCHER-kva.example", "xn--bcher-kva.example"),
            ("faß.example", "xn--fa-hia.example"),
            ("例え。テスト", "xn--r8jz45g.xn--zckzah"),
            ("ｅｘａｍｐｌｅ．ｃｏｍ", "example.com"),
            (&longest, &longest),
            (&format!("{longest}."), &longest),
        ] {
            assert_eq!(parse(text).as_deref(), Ok(name), "{text}");
        }
    }

    #[test]
    fn what_is_no_domain_name_is_refused() {
        let long_label = format!("{}.example", "a".repeat(64));
        let long_name = format!("{}a.example", "aaaaaaa.".repeat(31));
        assert_eq!(long_name.len(), 257);
        let too_long =
            format!("{}.{}.{}.{}", "a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(62));
        assert_eq!(too_long.len(), 254);
        for text in [
            "",
            ".",
            "..",
            ".example",
            "a..example",
            "example..",
            " example.com",
            "example.com ",
            "exam ple.com",
            "example.com\n",
            "exam\0ple.com",
            "example\u{7f}.com",
            "192.168.5.4",
            "292.168.5.4",
            "192.168.5.4.",
            "１９２.168.5.4",
            "2130706433",
            "::1",
            "[::1]",
            "::ffff:1.2.3.4",
            "http://example.com",
            "https://user:secret@example.com/",
            "user@example.com",
            "example.com:53",
            "example.com/",
            "example%2ecom",
            "a%2fb.example",
            "*.example.com",
            "-a.example",
            "a-.example",
            "'; DROP TABLE queries; --",
            "a\\.example",
            "xn--a.example",
            "xn--.example",
            "a\u{200d}b.example",
            "\u{301}a.example",
            &long_label,
            &long_name,
            &too_long,
            &"ü".repeat(60),
        ] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn only_the_four_numbers_of_an_address_are_one() {
        for text in ["192.168.5.4", "0.0.0.0", "255.255.255.255"] {
            assert!(is_ipv4(text), "{text}");
        }
        for text in [
            "",
            "292.168.5.4",
            "::1",
            "::ffff:1.2.3.4",
            "01.2.3.4",
            "1.2.3.04",
            " 1.2.3.4",
            "1.2.3.4 ",
            "1.2.3",
            "1.2.3.4.5",
            "0x1.2.3.4",
            "+1.2.3.4",
            "1.2.3.4\n",
            "1.2.3.4/32",
            "１.2.3.4",
            "localhost",
        ] {
            assert!(!is_ipv4(text), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn a_name_stays_the_same_when_it_is_parsed_again(text in "[a-zA-Z0-9_.üß語-]{1,60}|\\PC{1,40}") {
            if let Ok(name) = parse(&text) {
                prop_assert!(name.len() <= 253 && name.split('.').all(|label| (1..=63).contains(&label.len())));
                prop_assert!(name.bytes().all(|byte| byte.is_ascii_graphic() && !byte.is_ascii_uppercase()));
                prop_assert_eq!(parse(&name), Ok(name));
            }
        }
    }
}
