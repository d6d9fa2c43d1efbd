package org.speft;

/** What a callback has thrown, kept for the caller: an exception cannot pass through the library. */
abstract class Kept {
    private Throwable thrown;
    private Thread thread;

    final synchronized void keep(Throwable failure) {
        if (thrown != null) {
            if (thrown != failure) thrown.addSuppressed(failure);
            return;
        }
        thrown = failure;
        thread = Thread.currentThread();
    }

    /** Throws what was kept in a call of this thread's. What another's kept, while ours got BUSY, is not ours. */
    final void rethrow() {
        Throwable failure;
        synchronized (this) {
            if (thrown == null || thread != Thread.currentThread()) return;
            failure = thrown;
            thrown = null;
            thread = null;
        }
        throw Kept.<RuntimeException>unchecked(failure);
    }

    /** Any exception as it is: a writer's IOException is declared where it can come out. */
    @SuppressWarnings("unchecked")
    private static <T extends Throwable> T unchecked(Throwable failure) throws T {
        throw (T) failure;
    }
}
