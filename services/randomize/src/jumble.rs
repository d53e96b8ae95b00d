//! Words, and their letters in another order.

use rand::Rng;
use rand::seq::SliceRandom as _;
use unicode_segmentation::UnicodeSegmentation as _;

/// The longest word, in code points.
pub(crate) const MAX_WORD: usize = 255;

/// How many orders are drawn for a word whose letters do not keep apart in most of them.
const MAX_DRAWS: usize = 1000;

/// A word: 1 to 255 code points without NUL, which PostgreSQL cannot keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Word(String);

/// Why a text is no word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WordError {
    Empty,
    TooLong,
    HoldsNul,
}

impl TryFrom<String> for Word {
    type Error = WordError;

    fn try_from(text: String) -> Result<Self, WordError> {
        if text.is_empty() {
            Err(WordError::Empty)
        } else if text.chars().nth(MAX_WORD).is_some() {
            Err(WordError::TooLong)
        } else if text.contains('\0') {
            Err(WordError::HoldsNul)
        } else {
            Ok(Self(text))
        }
    }
}

impl Word {
    /// The word's extended grapheme clusters (UAX #29), what a reader calls letters, in an order that is
    /// drawn uniformly from all orders in which none of them is torn.
    ///
    /// Half a flag would tear the next one: a regional indicator joins whatever indicator follows it. Such
    /// orders are drawn again, up to 1000 times; then the word stays as it is.
    pub(crate) fn jumble(&self, random: &mut impl Rng) -> String {
        let mut clusters: Vec<&str> = self.0.graphemes(true).collect();
        for _ in 0..MAX_DRAWS {
            clusters.shuffle(random);
            let jumbled = clusters.concat();
            if self.0.is_ascii() || keeps_whole(&jumbled, &clusters) {
                return jumbled;
            }
        }
        self.0.clone()
    }

    pub(crate) fn into_text(self) -> String {
        self.0
    }
}

/// Whether no cluster of a text lies on both sides of a joint between two of these.
fn keeps_whole(text: &str, clusters: &[&str]) -> bool {
    let mut joints = clusters.iter().scan(0, |end, cluster| {
        *end += cluster.len();
        Some(*end)
    });
    // Joints may be missing, where two clusters have become one, but there must be no others.
    text.graphemes(true)
        .scan(0, |end, cluster| {
            *end += cluster.len();
            Some(*end)
        })
        .all(|boundary| joints.any(|joint| joint == boundary))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn word(text: &str) -> Word {
        Word::try_from(text.to_owned()).unwrap()
    }

    fn sorted(text: &str) -> Vec<&str> {
        let mut clusters: Vec<_> = text.graphemes(true).collect();
        clusters.sort_unstable();
        clusters
    }

    /// Clusters that keep apart from any neighbour.
    fn cluster() -> impl Strategy<Value = &'static str> {
        prop::sample::select(vec![
            "a",
            "Z",
            "7",
            " ",
            "ß",
            "é",
            "e\u{301}",
            "n\u{303}\u{323}",
            "中",
            "한",
            "ا",
            "ب\u{64e}",
            "ש\u{5c1}",
            "👍🏽",
            "👩‍👩‍👧‍👦",
            "🏳️‍🌈",
            "❤️",
            "🇩🇪",
            "🇫🇷",
            "1️⃣",
            "क्षि",
            "\r\n",
        ])
    }

    proptest! {
        #[test]
        fn the_letters_stay_the_same(clusters in prop::collection::vec(cluster(), 1..30)) {
            let text = clusters.concat();
            prop_assume!(text.chars().count() <= MAX_WORD);

            let jumbled = word(&text).jumble(&mut rand::rng());

            prop_assert_eq!(sorted(&jumbled), sorted(&text));
        }

        #[test]
        fn no_letter_of_any_text_is_torn(text in "[^\0]{1,60}|[🇩🇪🇫🇷a]{1,40}") {
            let jumbled = word(&text).jumble(&mut rand::rng());

            prop_assert_eq!(jumbled.len(), text.len());
            let mut left: BTreeMap<&str, usize> = BTreeMap::new();
            for cluster in text.graphemes(true) {
                *left.entry(cluster).or_default() += 1;
            }
            // Each letter of the result is one of the word's, or several of them joined.
            let result: Vec<_> = jumbled.graphemes(true).collect();
            prop_assert!(made_of(&result, &mut left), "{jumbled:?} of {text:?}");
        }

        #[test]
        fn a_text_is_a_word_if_it_has_1_to_255_code_points_and_no_nul(text in any::<String>()) {
            let length = text.chars().count();
            let fits = (1..=MAX_WORD).contains(&length) && !text.contains('\0');
            prop_assert_eq!(Word::try_from(text).is_ok(), fits);
        }
    }

    /// Whether these letters can be put together from those that are left.
    fn made_of(letters: &[&str], left: &mut BTreeMap<&str, usize>) -> bool {
        let Some((letter, rest)) = letters.split_first() else { return true };
        let parts = left.iter().filter(|(part, count)| **count > 0 && letter.starts_with(**part));
        let mut parts: Vec<&str> = parts.map(|(part, _)| *part).collect();
        // A whole flag is hardly ever two halves.
        parts.sort_by_key(|part| std::cmp::Reverse(part.len()));
        parts.into_iter().any(|part| {
            *left.get_mut(part).unwrap() -= 1;
            let behind = &letter[part.len()..];
            let fits = if behind.is_empty() {
                made_of(rest, left)
            } else {
                made_of(&[&[behind], rest].concat(), left)
            };
            if !fits {
                *left.get_mut(part).unwrap() += 1;
            }
            fits
        })
    }

    #[test]
    fn every_order_is_as_likely_as_every_other() {
        let word = word("abcd");
        let draws = 24_000;
        let mut counts = BTreeMap::new();
        for _ in 0..draws {
            *counts.entry(word.jumble(&mut rand::rng())).or_insert(0_u32) += 1;
        }

        assert_eq!(counts.len(), 24);
        let expected = f64::from(draws) / 24.0;
        let chi_squared: f64 =
            counts.values().map(|count| (f64::from(*count) - expected).powi(2) / expected).sum();
        // With 23 degrees of freedom, more than this happens once in 10 million runs.
        assert!(chi_squared < 76.0, "{chi_squared}: {counts:?}");
    }

    #[test]
    fn half_a_flag_does_not_tear_a_whole_one() {
        let word = word("🇩a🇫🇷");
        for _ in 0..200 {
            assert!(word.jumble(&mut rand::rng()).contains("🇫🇷"));
        }
    }

    #[test]
    fn the_longest_words_of_each_kind_are_jumbled() {
        for text in [
            "x".repeat(255),
            "é".repeat(255),
            "e\u{301}".repeat(127),
            "👩‍👩‍👧‍👦".repeat(36),
            "🇩🇪".repeat(127),
            "\u{301}".repeat(255),
            "שלום".repeat(63),
        ] {
            let jumbled = word(&text).jumble(&mut rand::rng());
            assert_eq!(jumbled.chars().count(), text.chars().count());
        }
        assert_eq!(Word::try_from("x".repeat(256)), Err(WordError::TooLong));
        assert_eq!(Word::try_from("👍".repeat(255)).map(|word| word.0.len()), Ok(1020));
    }
}
