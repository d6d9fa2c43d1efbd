package org.speft.examples.sentiment;

/** What of the user's input cannot be used: the program ends with this one line and status 2. */
final class InputException extends RuntimeException {
    private static final long serialVersionUID = 1;

    InputException(String message) {
        super(message);
    }
}
