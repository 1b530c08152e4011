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
        let mut values: Vec<String> = scripts.texts.iter().flat_map(|text| mentions(text, name)).collect();
        values.sort_unstable();
        values.dedup();
        match values.as_slice() {
            [] => {}
            [value] => settings.set(name, value),
            [..] => settings.unread(name),
        }
    }
    if scripts.unseen {
        settings.open_up();
    }
    settings
}

/// What stands behind each mention of that setting, as an option or as a line of configuration.
fn mentions(text: &str, name: &str) -> Vec<String> {
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
        let value = after.trim_start_matches([' ', '\t', '\n', '=']);
        if value.len() == after.len() {
            continue;
        }
        found.push(value_of(value, name == "save"));
    }
    found
}

/// The value at the beginning of that text; what is no plain one is kept as it is, and then is no value of any setting.
fn value_of(text: &str, points: bool) -> String {
    let inner = text.trim_start_matches(['"', '\'']);
    let quotes = text.len() - inner.len();
    // Two quotes, and nothing between them.
    let empty = quotes >= 2 && inner.chars().next().is_none_or(|c| !c.is_ascii_alphanumeric() && c != '$');
    let belongs =
        |c: char| if points { c.is_ascii_digit() || c == ' ' } else { !c.is_whitespace() && !ENDS.contains(c) };
    let end = inner.find(|c| !belongs(c)).unwrap_or(inner.len());
    match inner.get(..end).unwrap_or_default().trim() {
        "" if empty => String::new(),
        "" => "$".to_owned(),
        value => value.split_whitespace().collect::<Vec<_>>().join(" "),
    }
}

/// What ends a word of a shell.
const ENDS: &str = "\"';|&)>\\";

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

    #[rstest]
    #[case("redis-server --save '' --dir /d", Setting::Is(""))]
    #[case("printf 'save \"\"\\n'", Setting::Is(""))]
    #[case("printf '%s' 'save 3600 1 300 100' 'dir /d'", Setting::Is("3600 1 300 100"))]
    #[case("echo save 900 1 >> f", Setting::Is("900 1"))]
    #[case("redis-server --save \"$POINTS\"", Setting::Unread)]
    #[case("redis-server --save \"\" # save 1 1", Setting::Unread)]
    fn the_save_points_of_a_script(#[case] text: &str, #[case] expected: Setting<'_>) {
        let scripts = Scripts { texts: vec![text.to_owned()], unseen: false };
        assert_eq!(apply(Settings::default(), &scripts).get("save"), expected);
    }
}
