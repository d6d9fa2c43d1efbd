package org.speft;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.nio.file.FileSystem;
import java.nio.file.FileSystems;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Adapters and checkpoints: by path, in memory, through a stream; reported, cancelled, refused. */
class FilesTest {
    @TempDir
    Path folder;

    private Scene scene;
    private Adapter adapter;

    @BeforeEach
    void train() {
        scene = new Scene(Selection.SNIP, builder -> builder.budget(7)).selected();
        adapter = scene.adapter;
        scene.step();
    }

    @AfterEach
    void close() {
        scene.close();
    }


    private void assertSameAdapter(Adapter loaded) {
        try (loaded) {
            assertTrue(loaded.state().selected());
            assertFalse(loaded.state().merged());
            assertEquals(adapter.parameters(), loaded.parameters());
            for (int i = 0; i < 3; ++i) {
                assertArrayEquals(adapter.mask(i), loaded.mask(i));
                assertArrayEquals(adapter.deltas(i), loaded.deltas(i));
            }
        }
    }

    @Test
    void a_path_a_stream_and_memory_hold_the_same_bytes() throws IOException {
        Path file = folder.resolve("θ adapter.safetensors");
        adapter.save(file);
        ByteArrayOutputStream stream = new ByteArrayOutputStream();
        adapter.save(stream, Format.EXACT, null);
        byte[] content = Files.readAllBytes(file);
        assertArrayEquals(content, stream.toByteArray());
        assertArrayEquals(content, adapter.toBytes(Format.EXACT));
        assertSameAdapter(Adapter.load(scene.context, file));
        assertSameAdapter(Adapter.load(scene.context, ByteBuffer.wrap(content), null));
        ByteBuffer window = ByteBuffer.allocateDirect(content.length + 20).put(new byte[10]).put(content);
        assertSameAdapter(Adapter.load(scene.context, window.flip().position(10).asReadOnlyBuffer(), null));
        assertEquals(10, window.position());
    }

    @Test
    void a_compact_file_is_smaller() {
        int exact = adapter.toBytes(Format.EXACT).length;
        byte[] compact = adapter.toBytes(Format.COMPACT);
        assertTrue(compact.length < exact, compact.length + " < " + exact);
        try (Adapter loaded = Adapter.load(scene.context, ByteBuffer.wrap(compact), null)) {
            float[] deltas = loaded.deltas(0);
            for (int i = 0; i < deltas.length; ++i) {
                // To nearest of 8 significant bits.
                assertEquals(adapter.deltas(0)[i], deltas[i], Math.abs(deltas[i]) * 0x1p-8);
            }
        }
    }

    @Test
    void a_checkpoint_resumes_to_the_bit() throws IOException {
        Path file = folder.resolve("checkpoint");
        scene.accumulate();
        adapter.saveCheckpoint(file);
        ByteArrayOutputStream stream = new ByteArrayOutputStream();
        adapter.saveCheckpoint(stream, null);
        assertArrayEquals(Files.readAllBytes(file), stream.toByteArray());
        adapter.step();
        float[] expected = adapter.deltas(0);
        float[] weights = scene.weights[0].toFloats();
        for (int from = 0; from < 2; ++from) {
            try (Context context = Context.open("cpu");
                    Adapter resumed = from == 0 ? Adapter.loadCheckpoint(context, file)
                            : Adapter.loadCheckpoint(context, ByteBuffer.wrap(stream.toByteArray()), null, null)) {
                Tensor[] fresh = new Tensor[3];
                for (int i = 0; i < 3; ++i) resumed.bindWeights(i, fresh[i] = Numbers.tensor(i + 1, Scene.SHAPES[i]));
                resumed.merge();
                resumed.step();
                assertArrayEquals(expected, resumed.deltas(0));
                assertArrayEquals(weights, fresh[0].toFloats());
            }
        }
    }

    @Test
    void a_checkpoint_of_a_score_function_gets_it_again() {
        ScoreFunction function = (name, weights, gradient, scores) -> {
            assertTrue(List.of(Scene.NAMES).contains(name));
            scores.floats().put(weights.floats());
        };
        Path file = folder.resolve("checkpoint");
        try (Scene moving = new Scene(Selection.SCORE_FUNCTION,
                builder -> builder.budget(3).score(function).reselectEvery(1))) {
            moving.adapter.select();
            moving.adapter.saveCheckpoint(file, null);
            moving.adapter.close();
            for (ScoreFunction given : new ScoreFunction[] {null, function}) {
                try (Adapter resumed = Adapter.loadCheckpoint(moving.context, file, null, given)) {
                    for (int i = 0; i < 3; ++i) resumed.bindWeights(i, moving.weights[i]);
                    resumed.merge();
                    for (int i = 0; i < 3; ++i) resumed.accumulate(i, Gradient.dense(moving.gradients[i]));
                    resumed.step();
                    if (given == null) assertThrows(InvalidStateException.class, resumed::reselect);
                    else assertEquals(1, resumed.reselect().step());
                    resumed.unmerge();
                }
            }
        }
    }

