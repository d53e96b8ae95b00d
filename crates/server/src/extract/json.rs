//! JSON into what a handler takes, and what is wrong with it in the client's words.
//!
//! The types' own errors would tell of Rust's types, and a derived one would take an array for an object, its members
//! by their place.

use std::fmt::{self, Display};
use std::vec;

use serde::de::value::{SeqDeserializer, StringDeserializer};
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Error as _, Expected,
    IntoDeserializer, MapAccess, SeqAccess, Unexpected, VariantAccess, Visitor,
};
use serde::{Deserialize, forward_to_deserialize_any};
use serde_json::Number;

/// Why JSON is refused.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    /// It is no JSON.
    #[error("{0}")]
    Malformed(serde_json::Error),
    /// It is not the JSON that is wanted.
    #[error("{0}")]
    Mismatch(Mismatch),
}

/// The value of a text of JSON.
pub(super) fn parse<T: DeserializeOwned>(text: &[u8]) -> Result<T, Refusal> {
    let node: Node = serde_json::from_slice(text).map_err(Refusal::Malformed)?;
    T::deserialize(node).map_err(Refusal::Mismatch)
}

/// A value whose objects keep members that are there twice: some types count them.
#[derive(Debug)]
enum Node {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    Array(Vec<Node>),
    Object(Vec<(String, Node)>),
}

/// What does not fit, and where.
#[derive(Debug)]
pub(super) struct Mismatch {
    /// The innermost member last, as the names are found.
    path: Vec<String>,
    message: String,
}

impl Mismatch {
    fn within(mut self, member: &str) -> Self {
        self.path.insert(0, member.to_owned());
        self
    }
}

impl std::error::Error for Mismatch {}

impl Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "`{}`: ", self.path.join("."))?;
        }
        f.write_str(&self.message)
    }
}

impl de::Error for Mismatch {
    fn custom<T: Display>(message: T) -> Self {
        Self { path: Vec::new(), message: message.to_string() }
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let found = match found {
            Unexpected::Bool(_) => "a boolean",
            Unexpected::Unsigned(_) | Unexpected::Signed(_) => "an integer",
            Unexpected::Float(_) => "a number with a fraction",
            Unexpected::Char(_) | Unexpected::Str(_) => "a string",
            Unexpected::Seq => "an array",
            Unexpected::Map => "an object",
            Unexpected::Unit | Unexpected::Option => "null",
            _ => "something else",
        };
        Self::custom(format!("expected {}, found {found}", name(&expected.to_string())))
    }

    fn invalid_value(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let expected = expected.to_string();
        match name(&expected) {
            "an integer" => Self::custom("the integer is too large, too small, or negative"),
            name => Self::custom(format!("expected {name}")),
        }
    }
}

/// What a type calls itself, in JSON's words.
fn name(expected: &str) -> &str {
    match expected {
        "i8" | "i16" | "i32" | "i64" | "i128" | "isize" | "u8" | "u16" | "u32" | "u64" | "u128"
        | "usize" => "an integer",
        "f32" | "f64" => "a number",
        "a borrowed string" | "a character" => "a string",
        "a sequence" => "an array",
        "a map" => "an object",
        "unit" => "null",
        other => match other.split_once(' ') {
            Some(("struct", _)) => "an object",
            Some(("tuple", _)) => "an array",
            Some(("enum", _)) => "a string",
            Some(("a", kind)) if kind.starts_with("nonzero ") => "an integer",
            _ => other,
        },
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Nodes;
        impl<'de> Visitor<'de> for Nodes {
            type Value = Node;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("JSON")
            }

            fn visit_unit<E>(self) -> Result<Node, E> {
                Ok(Node::Null)
            }

            fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
                Ok(Node::Bool(value))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
                Ok(Node::Number(value.into()))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
                Ok(Node::Number(value.into()))
            }

            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Node, E> {
                Number::from_f64(value).map(Node::Number).ok_or_else(|| E::custom("no number"))
            }

            fn visit_str<E>(self, value: &str) -> Result<Node, E> {
                Ok(Node::Text(value.to_owned()))
            }

            fn visit_string<E>(self, value: String) -> Result<Node, E> {
                Ok(Node::Text(value))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
                let mut nodes = Vec::new();
                while let Some(node) = items.next_element()? {
                    nodes.push(node);
                }
                Ok(Node::Array(nodes))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Node, A::Error> {
                let mut nodes = Vec::new();
                while let Some(member) = members.next_entry()? {
                    nodes.push(member);
                }
                Ok(Node::Object(nodes))
            }
        }
        deserializer.deserialize_any(Nodes)
    }
}

