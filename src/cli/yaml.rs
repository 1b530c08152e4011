//! Writing and reading YAML: the one place that knows the YAML library.

use serde::{Serialize, de::DeserializeOwned};
use serde_yaml::with::singleton_map_recursive;

/// The value as a YAML document, ending in a newline.
pub(super) fn to_string<T: Serialize>(value: &T) -> Result<String, serde_yaml::Error> {
    let mut text = Vec::new();
    // Enums as plain maps (`failed: …`), not as YAML tags, which JSON has no word for.
    singleton_map_recursive::serialize(value, &mut serde_yaml::Serializer::new(&mut text))?;
    String::from_utf8(text).map_err(serde::ser::Error::custom)
}

/// The value of the only document in this text, YAML or JSON. Errors name the field and the line.
pub(super) fn from_str<T: DeserializeOwned>(text: &str) -> Result<T, serde_yaml::Error> {
    singleton_map_recursive::deserialize(serde_yaml::Deserializer::from_str(text))
}
