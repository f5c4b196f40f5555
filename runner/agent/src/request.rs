//! What a probe may ask for: everything that must hold before the bytes of its requests are put together.

use std::net::Ipv6Addr;

use smi_schemas::smi::Method;
use smi_schemas::suite::Protocol;

use crate::client::{
    MAX_CONCURRENCY, MAX_COUNT, MAX_REQUEST_FIELDS, MAX_TIMEOUT_MS, Probe, ProbeError, REQUEST_ID_FIELD,
};
use crate::http1;

/// Fields that the agent writes itself, and that would change where a request ends or who it is for.
const OWN_FIELDS: [&str; 5] = ["host", "connection", "content-length", "transfer-encoding", REQUEST_ID_FIELD];

/// Whether requests like these can be sent.
pub(crate) fn check(probe: &Probe) -> Result<(), ProbeError> {
    if !(1..=MAX_COUNT).contains(&probe.count) {
        return Err(ProbeError::Count(probe.count));
    }
    if !(1..=MAX_CONCURRENCY).contains(&probe.concurrency) {
        return Err(ProbeError::Concurrency(probe.concurrency));
    }
    if !(1..=MAX_TIMEOUT_MS).contains(&probe.timeout_ms) {
        return Err(ProbeError::Timeout(probe.timeout_ms));
    }
    let in_host = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:".contains(&byte);
    if probe.host.is_empty() || !probe.host.bytes().all(in_host) {
        return Err(ProbeError::Host(probe.host.clone()));
    }
    if probe.port == 0 {
        return Err(ProbeError::Port);
    }
    match probe.protocol {
        Protocol::Http | Protocol::H2c => check_head(probe),
        Protocol::Tcp | Protocol::Udp => check_line(probe),
    }
}

fn check_head(probe: &Probe) -> Result<(), ProbeError> {
    if !http1::is_target(&probe.path) {
        return Err(ProbeError::Path(probe.path.clone()));
    }
    if probe.headers.len() > MAX_REQUEST_FIELDS {
        return Err(ProbeError::Headers(probe.headers.len()));
    }
    let own = |name: &str| OWN_FIELDS.iter().any(|own| own.eq_ignore_ascii_case(name));
    for (name, value) in &probe.headers {
        if own(name) || !http1::is_token(name) || !http1::is_field_value(value) {
            return Err(ProbeError::Header(name.clone()));
        }
    }
    Ok(())
}

fn check_line(probe: &Probe) -> Result<(), ProbeError> {
    if !probe.path.is_empty() {
        return Err(ProbeError::Line("path"));
    }
    if !probe.headers.is_empty() {
        return Err(ProbeError::Line("headers"));
    }
    if probe.method != Method::Get {
        return Err(ProbeError::Line("method"));
    }
    Ok(())
}

/// `host:port`; the port is left out if it is 80, and an IPv6 address stands in brackets.
pub(crate) fn host_field(probe: &Probe) -> String {
    let host = if probe.host.parse::<Ipv6Addr>().is_ok() { format!("[{}]", probe.host) } else { probe.host.clone() };
    if probe.port == 80 { host } else { format!("{host}:{}", probe.port) }
}

