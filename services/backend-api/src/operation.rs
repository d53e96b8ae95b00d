//! The operation that `/api_1` stands for.

use std::fmt;

/// How an operation ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Success,
    Created,
    Failed,
}

impl Operation {
    /// One of the three, each as likely as the others.
    pub(crate) fn random() -> Self {
        match rand::random_range(0..3_u8) {
            0 => Self::Success,
            1 => Self::Created,
            _ => Self::Failed,
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_end_is_as_likely_as_the_others() {
        let ends: Vec<Operation> = (0..30_000).map(|_| Operation::random()).collect();

        for end in [Operation::Success, Operation::Created, Operation::Failed] {
            let count = ends.iter().filter(|other| **other == end).count();
            // Six standard deviations: red once in five hundred million runs.
            assert!((9_510..=10_490).contains(&count), "{end}: {count}");
        }
    }
}
