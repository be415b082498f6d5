use ezdfs_config::{Environment, Secret, check, show};
use ezdfs_core::ErrorKind;
use proptest::prelude::*;

use crate::site::{SIDES, Site};

/// Files that hold a secret (`<S>`): where it belongs, and where people put it by mistake.
const PLACES: &[&str] = &[
    "[metadata_handlers.dfs]\nurl = 'mysql://u@db/x'\npassword = '<S>'",
    "[metadata_handlers.dfs]\nurl = 'mysql://u@db/x'\npassword = ['<S>']",
    "[metadata_handlers.dfs]\nurl = 'mysql://u@db/x'\npassword = { env = ['<S>'] }",
    "[metadata_handlers.dfs]\nurl = 'mysql://u@db/x'\npassword = { vault = '<S>' }",
    "[metadata_handlers.dfs]\nurl = 'mysql://u@db/x'\npasword = '<S>'",
    "[metadata_handlers.dfs]\nurl = 'mysql://u@db/x'\npassword = '<S>",
    "[metadata_handlers.dfs]\nurl = 'mysql://u@db/x'\npassword = <S>",
    "[metadata_handlers.dfs]\nurl = 'mysql://u@db/x'\npassword = '<S>'\npassword = '<S>'",
    "[metadata_handlers.dfs]\nurl = 'sqlite:x'\npassword = '<S>'",
    "[metadata_handlers.dfs]\nobjects = 'nfs'\npassword = '<S>'",
    "[metadata_handlers.dfs]\nurl = 'mysql://u:<S>@db/x'",
    "[metadata_handlers.dfs]\nurl = 'mysql://u:x/<S>@db/x'",
    "[metadata_handlers.dfs]\nurl = 'mysql://db/x?password=<S>'",
    "[metadata_handlers.dfs]\nurl = 'mysql://u@db/x?<S>=1'",
    "[metadata_handlers.dfs]\nurl = 'mysql://u:<S>@db,db2/x'",
    "[metadata_handlers.dfs]\nurl = 'mysql://u@db/x'\ntls = '<S>'",
    "[metadata_handlers.dfs]\nurl = 'mysql://u@db/x'\nconnections = '<S>'",
    "[metadata_handlers.dfs]\nurl = 'oracle://u:<S>@db/x'",
    "[metadata_handlers.dfs]\nurl = '<S>'",
    "[binarydata_handlers.nfs]\nurl = 's3://k:<S>@b/x'",
    "[binarydata_handlers.nfs]\nurl = 'az://c/x?sig=<S>'",
    "[binarydata_handlers.nfs]\nurl = 's3://b'\nendpoint = 'https://k:<S>@h'",
    "[binarydata_handlers.nfs]\nurl = 's3://b'\nsecret_access_key = '<S>'",
    "[binarydata_handlers.nfs]\nurl = 's3://b'\naccess_key_id = 'x'\nsecret_access_key = '<S>'",
    "[binarydata_handlers.nfs]\nurl = 's3://b'\naccess_key_id = '<S>'\nsecret_access_key = 'x'",
    "[binarydata_handlers.nfs]\nurl = 's3://b'\nsecret_access_key = { env = 'x', file = '<S>' }",
    "[binarydata_handlers.nfs]\nurl = 'gs://b'\nservice_account = '<S>'",
    "[binarydata_handlers.nfs]\nurl = 'az://b'\naccount_key = '<S>'",
    "[binarydata_handlers.nfs]\nurl = 'az://b'\naccount = '<S>'",
    "[serve]\nurl_prefix = 'https://u:<S>@h/'",
    "[serve]\nurl_prefix = '//u:<S>@h/'",
    "[admin]\ntokens = ['<S>']",
    "password = '<S>'",
];

/// Everything that is printed of a site, whether it loads or not.
fn everything(site: &Site) -> String {
    match site.load() {
        Ok(loaded) => format!(
            "{loaded:?}{loaded:#?}{}{:?}{}",
            show::show(&loaded).unwrap(),
            check::check(&loaded),
            toml::to_string(&loaded.settings).unwrap(),
        ),
        Err(problems) => {
            let error = format!("{problems}{problems:?}");
            let core = ezdfs_core::Error::from(problems);
            format!("{error}{core}{core:?}")
        }
    }
}

