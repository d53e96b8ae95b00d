use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::chown;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};

use tokio::sync::OnceCell;
use url::Url;

use super::database::{Database, NAMES, unique_name};
use super::process::{
    Durability, EXCHANGE, Launch, Server, become_user, blocking, find_program, url_variable,
};
use crate::child::ChildProcess;
use crate::skips::skip;
use crate::wait::free_port;

/// A killed server leaves a piece of shared memory, whose number is in a file of its own.
const RELEASE_SHARED_MEMORY: &str =
    r#"ipcrm -m "$(awk 'NR == 7 { print $2 }' data/postmaster.pid)""#;

/// What a killed test process has left on a server that runs elsewhere.
const DROP_DATABASES: &str = r#"
echo "SELECT format('DROP DATABASE %I WITH (FORCE)', datname) FROM pg_database
      WHERE starts_with(datname, '$NAMES') \gexec" | "$PSQL" --no-psqlrc --dbname "$URL"
"#;

/// A PostgreSQL server.
pub struct Postgres {
    /// Its process.
    pub server: Server,
    admin: Arc<Admin>,
    templates: Mutex<HashMap<String, Arc<OnceCell<String>>>>,
    /// Ends after this, and so drops what was made on a server that runs elsewhere.
    _cleaner: Option<ChildProcess>,
}

