use std::time::Duration;

use ezdfs_config::{
    AccessLog, CacheMode, CachePolicy, CacheSettings, Database, Freshness, MetadataHandler, Mode,
    Origin, Storage, TlsMode,
};

use crate::site::{FULL, Site};

#[test]
fn without_any_file_there_are_dfs_and_nfs_in_the_data_directory() {
    let site = Site::bare();
    let loaded = site.load().unwrap();
    let data = site.dir.path().join("data");
    assert_eq!((loaded.file, &loaded.data_dir), (None, &data));

    let s = loaded.settings;
    assert_eq!((&*s.store.metadata, &*s.store.binarydata), ("dfs", "nfs"));
    assert_eq!(s.metadata_handlers.names().collect::<Vec<_>>(), ["dfs", "default"]);
    assert_eq!(s.binarydata_handlers.names().collect::<Vec<_>>(), ["nfs", "default"]);
    let Some(MetadataHandler::Sql(dfs)) = s.metadata_handlers.get("dfs") else { panic!("no dfs") };
    assert_eq!(dfs.url.database, Database::Sqlite(data.join("ezdfs.db")));
    assert_eq!((&*dfs.table, &*dfs.name_prefix), ("ezdfsfile", "var/site/storage"));
    assert_eq!((&dfs.password, dfs.tls, dfs.connections), (&None, None, None));
    let nfs = s.binarydata_handlers.get("nfs").unwrap();
    assert_eq!(nfs.url.storage, Storage::File(data.join("files")));
    assert_eq!(nfs.fsync, Some(true));
    assert_eq!((nfs.file_mode, nfs.dir_mode), (Some(Mode::FILE), Some(Mode::DIR)));
}

#[test]
fn defaults_are_those_of_the_documentation() {
    for site in [Site::bare(), Site::new("")] {
        let s = site.load().unwrap().settings;
        assert_eq!(s.store.max_staleness, Duration::from_secs(1));
        assert_eq!(s.store.delete_grace, Duration::from_secs(60));
        assert_eq!(s.store.io_timeout, Duration::from_secs(30));
        assert_eq!(s.store.rename_dir_max, 1000);
        assert_eq!(s.store.trash, Duration::ZERO);
        assert_eq!(s.store.stale_if_error, Duration::ZERO);
        assert_eq!(s.store.default_root, None);
        let data = site.dir.path().join("data");
        assert_eq!(s.cache, CacheSettings::in_data_dir(&data));
        assert_eq!((s.cache.enabled, s.cache.dir), (CacheMode::Auto, data.join("cache")));
        assert_eq!((s.cache.size.0, s.cache.min_free.0), (10 << 30, 1 << 30));
        assert_eq!(s.serve.listen.to_string(), "127.0.0.1:8080");
        assert_eq!(s.serve.url_prefix.as_str(), "/var/site/storage/");
        assert_eq!(s.serve.public, ["images", "images-versioned"]);
        assert_eq!((s.serve.freshness, s.serve.access_log), (Freshness::Feed, AccessLog::Combined));
        assert_eq!(
            s.serve.cache_policy,
            [CachePolicy {
                hashed: false,
                cdn_cache_control: None,
                pattern: "images/**".to_owned(),
                cache_control:
                    "public, max-age=60, stale-while-revalidate=600, stale-if-error=86400"
                        .to_owned(),
            }]
        );
        assert_eq!(s.admin.listen.to_string(), "127.0.0.1:8081");
    }
}

