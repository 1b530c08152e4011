//! TODO

pub mod pods;
