package org.speft;

import java.lang.ref.Cleaner;
import java.util.List;
import java.util.function.LongConsumer;
import java.util.function.LongUnaryOperator;

/**
 * A native handle that is destroyed once: when it is closed (or its owner is collected), the last call that runs on it
 * has returned, and nobody has a buffer any more that it has lent.
 *
 * <p>The lock is around the counts alone, never around a call: a callback may close what it was called for, and whoever
 * closes must not wait for a call that waits under the host's own locks.
 */
final class Handle {
    private static final Cleaner CLEANER = Cleaner.create();

    private final String noun;
    private final long address;
    private final List<Kept> callbacks;
    private final LongConsumer retire;
    private final LongConsumer destroy;
    private Cleaner.Cleanable cleanable;
    private boolean closed;
    private boolean ended;
    private int calls;
    private int lent;

    /**
     * @param callbacks those whose exceptions come out of calls on this handle
     * @param retire what is done when it is closed and no call runs any more, while buffers are still lent
     * @param destroy what is done when they have gone, too
     */
    Handle(String noun, long address, List<Kept> callbacks, LongConsumer retire, LongConsumer destroy) {
        this.noun = noun;
        this.address = address;
        this.callbacks = callbacks;
        this.retire = retire;
        this.destroy = destroy;
    }

    List<Kept> callbacks() {
        return callbacks;
    }

    /** Closes it when `owner`, to which neither this nor what it holds may refer, is collected. */
    void follow(Object owner) {
        cleanable = CLEANER.register(owner, this::letGo);
    }

    void close() {
        cleanable.clean();
    }

    synchronized boolean isClosed() {
        return closed;
    }

    /** Destroys it no earlier than `buffer` is collected, on which all its views depend. */
    void lend(Object buffer) {
        synchronized (this) {
            checkOpen();
            ++lent;
        }
        CLEANER.register(buffer, this::giveBack);
    }

    /** Makes one call, at whose end the handle is still there. */
    long call(LongUnaryOperator function) {
        synchronized (this) {
            checkOpen();
            ++calls;
        }
        try {
            return function.applyAsLong(address);
        } finally {
            leave();
        }
    }

    private void checkOpen() {
        if (closed) throw new IllegalStateException("the " + noun + " has been closed");
    }

    private void leave() {
        synchronized (this) {
            if (--calls > 0 || !closed) return;
        }
        end();
    }

    private void letGo() {
        synchronized (this) {
            closed = true;
            if (calls > 0) return;
        }
        end();
    }

    private void giveBack() {
        synchronized (this) {
            if (--lent > 0 || !ended) return;
        }
        destroy.accept(address);
    }

    /** Once: calls and closing end one after the other, and nothing begins after them. */
    private void end() {
        boolean held;
        synchronized (this) {
            ended = true;
            held = lent > 0;
            if (held) ++lent; // so that the last buffer does not destroy it under `retire`
        }
        if (!held) {
            destroy.accept(address);
            return;
        }
        retire.accept(address);
        giveBack();
    }
}
