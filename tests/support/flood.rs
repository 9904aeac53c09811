//! One request, again and again over kept connections, as fast as it is answered.

use super::delivery::{Delivery, count_answers};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::thread;

/// Connections.
const THREADS: usize = 4;
/// Requests that are sent before their answers are read.
const BATCH: usize = 50;

/// Sends `count` requests; each must be answered with that status. They are counted with the other answers.
pub fn flood(port: u16, request: &Delivery, expected: u16, count: usize) {
    let text = String::from_utf8_lossy(&request.request()).replace("Connection: close\r\n", "");
    let expected = format!("HTTP/1.1 {expected}");
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
                let mut answers = BufReader::new(stream.try_clone().unwrap()).lines();
                for _ in 0..count / THREADS / BATCH {
                    stream.write_all(text.repeat(BATCH).as_bytes()).unwrap();
                    for _ in 0..BATCH {
                        let status = answers.by_ref().map(|line| line.expect("an answer")).find(|line| line.contains("HTTP/1.1 "));
                        let status = status.expect("the connection was closed");
                        assert!(status.contains(&expected), "{status}");
                    }
                    count_answers(port, BATCH as u64);
                }
            });
        }
    });
}
