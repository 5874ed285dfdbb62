//! The configuration of the sidecar: one YAML file, read with every problem at once.

mod load;
mod sections;
pub mod yaml;

pub use load::{FileProblem, Loaded, load, load_policy};
pub use sections::{
    Address, AdminSection, AuditSection, Config, InternalSection, IssuerSection, LimitsSection,
    LogFormat, LogLevel, LogSection, PolicySection, SecretsSection, SocketMode, StoreSection,
};
