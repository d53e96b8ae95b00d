//! Errors in full.

use std::error::Error;

/// An error and its causes in turn, joined by `: `, each of them once: many errors of libraries repeat the text of
/// their cause, or say the same with more detail.
#[must_use]
pub fn causes(error: &(dyn Error + 'static)) -> String {
    let mut parts = vec![error.to_string()];
    let mut next = error.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        if parts.last().is_some_and(|last| text.ends_with(last.as_str())) {
            parts.pop();
        }
        if !parts.iter().any(|part| part.contains(&text)) {
            parts.push(text);
        }
        next = cause.source();
    }
    parts.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Link(&'static str, #[source] Option<Box<Link>>);

    fn chain(texts: &[&'static str]) -> String {
        let link = texts.iter().rev().fold(None, |cause, text| Some(Box::new(Link(text, cause))));
        causes(&*link.unwrap())
    }

    #[test]
    fn each_cause_is_told_once() {
        for (texts, told) in [
            (&["outer", "inner"][..], "outer: inner"),
            (&["Connection refused", "Connection refused"], "Connection refused"),
            (
                &["no connection", "connect: refused (os error 111)", "refused (os error 111)"],
                "no connection: connect: refused (os error 111)",
            ),
            (
                &["unable to open database file", "(code: 14) unable to open database file"],
                "(code: 14) unable to open database file",
            ),
            (
                &["error returned from database: (code: 14) unable", "(code: 14) unable"],
                "error returned from database: (code: 14) unable",
            ),
            (&["a", "b", "a", ""], "a: b"),
        ] {
            assert_eq!(chain(texts), told);
        }
    }
}
