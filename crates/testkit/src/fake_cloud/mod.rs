//! `FakeCloud`: a store in memory that speaks the XML API that S3 and Google Cloud Storage share, as
//! far as ezdfs uses it, and fails on demand.
//!
//! No emulator of Google Cloud Storage works with object_store's client, so GCS is tested against
//! this one only. It follows Google's XML API: a generation for each version, and
//! `x-goog-if-generation-match`.

// A fake that fails ends the test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::missing_panics_doc)]

mod http;
mod objects;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use http::{Answer, Request};
use objects::Objects;

/// What becomes of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Trouble {
    /// They are answered.
    #[default]
    None,
    /// They are refused with this status: 503 is `SlowDown`.
    Status(u16),
    /// They are read and never answered.
    Silence,
    /// They are carried out, and the connection is closed without an answer.
    LostReply,
    /// They are answered after a while.
    Delay(Duration),
    /// Uploads in parts are completed at once, and answered after a head and so many spaces, one
    /// after each pause.
    SlowCompletion(usize, Duration),
    /// Bodies of answers break off after so many bytes.
    Cut(usize),
}

/// A bucket of any name on a free port of 127.0.0.1; ends when it is dropped.
#[derive(Debug)]
pub struct FakeCloud {
    address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
    _accept: JoinSet<()>,
}

#[derive(Debug, Default)]
struct Shared {
    objects: Objects,
    trouble: Trouble,
    /// How many requests the trouble is for; then there is none.
    left: Option<u32>,
    /// Method and target of every request.
    requests: Vec<String>,
}

impl FakeCloud {
    /// An empty store.
    pub async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Mutex::new(Shared::default()));
        let mut accept = JoinSet::new();
        let state = Arc::clone(&shared);
        accept.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.unwrap();
                while connections.try_join_next().is_some() {}
                connections.spawn(serve(client, Arc::clone(&state)));
            }
        });
        Self { address, shared, _accept: accept }
    }

    /// Conditions are accepted and ignored from now on, as some stores do.
    pub fn ignore_conditions(&self) {
        lock(&self.shared).objects.is_careless = true;
    }

    /// `http://127.0.0.1:port`
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The key of a service account for object_store's GCS client, without any secret.
    #[must_use]
    pub fn service_account(&self) -> String {
        format!(
            "{{\"gcs_base_url\":\"{}\",\"disable_oauth\":true,\"client_email\":\"\",\
             \"private_key\":\"\",\"private_key_id\":\"\"}}",
            self.endpoint()
        )
    }

    /// What becomes of every request from now on.
    pub fn set(&self, trouble: Trouble) {
        let mut shared = lock(&self.shared);
        (shared.trouble, shared.left) = (trouble, None);
    }

    /// What becomes of the next requests; those after them are answered.
    pub fn set_for(&self, requests: u32, trouble: Trouble) {
        let mut shared = lock(&self.shared);
        (shared.trouble, shared.left) = (trouble, Some(requests));
    }

    /// Method and target of every request since the last question.
    #[allow(clippy::must_use_candidate, reason = "asked to forget as well")]
    pub fn take_requests(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.shared).requests)
    }

    /// Of listings of objects only the first page is to be had from now on.
    pub fn refuse_next_pages(&self) {
        lock(&self.shared).objects.refuses_next_pages = true;
    }

    /// The question for unfinished uploads is refused with this status from now on.
    pub fn refuse_uploads(&self, status: u16) {
        lock(&self.shared).objects.refuses_uploads = Some(status);
    }

    /// Every unfinished upload, and each of its parts, is so much older from now on.
    pub fn age_uploads(&self, by: Duration) {
        lock(&self.shared).objects.age_uploads(by);
    }

    /// How many objects there are.
    #[must_use]
    pub fn objects(&self) -> usize {
        lock(&self.shared).objects.count()
    }

    /// Uploads in parts that nobody completed or aborted.
    #[must_use]
    pub fn unfinished_uploads(&self) -> usize {
        lock(&self.shared).objects.unfinished()
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(mut client: TcpStream, shared: Arc<Mutex<Shared>>) {
    let Some(request) = Request::read(&mut client).await else { return };
    let (trouble, answer) = {
        let mut shared = lock(&shared);
        shared.requests.push(format!("{} {}", request.method, request.target));
        let trouble = match shared.left {
            Some(0) => Trouble::None,
            _ => shared.trouble,
        };
        shared.left = shared.left.map(|left| left.saturating_sub(1));
        let answer = match trouble {
            Trouble::Status(_) | Trouble::Silence => None,
            _ => Some(shared.objects.answer(&request)),
        };
        (trouble, answer)
    };
    let answer = match (trouble, answer) {
        (Trouble::Status(status), _) => Answer::error(status, "SlowDown"),
        (Trouble::LostReply, _) => return,
        (_, Some(answer)) => answer,
        (_, None) => return std::future::pending().await,
    };
    if let Trouble::Delay(delay) = trouble {
        tokio::time::sleep(delay).await;
    }
    if let Trouble::SlowCompletion(spaces, pause) = trouble
        && request.method == "POST"
        && request.query.contains_key("uploadId")
    {
        return answer_slowly(&mut client, answer, spaces, pause).await;
    }
    let bytes = answer.to_bytes(request.method == "HEAD");
    let cut = match trouble {
        Trouble::Cut(after) => (bytes.head + after).min(bytes.all.len()),
        _ => bytes.all.len(),
    };
    // The client may be gone.
    drop(client.write_all(&bytes.all[..cut]).await);
    drop(client.shutdown().await);
}

/// The head, then spaces, then what is to be told.
async fn answer_slowly(client: &mut TcpStream, answer: Answer, spaces: usize, pause: Duration) {
    let body = [vec![b' '; spaces], answer.body].concat();
    let bytes = Answer { body, ..answer }.to_bytes(false);
    drop(client.write_all(&bytes.all[..bytes.head]).await);
    for _ in 0..spaces {
        tokio::time::sleep(pause).await;
        drop(client.write_all(b" ").await);
    }
    drop(client.write_all(&bytes.all[bytes.head + spaces..]).await);
    drop(client.shutdown().await);
}
