//! What a connection needs to know of a request's head before it is decoded.

use memchr::memchr;

/// The most headers that are looked at, as many as actix-http takes.
const MAX_HEADERS: usize = 96;

/// Finds the end of a head that arrives in parts: the first empty line behind its first line. Lines may end with a
/// line feed alone, as the decoder takes them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct HeadEnd {
    /// A line has ended that was not empty.
    has_line: bool,
    /// The line that has not ended yet is not empty.
    in_line: bool,
}

impl HeadEnd {
    /// Whether nothing of a head was seen.
    pub(crate) fn is_at_start(self) -> bool {
        self == Self::default()
    }

    /// How many of these bytes belong to the head, if its end is among them.
    pub(crate) fn find(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut start = 0;
        while let Some(length) = memchr(b'\n', &bytes[start..]) {
            let line = &bytes[start..start + length];
            start += length + 1;
            let is_empty = !self.in_line && matches!(line, [] | [b'\r']);
            self.in_line = false;
            if is_empty && self.has_line {
                return Some(start);
            }
            self.has_line |= !is_empty;
        }
        self.in_line |= !matches!(&bytes[start..], [] | [b'\r']);
        None
    }
}

/// Whether a decoder can say what these bytes are: a complete head, or none.
pub(crate) fn is_decided(bytes: &[u8]) -> bool {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    !matches!(httparse::Request::new(&mut headers).parse(bytes), Ok(httparse::Status::Partial))
}

/// The length of the body behind a complete head; none where only its decoder knows.
pub(crate) fn body_length(head: &[u8]) -> Option<u64> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    request.parse(head).ok()?;
    let mut length = 0;
    for header in request.headers.iter() {
        if header.name.eq_ignore_ascii_case("content-length") {
            length = std::str::from_utf8(header.value).ok()?.trim().parse().ok()?;
        } else if ["transfer-encoding", "upgrade"]
            .iter()
            .any(|name| header.name.eq_ignore_ascii_case(name))
        {
            return None;
        }
    }
    Some(length)
}

/// Whether a head asks for a probe or the metrics, which are answered as long as anything is.
pub(crate) fn is_probe(head: &[u8]) -> bool {
    let target = head.strip_prefix(b"GET ").or_else(|| head.strip_prefix(b"HEAD "));
    let path = target.and_then(|target| target.split(|byte| b" ?".contains(byte)).next());
    path.is_some_and(|path| [&b"/healthz"[..], b"/readyz", b"/metrics"].contains(&path))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn end_of(parts: &[&str]) -> Option<(usize, usize)> {
        let mut end = HeadEnd::default();
        parts.iter().enumerate().find_map(|(at, part)| Some((at, end.find(part.as_bytes())?)))
    }

    #[test]
    fn a_head_ends_with_an_empty_line_wherever_it_is_torn() {
        for (parts, end) in [
            (&["GET / HTTP/1.1\r\nhost: x\r\n\r\nmore"][..], Some((0, 27))),
            (&["GET / HTTP/1.1\r\nhost: x\r", "\n\r", "\nmore"], Some((2, 1))),
            (&["GET / HTTP/1.1\r\n\r", "\n"], Some((1, 1))),
            (&["GET / HTTP/1.1\n\nmore"], Some((0, 16))),
            (&["GET / HTTP/1.1\n\r", "\nmore"], Some((1, 1))),
            // Empty lines before it are skipped.
            (&["\r\n\r\n", "\nGET / HTTP/1.1\r\n\r\n"], Some((1, 19))),
            (&["GET / HTTP/1.1\r\nhost: x\r\n"], None),
            (&["GET / HTTP/1.1\r\nhost: x\r\n", "\rx\r\n"], None),
            (&["\n\n\r\n"], None),
        ] {
            assert_eq!(end_of(parts), end, "{parts:?}");
        }
    }

    proptest! {
        #[test]
        fn the_end_is_where_the_parser_finds_it(head in "[A-Z]{1,4} /[a-z]{0,3} HTTP/1[.]1(\r\n|\n)([a-z]{1,3}: [a-z]{0,3}(\r\n|\n)){0,3}(\r\n|\n)[a-z\r\n]{0,5}", at in 0..40_usize) {
            let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
            let length = httparse::Request::new(&mut headers).parse(head.as_bytes()).unwrap().unwrap();
            let (first, second) = head.split_at(at.min(length - 1));

            prop_assert_eq!(end_of(&[first, second]), Some((1, length - first.len())));
        }
    }

    #[test]
    fn a_body_has_the_length_that_its_head_announces() {
        for (headers, length) in [
            ("", Some(0)),
            ("Content-Length: 12\r\n", Some(12)),
            ("content-length:0\r\n", Some(0)),
            ("transfer-encoding: chunked\r\n", None),
            ("upgrade: h2c\r\n", None),
            ("content-length: x\r\n", None),
        ] {
            let head = format!("POST / HTTP/1.1\r\n{headers}host: x\r\n\r\n");
            assert_eq!(body_length(head.as_bytes()), length, "{headers}");
        }
    }

    #[test]
    fn what_is_no_head_is_decided_at_once() {
        for (bytes, decided) in [
            (&b"GET / HTTP/1.1\r\nhost:"[..], false),
            (b"G", false),
            (b"GET / HTTP/1.1\r\nhost: x\r\n\r\n", true),
            (b"\x16\x03\x01", true),
            (b"GET / HTTP/3.7\r\n", true),
        ] {
            assert_eq!(is_decided(bytes), decided, "{bytes:?}");
        }
    }

    #[test]
    fn probes_are_told_by_their_path_alone() {
        for (head, probe) in [
            ("GET /healthz HTTP/1.1", true),
            ("HEAD /readyz?verbose HTTP/1.1", true),
            ("GET /metrics HTTP/1.0", true),
            ("GET /metricsx HTTP/1.1", false),
            ("POST /healthz HTTP/1.1", false),
            ("GET / HTTP/1.1", false),
        ] {
            assert_eq!(is_probe(head.as_bytes()), probe, "{head}");
        }
    }
}
