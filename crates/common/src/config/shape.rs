//! What variables a configuration struct reads, asked of its own `Deserialize`.
//!
//! So the names stand once, as the struct's fields, and whether one is a secret follows from its type.

use secrets::Secret;
use serde::de::value::{Error, MapDeserializer};
use serde::de::{DeserializeOwned, Deserializer, Error as _, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;

/// One variable of a struct.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Field {
    /// The field's name: the variable's in lower case.
    pub(super) name: &'static str,
    /// Whether its type is [`Secret`], so that it may come from a file and is never shown.
    pub(super) secret: bool,
}

/// The fields of `T` in the order of their declaration.
pub(super) fn of<T: DeserializeOwned>() -> Vec<Field> {
    let mut names: &'static [&'static str] = &[];
    let _ = T::deserialize(Names(&mut names));
    names
        .iter()
        .map(|&name| {
            let mut secret = false;
            let _ = T::deserialize(Only { name, secret: &mut secret });
            Field { name, secret }
        })
        .collect()
}

/// Notes the field names that a struct asks for, then gives up.
struct Names<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for Names<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(Error::custom("a configuration section is a struct"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Error> {
        *self.0 = fields;
        Err(Error::custom("names noted"))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

/// Offers a struct one field and notes what type the field asks for.
struct Only<'a> {
    name: &'static str,
    secret: &'a mut bool,
}

impl<'de> Deserializer<'de> for Only<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let field = std::iter::once((self.name, Asked(self.secret)));
        visitor.visit_map(MapDeserializer::new(field))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

struct Asked<'a>(&'a mut bool);

impl IntoDeserializer<'_, Error> for Asked<'_> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for Asked<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(Error::custom("type noted"))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        _: V,
    ) -> Result<V::Value, Error> {
        *self.0 = name == Secret::TYPE_NAME;
        Err(Error::custom("type noted"))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}
