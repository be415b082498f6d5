//! `[binarydata_handlers.NAME]`

use std::path::Path;

use crate::location::{Storage, binary, endpoint};
use crate::mode::{Mode, at_least};
use crate::read::absolute;
use crate::reader::{Reader, Refusal, Section, boolean, text};
use crate::secret::secret;
use crate::settings::BinaryHandler;
use crate::tree::Node;

/// Keys of one kind of handler, and what to say where they do nothing.
const FILE: &[&str] = &["fsync", "file_mode", "dir_mode"];
const S3: &[&str] = &["region", "path_style", "access_key_id", "secret_access_key"];
const GCS: &[&str] = &["service_account"];
const AZURE: &[&str] = &["account", "account_key"];
const CLOUD: &[&str] = &["endpoint", "tls_ca"];

pub(crate) fn binary_handler(
    mut s: Section,
    data_dir: &Path,
    r: &mut Reader,
) -> Option<BinaryHandler> {
    let here = s.path().to_owned();
    let url_key = s.key("url");
    let url = s.get(r, "url", binary(data_dir));
    if url.is_none() && !r.origins.contains_key(&url_key) {
        r.refuse(
            &here,
            Refusal::new("the handler has no `url`", "add `url = \"file:///absolute/directory\"`"),
        );
    }
    let storage = url.as_ref().map(|u| &u.storage);
    let is_file = matches!(storage, Some(Storage::File(_)));
    let is_s3 = matches!(storage, Some(Storage::S3 { .. }));
    if let Some(storage) = storage {
        let is_cloud = !matches!(storage, Storage::File(_) | Storage::Memory(_));
        let kinds = [
            (FILE, is_file, "only a `file:` handler has this key"),
            (S3, is_s3, "only an `s3:` handler has this key"),
            (GCS, matches!(storage, Storage::Gcs { .. }), "only a `gs:` handler has this key"),
            (AZURE, matches!(storage, Storage::Azure { .. }), "only an `az:` handler has this key"),
            (CLOUD, is_cloud, "only an `s3:`, `gs:` or `az:` handler has this key"),
        ];
        for (names, applies, why) in kinds {
            if !applies {
                names.iter().for_each(|name| s.forbid(r, name, why));
            }
        }
    }
    let fsync = s.get(r, "fsync", boolean);
    let file_mode = s.get(r, "file_mode", at_least(Mode::OWNER_FILE));
    let dir_mode = s.get(r, "dir_mode", at_least(Mode::OWNER_DIR));
    let endpoint = s.get(r, "endpoint", endpoint);
    let tls_ca = s.get(r, "tls_ca", absolute("file"));
    let region = s.get(r, "region", region);
    let path_style = s.get(r, "path_style", boolean);
    let (id_key, secret_key) = (s.key("access_key_id"), s.key("secret_access_key"));
    let access_key_id = s.get(r, "access_key_id", secret);
    let secret_access_key = s.get(r, "secret_access_key", secret);
    let service_account = s.get(r, "service_account", secret);
    let account = s.get(r, "account", account);
    let account_key = s.get(r, "account_key", secret);
    s.finish(r);

    let pair = [(&id_key, &secret_key), (&secret_key, &id_key)];
    for (present, missing) in pair {
        if r.origins.contains_key(present) && !r.origins.contains_key(missing) {
            let name = missing.rsplit('.').next().unwrap_or(missing);
            let refusal = Refusal::new(
                format!("`{name}` belongs to it and is not set"),
                "set both, or none to use the environment or the instance's role",
            );
            r.refuse(present, refusal);
        }
    }
    Some(BinaryHandler {
        url: url?,
        fsync: is_file.then(|| fsync.unwrap_or(true)),
        file_mode: is_file.then(|| file_mode.unwrap_or(Mode::FILE)),
        dir_mode: is_file.then(|| dir_mode.unwrap_or(Mode::DIR)),
        endpoint,
        tls_ca,
        region,
        path_style: is_s3.then(|| path_style.unwrap_or(true)),
        access_key_id,
        secret_access_key,
        service_account,
        account,
        account_key,
    })
}

fn region(node: Node) -> Result<String, Refusal> {
    let region = text(node)?;
    if !region.is_empty() && region.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
        Ok(region)
    } else {
        Err(Refusal::new("not a region", "write a name such as \"eu-west-1\""))
    }
}

fn account(node: Node) -> Result<String, Refusal> {
    let account = text(node)?;
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if (3..=24).contains(&account.len()) && account.chars().all(plain) {
        Ok(account)
    } else {
        Err(Refusal::new(
            "not the name of a storage account",
            "write 3 to 24 small letters and digits, e.g. \"mysite\"",
        ))
    }
}
