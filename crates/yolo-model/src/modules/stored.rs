//! Blocks in our own files: `"Concat"`, or `{"Conv": {"in": 3, …}}`.

use std::fmt;

use serde::de::{DeserializeSeed, EnumAccess, Error, VariantAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Block, ModuleKind, Stored, registry};

impl Serialize for Block {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let kind = self.kind();
        match kind.stored {
            Stored::Name(_) => serializer.serialize_unit_variant("Block", 0, kind.key),
            Stored::Fields(_) => {
                serializer.serialize_newtype_variant("Block", 0, kind.key, self.as_serialize())
            }
        }
    }
}

impl<'de> Deserialize<'de> for Block {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_enum("Block", &[], BlockVisitor)
    }
}

struct BlockVisitor;

impl<'de> Visitor<'de> for BlockVisitor {
    type Value = Block;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a module")
    }

    fn visit_enum<A: EnumAccess<'de>>(self, access: A) -> Result<Block, A::Error> {
        let (key, content) = access.variant::<String>()?;
        let unknown = || A::Error::custom(format!("unknown module `{key}`; known are {}", registry::names()));
        let kind = registry::by_key(&key).ok_or_else(unknown)?;
        match kind.stored {
            Stored::Name(make) => content.unit_variant().map(|()| make()),
            Stored::Fields(_) => content.newtype_variant_seed(Fields(kind)),
        }
    }
}

/// The fields of a module of this kind.
struct Fields(&'static ModuleKind);

impl<'de> DeserializeSeed<'de> for Fields {
    type Value = Block;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Block, D::Error> {
        let mut erased = <dyn erased_serde::Deserializer>::erase(deserializer);
        match self.0.stored {
            Stored::Name(make) => Ok(make()),
            Stored::Fields(read) => read(&mut erased).map_err(D::Error::custom),
        }
    }
}
