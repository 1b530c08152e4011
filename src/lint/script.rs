//! What a script says of the settings of the server that it starts. Scripts are not run: a setting that one names with a
//! plain value, and with one only, is taken for that; one that it names otherwise is not known.

use crate::domain::start::Settings;

/// The scripts that have a hand in a start.
#[derive(Debug, Default)]
pub(super) struct Scripts {
    pub(super) texts: Vec<String>,
    /// The one that starts the server is not in the input.
    pub(super) unseen: bool,
}

const LOOKED_FOR: [&str; 4] = ["maxmemory", "maxmemory-policy", "appendonly", "save"];

/// The settings, and what the scripts make of them.
pub(super) fn apply(mut settings: Settings, scripts: &Scripts) -> Settings {
    for name in LOOKED_FOR {
        let mut values: Vec<&str> = scripts.texts.iter().flat_map(|text| mentions(text, name)).collect();
        values.sort_unstable();
        values.dedup();
        match values.as_slice() {
            [] => {}
            [value] if name != "save" => {
                settings.set(name, value);
            }
            [..] => settings.unread(name),
        }
    }
    if scripts.unseen {
        settings.open_up();
    }
    settings
}

/// The words behind each mention of that setting, as an option or as a line of configuration.
fn mentions<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
    let of_name = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let mut found = Vec::new();
    for (at, _) in text.match_indices(name) {
        let before = text.get(..at).unwrap_or_default();
        let option = before.strip_suffix("--").unwrap_or(before);
        let after = text.get(at + name.len()..).unwrap_or_default();
        // Part of another word, or of a comment.
        if option.ends_with(of_name) || after.starts_with(of_name) || in_comment(before) {
            continue;
        }
        let value = after.trim_start_matches([' ', '\t', '\n', '"', '\'', '=']);
        if value.len() == after.len() {
            continue;
        }
        let ends = |c: char| c.is_whitespace() || "\"';|&)>\\".contains(c);
        found.push(value.split(ends).next().unwrap_or_default());
    }
    found
}

fn in_comment(before: &str) -> bool {
    let line = before.rsplit('\n').next().unwrap_or_default();
    line.trim_start().starts_with('#')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::start::Setting;
    use rstest::rstest;

    #[rstest]
    #[case("exec redis-server --maxmemory 512mb --save ''", Setting::Is("512mb"))]
    #[case("echo \"maxmemory 512mb\" >> /etc/redis.conf", Setting::Is("512mb"))]
    #[case("printf 'maxmemory 512mb\\n'", Setting::Is("512mb"))]
    #[case("# maxmemory 1gb\nredis-server --maxmemory-policy allkeys-lru", Setting::Default)]
    #[case("redis-server --maxmemory \"$LIMIT\"", Setting::Unread)]
    #[case("redis-server --maxmemory $((LIMIT * 3 / 4))", Setting::Unread)]
    #[case("x && m='maxmemory 1gb' || m='maxmemory 2gb'", Setting::Unread)]
    #[case("redis-cli config get maxmemory", Setting::Default)]
    #[case("echo my-maxmemory 3", Setting::Default)]
    fn what_a_script_says(#[case] text: &str, #[case] expected: Setting<'_>) {
        let scripts = Scripts { texts: vec![text.to_owned()], unseen: false };
        let settings = apply(Settings::default(), &scripts);
        assert_eq!(settings.get("maxmemory"), expected);
    }
}
