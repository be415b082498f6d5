//! `Upload`: bytes on their way to a private place, hashed as they pass.

use bytes::{Bytes, BytesMut};
use ezdfs_core::{Error, ErrorKind, FilePath, ReplaceSlot, Result, SealSlot, Sha256, Token};
use object_store::{MultipartUpload, PutMultipartOptions, PutPayload};
use sha2::Digest as _;

use crate::media;
use crate::service::FileService;

/// A file that is being staged. Nothing of it is visible, and dropping it leaves nothing behind
/// (on clouds: an upload that the store's lifecycle rule removes).
#[derive(Debug)]
pub struct Upload {
    pub(crate) service: FileService,
    pub(crate) path: FilePath,
    pub(crate) token: Token,
    pub(crate) datatype: String,
    pub(crate) upload: Box<dyn MultipartUpload>,
    pub(crate) seal: SealSlot,
    pub(crate) replaces: ReplaceSlot,
    hasher: sha2::Sha256,
    part: BytesMut,
    parts: usize,
    size: u64,
}

impl FileService {
    /// Starts to stage a new version of `path`. `datatype` is guessed from the name if `None`.
    ///
    /// # Errors
    /// A path or media type that cannot be stored is refused before any byte is written.
    pub async fn stage(&self, path: &FilePath, datatype: Option<&str>) -> Result<Upload> {
        let datatype = datatype.unwrap_or_else(|| media::guess(path));
        media::check(datatype)?;
        let binary = &self.inner.binary;
        let key = binary.key(path)?;
        let token = self.inner.entropy.token();
        let (seal, replaces) = (SealSlot::default(), ReplaceSlot::default());
        let mut options = PutMultipartOptions {
            attributes: binary.attributes(datatype, token),
            ..PutMultipartOptions::default()
        };
        options.extensions.insert(seal.clone());
        options.extensions.insert(replaces.clone());
        let upload = binary
            .store
            .put_multipart_opts(&key, options)
            .await
            .map_err(|e| Error::from(e).context(format_args!("cannot stage `{path}`")))?;
        Ok(Upload {
            service: self.clone(),
            path: path.clone(),
            token,
            datatype: datatype.to_owned(),
            upload,
            seal,
            replaces,
            hasher: sha2::Sha256::new(),
            part: BytesMut::new(),
            parts: 0,
            size: 0,
        })
    }
}

impl Upload {
    /// Appends bytes. At most one part is held in memory; on clouds, which are told of the first
    /// part only with the second, two.
    ///
    /// # Errors
    /// When the store cannot take them, or no more of them.
    pub async fn write(&mut self, mut bytes: Bytes) -> Result<()> {
        let part_bytes = self.service.inner.binary.capabilities.part_bytes;
        while !bytes.is_empty() {
            let piece = bytes.split_to(bytes.len().min(part_bytes - self.part.len()));
            self.size = self.size.saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
            self.hasher.update(&piece);
            if self.part.is_empty() && piece.len() == part_bytes {
                self.send(piece).await?;
                continue;
            }
            self.part.extend_from_slice(&piece);
            if self.part.len() == part_bytes {
                let part = self.part.split().freeze();
                self.send(part).await?;
            }
        }
        Ok(())
    }

    /// Bytes so far.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The token that the version will carry.
    #[must_use]
    pub fn token(&self) -> Token {
        self.token
    }

    /// Gives up: nothing stays behind.
    pub async fn abort(mut self) {
        self.discard().await;
    }

    pub(crate) async fn discard(&mut self) {
        if let Err(e) = self.upload.abort().await {
            tracing::warn!(path = %self.path, error = %e, "a staged upload could not be removed; gc does it later");
        }
    }

    /// Hands over the last part and says what was staged.
    pub(crate) async fn finish(&mut self) -> Result<(u64, Sha256)> {
        if !self.part.is_empty() {
            let part = self.part.split().freeze();
            self.send(part).await?;
        }
        let digest = std::mem::take(&mut self.hasher).finalize();
        Ok((self.size, Sha256::from_bytes(digest.into())))
    }

    async fn send(&mut self, part: Bytes) -> Result<()> {
        let capabilities = self.service.inner.binary.capabilities;
        if self.parts == capabilities.max_parts {
            let most = capabilities.max_parts.saturating_mul(capabilities.part_bytes) >> 30;
            return Err(Error::new(
                ErrorKind::TooLarge,
                format!("cannot stage `{}`: this store takes files of up to {most} GiB", self.path),
            ));
        }
        self.parts += 1;
        self.upload
            .put_part(PutPayload::from_bytes(part))
            .await
            .map_err(|e| Error::from(e).context(format_args!("cannot stage `{}`", self.path)))
    }
}
