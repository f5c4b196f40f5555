//! A workload: a name, a log, and the sample application's record.
//!
//! One workload may listen at several addresses; all of them share what it has seen.

use serde::{Deserialize, Serialize};
use smi_schemas::names::Slug;

use crate::layer5::Record;
use crate::log::RequestLog;
#[cfg(feature = "traffic")]
use crate::traffic::Traffic;

/// Version of this agent.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Who answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Identity {
    /// Name of the workload.
    pub workload: Slug,
    /// Version of the agent that it runs.
    pub agent: String,
}

/// A workload and what it has seen.
#[derive(Debug)]
pub struct Workload {
    identity: Identity,
    log: RequestLog,
    record: Record,
    #[cfg(feature = "traffic")]
    traffic: Traffic,
}

impl Workload {
    /// A workload that has seen nothing yet.
    pub fn new(name: Slug) -> Self {
        Self {
            identity: Identity { workload: name, agent: VERSION.to_owned() },
            log: RequestLog::default(),
            record: Record::default(),
            #[cfg(feature = "traffic")]
            traffic: Traffic::default(),
        }
    }

    /// Who it says it is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The requests that reached it.
    pub fn log(&self) -> &RequestLog {
        &self.log
    }

    pub(crate) fn record(&self) -> &Record {
        &self.record
    }

    /// What its probes came to.
    #[cfg(feature = "traffic")]
    pub(crate) fn traffic(&self) -> &Traffic {
        &self.traffic
    }
}
