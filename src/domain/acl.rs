//! Which Redis commands are sent, and so which rights a Redis user needs: one table, from which the lines of `acl` are
//! printed and by which rights are asked for. Which step sends which is in the table of steps ([`StepKind::sends`]).

use super::{sample::Version, step::StepKind, switchover::SwitchoverMethod as Method};

/// What a user is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// To look.
    Observe,
    /// To look and to carry out remediations.
    Act,
}

/// What is sent to look, in the words of ACL rules. `client|setname` is a courtesy to readers of CLIENT LIST, and
/// `client|list` and `pubsub|numsub` tell whether a Sentinel is connected.
pub const OBSERVING: &[&str] = &["info", "client|setname", "client|list", "pubsub|numsub", "config|get"];

/// What is sent to learn whether the acting commands are allowed, from 7.0 on.
pub const ASKING: &[&str] = &["acl|whoami", "acl|dryrun"];

/// What is sent to compare the users of the members before a role moves. It changes nothing, and shows hashes of passwords
/// that are hashed again and dropped. Without it they are not compared, and nothing is refused for that.
pub const COMPARING: &[&str] = &["acl|list"];

/// The first version that has `ACL DRYRUN`.
pub const DRYRUN_SINCE: Version = Version { major: 7, minor: 0, patch: 0 };

/// What is sent to a Sentinel to look. It has users of its own, and keeps neither keys nor channels from them.
pub const ASKING_SENTINELS: &[&str] = &[
    "info",
    "client|setname",
    "sentinel|myid",
    "sentinel|master",
    "sentinel|masters",
    "sentinel|replicas",
    "sentinel|sentinels",
];

/// What is sent to a Sentinel to have it give the role to another member.
pub const MOVING_BY_SENTINEL: &str = "sentinel|failover";

/// What is sent to a Sentinel to have it forget who is gone.
pub const FORGETTING: &str = "sentinel|reset";

macro_rules! commands {
    ($($command:ident $rule:literal, asked: $trial:expr, harmless: $harmless:expr, by: $by:expr;)*) => {
        /// A command that changes something.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[allow(missing_docs, reason = "each is the command of that name")]
        pub enum Command { $($command,)* }

        impl Command {
            /// Every one.
            pub const ALL: &'static [Self] = &[$(Self::$command,)*];

            /// In the words of ACL rules.
            pub const fn rule(self) -> &'static str {
                match self { $(Self::$command => $rule,)* }
            }

            /// What `ACL DRYRUN` is asked about.
            pub const fn trial(self) -> &'static [&'static str] {
                match self { $(Self::$command => $trial,)* }
            }

            /// A call that has no effect, and that 6.2 refuses with NOPERM before it looks at the arguments. `None`: it
            /// takes none, and 6.2 counts the arguments before it looks at rights.
            pub const fn harmless(self) -> Option<&'static [&'static str]> {
                match self { $(Self::$command => $harmless,)* }
            }

            /// The only methods of switchover that send it; `None`: all do, or it belongs to another step.
            pub const fn methods(self) -> Option<&'static [Method]> {
                match self { $(Self::$command => $by,)* }
            }
        }
    };
}

/// Both hold writes back by CLIENT PAUSE.
const PAUSING: Option<&[Method]> = Some(&[Method::Guarded, Method::Sentinel]);

