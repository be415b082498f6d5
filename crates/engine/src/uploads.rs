//! Uploads in parts that nobody completed: a process that was killed leaves them in a cloud, where
//! no listing of objects shows them.

use std::time::Duration;

use ezdfs_core::{ErrorKind, Result, Upload, UploadMarker};

use crate::service::FileService;

/// What became of unfinished uploads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AbortedUploads {
    /// Those that were aborted.
    pub aborted: u64,
    /// Those that stay: too young, or being written.
    pub kept: u64,
}

/// An upload that nobody has written to for long.
#[derive(Debug)]
pub(crate) struct Abandoned {
    pub(crate) upload: Upload,
    /// Since its last part.
    pub(crate) idle: Duration,
}

/// Looks through the unfinished uploads of a store, page by page.
#[derive(Debug)]
pub(crate) struct AbandonedUploads<'a> {
    service: &'a FileService,
    age: Duration,
    page: std::vec::IntoIter<Upload>,
    next: Next,
    kept: u64,
}

#[derive(Debug)]
enum Next {
    Page(Option<UploadMarker>),
    End,
}

impl FileService {
    /// Aborts the unfinished uploads that nobody has written to for `age`. Each is looked at again
    /// right before; a writer that comes back later than that gets an error and changes nothing.
    /// Stores without such uploads have none.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] and [`ErrorKind::PermissionDenied`] where uploads cannot be
    /// listed, else what the store says.
    pub async fn abort_uploads(&self, age: Duration) -> Result<AbortedUploads> {
        let mut done = AbortedUploads::default();
        let Some(uploads) = &self.inner.binary.side.uploads else { return Ok(done) };
        let mut abandoned = self.abandoned_uploads(age);
        while let Some(found) = abandoned.next().await? {
            uploads.abort(&found.upload).await?;
            let idle = found.idle.as_secs();
            tracing::info!(key = %found.upload.key, idle, "an abandoned upload was aborted");
            done.aborted += 1;
        }
        done.kept = abandoned.kept;
        Ok(done)
    }

    /// The unfinished uploads that nobody has written to for `age`.
    pub(crate) fn abandoned_uploads(&self, age: Duration) -> AbandonedUploads<'_> {
        let page = Vec::new().into_iter();
        AbandonedUploads { service: self, age, page, next: Next::Page(None), kept: 0 }
    }
}

impl AbandonedUploads<'_> {
    pub(crate) async fn next(&mut self) -> Result<Option<Abandoned>> {
        let Some(uploads) = &self.service.inner.binary.side.uploads else { return Ok(None) };
        loop {
            for upload in self.page.by_ref() {
                // The age of an upload says nothing of its writer: its last part does.
                let idle = match upload.age < self.age {
                    true => Some(upload.age),
                    false => uploads.idle(&upload).await?,
                };
                match idle {
                    Some(idle) if idle >= self.age => return Ok(Some(Abandoned { upload, idle })),
                    Some(_) => self.kept += 1,
                    None => {}
                }
            }
            let Next::Page(after) = std::mem::replace(&mut self.next, Next::End) else {
                return Ok(None);
            };
            let page = uploads.page(after.as_ref()).await?;
            self.page = page.uploads.into_iter();
            if page.next.is_some() {
                self.next = Next::Page(page.next);
            }
        }
    }
}

/// Whether uploads cannot be listed at all here, which is no fault of anybody.
pub(crate) fn cannot_be_listed(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Unsupported | ErrorKind::PermissionDenied)
}
