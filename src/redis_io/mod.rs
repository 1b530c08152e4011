//! Every Redis command that is ever sent, and the reading of its answers. This module knows neither Kubernetes nor
//! policies. What a server answers is hostile input: capped, checked byte by byte, parsed without panics, and made
//! safe to show: what is said of an answer is said in words of ours.

mod acting;
mod clients;
mod config;
mod connection;
mod credentials;
mod error;
mod frame;
pub mod info;
mod persist;
mod probe;
mod refusal;
mod reply;
pub mod route;
mod sentinel;
mod text;
mod tls;
mod users;
mod values;
mod wire;

pub use config::PARAMETERS;
pub use connection::Connection;
pub use credentials::Credentials;
pub use error::RedisError;
pub use probe::probe;
pub use text::{MAX_SHOWN, shown};
pub use tls::{Tls, TlsMaterial, TlsNames};
