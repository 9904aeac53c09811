//! What an owned process says over its links: frames of any bytes, and the way to have a listener say them.

use super::site::Site;
use gwg::wire::Message;
use gwg::wire::frame::encode;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpStream};

/// Messages, as they go over a link.
pub fn framed<M: Message>(messages: &[M]) -> Vec<u8> {
    let mut bytes = Vec::new();
    messages.iter().for_each(|message| encode(message, &mut bytes).unwrap());
    bytes
}

/// A frame around any bytes.
pub fn around(body: &[u8]) -> Vec<u8> {
    [&u32::try_from(body.len()).unwrap().to_le_bytes(), body].concat()
}

/// Bytes, as a command has them.
pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Has the owned listener say something. It may be ended for it before it answers.
pub fn command(site: &Site, line: &str) -> Option<String> {
    let mut connection = TcpStream::connect((Ipv4Addr::LOCALHOST, site.gateway.port())).unwrap();
    connection.write_all(format!("{line}\n").as_bytes()).ok()?;
    let mut answer = String::new();
    BufReader::new(connection).read_line(&mut answer).ok().filter(|count| *count > 0).map(|_| answer)
}
