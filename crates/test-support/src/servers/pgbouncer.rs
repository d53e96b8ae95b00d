use std::fs;
use std::os::unix::fs::chown;
use std::path::PathBuf;

use url::Url;

use super::postgres::{Postgres, answers, unprivileged_user};
use super::process::{Launch, Server, find_program};
use crate::child::ChildProcess;
use crate::skips::skip;
use crate::wait::free_port;

/// PgBouncer in transaction mode: it lends one of two sessions of the server for each transaction.
pub struct PgBouncer {
    /// Its process.
    pub server: Server,
}

impl PgBouncer {
    /// Starts one before that server, with further `settings`. None, and a note by [`skip`], where there is none to be
    /// had.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn start(postgres: &Postgres, settings: &[(&str, &str)]) -> Option<Self> {
        let Some(program) = find_program(&["pgbouncer"], &[PathBuf::from("/usr/sbin")]) else {
            skip("pgbouncer", "there is no pgbouncer on the PATH or in /usr/sbin");
            return None;
        };
        let (port, server) = (free_port(), postgres.server.addr());
        let admin = Url::parse(postgres.url()).expect("it is one");
        let mut database =
            format!("* = host={} port={} user={}", server.ip(), server.port(), admin.username());
        if let Some(password) = admin.password() {
            database = format!("{database} password={password}");
        }
        let mut file = format!(
            "[databases]\n{database}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir =\nauth_type = any\npool_mode = transaction\ndefault_pool_size = 2\n"
        );
        for (name, value) in settings {
            file = format!("{file}{name} = {value}\n");
        }
        let child = ChildProcess::new("pgbouncer", "", &[]);
        let path = child.folder().join("pgbouncer.ini");
        fs::write(&path, file).expect("the folder can be written to");
        // It refuses to run as root, as PostgreSQL does.
        let user = unprivileged_user();
        if let Some((uid, gid)) = user {
            for owned in [child.folder(), &path] {
                chown(owned, Some(uid), Some(gid)).expect("root may");
            }
        }
        let arguments = vec!["pgbouncer.ini".to_owned()];
        let launch = Launch { program, arguments, user, ready: answers };
        Some(Self { server: Server::start(child, port, launch).await })
    }

    /// The way through it to a database of the server.
    ///
    /// # Panics
    /// When that is no URL.
    pub fn url(&self, database: &str) -> String {
        let mut url = Url::parse(database).expect("the URL of a database");
        url.set_ip_host(self.server.addr().ip()).expect("a host can be set");
        url.set_port(Some(self.server.addr().port())).expect("a port can be set");
        url.into()
    }
}