impl IntoDeserializer<'_, Mismatch> for Node {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for Node {
    type Error = Mismatch;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        match self {
            Self::Null => visitor.visit_unit(),
            Self::Bool(value) => visitor.visit_bool(value),
            Self::Number(number) => match (number.as_u64(), number.as_i64()) {
                (Some(value), _) => visitor.visit_u64(value),
                (None, Some(value)) => visitor.visit_i64(value),
                (None, None) => visitor.visit_f64(number.as_f64().unwrap_or(f64::NAN)),
            },
            Self::Text(text) => visitor.visit_string(text),
            Self::Array(items) => visitor.visit_seq(SeqDeserializer::new(items.into_iter())),
            Self::Object(members) => {
                visitor.visit_map(Members { rest: members.into_iter(), value: None })
            }
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        match self {
            Self::Null => visitor.visit_none(),
            node => visitor.visit_some(node),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        match self {
            Self::Array(_) => Err(Mismatch::invalid_type(Unexpected::Seq, &"an object")),
            node => node.deserialize_any(visitor),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        match self {
            Self::Text(name) => visitor.visit_enum(Variant(name, Self::Null)),
            Self::Object(members) if members.len() == 1 => {
                let (name, value) =
                    members.into_iter().next().unwrap_or((String::new(), Self::Null));
                visitor.visit_enum(Variant(name, value))
            }
            node => node.deserialize_any(visitor),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map identifier ignored_any
    }
}

/// The members of an object.
struct Members {
    rest: vec::IntoIter<(String, Node)>,
    value: Option<(String, Node)>,
}

impl<'de> MapAccess<'de> for Members {
    type Error = Mismatch;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Mismatch> {
        let Some((name, value)) = self.rest.next() else { return Ok(None) };
        self.value = Some((name.clone(), value));
        let name: StringDeserializer<Mismatch> = name.into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Mismatch> {
        let (name, value) = self.value.take().unwrap_or((String::new(), Node::Null));
        seed.deserialize(value).map_err(|mismatch| mismatch.within(&name))
    }
}

/// An enum's variant, by its name, with what it holds.
struct Variant(String, Node);

impl<'de> EnumAccess<'de> for Variant {
    type Error = Mismatch;
    type Variant = Node;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Node), Mismatch> {
        let name: StringDeserializer<Mismatch> = self.0.into_deserializer();
        Ok((seed.deserialize(name)?, self.1))
    }
}

impl<'de> VariantAccess<'de> for Node {
    type Error = Mismatch;

    fn unit_variant(self) -> Result<(), Mismatch> {
        Deserialize::deserialize(self)
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Mismatch> {
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Mismatch> {
        self.deserialize_any(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        self.deserialize_struct("", fields, visitor)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    struct Inner {
        number: u8,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(rename_all = "lowercase")]
    enum Kind {
        Plain,
        With { inner: Inner },
    }

    #[derive(Debug, Deserialize, PartialEq)]
    struct Outer {
        text: String,
        #[serde(default)]
        inner: Option<Inner>,
        #[serde(default)]
        list: Vec<Inner>,
        #[serde(default)]
        kind: Option<Kind>,
        #[serde(default)]
        rest: BTreeMap<String, f64>,
    }

    fn refused(text: &str) -> String {
        parse::<Outer>(text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn an_object_becomes_a_struct_with_all_that_it_holds() {
        let text = json!({
            "text": "t", "inner": {"number": 1}, "list": [{"number": 2}], "unknown": [1],
            "kind": {"with": {"inner": {"number": 3}}}, "rest": {"a": 1.5, "b": 2},
        });

        let outer: Outer = parse(text.to_string().as_bytes()).unwrap();

        assert_eq!(outer.list, [Inner { number: 2 }]);
        assert_eq!(outer.kind, Some(Kind::With { inner: Inner { number: 3 } }));
        assert_eq!(outer.rest["b"].to_bits(), 2_f64.to_bits());
        let plain: Outer = parse(br#"{"text":"t","kind":"plain","inner":null}"#).unwrap();
        assert_eq!((plain.kind, plain.inner), (Some(Kind::Plain), None));
    }

    #[test]
    fn an_array_is_no_object_wherever_it_stands_and_whatever_it_holds() {
        for (text, said) in [
            (r#"["t"]"#, "expected an object, found an array"),
            ("[]", "expected an object, found an array"),
            (r#"{"text":"t","inner":[1]}"#, "`inner`: expected an object, found an array"),
            (r#"{"text":"t","list":[[1]]}"#, "`list`: expected an object, found an array"),
            (r#"{"text":"t","kind":{"with":[[1]]}}"#, "`kind`: expected an object, found an array"),
        ] {
            assert_eq!(refused(text), said, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_by_its_member_and_without_rusts_types() {
        for (text, said) in [
            ("{}", "missing field `text`"),
            ("null", "expected an object, found null"),
            (r#""t""#, "expected an object, found a string"),
            (r#"{"text":7}"#, "`text`: expected a string, found an integer"),
            (r#"{"text":null}"#, "`text`: expected a string, found null"),
            (r#"{"text":"a","text":"b"}"#, "duplicate field `text`"),
            (
                r#"{"text":"","inner":{"number":"1"}}"#,
                "`inner.number`: expected an integer, found a string",
            ),
            (
                r#"{"text":"","inner":{"number":1.5}}"#,
                "`inner.number`: expected an integer, found a number with a fraction",
            ),
            (
                r#"{"text":"","inner":{"number":256}}"#,
                "`inner.number`: the integer is too large, too small, or negative",
            ),
            (r#"{"text":"","list":{}}"#, "`list`: expected an array, found an object"),
            (r#"{"text":"","kind":1}"#, "`kind`: expected a string, found an integer"),
            (r#"{"text":"","rest":{"a":[]}}"#, "`rest.a`: expected a number, found an array"),
        ] {
            assert_eq!(refused(text), said, "{text}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_json_stays_as_it_is(text in "\\PC*", number in any::<i64>(), halves in any::<i32>()) {
            let value = json!({ &text: [number, f64::from(halves) / 2.0, null, true, {"x": text}] });

            let parsed: Value = parse(value.to_string().as_bytes()).unwrap();

            prop_assert_eq!(parsed, value);
        }
    }
}
