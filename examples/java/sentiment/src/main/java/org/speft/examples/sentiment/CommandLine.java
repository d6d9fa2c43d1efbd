package org.speft.examples.sentiment;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;

/** The options, and the checks of what they name before anything slow starts. */
final class CommandLine {
    static final String HELP = """
            usage: sentiment [options]

            Fine-tunes MiniLM-L6 on movie-review snippets in several ways, compares them, and checks that sparse
            adapters reload and unmerge exactly. Writes report.json and a folder a method.

              --data FILE            the reviews' source distribution (default: %s)
              --model DIRECTORY      what examples/python/torchscript/trace.py wrote (default: %s)
              --out DIRECTORY        for the results (default: %s)
              --methods NAME ...     of %s (default: all)
              --steps N              training steps (default: %d)
              --batch-size N         texts in a step (default: %d)
              --salience-batches N   batches by whose gradients a mask is chosen (default: %d)
              --density X            the share of the targets that sparse methods train (default: %s)
              --max-tokens N         where longer texts are cut (default: %d)
              --max-rows N           use only so many rows (default: all)
              --seed N               of the head, random masks and the order of the rows (default: %d)
              --threads N            CPU threads (default: as many as there are, %d)
            """;

    private String data = ".cache/vaderSentiment-3.3.2.tar.gz";
    private String model = "build/torchscript";
    private String out = "out/demo-java";
    private int steps = 160;
    private int batchSize = 32;
    private int salienceBatches = 16;
    private double density = 0.005;
    private int maxTokens = 48;
    private Integer maxRows = null;
    private int seed = 0;
    private int threads = Runtime.getRuntime().availableProcessors();
    private List<String> methods = Method.NAMES;
    private boolean help = false;

    private CommandLine() {}

    /** Reads the options and checks the files that they name. */
    static CommandLine parse(String... arguments) {
        CommandLine line = new CommandLine();
        int position = 0;
        while (position < arguments.length) {
            position = line.read(arguments, position);
        }
        return line;
    }

    boolean wantsHelp() {
        return help;
    }

    List<String> methods() {
        return methods;
    }

    Settings settings() {
        return new Settings(
                data, model, out, steps, batchSize, salienceBatches, density, maxTokens, maxRows, seed, threads);
    }

    /** Whether everything is there that the program reads, and can be written what it writes. */
    void check() {
        if (!Files.isRegularFile(Path.of(data))) {
            throw new InputException("--data " + data + ": there is no such file; 'make setup' downloads it");
        }
        for (String file : List.of("model.pt", "tokenizer.json")) {
            if (!Files.isRegularFile(Path.of(model, file))) {
                throw new InputException("--model " + model + ": expected a directory with " + file
                        + ", as examples/python/torchscript/trace.py writes it");
            }
        }
        try {
            Files.createDirectories(Path.of(out));
            Files.delete(Files.createTempFile(Path.of(out), "writable", null));
        } catch (IOException failure) {
            throw new InputException("--out " + out + ": cannot be written (" + failure + ")");
        }
    }

    static String help() {
        CommandLine defaults = new CommandLine();
        return HELP.formatted(
                defaults.data,
                defaults.model,
                defaults.out,
                String.join(", ", Method.NAMES),
                defaults.steps,
                defaults.batchSize,
                defaults.salienceBatches,
                defaults.density,
                defaults.maxTokens,
                defaults.seed,
                defaults.threads);
    }

    /** Reads the option at `position` with its values, and gives the position after them. */
    private int read(String[] arguments, int position) {
        String option = arguments[position];
        if (option.equals("--help")) {
            help = true;
            return position + 1;
        }
        if (option.equals("--methods")) {
            return readMethods(arguments, position + 1);
        }
        String value = position + 1 < arguments.length ? arguments[position + 1] : null;
        switch (option) {
            case "--data" -> data = given(option, value);
            case "--model" -> model = given(option, value);
            case "--out" -> out = given(option, value);
            case "--steps" -> steps = count(option, value);
            case "--batch-size" -> batchSize = count(option, value);
            case "--salience-batches" -> salienceBatches = count(option, value);
            case "--density" -> density = share(option, value);
            case "--max-tokens" -> maxTokens = count(option, value);
            case "--max-rows" -> maxRows = count(option, value);
            case "--seed" -> seed = seed(option, value);
            case "--threads" -> threads = count(option, value);
            default -> throw new InputException("unknown option '" + option + "'; --help lists them");
        }
        return position + 2;
    }

    private int readMethods(String[] arguments, int position) {
        LinkedHashSet<String> names = new LinkedHashSet<>();
        while (position < arguments.length && !arguments[position].startsWith("--")) {
            String name = arguments[position++];
            if (!Method.NAMES.contains(name)) {
                throw new InputException(
                        "--methods: expected some of " + String.join(", ", Method.NAMES) + ", got '" + name + "'");
            }
            names.add(name);
        }
        if (names.isEmpty()) {
            throw new InputException("--methods: expected some of " + String.join(", ", Method.NAMES));
        }
        methods = new ArrayList<>(names);
        return position;
    }

    private static String given(String option, String value) {
        if (value == null) {
            throw new InputException(option + ": expected a value after it");
        }
        return value;
    }

    private static int count(String option, String value) {
        int number = wholeNumber(given(option, value));
        if (number < 1) {
            throw new InputException(option + ": expected a whole number of at least 1, got '" + value + "'");
        }
        return number;
    }

    private static int seed(String option, String value) {
        int number = wholeNumber(given(option, value));
        if (number < 0) {
            throw new InputException(option + ": expected a whole number of at least 0, got '" + value + "'");
        }
        return number;
    }

    /** The number, or -1 where the text is none. */
    private static int wholeNumber(String text) {
        try {
            return Integer.parseInt(text);
        } catch (NumberFormatException none) {
            return -1;
        }
    }

    private static double share(String option, String value) {
        double number;
        try {
            number = Double.parseDouble(given(option, value));
        } catch (NumberFormatException none) {
            number = Double.NaN;
        }
        if (!(number > 0 && number <= 1)) {
            throw new InputException(option + ": expected a number above 0 and at most 1, got '" + value + "'");
        }
        return number;
    }
}
