use std::sync::Arc;

use ezdfs_config::{open_binary, open_metadata, open_side};
use ezdfs_core::{Clock, ErrorKind, SystemClock};

use crate::site::{FULL, Site};

fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock)
}

#[cfg(feature = "sqlite")]
#[tokio::test]
async fn the_defaults_open_in_a_data_directory_that_does_not_exist_yet() {
    let site = Site::bare();
    let loaded = site.load().unwrap();
    let side = open_side(&loaded, "dfs", "nfs", &clock()).await.unwrap();
    let data = site.dir.path().join("data");
    assert!(data.join("ezdfs.db").is_file());
    assert_eq!(side.binary.local.unwrap().root(), data.join("files"));
    assert_eq!(side.metadata.prefix().as_str(), "var/site/storage");
    assert!(side.metadata.is_separate());
    assert!(side.metadata.describe().contains("ezdfsfile"));
}

#[cfg(feature = "sqlite")]
#[tokio::test]
async fn settings_reach_the_handlers() {
    use std::os::unix::fs::PermissionsExt as _;

    let site = Site::new(
        "[metadata_handlers.dfs]\nurl = 'sqlite:sub/x.db'\ntable = 'ibexa_dfs_file'\nname_prefix = 'p'
         [binarydata_handlers.nfs]\nurl = 'file:a/b%20c'\nfile_mode = '0640'\ndir_mode = '0750'",
    );
    let loaded = site.load().unwrap();
    let side = open_side(&loaded, "dfs", "nfs", &clock()).await.unwrap();
    assert!(side.metadata.describe().contains("ibexa_dfs_file"));
    assert_eq!(side.metadata.prefix().as_str(), "p");
    let root = site.dir.path().join("data").join("a").join("b c");
    let key = object_store::path::Path::parse("d/f").unwrap();
    object_store::ObjectStoreExt::put(&*side.binary.store, &key, "x".into()).await.unwrap();
    let mode = |at: &str| std::fs::metadata(root.join(at)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("d"), mode("d/f")), (0o750, 0o640));
}

#[tokio::test]
async fn a_directory_elsewhere_must_exist() {
    let site = Site::bare();
    let tree = site.dir.path().join("tree");
    std::fs::write(
        site.file(),
        format!(
            "[store]\nmetadata = 'default'\nbinarydata = 'default'\ndefault_root = '{0}'\n\
             [binarydata_handlers.nfs]\nurl = 'file://{0}'\n",
            tree.display()
        ),
    )
    .unwrap();
    let loaded = site.load().unwrap();
    for (name, line, key) in
        [("default", 4, "store.default_root"), ("nfs", 6, "binarydata_handlers.nfs.url")]
    {
        let error = open_binary(&loaded, name).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        let place = format!("{}:{line}: `{key}`: ", site.file().display());
        assert!(error.to_string().starts_with(&place), "{error}");
    }
    assert!(!tree.exists());
    std::fs::create_dir(&tree).unwrap();
    let side = open_side(&loaded, "default", "default", &clock()).await.unwrap();
    assert_eq!(side.binary.local.unwrap().root(), tree);
    assert!(!side.metadata.is_separate());
}

#[tokio::test]
async fn metadata_is_derived_from_the_very_store_beside_it() {
    use ezdfs_core::FilePath;
    use object_store::ObjectStoreExt as _;

    let site = Site::new(
        "[store]\nmetadata = 'm'\nbinarydata = 'mem'
         [metadata_handlers.m]\nobjects = 'mem'
         [binarydata_handlers.mem]\nurl = 'memory:///p'",
    );
    let loaded = site.load().unwrap();
    let path: FilePath = "images/a.png".parse().unwrap();
    for metadata in ["m", "default"] {
        let side = open_side(&loaded, metadata, "mem", &clock()).await.unwrap();
        let key = side.binary.prefix.key(&path, 1024).unwrap();
        assert_eq!(key.as_ref(), "p/images/a.png");
        side.binary.store.put(&key, "x".into()).await.unwrap();
        let record = side.metadata.record(&path).await.unwrap();
        assert_eq!(record.base.map(|b| b.size), Some(1), "{metadata}");
    }
}