commands! {
    Failover "failover", asked: &["FAILOVER"], harmless: Some(&["FAILOVER", "ABORT"]), by: Some(&[Method::Native]);
    ReplicaOf "replicaof", asked: &["REPLICAOF", "localhost", "1"], harmless: Some(&["REPLICAOF", "localhost", "none"]), by: None;
    ConfigSet "config|set", asked: &["CONFIG", "SET", "maxmemory", "1"], harmless: Some(&["CONFIG", "SET"]), by: None;
    ConfigRewrite "config|rewrite", asked: &["CONFIG", "REWRITE"], harmless: Some(&["CONFIG", "REWRITE", "nothing"]), by: Some(&[Method::Sentinel]);
    ClientPause "client|pause", asked: &["CLIENT", "PAUSE", "1", "WRITE"], harmless: Some(&["CLIENT", "PAUSE"]), by: PAUSING;
    ClientUnpause "client|unpause", asked: &["CLIENT", "UNPAUSE"], harmless: Some(&["CLIENT", "UNPAUSE", "nobody"]), by: PAUSING;
    ClientKill "client|kill", asked: &["CLIENT", "KILL", "ID", "1"], harmless: Some(&["CLIENT", "KILL"]), by: None;
    BgSave "bgsave", asked: &["BGSAVE"], harmless: Some(&["BGSAVE", "nothing"]), by: None;
    BgRewriteAof "bgrewriteaof", asked: &["BGREWRITEAOF"], harmless: None, by: None;
}

/// What people are told of a command that is sent as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlainWords {
    /// Its name, as servers show it.
    pub name: &'static str,
    /// Reason of the event that says that it was sent.
    pub event: &'static str,
    /// Action of that event, and the metrics' name of it.
    pub action: &'static str,
    /// What the pod does then, as the end of "have it …".
    pub task: &'static str,
}

macro_rules! plain_commands {
    ($($command:ident $name:literal, event $event:literal, action $action:literal, $task:literal;)*) => {
        /// A command that is sent as it is, without arguments of ours: in the words of its question ([`Command::trial`]).
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[allow(missing_docs, reason = "each is the command of that name")]
        pub enum PlainCommand { $($command,)* }

        impl PlainCommand {
            /// Every one.
            pub const ALL: &'static [Self] = &[$(Self::$command),*];

            /// The words that are sent.
            pub const fn sent(self) -> &'static [&'static str] {
                match self { $(Self::$command => Command::$command.trial(),)* }
            }

            /// The words for people.
            pub const fn words(self) -> PlainWords {
                match self {
                    $(Self::$command => PlainWords { name: $name, event: $event, action: $action, task: $task },)*
                }
            }
        }
    };
}

plain_commands! {
    BgSave "BGSAVE", event "PersistenceStarted", action "Persist", "save its data";
    BgRewriteAof "BGREWRITEAOF", event "PersistenceStarted", action "Persist", "rewrite its append-only file";
}

/// Commands that make things easier for people and without which everything is done all the same: a user that may not run
/// them is no refusal and no finding.
pub const COURTESIES: &[Command] = &[Command::ClientKill];

/// Whether the command of that rule is one of the [`COURTESIES`].
pub fn is_courtesy(rule: &str) -> bool {
    COURTESIES.iter().any(|command| command.rule() == rule)
}

/// The only methods of switchover that send the command of that rule; `None`: all do, or it belongs to another step.
pub fn methods_of(rule: &str) -> Option<&'static [Method]> {
    Command::ALL.iter().find(|command| command.rule() == rule)?.methods()
}

/// Whether that method sends the command of that rule, and not every method does.
pub fn is_own_of(rule: &str, method: Method) -> bool {
    methods_of(rule).is_some_and(|methods| methods.contains(&method))
}

/// The acting commands that are sent where the role is handed over by one of these methods, in the order of the table; by
/// none of them: where every primary is restarted in place, and no role is moved.
pub fn acting(methods: &[Method]) -> Vec<Command> {
    let done = |kind: &&StepKind| !methods.is_empty() || !kind.moves_a_role();
    let sent = |command: &&Command| StepKind::ALL.iter().filter(done).any(|kind| kind.sends().contains(command));
    let meant = |command: &&Command| {
        command.methods().is_none_or(|senders| senders.iter().any(|sender| methods.contains(sender)))
    };
    Command::ALL.iter().filter(sent).filter(meant).copied().collect()
}

