use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::time::Duration;

use ezdfs_config::{Environment, Freshness, MetadataHandler, Mode, Origin, Place, Storage};

use crate::site::{FULL, SIDES, Site};

#[test]
fn the_environment_lies_over_the_file() {
    let site = Site::new(&format!("{SIDES}\n[store]\ntrash = '1h'\nio_timeout = '5s'")).env(&[
        ("EZDFS__STORE__TRASH", "2h"),
        ("EZDFS__STORE__RENAME_DIR_MAX", "7"),
        ("EZDFS__SERVE__FRESHNESS", "strict"),
        ("EZDFS__SERVE__PUBLIC", r#"["a", "b"]"#),
        ("EZDFS__SERVE__CACHE_POLICY", r#"[{ match = "x/**", cache_control = "no-store" }]"#),
        ("EZDFS__ADMIN__LISTEN", "127.0.0.1:1"),
        ("EZDFS__METADATA_HANDLERS__DFS__TABLE", "ibexa_dfs_file"),
        ("EZDFS__BINARYDATA_HANDLERS__NFS__FSYNC", "false"),
        ("EZDFS__BINARYDATA_HANDLERS__NFS__FILE_MODE", "0640"),
        ("EZDFS__BINARYDATA_HANDLERS__NFS__DIR_MODE", "\"0750\""),
    ]);
    let loaded = site.load().unwrap();
    let s = &loaded.settings;
    assert_eq!(s.store.trash, Duration::from_secs(7200));
    assert_eq!(s.store.io_timeout, Duration::from_secs(5));
    assert_eq!(s.store.rename_dir_max, 7);
    assert_eq!(s.serve.freshness, Freshness::Strict);
    assert_eq!(s.serve.public, ["a", "b"]);
    assert_eq!(s.serve.cache_policy[0].pattern, "x/**");
    assert_eq!(s.admin.listen.port(), 1);
    let Some(MetadataHandler::Sql(dfs)) = s.metadata_handlers.get("dfs") else { panic!() };
    assert_eq!(dfs.table, "ibexa_dfs_file");
    let nfs = s.binarydata_handlers.get("nfs").unwrap();
    assert_eq!(nfs.fsync, Some(false));
    assert_eq!(nfs.file_mode.map(Mode::bits), Some(0o640));
    assert_eq!(nfs.dir_mode.map(Mode::bits), Some(0o750));
    assert_eq!(loaded.origin("store.trash"), Origin::Env("EZDFS__STORE__TRASH".to_owned()));
    assert_eq!(loaded.origin("store.io_timeout"), Origin::File(9));
}

#[test]
fn every_key_can_be_set_by_the_environment() {
    // The full example, moved into variables key by key.
    let table: toml::Table = FULL.parse().unwrap();
    let mut vars: Vec<(String, String)> = Vec::new();
    for (section, entries) in &table {
        for (key, value) in entries.as_table().unwrap() {
            let name = format!("EZDFS__{}__{}", section.to_uppercase(), key.to_uppercase());
            match value {
                toml::Value::Table(handler) => vars.extend(handler.iter().map(|(key, value)| {
                    (format!("{name}__{}", key.to_uppercase()), value.to_string())
                })),
                value => vars.push((name, value.to_string())),
            }
        }
    }
    let mut site = Site::new(
        "[metadata_handlers.main]\n[metadata_handlers.aws_s3]\n[binarydata_handlers.local]\n[binarydata_handlers.aws_s3]\n[binarydata_handlers.gcs]\n[binarydata_handlers.azure]\n",
    );
    site.sources.env = vars.into_iter().collect();
    assert_eq!(site.load().unwrap().settings, Site::new(FULL).load().unwrap().settings);
}

#[test]
fn text_stays_text_whatever_it_looks_like() {
    let site = Site::bare().env(&[
        ("EZDFS__METADATA_HANDLERS__DFS__NAME_PREFIX", "2024"),
        ("EZDFS__METADATA_HANDLERS__DB__URL", "mysql://u@db/x"),
        ("EZDFS__METADATA_HANDLERS__DB__PASSWORD", "12345"),
    ]);
    let s = site.load().unwrap().settings;
    let Some(MetadataHandler::Sql(dfs)) = s.metadata_handlers.get("dfs") else { panic!() };
    assert_eq!(dfs.name_prefix, "2024");
    let Some(MetadataHandler::Sql(db)) = s.metadata_handlers.get("db") else { panic!() };
    let password = db.password.as_ref().unwrap().resolve(&Environment::default()).unwrap();
    assert_eq!(password.expose(), "12345");
}

#[test]
fn handlers_are_found_under_the_spelling_of_the_file() {
    let site =
        Site::new("[store]\nbinarydata = 'My-S3'\n[binarydata_handlers.My-S3]\nurl = 'memory:'")
            .env(&[("EZDFS__BINARYDATA_HANDLERS__MY_S3__URL", "memory:///p")]);
    let s = site.load().unwrap().settings;
    assert_eq!(s.binarydata_handlers.names().collect::<Vec<_>>(), ["My-S3", "default"]);
    let prefix = ezdfs_core::KeyPrefix::new("p").unwrap();
    assert_eq!(s.binarydata_handlers.get("My-S3").unwrap().url.storage, Storage::Memory(prefix));
}

#[test]
fn faults_name_the_variable() {
    for (name, value, key, message, fix) in [
        ("EZDFS__STORE__TRASHH", "1s", "store.trashh", "unknown key", "did you mean `trash`?"),
        ("EZDFS__STROE__TRASH", "1s", "stroe", "unknown section", "did you mean `store`?"),
        ("EZDFS__STORE__TRASH", "5", "store.trash", "needs a unit", "ms, s, m, h or d"),
        ("EZDFS__STORE__TRASH", "soon", "store.trash", "not a duration", "from"),
        ("EZDFS__STORE", "x", "store", "names no key", "EZDFS__SECTION__KEY"),
        ("EZDFS__", "x", "", "names no key", "EZDFS__SECTION__KEY"),
        (
            "EZDFS__SERVE__CACHE_POLICY__0",
            "x",
            "serve.cache_policy.0",
            "names no key",
            "SECTION__KEY",
        ),
        (
            "EZDFS__METADATA_HANDLERS__URL",
            "x",
            "metadata_handlers.url",
            "no key of a handler",
            "EZDFS__METADATA_HANDLERS__NAME__KEY",
        ),
        (
            "EZDFS__METADATA_HANDLERS__DFS__BOGUS",
            "x",
            "metadata_handlers.dfs.bogus",
            "unknown key",
            "known here",
        ),
        (
            "EZDFS__BINARYDATA_HANDLERS__NFS__FILE_MODE",
            "644",
            "binarydata_handlers.nfs.file_mode",
            "a number is no mode",
            "\"0644\"",
        ),
        (
            "EZDFS__BINARYDATA_HANDLERS__DEFAULT__URL",
            "memory:",
            "binarydata_handlers.default",
            "always exists",
            "rename",
        ),
        ("EZDFS__CACHE__SIZE", "1GB", "cache.size", "not a number of bytes", "10GiB"),
    ] {
        let problems = Site::bare().env(&[(name, value)]).problems();
        assert_eq!(problems.len(), 1, "{problems:#?}");
        let p = &problems[0];
        assert_eq!(p.place, Place::Env(name.to_owned()), "{p}");
        assert_eq!(p.key, key);
        assert!(p.message.contains(message) && p.fix.contains(fix), "{p}");
        assert!(p.to_string().starts_with(&format!("environment variable {name}: ")), "{p}");
    }
}

#[test]
fn values_that_are_not_utf8_are_refused() {
    let mut site = Site::bare();
    let value = OsString::from_vec(vec![0xff]);
    site.sources.env = [("EZDFS__STORE__TRASH", value)].into_iter().collect();
    assert!(
        site.problems()[0].to_string().contains("EZDFS__STORE__TRASH: `store.trash`: not UTF-8")
    );
}

#[test]
fn ambiguous_handler_names_are_refused() {
    let site = Site::new("[metadata_handlers.a-b]\nurl='sqlite:x'\n[metadata_handlers.a_b]\nurl='sqlite:y'\n[store]\nmetadata='a_b'")
        .env(&[("EZDFS__METADATA_HANDLERS__A_B__TABLE", "t")]);
    let text = site.load().unwrap_err().to_string();
    assert!(text.contains("both `a-b` and `a_b` could be meant"), "{text}");
    assert!(text.contains("differs from `a-b` only in case or in - and _"), "{text}");
}

#[test]
fn other_variables_are_no_overlay() {
    let site = Site::bare().env(&[("EZDFS_DATA_DIR", "/x"), ("EZDFS_LOG", "y"), ("PATH", "/bin")]);
    assert!(site.load().is_ok());
}
