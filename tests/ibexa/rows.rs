//! Checks 1 to 8: what a row says.

use ezdfs_core::{Clock as _, ErrorKind, SystemClock};
use ezdfs_testkit::php::{LoadedBinary, NewBinary, NodeError};
use ezdfs_testkit::{IbexaNode, PhpNode};

use super::site::{PREFIX, Site, name, path, put, writer};

pub(crate) async fn check_01_php_creates_and_ezdfs_reads(site: &Site, php: &dyn IbexaNode) {
    let id = "images/1/2/3/605-1-eng-GB/a.png";
    php.create(id, &NewBinary::new(b"bytes of PHP", "image/png")).await.unwrap();
    let loaded = php.load(id).await.unwrap();

    let meta = site.files.load(&path(id)).await.unwrap();
    assert_eq!((meta.size, meta.mtime.secs()), (loaded.size, loaded.mtime));
    assert_eq!(meta.datatype, "image/png");
    assert_eq!(site.read(id).await.unwrap(), b"bytes of PHP");
    let parents = ["1/", "1/2/", "1/2/3/", "1/2/3/605-1-eng-GB/", "1/2/3/605-1-eng-GB/a.png"];
    assert_eq!(site.list("images").await, parents.map(|p| format!("images/{p}")));

    // A size that is not the bytes': PHP's readers get them all the same, ezdfs answers with an
    // error until row and bytes agree.
    let wrong = NewBinary::new(b"short", "image/png").size(6);
    php.create("images/wrong.png", &wrong).await.unwrap();
    assert_eq!(php.contents("images/wrong.png").await.unwrap(), b"short");
    assert_eq!(site.files.load(&path("images/wrong.png")).await.unwrap().size, 6);
    assert_eq!(site.read("images/wrong.png").await.unwrap_err().kind(), ErrorKind::Busy);
    assert_eq!(site.read_settled("images/wrong.png").await, b"short");
    assert_eq!(php.load("images/wrong.png").await.unwrap().size, 5, "PHP gains by it");
}

pub(crate) async fn check_02_ezdfs_creates_and_php_reads(site: &Site, php: &dyn IbexaNode) {
    let id = "images/4/5/b.jpg";
    // More than one piece on the way, and not text.
    let bytes: Vec<u8> = (0..700_000_u32).flat_map(u32::to_le_bytes).collect();
    let published = site.put(id, &bytes, "image/jpeg").await;

    assert!(php.exists(id).await.unwrap());
    let expected = LoadedBinary { size: published.size, mtime: published.mtime.base_mtime() };
    assert_eq!(php.load(id).await.unwrap(), expected);
    assert_eq!(php.mime_type(id).await.unwrap(), "image/jpeg");
    assert_eq!(php.contents(id).await.unwrap(), bytes);
    // The URI that Ibexa makes of the id.
    let answer = site.get(id).await;
    assert_eq!((answer.status, &answer.body), (200, &bytes));
    assert_eq!(answer.header("content-type"), Some("image/jpeg"));
}

pub(crate) async fn check_03_every_column_of_a_row_of_ezdfs(site: &Site, php: &dyn IbexaNode) {
    let id = "images/1/c.png";
    let before = SystemClock.now().secs();
    site.put(id, b"12345", "image/png").await;
    let row = site.row(id).await.expect("under the lowercase hex md5 of its name");
    let base = &row.base;
    assert_eq!(base.name, "var/site/storage/images/1/c.png");
    assert_eq!(row.name_trunk, base.name);
    assert_eq!((base.datatype.as_str(), base.scope.as_str()), ("image/png", "image"));
    assert_eq!((base.size, base.expired, row.status), (5, false, false));
    assert!((0..=2).contains(&(base.mtime - before)), "{} is not now, {before}", base.mtime);

    // Column by column as a row of PHP.
    let theirs = NewBinary::new(b"12345", "image/png").mtime(base.mtime);
    php.create("images/1/d.png", &theirs).await.unwrap();
    let mut expected = site.row("images/1/d.png").await.unwrap();
    expected.base.name = name(id);
    expected.name_trunk = name(id);
    assert_eq!(row, expected);
}

pub(crate) async fn check_04_scopes(site: &Site, php: &dyn IbexaNode) {
    for (id, scope) in [
        ("images/a", "image"),
        ("original/image/a", "binaryfile"),
        ("images-versioned/a", "UNKNOWN_SCOPE"),
        ("other/a", "UNKNOWN_SCOPE"),
    ] {
        site.put(id, b"x", "a/b").await;
        assert_eq!(site.row(id).await.unwrap().base.scope, scope, "{id}");
        let theirs = format!("{id}-of-php");
        php.create(&theirs, &NewBinary::new(b"x", "a/b")).await.unwrap();
        assert_eq!(site.row(&theirs).await.unwrap().base.scope, scope, "{theirs}");
    }
}

