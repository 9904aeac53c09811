//! The peer that does nothing: hyper on one thread, as hyper's own examples have it. It reads the
//! body and answers. What it costs, nobody who speaks HTTP by hyper can save.

use crate::Result;
use crate::running::{self, Running};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::process::{Command, ExitCode};
use tokio::net::TcpListener;

/// Makes this program the peer.
pub const ARGUMENT: &str = "bare-server";

/// Starts it as a process of its own.
pub fn start() -> Result<Running> {
    let port = running::free_port()?;
    Running::start(Command::new(std::env::current_exe()?).arg(ARGUMENT).arg(port.to_string()), port)
}

/// The process itself.
pub fn serve(port: &str) -> ExitCode {
    let served = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Into::into)
        .and_then(|runtime| runtime.block_on(accept(port)));
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{ARGUMENT}: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn accept(port: &str) -> Result<()> {
    let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, port.parse()?)).await?;
    loop {
        let (stream, _) = socket.accept().await?;
        // A connection that breaks is the load generator's to report.
        tokio::spawn(async move { http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer)).await });
    }
}

async fn answer(request: Request<Incoming>) -> std::result::Result<Response<Empty<Bytes>>, Infallible> {
    let mut response = Response::new(Empty::new());
    if request.collect().await.is_err() {
        *response.status_mut() = hyper::StatusCode::BAD_REQUEST;
    }
    Ok(response)
}
