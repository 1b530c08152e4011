//! `check --output yaml` on real redis-server processes, and `plan` and `explain` from what it wrote.
#![cfg(test)]

mod common;

use std::{
    io::Write as _,
    process::{Command, Output, Stdio},
};

use common::{connect, eventually, look, server::RedisServer};
use pretty_assertions::assert_eq;
use redis_memory_operator::cli::snapshot_file::SnapshotFile;
use serde_json::Value;

struct Ran {
    code: i32,
    out: String,
    err: String,
}

fn run(arguments: &[&str], password: Option<&str>, input: &str) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_redis-memory-operator"));
    command.args(arguments).env_remove("RMO_REDIS_PASSWORD");
    if let Some(password) = password {
        command.env("RMO_REDIS_PASSWORD", password);
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary can be run");
    let _read = child.stdin.take().expect("an input").write_all(input.as_bytes());
    let Output { status, stdout, stderr } = child.wait_with_output().expect("it ends");
    let text = |bytes| String::from_utf8(bytes).expect("what we print is UTF-8");
    Ran { code: status.code().expect("it ends by itself"), out: text(stdout), err: text(stderr) }
}

#[tokio::test]
async fn what_check_wrote_plan_and_explain_read() {
    let primary = RedisServer::start(&["--enable-debug-command", "yes", "--maxmemory", "1gb"]);
    let port = primary.address().port().to_string();
    let replica = RedisServer::start(&["--maxmemory", "1gb", "--replicaof", "127.0.0.1", &port]);
    primary.run(&["DEBUG", "POPULATE", "1000000", "key", "100"]);
    let thin = "for i=0,999999 do if i%4>0 then redis.call('DEL','key:'..i) end end";
    primary.run(&["EVAL", thin, "0"]);
    let (one, two) = (primary.address().to_string(), replica.address().to_string());
    let checked = eventually("the fragmentation is found, the replica is there", async || {
        let ran = run(&["check", &one, &two, "--limit", "2Gi", "-o", "yaml"], None, "");
        let planned = run(&["plan", "-f", "-"], None, &ran.out);
        (ran.code == 2 && planned.out.contains("FragmentationRestartDue") && planned.out.contains("NoStatefulSet"))
            .then_some(ran)
    })
    .await;
    assert_eq!(checked.err, "");
    let file = SnapshotFile::read(&checked.out).expect("a snapshot");
    assert_eq!(file.write().expect("it can be written"), checked.out, "as it was written");

    let planned = run(&["plan", "-f", "-", "-o", "json"], None, &checked.out);
    assert_eq!((planned.code, planned.err.as_str()), (2, ""), "{}", planned.out);
    let report: Value = serde_json::from_str(&planned.out).expect("it is JSON");
    assert_eq!((report["pods"].as_u64(), report["answered"].as_u64()), (Some(2), Some(2)));
    // The same findings as `check` itself says.
    let direct = run(&["check", &one, "--limit", "2Gi", "-o", "json"], None, "");
    let direct: Value = serde_json::from_str(&direct.out).expect("it is JSON");
    assert_eq!(report["findings"][0]["code"], direct["findings"][0]["code"]);
    let reasons: Vec<&str> =
        report["blocked"].as_array().expect("a list").iter().filter_map(|b| b["reason"].as_str()).collect();
    assert!(reasons.contains(&"NoStatefulSet"), "{reasons:?}");

    let explained = run(&["explain", &one, "-f", "-"], None, &checked.out);
    assert_eq!(explained.code, 0, "{}", explained.err);
    for part in
        ["primary", "restartPercent   2.50: reached", "a restart is due, because of the ratio", "2 GiB enforced"]
    {
        assert!(explained.out.contains(part), "{part} in {}", explained.out);
    }
}

#[tokio::test]
async fn a_member_that_does_not_answer_is_in_the_snapshot_and_no_secret_is() {
    const SECRET: &str = "s3cr3t-of-the-test";
    let server = RedisServer::start(&[
        "--requirepass",
        SECRET,
        "--masterauth",
        SECRET,
        "--masteruser",
        "default",
        "--maxmemory",
        "100mb",
    ]);
    let address = server.address().to_string();
    let credentials = redis_memory_operator::redis_io::Credentials::new(None, SECRET.into());
    eventually("it has measured itself", async || {
        let opened =
            redis_memory_operator::redis_io::Connection::open(server.address(), Some(&credentials), common::DEADLINE);
        look(&mut opened.await.ok()?).await.ok()
    })
    .await;
    let ran = run(&["check", &address, "127.0.0.1:1", "--limit", "none", "-o", "yaml"], Some(SECRET), "");
    assert_eq!(ran.code, 3, "one could not be looked at: {}", ran.err);
    assert!(ran.err.contains("cannot look at 127.0.0.1:1"), "{}", ran.err);
    assert!(!ran.out.contains(SECRET) && !ran.err.contains(SECRET));
    let auth = ran.out.lines().find(|line| line.contains("primaryAuth")).expect("that it is set is told");
    assert_eq!(auth.trim(), "primaryAuth: credentials-1", "not even a fingerprint");
    let planned = run(&["plan", "-f", "-"], None, &ran.out);
    assert!(
        planned.out.contains("LimitMissing") && planned.out.contains("127.0.0.1:1 did not answer"),
        "{}",
        planned.out
    );
}

#[tokio::test]
async fn several_servers_are_shown_one_after_the_other() {
    let (one, two) = (RedisServer::start(&["--maxmemory", "100mb"]), RedisServer::start(&["--maxmemory", "200mb"]));
    for server in [&one, &two] {
        look(&mut connect(server).await).await.expect("a sample");
    }
    let ran = run(&["check", &one.address().to_string(), &two.address().to_string()], None, "");
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert!(
        ran.out.contains("maxmemory           100 MiB") && ran.out.contains("maxmemory           200 MiB"),
        "{}",
        ran.out
    );
}
