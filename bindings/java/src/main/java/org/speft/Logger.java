package org.speft;

/** Takes the library's messages. */
@FunctionalInterface
public interface Logger {
    /**
     * Called on the thread of the call that the message is of. A message cannot stop a call: what this throws comes out
     * after it; where the call has made a new object, that is let go of again.
     *
     * @param level how important it is
     * @param message one line
     */
    void log(LogLevel level, String message);
}
