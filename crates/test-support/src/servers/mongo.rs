use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;

use bson::{RawDocument, RawDocumentBuf, rawdoc};
use tokio::sync::OnceCell;
use url::Url;

use super::database::{Database, unique_name};
use super::process::{EXCHANGE, Launch, Server, blocking, find_program, url_variable, words};
use crate::child::ChildProcess;
use crate::skips::{lack, skip};
use crate::variables::variable;
use crate::wait::free_port;

/// What the stand-in must have been built from: its script writes the same next to it.
const STAND_IN_SOURCES: &str = concat!(
    include_str!("../../mongo-java-server/pom.xml"),
    include_str!("../../mongo-java-server/DurableMongoServer.java")
);

/// A MongoDB server, or the stand-in of the README.
pub struct MongoDb {
    /// Its process.
    pub server: Server,
    url: Url,
}

impl MongoDb {
    /// The server that all tests of this process share: the one that `TEST_MONGO_URL` names, which
    /// asks for no password, else a child. None, and a note by [`skip`], where there is none to be
    /// had.
    ///
    /// # Panics
    /// When there is one, and it does not answer.
    pub async fn shared() -> Option<&'static Self> {
        static SHARED: OnceCell<Option<MongoDb>> = OnceCell::const_new();
        let start = async || match url_variable("TEST_MONGO_URL") {
            Some(url) => Some(Self::external(url).await),
            None => Self::start_own().await,
        };
        SHARED.get_or_init(start).await.as_ref()
    }

    /// The shared server if it is MongoDB's own, for what the stand-in cannot show. None, and a note by
    /// [`lack`], where it is the stand-in.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn genuine() -> Option<&'static Self> {
        let mongo = Self::shared().await?;
        let addr = mongo.server.addr();
        let about = blocking(move || command(addr, &rawdoc! { "buildInfo": 1, "$db": "admin" }));
        let about = about.await.expect("MongoDB tells what it is");
        if about.get_array("storageEngines").is_err() {
            lack(
                "mongodb-itself",
                "the stand-in has no profiler and no expiry; set TEST_MONGO_URL",
            );
            return None;
        }
        Some(mongo)
    }

    /// A server for one test alone, which may kill, freeze and restart it; always a child. What it
    /// has confirmed survives a kill.
    pub async fn start_own() -> Option<Self> {
        let port = free_port();
        let launch = match find_program(&["mongod"], &[]) {
            Some(program) => mongod(program, port),
            None => match stand_in(port) {
                Ok(launch) => launch,
                Err(reason) => {
                    skip("mongodb", &format!("there is no mongod on the PATH, and {reason}"));
                    return None;
                }
            },
        };
        let server = Server::start(ChildProcess::new("mongodb", "", &[]), port, launch).await;
        let url = format!("mongodb://{}/?directConnection=true", server.addr());
        Some(Self { server, url: Url::parse(&url).expect("an address makes a URL") })
    }

    async fn external(url: Url) -> Self {
        blocking(move || {
            let server = Server::external(&url, 27017)
                .and_then(|server| command(server.addr(), &ping()).map(|_| server))
                .unwrap_or_else(|error| panic!("TEST_MONGO_URL does not answer: {error}"));
            Self { server, url }
        })
        .await
    }

    /// How a client gets to it.
    pub fn url(&self) -> &str {
        self.url.as_str()
    }

    /// A database for one test, empty. It is the default one of the URL.
    pub fn database(&self) -> Database {
        let name = unique_name();
        let mut url = self.url.clone();
        url.set_path(&name);
        let addr = self.server.addr();
        Database::new(url, move || {
            // A server that the test has killed needs no cleaning.
            let _ = command(addr, &rawdoc! { "dropDatabase": 1, "$db": name });
        })
    }
}

/// A replica set of one member, since transactions and change streams need a set.
fn mongod(program: PathBuf, port: u16) -> Launch {
    let arguments = format!("--bind_ip 127.0.0.1 --port {port} --replSet test --dbpath .");
    Launch { program, arguments: words(&arguments), user: None, ready: is_primary }
}

