package org.speft.internal;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;

/** Strings and arrays at native addresses. */
public final class Memory {
    /** Longs: a buffer ends at 2 GiB. */
    private static final int PIECE = 1 << 27;

    private Memory() {}

    /** The string of these bytes, or null. */
    public static String decode(byte[] bytes) {
        return bytes == null ? null : new String(bytes, StandardCharsets.UTF_8);
    }

    /** A direct buffer, in the machine's byte order, over memory that something else keeps. */
    public static ByteBuffer view(long address, long bytes) {
        return ((ByteBuffer) Capi.view_memory(address, bytes)).order(ByteOrder.nativeOrder());
    }

    /** The string at an address, or null for 0. */
    public static String string(long address) {
        return decode(Capi.read_string(address));
    }

    /** The {@code count} numbers at an address. */
    public static long[] longs(long address, int count) {
        long[] values = new long[count];
        for (int done = 0, piece; done < count; done += piece) {
            piece = Math.min(PIECE, count - done);
            view(address + 8L * done, 8L * piece).asLongBuffer().get(values, done, piece);
        }
        return values;
    }
}
