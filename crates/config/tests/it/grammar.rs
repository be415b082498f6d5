use std::time::Duration;

use ezdfs_config::duration::{format, parse};
use ezdfs_config::{Database, HostPort, MetadataHandler, Mode, ServerUrl, Storage, TlsMode};
use proptest::prelude::*;

use crate::site::{SIDES, Site};

proptest! {
    #[test]
    fn durations_parse_and_print(millis in any::<u64>()) {
        let d = Duration::from_millis(millis);
        prop_assert_eq!(parse(&format(d)), Some(d));
    }

    #[test]
    fn whole_units_print_short(n in 1_u64..24) {
        prop_assert_eq!(format(Duration::from_secs(n)), format!("{n}s"));
        prop_assert_eq!(format(Duration::from_secs(n * 3600)), format!("{n}h"));
    }

    #[test]
    fn any_text_is_a_duration_or_not(text in "\\PC{0,8}|[0-9]{0,24}(ms|s|m|h|d|w)?") {
        if let Some(d) = parse(&text) {
            prop_assert_eq!(parse(&format(d)), Some(d));
            prop_assert!(text.starts_with(|c: char| c.is_ascii_digit()));
        }
    }

    #[test]
    fn modes_parse_and_print(bits in 0_u32..=0o777) {
        let text = format!("{bits:04o}");
        let mode: Mode = text.parse().unwrap();
        prop_assert_eq!(mode.bits(), bits);
        prop_assert_eq!(mode.to_string(), text);
        prop_assert_eq!(format!("{bits:03o}").parse::<Mode>(), Ok(mode));
    }

    #[test]
    fn any_text_is_a_mode_or_not(text in "\\PC{0,6}|[0-9]{0,6}|0o[0-7]{3}") {
        if let Ok(mode) = text.parse::<Mode>() {
            prop_assert!(mode.bits() <= 0o777);
            prop_assert_eq!(u32::from_str_radix(&text, 8), Ok(mode.bits()));
        }
    }

    #[test]
    fn no_file_makes_loading_panic(text in "\\PC{0,200}|([a-z_.]{1,12} ?= ?[\\PC]{0,12}\n){0,8}") {
        let _ = Site::new(&text).load();
    }

    #[test]
    fn no_value_makes_loading_panic(
        key in prop::sample::select(vec![
            "store.trash", "store.default_root", "store.metadata", "serve.url_prefix", "serve.listen",
            "serve.public", "serve.cache_policy", "metadata_handlers.dfs.url",
            "metadata_handlers.dfs.table", "metadata_handlers.dfs.password",
            "binarydata_handlers.nfs.url", "binarydata_handlers.nfs.file_mode",
            "binarydata_handlers.nfs.endpoint",
        ]),
        value in "\\PC{0,24}|[a-z0-9+]{0,6}:(//)?[a-z0-9@:/?#%.\\[\\]é-]{0,24}",
    ) {
        let quoted = toml::Value::String(value.clone()).to_string();
        let _ = Site::new(&format!("{key} = {quoted}")).load();
        let variable = format!("EZDFS__{}", key.to_uppercase().replace('.', "__"));
        let _ = Site::bare().env(&[(&variable, &value)]).load();
    }
}

#[test]
fn durations() {
    for (text, millis) in [
        ("0s", 0),
        ("1ms", 1),
        ("500ms", 500),
        ("1s", 1000),
        ("90s", 90_000),
        ("5m", 300_000),
        ("2h", 7_200_000),
        ("30d", 2_592_000_000),
        ("007s", 7000),
    ] {
        assert_eq!(parse(text), Some(Duration::from_millis(millis)), "{text}");
    }
    for text in [
        "",
        "s",
        "1",
        "1 s",
        " 1s",
        "1s ",
        "-1s",
        "+1s",
        "1.5s",
        "1S",
        "1sec",
        "1h30m",
        "1us",
        "1w",
        "١s",
        "18446744073709551616ms",
        "18446744073709551615s",
    ] {
        assert_eq!(parse(text), None, "{text:?}");
    }
    assert_eq!(format(Duration::ZERO), "0s");
    assert_eq!(format(Duration::from_secs(60)), "1m");
    assert_eq!(format(Duration::from_millis(1500)), "1500ms");
    assert_eq!(format(Duration::from_secs(86_400)), "1d");
}

