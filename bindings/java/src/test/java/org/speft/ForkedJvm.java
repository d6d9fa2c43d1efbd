package org.speft;

import java.io.File;
import java.io.IOException;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/** A JVM of its own, for what can be done only once in one. */
final class ForkedJvm {
    /** The classes of the binding, and of its tests. */
    static final List<String> CLASSES = List.of(System.getProperty("speft.classes"), folderOf(ForkedJvm.class));

    /** Where the native libraries are; the same as they lie in the jar. */
    static final Path NATIVES = Path.of(System.getProperty("org.speft.library.path"));
    static final Path JAR = NATIVES.resolveSibling("jar");

    /**
     * What it printed.
     *
     * @param exit its exit code
     */
    record Result(int exit, String output) {}

    private ForkedJvm() {}

    static Result run(List<String> classPath, List<String> options, Class<?> main, String... arguments)
            throws IOException {
        return run(classPath, options, main.getName(), new File("."), arguments);
    }

    static Result run(List<String> classPath, List<String> options, String main, File folder, String... arguments)
            throws IOException {
        List<String> command = new ArrayList<>();
        command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
        command.addAll(options);
        command.addAll(List.of("-cp", String.join(File.pathSeparator, classPath), main));
        command.addAll(List.of(arguments));
        ProcessBuilder builder = new ProcessBuilder(command).redirectErrorStream(true).directory(folder);
        Map<String, String> environment = builder.environment();
        environment.remove("JAVA_TOOL_OPTIONS");
        environment.remove("LD_LIBRARY_PATH");
        Process process = builder.start();
        String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        try {
            return new Result(process.waitFor(), output);
        } catch (InterruptedException failure) {
            throw new AssertionError(failure);
        }
    }

    private static String folderOf(Class<?> type) {
        return Path.of(URI.create(type.getProtectionDomain().getCodeSource().getLocation().toString())).toString();
    }
}
