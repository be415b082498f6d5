//! A request to another server, and the status of its answer: one connection per request, bounded
//! in time. Its body is not read.

use std::time::Duration;

use bytes::Bytes;
use ezdfs_core::{Error, ErrorKind, Result};
use http::{Request, StatusCode, Uri};
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// Longest time for connection, request and head of the answer together.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Sends a request to the host of its URI, by http or https.
///
/// # Errors
/// [`ErrorKind::Unavailable`] when there is no answer.
pub(crate) async fn send(request: Request<Bytes>) -> Result<StatusCode> {
    let failed = |what: String| Error::new(ErrorKind::Unavailable, what);
    match tokio::time::timeout(TIMEOUT, exchange(request)).await {
        Ok(Ok(status)) => Ok(status),
        Ok(Err(e)) => Err(failed(e.to_string())),
        Err(_) => Err(failed(format!("no answer in {TIMEOUT:?}"))),
    }
}

type Fault = Box<dyn std::error::Error + Send + Sync>;

async fn exchange(mut request: Request<Bytes>) -> std::result::Result<StatusCode, Fault> {
    let uri = std::mem::take(request.uri_mut());
    let host = uri.host().ok_or("the URL has no host")?;
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let is_tls = uri.scheme_str() == Some("https");
    let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
    let target = uri.path_and_query().map_or("/", |path| path.as_str());
    *request.uri_mut() = target.parse::<Uri>()?;
    let stream = TcpStream::connect((bare, port)).await?;
    if is_tls {
        return tls(stream, bare, request).await;
    }
    answer(stream, request).await
}

#[cfg(feature = "tls")]
async fn tls(
    stream: TcpStream,
    host: &str,
    request: Request<Bytes>,
) -> std::result::Result<StatusCode, Fault> {
    use std::sync::Arc;

    use rustls_pki_types::ServerName;
    use tokio_rustls::TlsConnector;
    use tokio_rustls::rustls::crypto::aws_lc_rs;
    use tokio_rustls::rustls::{ClientConfig, RootCertStore};

    let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(host.to_owned())?;
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    answer(stream, request).await
}

#[cfg(not(feature = "tls"))]
async fn tls(_: TcpStream, _: &str, _: Request<Bytes>) -> std::result::Result<StatusCode, Fault> {
    Err("this build has no TLS".into())
}

async fn answer<T>(stream: T, request: Request<Bytes>) -> std::result::Result<StatusCode, Fault>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let mut sending = std::pin::pin!(sender.send_request(request.map(Full::new)));
    let connection = std::pin::pin!(connection);
    tokio::select! {
        biased;
        answer = &mut sending => return Ok(answer?.status()),
        // It may end in the moment in which the answer came.
        ended = connection => ended?,
    }
    Ok(sending.await?.status())
}
