//! The client of the tests: `ack-writer` in a pod (`tests/writer`).

use serde_json::Value;

use super::{eventually, require, space::Space};

/// A writer that writes until it is stopped.
#[derive(Debug)]
pub(crate) struct Writer<'a> {
    space: &'a Space,
    pod: String,
}

impl<'a> Writer<'a> {
    /// Starts one that goes through the Service of that set, and waits for its first acknowledged write.
    /// `keys`: so many are written again and again; 0: each write has its own.
    pub(crate) fn start(space: &'a Space, set: &str, rate: u32, keys: u32) -> Self {
        let (rate, keys) = (rate.to_string(), keys.to_string());
        let yaml = space.render("writer.yaml", &[("NAME", set), ("RATE", &rate), ("KEYS", &keys)]);
        Self::apply(space, &yaml, &format!("{set}-writer"))
    }

    /// Starts the pod of that name, which the YAML has, and waits for its first acknowledged write.
    pub(crate) fn apply(space: &'a Space, yaml: &str, pod: &str) -> Self {
        space.apply(yaml);
        let writer = Self { space, pod: pod.to_owned() };
        eventually("the first acknowledged write", 60, || {
            let (_, status) = writer.ask("status")?;
            require(status["acknowledged"].as_u64() > Some(0), || status.to_string())
        });
        writer
    }

    /// Exit code and answer of one word.
    pub(crate) fn ask(&self, word: &str) -> Result<(i32, Value), String> {
        let said = self.space.kubectl(&["exec", &self.pod, "--", "/ack-writer", word]);
        let answer = serde_json::from_str(&said.stdout).map_err(|_| format!("{}{}", said.stdout, said.stderr))?;
        Ok((said.code.unwrap_or(-1), answer))
    }

    /// The numbers so far.
    pub(crate) fn status(&self) -> Value {
        self.ask("status").unwrap().1
    }

    /// Closes the window of its gap statistics; what it saw.
    pub(crate) fn mark(&self) -> Value {
        self.ask("mark").unwrap().1
    }

    /// Stops it and asserts that it has lost nothing, and that nothing of what it sent was refused or left without an answer.
    pub(crate) fn assert_undisturbed(&self) -> Value {
        let verdict = self.assert_nothing_lost();
        assert_eq!(verdict["errors"], serde_json::json!({}), "{verdict}");
        verdict
    }

    /// Stops it and asserts that it has lost nothing. Its record must be whole: it was never started again.
    pub(crate) fn assert_nothing_lost(&self) -> Value {
        let (code, verdict) = self.ask("stop").unwrap();
        assert_eq!((code, &verdict["lost"]), (0, &Value::from(0)), "{verdict}");
        assert!(verdict["checked"].as_u64() > Some(0), "{verdict}");
        let pod = self.space.get(&["pod", &self.pod]);
        assert_eq!(pod["status"]["containerStatuses"][0]["restartCount"], 0, "the writer was started again");
        verdict
    }
}
