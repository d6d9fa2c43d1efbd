package org.speft;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Executor;
import org.speft.internal.Capi;
import org.speft.internal.Memory;
import org.speft.internal.speft_allocator;
import org.speft.internal.speft_context_options;
import org.speft.internal.speft_logger;
import org.speft.internal.speft_parallel_for;

/**
 * One device, one stream, its threads. Adapters and bases live in one, and keep what they need of it.
 *
 * <p>A context, its adapters and its bases may be used from any thread, one call at a time; a call that meets another
 * throws {@link BusyException} and does nothing. Different contexts run side by side. Closing is legal from any thread
 * at any time: a call that runs ends first. Afterwards every method throws {@link IllegalStateException}. What is not
 * closed is let go of when it is collected.
 */
public final class Context extends Owner implements AutoCloseable {
    private final Handle handle;

    private Context(Handle handle) {
        this.handle = handle;
        handle.follow(this);
    }

    /**
     * A context on the best backend of this machine, with its own threads.
     *
     * @return to be closed
     * @throws UnavailableException no backend, or no native library; the message has every attempt and its reason
     */
    public static Context open() {
        return builder().open();
    }

    /**
     * A context on a backend.
     *
     * @param backend {@code "cpu"}, {@code "cuda"} or {@code "auto"}
     * @return to be closed
     * @throws UnavailableException it cannot run here; the message has every attempt and its reason
     */
    public static Context open(String backend) {
        return builder().backend(backend).open();
    }

    /**
     * To choose more.
     *
     * @return a builder with the defaults
     */
    public static Builder builder() {
        return new Builder();
    }

    /** Chooses what a context has. */
    public static final class Builder {
        private String backend = "auto";
        private int threads;
        private int device;
        private long stream;
        private Path backendPath;
        private Logger logger;
        private LogLevel logLevel = LogLevel.INFO;
        private Executor executor;
        private int executorThreads;
        private Allocator allocator;

        private Builder() {}

        /**
         * The backend.
         *
         * @param name {@code "cpu"}, {@code "cuda"}, or {@code "auto"} for the best one on this machine
         * @return this
         */
        public Builder backend(String name) {
            Tensor.requireNonNull("backend", name);
            backend = name;
            return this;
        }

        /**
         * CPU threads. Answers do not depend on it.
         *
         * @param count 0 for as many as the process may run on
         * @return this
         */
        public Builder threads(int count) {
            threads = count;
            return this;
        }

        /**
         * Which device of the backend.
         *
         * @param number from 0
         * @return this
         */
        public Builder device(int number) {
            device = number;
            return this;
        }

        /**
         * The CUDA stream. Anything but 0 is {@link UnsupportedException} on the CPU.
         *
         * @param address of the stream; 0 for the default one
         * @return this
         */
        public Builder stream(long address) {
            stream = address;
            return this;
        }

        /**
         * A folder to look for backends in first.
         *
         * @param folder before the environment's SPEFT_BACKEND_PATH and the folder of libspeft
         * @return this
         */
        public Builder backendPath(Path folder) {
            backendPath = folder;
            return this;
        }

        /**
         * Who gets messages.
         *
         * @param target called on the thread of the call
         * @param level the least that it gets
         * @return this
         */
        public Builder logger(Logger target, LogLevel level) {
            Tensor.requireNonNull("logger", target);
            Tensor.requireNonNull("level", level);
            logger = target;
            logLevel = level;
            return this;
        }

        /**
         * Threads of the host's in place of the library's own. The calling thread works too, and does what the executor
         * refuses or has no thread for.
         *
         * @param target runs tasks of the length of one operation
         * @param threads how many run at once, the calling one included
         * @return this
         */
        public Builder parallelFor(Executor target, int threads) {
            Tensor.requireNonNull("executor", target);
            if (threads < 1) throw new InvalidArgumentException("threads must be at least 1, got " + threads);
            executor = target;
            executorThreads = threads;
            return this;
        }

        /**
         * Memory from a pool of the host's.
         *
         * @param pool in use until the context and its adapters are gone
         * @return this
         */
        public Builder allocator(Allocator pool) {
            Tensor.requireNonNull("allocator", pool);
            allocator = pool;
            return this;
        }

