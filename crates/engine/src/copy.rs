//! Copy of a file: a verified read into a publish.

use ezdfs_core::{FilePath, Result};

use crate::precondition::Precondition;
use crate::publish::{PublishOptions, Published};
use crate::service::FileService;

impl FileService {
    /// Copies one version of a file, with its media type; the copy has its own mtime.
    ///
    /// # Errors
    /// As [`FileService::open`] and [`FileService::publish`]; without `overwrite` an existing
    /// target is [`ezdfs_core::ErrorKind::PreconditionFailed`].
    pub async fn copy(&self, from: &FilePath, to: &FilePath, overwrite: bool) -> Result<Published> {
        let (meta, body) = self.open_whole(from).await?;
        let options = PublishOptions {
            precondition: if overwrite { Precondition::None } else { Precondition::Absent },
            datatype: Some(meta.datatype.clone()),
            expires: meta.expires,
            mode: meta.attrs.mode,
            uid: meta.attrs.uid,
            gid: meta.attrs.gid,
            ..PublishOptions::default()
        };
        self.publish(to, body, options).await
    }
}
