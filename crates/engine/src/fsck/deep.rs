//! `--deep`: reading the bytes.

use ezdfs_core::{Error, ErrorKind, Pin, Result, Sha256};
use futures::TryStreamExt as _;
use sha2::Digest as _;

use super::compare::Closely;
use super::finding::Kind;
use super::judge::{Fault, Verdict, judge};
use crate::decide::Found;
use crate::service::FileService;

/// How often bytes that cannot be read are tried.
const TRIES: u32 = 2;

/// What reading an object gave.
enum Bytes {
    Read(Sha256, u64),
    /// It is another object by now, or gone.
    Changed,
    Unreadable(Error),
}

impl FileService {
    /// The verdict on a file with the help of its bytes.
    pub(super) async fn check_bytes(
        &self,
        found: &Found,
        verdict: Verdict,
        claimed: bool,
        closely: &Closely,
    ) -> Result<Verdict> {
        let mut faults = match verdict {
            Verdict::Judged(faults) => faults,
            other => return Ok(other),
        };
        let (Some(object), Some(row)) = (&found.object, found.record.file(&found.path)) else {
            return Ok(Verdict::Judged(faults));
        };
        let (digest, read) = match self.read_bytes(found, object.pin.as_ref(), closely).await? {
            Bytes::Read(digest, read) => (digest, read),
            Bytes::Changed => {
                let again = self.look(&found.path).await?;
                return Ok(again.map_or(Verdict::Busy, |f| judge(&f, claimed, closely.age)));
            }
            Bytes::Unreadable(e) => {
                faults.push(told(Kind::Unreadable, e.to_string()));
                return Ok(Verdict::Judged(faults));
            }
        };
        if read != object.size {
            let text = format!("{read} of {} bytes came", object.size);
            faults.push(told(Kind::Unreadable, text));
        }
        let Some(wanted) = row.sha256 else { return Ok(Verdict::Judged(faults)) };
        if let Some(pin) = faults.iter_mut().find(|f| f.kind == Kind::Pin) {
            pin.adoptable = digest == wanted;
            pin.detail = if pin.adoptable {
                "another object with the same bytes: restored, or moved".to_owned()
            } else {
                format!("another object with other bytes: {}", differs(digest, wanted))
            };
        } else if digest != wanted
            && !faults.iter().any(|f| matches!(f.kind, Kind::Size | Kind::Unreadable))
        {
            // The same version still: else somebody has published meanwhile.
            match self.look(&found.path).await? {
                Some(again) if again.record == found.record => {
                    faults.push(told(Kind::Digest, differs(digest, wanted)));
                }
                _ => return Ok(Verdict::Busy),
            }
        }
        Ok(Verdict::Judged(faults))
    }

    async fn read_bytes(
        &self,
        found: &Found,
        pin: Option<&Pin>,
        closely: &Closely,
    ) -> Result<Bytes> {
        let mut tries = 1;
        loop {
            match self.read_once(found, pin, closely).await {
                Ok((digest, read)) => return Ok(Bytes::Read(digest, read)),
                Err(e) => match e.kind() {
                    ErrorKind::NotFound | ErrorKind::PreconditionFailed | ErrorKind::Stale => {
                        return Ok(Bytes::Changed);
                    }
                    _ if tries < TRIES => tries += 1,
                    _ => return Ok(Bytes::Unreadable(e)),
                },
            }
        }
    }

    async fn read_once(
        &self,
        found: &Found,
        pin: Option<&Pin>,
        closely: &Closely,
    ) -> Result<(Sha256, u64)> {
        let binary = &self.inner.binary;
        let got = binary.get(&binary.key(&found.path)?, pin, None).await?;
        // Some stores ignore If-Match.
        if pin.is_some() && crate::binary::info(&got).pin.as_ref() != pin {
            return Err(Error::new(ErrorKind::Stale, "the object was replaced"));
        }
        let mut stream = got.into_stream();
        let mut hasher = sha2::Sha256::new();
        let mut read = 0_u64;
        let late = || {
            Error::new(
                ErrorKind::TimedOut,
                format!("reading `{}`: no answer in {:?}", found.path, binary.io_timeout),
            )
        };
        loop {
            let next = tokio::time::timeout(binary.io_timeout, stream.try_next()).await;
            let Some(bytes) = next.map_err(|_| late())?.map_err(Error::from)? else { break };
            hasher.update(&bytes);
            read = read.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
            if let Some(throttle) = &closely.throttle {
                throttle.take(bytes.len()).await;
            }
        }
        Ok((Sha256::from_bytes(hasher.finalize().into()), read))
    }
}

fn differs(digest: Sha256, wanted: Sha256) -> String {
    format!("SHA-256 is {digest}, the row says {wanted}")
}

fn told(kind: Kind, detail: String) -> Fault {
    Fault { kind, detail, adoptable: false }
}
