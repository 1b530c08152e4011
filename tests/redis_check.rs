//! `check` as a person or a pipeline runs it, on real redis-server processes.
#![cfg(test)]

mod common;

use std::{
    io::Write as _,
    process::{Command, Output},
};

use common::{
    connect, eventually,
    garbage::{GarbageServer, Manner},
    look,
    server::RedisServer,
};
use pretty_assertions::assert_eq;
use rstest::rstest;
use serde_json::Value;

/// The exit code, standard output and standard error of one run.
struct Ran {
    code: i32,
    out: String,
    err: String,
}

fn check(arguments: &[&str], password: Option<&str>) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_redis-memory-operator"));
    command.arg("check").args(arguments).env_remove("RMO_REDIS_PASSWORD");
    if let Some(password) = password {
        command.env("RMO_REDIS_PASSWORD", password);
    }
    let Output { status, stdout, stderr } = command.output().expect("the binary can be run");
    let text = |bytes| String::from_utf8(bytes).expect("what we print is UTF-8");
    Ran { code: status.code().expect("it ends by itself"), out: text(stdout), err: text(stderr) }
}

async fn settled(server: &RedisServer) {
    look(&mut connect(server).await).await.expect("a sample");
}

#[tokio::test]
async fn a_healthy_server_is_0() {
    let server = RedisServer::start(&["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"]);
    settled(&server).await;
    let address = server.address().to_string();
    let ran = check(&[&address, "--limit", "256Mi"], None);
    assert_eq!(ran.code, 0, "{} {}", ran.out, ran.err);
    for part in
        ["Redis", "primary", "100 MiB, allkeys-lru", "256 MiB, needed 164 MiB", "no save points", "No findings."]
    {
        assert!(ran.out.contains(part), "{part} in {}", ran.out);
    }
    // By name, and without a limit: its absence is no finding.
    let ran = check(&[&format!("localhost:{}", server.address().port())], None);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{}", ran.out);
    assert!(!ran.out.contains("container limit"), "{}", ran.out);
}

#[tokio::test]
async fn a_warning_is_1() {
    let server = RedisServer::start(&["--maxmemory", "100mb"]);
    settled(&server).await;
    let used = look(&mut connect(&server).await).await.expect("a sample").memory.used.0;
    server.run(&["CONFIG", "SET", "maxmemory", &(used * 100 / 78).to_string()]);
    let ran = check(&[&server.address().to_string()], None);
    assert_eq!(ran.code, 1, "{}", ran.out);
    assert!(ran.out.contains("Warning   UtilizationWarning"), "{}", ran.out);
}

#[tokio::test]
async fn a_limit_too_close_is_2_and_json_has_the_numbers() {
    let server = RedisServer::start(&["--maxmemory", "100mb", "--appendonly", "yes"]);
    settled(&server).await;
    let ran = check(&[&server.address().to_string(), "--limit", "110Mi", "--output", "json"], None);
    assert_eq!(ran.code, 2, "{}", ran.out);
    let report: Value = serde_json::from_str(&ran.out).expect("it is JSON");
    assert_eq!(report["role"], "primary");
    assert_eq!(report["maxmemoryBytes"], 104_857_600);
    assert_eq!(report["headroom"]["sufficient"], false);
    assert_eq!(report["headroom"]["neededBytes"], 171_966_464);
    assert_eq!(report["persistence"]["appendOnly"], true);
    assert_eq!(report["findings"][0]["code"], "HeadroomInsufficient");
    assert_eq!(report["findings"][0]["severity"], "Critical");
    assert!(report["usedBytes"].as_u64() < report["rssBytes"].as_u64());
}