#[test]
fn modes() {
    for text in ["", "64", "0o644", "00644", "1644", "2755", "0689", "644 ", "+644", "rw-", "06444"]
    {
        assert!(text.parse::<Mode>().is_err(), "{text:?}");
    }
    assert_eq!("644".parse::<Mode>().unwrap(), Mode::FILE);
    assert_eq!("0755".parse::<Mode>().unwrap(), Mode::DIR);
}

#[test]
fn check_30_url_prefixes_are_decorated_as_ibexa_does() {
    // The table of ibexa-dfs.md §2, and where requests are looked for.
    for (text, decorated, path, origin) in [
        ("var/site/storage", "/var/site/storage/", "/var/site/storage/", None),
        ("/var/site/storage", "/var/site/storage/", "/var/site/storage/", None),
        ("/var/site/storage/", "/var/site/storage/", "/var/site/storage/", None),
        ("storage", "/storage/", "/storage/", None),
        ("with space/é", "/with space/é/", "/with space/é/", None),
        ("http://host", "http://host/", "/", Some("http://host")),
        ("http://host/", "http://host/", "/", Some("http://host")),
        ("http://host:8080/x", "http://host:8080/x/", "/x/", Some("http://host:8080")),
        ("https://[::1]:8443/x/", "https://[::1]:8443/x/", "/x/", Some("https://[::1]:8443")),
        ("/", "/", "/", None),
        ("", "", "/", None),
    ] {
        let site = Site::new(&format!("serve.url_prefix = \"{text}\""));
        let prefix = site.load().unwrap().settings.serve.url_prefix;
        assert_eq!(
            (prefix.as_str(), prefix.path(), prefix.origin()),
            (decorated, path, origin),
            "{text}"
        );
        let uri = prefix.uri(&"images/a b.jpg".parse().unwrap());
        assert_eq!(uri, format!("{decorated}images/a b.jpg"));
    }
}

#[test]
fn database_urls() {
    let site = |url: &str| Site::new(&format!("metadata_handlers.dfs.url = \"{url}\""));
    let data = |site: &Site| site.dir.path().join("data");
    for (url, file) in [
        ("sqlite:ezdfs.db", "ezdfs.db"),
        ("sqlite:sub/my site%20.db", "sub/my site%20.db"),
        ("sqlite://ezdfs.db", "ezdfs.db"),
        ("sqlite:///var/lib/e.db", "/var/lib/e.db"),
        ("sqlite:/var/lib/e.db", "/var/lib/e.db"),
    ] {
        let site = site(url);
        let s = site.load().unwrap().settings;
        let Some(MetadataHandler::Sql(dfs)) = s.metadata_handlers.get("dfs") else { panic!() };
        assert_eq!(dfs.url.database, Database::Sqlite(data(&site).join(file)), "{url}");
        assert_eq!(dfs.url.as_str(), url);
    }
}

