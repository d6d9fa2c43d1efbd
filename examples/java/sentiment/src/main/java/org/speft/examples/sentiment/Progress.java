package org.speft.examples.sentiment;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;

/** Tells how far a run is, four times, and the memory that it has needed. */
final class Progress {
    private static final int LINES = 4;

    private final String name;
    private final int total;
    private final long started = System.nanoTime();
    private int done = 0;

    Progress(String name, int total) {
        this.name = name;
        this.total = total;
    }

    double seconds() {
        return (System.nanoTime() - started) * 1e-9;
    }

    void advance(float loss) throws IOException {
        done++;
        if (done == total || done % Math.max(1, total / LINES) == 0) {
            System.err.printf(
                    Locale.ROOT,
                    "%-10s %4d/%d  loss %6.4f  %5.2f steps/s  %5d MiB%n",
                    name,
                    done,
                    total,
                    loss,
                    done / seconds(),
                    peakMemory() >> 20);
        }
    }

    /** The most bytes that this process has had resident, the JVM's own among them. */
    static long peakMemory() throws IOException {
        for (String line : Files.readAllLines(Path.of("/proc/self/status"))) {
            if (line.startsWith("VmHWM:")) {
                return Long.parseLong(line.replaceAll("\\D", "")) * 1024;
            }
        }
        throw new IOException("/proc/self/status has no VmHWM line");
    }
}
