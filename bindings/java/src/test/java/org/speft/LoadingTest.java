package org.speft;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Where the native libraries come from, each way in a JVM of its own. */
class LoadingTest {
    private static final String PROPERTY = "-Dorg.speft.library.path=";
    private static final String LIBRARY_PATH = "-Djava.library.path=";

    /** Trains a little, and tells from where the library was mapped. */
    static final class Probe {
        private Probe() {}

        public static void main(String[] arguments) throws IOException {
            for (int attempt = 0; attempt < 2; ++attempt) {
                try (Scene scene = new Scene(Selection.SNIP, builder -> builder.budget(7)).selected()) {
                    scene.step();
                    if (attempt == 0) System.out.println("trained " + scene.adapter.state().steps());
                } catch (UnavailableException failure) {
                    System.out.println("status " + failure.status() + ": " + failure.getMessage());
                    System.out.println("cause " + failure.getCause());
                }
            }
            try (Stream<String> maps = Files.lines(Path.of("/proc/self/maps"))) {
                maps.filter(line -> line.contains("libspeft_java.so")).map(line -> line.replaceAll(".* /", "/"))
                        .distinct().forEach(line -> System.out.println("mapped " + line));
            }
        }
    }

    @TempDir
    Path folder;

    private Path scratch;

    @BeforeEach
    void makeScratch() throws IOException {
        scratch = Files.createDirectory(folder.resolve("scratch"));
    }

    private String probe(boolean jar, String... options) throws IOException {
        List<String> classPath = new ArrayList<>(ForkedJvm.CLASSES);
        if (jar) classPath.add(ForkedJvm.JAR.toString());
        List<String> all = new ArrayList<>(List.of("-Djava.io.tmpdir=" + scratch, LIBRARY_PATH + folder));
        all.addAll(List.of(options));
        ForkedJvm.Result result = ForkedJvm.run(classPath, all, Probe.class);
        assertEquals(0, result.exit(), result.output());
        return result.output();
    }

    private void assertScratchIsEmpty() throws IOException {
        try (Stream<Path> left = Files.list(scratch)) {
            assertEquals(List.of(), left.toList());
        }
    }

    private static void assertHas(String output, String... parts) {
        for (String part : parts) assertTrue(output.contains(part), part + " in " + output);
    }

    @Test
    void the_property_comes_first() throws IOException {
        String output = probe(true, PROPERTY + ForkedJvm.NATIVES);
        assertHas(output, "trained 1", "mapped " + ForkedJvm.NATIVES.toRealPath());
        assertScratchIsEmpty();
    }

    @Test
    void then_the_jar_which_leaves_nothing_behind() throws IOException {
        assertHas(probe(true), "trained 1", "mapped " + scratch.toRealPath() + "/speft-", "(deleted)");
        assertScratchIsEmpty();
        // As when the property names a folder that has not got them.
        assertHas(probe(true, PROPERTY + folder), "trained 1");
    }

    @Test
    void then_the_library_path() throws IOException {
        assertHas(probe(false, LIBRARY_PATH + ForkedJvm.NATIVES), "trained 1");
        // As when the jar cannot be extracted.
        Files.delete(scratch);
        assertHas(probe(true, LIBRARY_PATH + ForkedJvm.NATIVES), "trained 1",
                "mapped " + ForkedJvm.NATIVES.toRealPath());
    }

    @Test
    void when_all_fail_every_attempt_is_told_each_time() throws IOException {
        Path broken = Files.createDirectory(folder.resolve("broken"));
        Files.writeString(broken.resolve("libspeft_java.so"), "not a library");
        Files.delete(scratch);
        String output = probe(true, PROPERTY + broken);
        assertHas(output, "status 4: ", "system property org.speft.library.path: " + broken,
                "jar with classifier linux-x86_64: cannot be extracted: java.nio.file.NoSuchFileException: " + scratch,
                "java.library.path: no speft_java in java.library.path: " + folder,
                "cause java.lang.UnsatisfiedLinkError");
        assertEquals(3, output.split("status 4: ", -1).length, output); // the second time as the first

        output = probe(false);
        assertHas(output, "org.speft.library.path: is not set",
                "there is no /org/speft/native/linux-x86_64/libspeft_java.so on the class path");
        output = probe(false, PROPERTY + folder);
        assertHas(output, "there is no " + folder.resolve("libspeft_java.so"));
    }

    @Test
    void another_platform_is_named() throws IOException {
        assertHas(probe(true, "-Dos.arch=abacus"), "there is no /org/speft/native/linux-abacus/libspeft_java.so");
    }
}