        /**
         * Makes the context.
         *
         * @return to be closed
         * @throws UnavailableException no such backend can run here, or the native library is not there; the message
         *     has every attempt and its reason
         */
        public Context open() {
            List<Kept> callbacks = new ArrayList<>();
            List<Long> references = new ArrayList<>();
            long made = 0;
            boolean kept = false;
            try (Arena arena = new Arena()) {
                speft_context_options options = toNative(arena, callbacks, references);
                long[] address = new long[1];
                try {
                    arena.call(() -> address[0] = Capi.speft_create_context(options), callbacks);
                } finally {
                    made = address[0];
                }
                kept = true;
            } finally {
                if (!kept) undo(made, references);
            }
            return new Context(new Handle("context", made, callbacks, address -> {}, Capi::speft_destroy_context));
        }

        /** A context that was made owns the references: destroying it releases them. */
        private static void undo(long made, List<Long> references) {
            if (made != 0) Capi.speft_destroy_context(made);
            else references.forEach(Capi::delete_reference);
        }

        private speft_context_options toNative(Arena arena, List<Kept> callbacks, List<Long> references) {
            speft_context_options options = arena.own(new speft_context_options());
            options.setBackend(arena.string("backend", backend));
            options.setThreads(threads);
            options.setDevice(device);
            options.setStream(stream);
            options.setBackend_path(arena.string("backendPath", backendPath == null ? null : backendPath.toString()));
            if (logger != null) {
                speft_logger struct = arena.own(new speft_logger());
                struct.setLevel(logLevel.code);
                struct.aim(keep(new Callbacks.Logging(logger), callbacks, references));
                options.setLogger(struct);
            }
            if (executor != null) {
                speft_parallel_for struct = arena.own(new speft_parallel_for());
                struct.setThreads(executorThreads);
                struct.aim(keep(new Callbacks.Looping(executor, executorThreads), callbacks, references));
                options.setParallel_for(struct);
            }
            if (allocator != null) {
                speft_allocator struct = arena.own(new speft_allocator());
                struct.aim(keep(new Callbacks.Allocating(allocator), callbacks, references));
                options.setAllocator(struct);
            }
            return options;
        }

        private static long keep(Kept callback, List<Kept> callbacks, List<Long> references) {
            long reference = Capi.keep_reference(callback);
            callbacks.add(callback);
            references.add(reference);
            return reference;
        }
    }

    /**
     * The backend that runs here.
     *
     * @return its name
     */
    public String backend() {
        try (Arena arena = new Arena()) {
            String[] name = new String[1];
            arena.call(this, context -> {
                name[0] = Capi.speft_get_context_backend(context);
                return 0;
            });
            return name[0];
        }
    }

    /** Waits until all that was enqueued has run. At once on the CPU. */
    public void synchronize() {
        try (Arena arena = new Arena()) {
            arena.call(this, Capi::speft_synchronize);
        }
    }

    /**
     * From now on work is enqueued on another CUDA stream.
     *
     * @param stream its address; on the CPU anything but 0 is {@link UnsupportedException}
     */
    public void setStream(long stream) {
        try (Arena arena = new Arena()) {
            arena.call(this, context -> Capi.speft_set_stream(context, stream));
        }
    }

    /**
     * The implementations of an operation; the first that accepts a case runs it.
     *
     * @param operation one of {@link Speft#operations}
     * @return their names, the fastest first
     */
    public List<String> implementations(String operation) {
        try (Arena arena = new Arena()) {
            long name = arena.string("operation", operation);
            List<String> names = new ArrayList<>();
            for (;;) {
                long found = arena.call(this,
                        context -> Capi.speft_get_implementation_name(context, name, names.size()));
                if (found == 0) return List.copyOf(names);
                names.add(Memory.string(found));
            }
        }
    }

    /**
     * The implementation that ran an operation last in this context.
     *
     * @param operation one of {@link Speft#operations}
     * @return its name; null when it has not run
     */
    public String implementation(String operation) {
        try (Arena arena = new Arena()) {
            long name = arena.string("operation", operation);
            return Memory.string(arena.call(this, context -> Capi.speft_get_implementation(context, name)));
        }
    }