impl Postgres {
    /// The server that all tests of this process share: the one that `TEST_POSTGRES_URL` names,
    /// with a user who may create databases, else a child. None, and a note by [`skip`], where
    /// there is none to be had.
    ///
    /// # Panics
    /// When there is one, and it does not answer.
    pub async fn shared() -> Option<&'static Self> {
        static SHARED: OnceCell<Option<Postgres>> = OnceCell::const_new();
        let start = async || match url_variable("TEST_POSTGRES_URL") {
            Some(url) => Self::external(url).await,
            None => Self::start_own(Durability::Fast).await,
        };
        SHARED.get_or_init(start).await.as_ref()
    }

    /// A server for one test alone, which may kill, freeze and restart it; always a child.
    pub async fn start_own(durability: Durability) -> Option<Self> {
        let folders = debian_folders();
        let programs = ["postgres", "initdb", "psql"].map(|name| find_program(&[name], &folders));
        let [Some(program), Some(initdb), Some(psql)] = programs else {
            skip("postgres", "there is no PostgreSQL (postgres, initdb, psql) on the PATH");
            return None;
        };
        let child = ChildProcess::new("postgres", RELEASE_SHARED_MEMORY, &[]);
        let user = unprivileged_user();
        if let Some((uid, gid)) = user {
            chown(child.folder(), Some(uid), Some(gid)).expect("root may");
        }
        let mut command = Command::new(initdb);
        command
            .args("--pgdata=data --username=postgres --auth=trust --encoding=UTF8".split(' '))
            .args(["--locale=C", "--no-sync"])
            .current_dir(child.folder());
        become_user(user, &mut command);
        blocking(move || run(&mut command)).await.expect("initdb works");

        let port = free_port();
        let sync = if durability == Durability::Durable { "on" } else { "off" };
        let settings = [
            ("port", port.to_string().as_str()),
            ("listen_addresses", "127.0.0.1"),
            ("unix_socket_directories", ""),
            ("max_connections", "200"),
            ("shared_buffers", "32MB"),
            // In the folder, and so removed with it.
            ("dynamic_shared_memory_type", "mmap"),
            ("fsync", sync),
            ("full_page_writes", sync),
            ("jit", "off"),
        ]
        .map(|(name, value)| ["-c".to_owned(), format!("{name}={value}")]);
        let arguments = [vec!["-D".into(), "data".into()], settings.concat()].concat();
        let launch = Launch { program, arguments, user, ready: answers };
        let server = Server::start(child, port, launch).await;
        let url = format!("postgres://postgres@{}/postgres", server.addr());
        let url = Url::parse(&url).expect("an address makes a URL");
        Some(Self::new(server, Admin { psql, url }, None))
    }

    async fn external(url: Url) -> Option<Self> {
        let Some(psql) = find_program(&["psql"], &debian_folders()) else {
            skip("postgres", "TEST_POSTGRES_URL is set, but there is no psql on the PATH");
            return None;
        };
        let admin = Admin { psql, url };
        let (server, admin) = blocking(move || {
            admin.execute("SELECT 1").expect("TEST_POSTGRES_URL answers");
            (Server::external(&admin.url, 5432).expect("it has just answered"), admin)
        })
        .await;
        let psql = admin.psql.to_string_lossy();
        let variables = [("PSQL", &*psql), ("URL", admin.url.as_str()), ("NAMES", NAMES.as_str())];
        let cleaner = ChildProcess::new("postgres-cleaner", DROP_DATABASES, &variables);
        Some(Self::new(server, admin, Some(cleaner)))
    }

    fn new(server: Server, admin: Admin, cleaner: Option<ChildProcess>) -> Self {
        Self { server, admin: Arc::new(admin), templates: Mutex::default(), _cleaner: cleaner }
    }

    /// How a client gets to it, and there to the database that administrators use.
    pub fn url(&self) -> &str {
        self.admin.url.as_str()
    }

    /// Runs a statement as the administrator, in the database of a URL.
    ///
    /// # Errors
    /// What the server says against it.
    ///
    /// # Panics
    /// When the URL is none.
    pub async fn execute(&self, url: &str, statement: &str) -> Result<String, String> {
        let (admin, statement) = (Arc::clone(&self.admin), statement.to_owned());
        let url = Url::parse(url).expect("the URL of a database");
        blocking(move || admin.query(&url, &statement)).await
    }

    /// Lets roles in by their password alone, where by default anybody is let in who names one. Not for a shared
    /// server.
    ///
    /// # Panics
    /// When the server cannot be told so.
    pub async fn require_passwords(&self, url: &str) {
        let file = self.execute(url, "SHOW hba_file").await.expect("it has such a file");
        let rules =
            "SELECT unnest(ARRAY['host all postgres all trust', 'host all all all scram-sha-256'])";
        let write = format!("COPY ({rules}) TO '{}'", file.trim());
        self.execute(url, &write).await.expect("the administrator may write files");
        self.execute(url, "SELECT pg_reload_conf()").await.expect("it can be reloaded");
    }

    /// A program that comes with the server's client, such as `pgbench`.
    pub fn program(&self, name: &str) -> PathBuf {
        self.admin.psql.with_file_name(name)
    }

    /// A database for one test, empty.
    pub async fn database(&self) -> Database {
        self.create("template0").await
    }

    /// A database for one test, a copy of the one that `prepare` has made. That is called once for
    /// each name of a `template`, with the URL of an empty database, for example to migrate it.
    pub async fn database_from(
        &self,
        template: &str,
        prepare: impl AsyncFnOnce(String),
    ) -> Database {
        let cell = {
            let mut templates = self.templates.lock().expect("looking up cannot panic");
            Arc::clone(templates.entry(template.to_owned()).or_default())
        };
        let make = async || {
            let (name, url) = self.create_kept("template0").await;
            prepare(url.into()).await;
            // A database can be copied while nobody is in it.
            let (admin, database) = (Arc::clone(&self.admin), name.clone());
            let close = move || {
                admin.execute(&format!("ALTER DATABASE {database} ALLOW_CONNECTIONS false"))?;
                admin.execute(&format!(
                    "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity \
                     WHERE datname = '{database}'"
                ))
            };
            blocking(close).await.expect("a template can be closed");
            name
        };
        self.create(cell.get_or_init(make).await).await
    }

    async fn create(&self, template: &str) -> Database {
        let (name, url) = self.create_kept(template).await;
        let admin = Arc::clone(&self.admin);
        Database::new(url, move || {
            // A server that the test has killed needs no cleaning.
            let _ = admin.execute(&format!("DROP DATABASE {name} WITH (FORCE)"));
        })
    }

    async fn create_kept(&self, template: &str) -> (String, Url) {
        let name = unique_name();
        let mut url = self.admin.url.clone();
        url.set_path(&name);
        let admin = Arc::clone(&self.admin);
        let statement = format!("CREATE DATABASE {name} TEMPLATE {template}");
        blocking(move || admin.execute(&statement)).await.expect("a database can be created");
        (name, url)
    }
}

/// Statements by `psql`, which comes with the server: the tests depend on no client.
struct Admin {
    psql: PathBuf,
    url: Url,
}

impl Admin {
    fn execute(&self, statement: &str) -> Result<(), String> {
        self.query(&self.url, statement).map(drop)
    }

