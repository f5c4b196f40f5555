//! Sends requests over HTTP/1.1.

use std::fmt::Write as _;
use std::net::SocketAddr;

use smi_schemas::names::Slug;
use smi_schemas::smi::Method;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::Wire;
use crate::client::{
    Connection, MAX_REQUEST_BYTES, MAX_RESPONSE_BYTES, Probe, ProbeError, REQUEST_ID_FIELD, WORKLOAD_FIELD,
};
use crate::exchange::{self, Carrier, Failure};
use crate::id::RequestId;
use crate::request::{host_field, method_token};

/// The bytes of a probe's requests, which differ in their ids only.
pub(crate) struct Http1 {
    method: &'static str,
    wanted: u16,
    before_id: String,
    after_id: &'static str,
}

impl Http1 {
    pub(crate) fn of(probe: &Probe) -> Result<Self, ProbeError> {
        let method = method_token(probe.method)?;
        let mut before_id = format!("{method} {} HTTP/1.1\r\nHost: {}\r\n", probe.path, host_field(probe));
        for (name, value) in &probe.headers {
            // Writing to a String cannot fail.
            let _ = write!(before_id, "{name}: {value}\r\n");
        }
        if matches!(probe.method, Method::Post | Method::Put | Method::Patch) {
            before_id.push_str("Content-Length: 0\r\n");
        }
        before_id.push_str(REQUEST_ID_FIELD);
        before_id.push_str(": ");
        let after_id = match probe.connection {
            Connection::Fresh => "\r\nConnection: close\r\n\r\n",
            Connection::Reuse => "\r\n\r\n",
        };
        let requests = Self { method, wanted: probe.wanted(), before_id, after_id };
        let bytes = requests.with(RequestId::derive(0, 0)).len();
        if bytes > MAX_REQUEST_BYTES { Err(ProbeError::TooLarge(bytes)) } else { Ok(requests) }
    }

    fn with(&self, id: RequestId) -> Vec<u8> {
        format!("{}{id}{}", self.before_id, self.after_id).into_bytes()
    }
}

impl Carrier for Http1 {
    type Kept = Wire<TcpStream>;

    async fn ask(
        &self,
        id: RequestId,
        kept: &mut Option<Wire<TcpStream>>,
        addresses: &[SocketAddr],
        deadline: Instant,
    ) -> Result<Slug, Failure> {
        let mut wire = match kept.take() {
            Some(wire) => wire,
            None => Wire::new(exchange::connect(addresses, deadline).await?),
        };
        let head = exchange::send(&mut wire, &self.with(id), deadline).await?;
        // The head decides. The body is read so that nobody sees the connection break off, and for the next request.
        let body = exchange::body(&mut wire, &head, self.method, MAX_RESPONSE_BYTES, deadline).await;
        if let Ok((_, true)) = body {
            *kept = Some(wire);
        }
        let status = (head.status, self.wanted);
        exchange::author(status, head.fields.first(REQUEST_ID_FIELD), head.fields.first(WORKLOAD_FIELD), id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::tests::example;
    use std::collections::BTreeMap;

    fn text(probe: &Probe) -> String {
        String::from_utf8(Http1::of(probe).unwrap().with(RequestId::derive(7, 1))).unwrap()
    }

    #[test]
    fn a_request_is_what_the_specification_shows() {
        let probe = Probe {
            host: "server.main.svc.cluster.local".to_owned(),
            path: "/a/../b".to_owned(),
            headers: BTreeMap::from([("x-team".to_owned(), "blue".to_owned())]),
            ..example()
        };
        let specification =
            include_str!("../client.rs").split("//! ```text").nth(1).and_then(|rest| rest.split("```").next());
        let shown: Vec<_> = specification.unwrap().lines().filter_map(|line| line.strip_prefix("//! ")).collect();
        let shown = shown.iter().filter(|line| !line.is_empty()).map(|line| format!("{line}\r\n"));
        assert_eq!(text(&probe), shown.collect::<String>() + "\r\n");
    }

    #[test]
    fn a_body_is_announced_where_one_is_usual() {
        for (method, announced) in
            [(Method::Post, true), (Method::Put, true), (Method::Get, false), (Method::Trace, false)]
        {
            let probe = Probe { method, connection: Connection::Reuse, ..example() };
            assert_eq!(text(&probe).contains("Content-Length: 0\r\n"), announced, "{method:?}");
            assert!(!text(&probe).contains("Connection"), "{method:?}");
        }
    }
}