#[tokio::test]
async fn fragmentation_is_found_with_cause_and_gain() {
    let server = RedisServer::start(&["--enable-debug-command", "yes", "--maxmemory", "1gb"]);
    server.run(&["DEBUG", "POPULATE", "1000000", "key", "100"]);
    let thin = "for i=0,999999 do if i%4>0 then redis.call('DEL','key:'..i) end end";
    server.run(&["EVAL", thin, "0"]);
    // The server measures itself every 100 ms, and gives free pages back for some seconds.
    let ran = eventually("the fragmentation is found", async || {
        let ran = check(&[&server.address().to_string(), "-o", "json"], None);
        (ran.out.contains("FragmentationRestartDue")).then_some(ran)
    })
    .await;
    assert_eq!(ran.code, 2, "{}", ran.out);
    let report: Value = serde_json::from_str(&ran.out).expect("it is JSON");
    assert!(report["fragmentationPercent"].as_u64() >= Some(250), "{report}");
    assert_eq!(report["causes"]["dominant"], "fragmented");
    assert!(report["expectedGainBytes"].as_u64() > Some(100 << 20), "{report}");
    assert_eq!(report["keys"], 250_000);
}

#[tokio::test]
async fn passwords_come_from_the_environment_or_a_file() {
    let server = RedisServer::start(&["--requirepass", "s3cr3t-of-the-test", "--maxmemory", "100mb"]);
    server.run(&["-a", "s3cr3t-of-the-test", "ACL", "SETUSER", "memory", "on", ">of-the-user", "+info", "+config|get"]);
    let address = server.address().to_string();
    let credentials = redis_memory_operator::redis_io::Credentials::new(None, "s3cr3t-of-the-test".into());
    eventually("it has measured itself", async || {
        let opened =
            redis_memory_operator::redis_io::Connection::open(server.address(), Some(&credentials), common::DEADLINE)
                .await;
        look(&mut opened.ok()?).await.ok()
    })
    .await;
    assert_eq!(check(&[&address], Some("s3cr3t-of-the-test")).code, 0);
    assert_eq!(check(&[&address, "--username", "memory"], Some("of-the-user")).code, 0);
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    writeln!(file, "s3cr3t-of-the-test").expect("it can be written");
    let path = file.path().display().to_string();
    assert_eq!(check(&[&address, "--password-file", &path], Some("wrong")).code, 0, "the file goes first");

    for (arguments, password, word) in [
        (vec![address.as_str()], None, "AuthenticationFailed"),
        (vec![&address], Some("wrong-guess"), "WRONGPASS"),
        (vec![&address, "--username", "memory"], None, "needs a password"),
        (vec![&address, "--password-file", "/nonexistent/file"], None, "/nonexistent/file"),
    ] {
        let ran = check(&arguments, password);
        assert_eq!((ran.code, ran.out.as_str()), (3, ""), "{arguments:?}");
        assert!(ran.err.contains(word), "{}", ran.err);
        assert!(!ran.err.contains("guess"), "{}", ran.err);
    }
}

#[rstest]
#[case(&["127.0.0.1:1"], "Unreachable")]
#[case(&["no-such-host.invalid"], "cannot resolve")]
#[case(&["127.0.0.1:99999"], "no valid port")]
#[case(&["127.0.0.1", "--limit", "much"], "not a quantity")]
#[case(&["127.0.0.1", "--deadline", "0s"], "zero")]
#[case(&["127.0.0.1", "--password", "x"], "--password")]
#[case(&[], "HOST:PORT")]
fn what_cannot_be_looked_at_is_3(#[case] arguments: &[&str], #[case] word: &str) {
    let ran = check(arguments, None);
    assert_eq!((ran.code, ran.out.as_str()), (3, ""));
    assert!(ran.err.contains(word), "{}", ran.err);
}

#[rstest]
#[case(Manner::Http, "NotRedis")]
#[case(Manner::TenMegabytes, "ReplyTooLarge")]
#[case(Manner::Silent, "TimedOut")]
#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_redis_is_3(#[case] manner: Manner, #[case] word: &str) {
    let server = GarbageServer::start(manner).await;
    let address = server.address().to_string();
    let ran =
        tokio::task::spawn_blocking(move || check(&[&address, "--deadline", "300ms"], None)).await.expect("it ran");
    assert_eq!((ran.code, ran.out.as_str()), (3, ""));
    assert!(ran.err.contains(word), "{}", ran.err);
}

#[test]
fn help_is_no_failure() {
    let ran = check(&["--help"], None);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert!(ran.out.contains("RMO_REDIS_PASSWORD") && ran.out.contains("Exit code"), "{}", ran.out);
}
