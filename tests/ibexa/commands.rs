//! Check 25, and others with the program `ezdfs`.

use std::io::Write as _;
use std::time::Duration;

use ezdfs_testkit::IbexaNode;
use ezdfs_testkit::php::{NewBinary, NodeError};
use ezdfs_testkit::servers::ServerKind;
use tokio::task::block_in_place;

use super::site::{Site, name};
use crate::cli::Home;

/// A directory with a configuration of the site.
fn home(site: &Site) -> Home {
    let home = Home::new();
    let password = home.write("password", site.database.password());
    let scheme = match site.kind() {
        ServerKind::Mariadb => "mysql",
        ServerKind::Postgres => "postgres",
    };
    let database = &site.database;
    home.write(
        "ezdfs.toml",
        format!(
            "[metadata_handlers.dfs]\nurl = \"{scheme}://{}@{}:{}/{}\"\n\
             password = {{ file = \"{}\" }}\ntable = \"{}\"\ntls = \"off\"\n\
             [binarydata_handlers.nfs]\nurl = \"file://{}\"\nfsync = false\n",
            database.user(),
            database.host(),
            database.port(),
            database.database(),
            password.display(),
            site.table,
            site.root().display(),
        ),
    );
    home
}

pub(crate) async fn check_01_and_02_with_the_program(site: &Site, php: &dyn IbexaNode) {
    let home = home(site);
    php.create("images/1/a.png", &NewBinary::new(b"by php", "image/png").mtime(1_700_000_000))
        .await
        .unwrap();
    block_in_place(|| {
        let stat = home.stat("images/1/a.png");
        assert_eq!((&stat["size"], &stat["type"]), (&6.into(), &"image/png".into()), "{stat}");
        assert_eq!(stat["name"], name("images/1/a.png"), "{stat}");
        assert_eq!(stat["mtime"], "2023-11-14T22:13:20Z", "{stat}");
        assert_eq!(home.ok(["ls", "-R"]), "images/\nimages/1/\nimages/1/a.png\n");
        home.ok(["get", "images/1/a.png", "copy.png"]);
        assert_eq!(home.read("copy.png"), b"by php");
        home.put("images/1/b.png", "by ezdfs");
    });
    assert_eq!(php.load("images/1/b.png").await.unwrap().size, 8);
    assert_eq!(php.mime_type("images/1/b.png").await.unwrap(), "image/png");
    assert_eq!(php.contents("images/1/b.png").await.unwrap(), b"by ezdfs");
    block_in_place(|| {
        home.ok(["rm", "images/1/a.png"]);
    });
    assert!(matches!(php.load("images/1/a.png").await, Err(NodeError::NotFound)));
    assert!(matches!(php.contents("images/1/a.png").await, Err(NodeError::NotFound)));

    php.soft_delete("images/1/b.png").await.unwrap();
    block_in_place(|| {
        assert!(home.fails(1, ["stat", "images/1/b.png"]).contains("does not exist"));
        assert!(home.fails(1, ["cat", "images/1/b.png"]).contains("does not exist"));
        assert_eq!(home.ok(["ls", "-R", "--files-only"]), "");
    });
}

pub(crate) async fn check_25_a_renamed_file_has_one_name(site: &Site, php: &dyn IbexaNode) {
    let home = home(site);
    let then = 1_700_000_000;
    php.create("images/1/theirs.png", &NewBinary::new(b"theirs", "image/gif").mtime(then))
        .await
        .unwrap();
    site.put("images/1/ours.png", b"ours", "image/gif").await;
    for (file, bytes) in [("theirs.png", b"theirs".as_slice()), ("ours.png", b"ours")] {
        let (from, to) = (format!("images/1/{file}"), format!("original/image/{file}"));
        let before = site.row(&from).await.unwrap();
        block_in_place(|| home.ok(["mv", &from, &to]));

        assert!(!php.exists(&from).await.unwrap());
        assert!(matches!(php.load(&from).await, Err(NodeError::NotFound)));
        assert!(matches!(php.contents(&from).await, Err(NodeError::NotFound)));
        assert_eq!(site.row(&from).await, None);
        assert_eq!(php.load(&to).await.unwrap().mtime, before.base.mtime);
        assert_eq!(php.mime_type(&to).await.unwrap(), "image/gif");
        assert_eq!(php.contents(&to).await.unwrap(), bytes);
        let row = site.row(&to).await.unwrap();
        assert_eq!((&row.base.name, &row.name_trunk), (&name(&to), &name(&to)));
        assert_eq!(row.base.scope, "binaryfile", "by the new name");
        site.assert_absent(&from).await;
        assert_eq!(site.read(&to).await.unwrap(), bytes);
    }

    // Over another one, and a whole directory.
    php.create("original/image/old.png", &NewBinary::new(b"old", "image/png")).await.unwrap();
    block_in_place(|| {
        home.ok(["mv", "original/image/ours.png", "original/image/old.png"]);
        home.ok(["mv", "original/image", "images/moved"]);
    });
    assert_eq!(php.contents("images/moved/old.png").await.unwrap(), b"ours");
    assert_eq!(php.contents("images/moved/theirs.png").await.unwrap(), b"theirs");
    for id in ["images/moved/old.png", "images/moved/theirs.png"] {
        let row = site.row(id).await.unwrap();
        assert_eq!((row.base.name, row.base.scope.as_str()), (name(id), "image"));
        assert!(php.exists(id).await.unwrap());
    }
    for id in ["old.png", "theirs.png", "ours.png"] {
        assert!(!php.exists(&format!("original/image/{id}")).await.unwrap(), "{id}");
    }
}

pub(crate) async fn check_27_a_put_that_is_killed(site: &Site, php: &dyn IbexaNode) {
    let home = home(site);
    for (id, old) in [("images/new.png", None), ("images/old.png", Some(b"old"))] {
        if let Some(old) = old {
            site.put(id, old, "image/png").await;
        }
        let mut putting = home.start(["put", "-", id]);
        block_in_place(|| {
            let stdin = putting.stdin.as_mut().unwrap();
            stdin.write_all(&[b'x'; 1 << 20]).unwrap();
        });
        // Some bytes are staged by now.
        tokio::time::sleep(Duration::from_millis(300)).await;
        block_in_place(|| {
            putting.kill().unwrap();
            putting.wait().unwrap();
        });
        let contents = php.contents(id).await.ok();
        assert_eq!(contents.as_deref(), old.map(|o| o.as_slice()), "{id}");
        assert_eq!(php.exists(id).await.unwrap(), old.is_some(), "{id}");
        match old {
            Some(old) => assert_eq!(site.read(id).await.unwrap(), old),
            None => site.assert_absent(id).await,
        }
    }
}
