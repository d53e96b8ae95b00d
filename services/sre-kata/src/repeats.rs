//! Which characters of a text occur more than once.

use std::str::FromStr;

use crate::error::Error;

/// A text of at least two characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject(String);

impl Subject {
    /// The text itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// How many distinct characters occur in it at least twice.
    #[must_use]
    pub fn count(&self) -> usize {
        count(&self.0)
    }
}

impl TryFrom<String> for Subject {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        if text.chars().nth(1).is_some() { Ok(Self(text)) } else { Err(Error::TooShort) }
    }
}

impl FromStr for Subject {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        text.to_owned().try_into()
    }
}

/// How many bytes are looked at together.
const BLOCK: usize = 64;

/// How many distinct code points occur in `text` at least twice; case matters, nothing is normalised.
///
/// One pass, without allocation for ASCII.
///
/// ```
/// assert_eq!(sre_kata::repeats::count("acx333x"), 2);
/// ```
#[must_use]
pub fn count(text: &str) -> usize {
    let mut ascii = Ascii::default();
    let mut others = Others::default();
    let mut rest = text;
    while !rest.is_empty() {
        // Once its characters have all been seen twice, a block changes nothing. A character can spare only
        // two blocks this check, so all blocks of a long ASCII text but 256 at most end here.
        if let Some((block, _)) = rest.as_bytes().split_first_chunk::<BLOCK>()
            && ascii.knows_all(block)
        {
            rest = &rest[BLOCK..];
            continue;
        }
        let (block, after) = rest.split_at(rest.ceil_char_boundary(BLOCK.min(rest.len())));
        for character in block.chars() {
            match u8::try_from(character) {
                Ok(byte) if byte.is_ascii() => ascii.count(byte),
                _ => others.count(character),
            }
        }
        rest = after;
    }
    ascii.repeated + others.repeated
}

/// The ASCII characters seen so far.
struct Ascii {
    /// How often each byte was seen, up to two. Bytes of longer characters stay at none.
    counts: [u8; 256],
    repeated: usize,
}

impl Default for Ascii {
    fn default() -> Self {
        Self { counts: [0; 256], repeated: 0 }
    }
}

impl Ascii {
    fn knows_all(&self, block: &[u8; BLOCK]) -> bool {
        // All bits of all entries together: no branch, so that the processor looks several up at once.
        block.iter().fold(2, |all, &byte| all & self.counts[usize::from(byte)]) == 2
    }

    fn count(&mut self, byte: u8) {
        let count = &mut self.counts[usize::from(byte)];
        self.repeated += usize::from(*count == 1);
        *count = (*count + 1).min(2);
    }
}

/// How many code points share a page.
const PAGE: usize = 256;

/// The pages of all code points.
const PAGES: usize = 0x11_0000 / PAGE;

/// The other characters seen so far: two bits each, in pages made when first needed, since a text has
/// characters of few scripts.
#[derive(Default)]
struct Others {
    /// The position of each page in `pages`, counted from one; empty until the first character.
    index: Vec<u16>,
    pages: Vec<[u64; 2 * PAGE / 64]>,
    repeated: usize,
}

impl Others {
    fn count(&mut self, character: char) {
        let (page, offset) = (character as usize / PAGE, character as usize % PAGE);
        if self.index.is_empty() {
            self.index = vec![0; PAGES];
        }
        if self.index[page] == 0 {
            self.pages.push([0; _]);
            // There are fewer pages than u16 has values.
            self.index[page] = u16::try_from(self.pages.len()).unwrap_or(u16::MAX);
        }
        let word = &mut self.pages[usize::from(self.index[page]) - 1][offset / 32];
        let once = 1_u64 << (offset % 32 * 2);
        let twice = once << 1;
        if *word & once == 0 {
            *word |= once;
        } else if *word & twice == 0 {
            *word |= twice;
            self.repeated += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    /// The same, as plainly as can be.
    fn reference(text: &str) -> usize {
        let mut counts: HashMap<char, usize> = HashMap::new();
        for character in text.chars() {
            *counts.entry(character).or_default() += 1;
        }
        counts.values().filter(|count| **count >= 2).count()
    }

    #[test]
    fn the_examples_of_the_exercise_hold() {
        for (text, expected) in [
            ("caiopa", 1),
            ("acx333x", 2),
            ("1Shimon1111xx", 2),
            ("aabbcc", 3),
            ("abc", 0),
            ("ééx", 1),
            ("aA", 0),
            // An accent of its own is a code point of its own.
            ("e\u{301}e", 1),
            ("\u{10ffff}\u{10ffff}\0\0", 2),
        ] {
            assert_eq!(count(text), expected, "{text}");
        }
    }

    #[test]
    fn a_character_that_comes_late_in_a_long_text_counts() {
        let mut text = "ab".repeat(10_000);
        assert_eq!(count(&text), 2);
        text.push_str("z…");
        assert_eq!(count(&text), 2);
        text.push_str(&"ab".repeat(100));
        text.push_str("z…");
        assert_eq!(count(&text), 4);
    }

    #[test]
    fn a_text_needs_two_characters_not_two_bytes() {
        for text in ["", "a", "é", "🦀"] {
            assert_eq!(Subject::from_str(text), Err(Error::TooShort), "{text}");
        }
        assert_eq!(Subject::from_str("ab").map(|text| text.count()), Ok(0));
    }

    proptest! {
        #[test]
        fn any_text_is_counted_as_the_reference_counts_it(text in any::<String>()) {
            prop_assert_eq!(count(&text), reference(&text));
        }

        #[test]
        fn long_texts_of_few_characters_are_too(text in "[ab éß漢🦀]{0,500}") {
            prop_assert_eq!(count(&text), reference(&text));
        }
    }
}