/// Whether the command of that rule is sent for no other purpose than to move a role.
pub fn is_only_to_move_a_role(rule: &str) -> bool {
    let named = |commands: &[Command]| commands.iter().any(|command| command.rule() == rule);
    named(Command::ALL) && !named(&acting(&[]))
}

/// The rules of a user, after its name and password: no keys, no channels, and no command but these. The same words
/// are understood by every version from 6.2 on; before 7.0 there is no `ACL DRYRUN` to be allowed.
pub fn rules(role: Role, methods: &[Method], server: Version) -> String {
    let mut rules = vec!["resetkeys".to_owned(), "resetchannels".to_owned(), "-@all".to_owned()];
    rules.extend(OBSERVING.iter().map(|rule| format!("+{rule}")));
    if role == Role::Act {
        rules.extend(acting(methods).into_iter().map(|command| format!("+{}", command.rule())));
        if !methods.is_empty() {
            rules.extend(COMPARING.iter().map(|rule| format!("+{rule}")));
        }
        if server >= DRYRUN_SINCE {
            rules.extend(ASKING.iter().map(|rule| format!("+{rule}")));
        }
    }
    rules.join(" ")
}

/// The rules of a user of Sentinels, after its name and password: no command but those that are sent.
pub fn sentinel_rules() -> String {
    let sent = ASKING_SENTINELS.iter().copied().chain([MOVING_BY_SENTINEL, FORGETTING]);
    let sent: Vec<String> = sent.map(|rule| format!("+{rule}")).collect();
    format!("-@all {}", sent.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEVEN: Version = DRYRUN_SINCE;
    const SIX: Version = Version { major: 6, minor: 2, patch: 5 };

    #[test]
    fn every_command_belongs_to_a_step() {
        for command in Command::ALL {
            assert!(StepKind::ALL.iter().any(|kind| kind.sends().contains(command)), "{command:?}");
        }
    }

    #[test]
    fn a_user_gets_what_is_sent_and_no_more() {
        let observe = "resetkeys resetchannels -@all +info +client|setname +client|list +pubsub|numsub +config|get";
        assert_eq!(rules(Role::Observe, &[Method::Native], SEVEN), observe);
        let native = "+failover +replicaof +config|set +client|kill +bgsave +bgrewriteaof +acl|list";
        assert_eq!(rules(Role::Act, &[Method::Native], SIX), format!("{observe} {native}"));
        assert_eq!(rules(Role::Act, &[Method::Native], SEVEN), format!("{observe} {native} +acl|whoami +acl|dryrun"));
        let sentinel = "+replicaof +config|set +config|rewrite +client|pause +client|unpause +client|kill +bgsave \
                        +bgrewriteaof +acl|list";
        assert_eq!(rules(Role::Act, &[Method::Sentinel], SIX), format!("{observe} {sentinel}"));
        let guarded =
            "+replicaof +config|set +client|pause +client|unpause +client|kill +bgsave +bgrewriteaof +acl|list";
        assert_eq!(rules(Role::Act, &[Method::Guarded], SIX), format!("{observe} {guarded}"));
        let in_place = "+config|set +bgsave +bgrewriteaof";
        assert_eq!(rules(Role::Act, &[], SIX), format!("{observe} {in_place}"));
    }

    #[test]
    fn what_only_moves_a_role_is_told_from_the_rest() {
        let moves = |rule: &&str| is_only_to_move_a_role(rule);
        let all = ["replicaof", "client|pause", "failover", "config|set", "bgsave", "acl|whoami"];
        assert_eq!(all.iter().copied().filter(moves).collect::<Vec<_>>(), ["replicaof", "client|pause", "failover"]);
    }

    #[test]
    fn no_user_gets_keys_or_whole_categories() {
        for role in [Role::Observe, Role::Act] {
            let rules = rules(role, &[Method::Native, Method::Guarded], SEVEN);
            assert!(!rules.contains("+@") && !rules.contains('~') && !rules.contains('&') && !rules.contains("nopass"));
        }
    }
}