#[test]
fn urls_of_database_servers() {
    let server = |user: &str, hosts: &[(&str, Option<u16>)], database: &str| ServerUrl {
        user: user.to_owned(),
        hosts: hosts
            .iter()
            .map(|(name, port)| HostPort { name: (*name).to_owned(), port: *port })
            .collect(),
        database: database.to_owned(),
    };
    for (url, database) in [
        ("mysql://dfs@db1/ezdfs", Database::Mysql(server("dfs", &[("db1", None)], "ezdfs"))),
        (
            "mariadb://dfs@db1:3307,db2,[::1]:3308/ezdfs",
            Database::Mysql(server(
                "dfs",
                &[("db1", Some(3307)), ("db2", None), ("::1", Some(3308))],
                "ezdfs",
            )),
        ),
        (
            "postgres://web%40site@[fe80::1]/my%20db%2F%25",
            Database::Postgres(server("web@site", &[("fe80::1", None)], "my db/%")),
        ),
        (
            "postgresql://dfs@db_1.example.com:5433/e-z",
            Database::Postgres(server("dfs", &[("db_1.example.com", Some(5433))], "e-z")),
        ),
    ] {
        let site = Site::new(&format!("metadata_handlers.dfs.url = \"{url}\""));
        let s = site.load().unwrap().settings;
        let Some(MetadataHandler::Sql(dfs)) = s.metadata_handlers.get("dfs") else { panic!() };
        assert_eq!(dfs.url.database, database, "{url}");
        assert_eq!(dfs.url.as_str(), url);
        assert_eq!((dfs.tls, dfs.connections), (Some(TlsMode::Prefer), Some(8)), "{url}");
    }
}

#[test]
fn storage_urls() {
    let prefix = |text: &str| ezdfs_core::KeyPrefix::new(text).unwrap();
    let s3 = |bucket: &str, p: &str| Storage::S3 { bucket: bucket.to_owned(), prefix: prefix(p) };
    for (url, storage) in [
        (
            "file:///mnt/nfs/var/site/storage",
            Some(Storage::File("/mnt/nfs/var/site/storage".into())),
        ),
        ("file://localhost/mnt", Some(Storage::File("/mnt".into()))),
        ("file:/mnt", Some(Storage::File("/mnt".into()))),
        ("file:///mnt/my%20files%3F/a@b", Some(Storage::File("/mnt/my files?/a@b".into()))),
        ("file:files", None),
        ("memory:", Some(Storage::Memory(prefix("")))),
        ("memory:///a/b", Some(Storage::Memory(prefix("a/b")))),
        ("s3://my-bucket", Some(s3("my-bucket", ""))),
        ("s3://my-bucket/a/100%25/", Some(s3("my-bucket", "a/100%"))),
        ("gs://b/p", Some(Storage::Gcs { bucket: "b".to_owned(), prefix: prefix("p") })),
        ("az://c/p", Some(Storage::Azure { container: "c".to_owned(), prefix: prefix("p") })),
    ] {
        let site = Site::new(&format!("binarydata_handlers.nfs.url = \"{url}\""));
        let s = site.load().unwrap().settings;
        let expected =
            storage.unwrap_or_else(|| Storage::File(site.dir.path().join("data").join("files")));
        assert_eq!(s.binarydata_handlers.get("nfs").unwrap().url.storage, expected, "{url}");
    }
}

#[test]
fn name_prefixes_lose_their_outer_slashes() {
    for (text, expected) in [("", ""), ("/", ""), ("/var/storage/", "var/storage"), ("a b", "a b")]
    {
        let site = Site::new(&format!(
            "{SIDES}\n[metadata_handlers.x]\nurl='sqlite:x'\nname_prefix='{text}'"
        ));
        let s = site.load().unwrap().settings;
        let Some(MetadataHandler::Sql(x)) = s.metadata_handlers.get("x") else { panic!() };
        assert_eq!(x.name_prefix, expected);
    }
}

#[test]
fn patterns_of_cache_policies_match_paths() {
    let site = Site::new(
        "[[serve.cache_policy]]\nmatch = 'images/*/a{,b}.jpg'\ncache_control = 'no-store'",
    );
    let s = site.load().unwrap().settings;
    let glob = s.serve.cache_policy[0].glob().unwrap().compile_matcher();
    assert!(glob.is_match("images/1/ab.jpg"));
    assert!(!glob.is_match("images/1/2/a.jpg"), "* stays within a segment");
}
