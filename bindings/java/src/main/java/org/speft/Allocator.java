package org.speft;

/**
 * Device memory from the host's own pool. Called from any thread that calls into the context; calls back into it get
 * {@link BusyException}.
 */
public interface Allocator {
    /**
     * Gives memory.
     *
     * @param bytes how much
     * @param alignment of the address, a power of 2
     * @param stream the context's stream; 0 on the CPU
     * @return its address; 0 when there is none: the call then throws {@link OutOfMemoryException}, as it does when
     *     this throws, whose exception comes out instead
     */
    long allocate(long bytes, long alignment, long stream);

    /**
     * Takes memory back. Also called while a context or an adapter is destroyed, by {@code close()} or by a cleaner's
     * thread, where what it throws goes to the thread's handler of uncaught exceptions.
     *
     * @param address what {@link #allocate} has given
     * @param bytes how much it was
     * @param stream the context's stream; 0 on the CPU
     */
    void deallocate(long address, long bytes, long stream);
}
