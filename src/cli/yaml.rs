//! Writing YAML: the one place that knows the YAML library.

use serde::Serialize;

/// The value as a YAML document, ending in a newline.
pub(super) fn to_string<T: Serialize>(value: &T) -> Result<String, serde_yaml::Error> {
    serde_yaml::to_string(value)
}
