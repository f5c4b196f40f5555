//! What a publisher asks of others over HTTP: its witnesses, and the log that it backs up.

use reqwest::{ClientBuilder, redirect};
use smi_schemas::shown;

const AGENT: &str = concat!("smi-publisher/", env!("CARGO_PKG_VERSION"));

/// A client to be. It follows no redirect, which would take a question to somebody who was not named.
pub(crate) fn client() -> ClientBuilder {
    reqwest::Client::builder().user_agent(AGENT).redirect(redirect::Policy::none())
}

/// Everything behind an error: the library's own text has the address, which whoever reads this is told anyway.
pub(crate) fn causes(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), shown::causes)
}
