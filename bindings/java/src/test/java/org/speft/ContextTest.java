package org.speft;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Versions, backends, and which code runs. */
class ContextTest {
    @Test
    void the_library_tells_its_versions() {
        assertTrue(Speft.version().matches("\\d+\\.\\d+\\.\\d+"), Speft.version());
        assertEquals(0, Speft.abiVersion());
        assertEquals("INVALID_ARGUMENT", Speft.statusName(1));
        assertEquals("UNKNOWN", Speft.statusName(99));
    }

    @Test
    void backends_are_listed_with_reasons() {
        List<BackendInfo> backends = Speft.backends();
        BackendInfo cpu = backends.stream().filter(info -> info.name().equals("cpu")).findFirst().orElseThrow();
        assertTrue(cpu.available());
        assertEquals("", cpu.reason());
        BackendInfo cuda = backends.stream().filter(info -> info.name().equals("cuda")).findFirst().orElseThrow();
        assertTrue(cuda.available() != cuda.reason().length() > 0, cuda.toString());
    }

    @Test
    void a_backend_is_found_or_refused_by_name(@TempDir Path empty) {
        try (Context context = Context.builder().backend("auto").device(0).backendPath(empty).open()) {
            assertTrue(Speft.backends().stream().anyMatch(info -> info.name().equals(context.backend())));
            context.synchronize();
            assertEquals("Context(" + context.backend() + ")", context.toString());
        }
        SpeftException failure = assertThrows(SpeftException.class, () -> Context.open("abacus"));
        assertTrue(failure.getMessage().contains("abacus"), failure.getMessage());
        assertThrows(SpeftException.class, () -> Context.builder().backend("cpu").device(7).open());
    }

    @Test
    void implementations_are_listed_chosen_and_told() {
        try (Scene scene = new Scene(Selection.MAGNITUDE, builder -> builder.budget(3))) {
            assertTrue(Speft.operations().contains("step_adamw"), Speft.operations().toString());
            List<String> names = scene.context.implementations("step_adamw");
            assertTrue(names.contains("reference"), names.toString());
            assertNull(scene.context.implementation("step_adamw"));
            scene.context.setImplementation("step_adamw", "reference");
            scene.selected();
            scene.step();
            assertEquals("reference", scene.context.implementation("step_adamw"));
            scene.context.setImplementation("step_adamw", null);
            scene.step();
            assertEquals(names.get(0), scene.context.implementation("step_adamw"));
            assertThrows(InvalidArgumentException.class, () -> scene.context.setImplementation("step_adamw", "abacus"));
            assertThrows(InvalidArgumentException.class, () -> scene.context.implementations("abacus"));
        }
    }

    @Test
    void a_status_that_is_not_known_yet_is_a_failure() {
        SpeftException failure = SpeftException.of(77, "later", "cpu", 5);
        assertEquals(SpeftException.class, failure.getClass());
        assertEquals(77, failure.status());
        assertEquals("cpu", failure.backend());
        assertEquals(5, failure.nativeCode());
        for (int status = 1; status <= 11; ++status) {
            SpeftException known = SpeftException.of(status, "now", "", 0);
            assertEquals(status, known.status());
            assertTrue(known.getClass() != SpeftException.class);
        }
    }
}
