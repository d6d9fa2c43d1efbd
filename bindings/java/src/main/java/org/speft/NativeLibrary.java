package org.speft;

import java.io.File;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import org.speft.internal.Capi;
import org.speft.internal.CapiConstants;
import org.speft.internal.Upcalls;
import org.speft.internal.speft_backend_info;

/**
 * Finds the native libraries: in the folder that the system property {@code org.speft.library.path} names; in a jar
 * with the classifier of this platform; in {@code java.library.path}. The first that loads is used, and when none does
 * the exception tells of each why not.
 */
final class NativeLibrary {
    private static final String PROPERTY = "org.speft.library.path";
    private static final String LIBRARY = "libspeft_java.so";

    /** All of a folder: the glue, libspeft under the name that the loader looks for, its CPU backend. */
    private static final List<String> FILES = List.of("libspeft.so.0", "libspeft_cpu.so", LIBRARY);

    private static boolean loaded;
    private static List<String> attempts;
    private static Throwable cause;

    private NativeLibrary() {}

    /** Loads them, the first time; fails in the same way each time otherwise. */
    static synchronized void load() {
        if (loaded) return;
        if (attempts == null) {
            attempts = new ArrayList<>();
            loaded = tryProperty() || tryJar() || tryLibraryPath();
            if (loaded) {
                checkVersion();
                return;
            }
        }
        throw new UnavailableException("libspeft's native libraries were not found or not loaded: "
                + String.join("; ", attempts), cause);
    }

    private static boolean tryProperty() {
        String folder = System.getProperty(PROPERTY);
        String attempt = "system property " + PROPERTY;
        if (folder == null) return fail(attempt, "is not set", null);
        Path library = Path.of(folder).toAbsolutePath().resolve(LIBRARY);
        if (!Files.isRegularFile(library)) return fail(attempt, "there is no " + library, null);
        return tryLoading(attempt, () -> System.load(library.toString()));
    }

    private static boolean tryJar() {
        String platform = platform();
        String root = "/org/speft/native/" + platform + "/";
        String attempt = "jar with classifier " + platform;
        if (NativeLibrary.class.getResource(root + LIBRARY) == null) {
            return fail(attempt, "there is no " + root + LIBRARY + " on the class path", null);
        }
        Path folder;
        try {
            folder = extract(root);
        } catch (IOException failure) {
            return fail(attempt, "cannot be extracted: " + failure, failure);
        }
        try {
            return tryLoading(attempt, () -> {
                System.load(folder.resolve(LIBRARY).toString());
                loadBackends();
            });
        } finally {
            // What is loaded stays loaded, so that nothing is left behind, however this process ends.
            delete(folder);
        }
    }

    private static boolean tryLibraryPath() {
        return tryLoading("java.library.path", () -> System.loadLibrary("speft_java"));
    }

    private static boolean tryLoading(String attempt, Runnable loading) {
        Upcalls.setFailures(SpeftException::of);
        try {
            loading.run();
            return true;
        } catch (UnsatisfiedLinkError failure) {
            return fail(attempt, failure.getMessage(), failure);
        }
    }

    private static boolean fail(String attempt, String reason, Throwable failure) {
        attempts.add(attempt + ": " + reason);
        if (failure != null) {
            if (cause == null) cause = failure;
            else cause.addSuppressed(failure);
        }
        return false;
    }

    /** Into a new folder that only this user can enter: nobody else can put a library there, or change one. */
    private static Path extract(String root) throws IOException {
        Path folder = Files.createTempDirectory("speft-");
        try {
            for (String name : FILES) {
                try (InputStream content = NativeLibrary.class.getResourceAsStream(root + name)) {
                    if (content == null) throw new IOException("there is no " + root + name);
                    Files.copy(content, folder.resolve(name));
                }
            }
            return folder;
        } catch (IOException failure) {
            delete(folder);
            throw failure;
        }
    }

    private static void delete(Path folder) {
        File[] files = folder.toFile().listFiles();
        if (files != null) for (File file : files) deleteLater(file);
        deleteLater(folder.toFile());
    }

    /** A file that cannot be deleted now is deleted at the end of this process. */
    private static void deleteLater(File file) {
        if (!file.delete()) file.deleteOnExit();
    }

    /** libspeft looks for its plug-ins when they are first used, beside itself: while the files are there. */
    private static void loadBackends() {
        for (int index = 0; index < Capi.speft_count_backends(); ++index) {
            try (speft_backend_info info = new speft_backend_info()) {
                Capi.speft_describe_backend(index, info);
            }
        }
    }

    private static void checkVersion() {
        long version = Capi.speft_abi_version();
        if (version == CapiConstants.SPEFT_ABI_VERSION) return;
        loaded = false;
        attempts.add("libspeft's binary interface has version " + version + ", and this package was built for version "
                + CapiConstants.SPEFT_ABI_VERSION);
        load();
    }

    private static String platform() {
        String system = System.getProperty("os.name").toLowerCase(Locale.ROOT);
        String machine = System.getProperty("os.arch");
        return system + "-" + (machine.equals("amd64") ? "x86_64" : machine);
    }
}