    /**
     * Runs an operation with one implementation only, from now on in this context. A case that it does not accept is
     * then {@link UnsupportedException}.
     *
     * @param operation one of {@link Speft#operations}
     * @param implementation one of {@link #implementations}; null: choose again
     */
    public void setImplementation(String operation, String implementation) {
        try (Arena arena = new Arena()) {
            long name = arena.string("operation", operation);
            long chosen = arena.string("implementation", implementation);
            arena.call(this, context -> Capi.speft_set_implementation(context, name, chosen));
        }
    }

    /**
     * Writes codes and scales of weights into tensors of the caller's.
     *
     * @param weights to quantize
     * @param into what is written
     * @throws InvalidArgumentException what is written does not fit, or the weights are not finite
     */
    public void quantize(Tensor weights, Quantized into) {
        try (Arena arena = new Arena()) {
            into.requireWritable();
            var view = arena.view(weights);
            var quantized = into.toNative(arena);
            arena.call(this, context -> Capi.speft_quantize(context, view, quantized));
        }
    }

    /**
     * Writes the values of quantized weights into a tensor of the caller's.
     *
     * @param quantized to read
     * @param into what is written
     * @throws InvalidArgumentException the two do not fit
     */
    public void dequantize(Quantized quantized, Tensor into) {
        try (Arena arena = new Arena()) {
            var view = arena.writable("into", into);
            var struct = quantized.toNative(arena);
            arena.call(this, context -> Capi.speft_dequantize(context, struct, view));
        }
    }

    /**
     * y = x Wᵀ with a quantized W that lies [out, in], of which no dense copy is made. Layers that an adapter trains
     * are {@link Adapter#linearForward(int, Tensor, Tensor)}'s.
     *
     * @param quantized W
     * @param x [tokens, in]; float32, bfloat16 or float16
     * @param y [tokens, out], written, so that it overlaps no other memory; float32, bfloat16 or float16
     * @throws InvalidArgumentException another shape
     */
    public void quantizedForward(Quantized quantized, Tensor x, Tensor y) {
        quantizedForward(quantized, new LinearOptions(), x, y);
    }

    /**
     * The same of a weight that lies in another way, or added to what y holds.
     *
     * @param quantized W
     * @param options layout and more; not of Δ alone
     * @param x [tokens, in]
     * @param y [tokens, out], written
     */
    public void quantizedForward(Quantized quantized, LinearOptions options, Tensor x, Tensor y) {
        Tensor.requireNonNull("options", options);
        try (Arena arena = new Arena()) {
            var weights = quantized.toNative(arena);
            var struct = options.toNative(arena);
            var in = arena.view(x);
            var out = arena.writable("y", y);
            arena.call(this, context -> Capi.speft_quantized_forward(context, weights, struct, in, out));
        }
    }

    /**
     * dx = dy W, the gradient of the inputs of {@link #quantizedForward(Quantized, Tensor, Tensor)}.
     *
     * @param quantized W
     * @param dy [tokens, out]; float32, bfloat16 or float16
     * @param dx [tokens, in], written, so that it overlaps no other memory; float32, bfloat16 or float16
     * @throws InvalidArgumentException another shape
     */
    public void quantizedBackward(Quantized quantized, Tensor dy, Tensor dx) {
        quantizedBackward(quantized, new LinearOptions(), dy, dx);
    }

    /**
     * The same of a weight that lies in another way, or added to what dx holds.
     *
     * @param quantized W
     * @param options layout and more; not of Δ alone
     * @param dy [tokens, out]
     * @param dx [tokens, in], written
     */
    public void quantizedBackward(Quantized quantized, LinearOptions options, Tensor dy, Tensor dx) {
        Tensor.requireNonNull("options", options);
        try (Arena arena = new Arena()) {
            var weights = quantized.toNative(arena);
            var struct = options.toNative(arena);
            var in = arena.view(dy);
            var out = arena.writable("dx", dx);
            arena.call(this, context -> Capi.speft_quantized_backward(context, weights, struct, in, out));
        }
    }

    /** Lets go of the context; its adapters keep what they need. Twice is fine. */
    @Override
    public void close() {
        handle.close();
    }

    @Override
    public String toString() {
        return handle.isClosed() ? "Context(closed)" : "Context(" + backend() + ")";
    }

    @Override
    Handle handle() {
        return handle;
    }
}