    /// The rows, a line each, the columns separated by `|`.
    fn query(&self, database: &Url, statement: &str) -> Result<String, String> {
        let mut command = Command::new(&self.psql);
        command
            .args(["--no-psqlrc", "--quiet", "--no-align", "--tuples-only", "--no-password"])
            .args(["--set=ON_ERROR_STOP=1", "--command", statement, "--dbname", database.as_str()])
            .env("PGCONNECT_TIMEOUT", EXCHANGE.as_secs().to_string());
        run(&mut command)
    }
}

fn run(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let mut problem = String::from_utf8_lossy(&output.stderr).into_owned();
    let _ = write!(problem, "{}", String::from_utf8_lossy(&output.stdout));
    Err(problem)
}

/// Where Debian keeps the server's programs, the newest version first.
fn debian_folders() -> Vec<PathBuf> {
    let mut versions: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            Some((path.file_name()?.to_str()?.parse().ok()?, path.join("bin")))
        })
        .collect();
    versions.sort_by(|one, other| other.cmp(one));
    versions.into_iter().map(|(_, folder)| folder).collect()
}

/// PostgreSQL refuses to run as root: the user and group that it runs as then.
pub(super) fn unprivileged_user() -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").expect("every system has users");
    ["postgres", "nobody"].iter().find_map(|name| users.lines().find_map(|line| ids_of(line, name)))
}

fn ids_of(line: &str, name: &str) -> Option<(u32, u32)> {
    let mut fields = line.split(':');
    (fields.next()? == name).then_some(())?;
    let mut ids = fields.skip(1).map(|id| id.parse().ok());
    Some((ids.next()??, ids.next()??))
}

