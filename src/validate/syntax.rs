//! What names look like. Each predicate says the same as the CEL rule of that name.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::domain::policy::PortRef;

/// A port number, quoted or not, or the IANA name of a port.
pub(super) fn port(port: &IntOrString) -> Option<PortRef> {
    match port {
        IntOrString::Int(number) => u16::try_from(*number).ok().filter(|n| *n > 0).map(PortRef::Number),
        IntOrString::String(number) if number.bytes().all(|b| b.is_ascii_digit()) => {
            number.parse().ok().filter(|n| *n > 0).map(PortRef::Number)
        }
        IntOrString::String(name) => {
            let fits = name.len() <= 15
                && is_label(name)
                && name.bytes().any(|b| b.is_ascii_lowercase())
                && !name.contains("--");
            fits.then(|| PortRef::Name(name.clone()))
        }
    }
}

/// RFC 1123 label: lower-case letters, digits and `-`, 1 to 63, a letter or digit at both ends.
pub(super) fn is_label(text: &str) -> bool {
    text.len() <= 63
        && has_solid_ends(text)
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// Lower-case letters, digits and `-`, with a letter in front and no `-` at the end, 1 to 64.
pub(super) fn is_eviction_policy(text: &str) -> bool {
    text.len() <= 64
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && has_solid_ends(text)
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// RFC 1123 subdomain, as Kubernetes checks names: labels of any length, at most 253 in all.
pub(super) fn is_subdomain(text: &str) -> bool {
    let label = |part: &str| {
        has_solid_ends(part) && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    text.len() <= 253 && text.split('.').all(label)
}

pub(super) fn is_label_key(text: &str) -> bool {
    let (prefix, name) = match text.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, text),
    };
    prefix.is_none_or(is_subdomain) && is_label_value(name)
}

/// A label value that is not empty; the name part of a label key has the same form.
pub(super) fn is_label_value(text: &str) -> bool {
    text.len() <= 63
        && has_solid_ends(text)
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

fn has_solid_ends(text: &str) -> bool {
    let solid = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    solid(text.as_bytes().first()) && solid(text.as_bytes().last())
}

pub(super) fn is_master_name(text: &str) -> bool {
    is_secret_key(text) && text.len() <= 64
}

pub(super) fn is_secret_key(text: &str) -> bool {
    (1..=253).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

pub(super) fn belongs_to_kubernetes(key: &str) -> bool {
    let Some((prefix, _)) = key.split_once('/') else {
        return matches!(key, "controller-revision-hash" | "pod-template-hash");
    };
    let under = |domain: &str| prefix == domain || prefix.ends_with(&format!(".{domain}"));
    prefix != "app.kubernetes.io" && (under("kubernetes.io") || under("k8s.io"))
}
