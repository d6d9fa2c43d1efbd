package org.speft;

import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Executor;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.atomic.AtomicLong;
import org.speft.internal.Capi;
import org.speft.internal.Memory;
import org.speft.internal.Upcalls;

/** Java's callbacks as the native library calls them: nothing is thrown through it, all is kept for the caller. */
final class Callbacks {
    private Callbacks() {}

    static final class Reporting extends Kept implements Upcalls.Report {
        private final Progress progress;

        Reporting(Progress progress) {
            this.progress = progress;
        }

        @Override
        public int report(long done, long total) {
            try {
                return progress.report(done, total) ? 1 : 0;
            } catch (Throwable failure) {
                keep(failure);
                return 1;
            }
        }
    }

    static final class Writing extends Kept implements Upcalls.Write {
        private static final int EIO = 5;
        private static final int PIECE = 1 << 16;
        private final OutputStream stream;
        private byte[] piece = new byte[0];

        Writing(OutputStream stream) {
            this.stream = stream;
        }

        @Override
        public int write(long address, long count) {
            try {
                for (long done = 0; done < count; ) {
                    int length = (int) Math.min(PIECE, count - done);
                    if (piece.length < length) piece = new byte[length];
                    Memory.view(address + done, length).get(piece, 0, length);
                    stream.write(piece, 0, length);
                    done += length;
                }
                return 0;
            } catch (Throwable failure) {
                keep(failure);
                return EIO;
            }
        }
    }

    static final class Scoring extends Kept implements Upcalls.Score {
        private final ScoreFunction function;
        private List<Parameter> parameters;

        Scoring(ScoreFunction function, List<Parameter> parameters) {
            this.function = function;
            this.parameters = parameters;
        }

        /** A file's parameters are known only when it is loaded. */
        void setParameters(List<Parameter> known) {
            parameters = known;
        }

        @Override
        public int score(long parameter, long weights, long gradient, long scores) {
            Loan loan = Loan.ofCallback();
            try {
                String name = parameters.get((int) parameter).name();
                function.compute(name, Tensor.lent(weights, "weights", true, loan),
                        gradient == 0 ? null : Tensor.lent(gradient, "gradient", true, loan),
                        Tensor.lent(scores, "scores", false, loan));
                return 0;
            } catch (Throwable failure) {
                keep(failure);
                return 1;
            } finally {
                loan.end();
            }
        }
    }

    static final class Logging extends Kept implements Upcalls.Log {
        private final Logger logger;

        Logging(Logger logger) {
            this.logger = logger;
        }

        @Override
        public void log(int level, String message) {
            try {
                logger.log(LogLevel.of(level), message);
            } catch (Throwable failure) {
                keep(failure);
            }
        }
    }

    /**
     * The thread of the call works as well, and takes what the executor does not begin: a full or closed executor can
     * delay nothing. A task that begins late finds nothing left to do, and touches nothing.
     */
    static final class Looping extends Kept implements Upcalls.Loop {
        private final Executor executor;
        private final int threads;

        Looping(Executor executor, int threads) {
            this.executor = executor;
            this.threads = threads;
        }

        @Override
        public boolean run(long count, long body, long argument) {
            if (count > Integer.MAX_VALUE) return false;
            CountDownLatch undone;
            Runnable work;
            try {
                undone = new CountDownLatch((int) count);
                work = worker(count, body, argument, undone);
            } catch (Throwable failure) {
                keep(failure);
                return false;
            }
            try {
                for (long helper = 1; helper < Math.min(threads, count); ++helper) executor.execute(work);
            } catch (RejectedExecutionException full) {
                // This thread does it.
            } catch (Throwable failure) {
                keep(failure);
            }
            work.run();
            await(undone);
            return true;
        }

        private static Runnable worker(long count, long body, long argument, CountDownLatch undone) {
            AtomicLong next = new AtomicLong();
            return () -> {
                for (long index; (index = next.getAndIncrement()) < count; undone.countDown())
                    Capi.run_body(body, argument, index);
            };
        }

        private static void await(CountDownLatch undone) {
            boolean interrupted = false;
            for (;;) {
                try {
                    undone.await();
                    break;
                } catch (InterruptedException again) {
                    interrupted = true;
                }
            }
            if (interrupted) Thread.currentThread().interrupt();
        }
    }

    static final class Allocating extends Kept implements Upcalls.Allocate {
        private final Allocator allocator;

        Allocating(Allocator allocator) {
            this.allocator = allocator;
        }

        @Override
        public long allocate(long bytes, long alignment, long stream) {
            try {
                return allocator.allocate(bytes, alignment, stream);
            } catch (Throwable failure) {
                keep(failure);
                return 0;
            }
        }

        @Override
        public void deallocate(long address, long bytes, long stream) {
            try {
                allocator.deallocate(address, bytes, stream);
            } catch (Throwable failure) {
                Thread thread = Thread.currentThread();
                thread.getUncaughtExceptionHandler().uncaughtException(thread, failure);
            }
        }
    }
}
