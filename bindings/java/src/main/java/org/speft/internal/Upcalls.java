package org.speft.internal;

import java.nio.charset.StandardCharsets;

/** What the native library calls. The objects behind the references implement one of these. */
public final class Upcalls {
    private static Failures failures;

    private Upcalls() {}

    /** Makes the exceptions of failed calls. */
    public interface Failures {
        /** The exception of a status. */
        Throwable make(int status, String message, String backend, long nativeCode);
    }

    /** speft_progress. */
    public interface Report {
        /** Anything but 0 cancels. */
        int report(long done, long total);
    }

    /** speft_writer. */
    public interface Write {
        /** Takes bytes; returns 0 or an errno. */
        int write(long address, long count);
    }

    /** speft_score_function. */
    public interface Score {
        /** Takes the addresses of three tensors, of which the second may be 0; anything but 0 cancels. */
        int score(long parameter, long weights, long gradient, long scores);
    }

    /** speft_logger. */
    public interface Log {
        /** Takes a message. */
        void log(int level, String message);
    }

    /** speft_parallel_for. */
    public interface Loop {
        /** Runs {@code Capi.run_body(body, argument, i)} for each i; false when it has not begun. */
        boolean run(long count, long body, long argument);
    }

    /** speft_allocator. */
    public interface Allocate {
        /** Gives memory, or 0. */
        long allocate(long bytes, long alignment, long stream);

        /** Takes it back. */
        void deallocate(long address, long bytes, long stream);
    }

    /** Whom to ask for exceptions, before the first call. */
    public static void setFailures(Failures maker) {
        failures = maker;
    }

    static Throwable makeFailure(int status, byte[] message, byte[] backend, long nativeCode) {
        String text = message.length == 0 ? Capi.speft_get_status_name(status) : decode(message);
        return failures.make(status, text, decode(backend), nativeCode);
    }

    static int report(Object target, long done, long total) {
        return ((Report) target).report(done, total);
    }

    static int write(Object target, long address, long count) {
        return ((Write) target).write(address, count);
    }

    static int score(Object target, long parameter, long weights, long gradient, long scores) {
        return ((Score) target).score(parameter, weights, gradient, scores);
    }

    static void log(Object target, int level, long message) {
        ((Log) target).log(level, Memory.string(message));
    }

    static boolean run(Object target, long count, long body, long argument) {
        return ((Loop) target).run(count, body, argument);
    }

    static long allocate(Object target, long bytes, long alignment, long stream) {
        return ((Allocate) target).allocate(bytes, alignment, stream);
    }

    static void deallocate(Object target, long address, long bytes, long stream) {
        ((Allocate) target).deallocate(address, bytes, stream);
    }

    private static String decode(byte[] bytes) {
        return new String(bytes, StandardCharsets.UTF_8);
    }
}