    @Test
    void progress_counts_bytes() throws IOException {
        Path file = folder.resolve("adapter");
        List<Long> done = new ArrayList<>();
        List<Long> totals = new ArrayList<>();
        Progress progress = (bytes, total) -> {
            done.add(bytes);
            totals.add(total);
            return false;
        };
        adapter.save(file, Format.EXACT, progress);
        assertEquals(0, done.get(0));
        assertEquals(Files.size(file), done.get(done.size() - 1));
        assertEquals(Files.size(file), totals.get(0));
        done.clear();
        totals.clear();
        Adapter.load(scene.context, file, progress).close();
        assertEquals(totals.get(0), done.get(done.size() - 1)); // of the tensors
        done.clear();
        adapter.saveCheckpoint(folder.resolve("checkpoint"), progress);
        assertFalse(done.isEmpty());
    }

    @Test
    void what_is_cancelled_leaves_the_old_file() throws IOException {
        Path file = folder.resolve("adapter");
        Files.writeString(file, "old");
        assertThrows(CancelledException.class, () -> adapter.save(file, Format.EXACT, (done, total) -> true));
        assertEquals("old", Files.readString(file));
        try (var files = Files.list(folder)) {
            assertEquals(1, files.count());
        }
        adapter.save(file);
        assertThrows(CancelledException.class, () -> Adapter.load(scene.context, file, (done, total) -> true));
    }

    @Test
    void a_stream_that_fails_is_heard() {
        IOException full = new IOException("the disk is full");
        OutputStream stream = new OutputStream() {
            @Override
            public void write(int value) throws IOException {
                throw full;
            }
        };
        assertSame(full, assertThrows(IOException.class, () -> adapter.save(stream, Format.EXACT, null)));
        assertSame(full, assertThrows(IOException.class, () -> adapter.saveCheckpoint(stream, null)));
        scene.step(); // nothing is stuck
    }

    @Test
    void refusals_name_the_reason() throws IOException {
        Path missing = folder.resolve("missing").resolve("adapter");
        IOFailureException failure = assertThrows(IOFailureException.class, () -> adapter.save(missing));
        assertEquals(2, failure.nativeCode()); // ENOENT
        assertTrue(failure.getMessage().contains("missing"), failure.getMessage());
        assertThrows(IOFailureException.class, () -> Adapter.load(scene.context, missing));
        assertThrows(CorruptException.class,
                () -> Adapter.load(scene.context, ByteBuffer.wrap(new byte[] {1, 2, 3}), null));
        byte[] content = adapter.toBytes(Format.EXACT);
        content[content.length - 1] ^= 1;
        assertThrows(CorruptException.class, () -> Adapter.load(scene.context, ByteBuffer.wrap(content), null));
        Path file = folder.resolve("adapter");
        adapter.save(file);
        assertThrows(InvalidArgumentException.class, () -> Adapter.loadCheckpoint(scene.context, file));
        assertEquals("path must not be null",
                assertThrows(InvalidArgumentException.class, () -> adapter.save((Path) null)).getMessage());
    }

    @Test
    void a_path_of_another_file_system_is_refused() throws IOException {
        Path zip = folder.resolve("a.zip");
        try (FileSystem other = FileSystems.newFileSystem(zip, Map.of("create", "true"))) {
            String message = assertThrows(InvalidArgumentException.class, () -> adapter.save(other.getPath("/adapter")))
                    .getMessage();
            assertTrue(message.startsWith("path must be of the default file system"), message);
        }
    }

    @Test
    void another_base_model_is_refused() {
        byte[] content = adapter.toBytes(Format.EXACT);
        try (Adapter loaded = Adapter.load(scene.context, ByteBuffer.wrap(content), null)) {
            for (int i = 0; i < 3; ++i) loaded.bindWeights(i, Numbers.tensor(i + 90, Scene.SHAPES[i]));
            assertThrows(InvalidArgumentException.class, loaded::merge);
        }
    }
}