fn stand_in(port: u16) -> Result<Launch, String> {
    let program = find_program(&["java"], &[]).ok_or("no java for the stand-in")?;
    let folder = variable("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(variable("HOME")?).join(".cache")))
        .ok_or("no HOME where the stand-in could be")?
        .join("mongo-java-server");
    let sources = std::fs::read_to_string(folder.join("built-from")).unwrap_or_default();
    if sources != STAND_IN_SOURCES {
        return Err("crates/test-support/mongo-java-server/build has not built the stand-in".into());
    }
    let class_path = format!("{0}/classes:{0}/lib/*", folder.display());
    // Quick to start, small, and without the file that a JVM keeps in /tmp.
    let machine = "-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:-UsePerfData -Xmx256m";
    let server = format!("DurableMongoServer 127.0.0.1 {port} data");
    let arguments = [words(machine), vec!["-cp".into(), class_path], words(&server)].concat();
    Ok(Launch { program, arguments, user: None, ready: is_primary })
}

fn ping() -> RawDocumentBuf {
    rawdoc! { "ping": 1, "$db": "admin" }
}

/// Whether it takes writes. A set that has not been set up is, on the way.
fn is_primary(addr: SocketAddr) -> bool {
    let Ok(state) = command(addr, &rawdoc! { "isMaster": 1, "$db": "admin" }) else {
        return false;
    };
    if state.get_bool("isreplicaset").is_ok_and(|not_set_up| not_set_up) {
        let members =
            rawdoc! { "_id": "test", "members": [{ "_id": 0, "host": addr.to_string() }] };
        let _ = command(addr, &rawdoc! { "replSetInitiate": members, "$db": "admin" });
        return false;
    }
    state.get_bool("ismaster").is_ok_and(|primary| primary)
}

/// As much of the protocol (one `OP_MSG` of one document each way) as this file needs, so that the
/// tests depend on no client. An answer that is not `ok` is an error.
fn command(addr: SocketAddr, document: &RawDocument) -> io::Result<RawDocumentBuf> {
    const HEADER_BYTES: usize = 16;
    const OP_MSG: i32 = 2013;
    // No flags, and a section of the kind that is one document.
    const BEFORE_DOCUMENT: [u8; 5] = [0; 5];

    let body = document.as_bytes();
    let length = HEADER_BYTES + BEFORE_DOCUMENT.len() + body.len();
    let header = [i32::try_from(length).map_err(io::Error::other)?, 1, 0, OP_MSG];
    let mut message: Vec<u8> = header.iter().flat_map(|field| field.to_le_bytes()).collect();
    message.extend(BEFORE_DOCUMENT);
    message.extend(body);

    let mut stream = TcpStream::connect_timeout(&addr, EXCHANGE)?;
    stream.set_read_timeout(Some(EXCHANGE))?;
    stream.write_all(&message)?;
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let rest = u64::from(u32::from_le_bytes(length)).saturating_sub(4);
    let mut answer = Vec::new();
    stream.take(rest).read_to_end(&mut answer)?;
    let start = HEADER_BYTES - 4 + BEFORE_DOCUMENT.len();
    let document = answer.get(start..).ok_or(io::ErrorKind::UnexpectedEof)?;
    let document = RawDocumentBuf::from_bytes(document.to_vec()).map_err(io::Error::other)?;
    let ok = document.get("ok").ok().flatten();
    if ok.is_some_and(|ok| ok.as_f64() == Some(1.0) || ok.as_i32() == Some(1)) {
        return Ok(document);
    }
    Err(io::Error::other(format!("MongoDB answered {document:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name_of(database: &Database) -> String {
        Url::parse(database.url()).unwrap().path().trim_start_matches('/').to_owned()
    }

    fn insert(addr: SocketAddr, database: &str, key: i32) -> RawDocumentBuf {
        let insert = rawdoc! { "insert": "things", "documents": [{ "key": key }], "$db": database };
        command(addr, &insert).unwrap()
    }

    fn count(addr: SocketAddr, database: &str) -> i32 {
        let answer = command(addr, &rawdoc! { "count": "things", "$db": database }).unwrap();
        answer.get_i32("n").unwrap()
    }

    #[tokio::test]
    async fn each_test_has_a_database_of_its_own_that_is_dropped() {
        let Some(mongo) = MongoDb::shared().await else {
            return;
        };
        let addr = mongo.server.addr();
        let (one, two) = (mongo.database(), mongo.database());
        let (first, second) = (name_of(&one), name_of(&two));
        insert(addr, &first, 1);
        insert(addr, &second, 1);
        drop(one);
        assert_eq!((count(addr, &first), count(addr, &second)), (0, 1));
    }

    #[tokio::test]
    async fn what_was_confirmed_survives_a_kill() {
        let Some(mut mongo) = MongoDb::start_own().await else {
            return;
        };
        let addr = mongo.server.addr();
        let index = rawdoc! {
            "createIndexes": "things",
            "indexes": [{ "key": { "key": 1 }, "name": "key", "unique": true }],
            "$db": "kept",
        };
        command(addr, &index).unwrap();
        for key in 0..600 {
            insert(addr, "kept", key);
        }
        mongo.server.kill();
        command(addr, &ping()).unwrap_err();
        mongo.server.restart().await;
        assert_eq!(mongo.server.addr(), addr);
        assert_eq!(count(addr, "kept"), 600);
        let refused = insert(addr, "kept", 599);
        assert!(refused.get_array("writeErrors").is_ok(), "{refused:?}");
    }

    #[tokio::test]
    async fn the_stand_in_is_not_taken_for_mongodb_itself() {
        let is_genuine = MongoDb::genuine().await.is_some();
        let has_one =
            variable("TEST_MONGO_URL").is_some() || find_program(&["mongod"], &[]).is_some();
        assert_eq!(is_genuine, has_one);
    }

    #[tokio::test]
    async fn a_server_that_runs_elsewhere_is_used() {
        let Some(elsewhere) = MongoDb::start_own().await else {
            return;
        };
        let mongo = MongoDb::external(Url::parse(elsewhere.url()).unwrap()).await;
        assert_eq!(mongo.server.addr(), elsewhere.server.addr());
        assert_eq!(mongo.server.pid(), None);
        assert!(mongo.database().url().ends_with("?directConnection=true"));
    }
}
