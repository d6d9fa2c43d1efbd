package org.speft;

import java.util.ArrayList;
import java.util.List;
import org.speft.internal.Capi;
import org.speft.internal.Memory;
import org.speft.internal.speft_backend_info;

/** Of the library as a whole: its version, its backends. */
public final class Speft {
    private Speft() {}

    /**
     * The release of libspeft.
     *
     * @return {@code "0.1.0"}, say
     * @throws UnavailableException the native library cannot be loaded; the message has every attempt
     */
    public static String version() {
        NativeLibrary.load();
        return Capi.speft_version();
    }

    /**
     * The version of libspeft's binary interface.
     *
     * @return a number that this package was built for
     * @throws UnavailableException the native library cannot be loaded; the message has every attempt
     */
    public static long abiVersion() {
        NativeLibrary.load();
        return Capi.speft_abi_version();
    }

    /**
     * All backends that this release knows of, present or not.
     *
     * @return one record each
     * @throws UnavailableException the native library cannot be loaded; the message has every attempt
     */
    public static List<BackendInfo> backends() {
        NativeLibrary.load();
        List<BackendInfo> found = new ArrayList<>();
        for (int index = 0; index < Capi.speft_count_backends(); ++index) {
            try (speft_backend_info info = new speft_backend_info()) {
                Capi.speft_describe_backend(index, info);
                found.add(new BackendInfo(Memory.string(info.getName()), info.getAvailable() != 0,
                        Memory.string(info.getVersion()), Memory.string(info.getReason())));
            }
        }
        return List.copyOf(found);
    }

    /**
     * The operations that backends implement; see {@link Context#implementations}.
     *
     * @return their names
     * @throws UnavailableException the native library cannot be loaded; the message has every attempt
     */
    public static List<String> operations() {
        NativeLibrary.load();
        List<String> names = new ArrayList<>();
        for (String name; (name = Capi.speft_get_operation_name(names.size())) != null; ) names.add(name);
        return List.copyOf(names);
    }

    /**
     * The name of a status.
     *
     * @param status of a {@link SpeftException}
     * @return {@code "INVALID_ARGUMENT"}, say; {@code "UNKNOWN"} for a number that this release does not know
     * @throws UnavailableException the native library cannot be loaded; the message has every attempt
     */
    public static String statusName(int status) {
        NativeLibrary.load();
        return Capi.speft_get_status_name(status);
    }
}
