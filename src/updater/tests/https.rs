//! Over https, against a server with a certificate authority of its own.

use super::world::World;
use crate::audit::{Reason, Step};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

/// A world whose remote is reached over https; gives the authority's certificate.
fn over_https() -> (World, String) {
    certified_for("127.0.0.1")
}

/// The same, with a certificate for this address.
fn certified_for(address: &str) -> (World, String) {
    let mut world = World::new();
    let authority_key = KeyPair::generate().unwrap();
    let mut parameters = CertificateParams::new(Vec::new()).unwrap();
    // OpenSSL finds issuers by name, and the store is the process's: each test's is another.
    parameters.distinguished_name.push(DnType::CommonName, world.home.path().to_string_lossy());
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = parameters.self_signed(&authority_key).unwrap().pem();
    let key = KeyPair::generate().unwrap();
    let mut leaf = CertificateParams::new(vec![address.into()]).unwrap();
    leaf.distinguished_name.push(DnType::CommonName, address);
    let leaf = leaf.signed_by(&key, &Issuer::new(parameters, authority_key)).unwrap();
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![leaf.der().clone()], key).unwrap();

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    world.brief.url = format!("https://127.0.0.1:{}/remote", listener.local_addr().unwrap().port());
    let (config, root) = (Arc::new(config), world.home.path().to_path_buf());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (config, root) = (Arc::clone(&config), root.clone());
            std::thread::spawn(move || {
                let mut stream = StreamOwned::new(ServerConnection::new(config).unwrap(), stream);
                let _client_gone = answer(&mut stream, &root);
                stream.conn.send_close_notify();
                let _client_gone = stream.flush();
            });
        }
    });
    (world, authority)
}

/// Git's smart protocol for one request, and a few pages that are none.
fn answer(stream: &mut (impl Read + Write), root: &Path) -> io::Result<()> {
    let mut reader = BufReader::new(&mut *stream);
    let (mut request, mut length) = (String::new(), 0);
    reader.read_line(&mut request)?;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let path = request.split(' ').nth(1).unwrap_or_default();
    let (status, kind, text) = match path {
        "/remote/info/refs?service=git-upload-pack" => {
            let mut text = b"001e# service=git-upload-pack\n0000".to_vec();
            text.extend(upload_pack(root, &["--advertise-refs"], &[]));
            ("200 OK", "Content-Type: application/x-git-upload-pack-advertisement", text)
        }
        "/remote/git-upload-pack" => ("200 OK", "Content-Type: application/x-git-upload-pack-result", upload_pack(root, &[], &body)),
        _ if path.starts_with("/login/") => ("401 Unauthorized", "WWW-Authenticate: Basic realm=\"x\"", Vec::new()),
        _ if path.starts_with("/moved/") => ("302 Found", "Location: /remote/info/refs?service=git-upload-pack", Vec::new()),
        _ if path.starts_with("/away/") => {
            ("302 Found", "Location: https://localhost:1/remote/info/refs?service=git-upload-pack", Vec::new())
        }
        _ => ("404 Not Found", "X: y", Vec::new()),
    };
    write!(stream, "HTTP/1.1 {status}\r\n{kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", text.len())?;
    stream.write_all(&text)?;
    stream.flush()
}

fn upload_pack(root: &Path, options: &[&str], input: &[u8]) -> Vec<u8> {
    let mut command = Command::new("git");
    command.args(["upload-pack", "--stateless-rpc"]).args(options).arg(root.join("remote"));
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    child.wait_with_output().unwrap().stdout
}

fn at(world: &mut World, path: &str) {
    world.brief.url = PathBuf::from(&world.brief.url).with_file_name(path).to_string_lossy().into_owned();
}

#[test]
fn an_authority_of_ones_own_is_trusted_where_the_brief_says_so() {
    let (mut world, authority) = over_https();
    world.fails(Step::Fetch, Reason::Certificate, "certificate is invalid");
    world.brief.ca = Some(authority.into());
    world.updates_to(world.tip("main"));
    world.write("a", "2");
    world.updates_to(world.commit("second"));
}

#[test]
fn logins_missing_pages_and_other_hosts_are_refused() {
    let (mut world, authority) = over_https();
    world.brief.ca = Some(authority.into());
    at(&mut world, "login");
    world.fails(Step::Fetch, Reason::Auth, "asks for a login");
    at(&mut world, "nothing");
    world.fails(Step::Fetch, Reason::NoRepository, "404");
    at(&mut world, "away");
    world.fails(Step::Fetch, Reason::Network, "redirect");
    at(&mut world, "moved");
    world.updates_to(world.tip("main"));
}

#[test]
fn a_certificate_for_another_address_is_refused() {
    let (mut world, authority) = certified_for("127.0.0.2");
    world.brief.ca = Some(authority.into());
    world.fails(Step::Fetch, Reason::Certificate, "does not match certificate");
}

#[test]
fn certificates_that_are_none_are_named() {
    let (mut world, _) = over_https();
    world.brief.ca = Some("no certificate".into());
    world.fails(Step::Start, Reason::Certificate, "caFile");
}