/// The method as it is sent.
pub(crate) fn method_token(method: Method) -> Result<&'static str, ProbeError> {
    Ok(match method {
        Method::Any => return Err(ProbeError::AnyMethod),
        Method::Get => "GET",
        Method::Head => "HEAD",
        Method::Put => "PUT",
        Method::Post => "POST",
        Method::Delete => "DELETE",
        Method::Connect => "CONNECT",
        Method::Options => "OPTIONS",
        Method::Trace => "TRACE",
        Method::Patch => "PATCH",
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::client::{MAX_REQUEST_BYTES, probe};

    pub(crate) fn example() -> Probe {
        let example =
            serde_json::json!({"count": 1, "host": "server", "port": 8080, "path": "/", "timeoutMs": 1000, "seed": 7});
        serde_json::from_value(example).unwrap()
    }

    #[test]
    fn the_host_field_leaves_out_port_80_only() {
        for (host, port, field) in [
            ("server", 80, "server"),
            ("server", 8080, "server:8080"),
            ("server.", 443, "server.:443"),
            ("10.0.0.1", 80, "10.0.0.1"),
            ("::1", 80, "[::1]"),
            ("::1", 8080, "[::1]:8080"),
        ] {
            assert_eq!(host_field(&Probe { host: host.to_owned(), port, ..example() }), field);
        }
    }

    #[tokio::test]
    async fn what_cannot_be_sent_as_it_stands_is_refused() {
        let long = format!("/{}", "a".repeat(MAX_REQUEST_BYTES));
        let probes = [
            ("count must be", Probe { count: 0, ..example() }),
            ("count must be", Probe { count: MAX_COUNT + 1, ..example() }),
            ("concurrency must be", Probe { concurrency: 0, ..example() }),
            ("concurrency must be", Probe { concurrency: MAX_CONCURRENCY + 1, ..example() }),
            ("timeoutMs must be", Probe { timeout_ms: 0, ..example() }),
            ("timeoutMs must be", Probe { timeout_ms: MAX_TIMEOUT_MS + 1, ..example() }),
            ("host must be", Probe { host: String::new(), ..example() }),
            ("host must be", Probe { host: "a\r\nb: c".to_owned(), ..example() }),
            ("port must be", Probe { port: 0, ..example() }),
            ("the method", Probe { method: Method::Any, ..example() }),
            ("path must", Probe { path: String::new(), ..example() }),
            ("path must", Probe { path: "/ HTTP/1.1\r\n".to_owned(), ..example() }),
            ("a request has at most", Probe { path: long, ..example() }),
            ("header", with_headers([("x y".to_owned(), "")])),
            ("header", with_headers([("x".to_owned(), "a\nb")])),
            ("header", with_headers([("X-Smi-Request-Id".to_owned(), "a")])),
            ("header", with_headers([("HOST".to_owned(), "a")])),
            ("a probe adds at most", with_headers((0..=MAX_REQUEST_FIELDS).map(|number| (number.to_string(), "")))),
            ("path must", Probe { protocol: Protocol::H2c, path: String::new(), ..example() }),
            ("path cannot be sent", Probe { protocol: Protocol::H2c, path: "/a#b".to_owned(), ..example() }),
            ("path cannot be sent", Probe { protocol: Protocol::H2c, path: "/<>".to_owned(), ..example() }),
            ("HTTP/2 sends CONNECT", Probe { protocol: Protocol::H2c, method: Method::Connect, ..example() }),
            ("host must be", Probe { protocol: Protocol::H2c, host: "a:b".to_owned(), ..example() }),
            ("header \"TE\" has no place", over_h2c("TE")),
            ("header \"Keep-Alive\" has no place", over_h2c("Keep-Alive")),
            ("header \"Connection\" is", over_h2c("Connection")),
            ("a probe over tcp or udp has no path", Probe { protocol: Protocol::Tcp, ..example() }),
            ("a probe over tcp or udp has no path", Probe { protocol: Protocol::Udp, ..example() }),
            ("a probe over tcp or udp has no headers", Probe { headers: over_h2c("x").headers, ..line() }),
            ("a probe over tcp or udp has no method", Probe { method: Method::Post, ..line() }),
            ("count must be", Probe { count: 0, ..line() }),
        ];
        for (reason, asked) in probes {
            let refused = probe(&asked).await.err().map(|error| error.to_string());
            assert!(refused.as_ref().is_some_and(|text| text.starts_with(reason)), "{reason}: {refused:?}");
        }
    }

    fn over_h2c(header: &str) -> Probe {
        Probe { protocol: Protocol::H2c, ..with_headers([(header.to_owned(), "a")]) }
    }

    fn line() -> Probe {
        Probe { protocol: Protocol::Tcp, path: String::new(), ..example() }
    }

    fn with_headers(headers: impl IntoIterator<Item = (String, &'static str)>) -> Probe {
        let headers = headers.into_iter().map(|(name, value)| (name, value.to_owned())).collect();
        Probe { headers, ..example() }
    }
}
