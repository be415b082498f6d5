//! Apache.

use std::process::Command;

use super::{Front, IMAGE, Site, check, example, free_address, program};

#[test]
fn apache_in_front() {
    let Some(apache) = program("apache2") else { return };
    let site = Site::new("");
    let address = free_address();
    let dir = site.home.path();
    let modules = ["mpm_event", "authz_core", "rewrite", "proxy", "proxy_http"]
        .map(|m| format!("LoadModule {m}_module /usr/lib/apache2/modules/mod_{m}.so\n"));
    // The site's own rule stands behind those of the example, as Ibexa's does.
    let conf = format!(
        "{}ServerName site.test\nListen {address}\nPidFile {dir}/pid\nErrorLog {dir}/front.log\n\
         DefaultRuntimeDir {dir}\n\
         <VirtualHost *>\n{}\nRewriteRule ^(/.*)$ http://{}$1 [P,L]\n</VirtualHost>\n",
        modules.concat(),
        site.addressed(&example("apache.conf")),
        site.web,
        dir = dir.display(),
    );
    let conf = site.home.write("apache.conf", conf);
    let mut command = Command::new(apache);
    command.arg("-DFOREGROUND").arg("-f").arg(conf);
    let front = Front::start(&site, &mut command, address);
    check(&front);
    site.ezdfs.stop();
    assert_eq!(front.get(IMAGE, &[]).status, 503, "an error, and not the site's page");
}
