//! Touch: changes mtime, expiry, type or permissions of the present version; makes an empty file
//! where there is none.

use ezdfs_core::{Change, ErrorKind, FileMeta, FilePath, Guard, NewFile, Op, Result, Timestamp};

use crate::media;
use crate::precondition::Precondition;
use crate::publish::PublishOptions;
use crate::service::FileService;

/// What to change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Touch {
    /// The new mtime; `None` for now. It may go back: the caller says so.
    pub mtime: Option<Timestamp>,
    /// A new expiry (`Some(None)` removes it).
    pub expires: Option<Option<Timestamp>>,
    /// A new media type.
    pub datatype: Option<String>,
    /// New permission bits.
    pub mode: Option<u32>,
    /// Do not make a file where there is none.
    pub no_create: bool,
}

/// How often a touch looks again when somebody changes the row under it.
const TRIES: u32 = 5;

impl FileService {
    /// Touches a file.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] with `no_create`, [`ErrorKind::IsDirectory`],
    /// [`ErrorKind::Unsupported`] where the metadata is derived from the objects, or a fault.
    pub async fn touch(&self, path: &FilePath, touch: &Touch) -> Result<()> {
        if let Some(datatype) = &touch.datatype {
            media::check(datatype)?;
        }
        let mut tries = 0;
        loop {
            match self.load_past_memory(path).await {
                Ok(file) => match self.touch_version(&file, touch).await {
                    Err(e) if e.kind() == ErrorKind::Stale && tries < TRIES => tries += 1,
                    other => return other,
                },
                Err(e) if e.kind() == ErrorKind::NotFound && !touch.no_create => {
                    let options = PublishOptions {
                        // Somebody may write the file meanwhile: its bytes must not be lost.
                        precondition: Precondition::Absent,
                        datatype: touch.datatype.clone(),
                        mtime: touch.mtime,
                        expires: touch.expires.flatten(),
                        mode: touch.mode,
                        ..PublishOptions::default()
                    };
                    let empty = futures::stream::empty();
                    match self.publish(path, empty, options).await {
                        Err(e) if e.kind() == ErrorKind::PreconditionFailed && tries < TRIES => {
                            tries += 1;
                        }
                        other => return other.map(|_| ()),
                    }
                }
                Err(e) => return Err(e),
            }
        }
    }

    async fn touch_version(&self, file: &FileMeta, touch: &Touch) -> Result<()> {
        if !self.inner.metadata.is_separate() {
            return Err(ezdfs_core::Error::new(
                ErrorKind::Unsupported,
                "attributes cannot be changed where the metadata is derived from the objects",
            ));
        }
        let new = NewFile {
            size: file.size,
            mtime: touch.mtime.unwrap_or_else(|| self.inner.clock.now()),
            datatype: touch.datatype.clone().unwrap_or_else(|| file.datatype.clone()),
            sha256: file.sha256,
            token: file.token,
            pin: file.pin.clone(),
            expires: touch.expires.unwrap_or(file.expires),
            mode: touch.mode,
            uid: None,
            gid: None,
        };
        let change = Change::new()
            .guard(Guard::Unchanged { path: file.path.clone(), witness: Some(file.witness) })
            .guard(Guard::Free { path: file.path.clone(), subtree: false })
            .op(Op::PutFile { path: file.path.clone(), file: new });
        match self.inner.metadata.apply(change).await {
            // Somebody publishes: wait for it by taking the path, then look again.
            Err(e) if e.kind() == ErrorKind::Busy => {
                let intent =
                    self.intent(&file.path, self.inner.entropy.token(), ezdfs_core::Work::Repair);
                let held = self.hold(&[intent]).await?;
                self.release(held, false).await;
                Err(ezdfs_core::Error::new(ErrorKind::Stale, "the path was held meanwhile"))
            }
            other => other,
        }
    }
}
