package org.speft.examples.sentiment;

import ai.djl.engine.Engine;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.LinkedHashMap;
import java.util.Map;

/** What a comparison ran on: the figures of another machine, or of other versions, differ. */
final class Environment {
    private Environment() {}

    static Map<String, Object> describe() throws IOException {
        Map<String, Object> versions = new LinkedHashMap<>();
        versions.put("Java", System.getProperty("java.version"));
        versions.put("DJL", Engine.getDjlVersion());
        versions.put("PyTorch", Engine.getEngine("PyTorch").getVersion());
        Map<String, Object> found = new LinkedHashMap<>();
        found.put("date", Instant.now().truncatedTo(ChronoUnit.SECONDS).toString());
        found.put("processor", line("/proc/cpuinfo", "model name"));
        found.put("cores", Runtime.getRuntime().availableProcessors());
        found.put("memory_bytes", Long.parseLong(line("/proc/meminfo", "MemTotal").replaceAll("\\D", "")) * 1024);
        found.put("system", System.getProperty("os.name") + " " + System.getProperty("os.version"));
        found.put("versions", versions);
        return found;
    }

    /** What follows the colon in the first line that starts so; as Linux on x86 writes it. */
    private static String line(String file, String start) throws IOException {
        for (String line : Files.readAllLines(Path.of(file))) {
            if (line.startsWith(start)) {
                return line.substring(line.indexOf(':') + 1).strip();
            }
        }
        throw new IOException(file + " has no line '" + start + "'");
    }
}