proptest! {
    #[test]
    fn no_secret_is_ever_printed(
        secret in "[a-zA-Z0-9]{4}SECRET[a-zA-Z0-9#?/%+=-]{0,12}", place in 0..PLACES.len()
    ) {
        let text = PLACES[place].replace("<S>", &secret);
        let printed = everything(&Site::new(&text));
        prop_assert!(!printed.contains(&secret), "{}\n{}", text, printed);
        prop_assert!(!printed.contains("SECRET"), "{}\n{}", text, printed);
    }

    #[test]
    fn no_secret_of_the_environment_is_ever_printed(
        secret in "[a-z]{4}SECRET\\PC{0,8}",
        name in prop::sample::select(vec![
            "EZDFS__METADATA_HANDLERS__DB__PASSWORD",
            "EZDFS__METADATA_HANDLERS__DFS__PASSWORD",
            "EZDFS__METADATA_HANDLERS__DB__URL",
            "EZDFS__BINARYDATA_HANDLERS__NFS__URL",
            "EZDFS__BINARYDATA_HANDLERS__NFS__SECRET_KEY",
            "EZDFS__STORE__TRASH",
            "EZDFS__SERVE__URL__PREFIX",
            "OTHER",
        ]),
    ) {
        let site = Site::new(&format!(
            "{SIDES}\n[metadata_handlers.db]\nurl = 'mysql://u@db/x'\npassword = {{ env = 'OTHER' }}"
        ))
        .env(&[(name, &secret)]);
        let printed = everything(&site) + &format!("{:?}", site.sources);
        prop_assert!(!printed.contains(&secret), "{}", printed);
        // Only the name of one of the variables has this word.
        prop_assert!(!printed.replace("SECRET_KEY", "").contains("SECRET"), "{}", printed);
    }
}

#[test]
fn secrets_are_masked_in_every_form() {
    let literal = Secret::literal("hunter2");
    assert_eq!(literal.to_string(), "********");
    assert_eq!(format!("{literal:?}"), "********");
    let hidden = literal.resolve(&Environment::default()).unwrap();
    assert_eq!((hidden.expose(), &*format!("{hidden:?}")), ("hunter2", "********"));
    let named = Secret::Env("DB_PASSWORD".to_owned());
    assert_eq!(named.to_string(), "{ env = \"DB_PASSWORD\" }");
    assert_eq!(Secret::File("/run/s".into()).to_string(), "{ file = \"/run/s\" }");
}

#[test]
fn secrets_resolve() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("secret");
    let env: Environment = [("A", "value"), ("EMPTY", "")].into_iter().collect();
    assert_eq!(Secret::Env("A".to_owned()).resolve(&env).unwrap().expose(), "value");
    for (content, value) in
        [("v", "v"), ("v\n", "v"), ("v\r\n", "v"), (" v \n\n", " v \n"), ("a\nb\n", "a\nb")]
    {
        std::fs::write(&file, content).unwrap();
        let secret = Secret::File(file.clone());
        assert_eq!(secret.resolve(&env).unwrap().expose(), value, "{content:?}");
    }
}

#[test]
fn a_secret_that_cannot_be_had_names_its_source() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, content).unwrap();
        Secret::File(path)
    };
    let env: Environment = [("EMPTY", "")].into_iter().collect();
    for (secret, text) in [
        (Secret::Env("NOT_SET".to_owned()), "environment variable NOT_SET is not set"),
        (Secret::Env("EMPTY".to_owned()), "environment variable EMPTY is empty"),
        (Secret::File("/nonexistent".into()), "secret file /nonexistent cannot be read"),
        (file("empty", b"\n"), "/empty is empty"),
        (file("binary", b"SECRET\xff"), "/binary cannot be read"),
        (file("large", &[b'S'; 65 * 1024]), "more than 64 KiB"),
    ] {
        let error = secret.resolve(&env).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains(text), "{error}");
        assert!(!error.to_string().contains("SECRET"), "{error}");
    }
}