/// Another installation in the same database keeps its table to itself.
pub(crate) async fn check_05_only_the_configured_table_is_used(site: &Site, php: &dyn IbexaNode) {
    use ezdfs_testkit::servers::BaseTable;

    let other = if site.table == "ezdfsfile" { "ibexa_dfs_file" } else { "ezdfsfile" };
    site.database.create_base_table(BaseTable::Ibexa, other);
    let other = PhpNode::new(writer(&site.database, other).await, site.root(), PREFIX);

    site.put("images/ours", b"ours", "a/b").await;
    php.create("images/theirs", &NewBinary::new(b"theirs", "a/b")).await.unwrap();
    other.write_row("images/elsewhere", &NewBinary::new(b"x", "a/b")).await.unwrap();
    for id in ["images/ours", "images/theirs"] {
        assert!(site.row(id).await.is_some(), "{id}");
        assert!(!other.exists(id).await.unwrap(), "{id}");
    }
    site.assert_absent("images/elsewhere").await;
}

pub(crate) async fn check_06_outer_slashes_of_prefix_and_id(site: &Site, php: &PhpNode) {
    let slashed = format!("/{PREFIX}/");
    let files = site.ezdfs(&slashed).await;
    put(&files, "images/ours", b"ours", "a/b").await.unwrap();
    assert_eq!(site.row("images/ours").await.unwrap().base.name, "var/site/storage/images/ours");
    assert_eq!(php.contents("images/ours").await.unwrap(), b"ours");

    let theirs = PhpNode::new(site.rows.clone(), site.root(), &slashed);
    theirs.create("/images/theirs/", &NewBinary::new(b"theirs", "a/b")).await.unwrap();
    let row = site.row("images/theirs").await.unwrap();
    assert_eq!(row.base.name, "var/site/storage/images/theirs");
    assert_eq!(site.read("images/theirs").await.unwrap(), b"theirs");
    assert!(files.exists(&path("images/theirs")).await.unwrap());

    // ezdfs trims no id.
    for id in ["/images/x", "images/x/", "images//x"] {
        let kind = id.parse::<ezdfs_core::FilePath>().unwrap_err().kind();
        assert_eq!(kind, ErrorKind::InvalidPath, "{id}");
    }
}

const AWKWARD: [&str; 9] = [
    "images/it's.png",
    "images/a b.png",
    "images/100%.png",
    "images/a%20b.png",
    "images/a_b.png",
    "images/\"double\".png",
    "images/\u{fc}ber/\u{1f418}.png",
    "images/u\u{308}ber/e\u{301}.png",
    "images/-rf; DROP TABLE ezdfsfile; --",
];

pub(crate) async fn check_07_awkward_names(site: &Site, php: &dyn IbexaNode) {
    for id in AWKWARD {
        php.create(id, &NewBinary::new(id.as_bytes(), "image/png").mtime(1_700_000_000))
            .await
            .unwrap();
        let theirs = site.row(id).await.expect("under the hash of its name");
        assert_eq!(theirs.base.name, name(id));
        assert_eq!(site.read(id).await.unwrap(), id.as_bytes(), "{id}");
        assert!(site.list("images").await.iter().any(|p| p == id), "{id}");

        php.delete(id).await.unwrap();
        site.put(id, b"ours", "image/png").await;
        let ours = site.row(id).await.expect("under the hash of its name");
        assert_eq!((&ours.base.name, &ours.name_trunk), (&theirs.base.name, &theirs.name_trunk));
        assert_eq!(php.load(id).await.unwrap().size, 4, "{id}");
        assert_eq!(php.contents(id).await.unwrap(), b"ours", "{id}");
    }
}

/// Deviation: ezdfs stores the bytes under the literal name.
pub(crate) async fn check_07_a_backslash_is_a_slash_in_the_bytes_of_php(
    site: &Site,
    php: &PhpNode,
) {
    let (theirs, ours) = (r"images/php\a.png", r"images/ezdfs\a.png");
    php.create(theirs, &NewBinary::new(b"theirs", "image/png")).await.unwrap();
    site.put(ours, b"ours", "image/png").await;

    for id in [theirs, ours] {
        assert_eq!(site.row(id).await.unwrap().base.name, name(id), "the row is literal");
        assert!(php.exists(id).await.unwrap(), "{id}");
        assert!(site.files.exists(&path(id)).await.unwrap(), "{id}");
        assert!(site.list("images").await.iter().any(|p| p == id), "{id}");
    }
    assert_eq!(std::fs::read(site.file("images/php/a.png")).unwrap(), b"theirs");
    assert_eq!(std::fs::read(site.file(r"images/ezdfs\a.png")).unwrap(), b"ours");
    // Neither finds the other's bytes, and neither takes others for them.
    assert_eq!(site.read(theirs).await.unwrap_err().kind(), ErrorKind::MissingBytes);
    assert!(matches!(php.contents(ours).await, Err(NodeError::NotFound)));
    site.assert_absent("images/php/a.png").await;
}

pub(crate) async fn check_08_twins_by_case(site: &Site, php: &dyn IbexaNode) {
    php.create("images/A.png", &NewBinary::new(b"upper", "image/png")).await.unwrap();
    site.put("images/a.png", b"lower", "image/png").await;
    assert_eq!(site.list("images").await, ["images/A.png", "images/a.png"]);
    for (id, bytes) in [("images/A.png", b"upper"), ("images/a.png", b"lower")] {
        assert_eq!(site.read(id).await.unwrap(), bytes, "{id}");
        assert_eq!(php.contents(id).await.unwrap(), bytes, "{id}");
        let answer = site.get(id).await;
        assert_eq!((answer.status, answer.body.as_slice()), (200, bytes.as_slice()), "{id}");
    }
}
