//! Settings that a container gives to redis-server on its command line. Pure.
//!
//! Only what is certainly a setting is taken: `--name value…` among `command` and `args`. What a shell script or a
//! configuration file says is not seen, and a value with a variable in it is not known.

use k8s_openapi::api::core::v1::Container;

use crate::{domain::pod::StartSettings, kube_io::text::plain};

/// The settings that something here is decided by. No other value is kept: among them may be a password.
const KEPT: [&str; 8] =
    ["maxmemory", "maxmemory-policy", "appendonly", "save", "repl-backlog-size", "dir", "replicaof", "slaveof"];
/// The longest value that is kept.
const MAX_VALUE: usize = 256;

/// The settings of that container.
pub(super) fn of(container: &Container) -> StartSettings {
    let words = container.command.iter().flatten().chain(container.args.iter().flatten());
    let mut settings: Vec<(String, Vec<&str>)> = Vec::new();
    for word in words {
        match word.strip_prefix("--").filter(|name| is_name(name)) {
            Some(name) => settings.push((name.to_ascii_lowercase(), Vec::new())),
            None => {
                if let Some((_, values)) = settings.last_mut() {
                    values.push(word);
                }
            }
        }
    }
    let known = settings
        .into_iter()
        .filter(|(name, values)| KEPT.contains(&name.as_str()) && !values.iter().any(|value| value.contains('$')));
    let mut merged: Vec<(String, String)> = Vec::new();
    for (name, values) in known {
        let value = values.join(" ").split_whitespace().collect::<Vec<_>>().join(" ");
        // Save points add up; an empty one clears those before it.
        match merged.iter_mut().find(|(known, _)| *known == name && name == "save") {
            Some((_, points)) if !value.is_empty() => {
                let all = format!("{points} {value}");
                plain(all.trim(), MAX_VALUE).clone_into(points);
            }
            Some((_, points)) => points.clear(),
            None => merged.push((name, plain(&value, MAX_VALUE))),
        }
    }
    StartSettings { container: container.name.clone(), settings: merged }
}

fn is_name(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;
    use pretty_assertions::assert_eq;

    fn settings(command: &[&str], args: &[&str]) -> Vec<(String, String)> {
        let words = |words: &[&str]| Some(words.iter().map(|word| (*word).to_owned()).collect());
        of(&Container { name: "redis".into(), command: words(command), args: words(args), ..Container::default() })
            .settings
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn names_and_values_from_command_and_arguments() {
        assert_eq!(
            settings(
                &["redis-server", "/etc/redis.conf"],
                &["--maxmemory", "512mb", "--APPENDONLY", "yes", "--save", "", "--dir", "/data"],
            ),
            pairs(&[("maxmemory", "512mb"), ("appendonly", "yes"), ("save", ""), ("dir", "/data")])
        );
    }

    #[test]
    fn save_points_add_up() {
        assert_eq!(settings(&[], &["--save", "900 1", "--save", "300", "10"]), pairs(&[("save", "900 1 300 10")]));
        assert_eq!(settings(&[], &["--save", "900 1", "--save", ""]), pairs(&[("save", "")]));
    }

    #[test]
    fn no_password_is_kept() {
        assert_eq!(settings(&[], &["--requirepass", "hunter2", "--save", "1 1"]), pairs(&[("save", "1 1")]));
    }

    #[test]
    fn what_a_variable_or_a_script_says_is_not_known() {
        assert_eq!(settings(&[], &["--maxmemory", "$(MAXMEMORY)", "--dir", "/data"]), pairs(&[("dir", "/data")]));
        assert_eq!(settings(&["sh", "-c"], &["redis-server --maxmemory 1gb"]), pairs(&[]));
    }
}
