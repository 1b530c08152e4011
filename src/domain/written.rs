//! How observed values are written in snapshot files, where the derived form would not read well.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{bytes::Bytes, quantity};

/// Bytes are written as a number and read as a number or as a quantity: `72351744` or `69Mi`.
impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Amount;
        impl de::Visitor<'_> for Amount {
            type Value = Bytes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an amount of memory: a number of bytes, or a quantity such as 512Mi")
            }

            fn visit_u64<E: de::Error>(self, bytes: u64) -> Result<Bytes, E> {
                Ok(Bytes(bytes))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Bytes, E> {
                quantity::parse(text).map_err(|error| E::custom(format!("{text:?} {error}")))
            }
        }
        deserializer.deserialize_any(Amount)
    }
}

/// A duration as `1h30m`. What is below a millisecond is left out: no duration that is judged is that exact.
pub(super) mod duration {
    use std::time::Duration;

    use serde::{Deserialize as _, Deserializer, Serializer, de};

    use crate::domain::duration;

    pub(crate) fn serialize<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&duration::format(*value))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(deserializer)?;
        duration::parse(&text).map_err(|error| de::Error::custom(format!("{text:?} {error}")))
    }
}

/// A duration as whole microseconds: the server's own unit for the time that a fork took.
pub(super) mod micros {
    use std::time::Duration;

    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(value.as_micros()).unwrap_or(u64::MAX))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_micros)
    }
}

/// What is known, or why it is not: `{known: …}` or `{unknown: "why"}`.
pub(super) mod known {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "camelCase")]
    enum Known<T, E> {
        Known(T),
        Unknown(E),
    }

    pub(crate) fn serialize<T: Serialize, E: Serialize, S: Serializer>(
        value: &Result<T, E>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Ok(known) => Known::<&T, &E>::Known(known),
            Err(why) => Known::Unknown(why),
        }
        .serialize(serializer)
    }

    pub(crate) fn deserialize<'de, T: Deserialize<'de>, E: Deserialize<'de>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Result<T, E>, D::Error> {
        Ok(match Known::deserialize(deserializer)? {
            Known::Known(known) => Ok(known),
            Known::Unknown(why) => Err(why),
        })
    }
}
