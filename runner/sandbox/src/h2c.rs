//! HTTP/2 without TLS, by prior knowledge: each request of a connection is decided about on its own.

use std::sync::Arc;

use h2::server::SendResponse;
use h2::{RecvStream, client, server};
use http::{Request as Head, Response};
use smi_schemas::suite::Protocol;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::engine::{Call, Request};
use crate::proxy::{Decide, Decision, reach};

/// Serves one connection. What goes wrong ends it, and the client sees that.
pub(crate) async fn connection(client: TcpStream, decide: Arc<Decide>) -> Result<(), h2::Error> {
    let mut connection = server::handshake(client).await?;
    let mut requests = JoinSet::new();
    loop {
        tokio::select! {
            accepted = connection.accept() => match accepted {
                Some(accepted) => {
                    let (request, respond) = accepted?;
                    // A request that fails is reset, and its client sees that.
                    let decide = Arc::clone(&decide);
                    requests.spawn(async move { drop(answer(&request.map(drop), respond, &*decide).await) });
                }
                None => return Ok(()),
            },
            Some(_) = requests.join_next() => {}
        }
    }
}

async fn answer(
    head: &Head<()>,
    mut respond: SendResponse<bytes::Bytes>,
    decide: &Decide,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let field = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    let headers: Vec<(String, String)> = head.headers().iter().map(field).collect();
    let target = head.uri().path_and_query().map_or("", http::uri::PathAndQuery::as_str);
    let request = Request { method: head.method().as_str(), target, headers: &headers };
    let ruling = decide(&Call { protocol: Protocol::H2c, request: Some(request) });
    match ruling.decision {
        Decision::Forward(address) => {
            let workload = reach(address).await?;
            let (mut requests, connection) = client::handshake(workload).await?;
            let driver = tokio::spawn(connection);
            let (response, _) = requests.send_request(head.clone(), true)?;
            let (head, mut body) = response.await?.into_parts();
            if let Some(trip) = ruling.trip {
                trip.ended(head.status.as_u16());
            }
            let body = collect(&mut body).await?;
            let mut answer = respond.send_response(Response::from_parts(head, ()), body.is_empty())?;
            if !body.is_empty() {
                answer.send_data(body.into(), true)?;
            }
            driver.abort();
        }
        denied @ (Decision::Forbidden | Decision::Unavailable) => {
            let mut response = Response::new(());
            *response.status_mut() = http::StatusCode::from_u16(denied.status()).unwrap_or_default();
            respond.send_response(response, true)?;
        }
    }
    Ok(())
}

async fn collect(body: &mut RecvStream) -> Result<Vec<u8>, h2::Error> {
    let mut bytes = Vec::new();
    while let Some(data) = body.data().await {
        let data = data?;
        bytes.extend_from_slice(&data);
        body.flow_control().release_capacity(data.len())?;
    }
    Ok(bytes)
}
