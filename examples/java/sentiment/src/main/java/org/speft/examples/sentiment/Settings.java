package org.speft.examples.sentiment;

import com.google.gson.FieldNamingPolicy;
import com.google.gson.Gson;
import com.google.gson.GsonBuilder;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;

/**
 * What one comparison is run with: made by the command line, read by every process it starts.
 *
 * @param data the source distribution that has the reviews
 * @param model the directory with the traced encoder and its tokenizer
 * @param out where results go
 * @param steps training steps
 * @param batchSize texts in a step
 * @param salienceBatches batches by whose gradients a mask is chosen
 * @param density the share of the targeted scalars that sparse methods train
 * @param maxTokens where longer texts are cut
 * @param maxRows use only so many rows; null for all
 * @param seed of the head, random masks and the order of the rows
 * @param threads of PyTorch and of libspeft
 */
record Settings(
        String data,
        String model,
        String out,
        int steps,
        int batchSize,
        int salienceBatches,
        double density,
        int maxTokens,
        Integer maxRows,
        int seed,
        int threads) {

    /** Keys as the Python demo writes them; nulls are written. */
    static final Gson JSON = new GsonBuilder()
            .setFieldNamingPolicy(FieldNamingPolicy.LOWER_CASE_WITH_UNDERSCORES)
            .serializeNulls()
            .setPrettyPrinting()
            .disableHtmlEscaping()
            .create();

    Path methodDirectory(String method) {
        return Path.of(out, method);
    }

    /** Writes them for a process to come, and returns the file. */
    Path write() throws IOException {
        Path path = Path.of(out, "settings.json");
        writeJson(path, this);
        return path;
    }

    static Settings read(Path path) throws IOException {
        return JSON.fromJson(Files.readString(path), Settings.class);
    }

    static void writeJson(Path path, Object content) throws IOException {
        Files.writeString(path, JSON.toJson(content) + "\n");
    }
}