#[test]
fn every_key_is_read() {
    let site = Site::new(FULL);
    let loaded = site.load().unwrap();
    let s = &loaded.settings;
    assert_eq!((&*s.store.metadata, &*s.store.binarydata), ("main", "local"));
    assert_eq!(s.store.max_staleness, Duration::from_secs(2));
    assert_eq!(s.store.delete_grace, Duration::from_secs(30));
    assert_eq!(s.store.io_timeout, Duration::from_secs(10));
    assert_eq!(s.store.rename_dir_max, 500);
    assert_eq!(s.store.trash, Duration::from_secs(7 * 86_400));
    assert_eq!(s.store.stale_if_error, Duration::from_secs(600));
    assert_eq!(s.store.default_root, Some("/srv/site/var/site/storage".into()));

    let Some(MetadataHandler::Sql(main)) = s.metadata_handlers.get("main") else { panic!() };
    assert_eq!(main.url.as_str(), "mysql://dfs@db1:3306/ezdfs");
    let Database::Mysql(server) = &main.url.database else { panic!("{main:?}") };
    assert_eq!((&*server.user, &*server.database), ("dfs", "ezdfs"));
    assert_eq!((main.tls, main.connections), (Some(TlsMode::Verify), Some(4)));
    assert_eq!(main.tls_ca, Some("/etc/ezdfs/no/db-ca.pem".into()));
    assert_eq!((&*main.table, &*main.name_prefix), ("ibexa_dfs_file", "var/storage"));
    assert_eq!(main.password.as_ref().unwrap().to_string(), "{ env = \"DFS_DB_PASSWORD\" }");
    let objects = s.metadata_handlers.get("aws_s3").unwrap();
    assert_eq!(objects, &MetadataHandler::Objects { objects: "aws_s3".to_owned() });

    let local = s.binarydata_handlers.get("local").unwrap();
    assert_eq!(local.url.storage, Storage::File("/mnt/nfs/var/storage".into()));
    assert_eq!(local.fsync, Some(false));
    assert_eq!(local.file_mode.map(Mode::bits), Some(0o664));
    assert_eq!(local.dir_mode.map(Mode::bits), Some(0o775));
    let s3 = s.binarydata_handlers.get("aws_s3").unwrap();
    let prefix = ezdfs_core::KeyPrefix::new("prefix").unwrap();
    assert_eq!(s3.url.storage, Storage::S3 { bucket: "my-bucket".to_owned(), prefix });
    assert_eq!(s3.endpoint.as_deref(), Some("https://s3.eu-west-1.amazonaws.com"));
    assert_eq!(s3.region.as_deref(), Some("eu-west-1"));
    assert_eq!((s3.fsync, s3.file_mode, s3.dir_mode), (None, None, None));
    assert_eq!(s3.path_style, Some(false));
    assert_eq!(s3.tls_ca.as_deref(), Some("/etc/ezdfs/no/s3-ca.pem".as_ref()));
    let shown = |secret: &Option<ezdfs_config::Secret>| secret.as_ref().unwrap().to_string();
    assert_eq!(shown(&s3.access_key_id), "{ env = \"S3_ACCESS_KEY_ID\" }");
    assert_eq!(shown(&s3.secret_access_key), "{ env = \"S3_SECRET_ACCESS_KEY\" }");
    let gcs = s.binarydata_handlers.get("gcs").unwrap();
    assert_eq!(shown(&gcs.service_account), "{ env = \"GCS_SERVICE_ACCOUNT\" }");
    let azure = s.binarydata_handlers.get("azure").unwrap();
    assert_eq!(azure.account.as_deref(), Some("mysite"));
    assert_eq!(shown(&azure.account_key), "{ env = \"AZURE_ACCOUNT_KEY\" }");

    assert_eq!(s.serve.listen.to_string(), "0.0.0.0:80");
    assert_eq!(s.serve.url_prefix.as_str(), "https://static.example.com/files/");
    assert_eq!(s.serve.public, ["images"]);
    assert_eq!((s.serve.freshness, s.serve.access_log), (Freshness::Strict, AccessLog::Json));
    let policies: Vec<_> =
        s.serve.cache_policy.iter().map(|p| (&*p.pattern, &*p.cache_control)).collect();
    assert_eq!(
        policies,
        [("images/_aliases/**", "public, max-age=31536000, immutable"), ("**", "no-cache"),]
    );
    assert_eq!((s.serve.http2, s.serve.max_connections, s.serve.max_requests), (false, 1000, 500));
    assert_eq!(s.serve.tls_certificate.as_deref(), Some("/etc/ezdfs/no/site.pem".as_ref()));
    assert_eq!(s.serve.tls_key.as_deref(), Some("/etc/ezdfs/no/site.key".as_ref()));
    let offload = (s.serve.offload, &*s.serve.offload_prefix, s.serve.offload_from.0);
    assert_eq!(offload, (ezdfs_config::Offload::XAccelRedirect, "/internal/", 10 << 20));
    let times = (s.serve.shutdown_delay, s.serve.drain);
    assert_eq!(times, (Duration::from_secs(5), Duration::from_secs(60)));
    assert_eq!((s.serve.min_rate.0, s.admin.max_file.0), (10 << 10, 1 << 30));
    let site = &s.serve.sites[0];
    assert_eq!(site.url_prefix.as_str(), "http://other.example.com/");
    assert_eq!(
        site.metadata.as_deref().zip(site.binarydata.as_deref()),
        Some(("aws_s3", "aws_s3"))
    );
    assert_eq!(site.public.as_deref(), Some(&["images".to_owned(), "media".to_owned()][..]));
    assert_eq!(s.admin.listen.to_string(), "[::1]:9090");
    assert_eq!((s.cache.enabled, &*s.cache.dir), (CacheMode::On, "/var/cache/ezdfs".as_ref()));
    assert_eq!((s.cache.size.0, s.cache.min_free.0), (50 << 30, 5 << 30));
    assert_eq!(s.cache.memory.0, 256 << 20);

    assert_eq!(loaded.origin("store.metadata"), Origin::File(2));
    assert_eq!(loaded.origin("serve.cache_policy[1].match"), Origin::File(77));
    assert_eq!(loaded.origin("store.nothing"), Origin::Default);
}