/// A port of this machine on which nobody listens.
fn dead_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[cfg(all(feature = "mysql", feature = "postgres"))]
#[tokio::test]
async fn a_server_that_is_away_is_named_and_its_password_is_not() {
    for scheme in ["mysql", "postgres"] {
        let port = dead_port();
        let site = Site::new(&format!(
            "[metadata_handlers.dfs]\nurl = '{scheme}://u@127.0.0.1:{port},[::1]:{port}/x'\n\
             password = 'hunter2'\n[binarydata_handlers.nfs]\nurl = 'memory:'"
        ));
        let loaded = site.load().unwrap();
        let error = open_side(&loaded, "dfs", "nfs", &clock()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        let place = format!(
            "{}:2: `metadata_handlers.dfs.url`: {scheme} 127.0.0.1:{port},[::1]:{port}/x: ",
            site.file().display()
        );
        assert!(error.to_string().starts_with(&place), "{error}");
        assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
    }
}

#[cfg(feature = "mysql")]
#[tokio::test]
async fn a_password_that_is_not_there_is_told_by_its_key() {
    let loaded = Site::new(FULL).load().unwrap();
    let memory = Site::new("binarydata_handlers.nfs.url = 'memory:'").load().unwrap();
    let memory = open_binary(&memory, "nfs").await.unwrap();
    let error = open_metadata(&loaded, "main", ("nfs", &memory), &clock()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    for text in [":14: `metadata_handlers.main.password`", "DFS_DB_PASSWORD is not set"] {
        assert!(error.to_string().contains(text), "{error}");
    }
}

#[cfg(all(feature = "mysql", feature = "postgres"))]
#[tokio::test]
async fn certificates_that_are_no_use_are_told_by_their_key() {
    let memory = Site::new("binarydata_handlers.nfs.url = 'memory:'").load().unwrap();
    let memory = open_binary(&memory, "nfs").await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let ca = dir.path().join("ca.pem");
    for scheme in ["mysql", "postgres"] {
        let site = Site::new(&format!(
            "[metadata_handlers.dfs]\nurl = '{scheme}://u@127.0.0.1:{}/x'\ntls = 'verify'\ntls_ca = '{}'\n\
             [binarydata_handlers.nfs]\nurl = 'memory:'",
            dead_port(),
            ca.display()
        ));
        let loaded = site.load().unwrap();
        let _ = std::fs::remove_file(&ca);
        for (content, text) in [(None, "cannot be read"), (Some("x"), "holds no certificate")] {
            if let Some(content) = content {
                std::fs::write(&ca, content).unwrap();
            }
            let error =
                open_metadata(&loaded, "dfs", ("nfs", &memory), &clock()).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config, "{error}");
            let place = format!("{}:4: `metadata_handlers.dfs.tls_ca`: ", site.file().display());
            for text in [&place, text, &*ca.display().to_string()] {
                assert!(error.to_string().contains(text), "{error}");
            }
        }
    }
}

#[cfg(all(feature = "aws", feature = "gcp", feature = "azure"))]
#[tokio::test]
async fn what_cannot_be_opened_names_key_line_and_fix() {
    let site = Site::new(FULL);
    let loaded = site.load().unwrap();
    let file = site.file();
    let memory = Site::new("binarydata_handlers.nfs.url = 'memory:'").load().unwrap();
    let memory = open_binary(&memory, "nfs").await.unwrap();
    let metadata = |name| {
        let (loaded, memory) = (&loaded, &memory);
        async move { open_metadata(loaded, name, ("nfs", memory), &clock()).await.unwrap_err() }
    };
    for (error, text) in [
        (
            open_binary(&loaded, "aws_s3").await.unwrap_err(),
            format!(
                "{}:37: `binarydata_handlers.aws_s3.tls_ca`: certificate file /etc/ezdfs/no/s3-ca.pem",
                file.display()
            ),
        ),
        (metadata("aws_s3").await, "`binarydata_handlers.aws_s3.tls_ca`: ".to_owned()),
        (
            open_binary(&loaded, "gcs").await.unwrap_err(),
            "variable GCS_SERVICE_ACCOUNT is not set".to_owned(),
        ),
        (
            open_binary(&loaded, "azure").await.unwrap_err(),
            "variable AZURE_ACCOUNT_KEY is not set".to_owned(),
        ),
        (
            metadata("mian").await,
            "`metadata_handlers`: there is no handler `mian`; did you mean `main`?".to_owned(),
        ),
        (
            open_binary(&loaded, "xyz").await.unwrap_err(),
            "there is no handler `xyz`; known here: `local`, `aws_s3`, `gcs`, `azure`, `default`"
                .to_owned(),
        ),
    ] {
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        assert!(error.to_string().contains(&text), "{error}\n{text}");
    }
    let bare = Site::bare().load().unwrap();
    let error = open_binary(&bare, "default").await.unwrap_err();
    assert!(error.to_string().contains("add `default_root ="), "{error}");
}
