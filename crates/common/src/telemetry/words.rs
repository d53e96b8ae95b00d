//! Fields for people.

use std::error::Error;
use std::fmt::{self, Write as _};

use tracing::field::{Field, Visit};

use crate::causes::causes;

/// Writes fields as `name=value`, the message bare.
pub(super) struct Words<'a> {
    line: &'a mut String,
    colour: bool,
}

impl<'a> Words<'a> {
    pub(super) fn new(line: &'a mut String, colour: bool) -> Self {
        Self { line, colour }
    }

    pub(super) fn push(&mut self, name: &str, value: &str) {
        // Control characters in a value must not reach the terminal.
        let shown = value.escape_debug();
        let _ = match name {
            "message" => write!(self.line, " {shown}"),
            name if self.colour => write!(self.line, " \x1b[2m{name}=\x1b[0m{shown}"),
            name => write!(self.line, " {name}={shown}"),
        };
    }
}

impl Visit for Words<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.push(field.name(), value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.record_str(field, &causes(value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}