#[test]
fn handlers_keep_file_order() {
    let site = Site::new(
        "
        store.metadata = 'z'
        store.binarydata = 'b'
        [metadata_handlers.z]
        url = 'sqlite:z.db'
        [binarydata_handlers.b]
        url = 'memory:'
        [metadata_handlers.a]
        url = 'sqlite:a.db'
        [metadata_handlers.m]
        objects = 'b'
        [binarydata_handlers.a]
        url = 'memory:'
        ",
    )
    .env(&[("EZDFS__METADATA_HANDLERS__B__URL", "sqlite:b.db")]);
    let s = site.load().unwrap().settings;
    assert_eq!(s.metadata_handlers.names().collect::<Vec<_>>(), ["z", "a", "m", "b", "default"]);
    assert_eq!(s.binarydata_handlers.names().collect::<Vec<_>>(), ["b", "a", "default"]);
    assert_eq!((s.metadata_handlers.first(), s.binarydata_handlers.first()), ("z", "b"));
}

#[test]
fn default_is_a_handler_on_both_sides() {
    let site = Site::new(
        "[store]\nmetadata = 'default'\nbinarydata = 'default'\ndefault_root = '/srv/tree'\n",
    );
    let s = site.load().unwrap().settings;
    assert_eq!((&*s.store.metadata, &*s.store.binarydata), ("default", "default"));
    assert_eq!(s.metadata_handlers.get("default"), None);
}

#[test]
fn bytes_are_kept_of_stores_on_the_network() {
    let site = Site::new(FULL);
    let handlers = site.load().unwrap().settings.binarydata_handlers;
    let storage = |name| handlers.get(name).map(|h| &h.url.storage);
    for (mode, s3, local) in [
        (CacheMode::Auto, true, false),
        (CacheMode::On, true, true),
        (CacheMode::Off, false, false),
    ] {
        assert_eq!(mode.applies(storage("aws_s3")), s3);
        assert_eq!((mode.applies(storage("local")), mode.applies(None)), (local, local));
    }
}
