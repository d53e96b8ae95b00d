//! A member of a JSON object that may be there more than once.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};

/// Which member of an object is wanted.
pub trait Member {
    /// Its name.
    const NAME: &'static str;
    /// What the JSON has to be, for a client that sends something else: `an object with a text`.
    const EXPECTED: &'static str;
}

/// All values of a [`Member`] of an object, in their order: whether there is none or more than one is for the service to
/// judge. Structs refuse a second one before it can be told apart from a wrong type.
///
/// ```
/// # use server::extract::{Json, Member, Members};
/// struct Word;
///
/// impl Member for Word {
///     const NAME: &'static str = "word";
///     const EXPECTED: &'static str = "an object with a `word`";
/// }
///
/// let Json(words) = Json::<Members<Word, String>>::parse(br#"{"word":"a","other":1,"word":"b"}"#)?;
/// assert_eq!(words.0, ["a", "b"]);
/// # Ok::<(), common::Problem>(())
/// ```
#[derive(Debug)]
pub struct Members<M, T>(pub Vec<T>, PhantomData<M>);

impl<'de, M: Member, T: Deserialize<'de>> Deserialize<'de> for Members<M, T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Self(Vec::new(), PhantomData))
    }
}

impl<'de, M: Member, T: Deserialize<'de>> Visitor<'de> for Members<M, T> {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(M::EXPECTED)
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Self, A::Error> {
        while let Some(name) = map.next_key::<String>()? {
            if name == M::NAME {
                self.0.push(map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(self)
    }
}
