//! JSON strings.

use std::fmt::{self, Write as _};

/// Escapes what is formatted into it.
pub(super) struct Escaped<'a>(pub(super) &'a mut String);

impl fmt::Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        push_escaped(self.0, text);
        Ok(())
    }
}

/// Appends a JSON string.
pub(super) fn push_json_string(line: &mut String, value: &str) {
    line.push('"');
    push_escaped(line, value);
    line.push('"');
}

/// Whether there is nothing to escape, as in nearly all values.
fn is_plain(bytes: &[u8]) -> bool {
    // No early end, so that the processor looks at the bytes of a chunk at once.
    let all_plain = |bytes: &[u8]| {
        let plain = |byte| byte >= b' ' && byte != b'"' && byte != b'\\' && byte != 0x7f;
        bytes.iter().fold(true, |all, byte| all & plain(*byte))
    };
    let (chunks, rest) = bytes.as_chunks::<16>();
    // The last bytes are a chunk, too, where there are enough, some of which were looked at before.
    let rest = bytes.last_chunk::<16>().map_or(rest, |last| last.as_slice());
    chunks.iter().fold(all_plain(rest), |all, chunk| all & all_plain(chunk))
}

/// Appends the inside of a JSON string.
pub(super) fn push_escaped(line: &mut String, value: &str) {
    if is_plain(value.as_bytes()) {
        line.push_str(value);
        return;
    }
    let mut written = 0;
    for (at, byte) in value.bytes().enumerate() {
        if is_plain(&[byte]) {
            continue;
        }
        line.push_str(&value[written..at]);
        match byte {
            b'"' => line.push_str("\\\""),
            b'\\' => line.push_str("\\\\"),
            b'\n' => line.push_str("\\n"),
            b'\r' => line.push_str("\\r"),
            b'\t' => line.push_str("\\t"),
            // DEL too: a terminal that shows the line would act on it.
            control => {
                let _ = write!(line, "\\u{control:04x}");
            }
        }
        written = at + 1;
    }
    line.push_str(&value[written..]);
}
