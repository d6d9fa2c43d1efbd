package org.speft.internal;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.speft.InvalidArgumentException;
import org.speft.Speft;

/** The generated layer throws where there is no handle, whatever the layer above it does. */
class NullHandlesTest {
    @BeforeAll
    static void load() {
        Speft.version();
    }

    @Test
    void a_missing_handle_is_named() {
        assertNames("adapter", () -> Capi.speft_step(0, null), () -> Capi.speft_merge(0),
                () -> Capi.speft_attach(0), () -> Capi.speft_destroy_adapter(0), () -> Capi.speft_count_parameters(0),
                () -> Capi.speft_bind_basis(0, 0, 0), () -> Capi.speft_leave_bases(0, 1, new double[1]),
                () -> Capi.measure_ordinary_share(0, 1, new double[1]),
                () -> Capi.speft_get_requantization(0, 0, null));
        assertNames("context", () -> Capi.speft_synchronize(0), () -> Capi.speft_destroy_context(0),
                () -> Capi.speft_get_context_backend(0), () -> Capi.speft_create_adapter(0, null, 0, 0),
                () -> Capi.speft_quantized_forward(0, null, null, null, null),
                () -> Capi.speft_quantized_backward(0, null, null, null, null));
    }

    /** It may be missing in one function, so that the library itself asks for it in the others. */
    @Test
    void a_missing_basis_is_named() {
        for (Executable call : new Executable[] {() -> Capi.speft_observe_basis(0, null),
            () -> Capi.speft_fit_basis(0, null), () -> Capi.speft_get_basis(0, null, null),
            () -> Capi.speft_get_basis_state(0, null)}) {
            assertEquals("basis must not be NULL", assertThrows(InvalidArgumentException.class, call).getMessage());
        }
        Capi.speft_destroy_basis(0);
    }

    @Test
    void a_freed_struct_is_named() {
        speft_tensor tensor = new speft_tensor();
        tensor.close();
        tensor.close();
        NullPointerException failure = assertThrows(NullPointerException.class, tensor::getNdim);
        assertTrue(failure.getMessage().contains("speft_tensor"), failure.getMessage());
    }

    private static void assertNames(String noun, Executable... calls) {
        for (Executable call : calls) assertEquals(noun, assertThrows(NullPointerException.class, call).getMessage());
    }
}
