//! What an event says, before it is written: one sentence for people, and its words.

/// `type` of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventType {
    /// Something went as it should.
    Normal,
    /// Somebody should look.
    Warning,
}

/// What an event says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventNote {
    /// Normal or Warning.
    pub type_: EventType,
    /// CamelCase, why: `PodRestarted`, `RemediationBlocked`. At most 128 bytes.
    pub reason: String,
    /// CamelCase, what was done or tried: `Evict`, `Switchover`. At most 128 bytes.
    pub action: String,
    /// The sentence for people. Control characters become spaces; cut at 1 kB.
    pub note: String,
}
