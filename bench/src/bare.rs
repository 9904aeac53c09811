//! The peers that do nothing but hyper's work: on one thread, as hyper's own examples have it. One
//! reads the body and answers: what it costs, nobody who speaks HTTP by hyper can save. The other
//! computes the signature as well, and no more: nobody who verifies can be faster.

use crate::Result;
use crate::running::{self, Running};
use hmac::{Hmac, KeyInit, Mac};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use sha2::Sha256;
use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::process::{Command, ExitCode};
use tokio::net::TcpListener;

/// Makes this program the peer.
pub const ARGUMENT: &str = "bare-server";

/// What the peer does with a body that it has read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    Nothing,
    Signature,
}

/// Starts it as a process of its own.
pub fn start(work: Work) -> Result<Running> {
    let port = running::free_port()?;
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(ARGUMENT).arg(port.to_string());
    if work == Work::Signature {
        command.arg(SIGNATURE);
    }
    Running::start(&mut command, port)
}

const SIGNATURE: &str = "signature";

/// The process itself.
pub fn serve(port: &str, work: Option<&str>) -> ExitCode {
    let work = if work == Some(SIGNATURE) { Work::Signature } else { Work::Nothing };
    let served = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Into::into)
        .and_then(|runtime| runtime.block_on(accept(port, work)));
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{ARGUMENT}: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn accept(port: &str, work: Work) -> Result<()> {
    let key = Hmac::<Sha256>::new_from_slice(b"a secret of some length")?;
    let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, port.parse()?)).await?;
    loop {
        let (stream, _) = socket.accept().await?;
        let key = key.clone();
        let answer = service_fn(move |request| answer(request, (work == Work::Signature).then(|| key.clone())));
        // A connection that breaks is the load generator's to report.
        tokio::spawn(async move { http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await });
    }
}

async fn answer(request: Request<Incoming>, mut key: Option<Hmac<Sha256>>) -> std::result::Result<Response<Empty<Bytes>>, Infallible> {
    let mut response = Response::new(Empty::new());
    let mut body = request.into_body();
    while let Some(frame) = body.frame().await {
        match (frame, &mut key) {
            (Ok(frame), Some(key)) => key.update(frame.data_ref().map_or(&[], |data| data)),
            (Ok(_), None) => {}
            (Err(_), _) => *response.status_mut() = hyper::StatusCode::BAD_REQUEST,
        }
    }
    // The load is signed with another key: what is compared is the time.
    if key.is_some_and(|key| key.verify_slice(&[0; 32]).is_ok()) {
        *response.status_mut() = hyper::StatusCode::ACCEPTED;
    }
    Ok(response)
}
