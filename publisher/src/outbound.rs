//! What a publisher asks of others over HTTP: its witnesses, and the log that it backs up.

use reqwest::{ClientBuilder, redirect};

const AGENT: &str = concat!("smi-publisher/", env!("CARGO_PKG_VERSION"));

/// A client to be. It follows no redirect, which would take a question to somebody who was not named.
pub(crate) fn client() -> ClientBuilder {
    reqwest::Client::builder().user_agent(AGENT).redirect(redirect::Policy::none())
}

/// The error with everything behind it: the library's own text leaves out the cause, and has the address.
pub(crate) fn causes(error: &dyn std::error::Error) -> String {
    let mut cause = error.source();
    let mut text = Vec::new();
    while let Some(inner) = cause {
        text.push(inner.to_string());
        cause = inner.source();
    }
    if text.is_empty() { error.to_string() } else { text.join(": ") }
}
