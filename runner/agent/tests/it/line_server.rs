//! What a workload answers over TCP and UDP, and what it does not.

use std::sync::Arc;
use std::time::Duration;

use smi_agent::{Probe, RequestId, Workload, probe, serve_tcp, serve_udp};
use smi_schemas::suite::Protocol;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

use crate::{over, probe_to, told, within, workload_over};

const ID: &str = "4ff190b4c2c573ec999d8db75f206447";

fn request(id: &str) -> String {
    format!("smi/1 {id}\n")
}

/// Texts that are no request.
fn garbage() -> Vec<String> {
    vec![
        "\n".to_owned(),
        "x".to_owned(),
        "GET / HTTP/1.1\r\n\r\n".to_owned(),
        format!("smi/1 {ID} server\n"),
        format!("smi/1 {ID}\r\n"),
        format!("smi/1 {}\n", ID.to_uppercase()),
        format!("smi/2 {ID}\n"),
        "y".repeat(10_000),
    ]
}

#[tokio::test]
async fn lines_are_answered_one_after_the_other_and_logged() {
    let (workload, address) = workload_over(Protocol::Tcp, "server").await;
    let ids: Vec<RequestId> = (0..3).map(|number| RequestId::derive(1, number)).collect();
    let lines: String = ids.iter().map(|id| request(&id.to_string())).collect();
    let answers: Vec<String> = ids.iter().map(|id| format!("smi/1 {id} server\n")).collect();
    let mut stream = TcpStream::connect(address).await.unwrap();
    for byte in lines.as_bytes() {
        stream.write_all(&[*byte]).await.unwrap();
    }
    stream.shutdown().await.unwrap();
    let mut said = String::new();
    within(stream.read_to_string(&mut said)).await.unwrap();
    assert_eq!(said, answers.concat());
    assert!(ids.iter().all(|id| workload.log().contains(id)));
}

#[tokio::test]
async fn what_is_no_line_ends_a_connection_without_a_word() {
    let (workload, address) = workload_over(Protocol::Tcp, "server").await;
    for garbage in garbage() {
        let mut stream = TcpStream::connect(address).await.unwrap();
        // It may be ended before everything is written, with unread bytes or without.
        let _ = stream.write_all(garbage.as_bytes()).await;
        let mut said = Vec::new();
        let _ = within(stream.read_to_end(&mut said)).await;
        assert!(said.is_empty(), "{garbage:.40}: {said:?}");
    }
    let after = told(address, &format!("{}x", request(ID))).await;
    assert_eq!(after, format!("smi/1 {ID} server\n"), "what is no line after one that is");
    assert_eq!(workload.log().dropped(), 0);
}

#[tokio::test]
async fn many_connections_are_served_side_by_side() {
    let (_, address) = workload_over(Protocol::Tcp, "server").await;
    let mut connections = Vec::new();
    for _ in 0..500 {
        connections.push(TcpStream::connect(address).await.unwrap());
    }
    for stream in &mut connections {
        stream.write_all(request(ID).as_bytes()).await.unwrap();
        let mut answer = [0; 46];
        within(stream.read_exact(&mut answer)).await.unwrap();
    }
}

#[tokio::test]
async fn datagrams_are_answered_and_logged() {
    let (workload, address) = workload_over(Protocol::Udp, "server").await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(address).await.unwrap();
    socket.send(request(ID).as_bytes()).await.unwrap();
    let mut said = [0; 200];
    let length = within(socket.recv(&mut said)).await.unwrap();
    assert_eq!(said[..length], *format!("smi/1 {ID} server\n").as_bytes());
    assert!(workload.log().contains(&ID.parse().unwrap()));
}

#[tokio::test]
async fn what_is_no_request_is_never_answered() {
    let (workload, address) = workload_over(Protocol::Udp, "server").await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(address).await.unwrap();
    let twice = request(ID).repeat(2);
    for text in garbage().iter().map(String::as_str).chain(["", &twice]) {
        socket.send(text.as_bytes()).await.unwrap();
    }
    // Datagrams keep their order on loopback: an answer to any of them would come first.
    let last = RequestId::derive(2, 2);
    socket.send(request(&last.to_string()).as_bytes()).await.unwrap();
    let mut said = [0; 200];
    let length = within(socket.recv(&mut said)).await.unwrap();
    assert_eq!(said[..length], *format!("smi/1 {last} server\n").as_bytes());
    assert!(!workload.log().contains(&ID.parse().unwrap()));
}

#[tokio::test]
async fn a_sender_that_is_gone_holds_up_nobody() {
    let (workload, address) = workload_over(Protocol::Udp, "server").await;
    for number in 0..50 {
        let gone = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        gone.send_to(request(&RequestId::derive(3, number).to_string()).as_bytes(), address).await.unwrap();
    }
    let asked = Probe { count: 200, concurrency: 16, ..over(Protocol::Udp, probe_to(address)) };
    assert_eq!(within(probe(&asked)).await.unwrap().tally.answers(), 200);
    assert!((0..50).all(|number| workload.log().contains(&RequestId::derive(3, number))));
}

#[tokio::test]
async fn shutdown_frees_the_addresses() {
    let listener = TcpListener::bind("127.0.0.11:0").await.unwrap();
    let socket = UdpSocket::bind("127.0.0.11:0").await.unwrap();
    let (tcp, udp) = (listener.local_addr().unwrap(), socket.local_addr().unwrap());
    let workload = Arc::new(Workload::new("server".parse().unwrap()));
    let moment = || tokio::time::sleep(Duration::from_millis(20));
    let mut idle = TcpStream::connect(tcp).await.unwrap();
    within(async {
        tokio::join!(serve_tcp(listener, Arc::clone(&workload), moment()), serve_udp(socket, workload, moment()))
    })
    .await;
    let _ = within(idle.read_to_end(&mut Vec::new())).await;
    assert!(TcpStream::connect(tcp).await.is_err());
    assert!(UdpSocket::bind(udp).await.is_ok());
}
