package org.speft;

/** Until when memory of the library's is lent. */
final class Loan {
    private final String until;
    private volatile boolean ended;

    private Loan(String until) {
        this.until = until;
    }

    static Loan ofCallback() {
        return new Loan("the score function returned");
    }

    static Loan ofMasks() {
        return new Loan("the masks moved or the adapter was closed");
    }

    void end() {
        ended = true;
    }

    void check(String noun) {
        if (ended) throw new IllegalStateException("the " + noun + " was lent until " + until);
    }
}