/// Opens a session: the server takes connections before it takes statements.
pub(super) fn answers(addr: SocketAddr) -> bool {
    let parameters = b"\0\x03\0\0user\0postgres\0database\0postgres\0\0";
    let length = u32::try_from(parameters.len() + 4).expect("it is short").to_be_bytes();
    let open = || {
        let mut stream = TcpStream::connect_timeout(&addr, EXCHANGE)?;
        stream.set_read_timeout(Some(EXCHANGE))?;
        stream.write_all(&[&length, parameters.as_slice()].concat())?;
        let mut kind = [0];
        stream.read_exact(&mut kind)?;
        Ok::<_, std::io::Error>(kind == *b"R")
    };
    open().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use super::*;
    use crate::{Proxy, wait_until};

    fn query(postgres: &Postgres, url: &str, statement: &str) -> Result<String, String> {
        let rows = postgres.admin.query(&Url::parse(url).unwrap(), statement)?;
        Ok(rows.trim().to_owned())
    }

    #[tokio::test]
    async fn each_test_has_a_database_of_its_own_that_is_dropped() {
        let Some(postgres) = Postgres::shared().await else {
            return;
        };
        let (one, two) = tokio::join!(postgres.database(), postgres.database());
        query(postgres, one.url(), "CREATE TABLE things (id int)").unwrap();
        query(postgres, two.url(), "CREATE TABLE things (id int)").unwrap();
        let url = one.url().to_owned();
        drop(one);
        assert!(query(postgres, &url, "SELECT 1").unwrap_err().contains("does not exist"));
        assert_eq!(query(postgres, two.url(), "SELECT count(*) FROM things").unwrap(), "0");
    }

    #[tokio::test]
    async fn a_template_is_prepared_once_and_copied() {
        let Some(postgres) = Postgres::shared().await else {
            return;
        };
        let prepared = AtomicU32::new(0);
        let copy = || {
            postgres.database_from("numbered", async |url| {
                let nth = prepared.fetch_add(1, Ordering::Relaxed);
                query(postgres, &url, &format!("CREATE TABLE copies AS SELECT {nth} AS nth"))
                    .unwrap();
            })
        };
        let (one, two, three) = tokio::join!(copy(), copy(), copy());
        for database in [&one, &two, &three] {
            assert_eq!(query(postgres, database.url(), "SELECT nth FROM copies").unwrap(), "0");
        }
        query(postgres, one.url(), "DELETE FROM copies").unwrap();
        assert_eq!(query(postgres, two.url(), "SELECT nth FROM copies").unwrap(), "0");
        assert_eq!(prepared.into_inner(), 1);
    }

    #[tokio::test]
    async fn a_template_that_somebody_is_still_in_can_be_copied() {
        let Some(postgres) = Postgres::shared().await else {
            return;
        };
        let database = postgres
            .database_from("occupied", async |url| {
                let mut session = Command::new(&postgres.admin.psql)
                    .args(["--no-psqlrc", "--quiet", "--dbname", &url])
                    .args(["--command", "CREATE TABLE here ()", "--command", "SELECT pg_sleep(60)"])
                    .stderr(std::process::Stdio::null())
                    .spawn()
                    .unwrap();
                let there = "SELECT FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)' \
                             AND datname = current_database()";
                let count = format!("SELECT count(*) FROM ({there}) AS sessions");
                wait_until("the session sleeps", Duration::from_secs(30), async || {
                    query(postgres, &url, &count).unwrap() == "1"
                })
                .await;
                std::thread::spawn(move || session.wait());
            })
            .await;
        query(postgres, database.url(), "SELECT FROM here").unwrap();
    }

    #[tokio::test]
    async fn what_was_confirmed_survives_a_kill() {
        for durability in [Durability::Fast, Durability::Durable] {
            let Some(mut postgres) = Postgres::start_own(durability).await else {
                return;
            };
            let database = postgres.database().await;
            query(&postgres, database.url(), "CREATE TABLE things AS SELECT 7 AS id").unwrap();
            let fsync = if durability == Durability::Durable { "on" } else { "off" };
            assert_eq!(query(&postgres, database.url(), "SHOW fsync").unwrap(), fsync);
            let addr = postgres.server.addr();
            postgres.server.kill();
            assert!(!answers(addr));
            postgres.server.restart().await;
            assert_eq!(query(&postgres, database.url(), "SELECT id FROM things").unwrap(), "7");
        }
    }

    #[tokio::test]
    async fn an_open_session_of_a_frozen_server_waits_until_it_is_thawed() {
        let Some(mut postgres) = Postgres::start_own(Durability::Fast).await else {
            return;
        };
        let mut session = Command::new(&postgres.admin.psql)
            .args(["--no-psqlrc", "--quiet", "--no-align", "--tuples-only"])
            .args(["--dbname", postgres.url()])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = session.stdin.take().unwrap();
        let mut output = session.stdout.take().unwrap();
        writeln!(input, "SELECT 'one';").unwrap();
        let mut answer = [0; 4];
        output.read_exact(&mut answer).unwrap();
        postgres.server.freeze();
        writeln!(input, "SELECT 'two';").unwrap();
        let (heard, hear) = tokio::sync::oneshot::channel();
        let listener = std::thread::spawn(move || {
            output.read_exact(&mut answer).unwrap();
            heard.send(answer).unwrap();
        });
        let mut hear = hear;
        tokio::time::timeout(Duration::from_millis(300), &mut hear).await.unwrap_err();
        postgres.server.thaw();
        assert_eq!(&hear.await.unwrap(), b"two\n");
        drop(input);
        listener.join().unwrap();
        assert!(session.wait().unwrap().success());
    }

    #[tokio::test]
    async fn a_server_that_runs_elsewhere_is_left_clean() {
        let Some(elsewhere) = Postgres::start_own(Durability::Fast).await else {
            return;
        };
        let names = "SELECT datname FROM pg_database WHERE NOT datistemplate ORDER BY 1";
        let postgres = Postgres::external(Url::parse(elsewhere.url()).unwrap()).await.unwrap();
        assert_eq!(postgres.server.addr(), elsewhere.server.addr());
        assert_eq!(postgres.server.pid(), None);
        let forgotten = postgres.database_from("kept", async |_| ()).await;
        std::mem::forget(forgotten);
        let databases = query(&elsewhere, elsewhere.url(), names).unwrap();
        assert_eq!(databases.lines().count(), 3, "{databases}");
        drop(postgres);
        assert_eq!(query(&elsewhere, elsewhere.url(), names).unwrap(), "postgres");
    }

    #[tokio::test]
    async fn a_url_leads_through_a_proxy() {
        let Some(postgres) = Postgres::shared().await else {
            return;
        };
        let database = postgres.database().await;
        let proxy = Proxy::start(postgres.server.addr());
        let url = proxy.url(database.url());
        assert_eq!(query(postgres, &url, "SELECT 1").unwrap(), "1");
        proxy.cut().await;
        query(postgres, &url, "SELECT 1").unwrap_err();
        proxy.heal().await;
        assert_eq!(query(postgres, &url, "SELECT 1").unwrap(), "1");
    }

    #[test]
    fn the_ids_of_a_user_are_read() {
        let line = "postgres:x:112:119:PostgreSQL,,,:/var/lib/postgresql:/bin/bash";
        assert_eq!(ids_of(line, "postgres"), Some((112, 119)));
        assert_eq!(ids_of(line, "post"), None);
    }
}
