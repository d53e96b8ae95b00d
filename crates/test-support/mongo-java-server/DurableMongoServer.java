import de.bwaldvogel.mongo.MongoServer;
import de.bwaldvogel.mongo.MongoVersion;
import de.bwaldvogel.mongo.backend.QueryResult;
import de.bwaldvogel.mongo.backend.h2.H2Backend;
import de.bwaldvogel.mongo.bson.Document;
import de.bwaldvogel.mongo.wire.message.MongoMessage;
import de.bwaldvogel.mongo.wire.message.MongoQuery;
import java.util.List;
import java.util.concurrent.locks.ReadWriteLock;
import java.util.concurrent.locks.ReentrantReadWriteLock;
import java.util.function.Supplier;
import org.h2.mvstore.MVStore;

/**
 * MongoDB's wire protocol over one H2 file: {@code DurableMongoServer HOST PORT FILE}.
 *
 * <p>Prints {@code listening on HOST:PORT} when it accepts connections. What it has answered is in the
 * file: it may be killed at any time and comes up again with its data.
 */
public final class DurableMongoServer {
    /** The least that today's drivers talk to; the backend's own answer is too old for them. */
    private static final MongoVersion VERSION =
            new MongoVersion() {
                @Override
                public List<Integer> getVersionArray() {
                    return List.of(5, 0, 0);
                }

                @Override
                public int getWireVersion() {
                    return 13;
                }
            };

    private DurableMongoServer() {}

    public static void main(String[] arguments) {
        // H2 would commit once a second by itself, and so could save half of an operation.
        MVStore store = new MVStore.Builder().fileName(arguments[2]).autoCommitDisabled().open();
        // Space is reused at once. Waiting guards against a power failure, which is no concern here.
        store.setRetentionTime(0);
        MongoServer server = new MongoServer(new CommittingBackend(store).version(VERSION));
        Runtime.getRuntime().addShutdownHook(new Thread(server::shutdownNow));
        server.bind(arguments[0], Integer.parseInt(arguments[1]));
        System.out.println(
                "listening on " + arguments[0] + ":" + server.getLocalAddress().getPort());
    }

    /** Commits before it answers. Operations run side by side; a commit waits for them and runs alone. */
    private static final class CommittingBackend extends H2Backend {
        /** A file that nobody compacts grows by some 20 KiB an insert. */
        private static final int COMMITS_BETWEEN_COMPACTIONS = 500;

        private final ReadWriteLock lock = new ReentrantReadWriteLock(true);
        private int commits;

        CommittingBackend(MVStore store) {
            super(store);
        }

        @Override
        public Document handleMessage(MongoMessage message) {
            return committed(() -> super.handleMessage(message));
        }

        @Override
        public QueryResult handleQuery(MongoQuery query) {
            return committed(() -> super.handleQuery(query));
        }

        private <T> T committed(Supplier<T> operation) {
            try {
                lock.readLock().lock();
                try {
                    return operation.get();
                } finally {
                    lock.readLock().unlock();
                }
            } finally {
                // Also after an error: the documents before a duplicate stay inserted.
                commit();
            }
        }

        /** One commit saves what every operation before it has done: the next find nothing to do. */
        @Override
        public void commit() {
            lock.writeLock().lock();
            try {
                if (getMvStore().hasUnsavedChanges()) {
                    super.commit();
                    if (++commits % COMMITS_BETWEEN_COMPACTIONS == 0) {
                        getMvStore().compact(60, 4 << 20);
                    }
                }
            } finally {
                lock.writeLock().unlock();
            }
        }
    }
}
